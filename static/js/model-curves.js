// Draws figures across versions with Plotly. The table beneath the plots has the same numbers.
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const place = document.querySelector("[data-model-curves]");
  if (!place) return;
  const plots = [...place.querySelectorAll("[data-curve]")];
  const found = await Plots.fetched(place.dataset.modelCurves, plots, "The plot could not be loaded. The table has its numbers.");
  if (!found) return;
  Plots.follow(place, (colours) => {
    for (const plot of plots) {
      const traces = tracesOf(found.series, plot.dataset.curve, colours);
      if (traces.length) Plotly.react(plot, traces, layout(colours, plot.dataset.curve, found.series), Plots.config);
      else Plots.say(plot, "No version has this figure.");
    }
  });
});

const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "star"];
const IDEAL = { calibration_slope: 1, swap_ratio: 1 };

function versionsOf(series) {
  const points = series.flatMap((each) => each.points);
  points.sort((a, b) => a.made_at.localeCompare(b.made_at));
  return [...new Set(points.map((point) => point.version))];
}

function tracesOf(series, key, colours) {
  const versions = versionsOf(series);
  return series.map((each, n) => {
    const points = each.points.filter((point) => point.figures[key] !== undefined && valueOf(point.figures[key]) !== null);
    const reach = (end) => points.map((point) => Math.abs((point.figures[key][end] ?? valueOf(point.figures[key])) - valueOf(point.figures[key])));
    const colour = colours.cats[n % colours.cats.length];
    return {
      type: "scatter", mode: "markers", name: each.name,
      x: points.map((point) => versions.indexOf(point.version) + (n - (series.length - 1) / 2) * 0.12),
      y: points.map((point) => valueOf(point.figures[key])),
      marker: { size: 10, color: colour, symbol: SYMBOLS[n % SYMBOLS.length] },
      error_y: { type: "data", symmetric: false, array: reach("high"), arrayminus: reach("low"), color: colour, thickness: 2, width: 0 },
      hoverinfo: "text",
      hovertext: points.map((point) => `${point.version}, ${each.name}: ${words(point.figures[key])}`),
    };
  }).filter((trace) => trace.x.length);
}

const valueOf = (figure) => (typeof figure === "number" ? figure : figure.value);
const two = (number) => number.toFixed(2).replace("-", "−");

function words(figure) {
  const value = two(valueOf(figure));
  return typeof figure === "number" || figure.low === undefined ? value : `${value} (${two(figure.low)} to ${two(figure.high)}), n ${figure.n}`;
}

function layout(colours, key, series) {
  const versions = versionsOf(series);
  const ideal = IDEAL[key];
  return {
    height: 220, margin: { l: 48, r: 12, t: 8, b: 56 }, showlegend: true, dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colours.font, size: 12, color: colours.axis },
    hoverlabel: { bgcolor: colours.raised, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    legend: { orientation: "h", x: 0, y: -0.16, yanchor: "top", font: { color: colours.ink2, size: 12 } },
    xaxis: { showgrid: false, zeroline: false, fixedrange: true, tickvals: versions.map((_, n) => n), ticktext: versions, range: [-0.5, versions.length - 0.5], tickfont: { color: colours.ink } },
    yaxis: { gridcolor: colours.grid, zeroline: false, fixedrange: true, nticks: 5, tickformat: ".2f" },
    shapes: ideal === undefined ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: ideal, y1: ideal, line: { color: colours.ink2, width: 1, dash: "dash" } }],
  };
}
