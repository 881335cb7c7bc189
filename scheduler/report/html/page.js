"use strict";
const dataOf = (id) => JSON.parse(document.getElementById(id).textContent);
const figures = dataOf("figures");
const jobs = dataOf("job-tables");
const dark = matchMedia("(prefers-color-scheme: dark)");
const PRINTED = { one: 690, several: 335 };

function element(tag, text = "", values = {}) {
  const made = Object.assign(document.createElement(tag), values);
  made.textContent = text;
  return made;
}

function layoutOf(panel, printed, width) {
  const night = dark.matches && !printed;
  const axis = { gridcolor: night ? "#3a4047" : "#d5d9de", zerolinecolor: night ? "#3a4047" : "#d5d9de" };
  return {
    height: 380, margin: { l: 46, r: 12, t: 8, b: 42 }, legend: { orientation: "h", y: 1, yanchor: "bottom" },
    ...panel.layout, ...(width ? { width } : {}),
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: night ? "#e4e7ea" : "#1d2125", size: printed ? 9 : 12 },
    xaxis: { ...panel.layout.xaxis, ...axis }, yaxis: { ...panel.layout.yaxis, ...axis },
  };
}

// Plots are as wide as their place, which on paper is not known to them: there they are told.
function draw(place, printed = false) {
  const select = document.querySelector(`select[data-for="${place}"]`);
  const figure = figures[place][select ? select.value : Object.keys(figures[place])[0]];
  const box = document.getElementById(place);
  const one = figure.panels.length === 1;
  box.classList.toggle("one", one);
  while (box.children.length > figure.panels.length) {
    Plotly.purge(box.lastChild.lastChild);
    box.lastChild.remove();
  }
  figure.panels.forEach((panel, number) => {
    if (!box.children[number]) {
      const made = element("div");
      made.append(element("h3"), element("div"));
      box.append(made);
    }
    const [title, plot] = box.children[number].children;
    title.textContent = panel.title;
    const layout = layoutOf(panel, printed, printed ? PRINTED[one ? "one" : "several"] : undefined);
    const bar = innerWidth < 600 ? false : "hover";
    Plotly.react(plot, panel.data, layout, { responsive: !printed, displaylogo: false, displayModeBar: bar });
  });
  document.getElementById(`${place}-note`).textContent = figure.note;
}

function sort(head, sign) {
  const table = head.closest("table");
  const column = head.cellIndex;
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const compare = (one, other) => {
    const [a, b] = [one.cells[column], other.cells[column]];
    if (!("value" in a.dataset)) return sign * a.textContent.localeCompare(b.textContent);
    // What is not known stands last, whichever way.
    if (!a.dataset.value || !b.dataset.value) return Number(!a.dataset.value) - Number(!b.dataset.value);
    return sign * (Number(a.dataset.value) - Number(b.dataset.value));
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

function cell(value) {
  if (typeof value === "string") return element("td", value);
  const made = element("td", value === null ? "-" : String(value), { className: "number" });
  made.dataset.value = value === null ? "" : value;
  return made;
}

function showJobs() {
  const [policy, of] = document.querySelectorAll("#jobs select");
  const known = jobs.tables.filter((one) => one.policy === policy.value);
  const before = of.value;
  of.replaceChildren(...known.map((one) => element("option", one.of)));
  if (known.some((one) => one.of === before)) of.value = before;
  const chosen = known.find((one) => one.of === of.value);
  const box = document.querySelector("#jobs .scroll");
  const sorted = box.querySelector("th[aria-sort]");
  const [column, sign] = sorted ? [sorted.cellIndex, sorted.getAttribute("aria-sort") === "ascending" ? 1 : -1] : [0, 0];
  const numeric = (name) => chosen && chosen.rows.length && typeof chosen.rows[0][jobs.columns.indexOf(name)] !== "string";
  const table = element("table");
  const row = table.createTHead().insertRow();
  jobs.columns.forEach((name) => {
    const head = element("th", "", { scope: "col", className: numeric(name) ? "number" : "" });
    head.append(element("button", name, { type: "button" }));
    row.append(head);
  });
  const body = table.createTBody();
  (chosen ? chosen.rows : []).forEach((values) => body.insertRow().append(...values.map(cell)));
  box.replaceChildren(table);
  if (sign) sort(row.cells[column], sign);
  document.querySelector("#jobs .note").textContent = jobs.note;
}

document.querySelector("#jobs select").append(
  ...[...new Set(jobs.tables.map((one) => one.policy))].map((name) => element("option", name)),
);
document.querySelectorAll("#jobs select").forEach((select) => {
  select.hidden = jobs.tables.length < 2;
  select.addEventListener("change", showJobs);
});
document.addEventListener("click", (event) => {
  const head = event.target.closest("th button")?.parentElement;
  if (head) sort(head, head.getAttribute("aria-sort") === "ascending" ? -1 : 1);
});
document.querySelectorAll("select[data-for]").forEach((select) => select.addEventListener("change", () => draw(select.dataset.for)));
const all = (printed = false) => Object.keys(figures).forEach((place) => draw(place, printed));
dark.addEventListener("change", () => all());
addEventListener("beforeprint", () => all(true));
addEventListener("afterprint", () => all());
showJobs();
all();
