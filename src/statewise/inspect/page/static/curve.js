// A series over all its steps, in place of a text: each point coloured by the unit.

const HEIGHT_OF_CURVE = 210, DOTS = 800;

/** A few steps of a range with their labels, for an axis. */
function ticksOf(recording, from, count, room) {
  const every = Math.max(1, Math.ceil(count / Math.max(2, Math.floor(room / 90))));
  const steps = [];
  for (let step = Math.ceil(from / every) * every; step < from + count; step += every) steps.push(step);
  const text = recording.kind === "text" ? (step) => whole(recording.first + step) : (step) => recording.labels[step];
  return { tickmode: "array", tickvals: steps, ticktext: steps.map(text) };
}

class CurveView {
  constructor(recording, page) {
    this.recording = recording;
    this.page = page;
    const pick = (share, _, event, dragged) => {
      const step = Math.min(recording.steps - 1, Math.max(0, Math.floor(share * recording.steps)));
      if (!dragged) this.from = event.shiftKey ? page.anchor() : step;
      if (dragged || event.shiftKey) page.set({ step, span: [Math.min(this.from, step), Math.max(this.from, step) + 1], anchor: this.from });
      else page.move(step);
    };
    this.plot = new Plot({ label: "The series that was read; arrow keys move through it", pick, key: (event) => page.timeKey(event) });
    this.band = make("div", { class: "band", hidden: true });
    this.plot.element.append(this.band);
    this.element = make("section", { class: "panel reading", "aria-label": "Series" },
      make("header", {}, make("h2", {}, Object.keys(recording.curves).join(", "))), this.plot.element,
      make("p", { class: "keys" }, "Arrow keys move, with Shift they select; [ and ] change the unit; Escape clears the selection."));
  }

  update(view, changed) {
    const { recording } = this, { steps } = recording;
    if (["name", "unit", "theme", "size"].some((what) => changed.has(what))) this.draw(view);
    this.plot.point(view.step / steps, 1 / steps);
    this.band.hidden = !view.span;
    if (!view.span) return;
    const room = this.plot.element.clientWidth - LEFT - RIGHT, [start, stop] = view.span;
    this.band.style.left = `${LEFT + (start / steps) * room}px`;
    this.band.style.width = `${((stop - start) / steps) * room}px`;
  }

  draw({ name, unit }) {
    const { recording } = this, values = recording.unit(name, unit), most = scaleOf(values);
    const dots = recording.steps <= DOTS;
    const traces = Object.entries(recording.curves).map(([label, grid], k) => ({
      x: recording.labels.map((_, step) => step), y: Array.from(grid.row(0)), name: label, text: recording.labels,
      mode: dots && k === 0 ? "lines+markers" : "lines", line: { color: k ? "--second" : "--faint", width: 1.3, dash: ["solid", "solid", "dot"][k] ?? "dash" },
      marker: dots && { size: 7, color: Array.from(values, (value) => tint(value / most)), line: { width: 0.8, color: tint(0) } },
      hovertemplate: "%{text}: %{y:.4~g}<extra></extra>",
    }));
    const room = this.plot.element.clientWidth - LEFT - RIGHT;
    this.plot.draw(traces, {
      height: HEIGHT_OF_CURVE,
      xaxis: { range: [-0.5, recording.steps - 0.5], zeroline: false, showgrid: false, ...ticksOf(recording, 0, recording.steps, room) },
      yaxis: { zeroline: false, nticks: 5 },
    });
  }
}
