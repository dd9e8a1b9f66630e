// Voxels as numbers, for the read-out and the difference: without a canvas, without NiiVue.
//
// Reads what this application writes: little-endian NIfTI-1, not compressed, on a grid whose axes are
// those of MNI152 space, so that a voxel's place is a scale and an offset for each axis.
"use strict";

(() => {
  const ARRAYS = { 2: Uint8Array, 4: Int16Array, 16: Float32Array, 512: Uint16Array };
  const FLOAT32 = 16;
  const DATA_START = 352;

  class Volume {
    /** @param {ArrayBuffer} buffer a NIfTI-1 file */
    constructor(buffer) {
      const view = new DataView(buffer);
      const kind = ARRAYS[view.getInt16(70, true)];
      if (view.getInt32(0, true) !== 348 || !kind) throw new Error("This volume cannot be read. Have it made again.");
      this.buffer = buffer;
      this.shape = [42, 44, 46].map((at) => view.getInt16(at, true));
      this.step = [0, 1, 2].map((axis) => view.getFloat32(280 + 20 * axis, true)); // the affine's diagonal
      this.origin = [0, 1, 2].map((axis) => view.getFloat32(292 + 16 * axis, true));
      const slope = view.getFloat32(112, true);
      this.slope = slope || 1;
      this.inter = slope ? view.getFloat32(116, true) : 0;
      const count = this.shape.reduce((all, edge) => all * edge, 1);
      const start = view.getFloat32(108, true);
      this.raw = new kind(buffer.slice(start, start + count * kind.BYTES_PER_ELEMENT));
    }

    /** The voxel, as whole numbers, in which a place in mm lies. */
    voxelAt(mm) {
      return mm.slice(0, 3).map((part, axis) => Math.round((part - this.origin[axis]) / this.step[axis]));
    }

    /** The value of the voxel in which a place lies; null outside. */
    valueAt(mm) {
      const [x, y, z] = this.voxelAt(mm);
      const [nx, ny, nz] = this.shape;
      if (x < 0 || y < 0 || z < 0 || x >= nx || y >= ny || z >= nz) return null;
      return this.raw[x + nx * (y + ny * z)] * this.slope + this.inter;
    }

    isOnGridOf(other) {
      return ["shape", "step", "origin"].every((name) => this[name].every((part, axis) => part === other[name][axis]));
    }

    /** Values at every voxel of another volume's grid, between voxels by their distance. */
    on(other) {
      const out = new Float32Array(other.raw.length);
      if (this.isOnGridOf(other)) {
        for (let n = 0; n < out.length; n++) out[n] = this.raw[n] * this.slope + this.inter;
        return out;
      }
      const [along, across, up] = [0, 1, 2].map((axis) => this.places(other, axis));
      const [nx, ny] = this.shape;
      let n = 0;
      for (const [z, dz] of up) for (const [y, dy] of across) for (const [x, dx] of along) {
        let sum = 0;
        for (let corner = 0; corner < 8; corner++) {
          const [i, j, k] = [corner & 1, (corner >> 1) & 1, corner >> 2];
          const weight = (i ? dx : 1 - dx) * (j ? dy : 1 - dy) * (k ? dz : 1 - dz);
          if (weight) sum += weight * this.raw[x + i + nx * (y + j + ny * (z + k))];
        }
        out[n++] = sum * this.slope + this.inter;
      }
      return out;
    }

    /** For each voxel of another grid along one axis: the voxel before it here, and how far past it. */
    places(other, axis) {
      return Array.from({ length: other.shape[axis] }, (_, n) => {
        const mm = other.origin[axis] + n * other.step[axis];
        const place = Math.min(this.shape[axis] - 1, Math.max(0, (mm - this.origin[axis]) / this.step[axis]));
        const before = Math.min(Math.floor(place), Math.max(0, this.shape[axis] - 2));
        return [before, place - before];
      });
    }

    /** This volume minus another one, as a NIfTI-1 file on this volume's grid. */
    minus(other) {
      const own = this.on(this);
      const theirs = other.on(this);
      for (let n = 0; n < own.length; n++) own[n] -= theirs[n];
      const file = new Uint8Array(DATA_START + own.byteLength);
      file.set(new Uint8Array(this.buffer, 0, DATA_START));
      file.set(new Uint8Array(own.buffer), DATA_START);
      const view = new DataView(file.buffer);
      view.setInt16(70, FLOAT32, true);
      view.setInt16(72, 32, true);
      for (const [at, value] of [[108, DATA_START], [112, 1], [116, 0], [124, 0], [128, 0]]) view.setFloat32(at, value, true);
      return file.buffer;
    }
  }

  window.MirageVolume = Volume;
})();
