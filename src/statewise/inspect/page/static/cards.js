// What is known of single units: what they follow, what holding them does, where they are highest.

/** A label that a unit follows, or is lowest where it is highest. */
const labelText = ({ label, sign }) => (sign < 0 ? `${label}, inverted` : label);

class CardsView {
  constructor(recording, page) {
    this.recording = recording;
    this.page = page;
    this.cards = recording.cards.map((card, k) => this.card(card, k === 0));
    this.element = make("section", { class: "panel cards", "aria-label": "Unit cards" },
      make("header", {}, make("h2", {}, "Units worth a look")), ...this.cards);
  }

  update({ name, unit }, changed) {
    if (!changed.has("name") && !changed.has("unit")) return;
    this.recording.cards.forEach((card, k) => {
      this.cards[k].classList.toggle("chosen", card.name === name && card.unit === unit);
    });
  }

  card(card, open) {
    const best = card.labels[0];
    const known = this.recording.names.includes(card.name);
    const look = known && make("button", { type: "button", click: () => this.page.set({ name: card.name, unit: card.unit }) }, "Show");
    return make("details", { class: "card", open, "data-name": card.name, "data-unit": card.unit },
      make("summary", {}, make("b", {}, `${card.name} ${card.unit}`), make("span", {}, best ? ` ${labelText(best)} ${brief(best.score)}` : "")),
      make("p", { class: "keys" }, `mean ${brief(card.mean)}, mostly ${brief(card.low)} to ${brief(card.high)} `, look),
      ...this.follows(card.labels), ...card.effects.flatMap((effect) => this.effect(effect, card.measure)),
      ...this.contexts("Highest", card.top, card), ...this.contexts("Lowest", card.bottom, card));
  }

  follows(labels) {
    if (!labels.length) return [];
    const bar = ({ label, score, sign, control }) => {
      const meter = make("span", { class: "meter" }, make("i"), make("i", { class: "control" }));
      meter.children[0].style.width = `${100 * Math.min(1, score ?? 0)}%`;
      meter.children[1].style.left = `${100 * Math.min(1, control ?? 0)}%`;
      return make("tr", {}, make("th", { scope: "row" }, labelText({ label, sign })), make("td", {}, meter), make("td", {}, brief(score)), make("td", {}, brief(control)));
    };
    return [make("table", {}, make("thead", {}, make("tr", {}, ...["follows", "", "score", "control"].map((word) => make("th", { scope: "col" }, word)))),
      make("tbody", {}, ...labels.slice(0, 5).map(bar)))];
  }

  effect(effect, measure) {
    const where = effect.where.slice(0, 3).map(({ label, change }) => make("li", {}, make("span", {}, signed(change)), label));
    return [
      make("h3", {}, `${effect.kind} to ${brief(effect.to)}: loss ${signed(effect.change)} ${measure ?? ""}`),
      make("ul", { class: "where" }, ...where),
      ...this.contexts("", effect.contexts.slice(0, 3)),
    ];
  }

  contexts(title, contexts) {
    if (!contexts.length) return [];
    const line = ({ step, value, before, at, after }) => {
      const text = [make("small", {}, brief(value)), make("code", {}, inLine(before.slice(-24)), make("mark", {}, inLine(at)), inLine(after.slice(0, 12)))];
      return make("li", {}, step === null
        ? make("span", { class: "passage" }, ...text)
        : make("button", { type: "button", class: "passage", "data-step": step, click: () => this.page.move(step) }, ...text));
    };
    return [title && make("h3", {}, title), make("ol", { class: "matches" }, ...contexts.slice(0, 5).map(line))];
  }
}
