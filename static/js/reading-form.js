// The questions of one case: keys, what is answered, and the saving of it while it is given.
//
// Every change is saved within half a second. What could not be saved stays in this tab's session
// storage and is tried again; the revision of the form tells the server what it started from.
"use strict";

(() => {
  const QUIET_MS = 400; // without a change, before a save
  const RETRY_MS = [1000, 2000, 5000, 10000];
  const HEARTBEAT_MS = 20000; // the time in view is saved as often, while somebody is there
  const THERE_MS = 120000; // since the last key or movement

  /** Milliseconds with the page in view, by a clock that nobody can set. */
  class ActiveTime {
    constructor(start) {
      this.before = start;
      this.since = document.hidden ? null : performance.now();
      this.turn = () => {
        this.before = this.ms();
        this.since = document.hidden ? null : performance.now();
      };
      document.addEventListener("visibilitychange", this.turn);
    }

    ms() {
      return this.before + (this.since === null ? 0 : performance.now() - this.since);
    }

    stop() {
      document.removeEventListener("visibilitychange", this.turn);
    }
  }

  class ReadingForm {
    /**
     * @param {HTMLFormElement} form of one case
     * @param {{saved: Function, go: Function}} told what stands in the bar, and where to go next
     */
    constructor(form, told) {
      this.form = form;
      this.told = told;
      this.fields = [...form.querySelectorAll("[data-field]")];
      this.marked = 0;
      this.key = `mirage-reading ${form.dataset.save}`;
      this.time = new ActiveTime(Number(form.elements.active_ms.value));
      this.savedAnswers = this.answers();
      this.lost = null; // answers on their way when the line broke: the server may have them
      this.seenAt = performance.now();
      this.tries = 0;
      this.takeUp();
      this.listen();
      this.show();
    }

    listen() {
      this.form.addEventListener("change", () => this.changed());
      this.form.addEventListener("input", () => this.changed());
      this.form.addEventListener("focusin", (event) => this.noteFocus(event.target));
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.submit();
      });
      for (const field of this.fields) {
        for (const name of ["mouseover", "mouseout", "focusin", "focusout", "change"]) {
          field.addEventListener(name, (event) => this.sayMeaning(field, ["mouseover", "focusin"].includes(name) ? event.target.closest("label")?.querySelector("input") ?? event.target : null));
        }
      }
      this.here = () => { this.seenAt = performance.now(); };
      this.leaving = () => { if (document.hidden) this.save({ keepalive: true }); };
      for (const name of ["keydown", "mousemove"]) document.addEventListener(name, this.here, { passive: true });
      document.addEventListener("visibilitychange", this.leaving);
      this.ticking = setInterval(() => this.tick(), 250);
      this.beating = setInterval(() => {
        if (!document.hidden && performance.now() - this.seenAt < THERE_MS) this.save();
      }, HEARTBEAT_MS);
    }

    /** Another case takes the place of this one. */
    end() {
      this.isOver = true;
      clearInterval(this.ticking);
      clearInterval(this.beating);
      clearTimeout(this.waiting);
      this.time.stop();
      for (const name of ["keydown", "mousemove"]) document.removeEventListener(name, this.here);
      document.removeEventListener("visibilitychange", this.leaving);
    }

    // ---- Answers -------------------------------------------------------------------------------

    /** What is answered, as the server is told: field name to a list of texts, in order. */
    answers() {
      const said = {};
      for (const [name, text] of new FormData(this.form)) {
        if (name.startsWith("answer-") && text) (said[name] ??= []).push(text.replace(/\r\n/g, "\n"));
      }
      return JSON.stringify(Object.entries(said).sort());
    }

    fill(answers) {
      for (const input of this.form.querySelectorAll("[data-field] input")) {
        input.checked = (answers[input.name] ?? []).includes(input.value);
      }
      for (const text of this.form.querySelectorAll("textarea[data-field]")) text.value = (answers[text.name] ?? [""])[0];
      for (const field of this.fields) this.sayMeaning(field, null);
      this.show();
    }

    /** Answers that this tab could not save before it was reloaded. */
    takeUp() {
      const kept = remembered(this.key);
      if (!kept) return;
      this.fill(Object.fromEntries(JSON.parse(kept.answers)));
      this.form.elements.revision.value = kept.revision;
      this.time.before = Math.max(this.time.before, kept.active_ms);
      this.lost = kept.lost;
      this.plan(0);
    }

    changed() {
      if (!this.conflicted) this.quiet();
      this.remember();
      this.show();
      this.plan(QUIET_MS);
    }

    /** What is here and not known to be saved, for a reload. */
    remember() {
      remember(this.key, { answers: this.answers(), revision: this.form.elements.revision.value, active_ms: Math.round(this.time.ms()), lost: this.lost });
    }

    isAnswered(field) {
      return field.matches("textarea") ? field.value.trim() !== "" : field.querySelector(":checked") !== null;
    }

    missing() {
      return this.fields.filter((field) => "required" in field.dataset && !this.isAnswered(field));
    }

    show() {
      const isSaved = this.answers() === this.savedAnswers;
      for (const group of this.form.querySelectorAll("[data-group]")) {
        const fields = this.fields.filter((field) => group.contains(field));
        const answered = fields.filter((field) => this.isAnswered(field)).length;
        const state = group.querySelector("[data-state]");
        const needed = fields.some((field) => "required" in field.dataset);
        state.textContent = answered === fields.length ? (isSaved ? "saved" : "answered") : answered ? `${answered} of ${fields.length}` : needed ? "to answer" : "may stay empty";
        state.classList.toggle("is-saved", answered === fields.length && isSaved);
        if (answered === fields.length) state.classList.remove("is-missing");
      }
      const open = this.missing().length;
      this.form.querySelector("[data-to-go]").textContent = open ? `${open} answer${open === 1 ? "" : "s"} to go` : "All answered";
    }

    /** Under a scale: what the step means that is pointed at, or else the one that is taken. */
    sayMeaning(field, input) {
      const line = field.parentElement.querySelector("[data-anchors]");
      if (!line) return;
      const step = input?.dataset?.meaning ? input : field.querySelector(":checked");
      const words = step?.dataset.meaning ? `${step.value}: ${step.dataset.meaning}` : "";
      line.querySelector("[data-taken]").textContent = words;
      line.querySelector("[data-taken]").hidden = !words;
      for (const end of line.querySelectorAll("[data-end]")) end.hidden = Boolean(words);
    }

    tick() {
      const seconds = Math.floor(this.time.ms() / 1000);
      this.form.querySelector("[data-time]").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} on this case`;
      const wait_s = Math.ceil((Number(this.form.dataset.waitMs) - this.time.ms()) / 1000);
      this.form.querySelector("[data-wait]").textContent = wait_s > 0 ? `submit in ${wait_s} s` : "";
    }

    // ---- Keys ----------------------------------------------------------------------------------

    mark(number, focuses = true) {
      this.marked = Math.max(0, Math.min(this.fields.length - 1, number));
      const field = this.fields[this.marked];
      for (const group of this.form.querySelectorAll("[data-group]")) group.classList.toggle("q-on", group.contains(field));
      if (focuses) (field.matches("textarea") ? field : field.querySelector(":checked") ?? field.querySelector("input")).focus();
    }

    noteFocus(target) {
      const number = this.fields.findIndex((field) => field.contains(target));
      if (number >= 0) this.mark(number, false);
    }

    /** A key while the form has the focus. @returns {boolean} whether it was one of the form's */
    press(key) {
      const field = this.fields[this.marked];
      const inputs = [...field.querySelectorAll("input")];
      if ("yn".includes(key)) {
        const wanted = inputs.find((input) => input.nextElementSibling.textContent.trim().toLowerCase() === (key === "y" ? "yes" : "no"));
        if (wanted) this.choose(wanted);
        return Boolean(wanted);
      }
      if (!/^[1-9]$/.test(key) || !inputs[key - 1]) return false;
      this.choose(inputs[key - 1]);
      return true;
    }

    choose(input) {
      input.focus();
      if (input.type === "checkbox" || !input.checked) input.click();
    }

    // ---- Saving --------------------------------------------------------------------------------

    plan(after_ms) {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.save(), after_ms);
    }

    async send(address, options = {}) {
      this.form.elements.active_ms.value = Math.round(this.time.ms());
      const response = await fetch(address, {
        method: "POST", body: new URLSearchParams(new FormData(this.form)), credentials: "same-origin", redirect: "manual",
        headers: { Accept: "application/json" }, ...options,
      });
      if (response.type === "opaqueredirect" || response.status === 403) {
        throw new Refusal("You are signed out. Your answers are kept in this tab: reload the page, sign in, and go on.", "Reload", () => location.reload());
      }
      if (!response.headers.get("Content-Type")?.includes("application/json")) throw new Error(`answer ${response.status}`);
      return [response.status, await response.json()];
    }

    async save(options = {}) {
      if (this.isOver || this.isSubmitting || this.conflicted) return;
      if (this.saving) {
        this.again = true;
        return;
      }
      clearTimeout(this.waiting);
      const sent = this.answers();
      this.lost = sent; // until the server says otherwise
      if (sent !== this.savedAnswers) this.remember();
      this.saving = this.send(this.form.dataset.save, options);
      try {
        const [status, told] = await this.saving;
        this.tries = 0;
        if (status === 200) this.keep(told, sent);
        else this.settle(told, sent);
      } catch (error) {
        this.failed(error, sent);
      } finally {
        this.saving = null;
        if (this.again) this.plan(0);
        this.again = false;
      }
    }

    keep(told, sent) {
      this.form.elements.revision.value = told.revision;
      this.savedAnswers = sent;
      this.lost = null;
      if (this.answers() === sent) forget(this.key);
      else this.remember();
      this.told.saved(`Saved ${told.saved_at}`, "done");
      this.show();
    }

    failed(error, sent) {
      if (error instanceof Refusal) {
        this.notice(error.message, [[error.label, error.action]]);
        this.told.saved("Not saved", "warn");
        return;
      }
      this.remember();
      this.told.saved("Not saved: no connection. Trying again", "warn");
      this.plan(RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
    }

    /** The server has taken nothing: say why, and offer what can be done. */
    settle(told, sent) {
      if (told.answers) {
        const theirs = Object.fromEntries(Object.entries(told.answers).map(([name, said]) => [name, [said].flat().map(String)]));
        if (this.lost && JSON.stringify(Object.entries(theirs).sort()) === this.lost) { // our own, whose response was lost
          this.keep(told, this.lost);
          this.plan(0);
          return;
        }
        this.conflicted = true;
        const go = (action) => () => {
          this.conflicted = false;
          this.form.elements.revision.value = told.revision;
          action();
          this.quiet();
          this.changed();
        };
        this.notice(told.problem, [["Take those answers", go(() => this.fill(theirs))], ["Keep the answers here", go(() => {})]]);
        this.told.saved("Not saved: changed in another tab", "warn");
        return;
      }
      if (told.next) {
        this.conflicted = true;
        forget(this.key);
        this.notice(told.problem, [["Go on", () => location.assign(told.next)]]);
        this.told.saved("Not saved", "warn");
        return;
      }
      if (told.revision !== undefined) this.keep(told, sent);
      this.notice(told.problem, []);
      if (told.field) this.point(told.field);
    }

    /** Go to the question that is meant. */
    point(name) {
      const number = this.fields.findIndex((field) => field.id === name);
      if (number < 0) return;
      this.fields[number].closest("[data-group]").querySelector("[data-state]").classList.add("is-missing");
      this.mark(number);
    }

    async submit() {
      if (this.isSubmitting || this.conflicted || this.isOver) return;
      this.isSubmitting = true; // a double click is one submission
      const button = this.form.querySelector("[type=submit]");
      button.setAttribute("aria-busy", "true");
      this.quiet();
      const sent = this.answers();
      try {
        await Promise.resolve(this.saving).catch(() => {});
        const [status, told] = await this.send(this.form.action);
        if (status === 200) {
          forget(this.key);
          await this.told.go(told.next);
          return;
        }
        this.settle(told, sent);
      } catch (error) {
        if (!(error instanceof Refusal)) this.notice("The case could not be submitted: no connection. Your answers are kept in this tab. Submit again when you are connected.", []);
        this.failed(error, sent);
      } finally {
        this.isSubmitting = false;
        button.removeAttribute("aria-busy");
      }
    }

    notice(words, buttons) {
      const box = this.form.querySelector("[data-notice]");
      box.querySelector("[data-notice-text]").textContent = words;
      box.querySelector("[data-notice-actions]").replaceChildren(...buttons.map(([label, action]) => {
        const button = Object.assign(document.createElement("button"), { type: "button", className: "btn btn-s", textContent: label });
        button.addEventListener("click", action);
        return button;
      }));
      box.hidden = false;
      if (buttons.length) box.querySelector("button").focus();
    }

    quiet() {
      this.form.querySelector("[data-notice]").hidden = true;
    }
  }

  /** Something that trying again does not mend. */
  class Refusal extends Error {
    constructor(message, label, action) {
      super(message);
      Object.assign(this, { label, action });
    }
  }

  function remembered(key) {
    try {
      return JSON.parse(sessionStorage.getItem(key));
    } catch {
      return null; // storage is switched off: nothing outlives a reload
    }
  }

  function remember(key, what) {
    try {
      sessionStorage.setItem(key, JSON.stringify(what));
    } catch {
      // as above
    }
  }

  function forget(key) {
    try {
      sessionStorage.removeItem(key);
    } catch {
      // as above
    }
  }

  window.ReadingForm = ReadingForm;
  window.tabMemory = { remembered, remember, forget };
})();
