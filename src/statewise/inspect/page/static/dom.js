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

/** Call with a press: at once by a mouse, when lifted by a finger, which may begin to scroll. */
function onPress(element, act) {
  let touch = false;
  element.addEventListener("pointerdown", (event) => {
    touch = event.pointerType === "touch";
    if (!touch && !event.button) act(event);
  });
  element.addEventListener("click", (event) => { if (touch) act(event); });
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

/** A count with its noun: `1 step`, `2 steps`. */
const countOf = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;

/** A number with its sign. */
const signed = (number) => (number > 0 ? `+${brief(number)}` : brief(number));

const SIGNS = { "\n": "↵", "\t": "⇥" };

/** A text in one line: what cannot be seen, or would turn what follows around, has a sign instead. */
const inLine = (text) => text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (one) => SIGNS[one] ?? "\u{FFFD}");

/** A label by itself: a mark that belongs on a letter has a circle to stand on. */
const glyph = (label) => (label === "" ? "·" : /^\p{M}/u.test(label) ? `◌${label}` : inLine(label));
