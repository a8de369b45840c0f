// Charts: curves of a metric over an axis, and the effect of one setting. Names are escaped: Plotly reads some HTML.

const CROWDED = 30; // more curves than this are drawn without bands and without a legend
const escaped = (text) => text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const finite = (values) => values.filter((value) => value !== null);

/** Lighten a color that is too dark for a dark page. */
function visible(color) {
  const parts = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  const dark = matchMedia("screen and (prefers-color-scheme: dark)").matches && Math.max(...parts) < 110;
  return dark ? `rgb(${parts.map((value) => Math.round(value + 0.6 * (255 - value)))})` : color;
}

const faint = (color) => (color.startsWith("#") ? `${color}2e` : color.replace("rgb(", "rgba(").replace(")", ",.18)"));

function layout(x, y) {
  const axis = { gridcolor: variable("--grid"), linecolor: variable("--line"), zeroline: false, automargin: true };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: variable("--text") };
  return {
    font, margin: { l: 56, r: 16, t: 12, b: 44 }, hovermode: "closest", showlegend: false,
    paper_bgcolor: variable("--background"), plot_bgcolor: variable("--background"),
    hoverlabel: { bgcolor: variable("--surface"), bordercolor: variable("--line"), font, align: "left" },
    xaxis: { ...axis, ...x }, yaxis: { ...axis, ...y },
  };
}

function draw(id, traces, settings, label) {
  const bar = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  find(id).ariaLabel = label;
  return Plotly.react(find(id), traces, settings, bar);
}

/** The curve of a configuration or run on the chosen metric and axis; undefined if it has none. */
function curvesOf(each) {
  const places = each.curves[find("#metric").value]?.[find("#axes input:checked").value];
  return places && Object.fromEntries(Object.entries(places).map(([name, place]) => [name, data.arrays[place]]));
}

/** Whether the values of finished runs, of a metric where lower is better, span more than a factor of 10, which needs a logarithmic scale. */
function steep() {
  const values = range(group().configurations.map(curvesOf).filter(Boolean));
  return group().lower.includes(find("#metric").value) && values[0] > 0 && values[1] / values[0] > 10;
}

function range(curves) {
  let [low, high] = [Infinity, -Infinity];
  for (const { y, low: lowest = y, high: highest = y } of curves) {
    for (const value of finite(lowest)) low = Math.min(low, value);
    for (const value of finite(highest)) high = Math.max(high, value);
  }
  return [low, high];
}

function drawCurves() {
  const shown = state.shown.map((i) => group().configurations[i]);
  const axis = find("#axes input:checked").value;
  const metric = find("#metric").value;
  const drawn = shown.filter(curvesOf);
  const bands = drawn.length <= CROWDED ? drawn.filter((each) => curvesOf(each).low).map(bandTrace) : [];
  const lines = drawn.map((each) => lineTrace(curvesOf(each), each.label, each.color));
  const broken = shown.flatMap((each) => each.broken.filter(curvesOf).map((run) => brokenTrace(run, each.color)));
  const unit = axis === "bytes" ? { ticksuffix: "B" } : {};
  const settings = layout(
    { title: { text: group().axes[axis] }, rangemode: "tozero", exponentformat: "SI", ...unit },
    { title: { text: metric }, ...yRange(drawn.length ? drawn : shown.flatMap((each) => each.broken)) },
  );
  const { target } = group();
  const logarithmic = settings.yaxis.type === "log";
  if (metric === group().metric && target !== null && !(logarithmic && target <= 0)) {
    Object.assign(settings, targetLine(target, logarithmic));
  }
  find("#legend").replaceChildren(...(drawn.length <= CROWDED
    ? drawn.map((each) => make("span", {}, swatch(each.color), each.label))
    : [`${drawn.length} curves: point at one for its name, or filter.`]));
  const label = `${metric} over ${group().axes[axis]}, ${lines.length + broken.length} curves`;
  return draw("#chart", [...bands, ...lines, ...broken], settings, label);
}

/** The range of y by finished runs, so that diverged runs may leave the chart. */
function yRange(drawn) {
  const [low, high] = range(drawn.map(curvesOf).filter(Boolean));
  const logarithmic = find("#logarithmic").checked && low > 0;
  if (!(low < high)) return { type: logarithmic ? "log" : "linear" };
  if (logarithmic) return { type: "log", dtick: "D2", range: [Math.log10(low / 1.15), Math.log10(high * 1.15)] };
  const margin = 0.05 * (high - low);
  return { type: "linear", range: [low - margin, high + margin] };
}

