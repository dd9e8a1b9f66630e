// The SYNTHETIC mark of a generated picture, drawn into the WebGL canvas itself: whoever copies the
// picture copies the mark. One texture, one quad along the top edge, after every draw of NiiVue.
"use strict";

const MARK_HEIGHT = 20; // CSS pixels

class SyntheticMark {
  /**
   * @param {WebGL2RenderingContext} gl the context that the viewer draws with
   * @param {string} words what the picture is, behind the word SYNTHETIC
   */
  constructor(gl, words) {
    this.gl = gl;
    this.words = words;
    this.width = 0;
    this.program = this.link();
    this.texture = gl.createTexture();
    this.vertices = gl.createVertexArray(); // empty: the shader makes the corners
  }

  /** Height of the mark in pixels of the canvas. */
  static height() {
    return Math.round(MARK_HEIGHT * window.devicePixelRatio);
  }

  draw() {
    const gl = this.gl;
    const program = gl.getParameter(gl.CURRENT_PROGRAM);
    const vertices = gl.getParameter(gl.VERTEX_ARRAY_BINDING);
    const unit = gl.getParameter(gl.ACTIVE_TEXTURE);
    const viewport = gl.getParameter(gl.VIEWPORT);
    const on = [gl.DEPTH_TEST, gl.CULL_FACE, gl.BLEND, gl.SCISSOR_TEST].filter((flag) => gl.isEnabled(flag));
    on.forEach((flag) => gl.disable(flag));

    gl.activeTexture(gl.TEXTURE0);
    const texture = gl.getParameter(gl.TEXTURE_BINDING_2D);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    if (this.width !== gl.drawingBufferWidth) this.paint(gl.drawingBufferWidth);
    gl.useProgram(this.program);
    gl.bindVertexArray(this.vertices);
    const height = SyntheticMark.height();
    gl.viewport(0, gl.drawingBufferHeight - height, gl.drawingBufferWidth, height);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);

    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.activeTexture(unit);
    gl.bindVertexArray(vertices);
    gl.useProgram(program);
    gl.viewport(...viewport);
    on.forEach((flag) => gl.enable(flag));
  }

  /** Paint the strip once for this width: a hatch, and the word on black in the middle of it. */
  paint(width) {
    const { gl } = this;
    const height = SyntheticMark.height();
    const strip = new OffscreenCanvas(width, height);
    const pen = strip.getContext("2d");
    const colour = getComputedStyle(document.documentElement).getPropertyValue("--viewer-synthetic").trim();
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--viewer-bg").trim();
    pen.fillRect(0, 0, width, height);
    pen.strokeStyle = colour;
    pen.lineWidth = height * 0.3;
    for (let x = -height; x < width + height; x += height * 0.8) {
      pen.beginPath();
      pen.moveTo(x, height);
      pen.lineTo(x + height, 0);
      pen.stroke();
    }
    pen.font = `600 ${Math.round(height * 0.62)}px sans-serif`;
    const around = height * 1.6;
    const long = `SYNTHETIC  ${this.words}`;
    const words = pen.measureText(long).width + around < width * 0.85 ? long : "SYNTHETIC"; // the hatch must be seen too
    const span = pen.measureText(words).width + around;
    pen.fillRect((width - span) / 2, 0, span, height);
    pen.fillStyle = colour;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(words, width / 2, height * 0.54);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, strip);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    for (const key of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, key, gl.NEAREST);
    for (const key of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, key, gl.CLAMP_TO_EDGE);
    this.width = width;
  }

  link() {
    const { gl } = this;
    const program = gl.createProgram();
    const sources = {
      [gl.VERTEX_SHADER]: `#version 300 es
        out vec2 place;
        void main() {
          place = vec2(gl_VertexID & 1, gl_VertexID >> 1);
          gl_Position = vec4(place * 2.0 - 1.0, 0.0, 1.0);
        }`,
      [gl.FRAGMENT_SHADER]: `#version 300 es
        precision mediump float;
        uniform sampler2D strip;
        in vec2 place;
        out vec4 colour;
        void main() { colour = texture(strip, place); }`,
    };
    for (const [kind, source] of Object.entries(sources)) {
      const shader = gl.createShader(Number(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }
}

window.SyntheticMark = SyntheticMark;
