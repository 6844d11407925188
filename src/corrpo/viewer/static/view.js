"use strict";
// The page of `corrpo view`. Every string of a result reaches the page as text, never as markup.

const $ = (id) => document.getElementById(id);
const state = { result: 0, sample: 0, token: null, colour: "entropy" };
let index = null; // of the result
let shown = []; // places of the samples listed, in their order
let sample = null; // the columns of the sample
let spans = []; // its tokens
const kept = new Map();

async function get(path) {
  if (kept.has(path)) return kept.get(path);
  const reply = await fetch(path);
  if (!(reply.headers.get("content-type") || "").includes("json")) throw new Error(`${path}: ${reply.status}`);
  const content = await reply.json();
  if (!reply.ok) throw new Error(content.error);
  if (kept.size >= 40) kept.delete(kept.keys().next().value);
  kept.set(path, content);
  return content;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const ABSENT = "not measured";
const minus = (text) => text.replace("-", "−");
const DIGITS = { minimumSignificantDigits: 3, maximumSignificantDigits: 3 };
const significant = (value) => {
  if (value === null) return ABSENT;
  const tiny = value !== 0 && Math.abs(value) < 1e-4;
  return tiny ? value.toExponential(2).replaceAll("-", "−") : minus(value.toLocaleString("en", DIGITS));
};
const decimal = (value) => (value === null ? "—" : minus(value.toFixed(2)));
const count = (value) => value.toLocaleString("en");
const within = (text, size) => (/^\d+$/.test(text || "") && Number(text) < size ? Number(text) : null);

// The result

async function openResult(result) {
  index = await get(`api/${result}`);
  state.result = result;
  $("result").value = String(result);
  document.title = `${index.model} – corrpo view`;
  $("model").textContent = `${index.model} on ${index.samples_name}`;
  $("headline").textContent = `ρ ${index.rho} over ${count(index.tokens)} tokens`;
  $("headline").title = `Spearman's rho of entropy and strength, ${index.interval}`;
  $("estimator").hidden = false;
  $("estimator").textContent = index.estimator;
  $("estimator").title = index.estimator_note;
  $("notice").textContent = index.warning || "";
  const facts = Object.entries(index.settings).flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
  $("settings").querySelector("dl").replaceChildren(...facts);
  listSamples();
}

function chosen() {
  const words = $("search").value.toLowerCase();
  const correct = $("correct").value;
  const key = $("sort").value.replace("-", "");
  const sign = $("sort").value.startsWith("-") ? -1 : 1;
  const places = [...index.samples.keys()].filter((place) => {
    const each = index.samples[place];
    return (!correct || String(each.correct) === correct) && `${each.id}\n${each.prompt}`.toLowerCase().includes(words);
  });
  if (key === "order") return places;
  const rank = (place) => (index.samples[place][key] === null ? Infinity : sign * index.samples[place][key]);
  return places.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(a) - rank(b)));
}

function listSamples() {
  shown = chosen();
  const unknown = Object.entries(index.unknown).map(([reason, n]) => `${count(n)} not known (${reason})`);
  $("shown").textContent = [`${count(shown.length)} of ${count(index.samples.length)} samples`, ...unknown].join("; ");
  const list = document.createDocumentFragment();
  for (const place of shown) {
    const each = index.samples[place];
    const button = element("button");
    button.dataset.place = place;
    const title = element("span", undefined, "line");
    title.append(mark(each), element("bdi", each.id));
    const facts = element("small");
    facts.append(element("span", `ρ ${decimal(each.rho)}`), element("span", `${count(each.tokens)} tokens`));
    facts.append(element("span", `${decimal(each.entropy)} bits`));
    button.append(title, element("span", each.prompt.slice(0, 120), "line muted"), facts);
    const item = element("li");
    item.append(button);
    list.append(item);
  }
  $("samples").replaceChildren(list);
  markSample();
  tellJumps();
}

function mark({ correct, reason }) {
  const made = element("span", correct === null ? "· " : correct ? "✓ " : "✗ ", String(correct));
  made.title = correct === null ? `not known: ${reason}` : correct ? "right" : "wrong";
  return made;
}

function markSample() {
  for (const button of $("samples").querySelectorAll("button")) {
    const current = Number(button.dataset.place) === state.sample;
    button.setAttribute("aria-current", String(current));
    if (current) button.scrollIntoView({ block: "nearest" });
  }
}

// A sample

