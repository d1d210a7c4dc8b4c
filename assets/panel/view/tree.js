// A tree as a picture that grows to the right: a column a step, a row a text, a box a token. Of a long one, the columns in sight are drawn.
// The same as a list, for the keyboard and for a screen reader. Knows boxes and lines, not what they stand for.

import { label, make, rem } from "./elements.js";
import { setTabStop } from "./tab_stop.js";

/** @import { Tree, TreeEnd, TreeNode } from "../core/beam_tree.js" */

/** @type {Record<string, string | undefined>} of a box's kinds */
const NODE_SIGNS = { winner: "★", greedy: "◆", dropped: "✕", ended: "■", forced: "✎", drawn: "⚄" };
const NODE_REM = [5.5, 3]; // a box's column and its row, in rem
const NODE_PART = [0.864, 0.4375]; // of these, the box's width, and the middle of its height: see on_page.css
const COLUMNS_AROUND = 6; // drawn on either side of what is in sight

/**
 * @typedef {object} TreeState what a tree's element keeps, once it is drawn
 * @property {string} drawn by which key
 * @property {Tree} tree
 * @property {Map<number, HTMLButtonElement>} buttons those that are there, by the numbers of their nodes
 * @property {string} range
 * @property {number} tabStop the node that the Tab key reaches
 * @property {number} current the last node of the text on screen; -1 where there is none
 * @property {Set<number>} here the nodes of the text on screen
 */

/** @typedef {HTMLElement & TreeState} TreeBox */

/**
 * What is in a tree's element: panel.html.
 * @param {TreeBox} box
 * @returns {{ picture: HTMLElement, sheet: HTMLElement, lines: SVGElement, boxes: HTMLElement, list: HTMLDetailsElement }}
 */
function treeElements(box) {
  const [picture, list] = box.querySelectorAll(":scope > *");
  const sheet = picture.firstElementChild;
  const [lines, boxes] = sheet.children;
  return { picture, sheet, lines, boxes, list };
}

/**
 * Drawn anew only with another key: a button that is replaced loses the keyboard.
 * @param {TreeBox} box
 * @param {Tree} tree
 * @param {string} key
 */
export function drawTree(box, tree, key) {
  Object.assign(box, { drawn: key, tree, buttons: new Map(), range: "", tabStop: 0, current: -1, here: new Set() });
  const { sheet, lines, boxes, list } = treeElements(box);
  const { columns, rows } = tree;
  const hasEnds = tree.ends.length > 0;
  Object.assign(sheet.style, { width: `${(columns + (hasEnds ? 1.5 : 0)) * NODE_REM[0]}rem`, height: `${rows * NODE_REM[1]}rem` });
  lines.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
  lines.style.width = `${columns * NODE_REM[0]}rem`;
  boxes.replaceChildren(...tree.ends.map((end) => endButton(end)));
  drawColumns(box);
  const draw = () => { if (list.open) list.lastElementChild?.replaceChildren(...treeItems(tree)); };
  list.lastElementChild?.replaceChildren();
  list.ontoggle = draw; // a closed list is not drawn
  draw();
}

/**
 * The columns in sight and a few around them: 256 steps of 8 beams would be eight thousand elements. The stop of the Tab key is always
 * there, and so is what has the keyboard. A button that stays is not moved.
 * @param {TreeBox} box
 */
function drawColumns(box) {
  const { tree, buttons } = box;
  const { picture, lines, boxes } = treeElements(box);
  const wide = NODE_REM[0] * rem() * COLUMNS_AROUND;
  const from = (Math.floor(picture.scrollLeft / wide) - 1) * COLUMNS_AROUND;
  const to = (Math.ceil((picture.scrollLeft + picture.clientWidth) / wide) + 1) * COLUMNS_AROUND;
  const focused = boxes.contains(document.activeElement) ? Number(document.activeElement?.getAttribute("data-node") ?? -1) : -1;
  const range = [from, to, box.tabStop, focused].join();
  if (box.range !== range) {
    box.range = range;
    /** @type {(node: TreeNode, number: number) => boolean} */
    const isDrawn = ({ step }, number) => (step >= from && step <= to) || number === box.tabStop || number === focused;
    for (const [number, button] of buttons) {
      if (isDrawn(tree.nodes[number], number)) continue;
      button.remove();
      buttons.delete(number);
    }
    let at = boxes.firstElementChild;
    const seen = [...tree.nodes.entries()].filter(([number, node]) => isDrawn(node, number));
    for (const [number, node] of seen) {
      const there = buttons.get(number);
      if (there) {
        at = there.nextElementSibling;
      } else {
        const button = nodeButton(node, number);
        buttons.set(number, button);
        boxes.insertBefore(button, at);
      }
    }
    lines.replaceChildren(...seen.map(([, node]) => treeLine(tree, node)).filter((line) => line !== null));
  }
  for (const [number, button] of buttons) {
    button.classList.toggle("gs-node-here", box.here.has(number));
    if (number !== box.current) button.removeAttribute("aria-current");
    else if (!button.hasAttribute("aria-current")) button.setAttribute("aria-current", "step");
  }
  setTabStop(boxes, buttons.get(box.tabStop));
}

/**
 * The line from a node's parent to it. At its left end it leaves a box, at its right end it meets one.
 * @param {Tree} tree
 * @param {TreeNode} node
 * @returns {SVGPathElement | null}
 */
