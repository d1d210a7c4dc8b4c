// Run and Stop lock in turn, and a button that is locked loses the keyboard's focus to the top of the page. It goes to whichever of the two is
// unlocked next, unless the reader has gone elsewhere meanwhile.

const BUTTONS = "#run, #stop";

export function keepButtonFocus() {
  let isLost = false;
  new MutationObserver((changes) => {
    const { activeElement } = document;
    // A press of the mouse leaves no place that the keyboard would go on from: there, the space key plays.
    if (changes.some(({ target }) => target === activeElement) && activeElement?.matches(`:is(${BUTTONS}):disabled:focus-visible`)) isLost = true;
    if (!isLost) return;
    isLost = activeElement === document.body || Boolean(activeElement?.matches(":disabled"));
    const next = isLost && document.querySelector(`:is(${BUTTONS}):enabled`);
    if (!next) return;
    next.focus({ preventScroll: true });
    isLost = false;
  }).observe(document.body, { attributeFilter: ["disabled"], subtree: true });
  // A key that is held, or the second tap of two, would press the button that comes in the place of the other, or has its focus.
  document.addEventListener("keydown", (event) => { if (event.repeat && event.key === "Enter" && event.target.matches(BUTTONS)) event.preventDefault(); });
  let tapped = /** @type {Element | null} */ (null);
  document.addEventListener("click", (event) => {
    const button = event.target.closest(BUTTONS);
    if (event.detail > 1 && button && button !== tapped) event.stopPropagation();
    else tapped = button;
  }, { capture: true });
}
