// Draws challenger and champion beside each other with Plotly, as counts and means, never as single patients.
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const place = document.querySelector("[data-shadow-figures]");
  if (!place) return;
  const plots = [...place.querySelectorAll("[data-shadow]")];
  const found = await Plots.fetched(place.dataset.shadowFigures, plots, "The plot could not be loaded.");
  if (!found) return;
  Plots.follow(place, (colours) => {
    for (const plot of plots) {
      if (found[plot.dataset.shadow].length) Plotly.react(plot, ...PICTURES[plot.dataset.shadow](found, colours));
      else Plots.say(plot, "Too few patients for a picture.");
    }
  });
});

const signed = (number) => number.toFixed(2).replace("-", "−");

function layout(colours, more) {
  return {
    height: 300, margin: { l: 56, r: 12, t: 8, b: 44 }, showlegend: false, dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colours.font, size: 12, color: colours.axis },
    hoverlabel: { bgcolor: colours.raised, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    ...more,
  };
}

const axis = (colours, title) => ({ gridcolor: colours.grid, zeroline: false, fixedrange: true, title: { text: title, font: { size: 12 } } });

const PICTURES = {
  cells(found, colours) {
    const most = Math.max(5, ...found.cells.map((cell) => cell.n ?? 0));
    const trace = {
      type: "scatter", mode: "markers",
      x: found.cells.map((cell) => (cell.champion + 0.5) / 10), y: found.cells.map((cell) => (cell.challenger + 0.5) / 10),
      marker: {
        symbol: "square", size: 17, opacity: found.cells.map((cell) => (cell.n === null ? 1 : 0.25 + 0.75 * Math.sqrt(cell.n / most))),
        color: found.cells.map((cell) => (cell.n === null ? colours.surface : colours.risk)),
        line: { width: found.cells.map((cell) => (cell.n === null ? 1 : 0)), color: colours.off },
      },
      hoverinfo: "text",
      hovertext: found.cells.map((cell) => `${cell.n === null ? "fewer than 5" : cell.n} patients: ${cell.champion / 10} to ${(cell.champion + 1) / 10} and ${cell.challenger / 10} to ${(cell.challenger + 1) / 10}`),
    };
    const diagonal = { type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { color: colours.ink2, width: 1, dash: "dash" } };
    return [[trace], layout(colours, {
      xaxis: { ...axis(colours, `probability by ${found.champion}`), range: [0, 1] },
      yaxis: { ...axis(colours, `by ${found.challenger}`), range: [0, 1] }, shapes: [diagonal],
    }), Plots.config];
  },

  bands(found, colours) {
    const reach = (end) => found.bands.map((band) => Math.abs(band[end] - band.value));
    const trace = {
      type: "scatter", mode: "markers", x: found.bands.map((band) => band.middle), y: found.bands.map((band) => band.value),
      marker: { size: 9, color: colours.risk },
      error_y: { type: "data", symmetric: false, array: reach("high"), arrayminus: reach("low"), color: colours.risk, thickness: 2, width: 0 },
      hoverinfo: "text",
      hovertext: found.bands.map((band) => `${signed(band.value)} (${signed(band.low)} to ${signed(band.high)}), ${band.n} patients`),
    };
    const across = (y) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: colours.ink2, width: 1, dash: "dash" } });
    const shapes = [...(found.mean ? [across(found.mean.value)] : []), ...(found.limits ?? []).map(across)];
    return [[trace], layout(colours, {
      xaxis: { ...axis(colours, "mean of both probabilities"), range: [0, 1] },
      yaxis: { ...axis(colours, "difference"), nticks: 6 }, shapes,
    }), Plots.config];
  },
};