function treeLine(tree, node) {
  if (node.parent < 0 && node.step === 0) return null;
  const parent = tree.nodes[node.parent];
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const [width, middle] = NODE_PART;
  const from = parent ? [parent.step + width, parent.row + middle] : [0, middle];
  line.setAttribute("d", `M ${from[0]} ${from[1]} L ${node.step} ${node.row + middle}`);
  for (const kind of node.kinds) line.classList.add(`gs-node-${kind}`);
  return line;
}

/**
 * @param {TreeNode} node
 * @param {number} number
 * @returns {HTMLButtonElement}
 */
function nodeButton(node, number) {
  const button = make("button", ["gs-node", ...[...node.kinds].map((kind) => `gs-node-${kind}`)].join(" "));
  button.type = "button";
  button.tabIndex = -1; // one of them is a stop of the Tab key: drawColumns
  button.dataset.node = String(number);
  placeNode(button, node.step, node.row);
  const signs = [...node.kinds].map((kind) => NODE_SIGNS[kind] ?? "").join("");
  const token = label(node.token, "gs-node-token");
  token.dir = "auto";
  button.append(token, make("span", "gs-node-value", [signs, node.value].filter(Boolean).join(" ")));
  button.title = node.title;
  button.setAttribute("aria-label", node.title);
  return button;
}

/**
 * @param {TreeEnd} end
 * @returns {HTMLButtonElement}
 */
function endButton(end) {
  const button = make("button", "gs-node gs-node-end", end.text);
  button.type = "button";
  button.tabIndex = -1;
  button.title = end.title;
  button.dataset.end = String(end.row);
  placeNode(button, end.step, end.row);
  return button;
}

/**
 * @param {HTMLElement} button
 * @param {number} step
 * @param {number} row
 */
function placeNode(button, step, row) {
  Object.assign(button.style, { left: `${step * NODE_REM[0]}rem`, top: `${row * NODE_REM[1]}rem` });
}

/**
 * @param {Tree} tree
 * @returns {HTMLLIElement[]}
 */
function treeItems(tree) {
  /** @type {(title: string, name: "node" | "end", number: number) => HTMLLIElement} */
  const item = (title, name, number) => {
    const one = make("li", "");
    const button = make("button", "gs-link", title);
    button.type = "button";
    button.dataset[name] = String(number);
    one.append(button);
    return one;
  };
  return [
    ...tree.nodes.map((node, number) => item(node.title, "node", number)),
    ...tree.ends.map((end) => item(end.title, "end", end.row)),
  ];
}

/**
 * The boxes of the text on screen, up to the chosen step; the last of them is the stop of the Tab key, and is in sight.
 * @param {TreeBox} box
 * @param {(node: TreeNode) => boolean} isOnScreen
 */
export function markNodes(box, isOnScreen) {
  const { nodes } = box.tree;
  box.here = new Set([...nodes.keys()].filter((number) => isOnScreen(nodes[number])));
  const last = [...box.here].at(-1) ?? -1;
  if (last >= 0) box.tabStop = last;
  if (last >= 0 && last !== box.current) scrollToColumn(box, nodes[last].step);
  box.current = last;
  drawColumns(box);
}

/**
 * Scrolls the picture's own box, never the page.
 * @param {TreeBox} box
 * @param {number} step
 */
function scrollToColumn(box, step) {
  const { picture } = treeElements(box);
  const [left, right] = [step, step + NODE_PART[0]].map((column) => column * NODE_REM[0] * rem());
  if (left < picture.scrollLeft) picture.scrollLeft = left - 16;
  else if (right > picture.scrollLeft + picture.clientWidth) picture.scrollLeft = right - picture.clientWidth + 16;
}

/**
 * A click goes to a box's step. Arrows walk: left to where a box comes from, right to the first that comes of it, up and down in a step.
 * @param {TreeBox} box
 */
export function listenToTree(box) {
  box.addEventListener("click", ({ target }) => {
    const at = target.closest("[data-node], [data-end]");
    if (!at) return;
    const { node, end } = at.dataset;
    (node === undefined ? box.tree.ends.find(({ row }) => row === Number(end)) : box.tree.nodes[node])?.onClick();
  });
  box.addEventListener("keydown", (event) => {
    const at = event.target.closest(".gs-node[data-node]");
    const next = at && nodeBeside(box.tree, Number(at.dataset.node), event.key);
    if (next === null || next === undefined) return;
    event.preventDefault();
    box.tabStop = next;
    scrollToColumn(box, box.tree.nodes[next].step);
    drawColumns(box);
    box.buttons.get(next)?.focus();
  });
  const draw = () => { if (box.tree) drawColumns(box); };
  const { picture } = treeElements(box);
  picture.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(draw).observe(picture);
}

/**
 * @param {Tree} tree
 * @param {number} number
 * @param {string} key
 * @returns {number | null}
 */
function nodeBeside(tree, number, key) {
  const { step, row, parent } = tree.nodes[number];
  /** @type {(test: (node: TreeNode) => boolean) => number} */
  const numberOf = (test) => {
    const place = tree.nodes.findIndex(test);
    return place < 0 ? number : place;
  };
  if (key === "ArrowLeft") return parent < 0 ? number : parent;
  if (key === "ArrowRight") return numberOf((node) => node.parent === number);
  const column = tree.nodes.filter((node) => node.step === step).map((node) => node.row).toSorted((a, b) => a - b);
  const place = column.indexOf(row) + /** @type {Record<string, number>} */ ({ ArrowUp: -1, ArrowDown: 1 })[key];
  return Number.isNaN(place) ? null : numberOf((node) => node.step === step && node.row === column[place]);
}
