// The page: figures every second, the list of sessions, and the one that is chosen.

import { call, hasToken, onUnauthorized, setToken } from "./api.js";
import { Chart } from "./charts.js";
import { Detail } from "./detail.js";
import { ago, count, element } from "./dom.js";

const $ = (selector) => document.querySelector(selector);
const EVERY = 1000, PAGE = 50;

// Charts

const charts = {
  rate: new Chart($("#charts"), { title: "Steps", unit: "a second", series: [""], least: 10 }),
  latency: new Chart($("#charts"), { title: "Latency", unit: "ms", series: ["p50", "p99"], least: 1 }),
  batch: new Chart($("#charts"), { title: "Sessions stepped together", unit: "a batch", series: [""], least: 4 }),
  spills: new Chart($("#charts"), { title: "Spills to the store", unit: "a second", series: [""], least: 1 }),
};
let before = null;

/** A quantile of the latency since the last look, in ms, by its histogram; null without a step. */
function quantile(now, share) {
  const counts = before ? now.latency.map((count, i) => count - before.latency[i]) : [];
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return null;
  let left = share * total;
  for (const [i, count] of counts.entries()) {
    const low = i ? now.seconds[i - 1] : 0, high = now.seconds[i] ?? low;
    if (left <= count) return 1000 * (low + (high - low) * (left / count));
    left -= count;
  }
  return null;
}

async function figures() {
  const now = await call("GET", "dashboard/figures");
  const between = (name, per) => {
    if (!before || now.time <= before.time) return null;
    const whole = per === undefined ? now.time - before.time : now[per] - before[per];
    return whole > 0 ? Math.max(0, now[name] - before[name]) / whole : null;
  };
  charts.rate.push(now.time, [between("steps")]);
  charts.latency.push(now.time, [quantile(now, 0.5), quantile(now, 0.99)]);
  charts.batch.push(now.time, [between("stepped", "batches")]);
  charts.spills.push(now.time, [between("spills")]);
  $("#models").textContent = now.models.map((model) => `${model.name} (${model.version.slice(0, 8)}, ${model.executor})`).join(" · ");
  held = now.held;
  before = now;
}

// Sessions

let shown = PAGE, held = null, chosen = null, listing = 0;
const rows = new Map();

function describe(row, info) {
  const [id, step, model, used] = row.children;
  const current = info.id === chosen;
  if (row.getAttribute("aria-current") !== String(current)) row.setAttribute("aria-current", current);
  const texts = [info.id, count(info.step), `${info.model}${info.resident ? "" : ", in the store"}`, ago(Date.now() / 1000 - info.used)];
  [id, step, model, used].forEach((place, i) => { if (place.textContent !== texts[i]) place.textContent = texts[i]; });
}

function rowOf(info) {
  if (!rows.has(info.id)) {
    const made = element("button", { class: "session", type: "button", onclick: () => open(info.id) },
      element("span", { class: "id", title: info.id }), element("span", { class: "step", title: "steps" }),
      element("small"), element("small"));
    made.dataset.id = info.id;
    rows.set(info.id, made);
  }
  const row = rows.get(info.id);
  describe(row, info);
  return row;
}

async function list() {
  const turn = ++listing, search = $("#search").value.trim();
  const found = await call("GET", `dashboard/sessions?limit=${shown}&search=${encodeURIComponent(search)}`);
  if (turn !== listing) return;
  const wanted = found.sessions.map(rowOf);
  const place = $("#sessions");
  if (wanted.length !== place.children.length || wanted.some((row, i) => row !== place.children[i])) {
    const focused = document.activeElement;
    place.replaceChildren(...wanted);
    if (focused?.isConnected && focused.classList.contains("session")) focused.focus({ preventScroll: true });
    const ids = new Set(found.sessions.map((info) => info.id));
    for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
  }
  $("#more").hidden = !found.more;
  const memory = held === null ? "" : `, ${count(held)} held in memory`;
  const many = found.more ? `the first ${count(wanted.length)}` : count(wanted.length);
  $("#count").textContent = search
    ? `${many} matching`
    : wanted.length ? `${many} session${wanted.length === 1 && !found.more ? "" : "s"}${memory}` : "No session lives yet.";
}

const detail = new Detail($("#detail"), { open, changed: () => list().catch(() => {}), say });

function open(id) {
  chosen = id;
  for (const row of rows.values()) row.setAttribute("aria-current", row.dataset.id === id);
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  detail.show(id);
  if (matchMedia("(max-width: 46rem)").matches) $("#detail").scrollIntoView({ block: "start" });
}

// The reader

let telling;
function say(text) {
  $("#notice").textContent = text;
  $("#notice").classList.add("shown");
  clearTimeout(telling);
  telling = setTimeout(() => $("#notice").classList.remove("shown"), 4000);
}

let typing;
$("#search").addEventListener("input", () => {
  shown = PAGE;
  clearTimeout(typing);
  typing = setTimeout(() => list().catch((error) => say(error.message)), 120);
});
$("#more").addEventListener("click", () => { shown += PAGE; list().catch((error) => say(error.message)); });

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const inSearch = document.activeElement === $("#search");
  if (event.key === "/" && !inSearch) {
    event.preventDefault();
    $("#search").focus();
  } else if (event.key === "Escape" && inSearch) {
    $("#search").value = "";
    $("#search").dispatchEvent(new Event("input"));
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const all = [...$("#sessions").children];
    const place = all.indexOf(document.activeElement);
    if (!all.length || (place < 0 && !inSearch)) return;
    event.preventDefault();
    const next = place + (event.key === "ArrowDown" ? 1 : -1);
    if (next < 0) $("#search").focus();
    else all[Math.min(next, all.length - 1)].focus();
  }
});

onUnauthorized(() => {
  const dialog = $("#token");
  if (dialog.open) return;
  $("#refused").textContent = hasToken() ? "The one given was refused." : "It was started with a token file.";
  dialog.showModal();
});
$("#token").addEventListener("cancel", (event) => event.preventDefault());
$("#token").addEventListener("close", () => {
  const field = $("#token").querySelector("input[type=password]");
  setToken(field.value.trim());
  field.value = "";
  turn();
});

// Every second, while the page is looked at

let timer;
async function turn() {
  clearTimeout(timer);
  const state = $("#connection");
  if (!document.hidden && !$("#token").open) {
    try {
      await figures();
      await list();
      state.className = "live";
      state.textContent = "live";
    } catch (error) {
      before = null;
      state.className = "lost";
      state.textContent = error.status === 401 ? "needs a token" : error.status ? error.message : "no connection";
    }
  }
  timer = setTimeout(turn, EVERY);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) turn(); });
if (location.hash.length > 1) open(decodeURIComponent(location.hash.slice(1)));
turn();
