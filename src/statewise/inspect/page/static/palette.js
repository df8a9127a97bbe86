// Blue below zero, orange above, zero the paper's own colour: apart for every kind of colour vision.
// Under text the colours are never so strong that the ink could not be read on them.

const PALETTES = {
  light: { zero: [255, 255, 255], paper: [[72, 145, 235], [232, 110, 20]], drawn: [[8, 82, 180], [204, 80, 0]] },
  dark: { zero: [23, 30, 38], paper: [[24, 98, 190], [170, 72, 8]], drawn: [[104, 180, 255], [255, 150, 70]] },
};
const DARK = matchMedia("(prefers-color-scheme: dark)");

/** The colour of a share of the scale, from -1 to 1: of the paper under text, or of what is drawn. */
function tint(share, what = "drawn") {
  const palette = PALETTES[DARK.matches ? "dark" : "light"], end = palette[what][share < 0 ? 0 : 1];
  const part = Math.min(1, Math.abs(share) || 0) ** 0.75;
  return `rgb(${palette.zero.map((from, i) => Math.round(from + (end[i] - from) * part)).join(",")})`;
}

/** The palette as plotly takes it. */
const colourScale = () => Array.from({ length: 41 }, (_, i) => [i / 40, tint(i / 20 - 1)]);

/** The size of the value that is farthest from zero. */
function largestOf(values) {
  let most = 0;
  for (const value of values) if (Math.abs(value) > most && Number.isFinite(value)) most = Math.abs(value);
  return most;
}

/** What the strongest colour stands for: 1, unless values are larger, or all of them small. */
const scaleFor = (most) => (most > 1 || (most > 0 && most < 0.25) ? most : 1);
const scaleOf = (values) => scaleFor(largestOf(values));
