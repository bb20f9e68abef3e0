// A camera that turns about a point, z up, and can fly.

const LEAST_M = 2;
const MOST_M = 400;
const FOV = (50 * Math.PI) / 180;

export class Camera {
  constructor() {
    this.target = [0, 0, 0];
    this.yaw = -2.2;
    this.pitch = 0.62;
    this.distance = 55;
    this.flight = null;
  }

  get eye() {
    const flat = Math.cos(this.pitch) * this.distance;
    return [
      this.target[0] + Math.cos(this.yaw) * flat,
      this.target[1] + Math.sin(this.yaw) * flat,
      this.target[2] + Math.sin(this.pitch) * this.distance,
    ];
  }

  turn(yaw, pitch) {
    this.flight = null;
    this.yaw += yaw;
    this.pitch = Math.min(Math.max(this.pitch + pitch, -0.2), 1.55);
  }

  zoom(factor) {
    if (this.flight) this.land();
    this.distance = Math.min(Math.max(this.distance * factor, LEAST_M), MOST_M);
  }

  // Move with the hand: pixels right and down on a canvas so many pixels high.
  pan(dx, dy, height) {
    this.flight = null;
    const metres = (2 * this.distance * Math.tan(FOV / 2)) / height;
    const right = [-Math.sin(this.yaw), Math.cos(this.yaw)];
    const ahead = [-Math.cos(this.yaw), -Math.sin(this.yaw)];
    const lift = Math.max(Math.sin(this.pitch), 0.25);
    for (let axis = 0; axis < 2; axis++) {
      this.target[axis] += -right[axis] * dx * metres + (ahead[axis] * dy * metres) / lift;
    }
  }

  // Fly to a place within so many seconds; whatever is left out stays. Yaw takes the shorter way.
  fly({ target, distance, yaw, pitch, seconds = 0.9 }, now) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.flight = {
      begin: now,
      ms: still ? 0 : 1000 * seconds,
      from: { target: [...this.target], distance: this.distance, yaw: this.yaw, pitch: this.pitch },
      to: {
        target: target || [...this.target],
        distance: distance || this.distance,
        yaw: yaw === undefined ? this.yaw : this.yaw + wrap(yaw - this.yaw),
        pitch: pitch === undefined ? this.pitch : pitch,
      },
    };
  }

  land() {
    Object.assign(this, this.flight.to);
    this.target = [...this.flight.to.target];
    this.flight = null;
  }

  // Go on with a flight; whether it is still under way.
  step(now) {
    if (!this.flight) return false;
    const { begin, ms, from, to } = this.flight;
    const t = ms ? (now - begin) / ms : 1;
    if (t >= 1) {
      this.land();
      return false;
    }
    const s = t * t * (3 - 2 * t);
    const mix = (a, b) => a + (b - a) * s;
    this.target = from.target.map((value, axis) => mix(value, to.target[axis]));
    this.distance = Math.exp(mix(Math.log(from.distance), Math.log(to.distance)));
    this.yaw = mix(from.yaw, to.yaw);
    this.pitch = mix(from.pitch, to.pitch);
    return true;
  }

  // Carry what is looked at, and a flight there, along.
  carry(shift) {
    for (let axis = 0; axis < 3; axis++) {
      this.target[axis] += shift[axis];
      if (this.flight) this.flight.to.target[axis] += shift[axis];
      if (this.flight) this.flight.from.target[axis] += shift[axis];
    }
  }

  // Column-major view-projection, and what else is needed to draw.
  view(aspect, height) {
    const eye = this.eye;
    const ahead = unit(sub(this.target, eye));
    const right = unit(cross(ahead, Math.abs(ahead[2]) > 0.999
      ? [-Math.cos(this.yaw), -Math.sin(this.yaw), 0] : [0, 0, 1]));
    const up = cross(right, ahead);
    const focal = 1 / Math.tan(FOV / 2);
    const near = Math.max(0.1, this.distance * 0.02), far = this.distance + 600;
    const sx = focal / aspect, depth = (far + near) / (far - near), shift = (2 * far * near) / (far - near);
    const matrix = new Float32Array(16);
    for (let axis = 0; axis < 3; axis++) {
      matrix[4 * axis] = sx * right[axis];
      matrix[4 * axis + 1] = focal * up[axis];
      matrix[4 * axis + 2] = depth * ahead[axis];
      matrix[4 * axis + 3] = ahead[axis];
    }
    matrix[12] = -sx * dot(right, eye);
    matrix[13] = -focal * dot(up, eye);
    matrix[14] = -depth * dot(ahead, eye) - shift;
    matrix[15] = -dot(ahead, eye);
    return { matrix, eye, ahead, right, up, pixels: (focal * height) / 2, tan: Math.tan(FOV / 2), aspect };
  }
}

// Unit vector through a point of the view, x and y within -1..1, y up.
export function ray(view, x, y) {
  return unit(view.ahead.map((value, axis) =>
    value + view.right[axis] * x * view.tan * view.aspect + view.up[axis] * y * view.tan));
}

function wrap(angle) {
  return angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));
}

export const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
];

function unit(v) {
  const length = Math.hypot(...v) || 1;
  return v.map((value) => value / length);
}
