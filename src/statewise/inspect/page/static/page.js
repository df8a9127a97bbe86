// The page: what is looked at, and the parts that show it and change it.

class Page {
  constructor(element, recording) {
    this.recording = recording;
    this.element = element;
    this.view = { ...recording.opening, step: 0, span: null, found: null, threshold: 0.3, paint: "unit", from: 0, count: 1 };
    this.pending = new Set(["size"]);
    this.listeners = new AbortController();
    this.text = recording.kind === "text" ? new TextView(recording, this) : new CurveView(recording, this);
    this.gates = new GatesView(recording, this);
    this.bar = new Toolbar(recording, this);
    this.parts = [
      this.bar, this.text, this.gates, new HeatmapView(recording, this), new SelectionView(recording, this),
      recording.cards.length && new CardsView(recording, this), recording.horizon && new HorizonView(recording),
    ].filter(Boolean);
    this.build();
    this.set({ ...this.view, ...this.opening() });
  }

  build() {
    const [bar, text, gates, heat, ...aside] = this.parts.map((part) => part.element);
    const player = make("section", { class: "panel playing", "aria-label": "Step by step" });
    this.element.classList.add("statewise");
    this.element.dataset.kind = this.recording.kind;
    this.element.replaceChildren(
      this.header(), bar,
      make("main", {}, make("div", { class: "column" }, text, gates, player, heat), make("div", { class: "column aside" }, ...aside)));
    (embedded ? document : this.element).addEventListener("keydown", (event) => this.key(event), { signal: this.listeners.signal });
    DARK.addEventListener("change", () => this.refresh("theme"), { signal: this.listeners.signal });
    let width = this.element.clientWidth;
    this.watch = new ResizeObserver(() => {
      if (Math.abs(this.element.clientWidth - width) < 2) return;
      width = this.element.clientWidth;
      this.refresh("size");
    });
    this.watch.observe(this.element);
    const { name, unit, step } = this.view;
    this.player = new Player(player, this.recording, { name, unit, step, onstep: (now) => this.move(now) });
  }

  header() {
    const { title, layers, each, steps, first, total, notes } = this.recording;
    const of = total === null ? "" : ` of ${whole(total)}`;
    const place = steps === 1 ? `step ${whole(first)}${of}` : `steps ${whole(first)} to ${whole(first + steps - 1)}${of}`;
    const facts = [layers.map((layer) => layer.label).join(" → "), `${place}, one ${each} each`];
    return make("header", { class: "title" }, make("h1", {}, title), ...facts.map((fact) => make("p", {}, fact)), ...notes.map((note) => make("p", { class: "note" }, note)));
  }

  /** Where to begin: at the first card's highest place, else where the unit is farthest from zero. */
  opening() {
    const { cards } = this.recording, { name, unit } = this.view;
    const known = cards.find((card) => card.name === name && card.unit === unit)?.top.find(({ step }) => step !== null);
    if (known) return { step: known.step };
    let step = 0;
    const values = this.recording.unit(name, unit);
    values.forEach((value, t) => { if (Math.abs(value) > Math.abs(values[step])) step = t; });
    return { step };
  }

  /** A new step, and with `extend` a selection up to it. */
  move(to, extend = false) {
    const step = Math.min(Math.max(0, to), this.recording.steps - 1);
    if (!extend) return this.set({ step, anchor: undefined });
    const anchor = this.anchor();
    this.set({ step, anchor, span: [Math.min(anchor, step), Math.max(anchor, step) + 1] });
  }

  /** Where the selection that goes on began. */
  anchor() {
    const { anchor, span, step } = this.view;
    if (anchor !== undefined) return anchor;
    if (span && step === span[1] - 1) return span[0];
    return span && step === span[0] ? span[1] - 1 : step;
  }

  stepAt(share) {
    const { from, count } = this.view;
    return Math.min(from + count - 1, Math.max(from, from + Math.floor(share * count)));
  }

  /** Keys of the charts: along time, and from unit to unit. */
  timeKey(event) {
    const { step, unit } = this.view, { steps } = this.recording;
    const along = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 0, End: steps - 1, PageUp: step - 50, PageDown: step + 50 };
    const across = { ArrowUp: unit - 1, ArrowDown: unit + 1 };
    if (event.altKey || event.metaKey || !(event.key in along || event.key in across)) return;
    event.preventDefault();
    if (event.key in along) this.move(along[event.key], event.shiftKey);
    else this.choose(across[event.key]);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    if (event.key === "Escape") this.set({ span: null, anchor: undefined });
    else if (event.key === "[") this.choose(this.view.unit - 1);
    else if (event.key === "]") this.choose(this.view.unit + 1);
  }

  /** Another unit of the same value, the first after the last. */
  choose(unit) {
    const width = this.recording.width(this.view.name);
    this.set({ unit: (unit + width) % width });
  }

  /** Change what is looked at; all parts follow with the next frame. */
  set(change) {
    const now = { ...this.view, ...change };
    now.unit = Math.min(now.unit, this.recording.width(now.name) - 1);
    for (const key of Object.keys(now)) if (now[key] !== this.view[key] || !this.started) this.pending.add(key);
    this.view = now;
    if (["span", "threshold", "name"].some((what) => this.pending.has(what))) {
      now.found = now.span && findUnits(this.recording, now.name, ...now.span, now.threshold);
      this.pending.add("found");
    }
    this.started = true;
    this.frame ??= requestAnimationFrame(() => this.update());
  }

  refresh(what) {
    this.pending.add(what);
    this.frame ??= requestAnimationFrame(() => this.update());
  }

  update() {
    this.frame = undefined;
    const changed = this.pending;
    this.pending = new Set();
    this.widen(changed);
    for (const part of this.parts) part.update(this.view, changed);
    if (["name", "unit", "step"].some((what) => changed.has(what))) {
      const { name, unit, step } = this.view;
      this.player.set({ name, unit, step });
    }
  }

  /** The stretch of time that the charts show: as many steps as there is room for, about the cursor. */
  widen(changed) {
    const { view, recording } = this, room = this.gates.plot.element.clientWidth - LEFT - RIGHT;
    const count = Math.max(1, Math.min(recording.steps, recording.wide ? Math.floor(room / 14) : Math.max(24, Math.floor(room / 8))));
    const edge = Math.min(8, Math.floor(count / 4));
    const within = count === view.count && view.step >= view.from + edge && view.step < view.from + count - edge;
    const from = within ? view.from : Math.min(Math.max(0, view.step - Math.floor(count / 2)), recording.steps - count);
    if (from !== view.from || count !== view.count) changed.add("from");
    Object.assign(view, { from, count });
  }

  leave() {
    this.listeners.abort();
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    this.player.destroy();
  }
}

