// The text, a character a step, coloured by what is looked at.

const LEAF = 3000;

class TextView {
  constructor(recording, page) {
    this.recording = recording;
    this.page = page;
    this.leaf = -1;
    this.cells = [];
    this.marked = [];
    this.tip = make("div", { class: "tip", hidden: true });
    this.body = make("div", {
      class: "text", tabindex: "0", role: "textbox", "aria-readonly": "true", "aria-multiline": "true",
      "aria-label": "The text that was read", "aria-describedby": "text-keys",
      keydown: (event) => this.key(event),
      pointermove: (event) => this.over(event),
      pointerleave: () => this.hint(null),
      scroll: () => this.hint(null),
    });
    onPress(this.body, (event) => this.down(event));
    addEventListener("pointerup", () => { this.from = undefined; }, { signal: page.listeners.signal });
    const leaves = Math.ceil(recording.steps / LEAF);
    const turn = (by, label) => make("button", { type: "button", click: () => page.move(Math.min(Math.max(0, this.leaf + by), leaves - 1) * LEAF) }, label);
    this.where = make("span");
    this.element = make("section", { class: "panel reading", "aria-label": "Text" },
      make("header", {}, make("h2", {}, "Text"), this.choice(),
        leaves > 1 && make("span", { class: "leaves" }, turn(-1, "Earlier"), this.where, turn(1, "Later"))),
      make("div", { class: "frame" }, this.body, this.tip),
      make("p", { class: "keys", id: "text-keys" },
        "Arrow keys move, with Shift they select; [ and ] change the unit; Escape clears the selection."));
  }

  /** What the text is coloured by: the unit, or how badly each character was predicted. */
  choice() {
    const { loss } = this.recording;
    if (!loss) return null;
    const pick = (value, label) => make("label", {},
      make("input", { type: "radio", name: "paint", value, checked: value === "unit", change: () => this.page.set({ paint: value }) }),
      make("span", {}, label));
    return make("fieldset", { class: "choice" }, make("legend", { class: "unseen" }, "Colour"),
      pick("unit", "by the unit"), pick("loss", "by surprise"));
  }

  // Pointer and keys

  stepAt(event) {
    const step = event.target.dataset?.step;
    return step === undefined ? null : Number(step);
  }

  down(event) {
    const step = this.stepAt(event);
    if (step === null) return;
    this.from = event.shiftKey ? this.page.anchor() : step;
    this.page.move(step, event.shiftKey);
  }

  over(event) {
    const step = this.stepAt(event);
    this.hint(event.pointerType === "mouse" ? step : null);
    if (step === null || this.from === undefined || !event.buttons) return;
    this.page.set({ step, span: [Math.min(this.from, step), Math.max(this.from, step) + 1], anchor: this.from });
  }