async function openSample(place, token = null) {
  const result = state.result;
  const read = await get(`api/${result}/${place}`);
  if (result !== state.result) return;
  sample = read;
  state.sample = place;
  state.token = null;
  $("prompt").textContent = sample.prompt;
  const { correct, reason, answer } = sample;
  const known = correct === null ? `not known: ${reason}` : correct ? "right" : "wrong";
  $("verdict").textContent = answer === null ? known : `${known}; the answer is ${answer}`;
  $("verdict").className = String(correct);
  const all = document.createDocumentFragment();
  spans = sample.token.map((text, i) => {
    const span = element("span", text, "t");
    span.dataset.i = i;
    span.tabIndex = i ? -1 : 0;
    span.setAttribute("role", "option");
    all.append(span);
    return span;
  });
  paint();
  $("tokens").replaceChildren(all);
  document.querySelector("main").scrollTop = 0;
  $("detail").replaceChildren(element("p", "Choose a token: click it, or walk to it with the keys.", "muted"));
  markSample();
  tellJumps();
  if (token !== null && token < spans.length) await openToken(token);
  else remember();
}

function paint() {
  const values = sample[{ entropy: "entropy_quantile", strength: "strength_quantile", disagreement: "disagreement" }[state.colour]];
  const [from, to] = [Number($("from").value), Number($("to").value)];
  let lit = 0;
  spans.forEach((span, i) => {
    const value = values[i];
    const outside = sample.entropy_quantile[i] * 100 < from || sample.strength_quantile[i] * 100 > to;
    const dim = value === null ? from > 0 || to < 100 : outside;
    span.classList.toggle("none", value === null);
    span.classList.toggle("strong", state.colour === "strength" || value < 0);
    span.classList.toggle("dim", dim);
    span.style.setProperty("--q", Math.abs(value || 0).toFixed(3));
    if (!dim) lit += 1;
  });
  $("lit").textContent = lit === spans.length ? `${count(lit)} tokens` : `${count(lit)} of ${count(spans.length)} tokens`;
  tellScale(from, to);
}

function tellScale(from, to) {
  const { entropy, strength } = index.edges;
  const told = (edges, at, unit) => (edges === null ? ABSENT : `${significant(edges[at])}${unit}`);
  $("from-value").textContent = `${(from / 100).toFixed(2)} · ${told(entropy, from, " bits")}`;
  $("to-value").textContent = `${(to / 100).toFixed(2)} · ${told(strength, to, "")}`;
  const scale = {
    entropy: [0, 50, 100].map((at) => told(entropy, at, " bits")),
    strength: [0, 50, 100].map((at) => told(strength, at, "")),
    disagreement: ["−1 sure, strong", "0", "undecided, weak +1"],
  }[state.colour];
  if (state.colour !== "disagreement") scale[1] = `median ${scale[1]}`;
  ["low", "middle", "high"].forEach((id, i) => { $(id).textContent = scale[i]; });
  $("legend").setAttribute("aria-label", `${state.colour}: ${scale.join(", ")}`);
  document.body.dataset.colour = state.colour;
}

// A token

async function openToken(i, focus = false) {
  if (!spans[i]) return;
  for (const [at, on] of [[state.token ?? 0, false], [i, true]]) {
    spans[at].classList.toggle("on", on);
    spans[at].setAttribute("aria-selected", String(on));
    spans[at].tabIndex = on ? 0 : -1;
  }
  state.token = i;
  if (focus) spans[i].focus({ preventScroll: true });
  spans[i].scrollIntoView({ block: "nearest" });
  remember();
  tellJumps();
  const { result, sample: place } = state;
  const read = await get(`api/${result}/${place}/${i}`);
  if (state.token === i && state.sample === place && state.result === result) showDetail(i, read);
}

function showDetail(i, read) {
  const facts = element("dl");
  const add = (name, value) => facts.append(element("dt", name), element("dd", value));
  const at = (column, unit = "") => {
    const quantile = sample[`${column}_quantile`]?.[i] ?? null;
    const value = sample[column][i];
    return `${significant(value)}${value === null ? "" : unit}${quantile === null ? "" : ` (quantile ${decimal(quantile)})`}`;
  };
  add("position", `${count(i)} of ${count(spans.length)}, from 0`);
  add("token id", String(sample.token_id[i]));
  if (read.characters > 200) add("characters", `${count(read.characters)}, of which 199 are shown`);
  add("entropy", at("entropy", " bits"));
  add("strength", at("strength"));
  add("disagreement", sample.disagreement[i] === null ? ABSENT : decimal(sample.disagreement[i]));
  add("probability", at("probability"));
  add("rank", sample.rank[i] === null ? ABSENT : count(sample.rank[i]));
  add("logit", at("logit"));
  const parts = [element("p", read.text, "word"), facts, element("h2", "Layers and projections")];
  if (read.norms === null) parts.push(element("p", "The gradient of this token was not measured.", "muted"));
  else parts.push(element("p", `${index.norm}; shaded against the largest`, "muted"), mapTable(read));
  $("detail").replaceChildren(...parts);
}

