// The reading page as a whole: the viewer beside the form, the keys of both, and the way from one case
// to the next. The next case comes into this page: its volume was fetched ahead, and only the form and
// the progress are replaced.
"use strict";

(() => {
  const CASE = /^\/reading\/[0-9a-f]{32}\/$/;
  const PLACE_MS = 300;
  const { remembered, remember, forget } = window.tabMemory;

  class ReadingPage {
    constructor(root) {
      this.root = root;
      this.viewer = new window.ReadingViewer(root.querySelector("[data-viewer]"));
      this.dialog = root.querySelector("dialog");
      this.viewer.changed = () => this.notePlace();
      root.addEventListener("click", (event) => {
        if (event.target.closest("[data-do='?']")) this.dialog.showModal();
      });
      root.querySelector("[data-keys-on]").addEventListener("change", (event) => { this.viewer.keysOn = event.target.checked; });
      document.addEventListener("keydown", (event) => this.press(event));
      document.addEventListener("reading:key", ({ detail }) => this.press(detail));
      window.addEventListener("popstate", () => location.reload());
      window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
      this.begin();
    }

    /** Take up the case that stands in the page. */
    begin() {
      const form = this.root.querySelector("[data-form]");
      const { volume, mosaic } = this.viewer.section.dataset;
      this.form = form && new window.ReadingForm(form, { saved: (words, state) => this.saySaved(words, state), go: (address) => this.go(address) });
      this.saySaved("", "done");
      this.form?.mark(0, false);
      this.placeKey = `mirage-place ${location.pathname}`;
      const place = remembered(this.placeKey);
      this.isPlaced = false;
      if (this.viewer.wanted !== volume) this.opened = this.viewer.open(volume, mosaic);
      this.drawn = this.opened.then(() => {
        if (!this.viewer.main.isOpen) return;
        if (place) this.viewer.goTo(place.viewer);
        this.isPlaced = true;
        const next = form?.dataset.nextVolume;
        if (!next) return;
        // Ahead of time, and kept in memory alone; if it fails, it is fetched when it is due.
        this.viewer.fetch(next).then(() => { this.viewer.stage.dataset.ahead = "true"; }, () => {});
      });
      if (place) this.form?.mark(place.marked, place.inForm);
      const amend = document.querySelector("#amend");
      if (amend) (amend.querySelector(":checked") ?? amend.querySelector("fieldset input, textarea")).focus();
      else if (!place?.inForm) this.viewer.canvas.focus({ preventScroll: true });
    }

    /** Where the reader is, for a reload; in this tab alone. */
    notePlace() {
      if (!this.isPlaced || !this.form) return;
      clearTimeout(this.noting);
      this.noting = setTimeout(() => {
        remember(this.placeKey, { viewer: this.viewer.place(), marked: this.form.marked, inForm: this.form.form.contains(document.activeElement) });
      }, PLACE_MS);
    }

    press(event) {
      if (this.dialog.open) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.form?.form.requestSubmit();
        return;
      }
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const target = document.activeElement;
      if (target.matches("textarea, select")) {
        if (event.key === "Escape") target.closest("[data-group], [data-viewer]")?.focus();
        return;
      }
      const key = event.key.toLowerCase();
      if (key === "?") this.dialog.showModal();
      else if (!this.viewer.keysOn || !this.form) return;
      else if (key === "g") this.change();
      else if (key === "j" || key === "k") this.form.mark(this.isInForm() ? this.form.marked + (key === "j" ? 1 : -1) : this.form.marked);
      else if (!this.isInForm() || !this.form.press(key)) return;
      event.preventDefault();
      this.notePlace();
    }

    isInForm() {
      return this.form.form.contains(document.activeElement);
    }

    /** From the images to the questions, and back. */
    change() {
      if (this.isInForm()) this.viewer.canvas.focus();
      else this.form.mark(this.form.marked);
    }

    saySaved(words, state) {
      const place = this.root.querySelector("[data-saved]");
      place.textContent = words;
      place.classList.toggle("state-done", state === "done");
      place.classList.toggle("state-warn", state === "warn");
    }

    /** To another page; if that is a case, it comes into this one. */
    async go(address) {
      const ahead = this.form.form.dataset.nextVolume;
      forget(this.placeKey);
      this.isPlaced = false;
      this.form.end();
      if (!CASE.test(address)) {
        location.assign(address);
        return;
      }
      try {
        const page = fetch(address, { credentials: "same-origin", cache: "no-store" });
        // The voxels are here: they are drawn while the page is on its way.
        if (ahead?.startsWith(address)) this.opened = this.viewer.open(ahead, `${address}case.png`);
        const response = await page;
        if (!response.ok || response.redirected) throw new Error("not a case");
        const fetched = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const part of this.root.querySelectorAll("[data-part]")) {
          part.replaceWith(document.adoptNode(fetched.querySelector(`[data-part="${part.dataset.part}"]`)));
        }
        const { volume, mosaic } = fetched.querySelector("[data-viewer]").dataset;
        Object.assign(this.viewer.section.dataset, { volume, mosaic });
        document.title = fetched.title;
        history.pushState(null, "", address);
        this.begin();
        await this.drawn;
      } catch {
        location.assign(address); // the whole page then, which says by itself what is wrong
      }
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.querySelector("[data-reading]");
    if (root) window.reading = new ReadingPage(root);
  });
})();
