// Sending a scan with a bar that says how far it is. Without this script the form sends it by itself.
"use strict";

(() => {
  const MB = 1e6;

  class ScanForm {
    constructor(form) {
      this.form = form;
      this.sending = form.querySelector("[data-scan-sending]");
      this.bar = this.sending.querySelector("progress");
      this.said = form.querySelector("[data-scan-said]");
      this.stop = form.querySelector("[data-scan-stop]");
      this.button = form.querySelector("button[type=submit]");
      form.addEventListener("submit", (event) => this.submit(event));
      this.stop.addEventListener("click", () => this.request?.abort());
    }

    submit(event) {
      event.preventDefault();
      if (this.request) return;
      const file = this.form.elements.file.files[0];
      const most = Number(this.form.dataset.mostBytes);
      this.tell("");
      if (!file) return this.tell("No file was chosen. Choose a file, then press Add the scan.");
      if (file.size > most) {
        return this.tell(`The file has ${Math.round(file.size / MB)} MB; at most ${most / MB} MB are taken. Send one T1 series alone, as .nii.gz or as a zip of its DICOM files.`);
      }
      this.send(new FormData(this.form));
    }

    send(content) {
      const request = this.request = new XMLHttpRequest(); // fetch cannot say how far it is
      request.open("POST", this.form.action);
      request.setRequestHeader("Accept", "application/json");
      request.responseType = "json";
      request.upload.addEventListener("progress", ({ loaded, total }) => this.show(loaded, total));
      request.addEventListener("load", () => this.answered(request));
      request.addEventListener("error", () => this.ended("The connection was lost, so nothing was stored. Try again."));
      request.addEventListener("abort", () => this.ended("Sending was stopped; nothing was stored."));
      this.sending.hidden = this.stop.hidden = false;
      this.button.setAttribute("aria-busy", "true");
      request.send(content);
    }

    show(loaded, total) {
      [this.bar.max, this.bar.value] = [total, loaded];
      this.said.textContent = loaded < total
        ? `${(loaded / MB).toFixed(1)} of ${(total / MB).toFixed(1)} MB`
        : "Checking the file";
      if (loaded >= total) this.bar.removeAttribute("value");
    }

    answered(request) {
      if (request.status === 201) {
        location.assign(request.response.address);
        location.reload(); // the address may differ from this page's in its fragment alone
        return;
      }
      this.ended(request.response?.message ?? `The server refused the file (answer ${request.status}). Reload the page and try again.`);
    }

    ended(words) {
      this.request = null;
      this.sending.hidden = this.stop.hidden = true;
      this.button.removeAttribute("aria-busy");
      this.tell(words);
    }

    tell(words) {
      const place = this.form.querySelector("[data-scan-error]");
      place.closest(".field").classList.toggle("is-error", Boolean(words));
      this.form.elements.file.setAttribute("aria-invalid", String(Boolean(words)));
      place.replaceChildren();
      if (!words) return;
      const line = document.createElement("p");
      line.className = "error-text";
      line.setAttribute("role", "alert");
      line.textContent = words;
      place.append(line);
      this.form.elements.file.focus();
    }
  }

  const begin = () => {
    for (const form of document.querySelectorAll("[data-scan-form]:not([data-begun])")) {
      form.dataset.begun = "true";
      new ScanForm(form);
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
