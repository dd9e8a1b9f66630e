// The viewer of a patient's pictures: which volume stands where, and which key does what.
//
// Up to three ports side by side look at the same place: a reference (template or a scan), the model's
// mean, and the pseudo-MRI; without a pseudo-MRI the newest scan stands in its place.
// Markup: templates/inference/partials/viewer.html. htmx replaces only #decode; as soon as it carries
// [data-volume] that volume is drawn, and the stage says data-ready="true"; when all ports are drawn it
// says data-compared="true". What the buttons do is in viewer-tools.js, NiiVue is behind
// viewer-port.js, numbers are behind viewer-volume.js.
"use strict";

(() => {
  const { START, signed } = window.ViewerTools;
  const MEAN = { head: ["Model’s mean", "drawn for the mean latent"], mark: "the model’s mean, nobody’s brain" };
  const KEYS = {
    a: ["show", "axial"], c: ["show", "coronal"], s: ["show", "sagittal"], 3: ["show", "render"], f: ["show", "all"],
    v: ["compare"], l: ["nextReference"], d: ["difference"], m: ["nextColours"], o: ["opacity", 10], i: ["opacity", -10],
    w: ["nextWindow"], "[": ["shiftWindow", -0.05, 0], "]": ["shiftWindow", 0.05, 0], "{": ["shiftWindow", 0, -0.1], "}": ["shiftWindow", 0, 0.1],
    x: ["toggleCrosshair"], n: ["flip"], r: ["reset"], "+": ["zoom", 1.25], "=": ["zoom", 1.25], "-": ["zoom", 0.8],
    p: ["png"], "?": ["keys"],
    ArrowUp: ["step", 1], ArrowRight: ["step", 1], ArrowDown: ["step", -1], ArrowLeft: ["step", -1],
    "Shift+ArrowRight": ["cross", 0, 1], "Shift+ArrowLeft": ["cross", 0, -1], "Shift+ArrowUp": ["cross", 1, 1], "Shift+ArrowDown": ["cross", 1, -1],
  };

  class Viewer extends window.ViewerTools {
    constructor(section) {
      super();
      this.section = section;
      this.stage = this.find("[data-stage]");
      this.left = this.find("[data-left]");
      this.layout = "all";
      this.plane = "coronal"; // the plane that the arrows move when several are shown
      this.crosshair = true;
      this.radiological = true;
      this.keysOn = true;
      this.comparing = this.stage.clientWidth >= 1000;
      this.view = START;
      this.volumes = {}; // port name to the volume as numbers
      this.linked = new Set(); // ports that look where the others look
      this.files = new Map(); // address to its bytes
      this.ports = Object.fromEntries([...section.querySelectorAll("[data-port]")].map((figure) => [
        figure.dataset.port,
        new window.VolumePort(figure.querySelector("canvas"), { drawn: (port) => this.follow(port), placed: (mm) => this.read(mm) }),
      ]));
      this.listen();
    }

    find(selector) {
      return this.section.querySelector(selector);
    }

    listen() {
      this.section.addEventListener("click", (event) => {
        const button = event.target.closest("[data-layout], [data-do]");
        if (button) this.act(button.dataset.layout ? ["show", button.dataset.layout] : KEYS[button.dataset.do]);
      });
      this.find("[data-window]").addEventListener("change", (event) => this.act(["setWindow", event.target.value]));
      this.find("[data-keys-on]").addEventListener("change", (event) => { this.keysOn = event.target.checked; });
      this.left?.addEventListener("change", () => this.act(["fillLeft"]));
      this.find("[data-opacity]").addEventListener("input", () => this.act(["drawDifference"]));
      this.find("[data-colours]").addEventListener("change", () => this.act(["drawDifference", true]));
      // In the capture phase: NiiVue listens on the canvas for other keys and buttons, and must not get these.
      this.section.addEventListener("keydown", (event) => this.press(event), true);
      this.stage.addEventListener("mousedown", (event) => this.drag(event), true);
      document.body.addEventListener("htmx:afterSwap", () => this.begin());
      window.addEventListener("resize", () => { if (this.main?.isOpen) this.arrange(); });
      window.addEventListener("pagehide", () => Object.values(this.ports).forEach((port) => port.free()));
      window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    }

    press(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.target.closest("select, input, textarea, dialog")) return;
      const onCanvas = event.target.matches("canvas");
      if (onCanvas) event.stopPropagation();
      // On a button the arrows belong to the page, which scrolls with them.
      if (!onCanvas && event.key.startsWith("Arrow")) return;
      const arrow = event.shiftKey && event.key.startsWith("Arrow");
      const key = arrow ? `Shift+${event.key}` : event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (!this.keysOn || !KEYS[key] || (event.key === "Tab")) return;
      event.preventDefault();
      this.act(KEYS[key]);
    }

    /** The right button held and moved: sideways the width of the grey window, up and down its middle. */
    drag(event) {
      if (event.button !== 2 || !event.target.matches("canvas") || !this.main?.isOpen) return;
      event.stopPropagation();
      event.preventDefault();
      let [x, y] = [event.clientX, event.clientY];
      const moved = ({ clientX, clientY }) => {
        this.shiftWindow((clientY - y) / 400, (clientX - x) / 400);
        [x, y] = [clientX, clientY];
      };
      window.addEventListener("mousemove", moved);
      window.addEventListener("mouseup", () => window.removeEventListener("mousemove", moved), { once: true });
    }

    act([name, ...more]) {
      if (name !== "keys" && !this.main?.isOpen) return;
      Promise.resolve(this[name](...more)).catch((error) => this.fall(error.message));
    }

    // ---- Loading -------------------------------------------------------------------------------

    /** Draw what there is: the decoded pseudo-MRI, or else the newest scan. */
    begin() {
      const decoded = this.find("#decode[data-volume]");
      const wanted = decoded?.dataset.volume ?? this.section.dataset.newestScan;
      if (!wanted || this.wanted === wanted) return;
      this.wanted = wanted;
      this.isSynthetic = Boolean(decoded);
      this.main = this.ports.main;
      if (!this.isSynthetic) this.left.selectedIndex = this.left.options.length - 1; // not beside itself
      this.load(wanted).catch((error) => this.fall(error.message));
    }

    async load(url) {
      if (!hasWebGl2()) {
        this.fall("This browser offers no WebGL2, which the moving viewer needs. These are fixed slices instead.");
        return;
      }
      this.stage.hidden = false;
      this.head("main", this.isSynthetic ? ["Pseudo-MRI", "decoded from the record"] : [this.section.dataset.newestScanName, this.section.dataset.newestScanWords], this.isSynthetic);
      for (const name of this.besides()) this.figure(name).hidden = !this.comparing; // room for them, so that nothing moves
      const file = await this.fetch(url, this.isSynthetic);
      await this.fill("main", file, this.isSynthetic ? "pseudo-MRI, decoded from a health record" : "");
      this.range();
      this.reset();
      this.linked.add(this.main);
      if (this.isSynthetic) this.find("#decode").hidden = true;
      this.stage.dataset.ready = "true";
      await new Promise(requestAnimationFrame); // the first slice is on the screen before the rest is fetched
      await this.fillOthers();
    }

    async fill(name, file, marked, isWanted = () => true) {
      this.linked.delete(this.ports[name]); // a new volume is drawn at its own middle first
      if (await this.ports[name].show(file, marked, isWanted)) this.volumes[name] = new window.MirageVolume(file);
    }

    /** Which ports have something to show beside the main one. */
    besides() {
      const has = { left: this.left?.value, mean: this.isSynthetic && this.section.dataset.mean };
      return Object.keys(has).filter((name) => has[name]);
    }

    /** The ports beside it, each drawn where the first one looks. */
    async fillOthers() {
      for (const name of this.comparing ? this.besides() : []) {
        if (name === "left") await this.fillLeft();
        else await this.fillBeside(name, MEAN.head, this.section.dataset.mean, MEAN.mark);
      }
      this.arrange();
      this.stage.dataset.compared = String(this.comparing);
    }

    async fillLeft() {
      const option = this.left.selectedOptions[0];
      if (this.comparing) {
        await this.fillBeside("left", [option.textContent, option.dataset.words], option.value, "");
      } else { // nothing is drawn where nothing is seen, but the difference needs its numbers
        this.volumes.left = new window.MirageVolume(await this.fetch(option.value));
        this.ports.left.wanted = null;
      }
      if (Number(this.find("[data-opacity]").value)) await this.drawDifference(true);
    }

    /** Fill a port beside the main one. If it cannot be filled it says so, and the others work on. */
    async fillBeside(name, words, url, marked) {
      const port = this.ports[name];
      if (port.wanted === url) return;
      port.wanted = url; // whoever chooses quickly wants the last choice alone
      this.head(name, words, Boolean(marked));
      this.figure(name).hidden = !this.comparing; // NiiVue asks the canvas for its size
      const why = this.figure(name).querySelector("[data-port-why]");
      why.textContent = "";
      try {
        await this.fill(name, await this.fetch(url), marked, () => port.wanted === url);
        if (port.wanted === url) this.join(name);
      } catch (error) {
        port.wanted = null;
        why.textContent = error.message;
      }
    }

    /** Show what the others show. */
    join(name) {
      const port = this.ports[name];
      this.figure(name).hidden = !this.comparing;
      port.atOnce(() => {
        port.setWindow(this.window);
        port.setCrosshair(this.crosshair);
        port.setRadiological(this.radiological);
        port.arrange(...this.layoutOfPorts());
        port.setView(this.view);
      });
      this.linked.add(port);
      this.read(this.view.mm);
    }

    figure(name) {
      return this.find(`[data-port=${name}]`);
    }

    head(name, [title, words], isSynthetic) {
      const figure = this.figure(name);
      figure.querySelector("[data-port-name]").textContent = title;
      figure.querySelector("[data-port-words]").textContent = words;
      figure.classList.toggle("port-syn", isSynthetic);
      figure.querySelector(".synthetic").hidden = !isSynthetic;
      figure.querySelector("canvas").setAttribute("aria-label", `${title}${isSynthetic ? ", SYNTHETIC" : ""}: slices. Arrow keys move the slice.`);
    }

    async fetch(url, showsProgress = false) {
      if (this.files.has(url)) return this.files.get(url);
      const response = await fetch(url, { credentials: "same-origin" });
      if (!response.ok || response.redirected) {
        throw new Error(`A volume could not be fetched (answer ${response.status}). Reload the page; if it stays so, have it made again.`);
      }
      const total = Number(response.headers.get("Content-Length")) || 0;
      const parts = [];
      let done = 0;
      for (const reader = response.body.getReader(); ;) {
        const { value, done: end } = await reader.read();
        if (end) break;
        parts.push(value);
        done += value.length;
        if (showsProgress) this.say(`Loading, ${(done / 1e6).toFixed(1)} MB`, done, total);
      }
      const file = await new Blob(parts).arrayBuffer();
      this.files.set(url, file);
      return file;
    }

    say(words, done = 0, total = 0) {
      const veil = this.find("#decode");
      veil.hidden = false;
      veil.removeAttribute("hx-get");
      const strong = document.createElement("strong");
      strong.textContent = words;
      const bar = document.createElement("progress");
      bar.setAttribute("aria-label", "Loaded");
      if (total) [bar.max, bar.value] = [total, done];
      veil.replaceChildren(strong, bar);
    }

    /** Show the fixed slices instead, and say why. */
    fall(why) {
      const box = this.find("[data-fallback]");
      const mosaic = this.find("#decode").dataset.mosaic ?? this.section.dataset.newestScanMosaic;
      if (!box.querySelector("img") && mosaic) {
        const picture = document.createElement("img");
        picture.src = mosaic;
        picture.alt = this.isSynthetic ? "Axial, coronal and sagittal slices of the pseudo-MRI, marked SYNTHETIC" : "Axial, coronal and sagittal slices of the scan";
        box.prepend(picture);
      }
      box.querySelector("[data-why]").textContent = why;
      box.hidden = false;
      this.stage.hidden = true;
      for (const control of this.section.querySelectorAll("[data-needs-webgl]")) control.hidden = true;
    }

    // ---- The ports look at the same place ------------------------------------------------------

    open() {
      return Object.values(this.ports).filter((port) => port.isOpen);
    }

    /** A port was drawn: if it looks elsewhere than before, the others go there too. */
    follow(port) {
      if (this.leading || !this.linked.has(port)) return;
      const view = port.view();
      if (JSON.stringify(view) === JSON.stringify(this.view)) return;
      this.view = view;
      this.leading = true;
      try {
        for (const [name, other] of Object.entries(this.ports)) {
          if (other !== port && this.linked.has(other) && !this.figure(name).hidden) other.setView(view);
        }
      } finally {
        this.leading = false;
      }
    }

    all(action) {
      this.leading = true;
      try {
        this.open().forEach(action);
      } finally {
        this.leading = false;
      }
    }

    read(mm) {
      const values = Object.keys(this.ports)
        .filter((name) => this.volumes[name] && !this.figure(name).hidden)
        .map((name) => [this.figure(name).querySelector("[data-port-name]").textContent, this.volumes[name].valueAt(mm)])
        .filter(([, value]) => value !== null);
      const voxel = this.volumes.main?.voxelAt(mm).join(", ") ?? "";
      this.find("[data-place]").textContent = `MNI ${mm.map((part) => signed(Math.round(part), 0)).join(", ")} mm`;
      this.find("[data-voxel]").textContent = `voxel ${voxel}`;
      const said = values.map(([name, value]) => `${name} ${signed(value, 2)}`);
      const reference = this.comparing && this.volumes.left?.valueAt(mm);
      const own = this.volumes.main?.valueAt(mm);
      if (typeof reference === "number" && typeof own === "number") said.push(`difference ${signed(own - reference, 2)}`);
      this.find("[data-value]").textContent = said.join(", ");
    }
  }

  /** Asked of a context that is given back at once: browsers have few. */
  function hasWebGl2() {
    const gl = document.createElement("canvas").getContext("webgl2");
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
    return Boolean(gl);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const section = document.querySelector("[data-viewer]");
    if (section) new Viewer(section).begin();
  });
})();
