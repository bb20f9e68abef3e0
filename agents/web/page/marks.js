// Lines beside the cells: the ground's grid, the robot, and the way it came. Each [from, to, colour].

const STEP_M = 10;
const REACH = 6; // steps

// Height of the ground: what few cells are below of; follows slowly, so that the grid does not jump.
export function groundOf(frame, before) {
  const heights = [];
  for (let i = 0; i < frame.cells; i += 1 + (frame.cells >> 11)) {
    if (frame.hits[i]) heights.push(frame.centre[3 * i + 2]);
  }
  if (!heights.length) return before === undefined ? frame.sensor[2] - 1.7 : before;
  heights.sort((a, b) => a - b);
  const ground = heights[Math.floor(heights.length * 0.08)] - frame.half[0];
  return before === undefined || Math.abs(ground - before) > 3 ? ground : before + (ground - before) * 0.1;
}

export function gridLines([x, y], z, colour) {
  const x0 = Math.round(x / STEP_M), y0 = Math.round(y / STEP_M), lines = [];
  const at = (i, j) => [(x0 + i) * STEP_M, (y0 + j) * STEP_M, z];
  for (let i = -REACH; i <= REACH; i++) {
    for (let j = -REACH; j < REACH; j++) lines.push([at(i, j), at(i, j + 1), colour], [at(j, i), at(j + 1, i), colour]);
  }
  return lines;
}

export function pathLines(path, colour) {
  return path.slice(1).map((to, k) => [path[k], to, colour])
    .filter(([from, to]) => Math.hypot(to[0] - from[0], to[1] - from[1], to[2] - from[2]) < 15);
}

// An arrow at the sensor that points ahead, on a mast.
export function robotLines(frame, ground, colour) {
  const { pose, sensor } = frame;
  const at = (ahead, left, up) => sensor.map((value, axis) =>
    value + pose[4 * axis] * ahead + pose[4 * axis + 1] * left + pose[4 * axis + 2] * up);
  const tip = at(2.6, 0, 0), left = at(-1.4, 1.1, 0), right = at(-1.4, -1.1, 0), back = at(-0.7, 0, 0);
  const foot = [sensor[0], sensor[1], ground];
  return [[tip, left, colour], [left, back, colour], [back, right, colour], [right, tip, colour], [sensor, foot, colour]];
}
