const data = JSON.parse(document.getElementById("data").textContent);
const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Make an element; children are elements or text, which is not parsed as HTML. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const options = (values) => values.map(([value, text]) => make("option", { value }, text));
const short = (key) => key.replace(/\.name$/, "").split(".").pop();
const swatch = (color) => make("i", { style: `background:${color}` });

// The view: one group of comparable configurations, and those in it that pass the filters.

const state = { group: 0, shown: [] };
const group = () => data.groups[state.group];
const part = (section) => find(`${section} [data-group="${state.group}"]`);

function openGroup(index) {
  state.group = index;
  if (find("#group")) find("#group").value = index;
  for (const element of all("[data-group]")) element.hidden = Number(element.dataset.group) !== index;
  const { configurations, facets } = group();
  const colors = new Map(configurations.toReversed().map((each) => [each.optimizer, each.color]));
  const names = [...colors.keys()].sort();
  all("label", find("#optimizers")).forEach((label) => label.remove());
  find("#optimizers").append(...names.map((name) => {
    const box = make("input", { type: "checkbox", value: name, checked: true, defaultChecked: true });
    return make("label", { className: "chip" }, box, make("span", {}, swatch(colors.get(name)), name));
  }));
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  find("#facets").replaceChildren(...Object.entries(facets).map(([key, values]) => {
    const choices = [...new Set(values.filter((value) => value !== null))].sort(order).map((value) => [value, value]);
    const select = make("select", {}, ...options([["", "all"], ...choices]));
    select.dataset.facet = key;
    return make("label", { title: key }, `${short(key)} `, select);
  }));
  const metrics = new Set(configurations.flatMap((c) => [c, ...c.broken].flatMap((each) => Object.keys(each.curves))));
  find("#metric").replaceChildren(...options([...metrics].map((name) => [name, name])));
  if (metrics.has(group().metric)) find("#metric").value = group().metric;
  find("#logarithmic").checked = steep();
  openTrends();
  return filter();
}

/**
 * Show the rows whose optimizer is on, whose settings are the chosen ones (where they apply) and whose text has all
 * searched words. A configuration is drawn while one of its rows is shown.
 */
function filter() {
  const { configurations, facets } = group();
  const on = new Set(all("#optimizers input:checked").map((box) => box.value));
  const chosen = all("#facets select").filter((select) => select.value);
  const words = find("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = configurations.map(({ optimizer }, i) =>
    on.has(optimizer) && chosen.every((select) => [null, select.value].includes(facets[select.dataset.facet][i])));
  const counts = ["#configurations", "#runs"].map((section) => {
    const rows = all("tbody tr", part(section));
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(passes[row.dataset.configuration] && words.every((word) => text.includes(word)));
    }
    const left = rows.filter((row) => !row.hidden);
    return { left, text: `${left.length} of ${rows.length} ${section.slice(1)}` };
  });
  const indices = counts.flatMap(({ left }) => left.map((row) => Number(row.dataset.configuration)));
  state.shown = [...new Set(indices)].sort((a, b) => a - b);
  find("#count").textContent = counts.map(({ text }) => text).join(", ");
  return Promise.all([drawCurves(), drawTrend()]);
}

// Tables: a click on a heading sorts by the cells' values, missing ones last.

function sortBy(heading) {
  const descending = heading.ariaSort === "ascending";
  for (const other of all("th", heading.parentElement)) if (other.ariaSort) other.ariaSort = "none";
  heading.ariaSort = descending ? "descending" : "ascending";
  const body = find("tbody", heading.closest("table"));
  const sign = descending ? -1 : 1;
  const keyed = [...body.rows].map((row) => [keyOf(row.cells[heading.cellIndex]), row]);
  keyed.sort(([a], [b]) => (a === "") - (b === "") || sign * compare(a, b));
  body.append(...keyed.map(([, row]) => row));
}

function keyOf(cell) {
  const value = cell.dataset.value ?? cell.textContent.trim();
  if (!cell.classList.contains("number") || value === "") return value;
  return value === "inf" ? Infinity : value === "-inf" ? -Infinity : Number(value);
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number"
    ? (a > b) - (a < b)
    : String(a).localeCompare(String(b), undefined, { numeric: true });
}

// Details of a run: first its own settings, then those shared with the other runs.

function showDetails(index) {
  const run = data.runs[index];
  const link = (name) => make("a", { href: run.folder + encodeURIComponent(name) }, name || "folder");
  const table = (values) => make("table", { className: "plain" }, ...Object.entries(values).map(([key, value]) =>
    make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, value))));
  const section = (title, ...content) => [make("h3", {}, title), ...content];
  const own = (name) => (Object.keys(run[name]).length ? [table(run[name])] : ["the same in all runs"]);
  const shared = make("details", {}, make("summary", {}, "Shared by all runs"),
    table({ ...data.common.settings, ...data.common.provenance }));
  find("#details-title").textContent = run.name;
  find("#details-body").replaceChildren(
    ...section("Files", make("p", { className: "files" }, link(""), ...run.files.map(link))),
    ...section("Settings of its own", ...own("settings")),
    ...section("Provenance of its own", ...own("provenance")),
    ...section("Everything else", shared),
  );
  find("#details").showModal();
}

function listen() {
  let waiting; // the charts are drawn once after typing, not for each letter
  find("#filters").addEventListener("input", ({ target }) => {
    clearTimeout(waiting);
    if (target.type === "search") waiting = setTimeout(filter, 150);
    else filter();
  });
  find("#filters").addEventListener("submit", (event) => event.preventDefault());
  find("#all").addEventListener("click", () => {
    find("#filters").reset();
    filter();
  });
  find("#group")?.addEventListener("change", (event) => openGroup(Number(event.target.value)));
  find("#axes").addEventListener("change", drawCurves);
  find("#metric").addEventListener("change", () => {
    find("#logarithmic").checked = steep();
    drawCurves();
  });
  find("#logarithmic").addEventListener("change", drawCurves);
  find("#trends").addEventListener("change", drawTrend);
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button?.dataset.run) showDetails(button.dataset.run);
    else if (button?.closest("thead")) sortBy(button.closest("th"));
  });
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", filter);
}

find("#axes").append(...Object.keys(data.groups[0].axes).map((value, i) => {
  const input = make("input", { type: "radio", name: "axis", value, checked: i === 0 });
  return make("label", { className: "segment" }, input, make("span", {}, value));
}));
listen();
const sizes = data.groups.map(({ configurations }) => configurations.length);
openGroup(sizes.indexOf(Math.max(...sizes))).then(() => requestAnimationFrame(() => {
  document.documentElement.dataset.drawn = performance.now().toFixed(0); // milliseconds since the page was opened
}));
