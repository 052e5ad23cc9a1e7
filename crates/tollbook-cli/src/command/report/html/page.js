"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const number = (value) => Number(value).toLocaleString("en");
const share = (part, whole) => (whole > 0 ? (Math.floor((part * 10000) / whole) / 100).toFixed(2) : "0.00") + " %";
// Plotly reads some tags in texts, and a name is whatever a server or a log says.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const short = (text) => (text.length > 42 ? text.slice(0, 40) + "…" : text);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}

function layout(more) {
  const axis = { gridcolor: colour("rule"), zerolinecolor: colour("rule"), linecolor: colour("rule"), automargin: true };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 50, r: 45, t: 30, b: 50 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
    hovermode: "closest",
  };
  return { ...base, ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis } };
}
const settings = { responsive: true, displayModeBar: false, displaylogo: false };

// The limit

const chosen = { subject: null, line: null, max: 0 };

/** What a maximum refuses: the last step at or below it. */
function refused(line, max) {
  let low = 0;
  let high = line.steps.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (line.steps[middle][0] <= max) low = middle;
    else high = middle - 1;
  }
  const [, clean, bad, sessions, stuck] = line.steps[low] ?? [0, 0, 0, 0, 0];
  return { clean, bad, sessions, stuck };
}

function options(select, names, keep) {
  const before = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (keep && names.includes(before)) select.value = before;
}

function showFigures() {
  const { subject, line, max } = chosen;
  const now = refused(line, max);
  // A maximum of nothing stops every session that has a bad call.
  const { stuck } = refused(line, 0);
  const figures = [
    ["bad calls stopped", number(now.bad), "of " + number(line.bad) + ", " + share(now.bad, line.bad), "is-bad"],
    [data.by_loops ? "looping sessions stopped" : "sessions with bad calls stopped", number(now.stuck), "of " + number(stuck), "is-bad"],
    ["clean calls refused", number(now.clean), "of " + number(line.clean) + ", " + share(now.clean, line.clean), "is-clean"],
    ["sessions that lose a clean call", number(now.sessions), "of " + number(data.sessions), "is-clean"],
  ];
  at("figures").replaceChildren(
    ...figures.map(([name, value, of, kind]) => {
      const group = make("div", undefined, kind);
      const figure = make("dd", value + " ");
      figure.append(make("small", of));
      group.append(make("dt", name), figure);
      return group;
    }),
  );
  const words = (count) => `limit ${count}${max} per ${line.window} per ${line.scope}`;
  at("clause").textContent = subject.clause.replace("%s", words("")).replace("%t", words("total "));
  at("max").value = max;
  at("slider").value = max;
}

function placeHandle() {
  const chart = at("peaks");
  const full = chart._fullLayout;
  if (!full) return;
  const { l, t, w } = full._size;
  const handle = at("handle");
  handle.style.display = "block";
  handle.style.left = l + "px";
  handle.style.width = w + 40 + "px";
  handle.style.top = t + full.yaxis.l2p(chosen.max) + "px";
}

function setMax(max) {
  const highest = Math.max(chosen.line.highest, 1);
  chosen.max = Math.min(Math.max(Math.round(Number(max) || 0), 0), highest);
  showFigures();
  Plotly.relayout(at("peaks"), { "shapes[0].y0": chosen.max, "shapes[0].y1": chosen.max }).then(placeHandle);
}

function showPeaks() {
  const { line } = chosen;
  const keys = line.keys;
  const places = keys.map((_, place) => place + 1);
  const hover = keys.map(([name, start_ms]) => plain(short(name || line.scope)) + "<br>" + new Date(start_ms).toISOString().slice(0, 16) + "Z");
  const bars = (name, values, kind) => ({
    type: "bar",
    name,
    x: places,
    y: values,
    marker: { color: colour(kind) },
    customdata: hover,
    hovertemplate: "%{customdata}<br>%{y} " + name + "<extra></extra>",
  });
  const traces = [
    bars("clean calls", keys.map(([, , clean]) => clean), "clean"),
    bars("bad calls", keys.map(([, , clean, calls]) => calls - clean), "bad"),
  ];
  const shape = {
    type: "line", xref: "paper", x0: 0, x1: 1, y0: chosen.max, y1: chosen.max,
    line: { color: colour("limit"), width: 2 },
  };
  const top = Math.max(line.highest, 1) * 1.08;
  const axes = {
    barmode: "stack",
    shapes: [shape],
    dragmode: false,
    xaxis: { title: { text: `busiest ${line.window} of each ${line.scope},<br>the ${number(keys.length)} busiest of ${number(line.keys_in_all)}` }, fixedrange: true },
    yaxis: { title: { text: "calls in the " + line.window }, range: [0, top], fixedrange: true },
  };
  at("slider").max = Math.max(line.highest, 1);
  at("max").max = Math.max(line.highest, 1);
  Plotly.react(at("peaks"), traces, layout(axes), settings).then(placeHandle);
  at("note").textContent = line.unknown > 0 ? number(line.unknown) + " calls without a time or a " + line.scope + " aren't counted." : "";
}

