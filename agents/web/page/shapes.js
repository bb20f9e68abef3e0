// The cell of the lattice: a truncated octahedron about its site, in half edges.
// Its corners are all orders and signs of (0, 1/2, 1): 24 corners, 6 squares, 8 hexagons, 36 edges.

const CORNERS = [];
for (const zero of [0, 1, 2]) {
  for (const [a, b] of [[0.5, 1], [1, 0.5]]) {
    for (const [sa, sb] of [[1, 1], [1, -1], [-1, 1], [-1, -1]]) {
      const corner = [sa * a, sb * b];
      corner.splice(zero, 0, 0);
      CORNERS.push(corner);
    }
  }
}

const NORMALS = [];
for (const axis of [0, 1, 2]) {
  for (const sign of [1, -1]) NORMALS.push([0, 1, 2].map((k) => (k === axis ? sign : 0)));
}
for (const x of [1, -1]) for (const y of [1, -1]) for (const z of [1, -1]) NORMALS.push([x, y, z]);

// Corners of a face, counter-clockwise seen from outside.
function faceOf(normal) {
  const length = Math.hypot(...normal);
  const reach = length === 1 ? 1 : 1.5; // x + y + z of a hexagon's corners
  const face = CORNERS.map((_, k) => k).filter((k) => Math.abs(along(CORNERS[k], normal) - reach) < 1e-9);
  const first = CORNERS[face[0]];
  const centre = normal.map((value) => (value * reach) / length ** 2);
  const u = first.map((value, k) => value - centre[k]);
  const v = [
    normal[1] * u[2] - normal[2] * u[1], normal[2] * u[0] - normal[0] * u[2], normal[0] * u[1] - normal[1] * u[0],
  ];
  const angle = (k) => Math.atan2(along(CORNERS[k], v), along(CORNERS[k], u) * length);
  return face.sort((a, b) => angle(a) - angle(b));
}

function along(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

const FACES = NORMALS.map(faceOf);

// Triangles with a normal a corner: Float32Array of x y z nx ny nz, 132 corners.
export const SOLID = new Float32Array(FACES.flatMap((face, f) => {
  const length = Math.hypot(...NORMALS[f]);
  const normal = NORMALS[f].map((value) => value / length);
  const corners = [];
  for (let k = 1; k + 1 < face.length; k++) {
    for (const corner of [face[0], face[k], face[k + 1]]) corners.push(...CORNERS[corner], ...normal);
  }
  return corners;
}));

// Edges, two corners each: Float32Array of x y z.
export const EDGES = new Float32Array(FACES.flatMap((face) => face.flatMap((corner, k) => {
  const next = face[(k + 1) % face.length];
  return corner < next ? [...CORNERS[corner], ...CORNERS[next]] : [];
})));
