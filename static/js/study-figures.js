// Draws the figures of a study with Plotly. The numbers stand in the tables of the page, or in its exports.
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const place = document.querySelector("[data-study-figures]");
  if (!place) return;
  const plots = [...place.querySelectorAll("[data-figure]")];
  const figures = await Plots.fetched(place.dataset.studyFigures, plots, "The plot could not be loaded. The tables have its numbers.");
  if (!figures) return;
  Plots.follow(place, (colours) => {
    for (const plot of plots) {
      const rows = figures[plot.dataset.figure];
      if (rows.length) Plotly.react(plot, ...PICTURES[plot.dataset.figure](rows, colours));
      else Plots.say(plot, NOTHING[plot.dataset.figure]);
    }
  });
});

const NOTHING = {
  detection: "There is no d' to draw: the table says why.",
  seconds: "Too few times for a picture: each reader needs 5 of an arm.",
  places: "Too few times for a picture: a stretch of the order needs 5 readings.",
  answers: "The protocol has no question with a scale.",
  cues: "The protocol does not ask for cues.",
};

function layout(colours, height, more) {
  return {
    height, margin: { l: 44, r: 12, t: 8, b: 30 }, showlegend: false, dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colours.font, size: 12, color: colours.axis },
    hoverlabel: { bgcolor: colours.raised, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    legend: { orientation: "h", x: 0, y: -0.14, yanchor: "top", font: { color: colours.ink2, size: 12 } },
    ...more,
  };
}

const SYMBOLS = ["circle", "diamond", "square"]; // of the arms, as everywhere
const quiet = { showgrid: false, zeroline: false, fixedrange: true };
const lines = (colours) => ({ gridcolor: colours.grid, zeroline: false, fixedrange: true });
const names = (colours, more) => ({ ...quiet, autorange: "reversed", automargin: true, ticks: "", tickfont: { color: colours.ink }, ...more });
const minus = (number, digits = 2) => number.toFixed(digits).replace("-", "−");
const distinct = (rows, key) => [...new Set(rows.map((row) => row[key]))];

