// How long a small change of the state lasts: measured, and by the gates alone.

const WORDS_OF_CURVES = { actual: "measured", claimed: "by the gates alone" };

class HorizonView {
  constructor(recording) {
    this.recording = recording;
    this.horizon = recording.horizon;
    this.plot = new Plot({ label: "What is left of a small change, by the steps since" });
    this.note = make("p", { class: "keys" });
    const key = Object.keys(this.horizon.curves).map((word) => make("span", { class: `key ${word}` }, WORDS_OF_CURVES[word] ?? word));
    this.element = make("section", { class: "panel horizon", "aria-label": "Memory horizon" },
      make("header", {}, make("h2", {}, "Memory horizon"), make("span", { class: "legend" }, ...key)),
      make("p", { class: "keys" }, `What is left of a small change of ${this.horizon.name}, by the steps since.`), this.plot.element, this.note);
  }

  update({ unit, name }, changed) {
    if (changed.has("theme") || changed.has("size")) this.draw();
    if (changed.has("unit") || changed.has("name")) this.say(name, unit);
  }

  draw() {
    const traces = Object.entries(this.horizon.curves).map(([word, values]) => ({
      y: values, x: values.map((_, k) => k), mode: "lines", name: word,
      line: { width: 1.8, color: word === "actual" ? "--accent" : "--second", dash: word === "actual" ? "solid" : "dash" },
      hovertemplate: "%{y:.3~g} after %{x} steps<extra></extra>",
    }));
    this.plot.draw(traces, {
      height: 190, margin: { l: LEFT, r: 10, t: 6, b: 22 },
      xaxis: { zeroline: false, showgrid: false, nticks: 6 }, yaxis: { type: "log", ...this.ticks() },
    });
  }

  /** Where the ticks are: at powers of ten; for few of those, at 1, 2 and 5 of each. */
  ticks() {
    const all = Object.values(this.horizon.curves).flat().filter((value) => value > 0);
    const low = Math.log10(Math.min(...all)), high = Math.log10(Math.max(...all));
    if (high - low >= 1.5) return { exponentformat: "power", dtick: Math.ceil((high - low) / 4) };
    const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, k) => 10 ** (Math.floor(low) + k));
    const tickvals = powers.flatMap((power) => [1, 2, 5].map((times) => times * power));
    return { tickvals, ticktext: tickvals.map(brief) };
  }

  /** Of all units, and of the chosen one where it was measured. */
  say(name, unit) {
    const { steps, units, curves } = this.horizon, lags = curves.actual.length - 1;
    const layer = this.recording.layerOf(name).index;
    const same = this.recording.companions(name).some((own) => `${layer}.${own}` === this.horizon.name);
    const index = same ? units.indexOf(unit) : -1;
    const long = (count) => (count > lags ? `more than ${countOf(lags, "step")}` : countOf(count, "step"));
    const middle = (list) => {
      const sorted = list.toSorted((a, b) => a - b), half = (list.length - 1) / 2;
      return Math.floor((sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2);
    };
    const words = Object.entries(steps).map(([word, each]) => {
      const own = index < 0 ? "" : `, unit ${unit} for ${long(each[index])}`;
      return `${WORDS_OF_CURVES[word] ?? word}, half of the units keep a third of it for ${long(middle(each))}${own}`;
    });
    this.note.textContent = words.length ? `${words.join("; ").replace(/^./, (letter) => letter.toUpperCase())}.` : "";
  }
}
