// Draws cells, grid, path and outlines with WebGL 2, only when something has changed.

import { DOTS, LINES, SOLID as SOLID_SHADER, build } from "./shaders.js";
import { EDGES, SOLID } from "./shapes.js";

const STRIDE = 20; // bytes of an instance: x y z half edge, colour
const SOLID_PIXELS = 3.2; // a cell whose half edge is smaller than that on the screen is a dot
const MOST_SOLID = 16000;
const LEAST_SOLID = 1500;
const SLOW_MS = 50;
const QUICK_MS = 16;
const MOST_WAIT_MS = 2000;

export class Renderer {
  constructor(canvas) {
    this.canvas = canvas;
    this.solids = MOST_SOLID; // so many cells are drawn as solids at most; fewer where drawing is slow
    this.room = 0;
    this.lines = { count: 0 };
    this.outlines = { count: 0 };
    this.near = 0;
    this.far = 0;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.start());
    this.start();
  }

  start() {
    const gl = this.canvas.getContext("webgl2", { antialias: !drawnBySoftware(), alpha: false });
    if (!gl) throw new Error("This browser has no WebGL 2, which the map needs.");
    this.gl = gl;
    this.programs = { solid: build(gl, SOLID_SHADER), dots: build(gl, DOTS), lines: build(gl, LINES) };
    this.cells = gl.createBuffer();
    this.room = 0;
    const solid = this.fill(gl.createBuffer(), SOLID), edges = this.fill(gl.createBuffer(), EDGES);
    this.solidArray = this.array([[0, 3, solid, 24, 0], [1, 3, solid, 24, 12]], this.cells);
    this.dotArray = this.array([], this.cells, 0);
    this.lineData = gl.createBuffer();
    this.lineArray = this.array([], this.lineData, 0);
    this.outlineData = gl.createBuffer();
    this.outlineArray = this.array([[0, 3, edges, 12, 0]], this.outlineData);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.CULL_FACE);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  }

  fill(buffer, data) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    return buffer;
  }

  // A vertex array: attributes of the shape, and a place and a colour an instance (or, divisor 0, a corner).
  array(shape, instances, divisor = 1) {
    const gl = this.gl, made = gl.createVertexArray();
    gl.bindVertexArray(made);
    for (const [location, size, buffer, stride, offset] of shape) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, gl.FLOAT, false, stride, offset);
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, instances);
    gl.enableVertexAttribArray(2);
    gl.vertexAttribPointer(2, 4, gl.FLOAT, false, STRIDE, 0);
    gl.enableVertexAttribArray(3);
    gl.vertexAttribPointer(3, 4, gl.UNSIGNED_BYTE, true, STRIDE, 16);
    gl.vertexAttribDivisor(2, divisor);
    gl.vertexAttribDivisor(3, divisor);
    gl.bindVertexArray(null);
    return made;
  }

  // ---- what is drawn ------------------------------------------------------------------------------------

  // Cells: n of them, centre (3 n), half (n) as drawn, colour (n) RGBA words.
  sortCells({ n, centre, half, colour }, view) {
    if (this.room < n) {
      this.room = Math.ceil(n * 1.3);
      this.staging = new ArrayBuffer(this.room * STRIDE);
      this.floats = new Float32Array(this.staging);
      this.words = new Uint32Array(this.staging);
      const gl = this.gl;
      gl.bindBuffer(gl.ARRAY_BUFFER, this.cells);
      gl.bufferData(gl.ARRAY_BUFFER, this.staging.byteLength, gl.DYNAMIC_DRAW);
    }
    const { eye, ahead, pixels } = view;
    const depth = new Float32Array(n), nearest = new Uint32Array(64);
    let wanted = 0;
    for (let i = 0; i < n; i++) {
      const z = (centre[3 * i] - eye[0]) * ahead[0] + (centre[3 * i + 1] - eye[1]) * ahead[1]
        + (centre[3 * i + 2] - eye[2]) * ahead[2];
      depth[i] = z;
      const apparent = z > 0 ? (half[i] * pixels) / z : 0;
      if (apparent > SOLID_PIXELS) {
        wanted += 1;
        nearest[Math.min(63, Math.floor(apparent))] += 1;
      }
    }
    let least = SOLID_PIXELS; // with too many, only the largest are solids
    if (wanted > this.solids) {
      let count = 0, k = 63;
      while (k > SOLID_PIXELS && count + nearest[k] <= this.solids) count += nearest[k--];
      least = k + 1;
    }
    let front = 0, back = n;
    for (let i = 0; i < n; i++) {
      const z = depth[i];
      const at = z > 0 && (half[i] * pixels) / z > least ? front++ : --back;
      this.floats[5 * at] = centre[3 * i];
      this.floats[5 * at + 1] = centre[3 * i + 1];
      this.floats[5 * at + 2] = centre[3 * i + 2];
      this.floats[5 * at + 3] = half[i];
      this.words[5 * at + 4] = colour[i];
    }
    this.near = front;
    this.far = n - front;
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.cells);
    if (n) gl.bufferSubData(gl.ARRAY_BUFFER, 0, new Uint8Array(this.staging, 0, n * STRIDE));
  }

  // Lines: [[from, to, colour word], ...]
  setLines(lines) {
    this.lines.count = 2 * lines.length;
    this.upload(this.lineData, lines.flatMap(([from, to, colour]) => [[from, 0, colour], [to, 0, colour]]));
  }

  // Outlines of cells: [[centre, half edge, colour word], ...]
  setOutlines(cells) {
    this.outlines.count = cells.length;
    this.upload(this.outlineData, cells);
  }

  upload(buffer, rows) {
    const gl = this.gl, data = new ArrayBuffer(Math.max(rows.length, 1) * STRIDE);
    const floats = new Float32Array(data), words = new Uint32Array(data);
    rows.forEach(([place, half, colour], k) => {
      floats.set(place, 5 * k);
      floats[5 * k + 3] = half;
      words[5 * k + 4] = colour;
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
  }

  // ---- drawing ------------------------------------------------------------------------------------------

  resize() {
    const { canvas } = this;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * scale));
    const height = Math.max(1, Math.round(canvas.clientHeight * scale));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    return { width, height };
  }

  draw(view, light) {
    const begin = performance.now(), gl = this.gl, { canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...light.back, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.use("solid", view, light);
    gl.bindVertexArray(this.solidArray);
    gl.drawArraysInstanced(gl.TRIANGLES, 0, SOLID.length / 6, this.near);
    const { uniforms } = this.use("dots", view, light);
    gl.uniform1f(uniforms.u_pixels, view.pixels);
    gl.bindVertexArray(this.dotArray);
    gl.drawArrays(gl.POINTS, this.near, this.far);
    this.use("lines", view, light);
    gl.enable(gl.BLEND);
    gl.bindVertexArray(this.lineArray);
    gl.drawArrays(gl.LINES, 0, this.lines.count);
    gl.disable(gl.DEPTH_TEST);
    gl.bindVertexArray(this.outlineArray);
    gl.drawArraysInstanced(gl.LINES, 0, EDGES.length / 3, this.outlines.count);
    gl.enable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);
    gl.bindVertexArray(null);
    return this.finished(begin);
  }

  // Resolves when what was drawn is there, which is later than when it was asked for.
  finished(begin) {
    const gl = this.gl, fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    return new Promise((resolve) => {
      const look = () => {
        const open = !gl.isContextLost() && gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED;
        if (open && performance.now() - begin < MOST_WAIT_MS) {
          setTimeout(look, 2);
          return;
        }
        gl.deleteSync(fence);
        this.adapt(performance.now() - begin);
        resolve();
      };
      setTimeout(look, 0);
    });
  }

  use(name, view, light) {
    const gl = this.gl, { program, uniforms } = this.programs[name];
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.u_view, false, view.matrix);
    gl.uniform3fv(uniforms.u_eye, view.eye);
    gl.uniform3fv(uniforms.u_lamp, light.lamp);
    gl.uniform3fv(uniforms.u_back, light.back);
    gl.uniform3fv(uniforms.u_shade, light.shade);
    gl.uniform2fv(uniforms.u_fade, light.fade);
    return this.programs[name];
  }

  // Fewer solids where a picture takes long.
  adapt(ms) {
    this.ms = this.ms === undefined ? ms : this.ms + (ms - this.ms) * 0.2;
    if (this.ms > SLOW_MS) this.solids = Math.max(LEAST_SOLID, Math.round(this.solids * 0.8));
    else if (this.ms < QUICK_MS) this.solids = Math.min(MOST_SOLID, Math.round(this.solids * 1.05));
  }
}

// Whether there is no graphics processor: then smooth edges cost more than all else.
function drawnBySoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return true;
  const more = gl.getExtension("WEBGL_debug_renderer_info");
  const name = more ? gl.getParameter(more.UNMASKED_RENDERER_WEBGL) : "";
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}
