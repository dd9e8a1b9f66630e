// The viewer of a pseudo-MRI: the one place that talks to NiiVue. It draws one volume in one canvas
// with one NiiVue instance, and frees the WebGL context when the page goes away.
//
// Markup (templates/inference/partials/viewer.html): a section [data-viewer] with the canvas, buttons
// that carry [data-layout] or [data-do], and #decode, the only part that htmx replaces. As soon as
// #decode carries [data-volume] the volume is fetched and drawn, and the stage says data-ready="true".
"use strict";

(() => {
  // MNI152, mm: the left hippocampal body, where Alzheimer's disease shows first.
  const START_MM = [-26, -18, -14];
  const CROSSHAIR = 0.7; // mm, whatever the voxels
  const LAYOUTS = ["axial", "coronal", "sagittal", "render", "all"];
  // All four views: where each one lies in the picture (left, top, width, height).
  const WIDE = { coronal: [0.01, 0, 0.38, 1], axial: [0.4, 0, 0.31, 1], sagittal: [0.72, 0.02, 0.27, 0.48], render: [0.72, 0.51, 0.27, 0.48] };
  const NARROW = { coronal: [0, 0, 0.5, 0.5], sagittal: [0.5, 0, 0.5, 0.5], axial: [0, 0.5, 0.5, 0.5], render: [0.5, 0.5, 0.5, 0.5] };
  const WINDOWS = ["brain", "wide", "narrow"];
  const KEYS = {
    a: ["layout", "axial"], c: ["layout", "coronal"], s: ["layout", "sagittal"],
    3: ["layout", "render"], f: ["layout", "all"],
    w: ["do", "window"], x: ["do", "crosshair"], r: ["do", "reset"],
    "+": ["do", "zoom-in"], "=": ["do", "zoom-in"], "-": ["do", "zoom-out"],
    "?": ["do", "keys"], p: ["do", "png"],
    ArrowUp: ["do", "next"], ArrowRight: ["do", "next"],
    ArrowDown: ["do", "previous"], ArrowLeft: ["do", "previous"],
  };
  const NORMAL = { axial: [0, 0, 1], coronal: [0, 1, 0], sagittal: [1, 0, 0] };

  class PseudoMriViewer {
    constructor(section) {
      this.section = section;
      this.stage = section.querySelector("[data-stage]");
      this.canvas = section.querySelector("canvas");
      this.layout = "all";
      this.plane = "coronal"; // the plane that the arrows move when all four are shown
      this.window = "brain";
      this.crosshair = true;
      this.keysOn = true;
      this.nv = null;
      this.listen();
    }

    listen() {
      this.section.addEventListener("click", (event) => {
        const button = event.target.closest("[data-layout], [data-do]");
        if (!button) return;
        if (button.dataset.layout) this.show(button.dataset.layout);
        else this.act(button.dataset.do);
      });
      this.section.querySelector("[data-window]").addEventListener("change", (event) => {
        this.setWindow(event.target.value);
      });
      this.section.querySelector("[data-keys-on]").addEventListener("change", (event) => {
        this.keysOn = event.target.checked;
      });
      // In the capture phase: NiiVue listens on the canvas for other keys, and must not get these.
      this.section.addEventListener("keydown", (event) => this.press(event), true);
      document.body.addEventListener("htmx:afterSwap", () => this.loadWhenDecoded());
      window.addEventListener("resize", () => { if (this.stage.dataset.ready === "true") this.arrange(); });
      window.addEventListener("pagehide", () => this.free());
      window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    }

    press(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.target.closest("select, input, textarea, dialog")) return;
      const onCanvas = event.target === this.canvas;
      if (onCanvas) event.stopPropagation();
      // On a button the arrows belong to the page, which scrolls with them.
      if (!onCanvas && event.key.startsWith("Arrow")) return;
      const wanted = this.keysOn && KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!wanted) return;
      event.preventDefault();
      if (wanted[0] === "layout") this.show(wanted[1]);
      else this.act(wanted[1]);
    }

    // ---- Loading -------------------------------------------------------------------------------

    loadWhenDecoded() {
      const decoded = this.section.querySelector("#decode[data-volume]");
      if (!decoded || this.loading) return;
      this.loading = true;
      this.load(decoded.dataset.volume).catch((error) => this.fall(error.message));
    }

    async load(url) {
      this.say("Loading the pseudo-MRI");
      if (!document.createElement("canvas").getContext("webgl2")) {
        this.fall("This browser offers no WebGL2, which the moving viewer needs. These are fixed slices instead.");
        return;
      }
      const bytes = await this.fetch(url);
      const { Niivue, SLICE_TYPE } = window.niivue;
      this.nv = new Niivue({
        isRadiologicalConvention: true, sagittalNoseLeft: true,
        dragAndDropEnabled: false, isResizeCanvas: true,
        backColor: [0, 0, 0, 1], crosshairColor: [1, 0.83, 0.29, 0.75], crosshairWidth: CROSSHAIR, crosshairWidthUnit: "mm", crosshairGap: 6,
        show3Dcrosshair: false, isColorbar: false, isNearestInterpolation: false,
        showBoundsBorder: false, showAllOrientationMarkers: true, sliceType: SLICE_TYPE.MULTIPLANAR, fontMinPx: 13, fontColor: [0.67, 0.7, 0.73, 1],
        clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "",
        logLevel: "error", loadingText: "",
      });
      this.types = {
        axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL,
        render: SLICE_TYPE.RENDER,
      };
      await this.nv.attachToCanvas(this.canvas);
      this.mark();
      this.nv.onLocationChange = (place) => this.read(place);
      await this.nv.loadFromArrayBuffer(bytes, "pseudo-mri.nii");
      this.range();
      this.reset();
      this.section.querySelector("#decode").hidden = true;
      this.stage.dataset.ready = "true";
    }

    async fetch(url) {
      const response = await fetch(url, { credentials: "same-origin" });
      if (!response.ok || response.redirected) {
        throw new Error(`The pseudo-MRI could not be fetched (answer ${response.status}). Reload the page; if it stays so, decode it again.`);
      }
      const total = Number(response.headers.get("Content-Length")) || 0;
      const parts = [];
      let done = 0;
      for (const reader = response.body.getReader(); ;) {
        const { value, done: end } = await reader.read();
        if (end) break;
        parts.push(value);
        done += value.length;
        this.say(`Loading the pseudo-MRI, ${(done / 1e6).toFixed(1)} MB`, done, total);
      }
      return new Blob(parts).arrayBuffer();
    }

    /** Draw the SYNTHETIC mark after every draw, inside the picture. */
    mark() {
      const { nv } = this;
      const mark = new window.SyntheticMark(nv.gl);
      const draw = nv.drawSceneCore.bind(nv);
      nv.drawSceneCore = () => {
        const top = window.SyntheticMark.height() / nv.gl.drawingBufferHeight;
        nv.opts.bounds = [[0, 0], [1, 1 - top]];
        const result = draw();
        mark.draw();
        return result;
      };
    }

    say(words, done = 0, total = 0) {
      const veil = this.section.querySelector("#decode");
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
      const box = this.section.querySelector("[data-fallback]");
      const picture = document.createElement("img");
      picture.src = this.section.querySelector("#decode").dataset.mosaic;
      picture.alt = "Axial, coronal and sagittal slices of the pseudo-MRI, marked SYNTHETIC";
      box.querySelector("[data-why]").textContent = why;
      box.prepend(picture);
      box.hidden = false;
      this.stage.hidden = true;
      for (const control of this.section.querySelectorAll("[data-needs-webgl]")) control.hidden = true;
    }

    free() {
      this.nv?.gl.getExtension("WEBGL_lose_context")?.loseContext();
      this.nv = null;
    }

    // ---- What the buttons and keys do ----------------------------------------------------------

    act(name) {
      if (name === "keys") {
        this.section.querySelector("dialog").showModal();
        return;
      }
      if (!this.nv) return;
      if (name === "next") this.step(1);
      else if (name === "previous") this.step(-1);
      else if (name === "zoom-in") this.zoom(1.25);
      else if (name === "zoom-out") this.zoom(0.8);
      else if (name === "window") this.setWindow(WINDOWS[(WINDOWS.indexOf(this.window) + 1) % WINDOWS.length]);
      else if (name === "crosshair") this.setCrosshair(!this.crosshair);
      else if (name === "reset") this.reset();
      else if (name === "png") this.png();
    }

    show(layout) {
      if (!this.nv || !LAYOUTS.includes(layout)) return;
      this.layout = layout;
      if (layout in NORMAL) this.plane = layout;
      this.arrange();
      for (const button of this.section.querySelectorAll("[data-layout]")) {
        button.setAttribute("aria-pressed", String(button.dataset.layout === layout));
      }
    }

    /** Give each view its part of the picture: left, top, width and height as fractions. */
    arrange() {
      const wide = this.canvas.clientWidth > 1.6 * this.canvas.clientHeight;
      const parts = this.layout !== "all" ? { [this.layout]: [0, 0, 1, 1] } : wide ? WIDE : NARROW;
      this.nv.setCustomLayout(
        Object.entries(parts).map(([name, position]) => ({ sliceType: this.types[name], position })),
      );
    }

    step(direction) {
      if (this.layout === "render") {
        const { renderAzimuth, renderElevation } = this.nv.scene;
        this.nv.setRenderAzimuthElevation(renderAzimuth + 10 * direction, renderElevation);
        return;
      }
      this.nv.moveCrosshairInVox(...NORMAL[this.plane].map((part) => part * direction));
    }

    zoom(factor) {
      const [x, y, z, scale] = this.nv.scene.pan2Dxyzmm;
      this.nv.setPan2Dxyzmm([x, y, z, Math.min(8, Math.max(1, scale * factor))]);
      this.nv.setScale(Math.min(4, Math.max(0.5, this.nv.scene.volScaleMultiplier * factor)));
    }

    /** The grey ranges that the window presets stand for, from the volume's own values. */
    range() {
      const volume = this.nv.volumes[0];
      const [low, high] = [volume.robust_min, volume.robust_max];
      const middle = (low + high) / 2;
      this.ranges = {
        brain: [low, high],
        wide: [volume.global_min, volume.global_max],
        narrow: [middle - (high - low) / 4, middle + (high - low) / 4],
      };
    }

    setWindow(name) {
      this.window = name;
      const volume = this.nv.volumes[0];
      [volume.cal_min, volume.cal_max] = this.ranges[name];
      this.nv.updateGLVolume();
      this.section.querySelector("[data-window]").value = name;
    }

    setCrosshair(on) {
      this.crosshair = on;
      this.nv.setCrosshairWidth(on ? CROSSHAIR : 0);
      this.section.querySelector("[data-do=crosshair]").setAttribute("aria-pressed", String(on));
    }

    reset() {
      this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
      this.nv.setScale(1);
      this.nv.setRenderAzimuthElevation(110, 10);
      this.nv.scene.crosshairPos = this.nv.mm2frac(START_MM);
      this.setCrosshair(true);
      this.setWindow("brain");
      this.show(this.layout);
      this.nv.createOnLocationChange();
    }

    read({ mm, values }) {
      const whole = [...mm].slice(0, 3).map((part) => signed(Math.round(part), 0)).join(", ");
      this.section.querySelector("[data-place]").textContent = `MNI ${whole} mm`;
      this.section.querySelector("[data-value]").textContent = `value ${signed(values[0]?.value ?? 0, 2)}`;
    }

    png() {
      this.nv.drawScene();
      this.canvas.toBlob((blob) => { // in the same turn as the draw: the buffer is not kept
        const link = document.createElement("a");
        link.href = URL.createObjectURL(blob);
        link.download = "pseudo-mri-SYNTHETIC.png";
        link.click();
        URL.revokeObjectURL(link.href);
      });
    }
  }

  function signed(value, digits) {
    return value.toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "\u2212");
  }

  document.addEventListener("DOMContentLoaded", () => {
    const section = document.querySelector("[data-viewer]");
    if (section) new PseudoMriViewer(section).loadWhenDecoded();
  });
})();
