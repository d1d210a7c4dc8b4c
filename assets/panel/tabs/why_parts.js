// The box that shows the text in parts, each a button: one of them is a stop of the Tab key, from which the arrows go on, as in the run's own
// text. The part that has the pointer or the keyboard is marked, and stands in words as long as it has it. Knows no record.

import { setTabStop } from "../view/tab_stop.js";

/** @type {Record<string, number | undefined>} */
const MOVES = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/** @typedef {HTMLElement & { words?: HTMLElement }} PartsBox `words`: the element that describes a part, once the box listens */

/**
 * @param {PartsBox} box
 * @param {HTMLElement} words
 * @param {HTMLElement[]} nodes the parts and what stands between them
 * @param {number} stop the part that the Tab key stops at, by its place
 */
export function showParts(box, words, nodes, stop) {
  const place = partsIn(box).indexOf(document.activeElement); // who uses the keyboard keeps the place
  box.replaceChildren(...nodes);
  if (!box.words) listenToParts(Object.assign(box, { words }));
  describe(box, null);
  const chips = partsIn(box);
  const chip = chips[Math.min(place < 0 ? Math.max(stop, 0) : place, chips.length - 1)]; // the new answer may have fewer parts
  setTabStop(box, chip);
  if (place >= 0) chip?.focus({ preventScroll: true });
}

/** @param {PartsBox} box */
const partsIn = (box) => [...box.querySelectorAll(".gs-part-of-text")];

/**
 * @param {PartsBox} box
 * @param {HTMLElement | null} chip
 */
function describe(box, chip) {
  box.querySelector(".gs-pointed-at")?.classList.remove("gs-pointed-at");
  chip?.classList.add("gs-pointed-at");
  /** @type {HTMLElement} */ (box.words).textContent = chip?.title ?? "";
}

/** @param {PartsBox} box */
function listenToParts(box) {
  /** @type {(event: PageEvent) => void} */
  const point = ({ target }) => {
    const chip = target.closest(".gs-part-of-text");
    if (chip) describe(box, chip);
  };
  box.addEventListener("pointerover", point);
  box.addEventListener("click", point); // a tap does not focus a button in every browser
  box.addEventListener("pointerleave", ({ pointerType }) => { if (pointerType === "mouse") describe(box, box.querySelector(":focus")); });
  box.addEventListener("focusin", (event) => {
    setTabStop(box, /** @type {PageEvent<FocusEvent, HTMLElement>} */ (event).target);
    point(event);
  });
  box.addEventListener("focusout", () => describe(box, null));
  box.addEventListener("keydown", (event) => {
    const by = MOVES[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // no other step
    const chips = partsIn(box);
    chips[Math.min(Math.max(chips.indexOf(event.target) + by, 0), chips.length - 1)]?.focus();
  });
}

/**
 * Of a text that is higher than its box, the middle of the box shows a part, and the box's edges that there is more.
 * @param {PartsBox} box
 * @param {number} place of the part; -1 where none is to be brought into sight
 */
export function bringPartIntoSight(box, place) {
  const markEdges = () => {
    const { scrollTop, clientHeight, scrollHeight } = box;
    box.classList.toggle("gs-more-above", scrollTop > 2);
    box.classList.toggle("gs-more-below", scrollTop + clientHeight < scrollHeight - 2);
  };
  box.onscroll = markEdges;
  const chip = partsIn(box)[place];
  if (chip) {
    const [outer, inner] = [box, chip].map((node) => node.getBoundingClientRect());
    box.scrollTop += inner.top + inner.height / 2 - outer.top - outer.height / 2;
  }
  markEdges();
}
