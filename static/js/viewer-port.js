// One port of the viewer: a canvas with one volume in it. The one file that talks to NiiVue.
//
// A port has a WebGL context of its own, which `free` gives back; browsers have few.
"use strict";

(() => {
  const CROSSHAIR = 0.7; // mm, whatever the voxels
  const BLUE_ORANGE = "mirage-difference";
  const FILE_NAME = "volume.nii"; // NiiVue tells the format by the ending

  class VolumePort {
    /**
     * @param {HTMLCanvasElement} canvas where to draw
     * @param {{drawn: Function, placed: Function}} told called after each draw, and when the crosshair moves
     */
    constructor(canvas, told) {
      this.canvas = canvas;
      this.told = told;
      this.mark = null;
      this.nv = null;
      this.hasCrosshair = true;
    }

    get isOpen() {
      return this.nv !== null && this.nv.volumes.length > 0;
    }

    async open() {
      const { Niivue, SLICE_TYPE, DRAG_MODE } = window.niivue;
      const nv = new Niivue({
        isRadiologicalConvention: true, sagittalNoseLeft: true,
        dragAndDropEnabled: false, isResizeCanvas: true, dragMode: DRAG_MODE.none,
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
      await nv.attachToCanvas(this.canvas);
      this.nv = nv;
      nv.addColormap(BLUE_ORANGE, ramp(role("--viewer-high")));
      nv.addColormap(`${BLUE_ORANGE}-low`, ramp(role("--viewer-low")));
      nv.onLocationChange = ({ mm }) => this.told.placed([...mm].slice(0, 3));
      this.hookDraw();
    }

    /** After every draw: the mark of a generated volume, inside the picture, and word to the viewer. */
    hookDraw() {
      const { nv } = this;
      const draw = nv.drawSceneCore.bind(nv);
      nv.drawSceneCore = () => {
        const top = this.mark ? window.SyntheticMark.height() / nv.gl.drawingBufferHeight : 0;
        nv.opts.bounds = [[0, 0], [1, 1 - top]];
        const result = draw();
        this.mark?.draw();
        this.told.drawn(this);
        return result;
      };
    }

    /**
     * Draw a volume in place of what was drawn.
     * @param {ArrayBuffer} file NIfTI-1
     * @param {string} marked words of the SYNTHETIC mark; empty for what a scanner acquired
     * @param {Function} isWanted asked when all is ready, whether it still is to be drawn
     * @param {Function} [arrange] says how, before the first draw; without it the volume is drawn first
     * @returns {boolean} whether it was
     */
    async show(file, marked, isWanted, arrange) {
      this.opening ??= this.open();
      await this.opening;
      const volume = await image(file, { colormap: "gray" });
      if (!isWanted()) return false;
      while (this.nv.volumes.length) this.nv.removeVolume(this.nv.volumes.at(-1));
      this.mark = marked ? new window.SyntheticMark(this.nv.gl, marked) : null;
      if (!arrange) this.nv.addVolume(volume);
      else this.atOnce(() => { this.nv.addVolume(volume); arrange(); });
      return true;
    }

    /** Lay a difference over the volume, transparent where it is near 0. */
    async overlay(file, { colours, low, high, opacity }) {
      const [colormap, colormapNegative] = colours === "blue-orange" ? [BLUE_ORANGE, `${BLUE_ORANGE}-low`] : colours.split("/");
      const over = await image(file, { colormap, colormapNegative, opacity, cal_min: low, cal_max: high });
      this.removeOverlay();
      [over.cal_min, over.cal_max, over.cal_minNeg, over.cal_maxNeg] = [low, high, -low, -high];
      this.nv.addVolume(over);
    }

    removeOverlay() {
      while (this.nv.volumes.length > 1) this.nv.removeVolume(this.nv.volumes.at(-1));
    }

    setOverlayOpacity(opacity) {
      if (this.nv.volumes.length > 1) this.nv.setOpacity(1, opacity);
    }

    /** Grey ranges of the volume: what most voxels have, and all. */
    ranges() {
      const [volume] = this.nv.volumes;
      return { robust: [volume.robust_min, volume.robust_max], whole: [volume.global_min, volume.global_max] };
    }

    setWindow([low, high]) {
      [this.nv.volumes[0].cal_min, this.nv.volumes[0].cal_max] = [low, high];
      this.nv.updateGLVolume();
    }

    /**
     * Give each view its part of the picture: left, top, width and height as fractions.
     * @param {boolean} areSmall then the crosshair is wider, or it falls between the pixels
     */
    arrange(parts, areSmall) {
      this.areSmall = areSmall;
      this.nv.opts.crosshairWidth = this.lineWidth();
      this.nv.setCustomLayout(
        Object.entries(parts).map(([name, position]) => ({ sliceType: this.types[name], position })),
      );
    }

    setCrosshair(on) {
      this.hasCrosshair = on;
      this.nv.setCrosshairWidth(this.lineWidth());
    }

    lineWidth() {
      return this.hasCrosshair ? CROSSHAIR * (this.areSmall ? 2.2 : 1) : 0;
    }

    setRadiological(on) {
      this.nv.setRadiologicalConvention(on);
    }

    move(voxels) {
      this.nv.moveCrosshairInVox(...voxels);
    }

    turn(aside, up) {
      const { renderAzimuth, renderElevation } = this.nv.scene;
      this.nv.setRenderAzimuthElevation(renderAzimuth + aside, Math.min(90, Math.max(-90, renderElevation + up)));
    }

    /** Make everything larger or smaller around the crosshair. */
    zoom(factor) {
      const { pan2Dxyzmm: [x, y, z, before], volScaleMultiplier } = this.nv.scene;
      const after = Math.min(8, Math.max(1, before * factor));
      const at = this.view().mm;
      const pan = after === 1 ? [0, 0, 0] : [x, y, z].map((part, axis) => part + (before - after) * at[axis]);
      this.nv.setPan2Dxyzmm([...pan, after]);
      this.nv.setScale(Math.min(4, Math.max(0.5, volScaleMultiplier * factor)));
    }

    /** What is looked at, so that another port can look at the same. */
    view() {
      const { scene } = this.nv;
      return {
        mm: [...this.nv.frac2mm(scene.crosshairPos)].slice(0, 3), pan: [...scene.pan2Dxyzmm],
        azimuth: scene.renderAzimuth, elevation: scene.renderElevation, scale: scene.volScaleMultiplier,
      };
    }

    setView({ mm, pan, azimuth, elevation, scale }) {
      const { nv } = this;
      nv.scene.crosshairPos = nv.mm2frac(mm);
      nv.scene.pan2Dxyzmm = pan;
      nv.scene.volScaleMultiplier = scale;
      nv.setRenderAzimuthElevation(azimuth, elevation); // draws
    }

    /** Do several things and draw once: NiiVue keeps quiet while it is busy. */
    atOnce(actions) {
      this.nv.isBusy = true;
      actions();
      this.nv.isBusy = false;
      this.nv.drawScene();
    }

    /** Draw now and hand the picture over in the same turn, because the buffer is not kept. */
    snapshot(copy) {
      this.nv.drawScene();
      copy(this.canvas);
    }

    free() {
      this.nv?.gl.getExtension("WEBGL_lose_context")?.loseContext();
      this.nv = null;
    }
  }

  async function image(file, options) {
    return window.niivue.NVImage.loadFromUrl({ url: FILE_NAME, name: FILE_NAME, buffer: file, ...options });
  }

  function role(name) {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  }

  /** From nothing through dark to one colour. */
  function ramp([red, green, blue]) {
    const two = (part) => [Math.round(part * 0.4), Math.round(part * 0.5), part];
    return { R: two(red), G: two(green), B: two(blue), A: [0, 150, 255], I: [0, 40, 255] };
  }

  window.VolumePort = VolumePort;
})();
