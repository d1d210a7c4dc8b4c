// The step's picture as PNG, where the browser makes none.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, TEXTS } from "./helpers.mjs";

test("a picture that the browser does not make is refused with a sentence, and never saved as nothing", async (t) => {
  const { document } = globalThis;
  t.after(() => { globalThis.document = document; delete globalThis.Image; });
  globalThis.document = { ...document, createElement: () => ({ getContext: () => null, toBlob: (done) => done(null) }) };
  globalThis.Image = class { decode() {} };
  const { pngOf } = await load("view/step_image.js");
  const { Refused } = await load("core/too_large.js");
  await assert.rejects(pngOf("<svg/>"), (error) => error instanceof Refused && error.message === TEXTS.en["keep.picture.failed"]);
});
