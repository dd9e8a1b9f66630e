// The live part of a training's page: curves, measures, pictures and log, brought up to date in place.
// Without this script the page shows all but the curves, as of when it was loaded.
"use strict";

const EVERY_MS = 1000;
const AGAIN_MS = 4000; // after an answer that failed, and while nobody looks
const LOG_LINES = 200;
const FEW = 30; // points of a curve that are marked one by one

document.addEventListener("DOMContentLoaded", () => {
  const place = document.querySelector("[data-training]");
  if (place) new TrainingPage(place).begin();
});

class TrainingPage {
  constructor(place) {
    this.place = place;
    this.address = place.dataset.training;
    this.losses = new Curves(place.querySelector("[data-losses]"));
    this.measures = new Curves(place.querySelector("[data-metrics]"));
    this.stages = new Map(); // stage -> loss -> points
    this.measured = new Map();
    this.resumed = [];
    this.last = 0;
    this.select = place.querySelector("[data-stage]");
    this.follows = true; // the stage that the training is in, until somebody chooses one
    this.pictures = new Pictures(place.querySelector("[data-examples]"), this.address);
  }

  async begin() {
    this.select.addEventListener("change", () => {
      this.follows = false;
      this.draw();
    });
    const redraw = () => { this.draw(); this.drawMeasures(); };
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    await this.poll();
  }

  async poll() {
    let wait = AGAIN_MS;
    try {
      const response = await fetch(`${this.address}?after=${this.last}`, { headers: { Accept: "application/json" } });
      if (response.status === 404 || response.status === 403) return;
      if (!response.ok) throw new Error(String(response.status));
      const told = await response.json();
      if (told.curves) this.all(told);
      else this.news(told);
      if (told.final && !told.more) {
        this.place.dataset.drawn = "final";
        return;
      }
      wait = told.more ? 0 : document.hidden ? AGAIN_MS : EVERY_MS;
    } catch {
      // The server is being restarted, or the network is away: what was drawn stays.
    }
    setTimeout(() => this.poll(), wait);
  }

  all(told) {
    this.last = told.last;
    this.resumed = told.resumed;
    for (const [stage, curves] of Object.entries(told.curves)) {
      for (const [name, points] of Object.entries(curves)) pointsOf(this.stages, stage, name).push(...points);
    }
    for (const event of told.events) this.measure(event);
    this.offer(told.stage);
    this.draw();
    this.drawMeasures();
    this.place.dataset.drawn = "true";
  }

  news(told) {
    this.last = told.last;
    const more = {}; // loss of the drawn stage -> points behind its last one
    let again = false;
    let measured = false;
    for (const event of told.events) {
      if (event.kind === "step") {
        for (const [name, value] of Object.entries(event.values)) {
          if (name === "learning rate") continue;
          const is_new = !this.stages.get(event.stage)?.has(name);
          const extends_it = put(pointsOf(this.stages, event.stage, name), event.step, value);
          if (event.stage !== this.select.value) continue;
          if (extends_it && !is_new) (more[name] ??= []).push([event.step, value]);
          else again = true;
        }
      } else if (event.kind === "metric") {
        this.measure(event);
        measured = true;
      } else if (event.kind === "example") this.pictures.add(event);
    }
    if (told.log.length) this.log(told.log);
    if (this.offer(told.stage) || again) this.draw();
    else this.losses.extend(more);
    if (measured) this.drawMeasures();
  }

  // Stages that have losses can be chosen; the one that is under way is shown until one is.
  offer(now) {
    const known = new Set([...this.select.options].map((option) => option.value));
    for (const stage of this.stages.keys()) {
      if (!known.has(stage)) this.select.add(new Option(stage[0].toUpperCase() + stage.slice(1), stage));
    }
    this.select.parentElement.hidden = this.select.options.length < 2;
    const last = this.select.options[this.select.options.length - 1]?.value;
    const wanted = this.stages.has(now) ? now : last;
    if (!this.follows || !wanted || this.select.value === wanted && this.losses.stage === wanted) return false;
    this.select.value = wanted;
    return true;
  }

