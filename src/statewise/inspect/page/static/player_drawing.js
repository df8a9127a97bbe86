// A cell's diagram in SVG. Every part shows one value: a pipe by its width and colour, a tank by its level.

const PLAYER_PIPE = 26; // the width of a full pipe
const PLAYER_BOX = {
  wide: { gate: [88, 64], tank: [100, 60], input: [92, 58] },
  narrow: { gate: [88, 60], tank: [92, 60], input: [82, 58] },
};

function playerSvg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A line through points, its corners rounded. */
function playerPath(points, radius = 12) {
  const toward = ([x, y], [a, b]) => {
    const length = Math.hypot(a - x, b - y);
    const share = Math.min(radius, length / 2) / length;
    return `${x + (a - x) * share} ${y + (b - y) * share}`;
  };
  return points.map((point, i) => {
    if (!i) return `M${point.join(" ")}`;
    if (i === points.length - 1) return `L${point.join(" ")}`;
    return `L${toward(point, points[i - 1])}Q${point.join(" ")} ${toward(point, points[i + 1])}`;
  }).join("");
}

const playerSmooth = (k) => k * k * (3 - 2 * k);

class PlayerDrawing {
  /**
   * `cell`: one of `playerCell`; `layout`: "wide" or "narrow"; `scales`: { inner, outer }, the values
   * at which pipes and tanks are full; `act`, `gate`: the names of the activations; `units` of the layer.
   */
  constructor(cell, layout, { scales, act, gate, units }) {
    Object.assign(this, { layout, scales, act, units, places: cell[layout] });
    const [width, height] = this.places.size;
    this.root = playerSvg("svg", { class: "player-diagram", viewBox: `0 0 ${width} ${height}`, role: "img" });
    this.root.style.maxWidth = layout === "wide" ? "1080px" : "440px";
    this.updates = cell.parts.filter((part) => this.places[part.id]).map((part) => {
      const group = playerSvg("g", { class: `player-part player-${part.kind}`, "data-part": part.id });
      if (part.about) group.append(playerSvg("title", {}, part.about.replaceAll("ACT", act).replaceAll("GATE", gate)));
      const update = this[part.kind](part, group, this.places[part.id]);
      this.root.append(group);
      return { part, group, update, value: part.value ?? part.share };
    });
  }

  /** `values` by name and `input`'s text, at a share `k` of a phase; `moving`: something flows. */
  draw(values, phase, k, moving) {
    for (const { part, group, update, value } of this.updates) {
      const [own, from, to] = part.when;
      const done = phase > own || from < 0 ? 1 : phase < own ? 0 : Math.min(1, Math.max(0, (k - from) / (to - from)));
      const known = value === undefined ? null : values[value];
      const number = Number.isFinite(known) ? known : 0, text = done && known !== null ? playerNumber(known) : "";
      if (value !== undefined) group.dataset.value = known;
      group.classList.toggle("player-active", phase === own && from >= 0);
      if (!["gate", "operator"].includes(part.kind)) group.style.color = `var(--player-${number < 0 ? "low" : "high"})`;
      update({ number, text, done: playerSmooth(done), input: values.input, arrived: moving && phase === 0 ? Math.min(1, k / 0.3) : 1 });
    }
  }

  share(part, number) {
    return Math.min(1, Math.abs(number) / this.scales[part.scale ?? "inner"]);
  }

  wire(part, group, lines) {
    const paths = (name) => lines.map((points) => playerSvg("path", { class: name, d: playerPath(points), pathLength: 1 }));
    const filled = paths("player-signal");
    group.append(...paths("player-track"), ...filled);
    return ({ done }) => {
      for (const path of filled) path.style.strokeDasharray = `${done} 2`;
    };
  }

  pipe(part, group, lines) {
    const d = lines.map((points) => playerPath(points)).join("");
    const fill = playerSvg("path", { class: "player-fill", d, pathLength: 1 });
    const current = playerSvg("path", { class: "player-current", d, pathLength: 1 });
    group.append(playerSvg("path", { class: "player-track", d, "stroke-width": PLAYER_PIPE }), fill);
    group.append(current);
    return ({ number, done }) => {
      const width = number === 0 ? 0 : Math.max(1.5, PLAYER_PIPE * this.share(part, number));
      fill.setAttribute("stroke-width", width);
      fill.style.strokeDasharray = `${done} 2`;
      current.setAttribute("stroke-width", Math.min(3, width / 2));
      current.style.strokeDasharray = `0 ${done - 0.16} 0.12 2`;
      current.style.visibility = done > 0.16 && done < 1 ? "" : "hidden";
    };
  }

  /** × with a ring as full as its gate is open, or +. */
  operator(part, group, [x, y]) {
    const ring = playerSvg("circle", { class: "player-ring", cx: x, cy: y, r: 17, pathLength: 1, transform: `rotate(-90 ${x} ${y})` });
    group.append(
      playerSvg("circle", { class: "player-disc", cx: x, cy: y, r: 17 }), ring,
      playerSvg("text", { class: "player-sign", x, y: y + 7, "text-anchor": "middle" }, part.sign));
    return ({ number, done }) => {
      ring.style.strokeDasharray = `${part.share ? number * done : done} 2`;
    };
  }

