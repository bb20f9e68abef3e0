// The map: what is drawn of a frame, and from where.

import { Camera } from "./camera.js";
import { paletteOf, rgb, sizesOf, valuesOf } from "./colour.js";
import { groundOf, gridLines, pathLines, robotLines } from "./marks.js";
import { pick, within } from "./pick.js";
import { Renderer } from "./renderer.js";

const LIGHTS = {
  light: { back: "#eef1f5", shade: [0.5, 0.28, 0.4], grid: "#aab4c2", path: "#0a5fd6", mark: "#10161d", chosen: "#b3261e" },
  dark: { back: "#0f1318", shade: [0.36, 0.26, 0.52], grid: "#3a4450", path: "#6fb1ff", mark: "#f4f8fd", chosen: "#ffb4a3" },
};
const SMOOTH_MS = 25; // the camera glides along with the robot where a picture takes less than this
const GLIDE = 0.18;

export class Scene {
  constructor(canvas) {
    this.camera = new Camera();
    this.renderer = new Renderer(canvas);
    this.canvas = canvas;
    this.frame = null;
    this.mode = "forecast";
    this.horizon = 0;
    this.theme = "light";
    this.follow = true;
    this.path = [];
    this.marked = { picked: null, hovered: null, chosen: new Set() }; // ids as BigInt
    this.shown = { n: 0, centre: new Float32Array(0), half: new Float32Array(0), colour: new Uint32Array(0) };
    this.shift = [0, 0, 0]; // that the camera still has to follow
    this.dirty = { cells: true, marks: true };
    this.asked = false;
    this.drawing = false;
    this.seen = false;
    this.pictures = 0;
    new ResizeObserver(() => this.ask()).observe(canvas);
    canvas.addEventListener("webglcontextrestored", () => this.ask({ cells: true, marks: true }));
  }

  // ---- what is shown ------------------------------------------------------------------------------------

  setFrame(frame) {
    const before = this.frame;
    this.frame = frame;
    this.ground = groundOf(frame, this.ground);
    if (!this.seen) {
      this.seen = true;
      this.camera.target = [...frame.sensor];
      this.camera.yaw = headingOf(frame) + Math.PI;
    } else if (this.follow && before) {
      const step = frame.sensor.map((value, axis) => value - before.sensor[axis]);
      if (Math.hypot(...step) > 15) this.camera.carry(step);
      else this.shift = this.shift.map((value, axis) => value + step[axis]);
    }
    this.colour();
  }

  clear() {
    this.frame = null;
    this.seen = false;
    this.path = [];
    this.shift = [0, 0, 0];
    this.shown = { ...this.shown, n: 0 };
    this.ask({ cells: true, marks: true });
  }

  set(options) {
    Object.assign(this, options);
    this.colour();
  }

  mark(marked) {
    Object.assign(this.marked, marked);
    this.ask({ marks: true });
  }

  setPath(path) {
    this.path = path;
    this.ask({ marks: true });
  }

  // Colour and size of every cell of the frame, by the mode.
  colour() {
    const { frame } = this;
    if (!frame) {
      this.ask({ cells: true, marks: true });
      return;
    }
    const { table, unknown } = paletteOf(this.mode, this.theme);
    const values = valuesOf(frame, this.mode, this.horizon), sizes = sizesOf(this.mode);
    const n = frame.cells, half = new Float32Array(n), colour = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      const value = values[i];
      colour[i] = value < 0 ? unknown : table[value];
      half[i] = frame.half[i] * sizes[value < 0 ? 256 : value];
    }
    this.shown = { n, centre: frame.centre, half, colour };
    this.ask({ cells: true, marks: true });
  }

  rowOf(id) {
    return this.frame && id !== null ? this.frame.id.indexOf(id) : -1;
  }

  // ---- where from ---------------------------------------------------------------------------------------

  fly(way) {
    this.camera.fly(way, performance.now());
    this.ask();
  }

  // All of the robot's surroundings, from behind it.
  fit() {
    if (!this.frame) return;
    this.shift = [0, 0, 0];
    this.fly({ target: [...this.frame.sensor], distance: 55, pitch: 0.62, yaw: headingOf(this.frame) + Math.PI });
  }

  fromAbove() {
    if (!this.frame) return;
    this.fly({ target: [...this.frame.sensor], distance: 90, pitch: 1.54, yaw: headingOf(this.frame) + Math.PI });
  }

  view() {
    const { width, height } = this.renderer.resize();
    return this.camera.view(width / height, height);
  }

  // x, y : within -1..1, y up.  Returns a row, -1 for none
  pick(x, y, slack) {
    return this.frame ? pick(this.shown, this.view(), x, y, slack * Math.min(window.devicePixelRatio || 1, 2)) : -1;
  }

  within(box) {
    return this.frame ? within(this.shown, this.view(), box) : [];
  }

  // ---- drawing, on demand -------------------------------------------------------------------------------

  ask(dirty = {}) {
    Object.assign(this.dirty, dirty);
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame((now) => this.tick(now));
  }

  async tick(now) {
    if (this.drawing || document.hidden) {
      this.asked = false;
      this.again = true;
      return;
    }
    this.asked = false;
    this.again = false;
    const moving = this.camera.step(now) || this.glide();
    const view = this.view(), light = this.light();
    this.renderer.sortCells(this.shown, view);
    if (this.dirty.marks) this.drawMarks(light);
    this.dirty = { cells: false, marks: false };
    this.drawing = true;
    this.pictures += 1;
    await this.renderer.draw(view, light);
    this.drawing = false;
    if (moving || this.again) this.ask();
  }

  // Follow the robot: at once where pictures are slow, else bit by bit.
  glide() {
    const far = Math.hypot(...this.shift);
    if (far < 0.005) return false;
    const share = this.renderer.ms > SMOOTH_MS ? 1 : GLIDE;
    this.camera.carry(this.shift.map((value) => value * share));
    this.shift = this.shift.map((value) => value * (1 - share));
    return share < 1;
  }

  light() {
    const { back, shade } = LIGHTS[this.theme], { yaw, distance } = this.camera;
    const lamp = [Math.cos(yaw + 0.7) * 0.55, Math.sin(yaw + 0.7) * 0.55, 0.62];
    return { back: rgb(back).map((value) => value / 255), shade, lamp, fade: [distance + 30, distance + 130] };
  }

  drawMarks() {
    const colours = LIGHTS[this.theme], { frame } = this;
    const lines = frame ? [
      ...gridLines(frame.sensor, this.ground, tint(colours.grid, 150)),
      ...pathLines(this.path, tint(colours.path, 200)),
      ...robotLines(frame, this.ground, tint(colours.path, 255)),
    ] : [];
    this.renderer.setLines(lines);
    const { picked, hovered, chosen } = this.marked, outlines = [];
    const add = (id, colour) => {
      const i = this.rowOf(id);
      if (i < 0) return;
      const { centre, half } = frame;
      outlines.push([[centre[3 * i], centre[3 * i + 1], centre[3 * i + 2]], half[i] * 1.03, tint(colour, 255)]);
    };
    for (const id of chosen) add(id, colours.chosen);
    add(hovered, colours.path);
    add(picked, colours.mark);
    this.renderer.setOutlines(outlines);
  }
}

export function headingOf(frame) {
  return Math.atan2(frame.pose[4], frame.pose[0]);
}

function tint(text, alpha) {
  const [r, g, b] = rgb(text);
  return (alpha << 24 | b << 16 | g << 8 | r) >>> 0;
}
