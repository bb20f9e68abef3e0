// What runs on the graphics processor.

// Light from above and behind the eye; far things fade into the background.
const LIGHT = `
vec3 lit(vec3 colour, vec3 normal, float away) {
  float sky = 0.5 + 0.5 * normal.z;
  float lamp = max(dot(normal, u_lamp), 0.0);
  vec3 shaded = colour * (u_shade.x + u_shade.y * sky + u_shade.z * lamp);
  return mix(shaded, u_back, smoothstep(u_fade.x, u_fade.y, away) * 0.75);
}`;

const UNIFORMS = `
uniform mat4 u_view;
uniform vec3 u_eye, u_lamp, u_back, u_shade;
uniform vec2 u_fade;
`;

// Cells that are near: one instance a cell.
export const SOLID = {
  vertex: `#version 300 es
precision highp float;
${UNIFORMS}
layout(location = 0) in vec3 a_corner;
layout(location = 1) in vec3 a_normal;
layout(location = 2) in vec4 a_place;
layout(location = 3) in vec4 a_colour;
flat out vec3 v_colour;
${LIGHT}
void main() {
  vec3 at = a_place.xyz + a_corner * a_place.w;
  gl_Position = u_view * vec4(at, 1.0);
  v_colour = lit(a_colour.rgb, a_normal, distance(a_place.xyz, u_eye));
}`,
  fragment: `#version 300 es
precision mediump float;
flat in vec3 v_colour;
out vec4 o_colour;
void main() { o_colour = vec4(v_colour, 1.0); }`,
};

// Cells that are far: a round dot each, as large as the cell.
export const DOTS = {
  vertex: `#version 300 es
precision highp float;
${UNIFORMS}
uniform float u_pixels;
layout(location = 2) in vec4 a_place;
layout(location = 3) in vec4 a_colour;
flat out vec3 v_colour;
${LIGHT}
void main() {
  gl_Position = u_view * vec4(a_place.xyz, 1.0);
  gl_PointSize = clamp(2.0 * a_place.w * u_pixels / gl_Position.w, 1.5, 64.0);
  vec3 towards = normalize(u_eye - a_place.xyz);
  v_colour = lit(a_colour.rgb, normalize(towards + vec3(0.0, 0.0, 0.35)), distance(a_place.xyz, u_eye));
}`,
  fragment: `#version 300 es
precision mediump float;
flat in vec3 v_colour;
out vec4 o_colour;
void main() {
  vec2 c = gl_PointCoord - 0.5;
  if (dot(c, c) > 0.25) discard;
  o_colour = vec4(v_colour * (1.04 - 0.35 * gl_PointCoord.y), 1.0);
}`,
};

// Grid, paths, outlines: lines of one colour each corner.
export const LINES = {
  vertex: `#version 300 es
precision highp float;
${UNIFORMS}
layout(location = 0) in vec3 a_corner;
layout(location = 2) in vec4 a_place;
layout(location = 3) in vec4 a_colour;
out vec4 v_colour;
void main() {
  vec3 at = a_place.xyz + a_corner * a_place.w;
  gl_Position = u_view * vec4(at, 1.0);
  v_colour = a_colour;
  v_colour.a *= 1.0 - smoothstep(u_fade.x, u_fade.y, distance(at, u_eye)) * 0.9;
}`,
  fragment: `#version 300 es
precision mediump float;
in vec4 v_colour;
out vec4 o_colour;
void main() { o_colour = v_colour; }`,
};

export function build(gl, { vertex, fragment }) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`shader: ${gl.getProgramInfoLog(program)}`);
  }
  const uniforms = {};
  const count = gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) || 0;
  for (let k = 0; k < count; k++) {
    const { name } = gl.getActiveUniform(program, k);
    uniforms[name] = gl.getUniformLocation(program, name);
  }
  return { program, uniforms };
}