  draw() {
    const stage = this.select.value;
    const curves = this.stages.get(stage);
    if (!curves) return;
    const marks = this.resumed.filter((each) => each.stage === stage);
    this.losses.stage = stage;
    this.losses.draw(curves, marks);
  }

  measure(event) {
    const body = this.place.querySelector("[data-figures]");
    body.querySelector("[data-none]")?.remove();
    for (const [name, value] of Object.entries(event.values)) {
      put(pointsOf(this.measured, event.stage, name), event.step, value);
      const row = [...body.rows].find((each) => each.cells[0].textContent === name && each.cells[1].textContent === event.stage)
        ?? addRow(body, name, event.stage);
      row.cells[2].textContent = value.toFixed(3).replace("-", "−");
    }
  }

  drawMeasures() {
    const repeated = new Map();
    for (const curves of this.measured.values()) {
      for (const [name, points] of curves) if (points.length > 1) repeated.set(name, points);
    }
    this.measures.plot.parentElement.hidden = !repeated.size;
    if (repeated.size) this.measures.draw(repeated, []);
  }

  log(lines) {
    const log = this.place.querySelector("[data-log]");
    log.querySelector(".quiet")?.remove();
    for (const line of lines) {
      const item = document.createElement("li");
      const at = document.createElement("span");
      at.className = "t";
      at.textContent = line.at;
      item.append(at, line.text);
      log.prepend(item);
    }
    while (log.children.length > LOG_LINES) log.lastElementChild.remove();
  }
}

// Lines over steps, in one plot.
class Curves {
  constructor(plot) {
    this.plot = plot;
    this.names = [];
    this.stage = "";
  }

  draw(curves, marks) {
    this.plot.querySelector("p")?.remove();
    const colours = Plots.colours();
    this.names = [...curves.keys()];
    const traces = this.names.map((name, n) => ({
      type: "scatter", mode: curves.get(name).length > FEW ? "lines" : "lines+markers", name,
      x: curves.get(name).map((point) => point[0]), y: curves.get(name).map((point) => point[1]),
      line: { color: colours.cats[n % colours.cats.length], width: 1.8, dash: DASHES[n % DASHES.length] },
      marker: { color: colours.cats[n % colours.cats.length], size: 5 },
      hovertemplate: `step %{x:,}: %{y:.4g}<extra>${name.replaceAll("<", "&lt;")}</extra>`,
    }));
    const lines = marks.map((mark) => ({
      type: "line", x0: mark.step, x1: mark.step, yref: "paper", y0: 0, y1: 1, line: { color: colours.ink2, width: 1, dash: "dash" },
    }));
    const words = marks.map((mark) => ({
      x: mark.step, y: 1, yref: "paper", text: "resumed", showarrow: false, xanchor: "left", xshift: 4, yanchor: "top",
      font: { size: 12, color: colours.ink2 },
    }));
    Plotly.react(this.plot, traces, layout(colours, lines, words, isWide(traces)), Plots.config);
  }

  // Points behind the last ones; the picture is not drawn anew.
  extend(more) {
    const names = Object.keys(more).filter((name) => this.names.includes(name));
    if (!names.length) return;
    const x = names.map((name) => more[name].map((point) => point[0]));
    const y = names.map((name) => more[name].map((point) => point[1]));
    Plotly.extendTraces(this.plot, { x, y }, names.map((name) => this.names.indexOf(name)));
  }
}

// One picture at a time, with the way from the first to the newest.
class Pictures {
  constructor(place, address) {
    this.place = place;
    this.base = address.replace(/events\/$/, "examples/");
    this.stepper = place.querySelector("[data-stepper]");
    this.slide = place.querySelector("[data-slide]");
    this.slide.addEventListener("input", () => this.show(Number(this.slide.value)));
    place.querySelector("[data-earlier]").addEventListener("click", () => this.show(this.at - 1));
    place.querySelector("[data-later]").addEventListener("click", () => this.show(this.at + 1));
    this.show(this.all().length - 1);
  }

