"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

function draw(place) {
  const select = document.querySelector(`select[data-for="${place}"]`);
  const figure = figures[place][select ? select.value : Object.keys(figures[place])[0]];
  const line = dark.matches ? "#3a4047" : "#d5d9de";
  const axis = { gridcolor: line, zerolinecolor: line };
  const layout = {
    height: 380, margin: { l: 50, r: 10, t: 10, b: 50 }, showlegend: figure.data[0].type !== "heatmap",
    legend: { orientation: "h", y: 1, yanchor: "bottom" },
    ...figure.layout,
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: dark.matches ? "#e4e7ea" : "#1d2125" },
    xaxis: { ...figure.layout.xaxis, ...axis }, yaxis: { ...figure.layout.yaxis, ...axis },
  };
  document.getElementById(`${place}-note`).textContent = figure.note || "";
  return Plotly.react(place, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: innerWidth < 600 ? false : "hover" });
}

function sort(head) {
  const table = head.closest("table");
  const column = head.cellIndex;
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
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

document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => sort(button.parentElement)));
document.querySelectorAll("select").forEach((select) => select.addEventListener("change", () => draw(select.dataset.for)));
const all = () => Object.keys(figures).forEach(draw);
dark.addEventListener("change", all);
all();
