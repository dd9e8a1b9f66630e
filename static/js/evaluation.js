// Draws the figures of an evaluation with Plotly. Each has its numbers in a table beneath it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const place = document.querySelector("[data-evaluation]");
  if (!place) return;
  const figures = JSON.parse(document.getElementById(place.dataset.evaluation).textContent);
  const plots = [...place.querySelectorAll("[data-figure]")];
  for (const plot of plots) plot.replaceChildren();
  Plots.follow(place, (colours) => {
    for (const plot of plots) {
      const figure = inColours(figures[plot.dataset.figure], colours);
      Plotly.react(plot, figure.data, layoutOf(figure.layout, colours), Plots.config);
    }
  });
  // On paper a figure is as wide as the page, whatever it was on the screen.
  addEventListener("beforeprint", () => plots.forEach((plot) => Plotly.relayout(plot, { width: 660 })));
  addEventListener("afterprint", () => plots.forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true })));
});

// The report chooses colours that can be read on light and on dark; here each has its role in the theme.
const ROLES = {
  "#2a8fa3": (colours) => colours.risk,
  "#8a939b": (colours) => colours.axis,
  "#c26a12": (colours) => colours.cats[1],
  "#8a63c9": (colours) => colours.cats[4],
};

function inColours(value, colours) {
  if (typeof value === "string") return ROLES[value.toLowerCase()]?.(colours) ?? value;
  if (Array.isArray(value)) return value.map((each) => inColours(each, colours));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inColours(each, colours)]));
  }
  return value;
}

// What the report says of the axes, in the letters and lines of the page.
function layoutOf(layout, colours) {
  const axes = Object.entries(layout).filter(([key]) => /^[xy]axis\d*$/.test(key));
  const drawn = axes.map(([key, axis]) => [key, { ...axis, gridcolor: colours.grid, fixedrange: true, automargin: true }]);
  return {
    ...layout, ...Object.fromEntries(drawn),
    dragmode: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colours.font, size: 12, color: colours.axis },
    hoverlabel: { bgcolor: colours.raised, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    legend: { ...layout.legend, font: { color: colours.ink2, size: 12 } },
  };
}
