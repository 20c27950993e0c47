"use strict";
// Asks for the state once a second and draws it. Text goes in as text, never as markup: some of it came over the wire.
const CHARTS = [
  ["Deliveries a second", "", [["deliveries", ""]]],
  ["Broadcasts a second", "", [["broadcasts", ""]]],
  ["Latency, vote due to arrival", "ms", [["p50", "p50"], ["p99", "p99"], ["max", "max"]]],
  ["Latency p99 by definition", "ms", [["p99", "due to arrival"], ["stamped_p99", "call to timestamp"], ["spread_p99", "first to last arrival"]]],
  ["Connections open", "", [["open", ""]]],
  ["Deliveries lost", "", [["lost", ""]]],
  ["The instrument's own error, p99", "ms", [["lag_p99", "lag"], ["slip_p99", "slip"]]],
  ["Host CPU", "%", [["host_cpu", ""]]],
  ["Memory of the target", "MB", [["rss", ""]], 1e-6],
];
const SAYS = {within: "within so far", outside: "OUTSIDE", open: "not seen yet", told: "the report judges", aside: "not judged"};
const CELLS = 12; // drawn; the others are in the report
const WIDTH = 480, HEIGHT = 150, LEFT = 48, BOTTOM = 18, TOP = 6;
const byId = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
  const svg = ["svg", "path", "line", "text"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// What has not changed is left as it is: it may have the keyboard's focus, or be read aloud again.
function fill(id, ...children) {
  const made = element("div", {}, ...children);
  if (byId(id).innerHTML !== made.innerHTML) byId(id).replaceChildren(...made.childNodes);
}

const number = (value) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", {maximumFractionDigits: Math.abs(value) < 100 ? 1 : 0});

function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function chart([title, unit, lines, factor = 1], series, events, shortest = 10, of = "") {
  const times = series.t, end = Math.max(shortest, ...times), start = times.length ? times[0] : 0;
  const values = lines.map(([key]) => (series[key] || []).map((each) => (each === null || each === undefined ? null : each * factor)));
  const top = niceTop(Math.max(0, ...values.flat().filter((each) => each !== null)));
  const x = (t) => LEFT + ((t - start) / (end - start)) * (WIDTH - LEFT - 8);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const last = values.map((row) => [...row].reverse().find((each) => each !== null));
  const says = lines.map(([, label], index) => `${label} ${number(last[index])} ${unit}`.trim()).join(", ");
  const drawing = element("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}${of && `, ${of}`}: ${says} in the last second, at most ${number(top)} on this scale`});
  for (const share of [0, 0.5, 1]) {
    drawing.append(element("line", {class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(top * share), y2: y(top * share)}));
    drawing.append(element("text", {x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end"}, number(top * share)));
  }
  for (const t of [start, end]) drawing.append(element("text", {x: x(t), y: HEIGHT - 4, "text-anchor": t === end ? "end" : "start"}, `${number(Math.round(t))} s`));
  for (const [t] of events) if (t >= start && t <= end) drawing.append(element("line", {class: "event", x1: x(t), x2: x(t), y1: TOP, y2: HEIGHT - BOTTOM}));
  values.forEach((row, index) => {
    let path = "", pen = false;
    row.forEach((value, place) => {
      if (value !== null) path += `${pen ? "L" : "M"}${x(times[place]).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = value !== null;
    });
    drawing.append(element("path", {class: `c${index + 1}`, d: path}));
  });
  const caption = element("figcaption", {}, element("b", {}, title), " ");
  lines.forEach(([, label], index) => caption.append(element("i", {class: `c${index + 1}`}, `${label} ${number(last[index])}`.trim()), " "));
  caption.append(element("span", {}, unit));
  return element("figure", {}, caption, drawing);
}

function wave(each) {
  const name = `${each.name}, ${each.model}`, marks = each.healed === null ? [] : [[each.healed]];
  const back = each.back_after === null ? "" : `, all of them since ${number(each.back_after)} s`;
  const refused = each.refused ? `, ${number(each.refused)} turned away after its return` : "";
  const says = each.went === "not tried" ? `not tried: ${each.why}` :
    `${each.went}; ${number(each.holding)} of ${number(each.clients)} connected${back}; ${number(each.opened)} sockets opened${refused}`;
  const end = Math.max(1, ...each.held.t, ...each.dialled.t, ...each.queue.t); // one axis for all three
  const drawings = each.held.t.length ? element("div", {class: "charts"},
    chart(["Clients connected", "", [["value", ""]]], each.held, marks, end, name),
    chart(["Sockets opened a second", "", [["value", ""]]], each.dialled, marks, end, name),
    ...(each.queue.t.length ? [chart(["Accept queue", "", [["value", ""]]], each.queue, marks, end, name)] : [])) : "";
  return element("article", {}, element("h3", {}, name), element("p", {}, says), drawings);
}

function show(state) {
  const verdict = state.verdict, ended = state.phase === "ended";
  fill("headline", verdict ? verdict.verdict : ended ? "judging" : state.phase);
  byId("headline").className = verdict ? verdict.verdict : "";
  fill("sentence", verdict ? verdict.sentence : "");
  const left = state.remaining === null ? "" : `, ${number(Math.round(state.remaining))} s to go`;
  byId("facts").textContent = state.run ? `${state.scenario} on ${state.target}, ${number(Math.round(state.elapsed))} s${left}; ${state.went ? `${state.went}; ` : ""}${state.run}` : "";
  if (state.standings.length) fill("standings", ...state.standings.map((each) => element("tr", {class: each.state},
    element("th", {scope: "row"}, each.name), ...[each.measured, each.limit, each.margin, number(each.samples)].map((text) => element("td", {}, text)),
    element("td", {}, element("span", {class: "mark"}, SAYS[each.state])))));
  byId("herd").hidden = !state.waves.length;
  byId("seconds").hidden = !!state.waves.length;
  fill("waves", ...state.waves.slice(-CELLS).reverse().map(wave));
  fill("charts", ...(state.waves.length ? [] : CHARTS.map((each) => chart(each, state.series, state.events))));
  const happened = [...state.events.map(([t, name, text]) => `${t.toFixed(1)} s: ${name.replaceAll("_", " ")}${text ? `, ${text}` : ""}`),
    ...state.findings.map(([what, total, detail]) => `${number(total)} ${what}${detail ? `: ${detail}` : ""}`)];
  byId("happened").hidden = !happened.length;
  fill("events", ...happened.map((text) => element("li", {}, text)));
  byId("done").hidden = !state.reports.length;
  fill("reports", ...state.reports.map(({run, verdict: word}) =>
    element("li", {}, element("a", {href: `${state.base}/report/${encodeURIComponent(run)}/`}, run), ` ${word}`)));
}

async function turn() {
  try {
    const answer = await fetch(document.body.dataset.live, {cache: "no-store"});
    if (answer.ok) show(await answer.json());
  } catch { byId("facts").textContent = "Locust does not answer: it has ended, or is busy."; }
  setTimeout(turn, 1000);
}
turn();
