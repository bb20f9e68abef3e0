// The time slider: the newest frame, or one of the tape; stopped, or going on from there.

import { $, clockOf, h, secondsBetween } from "./dom.js";

const PLAY_MS = 200;

export class Timeline {
  // on : {watch(), past(stamp, step)}: the newest from now on, or a frame of the tape
  constructor(on) {
    this.on = on;
    this.live = true;
    this.at = null; // stamp that is shown, BigInt
    this.range = null; // first and last stamp of the tape
    this.waits = false; // for a frame that was asked for
    this.next = null; // what to ask for then: {stamp, step}
    this.timer = null;
    this.slider = $("slider");
    this.slider.addEventListener("input", () => {
      this.halt();
      this.leave();
      this.want(this.range[0] + BigInt(Math.round(Number(this.slider.value))) * 1000000n);
    });
    $("live").addEventListener("click", () => this.goLive());
    $("play").addEventListener("click", () => this.toggle());
    $("back").addEventListener("click", () => this.step(-1));
    $("on").addEventListener("click", () => this.step(1));
  }

  // Of the robot that is watched: first and last stamp of its tape, null for none
  setRange(range) {
    this.range = range ? range.slice(0, 2).map(BigInt) : null;
    this.slider.disabled = !this.range;
    for (const id of ["play", "back", "on"]) $(id).disabled = !this.range;
    this.show();
  }

  // A frame is shown
  shown(frame) {
    this.at = frame.stampNs;
    if (this.live && this.range && frame.stampNs > this.range[1]) this.range[1] = frame.stampNs;
    this.show();
  }

  // ---- going --------------------------------------------------------------------------------------------

  goLive() {
    this.halt();
    this.live = true;
    this.next = null;
    this.on.watch();
    this.show();
  }

  leave() {
    if (!this.live) return;
    this.live = false;
    this.on.watch();
  }

  toggle() {
    if (!this.range) return;
    if (this.live || this.timer !== null) {
      this.halt();
      this.leave();
      this.want(this.at);
    } else this.play();
    this.show();
  }

  // Frame by frame: they are as far apart as the server could make them.
  play() {
    this.timer = setInterval(() => {
      if (this.at >= this.range[1]) this.goLive();
      else if (!this.waits) this.want(null, 1);
    }, PLAY_MS);
  }

  halt() {
    clearInterval(this.timer);
    this.timer = null;
  }

  step(step) {
    if (!this.range) return;
    this.halt();
    this.leave();
    this.want(null, step);
  }

  // stamp : null for the one that is shown. One question at a time: what was wanted meanwhile is asked when the
  // answer is there.
  want(stamp, step = 0) {
    if (this.waits) {
      this.next = { stamp, step };
      return;
    }
    const from = stamp ?? this.at;
    if (from === null) return;
    this.waits = true;
    this.on.past(from, step);
  }

  // The answer to a question is there, and shown, or there will be none.
  answered() {
    const next = this.next;
    this.waits = false;
    this.next = null;
    if (next !== null && !this.live) this.want(next.stamp, next.step);
  }

  // ---- showing ------------------------------------------------------------------------------------------

  show() {
    $("live").setAttribute("aria-pressed", String(this.live));
    $("play").textContent = this.live || this.timer !== null ? "Pause" : "Play";
    if (!this.range || this.at === null) {
      $("clock").textContent = "–";
      return;
    }
    const [first, last] = this.range, ms = (stamp) => Number((stamp - first) / 1000000n);
    this.slider.max = Math.max(ms(last), 1);
    if (document.activeElement !== this.slider || this.live || this.timer !== null) this.slider.value = ms(this.at);
    const behind = secondsBetween(this.at, last);
    const text = this.live || behind < 0.05 ? clockOf(this.at) : `${clockOf(this.at)} · −${behind.toFixed(1)} s`;
    $("clock").textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }

  // Where on the slider something happened: [{stampNs, tone}, ...]
  setTicks(ticks) {
    if (!this.range) return;
    const [first, last] = this.range, span = Number(last - first) || 1;
    $("ticks").replaceChildren(...ticks.filter(({ stampNs }) => stampNs >= first && stampNs <= last).slice(0, 60)
      .map(({ stampNs, tone }) => h("i", {
        style: { left: `calc(8px + (100% - 16px) * ${Number(stampNs - first) / span})`, "--tone": tone },
      })));
  }
}
