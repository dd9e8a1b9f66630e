// The viewer of the reading page: one volume, the same for every case but its voxels.
//
// What its buttons and keys do is in viewer-tools.js, NiiVue is behind viewer-port.js, numbers are
// behind viewer-volume.js. The stage says data-ready="true" when the volume is drawn, and
// data-ahead="true" when the next one is in memory.
"use strict";

(() => {
  const { START, signed } = window.ViewerTools;
  // Where each view lies in the picture (left, top, width, height), with room for the letters of the sides.
  const ALL = { axial: [0.01, 0.03, 0.48, 0.46], coronal: [0.51, 0.03, 0.48, 0.46], sagittal: [0.02, 0.53, 0.46, 0.46], render: [0.51, 0.53, 0.48, 0.46] };
  const PLANES = ["axial", "coronal", "sagittal"];
  const NAMES = { axial: ["Axial", 2], coronal: ["Coronal", 1], sagittal: ["Sagittal", 0] };
  const KEYS = {
    a: ["show", "axial"], c: ["show", "coronal"], s: ["show", "sagittal"], 3: ["show", "render"], f: ["show", "all"], v: ["nextPlane"],
    w: ["nextWindow"], "[": ["shiftWindow", -0.05, 0], "]": ["shiftWindow", 0.05, 0], "{": ["shiftWindow", 0, -0.1], "}": ["shiftWindow", 0, 0.1],
    x: ["toggleCrosshair"], n: ["flip"], r: ["reset"], "+": ["zoom", 1.25], "=": ["zoom", 1.25], "-": ["zoom", 0.8],
    ArrowUp: ["step", 1], ArrowRight: ["step", 1], ArrowDown: ["step", -1], ArrowLeft: ["step", -1],
    "Shift+ArrowRight": ["cross", 0, 1], "Shift+ArrowLeft": ["cross", 0, -1], "Shift+ArrowUp": ["cross", 1, 1], "Shift+ArrowDown": ["cross", 1, -1],
  };

  class ReadingViewer extends window.ViewerTools {
    constructor(section) {
      super();
      this.section = section;
      this.stage = this.find("[data-stage]");
      this.canvas = this.find("canvas");
      this.layout = "all";
      this.plane = "axial"; // the plane that the arrows move when several are shown
      this.crosshair = true;
      this.radiological = true;
      this.keysOn = true;
      this.view = START;
      this.files = new Map(); // address to its bytes, or to the promise of them; kept in memory alone
      const { windowLow: low, windowHigh: high } = section.dataset;
      this.grey = [Number(low), Number(high)];
      this.main = new window.VolumePort(this.canvas, { drawn: () => this.follow(), placed: (mm) => this.read(mm) });
      this.listen();
    }

    find(selector) {
      return this.section.querySelector(selector);
    }

    figure() {
      return this.find("[data-port]");
    }

    listen() {
      this.section.addEventListener("click", (event) => {
        const button = event.target.closest("[data-layout], [data-do]");
        if (button) this.act(button.dataset.layout ? ["show", button.dataset.layout] : KEYS[button.dataset.do]);
      });
      this.find("[data-window]").addEventListener("change", (event) => this.act(["setWindow", event.target.value]));
      // In the capture phase: NiiVue listens on the canvas for other keys and buttons, and must not get these.
      this.section.addEventListener("keydown", (event) => this.press(event), true);
      this.stage.addEventListener("mousedown", (event) => this.grab(event), true);
      window.addEventListener("resize", () => { if (this.main.isOpen) this.arrange(); });
      window.addEventListener("pagehide", () => this.main.free());
    }

    press(event) {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select")) return;
      const onCanvas = event.target === this.canvas;
      if (onCanvas) event.stopPropagation();
      if (!onCanvas && event.key.startsWith("Arrow")) return;
      const arrow = event.shiftKey && event.key.startsWith("Arrow");
      const key = arrow ? `Shift+${event.key}` : event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (this.keysOn && KEYS[key]) {
        event.preventDefault();
        this.act(KEYS[key]);
      } else if (onCanvas) {
        // NiiVue must not see it, but the page must: G, J, K and ? are its own.
        this.section.dispatchEvent(new CustomEvent("reading:key", { bubbles: true, detail: event }));
      }
    }

    /** The left button chooses the view for the arrows; the right one, held and moved, the grey window. */
    grab(event) {
      if (event.target !== this.canvas || !this.main.isOpen) return;
      if (event.button === 0 && this.layout === "all") this.takePlane(this.planeAt(event));
      if (event.button !== 2) return;
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

    planeAt({ offsetX, offsetY }) {
      const right = offsetX > this.canvas.clientWidth / 2;
      return offsetY > this.canvas.clientHeight / 2 ? (right ? this.plane : "sagittal") : right ? "coronal" : "axial";
    }

    nextPlane() {
      this.takePlane(PLANES[(PLANES.indexOf(this.plane) + 1) % PLANES.length]);
      if (this.layout !== "all") this.show(this.plane);
    }

    takePlane(plane) {
      this.plane = plane;
      this.stage.dataset.plane = plane;
    }

    act([name, ...more]) {
      if (!this.main.isOpen) return;
      Promise.resolve(this[name](...more)).catch((error) => this.fall(error.message));
    }

    // ---- Loading -------------------------------------------------------------------------------

    /** Draw the volume behind an address; what was fetched ahead is drawn at once. */
    async open(url, mosaic) {
      this.wanted = url;
      this.mosaic = mosaic;
      this.stage.dataset.ready = "false";
      this.stage.dataset.ahead = "false";
      if (!url) {
        this.say("The study is closed: its images are shown no more.");
        return;
      }
      try {
        if (!hasWebGl2()) throw new Error("This browser offers no WebGL2, which the moving viewer needs. These are fixed slices instead.");
        const file = await this.fetch(url);
        if (this.wanted !== url) return;
        // Drawn once: the 3D view is dear where the processor draws it.
        const isDrawn = await this.main.show(file, "", () => this.wanted === url, () => {
          this.volume = new window.MirageVolume(file);
          this.range();
          this.reset();
        });
        if (!isDrawn) return;
        for (const old of this.files.keys()) if (old !== url) this.files.delete(old);
        this.find("[data-veil]").hidden = true;
        this.stage.dataset.ready = "true";
      } catch (error) {
        if (this.wanted === url) this.fall(error.message);
      }
    }

    /** The bytes of a volume; asked for twice, fetched once. */
    fetch(url) {
      if (!this.files.has(url)) {
        const file = fetch(url, { credentials: "same-origin", cache: "no-store" }).then((response) => {
          if (!response.ok || response.redirected) throw new Error(`The volume could not be fetched (answer ${response.status}). Reload the page; if it stays so, tell the manager of the study.`);
          return response.arrayBuffer();
        });
        file.catch(() => this.files.delete(url)); // the next who asks tries again
        this.files.set(url, file);
      }
      return this.files.get(url);
    }

    say(words) {
      const veil = this.find("[data-veil]");
      veil.hidden = false;
      veil.replaceChildren(Object.assign(document.createElement("strong"), { textContent: words }));
    }

    /** Show the fixed slices instead, and say why. */
    fall(why) {
      const box = this.find("[data-fallback]");
      box.querySelector("img")?.remove();
      const picture = document.createElement("img");
      picture.src = this.mosaic;
      picture.alt = "Axial, coronal and sagittal slices of the volume";
      box.prepend(picture);
      box.querySelector("[data-why]").textContent = why;
      box.hidden = false;
      this.stage.hidden = true;
      for (const control of this.section.querySelectorAll("[data-needs-webgl]")) control.hidden = true;
    }

    // ---- What is looked at ---------------------------------------------------------------------

    all(action) {
      action(this.main);
    }

    layoutOfPorts() {
      return [this.layout === "all" ? ALL : { [this.layout]: [0.01, 0.01, 0.98, 0.98] }, false];
    }

    arrange() {
      super.arrange();
      this.stage.dataset.shown = this.layout;
      this.takePlane(this.plane);
    }

    /** The same grey window for every case, whatever its voxels. */
    range() {
      const [low, high] = this.grey;
      const quarter = (high - low) / 4;
      this.windows = { brain: [low, high], wide: [low - quarter, high + quarter], narrow: [low + quarter, high - quarter] };
    }

    flip() {
      super.flip();
      this.find("[data-convention]").textContent = `R is on the ${this.radiological ? "left" : "right"}`;
    }

    follow() {
      this.view = this.main.view();
      this.changed?.();
    }

    /** Where the reader was, to be found again after a reload. */
    place() {
      return { view: this.view, layout: this.layout, plane: this.plane, window: [this.windowName, this.window], crosshair: this.crosshair, radiological: this.radiological };
    }

    goTo({ view, layout, plane, window: [name, range], crosshair, radiological }) {
      this.main.atOnce(() => {
        this.takePlane(plane);
        this.show(layout);
        this.takePlane(plane);
        this.windowName = name;
        this.useWindow(range);
        this.setCrosshair(crosshair);
        if (radiological !== this.radiological) this.flip();
        this.main.setView(view);
      });
      this.read(view.mm);
    }

    read(mm) {
      const value = this.volume?.valueAt(mm);
      this.find("[data-place]").textContent = `MNI ${mm.map((part) => signed(Math.round(part), 0)).join(", ")} mm`;
      this.find("[data-voxel]").textContent = `voxel ${this.volume?.voxelAt(mm).join(", ") ?? ""}`;
      this.find("[data-value]").textContent = typeof value === "number" ? `grey ${value} of 255` : "";
      for (const [plane, [name, axis]] of Object.entries(NAMES)) {
        this.find(`[data-view=${plane}]`).textContent = `${name}, ${signed(Math.round(mm[axis]), 0)} mm`;
      }
    }
  }

  /** Asked of a context that is given back at once: browsers have few. */
  function hasWebGl2() {
    const gl = document.createElement("canvas").getContext("webgl2");
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
    return Boolean(gl);
  }

  window.ReadingViewer = ReadingViewer;
})();