/** A maximum to begin with: the smallest that refuses no clean call. */
function begin(line) {
  const free = line.steps.find(([, clean]) => clean === 0);
  return free ? free[0] : line.highest;
}

function choose() {
  const subject = data.subjects.find((one) => one.name === at("subject").value) ?? data.subjects[0];
  chosen.subject = subject;
  const windows = [...new Set(subject.lines.map((line) => line.window))];
  const scopes = [...new Set(subject.lines.map((line) => line.scope))];
  options(at("window"), windows, true);
  options(at("scope"), scopes, true);
  chosen.line = subject.lines.find((line) => line.window === at("window").value && line.scope === at("scope").value);
  chosen.max = begin(chosen.line);
  showPeaks();
  showFigures();
}

function beginLimit() {
  data.subjects = data.subjects.filter((subject) => subject.lines.length > 0);
  if (data.subjects.length === 0) {
    at("note").textContent = "These calls can't be counted: units were given back or counters reset, times go back, or no call has a time.";
    at("choose").hidden = true;
    return;
  }
  options(at("subject"), data.subjects.map((subject) => subject.name));
  at("window").replaceChildren(...["minute", "hour", "day"].map((name) => new Option(name, name)));
  at("window").value = "hour";
  for (const id of ["subject", "window", "scope"]) at(id).addEventListener("change", choose);
  at("max").addEventListener("input", (event) => event.target.value !== "" && setMax(event.target.value));
  at("slider").addEventListener("input", (event) => setMax(event.target.value));
  const handle = at("handle");
  const drag = (event) => {
    const full = at("peaks")._fullLayout;
    const y = event.clientY - at("peaks").getBoundingClientRect().top - full._size.t;
    setMax(full.yaxis.p2l(y));
  };
  let dragging = false;
  handle.addEventListener("pointerdown", (event) => {
    dragging = true;
    event.preventDefault();
    drag(event);
  });
  addEventListener("pointermove", (event) => dragging && drag(event));
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (dragging = false));
  addEventListener("resize", () => requestAnimationFrame(placeHandle));
  at("copy").addEventListener("click", async () => {
    await navigator.clipboard?.writeText(at("clause").textContent);
    at("copy").textContent = "Copied";
    setTimeout(() => (at("copy").textContent = "Copy"), 1500);
  });
  choose();
}

// The rest

function showRates() {
  const { at_ms, by_category, bucket, bad, without_time } = data.rates;
  const x = at_ms.map((ms) => new Date(ms).toISOString());
  const colours = { read: colour("quiet"), write: "#4c9f70", execute: "#8d6cc0", destructive: colour("bad"), financial: "#c9a227" };
  const traces = Object.keys(colours)
    .filter((name) => by_category[name].some((count) => count > 0))
    .map((name) => ({ type: "bar", name, x, y: by_category[name], marker: { color: colours[name] }, hovertemplate: "%{x}<br>%{y} " + name + "<extra></extra>" }));
  if (bad.some((count) => count > 0)) {
    traces.push({ type: "scatter", mode: "markers", name: "bad", x, y: bad.map((count) => count || null), marker: { color: colour("limit"), size: 6, symbol: "x" }, hovertemplate: "%{x}<br>%{y} bad<extra></extra>" });
  }
  const axes = { barmode: "stack", xaxis: { type: "date" }, yaxis: { title: { text: "calls a " + bucket } } };
  Plotly.react(at("rates"), traces, layout(axes), settings);
  at("rates-note").textContent = without_time > 0 ? number(without_time) + " calls have no time and aren't drawn." : "";
}

