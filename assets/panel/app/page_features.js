// What only a page with an address and a server or an engine behind it can do. An exported file gets none of it (`onPage` is null), so no
// module that every surface shares may import these.

import { differingStep } from "../core/alignment.js";
import { askForConfirmation, drawForkNote } from "../view/fork_note.js";
import { drawForkTree } from "../view/fork_tree.js";
import { drawCompare } from "../tabs/compare.js";
import { drawOtherModels } from "../tabs/compare_models.js";
import { drawTrees, listenToTrees } from "../tabs/trees.js";
import { drawExportTab, listenToExportTab } from "../tabs/export.js";
import { drawLensPicture } from "../tabs/lens_picture.js";
import { drawSampling, listenToSampling } from "../tabs/sampling.js";
import { drawWhyQuestion, listenToWhy } from "../tabs/why_question.js";
import { copyAddress, startAddressBar } from "./address_bar.js";
import { bringPictureIntoSight, drawStaleNote, fieldsDiffer, followFields } from "./page_fields.js";
import { startSilenceTimer } from "./no_answer.js";
import { restoreRuns, storeRuns } from "./stored_runs.js";

/** @import { Convert } from "../core/state.js" */

/** @typedef {typeof PAGE_FEATURES & { convert: Convert, startVote?: typeof import("./class_vote.js").startVote }} PageFeatures */

export const PAGE_FEATURES = { askForConfirmation, bringPictureIntoSight, copyAddress, drawCompare, drawForkNote, drawForkTree, drawExportTab, drawLensPicture, drawStaleNote, drawOtherModels, drawSampling, drawTrees, drawWhyQuestion, followFields, fieldsDiffer, startAddressBar, startSilenceTimer, listenToExportTab, listenToSampling, listenToTrees, listenToWhy, differingStep, restoreRuns, storeRuns };
