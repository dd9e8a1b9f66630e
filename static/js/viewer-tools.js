// What the buttons and keys of the viewer do to its pictures: views, slices, window, difference, PNG.
// The viewer itself (viewer.js) extends this class; it has the ports, the volumes and the section.
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

  class ViewerTools {
    static START = START;

    static signed = signed;

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
      const layout = this.layoutOfPorts();
      this.all((port) => port.arrange(...layout));
    }

    /** Where each view lies in a port, and whether the views are small. */
    layoutOfPorts() {
      this.stage.dataset.ports = String([...this.section.querySelectorAll("[data-port]")].filter((figure) => !figure.hidden).length);
      const { clientWidth, clientHeight } = this.main.canvas;
      const all = this.stage.dataset.ports !== "1" ? PORT : clientWidth > 1.6 * clientHeight ? WIDE : NARROW;
      const parts = this.layout === "all" ? all : { [this.layout]: [0, 0, 1, 1] };
      return [parts, this.layout === "all" && all === PORT];
    }

    async compare() {
      this.comparing = !this.comparing;
      this.find("[data-do=v]").setAttribute("aria-pressed", String(this.comparing));
      for (const name of this.besides()) this.figure(name).hidden = !this.comparing;
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
      if (this.layout === "render") this.main.turn(10 * direction, 0);
      else this.main.move(NORMAL[this.plane].map((part) => part * direction));
    }

    cross(axis, direction) {
      if (this.layout === "render") {
        this.main.turn(axis === 0 ? 10 * direction : 0, axis === 1 ? 10 * direction : 0);
        return;
      }
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

  function signed(value, digits) {
    return value.toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "\u2212");
  }

  window.ViewerTools = ViewerTools;
})();
