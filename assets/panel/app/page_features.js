// What only a page with an address and a server or an engine behind it can do. An exported file gets none of it (`onPage` is null), so no
// module that every surface shares may import these.

import { partingStep } from "../core/alignment.js";
import { asksFirst, drawFork } from "../view/fork_note.js";
import { drawForks } from "../view/fork_tree.js";
import { drawCompare } from "../tabs/compare.js";
import { drawOtherModels } from "../tabs/compare_models.js";
import { drawKeep, listenToKeep } from "../tabs/export.js";
import { copyAddress, keepAddress } from "./address_bar.js";
import { drawOld, followFields, isApart } from "./page_fields.js";
import { listenForSilence } from "./silence.js";
import { restoreRuns, storeRuns } from "./stored_runs.js";

export const PAGE_FEATURES = { asksFirst, copyAddress, drawCompare, drawFork, drawForks, drawKeep, drawOld, drawOtherModels, followFields, isApart, keepAddress, listenForSilence, listenToKeep, partingStep, restoreRuns, storeRuns };
