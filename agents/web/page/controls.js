// Mouse, fingers and keys on the map.

import { $ } from "./dom.js";

const TAP_PIXELS = 6;
const TAP_MS = 500;
const TURN = 0.006; // radians a pixel
const STEP = 0.12; // radians a key
const FINGER_SLACK = 14;

export class Controls {
  // on : {pick(row, {add}), hover(row), box(rows)}
  constructor(scene, on) {
    this.scene = scene;
    this.on = on;
    this.canvas = scene.canvas;
    this.pointers = new Map();
    this.boxing = false; // dragging chooses cells instead of turning
    const listen = (name, handler) => this.canvas.addEventListener(name, (event) => handler.call(this, event));
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.up);
    listen("pointerleave", () => this.hover(null));
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    listen("contextmenu", (event) => event.preventDefault());
    listen("keydown", this.key);
    $("fit").addEventListener("click", () => scene.fit());
    $("above").addEventListener("click", () => scene.fromAbove());
    $("follow").addEventListener("click", () => this.toggleFollow());
    $("nearer").addEventListener("click", () => this.zoom(0.8));
    $("farther").addEventListener("click", () => this.zoom(1.25));
  }

  toggleFollow() {
    this.scene.follow = !this.scene.follow;
    $("follow").setAttribute("aria-pressed", String(this.scene.follow));
    if (this.scene.follow && this.scene.frame) this.scene.fly({ target: [...this.scene.frame.sensor] });
  }

  zoom(factor) {
    this.scene.camera.zoom(factor);
    this.scene.ask();
  }

  // ---- pointers -----------------------------------------------------------------------------------------

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.still = this.pointers.size === 1
      ? { x: event.clientX, y: event.clientY, at: performance.now(), button: event.button } : null;
    this.box = this.still && this.wantsBox(event) ? { x: event.clientX, y: event.clientY } : null;
    this.canvas.classList.add("turning");
  }

  wantsBox(event) {
    return this.boxing && event.button === 0 && !event.altKey;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.hover(event);
      return;
    }
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const now = { x: event.clientX, y: event.clientY };
    const dx = now.x - before.x, dy = now.y - before.y;
    this.pointers.set(event.pointerId, now);
    if (this.still && Math.hypot(now.x - this.still.x, now.y - this.still.y) > TAP_PIXELS) this.still = null;
    if (this.still) return;
    if (others.length) this.pinch(before, now, others[0]);
    else if (this.box) this.drawBox(now);
    else if (event.buttons & 6 || event.shiftKey) this.scene.camera.pan(dx, dy, this.canvas.clientHeight);
    else this.scene.camera.turn(-dx * TURN, dy * TURN);
    this.scene.ask();
  }

  pinch(before, now, other) {
    const spread = (at) => Math.max(Math.hypot(at.x - other.x, at.y - other.y), 1);
    const angle = (at) => Math.atan2(at.y - other.y, at.x - other.x);
    const { camera } = this.scene;
    camera.zoom(spread(before) / spread(now));
    camera.pan((now.x - before.x) / 2, (now.y - before.y) / 2, this.canvas.clientHeight);
    const twist = angle(now) - angle(before);
    if (Math.abs(twist) < 1) camera.turn(twist, 0);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.canvas.classList.remove("turning");
    const tapped = this.still && event.type === "pointerup" && performance.now() - this.still.at < TAP_MS;
    if (tapped && this.still.button === 0) {
      const slack = event.pointerType === "mouse" ? 3 : FINGER_SLACK;
      this.on.pick(this.scene.pick(...this.at(event), slack), { add: event.shiftKey || event.ctrlKey || event.metaKey });
    } else if (this.box && !this.still && event.type === "pointerup") {
      const [x0, y0] = this.at({ clientX: this.box.x, clientY: this.box.y }), [x1, y1] = this.at(event);
      this.on.box(this.scene.within({
        left: Math.min(x0, x1), right: Math.max(x0, x1), bottom: Math.min(y0, y1), top: Math.max(y0, y1),
      }), { remove: event.ctrlKey || event.metaKey });
    }
    $("box").hidden = true;
    this.box = null;
    this.still = null;
  }

  drawBox(now) {
    const edge = this.canvas.getBoundingClientRect();
    Object.assign($("box").style, {
      left: `${Math.min(this.box.x, now.x) - edge.left}px`, top: `${Math.min(this.box.y, now.y) - edge.top}px`,
      width: `${Math.abs(this.box.x - now.x)}px`, height: `${Math.abs(this.box.y - now.y)}px`,
    });
    $("box").hidden = false;
  }

  hover(event) {
    this.hovered = event;
    if (this.hovering) return;
    this.hovering = true;
    setTimeout(() => {
      this.hovering = false;
      this.on.hover?.(this.hovered ? this.scene.pick(...this.at(this.hovered), 1) : -1);
    }, 60);
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY * lines)) * 0.0016));
  }

  at({ clientX, clientY }) {
    const edge = this.canvas.getBoundingClientRect();
    return [((clientX - edge.left) / edge.width) * 2 - 1, 1 - ((clientY - edge.top) / edge.height) * 2];
  }

  // ---- keys ---------------------------------------------------------------------------------------------

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { camera } = this.scene, height = this.canvas.clientHeight, step = height * 0.06;
    const arrows = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    }[event.key];
    if (arrows) {
      const [x, y] = arrows;
      if (event.shiftKey) camera.pan(-x * step, -y * step, height);
      else camera.turn(x * STEP, -y * STEP);
      this.scene.ask();
    } else if (event.key === "+" || event.key === "=") this.zoom(0.85);
    else if (event.key === "-") this.zoom(1.18);
    else if (event.key === "Enter") this.on.pick(this.scene.pick(0, 0, FINGER_SLACK), { add: event.shiftKey });
    else return;
    event.preventDefault();
  }
}