const PICTURES = {
  detection(rows, colours) {
    const several = distinct(rows, "arm").length > 1;
    const labels = rows.map((row) => (several ? `${row.name}, ${row.arm.toLowerCase()}` : row.name));
    const all = rows.map((row) => row.name === "All readers");
    const reach = (end) => rows.map((row) => (row[end] === null ? 0 : Math.abs(row[end] - row.value)));
    const trace = {
      type: "scatter", mode: "markers", x: rows.map((row) => row.value), y: labels,
      marker: { size: all.map((is) => (is ? 11 : 9)), symbol: all.map((is) => (is ? "diamond" : "circle")), color: colours.ink },
      error_x: { type: "data", symmetric: false, array: reach("high"), arrayminus: reach("low"), color: colours.ink, thickness: 1.8, width: 0 },
      hoverinfo: "text",
      hovertext: rows.map((row) => `${row.name}: d' ${minus(row.value)}` + (row.low === null ? "" : ` (${minus(row.low)} to ${minus(row.high)})`)),
    };
    const chance = { type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: colours.ink2, width: 1, dash: "dash" } };
    const word = { x: 0, xref: "x", y: 0, yref: "paper", text: "chance", showarrow: false, yanchor: "top", yshift: -16, font: { size: 12, color: colours.ink2 } };
    return [[trace], layout(colours, 64 + 28 * rows.length, {
      xaxis: { ...lines(colours), nticks: 6 }, yaxis: names(colours), shapes: [chance], annotations: [word],
      margin: { l: 44, r: 12, t: 8, b: 42 },
    }), Plots.config];
  },

  seconds(rows, colours) {
    const readers = distinct(rows, "reader");
    const arms = distinct(rows, "arm");
    const traces = arms.flatMap((arm, n) => {
      const mine = rows.filter((row) => row.arm === arm);
      const of = (key) => mine.map((row) => row[key]);
      const x = mine.map((row) => readers.indexOf(row.reader) + (n - (arms.length - 1) / 2) * 0.26);
      const words = mine.map((row) => `${row.reader}, ${arm}: median ${row.median.toFixed(0)} s, quartiles ${row.q1.toFixed(0)} to ${row.q3.toFixed(0)} s, ${row.n} readings`);
      const line = { color: colours.cats[n], width: 1.8 };
      return [
        { type: "box", x, q1: of("q1"), median: of("median"), q3: of("q3"), lowerfence: of("p10"), upperfence: of("p90"),
          line, fillcolor: colours.surface, whiskerwidth: 0, width: 0.18, hoverinfo: "skip", showlegend: false },
        { type: "scatter", mode: "markers", name: arm, x, y: of("median"), hoverinfo: "text", hovertext: words,
          marker: { color: colours.cats[n], size: 9, symbol: SYMBOLS[n] } },
      ];
    });
    return [traces, layout(colours, 250, {
      showlegend: true, margin: { l: 48, r: 12, t: 8, b: 44 },
      xaxis: { ...quiet, tickvals: readers.map((_, n) => n), ticktext: readers, range: [-0.5, readers.length - 0.5], tickfont: { color: colours.ink } },
      yaxis: { ...lines(colours), ticksuffix: " s", rangemode: "tozero", nticks: 5 },
    }), Plots.config];
  },

  places(rows, colours) {
    const middle = rows.map((row) => (row.from + row.to) / 2);
    const edge = (key) => rows.map((row) => row[key] ?? row.median);
    const band = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", x: middle };
    const line = {
      type: "scatter", mode: "lines+markers", x: middle, y: rows.map((row) => row.median),
      line: { color: colours.cats[0], width: 2 }, marker: { size: 6, color: colours.cats[0] }, hoverinfo: "text",
      hovertext: rows.map((row) => `Places ${row.from} to ${row.to}: ${row.median.toFixed(0)} s, ${row.n} readings`),
    };
    const fill = { fill: "tonexty", fillcolor: translucent(colours.cats[0], 0.18) };
    return [[{ ...band, y: edge("low") }, { ...band, ...fill, y: edge("high") }, line], layout(colours, 250, {
      xaxis: { ...quiet, title: { text: "place in the order", font: { size: 12 } }, nticks: 8 },
      yaxis: { ...lines(colours), ticksuffix: " s", rangemode: "tozero", nticks: 5 }, margin: { l: 48, r: 12, t: 8, b: 44 },
    }), Plots.config];
  },

  answers(rows, colours) {
    const labels = rows.map((row) => `${row.question}, ${row.arm}`);
    const share = (row, step) => (row.n ? row.counts[step] / row.n : 0);
    const traces = [0, 1, 2, 3, 4].map((step) => ({
      type: "bar", orientation: "h", y: labels, x: rows.map((row) => share(row, step)),
      marker: { color: translucent(colours.risk, 0.12 + 0.22 * step), line: { width: 1, color: colours.surface } },
      hoverinfo: "text",
      hovertext: rows.map((row) => `${step + 1}${row.anchors[step] ? `, ${row.anchors[step]}` : ""}: ${row.counts[step]} of ${row.n}`),
    }));
    return [traces, layout(colours, 50 + 26 * rows.length, {
      barmode: "stack", bargap: 0.28, xaxis: { ...quiet, tickformat: ".0%", nticks: 5 }, yaxis: names(colours),
    }), Plots.config];
  },

  cues(rows, colours) {
    const cues = rows.map((row) => row.cue);
    const traces = rows[0].arms.map(({ arm }, n) => ({
      type: "bar", orientation: "h", name: arm, y: cues,
      x: rows.map((row) => (row.arms[n].of ? row.arms[n].n / row.arms[n].of : 0)),
      marker: { color: colours.cats[n], pattern: { shape: ["", "/", "x"][n], fillmode: "overlay", fgcolor: colours.surface, size: 6, solidity: 0.2 } },
      hoverinfo: "text", hovertext: rows.map((row) => `${row.cue}, ${arm}: ${row.arms[n].n} of ${row.arms[n].of}`),
    }));
    return [traces, layout(colours, 60 + 32 * rows.length, {
      barmode: "group", bargap: 0.3, showlegend: true, xaxis: { ...lines(colours), tickformat: ".0%", rangemode: "tozero", nticks: 5 },
      yaxis: names(colours), margin: { l: 44, r: 12, t: 8, b: 48 },
    }), Plots.config];
  },
};

// A colour of the tokens, which are written as #rrggbb, with an opacity.
function translucent(hex, opacity) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}
