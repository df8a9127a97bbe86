// Every seen value of one unit through a stretch of time, a row each, and under them the loss.

const ROW = 50, GAP = 14, TOP = 6, FOOT = 22;
const ROLES = {
  LSTM: { i: "input gate", f: "forget gate", g: "candidate", o: "output gate", c: "cell", h: "hidden", y: "output" },
  GRU: { r: "reset gate", z: "update gate", n: "candidate", h: "hidden", y: "output" },
  Elman: { a: "sum", h: "hidden", y: "output" },
};

/** What a value of a layer is, in words: those of a layer of two directions have theirs before them. */
const roleOf = (layer, own) => ROLES[layer.cell]?.[own.slice(own.lastIndexOf(".") + 1)] ?? "";

/** A range for an axis that holds all values and does not move with the stretch that is shown. */
function rangeOf(values, about) {
  let low = about ?? Infinity, high = about ?? -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const far = Math.max(high, -low);
  if (about === 0 && far <= 1 && far >= 0.25) return [low < 0 ? -1 : 0, 1];
  return low < high ? [low, high] : [low - 1, high + 1];
}

class GatesView {
  constructor(recording, page) {
    this.recording = recording;
    this.title = make("h2");
    this.labels = make("div", { class: "labels" });
    this.note = make("p", { class: "keys" });
    this.plot = new Plot({
      label: "The gates of the unit through time; left and right move, up and down change the unit",
      pick: (share) => page.move(page.stepAt(share)),
      key: (event) => page.timeKey(event),
    });
    this.plot.element.append(this.labels);
    this.strip = make("div", { class: "strip", "aria-hidden": "true" });
    onPress(this.strip, ({ target }) => { if (target.dataset.step) page.move(Number(target.dataset.step)); });
    this.element = make("section", { class: "panel gates", "aria-label": "Gates" },
      make("header", {}, this.title), this.note, this.plot.element, recording.kind === "text" && this.strip);
  }

  /** The rows: what they are called, their values, and the range of their axis. */
  rows({ name, unit }) {
    const { recording } = this, layer = recording.layerOf(name);
    const rows = recording.companions(name).map((own) => {
      const full = `${layer.index}.${own}`, values = recording.unit(full, unit);
      return { name: own, role: roleOf(layer, own), values, range: rangeOf(values, 0), chosen: full === name };
    });
    const curves = Object.entries(recording.curves).slice(0, 3).map(([label, grid]) => ({ name: label, role: "", values: grid.row(0), range: rangeOf(grid.row(0)) }));
    const { loss } = recording;
    const foot = loss ? [{ name: "surprise", role: loss.unit, values: loss.values, range: rangeOf(loss.values, 0) }] : [];
    return [...curves, ...rows, ...foot];
  }

  update(view, changed) {
    if (["name", "unit", "from", "count", "theme", "size"].some((what) => changed.has(what))) this.draw(view);
    this.plot.point((view.step - view.from) / view.count, 1 / view.count);
    this.shown.forEach(({ values }, k) => { this.numbers[k].textContent = brief(values[view.step]); });
    this.lit?.classList.remove("here");
    this.lit = this.strip.children[view.step - view.from];
    this.lit?.classList.add("here");
  }

  draw(view) {
    const { from, count } = view, rows = this.rows(view), height = rows.length * (ROW + GAP);
    const x = Array.from({ length: count }, (_, i) => from + i), labels = x.map((step) => glyph(this.recording.labels[step]));
    const layout = { height: height + TOP + FOOT, margin: { l: LEFT, r: RIGHT, t: TOP, b: FOOT }, hovermode: "x" };
    const room = this.plot.element.clientWidth - LEFT - RIGHT;
    layout.xaxis = { range: [from - 0.5, from + count - 0.5], zeroline: false, showgrid: false, anchor: "free", position: 0, ...ticksOf(this.recording, from, count, room) };
    const traces = rows.map(({ values, range, chosen }, k) => {
      const axis = k ? String(k + 1) : "", [low, high] = range, pad = (high - low) * 0.04;
      layout[`yaxis${axis}`] = {
        domain: [1 - (k * (ROW + GAP) + GAP + ROW) / height, 1 - (k * (ROW + GAP) + GAP) / height], range: [low - pad, high + pad],
        tickvals: Math.min(-low, high) > 0.3 * (high - low) ? [low, 0, high] : [low, high], zeroline: low < 0, showgrid: false,
      };
      layout[`yaxis${axis}`].ticktext = layout[`yaxis${axis}`].tickvals.map(brief);
      return {
        x, y: Array.from(values.subarray(from, from + count)), customdata: labels, yaxis: `y${axis}`, mode: "lines",
        line: { shape: "hvh", width: 1.4, color: chosen ? "--second" : "--accent" }, fill: "tozeroy", fillcolor: chosen ? "--second-wash" : "--wash",
        hovertemplate: "%{customdata}  %{y:.3~g}<extra></extra>",
      };
    });
    this.title.textContent = `Unit ${view.unit} of ${view.name} through time`;
    this.note.textContent = this.recording.strangers(view.name);
    this.plot.draw(traces, layout);
    this.name(rows);
    if (this.recording.kind === "text") this.letters(view, labels);
  }

  /** What is in a row above it, its value at the cursor behind it. */
  name(rows) {
    this.shown = rows;
    this.numbers = rows.map(() => make("output", {}));
    this.labels.replaceChildren(...rows.flatMap(({ name, role, chosen }, k) => {
      const label = make("span", { class: chosen ? "chosen" : undefined }, make("b", {}, name), ` ${role}`);
      label.style.top = `${TOP + k * (ROW + GAP)}px`;
      this.numbers[k].style.top = `${TOP + k * (ROW + GAP) + GAP + ROW / 2}px`;
      this.numbers[k].dataset.name = name;
      return [label, this.numbers[k]];
    }));
  }

  /** The characters under the steps. */
  letters({ name, unit, from }, labels) {
    const values = this.recording.unit(name, unit), most = scaleOf(values);
    this.strip.replaceChildren(...labels.map((label, i) => {
      const cell = make("span", { "data-step": from + i }, label);
      cell.style.backgroundColor = tint(values[from + i] / most, "paper");
      return cell;
    }));
  }
}