function lineTrace({ x, y }, label, color) {
  const format = ["time", "epochs"].includes(find("#axes input:checked").value) ? ".4~g" : ".4~s";
  const hovertemplate = `<b>${escaped(label)}</b><br>%{y:.4g} at %{x:${format}}<extra></extra>`;
  const width = state.shown.length > CROWDED ? 1.2 : 2;
  return { x, y, mode: "lines", name: escaped(label), line: { color: visible(color), width }, hovertemplate };
}

function bandTrace(each) {
  const { x, low, high } = curvesOf(each);
  return {
    x: [...x, ...x.toReversed()], y: [...high, ...low.toReversed()], fill: "toself", mode: "lines", hoverinfo: "skip",
    line: { width: 0 }, fillcolor: faint(visible(each.color)), name: "band",
  };
}

function brokenTrace(run, color) {
  const trace = lineTrace(curvesOf(run), run.name, color);
  const size = trace.x.map((_, i) => (i === trace.x.length - 1 ? 9 : 0));
  const marker = { symbol: "x", size, color: trace.line.color, opacity: 1 };
  return { ...trace, mode: "lines+markers", line: { ...trace.line, width: 0.8 }, marker };
}

function targetLine(target, logarithmic) {
  const line = { color: variable("--muted"), width: 1, dash: "dot" };
  return {
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target, y1: target, line }],
    annotations: [{
      xref: "paper", x: 0, y: logarithmic ? Math.log10(target) : target, xanchor: "left", yanchor: "bottom", showarrow: false,
      text: `target ${Number(target.toPrecision(4))}`, font: { color: variable("--muted"), size: 11 },
    }],
  };
}

// The effect of one setting on a number of the table.

const MEASURES = {
  time_to_target_s: "time to target (s)", final: "final value", te_target: "temporal efficiency (target)",
};

/** Offer the numeric settings that have several values for the same optimizer and other settings. */
function openTrends() {
  const numeric = Object.entries(group().facets).filter(([key, values]) =>
    values.every((value) => value === null || !isNaN(value)) &&
    [...trendLines(key, values.keys())].some(([, members]) => members.length > 1));
  find("#trends").hidden = !numeric.length;
  find("#setting").replaceChildren(...options(numeric.map(([key]) => [key, key])));
  if (numeric.some(([key]) => key === "workers")) find("#setting").value = "workers";
  find("#measure").replaceChildren(...options(Object.entries(MEASURES)));
}

/** The configurations of each line: those that differ only in the setting. */
function trendLines(setting, indices) {
  const { configurations, facets } = group();
  const lines = new Map();
  for (const i of indices) {
    if (facets[setting][i] === null) continue;
    const others = Object.keys(facets).filter((key) => key !== setting && facets[key][i] !== null)
      .map((key) => `${short(key)}=${facets[key][i]}`);
    const name = [configurations[i].optimizer, ...others].join(" ");
    lines.set(name, [...(lines.get(name) ?? []), i]);
  }
  return lines;
}

function drawTrend() {
  if (find("#trends").hidden) return;
  const { facets } = group();
  const setting = find("#setting").value;
  const measure = find("#measure").value;
  const lines = trendLines(setting, state.shown);
  const values = [...new Set(facets[setting].filter((value) => value !== null).map(Number))].sort((a, b) => a - b);
  const ratio = values[0] > 0 && values.at(-1) / values[0] >= 8;
  const ticks = values.length <= 12 ? { tickvals: values, ticktext: values.map(String) } : {};
  const traces = [...lines].map(([name, members]) => trendTrace(name, members, facets[setting], measure));
  const title = MEASURES[measure];
  const settings = layout(
    { title: { text: setting }, type: ratio ? "log" : "linear", ...ticks },
    { title: { text: title }, rangemode: measure === "final" ? "normal" : "tozero" },
  );
  return draw("#trend", traces, settings, `${title} over ${setting}, ${traces.length} lines`);
}

function trendTrace(name, members, setting, measure) {
  const { configurations } = group();
  const sorted = members.toSorted((a, b) => setting[a] - setting[b]);
  const [y, low, high] = [0, 1, 2].map((end) => sorted.map((i) => configurations[i].numbers[measure][end]));
  const color = visible(configurations.find((each) => each.optimizer === configurations[members[0]].optimizer).color);
  const error = (ends, sign) => ends.map((end, i) => (end === null || y[i] === null ? 0 : sign * (end - y[i])));
  return {
    x: sorted.map((i) => Number(setting[i])), y, mode: "lines+markers", name: escaped(name),
    line: { color, width: 2 }, marker: { color, size: 7 },
    error_y: { type: "data", symmetric: false, array: error(high, 1), arrayminus: error(low, -1), thickness: 1, width: 3, color },
    hovertemplate: `<b>${escaped(name)}</b><br>%{y:.4g} at %{x}<extra></extra>`,
  };
}
