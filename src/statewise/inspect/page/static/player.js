// The step-by-step player: one unit of one layer, computed again before the reader's eyes.

const PLAYER_SECONDS = 1.1; // of a phase, at speed 1
const PLAYER_ICONS = {
  play: "M7 4.5v15l12-7.5z", pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  next: "M8 5l8 7-8 7z", previous: "M16 5l-8 7 8 7z",
  forward: "M5 5l8 7-8 7zM15 5h3v14h-3z", back: "M19 5l-8 7 8 7zM9 5H6v14h3z",
};

class Player {
  /**
   * `element`: where to be; `recording`: the values; `name`, `unit`, `step`: where to begin;
   * `onstep(step)` is called when the reader comes to another step here.
   */
  constructor(element, recording, { name = recording.names[0], unit = 0, step = 0, onstep = () => {} } = {}) {
    Object.assign(this, { recording, onstep, speed: 1, frame: 0, single: false });
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.place = element;
    this.build();
    this.set({ name, unit, step });
    this.sizes = new ResizeObserver(() => this.arrange());
    this.sizes.observe(this.root);
  }

  build() {
    const button = (icon, label, click) =>
      make("button", { type: "button", class: "player-button", title: label, "aria-label": label, click },
        playerSvg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, playerSvg("path", { d: PLAYER_ICONS[icon] })));
    this.toggle = button("play", "Play", () => (this.playing ? this.pause() : this.play()));
    this.toggle.classList.add("player-primary");
    const speed = make("select", { "aria-label": "Speed", change: () => { this.speed = Number(speed.value); } },
      ...[[0.5, "½×"], [1, "1×"], [2, "2×"], [4, "4×"], [16, "16×"]].map(([value, text]) => make("option", { value }, text)));
    speed.value = "1";
    this.title = make("h3", {});
    this.slider = make("input", { type: "range", min: 0, max: this.recording.steps - 1, "aria-label": "Step", input: () => this.go(Number(this.slider.value)) });
    this.phases = make("ol", { class: "player-phases" });
    this.tape = new PlayerTape(this.recording, (step) => this.go(step));
    this.stage = make("div", { class: "player-stage" });
    this.words = make("p", { class: "player-words", "aria-live": "polite" });
    this.sums = make("div", { class: "player-sums", "aria-hidden": "true" });
    this.legend = make("p", { class: "player-legend" });
    this.root = make("section", { class: "player", tabindex: 0, "aria-label": "The cell, step by step", keydown: (event) => this.key(event) },
      make("div", { class: "player-head" }, this.title,
        make("div", { class: "player-controls" },
          button("back", "Previous step", () => this.go(this.step - 1)),
          button("previous", "Previous phase", () => this.previous()),
          this.toggle,
          button("next", "Next phase", () => this.next()),
          button("forward", "Next step", () => this.go(this.step + 1)),
          speed)),
      this.tape.root, this.slider, this.phases, this.words, this.stage, this.sums, this.legend);
    this.place.append(this.root);
  }

  /** Show the unit of another value, another unit or step, whole: all values that the unit has. */
  set({ name = this.name, unit = this.unit, step = this.step } = {}) {
    const names = this.recording.companions(name), changed = names !== this.names || unit !== this.unit;
    if (!changed && step === this.step) return;
    this.layer = this.recording.layerOf(name);
    Object.assign(this, { name, names, units: this.recording.width(name) });
    this.unit = Math.max(0, Math.min(unit, this.units - 1));
    this.step = Math.max(0, Math.min(step, this.recording.steps - 1));
    this.phase = undefined; // nothing is drawn until all is known
    if (changed) this.choose();
    this.at(this.step, this.last, 1, true);
  }

  /** The diagram of the layer's cell, and the values at which its pipes are full. */
  choose() {
    const { layer, unit, names } = this;
    this.cell = playerCell(layer, names);
    this.memory = this.cell?.memory ?? ["c", "h"].map((field) => names.find((name) => name.split(".").at(-1) === field)).find(Boolean) ?? names[0];
    this.tape.show(this.recording.unit(this.full(this.memory), unit), this.memory);
    this.last = (this.cell?.phases.length ?? 1) - 1;
    this.act = layer.activation;
    const through = (name) => this.through(name), squash = PLAYER_SQUASH[this.act];
    this.scales = { inner: playerFull(this.cell?.inner(through) ?? []), outer: playerFull(this.cell?.outer(through, squash) ?? []) };
    const some = names.length < layer.names.length ? `: ${names.join(", ")}` : "";
    this.title.textContent = `Unit ${unit} of layer ${layer.index}, ${layer.label}${some}`;
    this.phases.replaceChildren(...(this.cell?.phases ?? []).map((name, phase) => make("li", {},
      make("button", { type: "button", click: () => this.at(this.step, phase, 1) }, name))));
    this.equate();
    this.explain();
    this.layout = null;
    this.arrange();
  }

  full(name) {
    return `${this.layer.index}.${name}`;
  }

  /** The unit's values of a name through time, those before the first step included where there are any. */
  through(name) {
    if (!this.names.includes(name)) return [];
    const first = this.recording.value(this.full(name), -1, this.unit);
    const all = this.recording.unit(this.full(name), this.unit);
    return first === null ? [...all] : [first, ...all];
  }

  /** The step's equations, of which each number appears when its phase comes. */
  equate() {
    this.terms = [];
    const term = (one) => {
      if (typeof one === "string") return make("span", { class: "player-sign" }, one.replaceAll("ACT", this.act));
      const [symbol, value, phase] = one, number = make("b");
      this.terms.push({ number, value, phase });
      return make("span", { class: "player-term" }, make("i", {}, symbol.replaceAll("ACT", this.act)), number);
    };
    this.sums.replaceChildren(...(this.cell?.equations ?? []).map((line) => make("span", { class: "player-equation" }, ...line.map(term))));
  }

  explain() {
    const swatch = (name) => make("span", { class: `player-swatch player-swatch-${name}` });
    const { inner, outer } = this.scales, elman = this.cell === PLAYER_ELMAN;
    const within = this.memory === "h" && !elman ? "" : `±${inner} in ${elman ? "a" : "c"}, `;
    this.legend.replaceChildren(...(this.cell
      ? [swatch("low"), " below zero ", swatch("high"), ` above; a full pipe is ${within}±${outer} in h. `,
        ...(elman ? [] : [swatch("gate"), " how far a gate is open. "])]
      : [`No diagram is drawn of ${this.layer.label}: these are the unit's values, step by step. ${this.recording.strangers(this.name)} `]),
      make("span", { class: "player-keys" }, this.cell ? "Keys: space plays, ← → phase, ↑ ↓ step." : "Keys: space plays, ↑ ↓ step."));
  }

  /** Wide or narrow, as there is room. */
  arrange() {
    const { layer } = this, layout = this.root.clientWidth >= 640 ? "wide" : "narrow";
    if (layout !== this.layout) {
      this.layout = layout;
      this.drawing = this.cell
        ? new PlayerDrawing(this.cell, layout, { scales: this.scales, act: this.act, gate: layer.gate, units: this.units })
        : new PlayerValues(Object.fromEntries(this.names.map((name) => [name, this.recording.unit(this.full(name), this.unit)])));
      this.stage.replaceChildren(this.drawing.root);
    }
    if (this.phase !== undefined) this.draw();
  }

  // Time

  play() {
    if (this.playing) return;
    this.halt();
    if (this.ended) this.go(0);
    this.begin(null);
  }

  pause() {
    this.halt();
    this.draw();
  }

  get playing() {
    return this.frame !== 0 && !this.single;
  }

  get ended() {
    return this.step === this.recording.steps - 1 && this.phase === this.last && this.k === 1;
  }

  next() {
    this.halt();
    if (this.ended) return;
    if (this.still.matches && this.k === 1) {
      this.advance();
      this.at(this.step, this.phase, 1);
    } else this.begin(true);
  }

  previous() {
    if (this.phase) this.at(this.step, this.phase - 1, 1);
    else if (this.step) {
      this.at(this.step - 1, this.last, 1);
      this.onstep(this.step);
    }
  }

  /** To a step the reader chose, whole. */
  go(step) {
    const found = Math.max(0, Math.min(step, this.recording.steps - 1));
    const moved = found !== this.step;
    this.at(found, this.last, 1, true);
    if (moved) this.onstep(found);
  }

  at(step, phase, k, whole = false) {
    this.halt();
    Object.assign(this, { step, phase, k, whole });
    this.draw();
  }

  halt() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  /** Let time pass; `single`: to the end of one phase only. */
  begin(single) {
    if (this.k === 1) this.advance();
    Object.assign(this, { single, whole: false });
    let before = performance.now();
    const tick = (now) => {
      this.k += (Math.min(100, now - before) / 1000 / PLAYER_SECONDS) * this.speed;
      before = now;
      while (this.k >= 1) {
        if (single || this.stopsHere()) return this.at(this.step, this.phase, 1);
        this.advance(this.k - 1);
      }
      this.frame = requestAnimationFrame(tick);
      this.draw();
    };
    this.frame = requestAnimationFrame(tick);
    this.draw();
  }

  stopsHere() {
    return this.step === this.recording.steps - 1 && this.phase === this.last;
  }

  advance(k = 0) {
    this.k = k;
    if (this.phase < this.last) this.phase++;
    else {
      this.phase = 0;
      this.step++;
      this.onstep(this.step);
    }
  }

  key(event) {
    const { target, key } = event;
    if (target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if ((key === " " || key === "Enter") && target !== this.root) return;
    const act = {
      " ": () => (this.playing ? this.pause() : this.play()),
      ArrowRight: () => this.next(), ArrowLeft: () => this.previous(),
      ArrowDown: () => this.go(this.step + 1), ArrowUp: () => this.go(this.step - 1),
      Home: () => this.go(0), End: () => this.go(this.recording.steps - 1),
    }[key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // Looks

  /** What is known of this step: the trace's values, those before it, and what follows from them. */
  values() {
    const { recording, step, unit } = this, now = {}, old = {};
    for (const name of this.cell.names) now[name] = recording.value(this.full(name), step, unit);
    for (const name of ["c", "h"]) if (name in now) old[name] = recording.before(this.full(name), step, unit);
    return { ...this.cell.values(now, old, PLAYER_SQUASH[this.act]), input: playerLabel(recording.labels[step]) };
  }

  draw() {
    const { step, phase, k, recording } = this;
    const moves = this.frame !== 0 && !this.still.matches;
    this.tape.draw(step);
    this.slider.value = step;
    this.slider.setAttribute("aria-valuetext", `step ${recording.first + step}, ${playerSpoken(recording, step)}`);
    this.root.classList.toggle("player-playing", this.playing);
    const doing = this.playing ? "Pause" : "Play";
    this.toggle.querySelector("path").setAttribute("d", PLAYER_ICONS[doing.toLowerCase()]);
    this.toggle.setAttribute("aria-label", doing);
    this.toggle.title = doing;
    this.words.setAttribute("aria-live", this.playing ? "off" : "polite");
    [...this.phases.children].forEach((item, i) => {
      item.classList.toggle("player-passed", i < phase);
      item.firstChild.setAttribute("aria-current", i === phase ? "step" : "false");
    });
    if (!this.cell) {
      this.drawing.draw(step, this.tape.root.clientWidth);
      return this.say(`Step ${recording.first + step}, ${playerSpoken(recording, step)}: ${this.names.map((name) => `${name} ${playerNumber(recording.value(this.full(name), step, this.unit))}`).join(", ")}.`);
    }
    const values = this.values();
    this.drawing.draw(values, phase, this.still.matches ? 1 : k, moves);
    for (const { number, value, phase: own } of this.terms) {
      number.textContent = value ? playerNumber(values[value]) : "";
      number.classList.toggle("player-coming", own > phase);
    }
    const about = { input: playerSpoken(recording, step), units: this.units, act: this.act };
    const name = this.cell.phases[phase];
    const forgot = recording.resets.has(step) ? "The state was reset. " : "";
    this.say(forgot + (this.whole ? this.cell.summary(values, about) : this.cell.words[name](values, about)));
    this.drawing.root.setAttribute("aria-label", `Step ${recording.first + step}, ${about.input}. ${this.cell.summary(values, about)}`);
  }

  say(text) {
    if (this.words.textContent !== text) this.words.textContent = text;
  }

  destroy() {
    this.halt();
    this.sizes.disconnect();
    this.root.remove();
  }
}

/** The least round number that no value exceeds. */
function playerFull(values) {
  const most = Math.max(1e-6, playerMost(values));
  const power = 10 ** Math.floor(Math.log10(most));
  const least = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((n) => n * power >= most * (1 - 1e-3));
  return Number((least * power).toPrecision(2));
}

/** What a step reads, in words. */
function playerSpoken({ kind, labels, series }, step) {
  const label = labels[step];
  if (kind === "series") return series ? `${label} (${playerNumber(series[step])})` : label;
  const named = { " ": "a space", "\n": "a line end", "\t": "a tab", "": "a part of a character" }[label];
  return named ?? `“${glyph(label)}”`;
}
