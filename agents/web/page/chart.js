// Line charts as SVG: series, axes, a cursor that says the values.

import { h, number } from "./dom.js";

const WIDTH = 368, LEFT = 40, RIGHT = 8, TOP = 8, BOTTOM = 20;

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") element.style.cssText = value; // as an attribute the page's policy forbids it
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export class Chart {
  // label : what it shows, for who cannot see it; xText, yText : numbers as text
  constructor({ label, height = 150, yDigits = 2, xText = (x) => number(x, 0) }) {
    this.height = height;
    this.yDigits = yDigits;
    this.xText = xText;
    this.svg = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
    this.said = h("div.said");
    this.element = h("div.chart", {}, this.svg, this.said);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
  }

  // series : [{name, colour, dash, points: [[x, y or null], ...], dots}]; y : [least, most], found where left out
  // rules : [[x0, y0, x1, y1], ...]; marks : [{x, colour}]
  show({ series, x = null, y = null, rules = [], marks = [] }) {
    const all = series.flatMap((one) => one.points).filter(([, value]) => value !== null);
    const xs = x || rangeOf(all.map(([value]) => value)), ys = y || padded(rangeOf(all.map(([, value]) => value)));
    this.series = series;
    this.xs = xs;
    this.ys = ys;
    this.x = (value) => LEFT + ((value - xs[0]) / (xs[1] - xs[0] || 1)) * (WIDTH - LEFT - RIGHT);
    this.y = (value) => this.height - BOTTOM
      - ((value - ys[0]) / (ys[1] - ys[0] || 1)) * (this.height - TOP - BOTTOM);
    this.cursor = s("line", { class: "cursor", y1: TOP, y2: this.height - BOTTOM, visibility: "hidden" });
    this.svg.replaceChildren(
      ...this.axes(),
      ...rules.map(([x0, y0, x1, y1]) => s("line", {
        class: "cursor", x1: this.x(x0), y1: this.y(y0), x2: this.x(x1), y2: this.y(y1),
      })),
      ...marks.map((mark) => s("line", {
        x1: this.x(mark.x), x2: this.x(mark.x), y1: TOP, y2: this.height - BOTTOM,
        style: `stroke: ${mark.colour}; stroke-width: 1.2; opacity: 0.7`,
      })),
      ...series.flatMap((one) => this.curve(one)),
      this.cursor,
    );
  }

  axes() {
    const made = [];
    for (const value of ticks(this.ys)) {
      made.push(s("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: this.y(value), y2: this.y(value) }));
      made.push(text(LEFT - 5, this.y(value) + 4, "end", number(value, this.yDigits)));
    }
    const bottom = this.height - BOTTOM;
    made.push(s("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: bottom, y2: bottom }));
    for (const [k, value] of ticks(this.xs).entries()) {
      made.push(text(this.x(value), this.height - 5, k ? "middle" : "start", this.xText(value)));
    }
    return made;
  }

  curve({ points, colour, dash, dots }) {
    const style = `stroke: ${colour}`;
    const known = points.filter(([, value]) => value !== null);
    const made = [];
    if (!dots || known.length > 1) {
      let path = "", pen = "M";
      for (const [x, value] of points) {
        if (value === null) pen = "M";
        else {
          path += `${pen}${this.x(x).toFixed(1)} ${this.y(value).toFixed(1)}`;
          pen = "L";
        }
      }
      if (dots !== "only") made.push(s("path", { class: "curve", d: path, style, "stroke-dasharray": dash || "" }));
    }
    if (dots) {
      made.push(...known.map(([x, value]) => s("circle", {
        cx: this.x(x), cy: this.y(value), r: 3, style: `fill: ${colour}`,
      })));
    }
    return made;
  }

  point(event) {
    if (!this.series?.length) return;
    const edge = this.svg.getBoundingClientRect();
    const wanted = ((event.clientX - edge.left) / edge.width) * WIDTH;
    const parts = [];
    let at = null;
    for (const { name, points } of this.series) {
      const near = points.filter(([, value]) => value !== null)
        .reduce((best, one) => (!best || Math.abs(this.x(one[0]) - wanted) < Math.abs(this.x(best[0]) - wanted)
          ? one : best), null);
      if (!near) continue;
      if (at === null) at = near[0];
      parts.push(`${name} ${number(near[1], this.yDigits + 1)}`);
    }
    if (at === null) return;
    this.cursor.setAttribute("visibility", "visible");
    this.cursor.setAttribute("x1", this.x(at));
    this.cursor.setAttribute("x2", this.x(at));
    this.said.textContent = `${this.xText(at)}: ${parts.join(" · ")}`;
  }

  leave() {
    this.cursor?.setAttribute("visibility", "hidden");
    this.said.textContent = "";
  }
}

// What the colours of series mean.
export function keyOf(series) {
  return h("div.keys", {}, ...series.map(({ name, colour }) =>
    h("span", {}, h("i", { style: { background: colour } }), name)));
}

function text(x, y, anchor, value) {
  return s("text", { x, y, "text-anchor": anchor }, value);
}

function rangeOf(values) {
  return values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
}

function padded([least, most]) {
  const room = (most - least || Math.abs(most) || 1) * 0.08;
  return [least >= 0 ? Math.max(0, least - room) : least - room, most + room];
}

function ticks([least, most]) {
  const rough = (most - least || 1) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(least / step) * step; value <= most + step * 1e-6; value += step) found.push(value);
  return found;
}
