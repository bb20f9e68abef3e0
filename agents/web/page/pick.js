// Which cell lies under a point of the screen: the nearest along its ray, by the size at which it is drawn.

import { dot, ray, sub } from "./camera.js";

const REACH = 1.02; // of a half edge: a ball about as large as the cell

// cells : {n, centre, half}; x, y : within -1..1, y up; slack : pixels beside a cell that still count
// Returns its row, -1 for none.
export function pick(cells, view, x, y, slack = 2) {
  const way = ray(view, x, y);
  let best = -1, nearest = Infinity, closest = Infinity;
  for (let i = 0; i < cells.n; i++) {
    const to = [
      cells.centre[3 * i] - view.eye[0], cells.centre[3 * i + 1] - view.eye[1], cells.centre[3 * i + 2] - view.eye[2],
    ];
    const along = dot(to, way);
    if (along <= 0.05) continue;
    const aside = Math.sqrt(Math.max(dot(to, to) - along * along, 0));
    const radius = cells.half[i] * REACH, margin = (slack * along) / view.pixels;
    if (aside <= radius && along < nearest) {
      nearest = along;
      best = i;
    } else if (nearest === Infinity && aside <= radius + margin && aside < closest) {
      closest = aside;
      best = i;
    }
  }
  return best;
}

// Rows of cells whose centre lies in a rectangle of the screen: {left, right, bottom, top} within -1..1.
export function within(cells, view, box) {
  const rows = [];
  for (let i = 0; i < cells.n; i++) {
    const to = sub([cells.centre[3 * i], cells.centre[3 * i + 1], cells.centre[3 * i + 2]], view.eye);
    const depth = dot(to, view.ahead);
    if (depth <= 0.05) continue;
    const x = dot(to, view.right) / (depth * view.tan * view.aspect);
    const y = dot(to, view.up) / (depth * view.tan);
    if (x >= box.left && x <= box.right && y >= box.bottom && y <= box.top) rows.push(i);
  }
  return rows;
}
