// Lines over up to two minutes, in SVG, with axes and units.

import { ago, brief, element } from "./dom.js";

const SPAN = 120, FIRST = 20, LEFT = 38, RIGHT = 4, TOP = 8, BOTTOM = 17, HEIGHT = 92;
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The least of 1, 2 or 5 times a power of ten that is no less than a number. */
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= number * (1 - 1e-9));
}

export class Chart {
  /** `series`: the names of one or two lines; `least`: the least top of the scale. */
  constructor(parent, { title, unit, series, least = 1 }) {
    this.unit = unit;
    this.series = series;
    this.least = least;
    this.points = [];
    this.now = element("div", { class: "now" });
    this.drawing = svg("svg", { role: "img" });
    this.title = title;
    parent.append(element("article", { class: "chart" }, element("h2", {}, title), this.now, this.drawing));
    new ResizeObserver(() => this.draw()).observe(this.drawing);
  }

  /** Values at a time in seconds, one a line; null where there is none. */
  push(time, values) {
    this.points.push({ time, values });
    while (this.points.length && this.points[0].time < time - SPAN) this.points.shift();
    this.now.replaceChildren(...this.series.map((name, line) => {
      const value = values[line] ?? null;
      const label = [name, this.unit].filter(Boolean).join(", ");
      return element("span", { class: line ? "second" : "first" },
        element("b", {}, value === null ? "–" : brief(value)), ` ${label}`);
    }));
    this.draw();
  }

  draw() {
    const width = this.drawing.clientWidth;
    if (!width) return;
    const seen = this.points.flatMap((point) => point.values).filter((value) => value !== null);
    const top = roundUp(Math.max(this.least, ...seen));
    const last = this.points.at(-1);
    const span = last ? Math.min(SPAN, Math.max(FIRST, last.time - this.points[0].time)) : FIRST;
    const x = (time) => width - RIGHT - ((last.time - time) / span) * (width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
    const parts = [];
    for (const value of [0, top / 2, top]) {
      parts.push(svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
      parts.push(svg("text", { x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, brief(value)));
    }
    const ends = [[LEFT, "start", ago(span)], [width - RIGHT, "end", "now"]];
    for (const [place, anchor, text] of ends) {
      parts.push(svg("text", { x: place, y: HEIGHT - 3, "text-anchor": anchor }, text));
    }
    this.series.forEach((_, line) => {
      const known = this.points.filter((point) => (point.values[line] ?? null) !== null);
      if (!known.length) return;
      const path = known.map((point, i) => `${i ? "L" : "M"}${x(point.time).toFixed(1)} ${y(point.values[line]).toFixed(1)}`).join("");
      if (!line) parts.push(svg("path", { class: "area", d: `${path}L${x(last.time)} ${y(0)}L${x(known[0].time)} ${y(0)}Z` }));
      parts.push(svg("path", { class: line ? "second" : "first", d: path }));
    });
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", `${this.title}: ${this.now.textContent}, since ${ago(span)}`);
    this.drawing.replaceChildren(...parts);
  }
}
