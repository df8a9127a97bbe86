// One session: what is known of it, its state as it moves, and what can be done with it.

import { at, call, stream } from "./api.js";
import { ago, count, element } from "./dom.js";
import { HeatMap } from "./heatmap.js";

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export class Detail {
  /** `open(id)` shows another session, `changed()` lists them again, `say(text)` tells the reader. */
  constructor(place, { open, changed, say }) {
    Object.assign(this, { place, open, changed, say, id: null, watching: null });
  }

  show(id) {
    this.watching?.abort();
    this.watching = new AbortController();
    this.id = id;
    this.facts = element("dl", { class: "facts" });
    this.fields = element("div", { class: "fields" });
    this.kept = element("ul");
    this.none = element("p", {}, "None yet. A snapshot keeps the state as it is now.");
    const act = (label, kind, action) => element("button", {
      class: kind,
      onclick: async ({ currentTarget }) => {
        currentTarget.disabled = true;
        try { await action(); } catch (error) { this.say(error.message); }
        currentTarget.disabled = false;
      },
    }, label);
    this.act = act;
    this.place.replaceChildren(
      element("div", { class: "title" },
        element("h2", { class: "id" }, id),
        element("div", { class: "actions" },
          act("Snapshot", "primary", () => this.snapshot()),
          act("Fork", "", () => this.fork()),
          act("Delete", "danger", () => this.remove()))),
      this.facts, this.fields,
      element("div", { class: "kept" }, element("h3", {}, "Snapshots"), this.kept, this.none));
    this.map = new HeatMap(this.fields);
    this.watch(id, this.watching.signal);
  }

  close(text) {
    this.watching?.abort();
    this.id = null;
    this.place.replaceChildren(element("p", { class: "empty" }, text));
  }

  async watch(id, signal) {
    while (!signal.aborted) {
      try {
        for await (const event of stream(`dashboard/watch?session=${encodeURIComponent(id)}`, signal)) {
          if (event.error) {
            this.close(event.error.message);
            this.changed();
            return;
          }
          if (event.info) this.describe(event.info);
          if (event.fields) this.map.push(event.step, event.fields);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404 || error.status === 410) return this.close(error.message);
        await pause(1500);
      }
    }
  }

  describe(info) {
    const fact = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));
    this.facts.replaceChildren(
      fact("step", count(info.step)),
      fact("model", info.model),
      fact("weights", info.version.slice(0, 8)),
      fact("durability", info.durability),
      fact("held in", info.resident ? "memory" : "the store"),
      fact("created", ago(Date.now() / 1000 - info.created)),
      fact("last step", ago(Date.now() / 1000 - info.used)));
    if (!info.snapshots) return;
    const names = info.snapshots;
    if (names.join("\n") === this.names) return;
    this.names = names.join("\n");
    this.none.hidden = names.length > 0;
    this.kept.replaceChildren(...names.toReversed().map((name) => element("li", {},
      element("code", {}, name),
      element("span", { class: "actions" },
        this.act("Roll back", "", () => this.rollback(name)),
        this.act("Fork", "", () => this.fork(name))))));
  }

  async refresh() {
    this.describe(await call("GET", at(this.id)));
    this.changed();
  }

  async snapshot() {
    await call("POST", `${at(this.id)}/snapshots`, {});
    this.say("Snapshot kept.");
    await this.refresh();
  }

  async rollback(snapshot) {
    await call("POST", `${at(this.id)}/rollback`, { snapshot });
    this.say("Rolled back.");
    await this.refresh();
  }

  async fork(snapshot) {
    const made = await call("POST", `${at(this.id)}/fork`, snapshot ? { snapshot } : {});
    this.say(`Forked to ${made.id}.`);
    this.changed();
    this.open(made.id);
  }

  async remove() {
    const dialog = document.querySelector("#confirm");
    dialog.querySelector("code").textContent = this.id;
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
    if (dialog.returnValue !== "yes") return;
    await call("DELETE", at(this.id));
    this.close("The session is over.");
    this.changed();
  }
}
