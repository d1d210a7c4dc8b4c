// Numbers as the page writes them.

import { texts } from "./texts.js";

/**
 * Two decimals, and more where two would say nothing: never "<0.01 %".
 * @param {number} probability
 * @returns {string}
 */
export function percent(probability) {
  const value = probability * 100;
  if (value === 0 || value >= 0.01) return `${value.toFixed(2)} %`;
  return `${value >= 1e-6 ? value.toFixed(1 - Math.floor(Math.log10(value))) : value.toExponential(1)} %`;
}

/**
 * @param {number | null} value
 * @param {number} digits
 * @returns {string}
 */
export function number(value, digits) {
  return value === null || !Number.isFinite(value) ? texts.translate("number.none") : value.toFixed(digits).replace("-", "−");
}

/**
 * A number that may be too large or too small for a computer's, from its natural logarithm: "3.307 × 10⁷".
 * @param {number} logarithm
 * @returns {string}
 */
export function numberFromLog(logarithm) {
  if (logarithm === -Infinity) return "0";
  if (logarithm > Math.log(1e-3) && logarithm < Math.log(1e6)) {
    const value = Math.exp(logarithm);
    return value >= 1000 ? value.toFixed(0) : value.toPrecision(4);
  }
  let power = Math.floor(logarithm / Math.LN10);
  let leading = Math.exp(logarithm - power * Math.LN10).toFixed(3);
  if (leading === "10.000") [leading, power] = ["1.000", power + 1];
  return `${leading} × 10${superscript(power)}`;
}

/**
 * @param {number} power
 * @returns {string}
 */
function superscript(power) {
  return String(power).replace(/[-\d]/g, (sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)]));
}
