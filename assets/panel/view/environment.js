// Where the panel is shown: whether in a frame of another page, and whether by touch alone.

// A device that is only touched, and may have no keys.
export const hasOnlyTouch = () => matchMedia("(hover: none) and (pointer: coarse)").matches;

/** @returns {boolean} */
export function isEmbedded() {
  return new URLSearchParams(location.search).get("embed") === "1";
}
