// Elements that several views are made of. Text is written with textContent only.

import { labelParts } from "../core/tokens.js";

/** @import { Token } from "../core/tokens.js" */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

/**
 * A text that is written again is laid out again, and announced again by a screen reader, even if it is the same.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Make a node say what another one says, or replace it by that one if they are of different kinds. A node that stays keeps the keyboard,
 * and the browser styles it anew only where an attribute has changed.
 * @param {Node} there
 * @param {Node} fresh
 */
export function rewrite(there, fresh) {
  if (there instanceof HTMLElement && fresh instanceof HTMLElement && there.localName === fresh.localName) {
    // A style as a property: a file's Content Security Policy refuses the attribute.
    if (there.style.cssText !== fresh.style.cssText) there.style.cssText = fresh.style.cssText;
    for (const { name, value } of fresh.attributes) if (name !== "style" && there.getAttribute(name) !== value) there.setAttribute(name, value);
    for (const name of there.getAttributeNames()) if (!fresh.hasAttribute(name)) there.removeAttribute(name);
    const children = [...fresh.childNodes];
    if (there.childNodes.length !== children.length) there.replaceChildren(...children);
    else for (const [place, child] of [...there.childNodes].entries()) rewrite(child, children[place]);
  } else if (there instanceof Text && fresh instanceof Text) {
    if (there.data !== fresh.data) there.data = fresh.data;
  } else there.parentNode?.replaceChild(fresh, there);
}

/**
 * Somebody's own words, a person's or the model's: no browser translates them, and they run the way that their letters run.
 * @param {string} className
 * @param {string} text
 * @returns {HTMLSpanElement}
 */
export function verbatimSpan(className, text) {
  const node = make("span", className, text);
  node.translate = false;
  node.dir = "auto";
  return node;
}

/**
 * A token's label, the same in chips, bars and tables: bytes stand in it smaller than what is read.
 * @param {Token} token
 * @param {string} [className]
 * @param {string} [mark]
 * @returns {HTMLElement}
 */
export function label(token, className = "gs-chip-text", mark = "") {
  const [text, bytes] = labelParts(token);
  const node = make("span", className, mark + text);
  if (bytes) node.append(make("small", "gs-adds", bytes));
  return node;
}

/**
 * @param {string} text
 * @param {string} scope
 * @param {string} [dir]
 * @returns {HTMLTableCellElement}
 */
export function headCell(text, scope, dir = "") {
  const cell = make("th", "", text);
  cell.scope = scope;
  if (dir) cell.dir = dir;
  return cell;
}

/**
 * @param {string} className
 * @param {string} text
 * @param {string} name
 * @param {number | string} value
 * @returns {HTMLButtonElement}
 */
export function actionButton(className, text, name, value) {
  const button = make("button", className, text);
  button.type = "button";
  button.dataset[name] = String(value);
  return button;
}

/** @returns {number} */
export function rem() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}
