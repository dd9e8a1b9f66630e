// The viewer of a patient's pictures: what its buttons and keys do, and which volume stands where.
//
// Up to three ports side by side look at the same place: a reference (template or a scan), the model's
// mean, and the pseudo-MRI; without a pseudo-MRI the newest scan stands in its place.
// Markup: templates/inference/partials/viewer.html. htmx replaces only #decode; as soon as it carries
// [data-volume] that volume is drawn, and the stage says data-ready="true"; when all ports are drawn it
// says data-compared="true". NiiVue is behind viewer-port.js, numbers behind viewer-volume.js.
"use strict";

(() => {
  // MNI152, mm: the left hippocampal body, where Alzheimer's disease shows first.
  const START = { mm: [-26, -18, -14], pan: [0, 0, 0, 1], azimuth: 110, elevation: 10, scale: 1 };
  const LAYOUTS = ["axial", "coronal", "sagittal", "render", "all"];
  // Where each view lies in the picture (left, top, width, height).
  const WIDE = { coronal: [0.01, 0, 0.38, 1], axial: [0.4, 0, 0.31, 1], sagittal: [0.72, 0.02, 0.27, 0.48], render: [0.72, 0.51, 0.27, 0.48] };
  const NARROW = { coronal: [0, 0, 0.5, 0.5], sagittal: [0.5, 0, 0.5, 0.5], axial: [0, 0.5, 0.5, 0.5], render: [0.5, 0.5, 0.5, 0.5] };
  const PORT = { coronal: [0, 0, 1, 0.6], axial: [0, 0.61, 0.46, 0.39], sagittal: [0.5, 0.61, 0.5, 0.39] };
  const WINDOWS = ["brain", "wide", "narrow"];
  const NORMAL = { axial: [0, 0, 1], coronal: [0, 1, 0], sagittal: [1, 0, 0] };
  // In the plane, as the screen shows it: right, up. The right of a person lies at the left of the screen.
  const PLANE = { axial: [[1, 0, 0], [0, 1, 0]], coronal: [[1, 0, 0], [0, 0, 1]], sagittal: [[0, -1, 0], [0, 0, 1]] };
  const DIFFERENCE = { low: 0.05, high: 0.35 };
  const KEYS = {
    a: ["show", "axial"], c: ["show", "coronal"], s: ["show", "sagittal"], 3: ["show", "render"], f: ["show", "all"],
    v: ["compare"], l: ["nextReference"], d: ["difference"], m: ["nextColours"], o: ["opacity", 10], i: ["opacity", -10],
    w: ["nextWindow"], "[": ["shiftWindow", -0.05, 0], "]": ["shiftWindow", 0.05, 0], "{": ["shiftWindow", 0, -0.1], "}": ["shiftWindow", 0, 0.1],
    x: ["toggleCrosshair"], n: ["flip"], r: ["reset"], "+": ["zoom", 1.25], "=": ["zoom", 1.25], "-": ["zoom", 0.8],
    p: ["png"], "?": ["keys"],
    ArrowUp: ["step", 1], ArrowRight: ["step", 1], ArrowDown: ["step", -1], ArrowLeft: ["step", -1],
    "Shift+ArrowRight": ["cross", 0, 1], "Shift+ArrowLeft": ["cross", 0, -1], "Shift+ArrowUp": ["cross", 1, 1], "Shift+ArrowDown": ["cross", 1, -1],
  };

  class Viewer {
    constructor(section) {
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
      this.load(wanted).catch((error) => this.fall(error.message));
    }

    async load(url) {
      if (!hasWebGl2()) {
        this.fall("This browser offers no WebGL2, which the moving viewer needs. These are fixed slices instead.");
        return;
      }
      this.stage.hidden = false;
      this.head("main", this.isSynthetic ? ["Pseudo-MRI", "decoded from the record"] : [this.section.dataset.newestScanName, "acquired by a scanner"], this.isSynthetic);
      const file = await this.fetch(url, this.isSynthetic);
      await this.fill("main", file, this.isSynthetic ? "pseudo-MRI, decoded from a health record" : "");
      this.range();
      this.reset();
      if (this.isSynthetic) this.find("#decode").hidden = true;
      this.stage.dataset.ready = "true";
      await new Promise(requestAnimationFrame); // the first slice is on the screen before the rest is fetched
      await this.fillOthers();
    }

    async fill(name, file, marked) {
      this.volumes[name] = new window.MirageVolume(file);
      await this.ports[name].show(file, marked);
    }

    /** The ports beside it, each drawn where the first one looks. */
    async fillOthers() {
      if (this.comparing) {
        if (this.left?.value) await this.fillLeft();
        if (this.section.dataset.mean && this.isSynthetic) await this.fillBeside("mean", ["Model’s mean", "drawn for the mean latent"], this.section.dataset.mean, "the model’s mean, nobody’s brain");
      }
      this.arrange();
      this.stage.dataset.compared = String(this.comparing);
    }

    async fillLeft() {
      const option = this.left.selectedOptions[0];
      await this.fillBeside("left", [option.textContent, option.dataset.words], option.value, "");
      if (Number(this.find("[data-opacity]").value)) await this.drawDifference(true);
    }

    /** Fill a port beside the main one. If it cannot be filled it says so, and the others work on. */
    async fillBeside(name, words, url, marked) {
      if (this.ports[name].url === url) return;
      this.head(name, words, Boolean(marked));
      this.figure(name).hidden = !this.comparing; // NiiVue asks the canvas for its size
      const why = this.figure(name).querySelector("[data-port-why]");
      why.textContent = "";
      try {
        await this.fill(name, await this.fetch(url), marked);
        this.ports[name].url = url;
        this.join(name);
      } catch (error) {
        why.textContent = error.message;
      }
    }

    /** Show what the others show. */
    join(name) {
      const port = this.ports[name];
      port.setWindow(this.window);
      port.setCrosshair(this.crosshair);
      port.setRadiological(this.radiological);
      this.figure(name).hidden = !this.comparing;
      this.arrange();
      port.setView(this.view);
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
      if (this.leading || this.stage.dataset.ready !== "true") return;
      const view = port.view();
      if (JSON.stringify(view) === JSON.stringify(this.view)) return;
      this.view = view;
      this.leading = true;
      try {
        for (const [name, other] of Object.entries(this.ports)) {
          if (other !== port && other.isOpen && !this.figure(name).hidden) other.setView(view);
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
      const values = Object.entries(this.volumes)
        .filter(([name]) => !this.figure(name).hidden)
        .map(([name, volume]) => [this.figure(name).querySelector("[data-port-name]").textContent, volume.valueAt(mm)])
        .filter(([, value]) => value !== null);
      const voxel = this.volumes.main?.voxelAt(mm).join(", ") ?? "";
      this.find("[data-place]").textContent = `MNI ${mm.map((part) => signed(Math.round(part), 0)).join(", ")} mm`;
      this.find("[data-voxel]").textContent = `voxel ${voxel}`;
      const said = values.map(([name, value]) => `${name} ${signed(value, 2)}`);
      const reference = this.comparing && this.volumes.left?.valueAt(mm);
      const own = this.volumes.main?.valueAt(mm);
      if (typeof reference === "number" && typeof own === "number") said.push(`difference ${signed(own - reference, 2)}`);
      this.find("[data-value]").textContent = said.join("   ");
    }

    // ---- What the buttons and keys do ----------------------------------------------------------

    keys() {
      this.find("dialog").showModal();
    }

    show(layout) {
      if (!LAYOUTS.includes(layout)) return;
      this.layout = layout;
      if (layout in NORMAL) this.plane = layout;
      this.arrange();
      for (const button of this.section.querySelectorAll("[data-layout]")) {
        button.setAttribute("aria-pressed", String(button.dataset.layout === layout));
      }
    }

    arrange() {
      this.stage.dataset.ports = String([...this.section.querySelectorAll("[data-port]")].filter((figure) => !figure.hidden).length);
      const { clientWidth, clientHeight } = this.main.canvas;
      const all = this.stage.dataset.ports !== "1" ? PORT : clientWidth > 1.6 * clientHeight ? WIDE : NARROW;
      const parts = this.layout === "all" ? all : { [this.layout]: [0, 0, 1, 1] };
      this.all((port) => port.arrange(parts));
    }

    async compare() {
      this.comparing = !this.comparing;
      this.find("[data-do=v]").setAttribute("aria-pressed", String(this.comparing));
      for (const name of ["left", "mean"]) this.figure(name).hidden = !this.comparing || !this.ports[name].isOpen;
      this.stage.dataset.compared = "false";
      await this.fillOthers();
      this.read(this.view.mm);
    }

    nextReference() {
      if (!this.left) return;
      this.left.selectedIndex = (this.left.selectedIndex + 1) % this.left.options.length;
      return this.fillLeft();
    }

    difference() {
      const slider = this.find("[data-opacity]");
      slider.value = Number(slider.value) ? 0 : 80;
      return this.drawDifference();
    }

    opacity(percent) {
      const slider = this.find("[data-opacity]");
      slider.value = Number(slider.value) + percent;
      return this.drawDifference();
    }

    nextColours() {
      const select = this.find("[data-colours]");
      select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
      return this.drawDifference(true);
    }

    /** The difference to the reference, over the picture; computed again if the reference is another. */
    async drawDifference(anew = false) {
      const opacity = Number(this.find("[data-opacity]").value) / 100;
      this.find("[data-do=d]").setAttribute("aria-pressed", String(opacity > 0));
      this.find("[data-scale]").hidden = !opacity;
      if (!opacity) {
        this.main.removeOverlay();
        this.laidOver = null;
        return;
      }
      if (!this.left?.value) return;
      if (!this.volumes.left) this.volumes.left = new window.MirageVolume(await this.fetch(this.left.value));
      if (anew || !this.laidOver) {
        this.laidOver = true;
        const colours = this.find("[data-colours]").value;
        await this.main.overlay(this.volumes.main.minus(this.volumes.left), { ...DIFFERENCE, colours, opacity });
      } else {
        this.main.setOverlayOpacity(opacity);
      }
    }

    step(direction) {
      if (this.layout === "render") this.main.turn(10 * direction);
      else this.main.move(NORMAL[this.plane].map((part) => part * direction));
    }

    cross(axis, direction) {
      const flip = axis === 0 && this.plane !== "sagittal" && this.radiological ? -1 : 1;
      this.main.move(PLANE[this.plane][axis].map((part) => part * direction * flip));
    }

    zoom(factor) {
      this.main.zoom(factor);
    }

    /** The grey ranges that the window presets stand for, from the main volume's own values. */
    range() {
      const { robust: [low, high], whole } = this.main.ranges();
      const middle = (low + high) / 2;
      this.windows = { brain: [low, high], wide: whole, narrow: [middle - (high - low) / 4, middle + (high - low) / 4] };
    }

    setWindow(name) {
      this.windowName = name;
      this.useWindow(this.windows[name]);
    }

    nextWindow() {
      this.setWindow(WINDOWS[(WINDOWS.indexOf(this.windowName) + 1) % WINDOWS.length]);
    }

    /** Move the middle of the grey window and change its width, as shares of the preset. */
    shiftWindow(middle, width) {
      const [low, high] = this.window;
      const span = this.windows.brain[1] - this.windows.brain[0];
      const half = Math.max(0.02 * span, (high - low) / 2 + (width * span) / 2);
      const centre = (low + high) / 2 + middle * span;
      this.windowName = "own";
      this.useWindow([centre - half, centre + half]);
    }

    useWindow(range) {
      this.window = range;
      this.all((port) => port.setWindow(range));
      this.find("[data-window]").value = this.windowName;
      this.find("[data-window-range]").textContent = `${signed(range[0], 2)} to ${signed(range[1], 2)}`;
    }

    toggleCrosshair() {
      this.setCrosshair(!this.crosshair);
    }

    setCrosshair(on) {
      this.crosshair = on;
      this.all((port) => port.setCrosshair(on));
      this.find("[data-do=x]").setAttribute("aria-pressed", String(on));
    }

    /** Change sides: radiologists see the person from the feet, surgeons from above. */
    flip() {
      this.radiological = !this.radiological;
      this.all((port) => port.setRadiological(this.radiological));
      this.find("[data-do=n]").setAttribute("aria-pressed", String(!this.radiological));
      this.find("[data-convention]").textContent = this.radiological
        ? "Radiological: the right side of the brain is on the left"
        : "Neurological: the right side of the brain is on the right";
    }

    reset() {
      this.view = START;
      this.all((port) => port.setView(START));
      if (!this.radiological) this.flip();
      this.setCrosshair(true);
      this.setWindow("brain");
      this.show(this.layout);
      this.read(this.main.view().mm);
    }

    /** Save what is shown, each port with its name and its mark. */
    png() {
      const shown = Object.entries(this.ports).filter(([name, port]) => port.isOpen && !this.figure(name).hidden);
      const line = Math.round(28 * window.devicePixelRatio);
      const picture = document.createElement("canvas");
      picture.width = shown.reduce((sum, [, port]) => sum + port.canvas.width, 0);
      picture.height = line + Math.max(...shown.map(([, port]) => port.canvas.height));
      const pen = picture.getContext("2d");
      const colour = (name) => getComputedStyle(this.section).getPropertyValue(name).trim();
      pen.fillStyle = colour("--viewer-bg");
      pen.fillRect(0, 0, picture.width, picture.height);
      pen.font = `${Math.round(line * 0.5)}px sans-serif`;
      pen.textBaseline = "middle";
      let x = 0;
      for (const [name, port] of shown) {
        const isSynthetic = this.figure(name).classList.contains("port-syn");
        pen.fillStyle = colour(isSynthetic ? "--viewer-synthetic" : "--viewer-ink");
        pen.fillText(`${this.figure(name).querySelector("[data-port-name]").textContent}${isSynthetic ? ", SYNTHETIC" : ""}`, x + line / 3, line / 2);
        port.snapshot((canvas) => pen.drawImage(canvas, x, line));
        x += port.canvas.width;
      }
      picture.toBlob((blob) => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(blob);
        link.download = this.isSynthetic ? "pseudo-mri-SYNTHETIC.png" : "scan.png";
        link.click();
        URL.revokeObjectURL(link.href);
      });
    }
  }

  /** Asked of a context that is given back at once: browsers have few. */
  function hasWebGl2() {
    const gl = document.createElement("canvas").getContext("webgl2");
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
    return Boolean(gl);
  }

  function signed(value, digits) {
    return value.toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "\u2212");
  }

  document.addEventListener("DOMContentLoaded", () => {
    const section = document.querySelector("[data-viewer]");
    if (section) new Viewer(section).begin();
  });
})();
