// Units downward, time to the right: a stretch of it, pressed to choose a unit and a step.

class HeatmapView {
  constructor(recording, page) {
    this.recording = recording;
    this.page = page;
    this.title = make("h2");
    this.note = make("p", { class: "keys" });
    this.bar = make("div", { class: "bar" });
    this.plot = new Plot({
      label: "All units through time; left and right move, up and down change the unit",
      pick: (share, y) => page.set({ unit: this.unitAt(y), step: page.stepAt(share) }),
      key: (event) => page.timeKey(event),
    });
    this.plot.element.append(this.bar);
    this.element = make("section", { class: "panel heat", "aria-label": "Units through time" },
      make("header", {}, this.title), this.plot.element, this.note);
  }

  get height() {
    return Math.min(380, Math.max(60, 16 * this.units));
  }

  unitAt(y) {
    return Math.min(this.units - 1, Math.max(0, Math.floor(((y - 6) / this.height) * this.units)));
  }

  update(view, changed) {
    if (["name", "from", "count", "theme", "size"].some((what) => changed.has(what))) this.draw(view);
    this.plot.point((view.step - view.from) / view.count, 1 / view.count);
    const each = this.height / this.units;
    this.bar.style.top = `${6 + view.unit * each}px`;
    this.bar.style.height = `${Math.max(1, each)}px`;
    this.bar.dataset.unit = view.unit;
  }

  draw({ name, from, count }) {
    const { recording } = this;
    this.units = recording.width(name);
    const rows = Array.from({ length: this.units }, (_, unit) => recording.unit(name, unit));
    const sizes = rows.map(largestOf), most = Math.max(...sizes), own = most > 1;
    const shown = rows.map((row) => Array.from(row.subarray(from, from + count)));
    const z = shown.map((row, unit) => { const by = own ? sizes[unit] || 1 : scaleFor(most); return row.map((value) => value / by); });
    const room = this.plot.element.clientWidth - LEFT - RIGHT;
    const x = Array.from({ length: count }, (_, i) => from + i), labels = x.map((step) => glyph(recording.labels[step]));
    this.plot.draw([{
      type: "heatmap", x, z, text: shown, customdata: shown.map(() => labels), zmin: -1, zmax: 1, colorscale: colourScale(), showscale: false, zsmooth: false,
      hovertemplate: "unit %{y}, %{customdata}  %{text:.3~g}<extra></extra>",
    }], {
      height: this.height + 28,
      xaxis: { range: [from - 0.5, from + count - 0.5], zeroline: false, showgrid: false, ...ticksOf(recording, from, count, room) },
      yaxis: { range: [this.units - 0.5, -0.5], zeroline: false, showgrid: false, nticks: 6 },
    });
    this.title.textContent = this.units === 1 ? `The one unit of ${name}` : `All ${whole(this.units)} units of ${name}`;
    this.note.textContent = own ? "The colours of each unit are scaled to its own largest value." : "";
  }
}