  /** A box with a level, its name and its number; `level` moves the level's rectangle. */
  box(part, group, [x, y], [width, height], level) {
    const name = playerSvg("text", { class: "player-name", x, y: y - 7, "text-anchor": "middle" }, part.label, " ",
      playerSvg("tspan", { class: "player-symbol" }, part.name ?? part.value));
    const text = playerSvg("text", { class: "player-number", x, y: y + 16, "text-anchor": "middle" });
    group.append(
      playerSvg("rect", { class: "player-box", x: x - width / 2, y: y - height / 2, width, height, rx: 9 }),
      ...level, name, text);
    return text;
  }

  gate(part, group, place) {
    const [x, y] = place, [width, height] = PLAYER_BOX[this.layout].gate, inner = height - 6;
    const level = playerSvg("rect", { class: "player-level", x: x - width / 2 + 3, width: width - 6, rx: 6 });
    const said = this.box(part, group, place, [width, height], [level]);
    return ({ number, text, done }) => {
      const full = Math.min(1, Math.max(0, number)) * done * inner;
      level.setAttribute("y", y + inner / 2 - full);
      level.setAttribute("height", full);
      said.textContent = text;
      said.style.opacity = done;
    };
  }

  /** A signed level: up from the middle above zero, down below. */
  tank(part, group, place) {
    const [x, y] = place, [width, height] = PLAYER_BOX[this.layout].tank, half = height / 2 - 3;
    const level = playerSvg("rect", { class: "player-level", x: x - width / 2 + 3, width: width - 6, rx: 3 });
    const zero = playerSvg("line", { class: "player-zero", x1: x - width / 2, x2: x + width / 2, y1: y, y2: y });
    const said = this.box(part, group, place, [width, height], [level, zero]);
    const start = part.from && this.places[part.from];
    return ({ number, text, done, arrived }) => {
      const full = this.share(part, number) * half * done;
      level.setAttribute("y", number < 0 ? y : y - full);
      level.setAttribute("height", full);
      said.textContent = text;
      said.style.opacity = done;
      if (!start) return;
      const rest = 1 - playerSmooth(arrived);
      group.setAttribute("transform", `translate(${(start[0] - x) * rest} ${(start[1] - y) * rest})`);
    };
  }

  squash(part, group, [x, y, label]) {
    const half = 26, work = PLAYER_SQUASH[this.act];
    const { inner: span, outer: most } = this.scales;
    const at = (value) => [x + (20 * value) / span, y - 20 * Math.max(-1.1, Math.min(1.1, work(value) / most))];
    const points = Array.from({ length: 41 }, (_, i) => at(span * (i / 20 - 1)));
    const dot = playerSvg("circle", { class: "player-dot", r: 4.5 });
    group.append(
      playerSvg("rect", { class: "player-box", x: x - half, y: y - half, width: 2 * half, height: 2 * half, rx: 9 }),
      playerSvg("path", { class: "player-zero", d: `M${x - 22} ${y}H${x + 22}M${x} ${y - 22}V${y + 22}` }),
      playerSvg("path", { class: "player-curve", d: `M${points.map((point) => point.join(" ")).join("L")}` }), dot,
      playerSvg("text", {
        class: "player-name", "text-anchor": label ? "middle" : "end",
        x: label ? x : x - half - 6, y: label ? y - half - 8 : y + 4,
      }, this.act));
    return ({ number, done }) => {
      const [a, b] = at(number * done);
      dot.setAttribute("cx", a);
      dot.setAttribute("cy", b);
      dot.style.opacity = done ? 1 : 0;
    };
  }

  matrix(part, group, [x, y]) {
    const cells = [-8, 0, 8].flatMap((a) => [-8, 0, 8].map((b) => playerSvg("rect", { class: "player-weight", x: x + a - 2.5, y: y + b - 2.5, width: 5, height: 5, rx: 1 })));
    group.append(
      playerSvg("rect", { class: "player-box", x: x - 17, y: y - 17, width: 34, height: 34, rx: 7 }), ...cells,
      playerSvg("text", { class: "player-name player-symbol", x: x + 22, y: y - 9 }, part.label));
    return () => {};
  }

  input(part, group, [x, y]) {
    const [width, height] = PLAYER_BOX[this.layout].input;
    const text = playerSvg("text", { class: "player-number player-text", x, y: y + 16, "text-anchor": "middle" });
    group.append(
      playerSvg("rect", { class: "player-box", x: x - width / 2, y: y - height / 2, width, height, rx: 9 }),
      playerSvg("text", { class: "player-name", x, y: y - 7, "text-anchor": "middle" }, "reads ", playerSvg("tspan", { class: "player-symbol" }, "x")), text);
    return ({ done, input }) => {
      text.textContent = input;
      text.style.fontSize = `${Math.min(15.5, (width - 8) / (0.62 * input.length))}px`;
      text.style.opacity = done;
    };
  }

  /** What the gates read, which is more than this unit's own. */
  caption(part, group, [x, y]) {
    group.append(playerSvg("text", { class: "player-name", x, y, "text-anchor": "middle" }, this.units === 1 ? "x, and the old h" : `x, and the old h of all ${this.units} units`));
    return ({ done }) => { group.style.opacity = done; };
  }

  note(part, group, [x, y, how]) {
    const anchor = { middle: "middle", below: "middle", start: "start", stack: "start" }[how];
    const stacked = how === "stack" || how === "below";
    const number = playerSvg("tspan", { class: "player-number", ...(stacked ? { x, dy: 17 } : { dx: 6 }) });
    group.append(playerSvg("text", { x, y, "text-anchor": anchor },
      playerSvg("tspan", { class: "player-name" }, part.label.replaceAll("ACT", this.act)), number));
    return ({ text, done }) => {
      number.textContent = text;
      group.style.opacity = done;
    };
  }
}
