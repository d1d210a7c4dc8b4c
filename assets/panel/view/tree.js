// A tree as a picture that grows to the right: a column a step, a row a text, a box a token. The same as a list, for the keyboard and for
// a screen reader. Knows boxes and lines, not what they stand for.

import { label, make } from "./elements.js";

/** @import { Tree, TreeNode } from "../core/beam_tree.js" */

const NODE_SIGNS = { winner: "★", greedy: "◆", dropped: "✕", ended: "■", forced: "✎", drawn: "⚄" };
const NODE_REM = [5.5, 3]; // a box's column and its row, in rem
const NODE_PART = [0.864, 0.4375]; // of these, the box's width, and the middle of its height: see onpage.css

/**
 * Drawn anew only with another key: a button that is replaced loses the keyboard.
 * @param {any} box
 * @param {Tree} tree
 * @param {string} key
 */
export function drawTree(box, tree, key) {
  box.drawn = key;
  box.tree = tree;
  const [picture, list] = box.children;
  const [lines, boxes] = picture.firstElementChild.children;
  const { columns, rows } = tree;
  const hasEnds = tree.ends.length > 0;
  Object.assign(picture.firstElementChild.style, { width: `${(columns + (hasEnds ? 1.5 : 0)) * NODE_REM[0]}rem`, height: `${rows * NODE_REM[1]}rem` });
  lines.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
  lines.style.width = `${columns * NODE_REM[0]}rem`;
  lines.replaceChildren(...tree.nodes.map((node) => treeLine(tree, node)).filter(Boolean));
  boxes.replaceChildren(...tree.nodes.map(nodeButton), ...tree.ends.map((end) => endButton(end)));
  const draw = () => { if (list.open) list.lastElementChild.replaceChildren(...treeItems(tree)); };
  list.lastElementChild.replaceChildren();
  list.ontoggle = draw; // a closed list is not drawn
  draw();
}

// The line from a node's parent to it. At its left end it leaves a box, at its right end it meets one.
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

function nodeButton(node, number) {
  const button = make("button", ["gs-node", ...[...node.kinds].map((kind) => `gs-node-${kind}`)].join(" "));
  button.type = "button";
  button.tabIndex = -1; // one of them is a stop of the Tab key: markNodes
  button.dataset.node = number;
  placeNode(button, node.step, node.row);
  const signs = [...node.kinds].map((kind) => NODE_SIGNS[kind] ?? "").join("");
  const token = label(node.token, "gs-node-token");
  token.dir = "auto";
  button.append(token, make("span", "gs-node-value", [signs, node.value].filter(Boolean).join(" ")));
  button.title = node.title;
  button.setAttribute("aria-label", node.title);
  return button;
}

function endButton(end) {
  const button = make("button", "gs-node gs-node-end", end.text);
  button.type = "button";
  button.tabIndex = -1;
  button.title = end.title;
  button.dataset.end = end.row;
  placeNode(button, end.step, end.row);
  return button;
}

function placeNode(button, step, row) {
  Object.assign(button.style, { left: `${step * NODE_REM[0]}rem`, top: `${row * NODE_REM[1]}rem` });
}

function treeItems(tree) {
  const item = (title, name, number) => {
    const one = make("li", "");
    const button = make("button", "gs-link", title);
    button.type = "button";
    button.dataset[name] = number;
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
 * @param {any} box
 * @param {(node: TreeNode) => boolean} isOnScreen
 */
export function markNodes(box, isOnScreen) {
  const { tree } = box;
  const buttons = box.querySelectorAll(".gs-node[data-node]");
  /** @type {any} */
  let last = null;
  for (const [number, node] of tree.nodes.entries()) {
    const isHere = isOnScreen(node);
    buttons[number].classList.toggle("gs-node-here", isHere);
    if (isHere) last = buttons[number];
  }
  const before = box.querySelector('.gs-node[tabindex="0"]');
  const stop = last ?? before ?? buttons[0];
  if (stop !== before) {
    if (before) before.tabIndex = -1;
    if (stop) stop.tabIndex = 0;
  }
  for (const old of box.querySelectorAll('[aria-current="step"]')) if (old !== last) old.removeAttribute("aria-current");
  if (!last || last.getAttribute("aria-current")) return;
  last.setAttribute("aria-current", "step");
  // Scroll the picture's own box, never the page.
  const [frame, place] = [box.firstElementChild.getBoundingClientRect(), last.getBoundingClientRect()];
  if (place.left < frame.left) box.firstElementChild.scrollLeft -= frame.left - place.left + 16;
  if (place.right > frame.right) box.firstElementChild.scrollLeft += place.right - frame.right + 16;
}

/**
 * A click goes to a box's step. Arrows walk: left to where a box comes from, right to the first that comes of it, up and down in a step.
 * @param {any} box
 */
export function listenToTree(box) {
  box.addEventListener("click", ({ target }) => {
    const at = target.closest("[data-node], [data-end]");
    if (!at) return;
    const { node, end } = at.dataset;
    (node === undefined ? box.tree.ends.find(({ row }) => row === Number(end)) : box.tree.nodes[node])?.go();
  });
  box.addEventListener("keydown", (event) => {
    const at = event.target.closest(".gs-node[data-node]");
    const next = at && nodeBeside(box.tree, Number(at.dataset.node), event.key);
    if (next === null || next === undefined) return;
    event.preventDefault();
    at.tabIndex = -1;
    const button = box.querySelector(`.gs-node[data-node="${next}"]`);
    button.tabIndex = 0;
    button.focus();
  });
}

function nodeBeside(tree, number, key) {
  const { step, row, parent } = tree.nodes[number];
  const found = (test) => {
    const place = tree.nodes.findIndex(test);
    return place < 0 ? number : place;
  };
  if (key === "ArrowLeft") return parent < 0 ? number : parent;
  if (key === "ArrowRight") return found((node) => node.parent === number);
  const column = tree.nodes.filter((node) => node.step === step).map((node) => node.row).toSorted((a, b) => a - b);
  const place = column.indexOf(row) + { ArrowUp: -1, ArrowDown: 1 }[key];
  return Number.isNaN(place) ? null : found((node) => node.step === step && node.row === column[place]);
}