  hint(step) {
    this.tip.hidden = step === null;
    if (step === null) return;
    const cell = this.cells[step - this.leaf * LEAF], { name, unit, paint } = this.page.view;
    const value = paint === "loss" ? `${brief(this.recording.loss.values[step])} ${this.recording.loss.unit}` : brief(this.recording.value(name, step, unit));
    this.tip.textContent = `${whole(this.recording.first + step)}: ${value}`;
    const room = this.body.parentNode.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(room, cell.offsetLeft - this.body.scrollLeft))}px`;
    const above = cell.offsetTop - this.body.scrollTop - this.tip.offsetHeight - 4;
    this.tip.style.top = `${above < 0 ? above + this.tip.offsetHeight + cell.offsetHeight + 8 : above}px`;
  }

  key(event) {
    const { step } = this.page.view, line = () => this.lineOf(step);
    const moves = {
      ArrowLeft: () => step - 1, ArrowRight: () => step + 1,
      ArrowUp: () => this.beside(step, -1), ArrowDown: () => this.beside(step, 1),
      Home: () => (event.ctrlKey ? 0 : line()[0]), End: () => (event.ctrlKey ? this.recording.steps - 1 : line()[1]),
      PageUp: () => step - 400, PageDown: () => step + 400,
    };
    if (!(event.key in moves) || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.page.move(moves[event.key](), event.shiftKey);
  }

  /** The step above or below, as the lines happen to be broken. */
  beside(step, by) {
    const first = this.leaf * LEAF, here = this.cells[step - first];
    const level = (cell, other) => cell && Math.abs(cell.offsetTop - other.offsetTop) < 10; // signs are smaller
    let at = step - first + by;
    while (level(this.cells[at], here)) at += by;
    if (!this.cells[at]) return first + Math.min(Math.max(at, -1), this.cells.length);
    const line = this.cells[at];
    let best = at;
    for (; level(this.cells[at], line); at += by) {
      const gap = (cell) => Math.abs(cell.offsetLeft - here.offsetLeft);
      if (gap(this.cells[at]) < gap(this.cells[best])) best = at;
    }
    return first + best;
  }

  lineOf(step) {
    const { labels, steps } = this.recording;
    let start = step, stop = step;
    while (start > 0 && labels[start - 1] !== "\n") start--;
    while (stop < steps - 1 && labels[stop] !== "\n") stop++;
    return [start, stop];
  }

  // What is shown

  update(view, changed) {
    const leaf = Math.floor(view.step / LEAF);
    const turned = leaf !== this.leaf;
    if (turned) this.turn(leaf);
    if (turned || ["name", "unit", "paint", "theme"].some((what) => changed.has(what))) this.colour(view);
    if (turned || changed.has("span") || changed.has("found")) this.mark(view);
    if (turned || changed.has("step")) this.point(view.step);
  }

  turn(leaf) {
    this.leaf = leaf;
    this.marked = [];
    const { labels, steps, resets } = this.recording, first = leaf * LEAF;
    this.cells = labels.slice(first, first + LEAF).map((label, i) => {
      const cell = make("span", { "data-step": first + i, class: resets.has(first + i) ? "reset" : undefined });
      cell.textContent = this.shown(label);
      if (label === "\n" || label === "") cell.classList.add("sign");
      return cell;
    });
    this.body.replaceChildren(...this.cells);
    const last = Math.min(first + LEAF, steps);
    this.where.textContent = `${whole(this.recording.first + first)} to ${whole(this.recording.first + last - 1)}`;
  }

  /** A label as it stands in the text: tokens have room between them, tabs and lines are what they are. */
  shown(label) {
    if (this.recording.each === "token") return `${label} `;
    return label === "\n" ? "↵\n" : label === "\t" ? label : glyph(label);
  }

  colour({ name, unit, paint }) {
    const byLoss = paint === "loss" && this.recording.loss;
    const values = byLoss ? this.recording.loss.values : this.recording.unit(name, unit);
    const most = byLoss ? 8 : scaleOf(values), first = this.leaf * LEAF;
    this.cells.forEach((cell, i) => { cell.style.backgroundColor = tint(values[first + i] / most, "paper"); });
  }

  mark({ span, found }) {
    for (const [cell, kind] of this.marked) cell.classList.remove(kind);
    this.marked = [];
    const each = (start, stop, kind) => {
      const first = this.leaf * LEAF;
      for (const cell of this.cells.slice(Math.max(0, start - first), Math.max(0, stop - first))) {
        cell.classList.add(kind);
        this.marked.push([cell, kind]);
      }
    };
    if (span) each(...span, "selected");
    for (const { start, stop } of found?.matches.slice(0, MATCHES) ?? []) each(start, stop, "match");
  }

  point(step) {
    this.cursor?.classList.remove("cursor");
    this.cursor = this.cells[step - this.leaf * LEAF];
    this.cursor.classList.add("cursor");
    const top = this.cursor.offsetTop, body = this.body, edge = 40;
    if (top < body.scrollTop + edge) body.scrollTop = top - edge;
    else if (top > body.scrollTop + body.clientHeight - 2 * edge) body.scrollTop = top - body.clientHeight + 2 * edge;
  }
}
