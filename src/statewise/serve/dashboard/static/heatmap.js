// A session's state as it moves: a column a step, a row a unit, one picture for each field.

import { brief, count, element } from "./dom.js";

const COLUMNS = 160;
const dark = matchMedia("(prefers-color-scheme: dark)");
// Blue below zero, orange above: apart for every kind of colour vision. Zero is the paper's colour.
const COLOURS = {
  light: { low: [8, 72, 160], zero: [250, 250, 250], high: [186, 62, 0] },
  dark: { low: [104, 180, 255], zero: [18, 24, 31], high: [255, 160, 84] },
};

function colour(value) {
  const { low, zero, high } = COLOURS[dark.matches ? "dark" : "light"];
  const end = value < 0 ? low : high;
  const share = Math.min(1, Math.abs(value)) ** 0.75;
  return zero.map((from, i) => from + (end[i] - from) * share);
}

function paint(canvas, width, height, valueAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = valueAt(row, column);
      if (value === null) continue;
      const place = 4 * (row * width + column);
      image.data.set(colour(value), place);
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

class Field {
  constructor(parent, name, size, stride) {
    this.size = size;
    this.stride = stride;
    this.columns = [];
    this.steps = [];
    this.canvas = element("canvas", { role: "img" });
    this.key = element("canvas", { "aria-hidden": "true" });
    this.low = element("span");
    this.high = element("span");
    this.from = element("span");
    this.to = element("span");
    this.name = name;
    const every = stride > 1 ? `, every ${stride}th` : "";
    parent.append(element("figure", { class: "field" },
      element("figcaption", {},
        element("span", {}, element("span", { class: "name" }, name), ` ${count(size)} ${size === 1 ? "value" : "values"}${every}`),
        element("span", { class: "scale" }, this.low, this.key, this.high)),
      element("div", { class: "plot" },
        element("div", { class: "units" }, element("span", {}, "0"), element("span", {}, size > 1 ? String(size - 1) : "")),
        this.canvas,
        element("div", { class: "steps" }, this.from, this.to))));
  }

  push(step, values) {
    if (step === this.steps.at(-1)) {
      this.columns[this.columns.length - 1] = values;
      return;
    }
    this.columns.push(values);
    this.steps.push(step);
    if (this.columns.length > COLUMNS) {
      this.columns.shift();
      this.steps.shift();
    }
  }

  draw() {
    const most = Math.max(1e-9, ...this.columns.map((column) => Math.max(...column.map(Math.abs))));
    const empty = COLUMNS - this.columns.length;
    const rows = this.columns[0].length;
    paint(this.canvas, COLUMNS, rows, (row, column) => column < empty ? null : this.columns[column - empty][row] / most);
    paint(this.key, 64, 1, (_, column) => column / 31.5 - 1);
    this.low.textContent = `−${brief(most)}`;
    this.high.textContent = `+${brief(most)}`;
    this.from.style.marginLeft = `${Math.min(55, (100 * empty) / COLUMNS)}%`;
    this.from.textContent = this.steps.length > 1 ? `from step ${count(this.steps[0])}` : "";
    this.to.textContent = `step ${count(this.steps.at(-1))}`;
    this.canvas.setAttribute("aria-label", `${this.name} at step ${count(this.steps.at(-1))}, ${this.size} values of at most ${brief(most)}`);
  }
}

export class HeatMap {
  constructor(parent) {
    this.parent = parent;
    this.fields = new Map();
    this.asked = 0;
    dark.addEventListener("change", () => this.redraw());
  }

  /** `fields`: name -> { size, stride, values }. */
  push(step, fields) {
    for (const [name, { size, stride, values }] of Object.entries(fields)) {
      if (!this.fields.has(name)) this.fields.set(name, new Field(this.parent, name, size, stride));
      this.fields.get(name).push(step, values);
    }
    this.redraw();
  }

  redraw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      for (const field of this.fields.values()) field.draw();
    });
  }
}
