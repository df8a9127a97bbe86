// Elements from plain values, and numbers as text. Text is always text: labels may look like markup.

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A whole number with its thousands apart. */
const whole = (number) => WHOLE.format(number);

/** A number by its first three digits. */
function brief(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const size = Math.abs(number);
  const text = size >= 1e5 || (size < 1e-3 && size > 0) ? number.toExponential(2) : String(Number(number.toPrecision(3)));
  return text.replaceAll("-", "−").replace("+", "");
}

/** A number with its sign. */
const signed = (number) => (number > 0 ? `+${brief(number)}` : brief(number));

const GLYPHS = { "\n": "↵", "\t": "⇥", "": "·" };

/** A label in a line: what cannot be seen has a sign of its own. */
function glyph(label) {
  if (label in GLYPHS) return GLYPHS[label];
  return /^\p{Cc}$/u.test(label) ? "\u{FFFD}" : label;
}

const inLine = (text) => [...text].map(glyph).join("");
