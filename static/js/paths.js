// Draws the paths from a patient's findings to the disease with Plotly. The table beneath has the same paths.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const place = document.querySelector("[data-paths]");
  if (!place) return;
  const picture = JSON.parse(document.getElementById(place.dataset.paths).textContent);
  place.replaceChildren();
  Plots.follow(place, (colours) => Plotly.react(place, ...plot(picture, colours)));
});

const HEADS = ["Patient", "Finding", "Stands for", "In common", "Disease"];
const LETTERS = 15; // of a line in a box

// A node's words in short lines; what does not fit is in the hover text and in the table.
function wrapped(words, lines = 3) {
  const rows = [""];
  for (const word of words.split(" ")) {
    const last = rows[rows.length - 1];
    if (last && `${last} ${word}`.length > LETTERS) rows.push(word);
    else rows[rows.length - 1] = last ? `${last} ${word}` : word;
  }
  return rows.length > lines ? [...rows.slice(0, lines - 1), `${rows[lines - 1]}…`] : rows;
}

// Data, layout and configuration: a curve for each edge, a box of words for each node.
function plot({ nodes, edges }, colours) {
  const spot = (key) => ({ x: nodes[key].column, y: 1 - nodes[key].height });
  const curves = edges.map((edge) => {
    const [low, high] = [spot(edge.from), spot(edge.to)];
    const points = Array.from({ length: 21 }, (_, n) => n / 20);
    const eased = (t) => t * t * (3 - 2 * t);
    return {
      type: "scatter", mode: "lines", hoverinfo: "skip",
      x: points.map((t) => low.x + t * (high.x - low.x)),
      y: points.map((t) => low.y + eased(t) * (high.y - low.y)),
      line: { width: edge.read ? edge.width : Math.min(edge.width, 3), color: edge.read ? colours.risk : colours.line, dash: edge.read ? "solid" : "5px,4px" },
    };
  });
  const keys = Object.keys(nodes);
  const told = edges.filter((edge) => edge.over.length);
  const hover = {
    type: "scatter", mode: "markers", hoverinfo: "text",
    x: [...keys.map((key) => spot(key).x), ...told.map((e) => (spot(e.from).x + spot(e.to).x) / 2)],
    y: [...keys.map((key) => spot(key).y), ...told.map((e) => (spot(e.from).y + spot(e.to).y) / 2)],
    text: [
      ...keys.map((key) => nodes[key].text + (nodes[key].read ? "" : "<br>not in the model’s graph")),
      ...told.map((e) => `over<br>${e.over.join("<br>")}`),
    ],
    marker: {
      size: [...keys.map(() => 40), ...told.map(() => 9)], opacity: [...keys.map(() => 0), ...told.map(() => 1)],
      color: colours.surface, line: { width: 1.5, color: colours.line },
    },
  };
  const boxes = keys.map((key) => {
    const node = nodes[key];
    const rows = wrapped(node.text);
    if (node.more) rows.push(node.more);
    return {
      ...spot(key), text: rows.join("<br>"), showarrow: false, align: "center", borderpad: 5,
      bgcolor: node.kind === "disease" ? colours.selected : colours.surface,
      bordercolor: node.read ? colours.risk : colours.line, borderwidth: node.kind === "finding" ? 2 : 1,
      font: { color: colours.ink, size: 12, family: colours.font },
    };
  });
  const heads = HEADS.map((text, column) => ({
    x: column, y: 1.04, yanchor: "bottom", text, showarrow: false, font: { color: colours.ink2, size: 12, family: colours.font },
  }));
  const used = new Set(keys.map((key) => nodes[key].column));
  const most = Math.max(...[1, 2, 3].map((column) => keys.filter((key) => nodes[key].column === column).length));
  const axis = { visible: false, fixedrange: true };
  return [
    [...curves, hover],
    {
      height: 90 + 74 * Math.max(3, most), margin: { l: 8, r: 8, t: 24, b: 8 }, showlegend: false, dragmode: false, hovermode: "closest",
      xaxis: { ...axis, range: [-0.45, 4.45] }, yaxis: { ...axis, range: [-0.02, 1.1] },
      annotations: [...boxes, ...heads.filter((_, column) => used.has(column))],
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: colours.font, size: 12, color: colours.ink },
      hoverlabel: { bgcolor: colours.raised, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    },
    { displayModeBar: false, responsive: true },
  ];
}
