// What the page's panel can do and a file's cannot, since there is no server to ask and no address to write: see surface.js.

const ON_PAGE = { asksFirst, copyAddress, drawCompare, drawFork, drawForks, drawKeep, drawOld, drawOtherModels, followFields, isApart, keepAddress, listenForSilence, listenToKeep, partingStep, restoreRuns, storeRuns };