function showFrontier() {
  if (!data.frontier) {
    at("frontier").replaceChildren(make("p", "These calls can't be counted; `tollbook sweep` judges them."));
    return;
  }
  const best = data.frontier.filter((point) => point.frontier);
  const rest = data.frontier.filter((point) => !point.frontier);
  const points = (name, list, kind, size) => ({
    type: "scatter",
    mode: "markers",
    name,
    x: list.map((point) => point.clean),
    y: list.map((point) => point.bad),
    customdata: list,
    text: list.map((point) => plain(point.clause)),
    hovertemplate: "%{text}<br>refuses %{x} clean calls<br>stops %{y} bad ones<extra></extra>",
    marker: { color: colour(kind), size, opacity: kind === "quiet" ? 0.4 : 1 },
  });
  const axes = {
    xaxis: { title: { text: "clean calls refused" }, rangemode: "tozero" },
    yaxis: { title: { text: "bad calls stopped" }, rangemode: "tozero" },
  };
  const chart = at("frontier");
  const traces = [points("outdone", rest, "quiet", 7), points("frontier", best, "limit", 10)];
  Plotly.react(chart, traces, layout(axes), settings);
  chart.removeAllListeners?.("plotly_click");
  chart.on("plotly_click", (event) => {
    const point = event.points[0].customdata;
    at("chosen").textContent = `${point.clause}: refuses ${number(point.clean)} clean calls, in ${number(point.sessions)} sessions, and stops ${number(point.bad)} bad ones.`;
  });
}

function showLoops() {
  const shown = data.loops.map((loop) => {
    const row = make("div", undefined, "loop");
    for (const tool of loop.tools.split(" ")) row.append(make("span", short(tool), "block"));
    row.append(make("b", "× " + number(loop.repeats)));
    const results = { same: "with the same results", differ: "with changing results: it may be polling", unknown: "with unknown results" }[loop.results] ?? "";
    const running = loop.still_running ? ", until the session ended" : "";
    row.append(make("div", `${number(loop.wasted_calls)} calls wasted ${results}${running}; from call ${number(loop.start_in_session + 1)} of ${loop.session}`, "quiet"));
    return row;
  });
  at("loops").replaceChildren(...(shown.length > 0 ? shown : [make("p", "No loop was found.")]));
}

function table(head, rows) {
  const scroll = make("div", undefined, "scroll");
  const element = make("table");
  const line = (cells, tag) => {
    const row = make("tr");
    row.append(...cells.map((cell) => make(tag, cell)));
    return row;
  };
  element.append(line(head, "th"), ...rows.map((row) => line(row, "td")));
  scroll.append(element);
  return scroll;
}

function showCandidates() {
  const section = at("candidates");
  section.hidden = data.candidates.length === 0;
  const row = (one) => [one.name, number(one.newly_refused), number(one.newly_refused_bad), number(one.newly_allowed), `${number(one.sessions_touched)} of ${number(one.sessions)}`, number(one.exact), number(one.after_divergence), number(one.unknown)];
  section.append(table(["policy", "newly refused", "of them bad", "newly allowed", "sessions touched", "exact", "after a divergence", "unknown"], data.candidates.map(row)));
  section.append(make("p", "After a first refusal an agent would have acted differently: what comes after a divergence is a bound.", "quiet"));
  for (const one of data.candidates) {
    if (one.rules.length > 0) {
      section.append(make("h3", one.name + ": by rule"));
      section.append(table(["rule", "newly refused", "newly allowed"], one.rules.map(([rule, refusedNow, allowed]) => [rule, number(refusedNow), number(allowed)])));
    }
    if (one.headroom.length > 0) {
      section.append(make("h3", one.name + ": use of each limit, % of its maximum"));
      section.append(table(["limit", "calls", "p50", "p95", "p99", "p99.9", "max"], one.headroom.map((limit) => [limit.rule, number(limit.calls), ...limit.shares.map(number)])));
    }
  }
}

function about() {
  const { fidelity } = data;
  const replay = fidelity.judged !== undefined
    ? `The log replayed under its own policies gives back ${number(fidelity.same)} of ${number(fidelity.judged)} decisions (${fidelity.percent} %).`
    : "Nobody's engine judged these calls, so there is no fidelity to tell.";
  at("about").textContent = `${data.log}: ${number(data.clean + data.bad)} calls in ${number(data.sessions)} sessions, ${number(data.bad)} of them bad (${data.label}). ${replay}`;
}

function draw() {
  showRates();
  showFrontier();
  if (chosen.line) showPeaks();
}

about();
beginLimit();
showRates();
showFrontier();
showLoops();
showCandidates();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