/** What is looked at, and where in time. */
class Toolbar {
  constructor(recording, page) {
    this.recording = recording;
    this.page = page;
    this.name = make("select", { "aria-label": "Value", change: () => page.set({ name: this.name.value }) },
      ...recording.layers.map((layer) => make("optgroup", { label: `${layer.index} ${layer.label}` },
        ...layer.names.map((own) => make("option", { value: `${layer.index}.${own}` }, `${layer.index}.${own} ${roleOf(layer, own)}`.trim())))));
    this.unit = make("input", { type: "number", min: 0, step: 1, "aria-label": "Unit", change: () => page.set({ unit: Math.max(0, Math.floor(Number(this.unit.value)) || 0) }) });
    this.strip = make("canvas", { "aria-hidden": "true" });
    this.slider = make("input", { type: "range", min: 0, max: recording.steps - 1, step: 1, "aria-label": "Step", input: () => page.move(Number(this.slider.value)) });
    this.now = make("output", { class: "now" });
    this.scale = make("span", { class: "scale" }, make("span"), make("canvas", { width: 65, height: 1, "aria-hidden": "true" }), make("span"));
    const turn = (by, sign, label) => make("button", { type: "button", "aria-label": label, click: () => page.choose(page.view.unit + by) }, sign);
    this.element = make("div", { class: "toolbar", role: "toolbar", "aria-label": "What is looked at" },
      make("div", { class: "which" }, this.name, make("label", { class: "unit" }, "unit ", this.unit), turn(-1, "‹", "Unit before"), turn(1, "›", "Next unit")),
      this.now, this.scale, make("div", { class: "timeline" }, this.strip, this.slider));
  }

  update(view, changed) {
    const { recording } = this;
    this.name.value = view.name;
    this.unit.max = recording.width(view.name) - 1;
    this.unit.value = view.unit;
    this.slider.value = view.step;
    this.slider.setAttribute("aria-valuetext", `step ${recording.first + view.step}`);
    const value = recording.value(view.name, view.step, view.unit), label = recording.labels[view.step];
    this.now.replaceChildren(make("span", {}, `step ${whole(recording.first + view.step)}`), make("code", {}, glyph(label)),
      make("b", {}, brief(value)), ...this.surprise(view.step));
    if (["name", "unit", "theme", "size"].some((what) => changed.has(what))) this.paint(view);
  }

  surprise(step) {
    const { loss } = this.recording;
    return loss && Number.isFinite(loss.values[step]) ? [make("span", { class: "surprise" }, `${brief(loss.values[step])} ${loss.unit}`)] : [];
  }

  /** All steps in a line, each pixel the value farthest from zero of the steps it stands for. */
  paint({ name, unit }) {
    const values = this.recording.unit(name, unit), most = scaleOf(values), width = Math.max(1, Math.min(values.length, this.strip.clientWidth || 600));
    this.strip.width = width;
    this.strip.height = 1;
    const context = this.strip.getContext("2d");
    for (let x = 0; x < width; x++) {
      let farthest = 0;
      const stop = Math.max(Math.floor((x * values.length) / width) + 1, Math.floor(((x + 1) * values.length) / width));
      for (let t = Math.floor((x * values.length) / width); t < stop; t++) if (Math.abs(values[t]) > Math.abs(farthest)) farthest = values[t];
      context.fillStyle = tint(farthest / most);
      context.fillRect(x, 0, 1, 1);
    }
    const [low, key, high] = this.scale.children, legend = key.getContext("2d");
    for (let x = 0; x < 65; x++) {
      legend.fillStyle = tint(x / 32 - 1);
      legend.fillRect(x, 0, 1, 1);
    }
    low.textContent = brief(-most);
    high.textContent = `+${brief(most)}`;
  }
}

/** Let plotly in where it comes as text, as in a notebook. */
function loadPlotly(source) {
  if (globalThis.Plotly || !source) return;
  const script = document.createElement("script");
  script.textContent = `(function (module, exports, define) {${source}}).call(globalThis);`;
  document.head.append(script);
  script.remove();
}

async function render({ model, el }) {
  loadPlotly(model.get("plotly"));
  const payload = model.get("payload");
  try {
    const recording = await Recording.decode(payload);
    const page = new Page(el, recording);
    return () => page.leave();
  } catch (error) {
    el.replaceChildren(make("p", {}, `This recording cannot be shown: ${error.message}`));
    throw error;
  }
}

const embedded = document.getElementById("recording");
if (embedded) render({ model: new Map([["payload", JSON.parse(embedded.textContent)]]), el: document.getElementById("page") });

export default { render };
