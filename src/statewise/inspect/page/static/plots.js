// Charts by plotly in the page's own colours, with a cursor over them that moves without redrawing.

const LEFT = 46, RIGHT = 62;

class Plot {
  /** `pick(share, y, event, dragged)`: where it is pressed, across the drawn area, and down in pixels. */
  constructor({ label, pick, key }) {
    this.area = make("div", { class: "drawing" });
    this.line = make("div", { class: "cursor", hidden: true });
    this.element = make("div", { class: "plot", tabindex: key ? "0" : undefined, role: key ? "group" : "img", "aria-label": label },
      this.area, this.line);
    if (key) this.element.addEventListener("keydown", key);
    if (!pick) return;
    const at = (event, dragged) => {
      const box = this.area.getBoundingClientRect(), x = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      pick(x, event.clientY - box.top, event, dragged);
    };
    onPress(this.element, (event) => at(event, false));
    this.element.addEventListener("pointermove", (event) => { if (event.buttons && event.pointerType === "mouse") at(event, true); });
  }

  draw(traces, layout) {
    if (!globalThis.Plotly) {
      this.area.textContent = "Charts need plotly.";
      return;
    }
    const style = getComputedStyle(this.element), colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), tickcolor: colour("--line"),
      tickfont: { size: 11, color: colour("--soft") }, fixedrange: true, automargin: false,
    };
    const axes = Object.fromEntries(Object.entries(layout).filter(([name]) => /^[xy]axis/.test(name)).map(([name, own]) => [name, { ...axis, ...own }]));
    const whole = {
      width: this.element.clientWidth, margin: { l: LEFT, r: RIGHT, t: 6, b: 22 }, showlegend: false, dragmode: false, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: style.fontFamily, size: 11, color: colour("--ink") },
      hoverlabel: { bgcolor: colour("--ink"), bordercolor: colour("--ink"), font: { color: colour("--card"), size: 12 } },
      ...layout, ...axes,
    };
    const coloured = traces.map((trace) => ({
      ...trace,
      ...(trace.line && { line: { ...trace.line, color: colour(trace.line.color) } }),
      ...(trace.fillcolor && { fillcolor: colour(trace.fillcolor) }),
    }));
    globalThis.Plotly.react(this.area, coloured, whole, { displayModeBar: false, doubleClick: false, showTips: false });
  }

  /** Put the cursor at a share of the drawn width; it is as wide as a step. */
  point(share, width) {
    const room = this.element.clientWidth - LEFT - RIGHT;
    this.line.hidden = share < 0 || share > 1;
    this.line.style.left = `${LEFT + share * room}px`;
    this.line.style.width = `${Math.max(1, width * room)}px`;
  }
}
