// A selection: the units that are on in all of it and off next to it, and where else they are on.

const MATCHES = 40, AROUND = 16;

class SelectionView {
  constructor(recording, page) {
    this.recording = recording;
    this.page = page;
    const number = (label, least, change) => {
      const field = make("input", { type: "number", min: least, max: recording.steps - 1 + recording.first, step: 1, "aria-label": label, change });
      return field;
    };
    const bounds = () => {
      const [start, stop] = [this.start, this.stop].map((field) => Number(field.value) - recording.first);
      if (start >= 0 && stop >= start && stop < recording.steps) page.set({ span: [start, stop + 1], anchor: start, step: stop });
      else this.update(page.view, new Set(["span"]));
    };
    this.start = number("First step of the selection", recording.first, bounds);
    this.stop = number("Last step of the selection", recording.first, bounds);
    this.threshold = make("input", { type: "number", step: 0.05, "aria-label": "A unit is on at or above this value", change: () => page.set({ threshold: Number(this.threshold.value) || 0 }) });
    this.result = make("div", { class: "found", "aria-live": "polite" });
    this.element = make("section", { class: "panel selection", "aria-label": "Selection" },
      make("header", {}, make("h2", {}, "Selection")),
      make("div", { class: "fields" },
        make("label", {}, "steps ", this.start), make("label", {}, "to ", this.stop), make("label", {}, "on at or above ", this.threshold)),
      this.result);
  }

  update(view, changed) {
    if (!["span", "threshold", "found", "name"].some((what) => changed.has(what))) {
      if (changed.has("unit")) this.press(view.unit);
      return;
    }
    const { span, found, name, threshold } = view, { first } = this.recording;
    this.start.value = span ? first + span[0] : "";
    this.stop.value = span ? first + span[1] - 1 : "";
    this.threshold.value = threshold;
    this.result.replaceChildren(...(span ? this.shown(found, span, name) : [make("p", { class: "empty" }, "Select steps to see which units are on in all of them, and where else these units are on.")]));
    this.press(view.unit);
  }

  press(unit) {
    for (const chip of this.result.querySelectorAll("button[data-unit]")) chip.setAttribute("aria-pressed", Number(chip.dataset.unit) === unit);
  }

  shown({ units, always, matches }, span, name) {
    const chip = (unit, title) => make("button", { type: "button", class: "chip", "data-unit": unit, title, click: () => this.page.set({ unit }) }, String(unit));
    const rest = always.filter((unit) => !units.some((one) => one.unit === unit));
    const parts = [make("p", { class: "span" }, this.passage(...span, 0))];
    parts.push(make("h3", {}, "On in all selected steps, off next to them"));
    parts.push(units.length
      ? make("div", { class: "chips decisive" }, ...units.map(({ unit, mean, outside }) => chip(unit, `${brief(mean)} in the selection, ${brief(outside)} next to it`)))
      : make("p", { class: "empty" }, `No unit of ${name}.`));
    if (rest.length) parts.push(make("details", {}, make("summary", {}, `${rest.length} on next to them too`), make("div", { class: "chips" }, ...rest.map((unit) => chip(unit)))));
    if (!units.length) return parts;
    parts.push(make("h3", {}, matches.length ? `Other places where most of them are on: ${whole(matches.length)}` : "On in no other place"));
    const row = ({ start, stop, units: together }) => make("li", {}, make("button", {
      type: "button", class: "passage", "data-start": start, "data-stop": stop, "data-units": together, click: () => this.page.move(start),
    }, make("small", {}, `${together}/${units.length}`), this.passage(start, stop, AROUND)));
    parts.push(make("ol", { class: "matches" }, ...matches.slice(0, MATCHES).map(row)));
    if (matches.length > MATCHES) parts.push(make("p", { class: "keys" }, `and ${whole(matches.length - MATCHES)} more`));
    return parts;
  }

  /** The labels of a stretch, with some around it. */
  passage(start, stop, around) {
    const { labels, steps, kind } = this.recording;
    if (kind !== "text") return make("span", {}, stop - start > 1 ? `${labels[start]} to ${labels[stop - 1]}` : labels[start]);
    const text = (a, b) => inLine(labels.slice(Math.max(0, a), Math.min(b, steps)).join(""));
    const long = stop - start > 60;
    const within = long ? [text(start, start + 40), "…", text(stop - 15, stop)].join("") : text(start, stop);
    return make("code", {}, text(start - around, start).padStart(around), make("mark", {}, within), text(stop, stop + Math.max(0, around - (stop - start) / 2)));
  }
}
