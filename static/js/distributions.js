// Draws the distributions of a cohort with Plotly. The numbers stand in the tables beside the plots, too.
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const place = document.querySelector("[data-distributions]");
  if (!place) return;
  const plots = new Map(
    [...place.querySelectorAll("[data-distribution]")].map((plot) => [plot.dataset.distribution, plot]),
  );
  const words = "The plot could not be loaded. The table has its numbers.";
  const found = await Plots.fetched(place.dataset.distributions, plots.values(), words);
  if (!found) return;
  Plots.follow(place, (colours) => {
    for (const distribution of found.distributions) {
      const plot = plots.get(distribution.id);
      if (plot) Plotly.react(plot, ...picture(distribution, colours));
    }
  });
});

// Data, layout and configuration of one plot: steps as columns, levels as rows.
function picture(distribution, colours) {
  const bars = distribution.bars;
  const most = Math.max(5, ...bars.map((bar) => bar.n ?? 0));
  const few = Math.max(most / 25, 2.5); // drawn, so that it is seen; said to be few
  const heights = bars.map((bar) => bar.n ?? few);
  const marker = {
    color: bars.map((bar) => (bar.n === null ? colours.surface : colours.band)),
    line: { width: bars.map((bar) => (bar.n === null ? 1 : 0)), color: colours.off }, // hollow, so that print shows it
  };
  const words = bars.map((bar) => `${bar.label}: ${bar.n === null ? "few" : bar.n.toLocaleString("en-GB")}`);
  const common = { type: "bar", marker, hovertext: words, hoverinfo: "text" };
  const counts = { gridcolor: colours.grid, zeroline: false, nticks: 4, rangemode: "tozero", tickformat: ",d", fixedrange: true };
  const values = { showgrid: false, zeroline: false, fixedrange: true };
  let trace, layout;
  if (distribution.levels) {
    const names = bars.map((bar) => (bar.label.length > 24 ? `${bar.label.slice(0, 23)}…` : bar.label));
    trace = { ...common, orientation: "h", y: bars.map((_, n) => n), x: heights };
    layout = {
      xaxis: counts, bargap: 0.3,
      yaxis: { ...values, autorange: "reversed", tickvals: bars.map((_, n) => n), ticktext: names, automargin: true },
    };
  } else {
    const centres = bars.map((bar) => (bar.low + bar.high) / 2);
    trace = { ...common, x: centres, y: heights, width: bars.map((bar) => (bar.high - bar.low) * 0.94) };
    layout = { xaxis: { ...values, nticks: 5 }, yaxis: counts };
  }
  return [
    [trace],
    {
      ...layout, height: 170, margin: { l: 40, r: 8, t: 6, b: 26 }, showlegend: false, dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: colours.font, size: 12, color: colours.axis },
      hoverlabel: { bgcolor: colours.raised, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    },
    { displayModeBar: false, responsive: true },
  ];
}
