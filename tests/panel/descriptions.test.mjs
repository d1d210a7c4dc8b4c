// The words of the header.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./helpers.mjs";

const { dtypeOf, exactness } = await load("core/descriptions.js");

test("a graph that was not compared yet is not called exact, whatever asked for the run", () => {
  const engine = "ONNX Runtime 1.32.0, four-bit weights, computed in float32";
  const unproven = "beam search, 4 beams, ONNX Runtime 1.32.0, unproven, four-bit weights, computed in float32";
  const words = [engine, unproven].map((one) => exactness({ engine: one, dtype: "float32" }));
  assert.deepEqual(words, ["exact", "not checked yet"]);
  assert.equal(dtypeOf({ engine: unproven, dtype: "float32" }), dtypeOf({ engine, dtype: "float32" }));
  assert.equal(exactness({ engine: "torch 2.9.0", dtype: "bfloat16" }), "not exact");
  assert.equal(exactness({ engine: "a notebook", dtype: "as printed" }), "");
});
