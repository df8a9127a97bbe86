// What stands beside the diagram: the steps as they pass, and the values of a cell that has no diagram.

const PLAYER_COLUMN = 17; // the width of a step
const PLAYER_MARGIN = 20; // left of the first, for names

/** A label as it is read: a space has a sign too. */
const playerLabel = (label) => (label === " " ? "␣" : glyph(label));

/** The steps around one, of which as many are shown as there is room for. */
function playerWindow(step, steps, width) {
  const room = Math.max(5, Math.floor((width - PLAYER_MARGIN) / PLAYER_COLUMN));
  const first = Math.max(0, Math.min(step - Math.floor(room / 2), steps - room));
  return [first, Math.min(steps, first + room)];
}

/** The farthest value from zero, of those that are numbers. */
const playerMost = (values) => values.reduce((most, value) => (Math.abs(value) > most && Number.isFinite(value) ? Math.abs(value) : most), 1e-9);

class PlayerTape {
  /** `choose(step)` is called when a step is clicked. */
  constructor(recording, choose) {
    this.recording = recording;
    this.range = recording.series?.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    this.root = playerSvg("svg", { class: "player-tape", "aria-hidden": "true" });
    this.root.addEventListener("click", (event) => {
      const column = Math.floor((event.clientX - this.root.getBoundingClientRect().left - PLAYER_MARGIN) / PLAYER_COLUMN);
      const step = this.first + column;
      if (column >= 0 && step < this.last) choose(step);
    });
  }

  /** What is drawn: a unit's memory through time, and what it is called. */
  show(values, name) {
    Object.assign(this, { values, name, most: playerMost(values), drawn: null });
  }

  /** The steps about one, with the series above where there is one. */
  draw(step) {
    const width = this.root.clientWidth || 600, { values, most } = this, { series, labels, steps } = this.recording;
    if (this.drawn === `${step} ${width}`) return;
    this.drawn = `${step} ${width}`;
    const curve = series ? 46 : 0, bars = 46, middle = curve + bars / 2;
    const [first, last] = playerWindow(step, steps, width);
    Object.assign(this, { first, last });
    const x = (t) => PLAYER_MARGIN + (t - first) * PLAYER_COLUMN;
    const parts = [
      playerSvg("rect", { class: "player-now", x: x(step), y: 0, width: PLAYER_COLUMN, height: curve + bars + 22, rx: 4 }),
      playerSvg("line", { class: "player-zero", x1: x(first), x2: x(last), y1: middle, y2: middle }),
      playerSvg("text", { class: "player-symbol", x: 2, y: middle + 5 }, this.name),
    ];
    for (let t = first; t < last; t++) {
      const height = Math.min(1, Math.abs(values[t] / most) || 0) * (bars / 2 - 1);
      const where = { x: x(t) + 3, width: PLAYER_COLUMN - 6, height, y: values[t] < 0 ? middle : middle - height, rx: 1.5 };
      parts.push(playerSvg("rect", { class: `player-${values[t] < 0 ? "low" : "high"}${t > step ? " player-later" : ""}`, ...where }));
      if (!series) parts.push(this.letter(labels[t], x(t), curve + bars, t === step));
    }
    if (series) parts.push(this.curve(first, last, x, curve), this.letter(labels[step], x(step), curve + bars, true, width));
    this.root.setAttribute("height", curve + bars + 22);
    this.root.replaceChildren(...parts);
  }

  letter(label, x, y, here, width = Infinity) {
    const anchor = x < 60 && width < Infinity ? "start" : x > width - 60 ? "end" : "middle";
    return playerSvg("text", { class: `player-letter${here ? " player-here" : ""}`, x: x + PLAYER_COLUMN / 2, y: y + 15, "text-anchor": anchor }, playerLabel(label));
  }

  curve(first, last, x, height) {
    const { series } = this.recording, [low, high] = this.range;
    const y = (value) => 4 + (1 - (value - low) / (high - low || 1)) * (height - 10);
    const points = [];
    for (let t = first; t < last; t++) points.push(`${x(t) + PLAYER_COLUMN / 2} ${y(series[t])}`);
    return playerSvg("path", { class: "player-series", d: `M${points.join("L")}` });
  }
}

class PlayerValues {
  /** Every value of a layer as a line through time: `series`, name -> values. */
  constructor(series) {
    this.root = make("div", { class: "player-values" });
    this.lines = Object.entries(series).map(([name, values]) => {
      const number = make("b"), drawing = playerSvg("svg", { "aria-hidden": "true", preserveAspectRatio: "none" });
      const row = make("div", { "data-part": name }, make("span", {}, name), number, drawing);
      this.root.append(row);
      return { values, most: playerMost(values), row, number, drawing };
    });
  }

  /** `width` as of the tape, so that steps stand under each other. */
  draw(step, width) {
    for (const { values, most, row, number, drawing } of this.lines) {
      row.dataset.value = values[step];
      number.textContent = playerNumber(values[step]);
      const [first, last] = playerWindow(step, values.length, width);
      const points = Array.from({ length: last - first }, (_, i) => `${i + 0.5} ${1 - (Math.max(-1, Math.min(1, values[first + i] / most)) || 0)}`);
      drawing.setAttribute("viewBox", `0 -0.05 ${last - first} 2.1`);
      drawing.replaceChildren(
        playerSvg("line", { class: "player-zero", x1: 0, x2: last - first, y1: 1, y2: 1 }),
        playerSvg("line", { class: "player-now", x1: step - first + 0.5, x2: step - first + 0.5, y1: 0, y2: 2 }),
        playerSvg("path", { class: "player-series", d: points.length ? `M${points.join("L")}` : "" }));
    }
  }
}
