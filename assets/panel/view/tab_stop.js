// A group of buttons as one stop of the Tab key: one of them is reached by it, the others by arrows from there.

/**
 * @param {Element} group whose other buttons have the tabIndex -1
 * @param {HTMLElement | null | undefined} stop
 */
export function setTabStop(group, stop) {
  for (const before of group.querySelectorAll('[tabindex="0"]')) if (before !== stop) before.tabIndex = -1;
  if (stop && stop.tabIndex < 0) stop.tabIndex = 0;
}
