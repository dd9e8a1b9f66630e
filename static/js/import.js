// The columns of an import by keyboard. Without this script every button of a line still works.
"use strict";

const undecided = () => [...document.querySelectorAll("tr[data-undecided]")];
const firstButton = (line) => line?.querySelector("button, a.btn");
let decidedAt = null;
let decidedName = "";

// A single key acts only while a button of the line has the focus, never in a choice or a field.
document.addEventListener("keydown", (event) => {
  const line = event.target.closest?.("tr[data-undecided]");
  if (!line || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("select, input")) return;
  const lines = undecided();
  const at = lines.indexOf(line);
  const acts = {
    a: () => line.querySelector("button[value=accept]")?.click(),
    i: () => line.querySelector("button[value=ignore]")?.click(),
    ArrowDown: () => firstButton(lines[at + 1])?.focus(),
    ArrowUp: () => firstButton(lines[at - 1])?.focus(),
  };
  const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// A unit that is chosen in a decided line is set at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-unit]")) {
    event.target.form.requestSubmit(event.target.form.querySelector("[data-set-unit]"));
  }
});

const hideUnitButtons = () => {
  for (const button of document.querySelectorAll("[data-set-unit]")) button.hidden = true;
};
document.addEventListener("DOMContentLoaded", hideUnitButtons);

document.addEventListener("htmx:beforeRequest", (event) => {
  const line = event.target.closest?.("tr");
  decidedAt = line?.hasAttribute("data-undecided") ? undecided().indexOf(line) : null;
  decidedName = line?.dataset.header ?? "";
});

// After a decision its line has moved to another group: go on with the next one, and say what is left.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id !== "columns") return;
  hideUnitButtons();
  const said = document.getElementById("said");
  const left = document.querySelector("[data-left]")?.textContent.trim() ?? "";
  if (said) said.textContent = decidedName ? `${decidedName} is decided. ${left}.` : left;
  const problem = document.querySelector("#columns .error-text");
  if (problem) {
    firstButton(problem.closest("tr"))?.focus();
  } else if (decidedAt !== null) {
    const lines = undecided();
    (firstButton(lines[Math.min(decidedAt, lines.length - 1)]) ?? document.getElementById("check"))?.focus();
  }
  decidedAt = null;
});
