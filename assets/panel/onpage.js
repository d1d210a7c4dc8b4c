// What the page's panel can do and a file's cannot, since there is no server to ask and no address to write: see surface.js.

const ON_PAGE = { copyAddress, drawCompare, drawKeep, drawOld, drawOtherModels, followFields, isApart, keepAddress, listenForSilence, listenToKeep, partingStep, restoreRuns, storeRuns };
