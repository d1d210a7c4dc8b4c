// The entry of a file that has plotly.js: what it draws beside the bars. decoding/export/standalone.py calls `startFileWithPlotly` once.

import { drawLensPicture } from "../panel/tabs/lens_picture.js";
import { startFile } from "./page.js";

/**
 * @param {Parameters<typeof startFile>[0]} packed
 * @param {Parameters<typeof startFile>[1]} data
 */
export function startFileWithPlotly(packed, data) {
  return startFile(packed, data, drawLensPicture);
}
