// Where the panel stands: the page, a frame of another page, a file of its own, a notebook. Every surface has this script, and what
// only the page can do it hands to `startPanel` as `onPage`; nothing here or in the panel may name it otherwise.

// Where people point with fingers, and there may be no keys.
export const hasOnlyTouch = () => matchMedia("(hover: none) and (pointer: coarse)").matches;

export function isEmbedded() {
  return new URLSearchParams(location.search).get("embed") === "1";
}