function mapTable({ projections, layers, norms }) {
  const table = element("table");
  table.id = "map";
  const header = (text, scope) => Object.assign(element("th", text), { scope });
  table.createTHead().insertRow().append(...["layer", ...projections].map((name) => header(name, "col")));
  const most = Math.max(...norms.flat()) || 1;
  const body = table.createTBody();
  norms.forEach((row, layer) => {
    const cells = row.map((value) => {
      const cell = element("td", value === null ? "—" : significant(value));
      cell.style.setProperty("--q", (value / most).toFixed(3));
      return cell;
    });
    body.insertRow().append(header(String(layers[layer]), "row"), ...cells);
  });
  return table;
}

// Jumps

function nextJump(by) {
  const from = state.token ?? (by > 0 ? -1 : Infinity);
  const here = index.jumps[state.sample].filter((i) => (by > 0 ? i > from : i < from));
  if (here.length && shown.includes(state.sample)) return [state.sample, here.at(by > 0 ? 0 : -1)];
  const start = shown.indexOf(state.sample);
  for (let step = 1; step <= shown.length; step += 1) {
    const at = start < 0 && by < 0 ? shown.length - step : start + by * step;
    const place = shown[(at + 2 * shown.length) % shown.length];
    if (index.jumps[place].length) return [place, index.jumps[place].at(by > 0 ? 0 : -1)];
  }
  return null;
}

async function jump(by, focus) {
  const found = nextJump(by);
  if (!found) return;
  const [place, token] = found;
  if (place !== state.sample || !sample) await openSample(place);
  if (state.sample === place) await openToken(token, focus);
}

function tellJumps() {
  const here = index.jumps[state.sample] || [];
  const all = shown.reduce((sum, place) => sum + index.jumps[place].length, 0);
  const at = here.indexOf(state.token);
  const place = at < 0 ? `${here.length} here` : `${at + 1} of ${here.length} here`;
  $("jump").textContent = all ? `high entropy, low gradient: ${place}, ${count(all)} in all` : "no token of high entropy and low gradient";
  $("next").disabled = $("previous").disabled = !all;
}

// The address, and what a reader does

function remember() {
  const { result, sample: place, token, colour } = state;
  history.replaceState(null, "", `#${[result, place, token === null ? "" : token, colour].join("/")}`);
}

async function follow() {
  const [result, place, token, colour] = location.hash.slice(1).split("/");
  const radio = [...document.getElementsByName("colour")].find((each) => each.value === colour);
  if (radio) { radio.checked = true; state.colour = colour; }
  await openResult(within(result, $("result").length) ?? 0);
  const size = index.samples.length;
  await openSample(within(place, size) ?? 0, within(place, size) === null ? null : within(token, Infinity));
}

function told(error) {
  $("notice").textContent = `This cannot be shown: ${error.message}`;
}

const safely = (action) => (event) => Promise.resolve(action(event)).catch(told);
const hear = (id, kind, action) => $(id).addEventListener(kind, safely(action));

async function pressed(event) {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input:not([type=radio])")) return;
  const onToken = target.dataset.i !== undefined;
  if (key === "j" || key === "k") await jump(key === "j" ? 1 : -1, true);
  else if (onToken && (key === "Enter" || key === " ")) { event.preventDefault(); await openToken(Number(target.dataset.i), true); }
  else if (target.matches("input") || !["ArrowRight", "ArrowLeft"].includes(key)) return;
  else {
    event.preventDefault();
    await openToken(state.token === null ? 0 : state.token + (key === "ArrowRight" ? 1 : -1), true);
  }
}

hear("result", "change", async () => { await openResult(Number($("result").value)); await openSample(0); });
for (const id of ["search", "correct", "sort"]) hear(id, "input", () => index && listSamples());
for (const id of ["from", "to"]) hear(id, "input", () => sample && paint());
hear("colour", "change", (event) => { state.colour = event.target.value; if (sample) { paint(); remember(); } });
hear("samples", "click", (event) => { const button = event.target.closest("button"); return button && openSample(Number(button.dataset.place)); });
hear("tokens", "click", (event) => event.target.dataset.i !== undefined && openToken(Number(event.target.dataset.i), true));
hear("next", "click", () => jump(1));
hear("previous", "click", () => jump(-1));
document.addEventListener("keydown", safely(pressed));
window.addEventListener("hashchange", safely(follow));

safely(async () => {
  const labels = await get("api");
  $("result").replaceChildren(...labels.map((label, i) => new Option(label, String(i))));
  document.querySelector(".pick").hidden = labels.length < 2;
  await follow();
})();
