// Small behaviours of every page. Each one only adds to what works without it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  // An error summary takes the focus, so that a screen reader starts with what went wrong.
  document.querySelector(".error-summary")?.focus();

  // The drop zone is the file input itself; the script only repeats the chosen name.
  for (const zone of document.querySelectorAll("[data-drop]")) {
    const input = zone.querySelector("input[type=file]");
    const output = zone.querySelector("output");
    const say = () => {
      const file = input.files[0];
      output.textContent = file ? `${file.name}, ${size(file.size)}` : "";
    };
    input.addEventListener("change", say);
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, () => zone.classList.add("is-over"));
    }
    for (const name of ["dragleave", "drop"]) {
      zone.addEventListener(name, () => zone.classList.remove("is-over"));
    }
    say();
  }

  // A form that takes its time says so, and is not sent twice.
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "true";
      form.querySelector("button[type=submit]")?.setAttribute("aria-busy", "true");
    });
  }

  // A choice that changes the list at once; without the script the button beside it does the same.
  for (const select of document.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
    select.form.querySelector("[data-submit-button]")?.setAttribute("hidden", "");
  }
});

// The page comes back from the browser's history with the form already sent: let it be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.querySelector("button[type=submit]")?.removeAttribute("aria-busy");
  }
});

function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