  all() {
    return [...this.place.querySelectorAll("[data-example]")];
  }

  show(wanted) {
    const all = this.all();
    if (!all.length) return;
    this.at = Math.max(0, Math.min(wanted, all.length - 1));
    all.forEach((figure, n) => (figure.hidden = n !== this.at));
    this.stepper.hidden = all.length < 2;
    this.slide.max = String(all.length - 1);
    this.slide.value = String(this.at);
    this.slide.setAttribute("aria-valuetext", `${this.at + 1} of ${all.length}`);
  }

  add(event) {
    if (!event.file) return;
    const all = this.all();
    const was_newest = !all.length || this.at === all.length - 1;
    all.find((figure) => figure.dataset.example === event.file)?.remove(); // told again after a resume
    this.place.querySelector("[data-none]")?.remove();
    this.place.insertBefore(this.figure(event), this.stepper);
    this.show(was_newest ? this.all().length - 1 : this.at);
  }

  figure(event) {
    const figure = document.createElement("figure");
    figure.dataset.example = event.file;
    const shown = document.createElement("div");
    shown.className = "shown";
    const names = document.createElement("ul");
    for (const kind of event.rows) names.append(rowName(kind));
    const picture = new Image();
    picture.alt = event.text;
    picture.src = `${this.base}${event.seq}/`;
    shown.append(names, picture);
    const caption = document.createElement("figcaption");
    const stage = event.stage[0].toUpperCase() + event.stage.slice(1);
    caption.textContent = `${stage}${event.step ? `, step ${event.step.toLocaleString("en-GB")}` : ""}. ${event.text}`;
    figure.append(shown, caption);
    return figure;
  }
}

function rowName([kind, is_generated]) {
  const item = document.createElement("li");
  item.textContent = kind[0].toUpperCase() + kind.slice(1);
  if (is_generated) {
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.textContent = "SYNTHETIC";
    item.append(mark);
  }
  return item;
}

function pointsOf(stages, stage, name) {
  if (!stages.has(stage)) stages.set(stage, new Map());
  const curves = stages.get(stage);
  if (!curves.has(name)) curves.set(name, []);
  return curves.get(name);
}

// Puts a point where its step belongs; a step that was told before takes the newer value.
// Returns whether it lies behind all others.
function put(points, step, value) {
  if (!points.length || points[points.length - 1][0] < step) {
    points.push([step, value]);
    return true;
  }
  let low = 0;
  for (let high = points.length; low < high;) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < step) low = middle + 1;
    else high = middle;
  }
  if (points[low][0] === step) points[low][1] = value;
  else points.splice(low, 0, [step, value]);
  return false;
}

function addRow(body, name, stage) {
  const row = body.insertRow();
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  row.append(head);
  const where = row.insertCell();
  where.className = "muted";
  where.textContent = stage;
  row.insertCell().className = "n";
  return row;
}

const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

// Losses that differ by more than fifty times are read on a logarithmic axis.
function isWide(traces) {
  const values = traces.flatMap((trace) => trace.y);
  const low = Math.min(...values);
  return low > 0 && Math.max(...values) / low > 50;
}

function layout(colours, shapes, annotations, is_wide) {
  return {
    height: 240, margin: { l: 52, r: 12, t: 8, b: 30 }, dragmode: false, shapes, annotations, showlegend: true,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colours.font, size: 12, color: colours.axis },
    hoverlabel: { bgcolor: colours.raised, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    legend: { orientation: "h", x: 0, y: -0.16, yanchor: "top", font: { color: colours.ink2, size: 12 } },
    xaxis: { showgrid: false, zeroline: false, fixedrange: true, nticks: 6, rangemode: "tozero" },
    yaxis: { gridcolor: colours.grid, zeroline: false, fixedrange: true, nticks: 5, type: is_wide ? "log" : "linear" },
  };
}
