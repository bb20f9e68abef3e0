// What cells are coloured by: a value, a scale, how large a cell is drawn, and what the legend says.

import { AGE_S, SHARES, UNKNOWN_COUNT, UNKNOWN_SHARE } from "./frames.js";

// Stops of scales, light to bad or low to high; two of each where the theme matters.
const SCALES = {
  share: {
    light: ["#cdd4de", "#94cdc6", "#3ba3bf", "#2868b0", "#2c2f86"],
    dark: ["#33415a", "#2b618f", "#2a95a8", "#69c894", "#f3f3a0"],
  },
  doubt: {
    light: ["#d9d7e4", "#c9a3d6", "#a94fb8", "#74148f", "#3b0257"],
    dark: ["#2f2c40", "#5b2f7d", "#a147b8", "#e583d0", "#ffe3f7"],
  },
  age: {
    light: ["#c4350a", "#e08a1e", "#d9bf3a", "#7fa98a", "#8d98a8"],
    dark: ["#ff8a4c", "#f5b041", "#e8d75a", "#7fa98a", "#566270"],
  },
  error: {
    light: ["#8d2a86", "#c78bc2", "#c9d0da", "#f0a56b", "#c9410a"],
    dark: ["#ee8fe2", "#8f5490", "#3d4755", "#a85f33", "#ff9a52"],
  },
};
const OUTCOMES = {
  light: { occupied: "#1f6ab8", free: "#a9b6c6" },
  dark: { occupied: "#62aaf2", free: "#5d6b7d" },
};
const LEVELS = {
  light: ["#1f6ab8", "#2c9a7c", "#c78a12", "#a0443a"],
  dark: ["#62aaf2", "#4fcfa8", "#f0bd4c", "#f08a7d"],
};
const UNKNOWN = { light: "#c9cfd8", dark: "#3a424e" };

const MAX_AGE_S = 2;

// size : least and most of a cell's true size, by value
export const MODES = {
  occupancy: {
    name: "Occupancy", scale: "share", ends: ["seen through", "hit"], size: [0.34, 0.94],
    hint: "Share of hits among the rays of the last second that met the cell",
  },
  forecast: {
    name: "Forecast", scale: "share", ends: ["0 %", "100 %"], size: [0.3, 0.94], horizon: true,
    hint: "Probability that the cell is occupied then",
  },
  uncertainty: {
    name: "Uncertainty", scale: "doubt", ends: ["sure", "even odds"], size: [0.34, 0.94], horizon: true,
    hint: "Entropy of the forecast, in bits",
  },
  outcome: {
    name: "Outcome", size: [0.42, 0.94], horizon: true,
    hint: "What the newest sweep revealed of a forecast made so long before",
  },
  error: {
    name: "Error", scale: "error", ends: ["false alarm", "missed"], middle: "right", size: [0.34, 0.94],
    horizon: true, hint: "Outcome minus what had been forecast",
  },
  age: {
    name: "Age", scale: "age", ends: ["now", `${MAX_AGE_S} s`], size: [0.9, 0.5],
    hint: "Time since the last return in the cell",
  },
  level: { name: "Level", size: [0.94, 0.94], hint: "Level of detail of the cell" },
};

// Colours of a mode as 256 RGBA words, and what stands for unknown.
export function paletteOf(mode, theme) {
  const stops = (SCALES[MODES[mode].scale] || SCALES.share)[theme].map(rgb);
  const table = new Uint32Array(256);
  for (let k = 0; k < 256; k++) table[k] = word(between(stops, k / 255));
  if (mode === "outcome") {
    table[0] = word(rgb(OUTCOMES[theme].free));
    table[255] = word(rgb(OUTCOMES[theme].occupied));
  }
  if (mode === "level") LEVELS[theme].forEach((colour, k) => { table[k] = word(rgb(colour)); });
  return { table, unknown: word(rgb(UNKNOWN[theme])) };
}

// Value 0..255 of every cell, and -1 for unknown: Int16Array.
export function valuesOf(frame, mode, horizon) {
  const n = frame.cells, h = frame.horizons;
  const values = new Int16Array(n);
  const at = (column, i) => frame[column][i * h + horizon];
  const scaled = (share) => (share === UNKNOWN_SHARE ? -1 : Math.round((share / SHARES) * 255));
  const one = {
    occupancy: (i) => scaled(frame.occupancy[i]),
    forecast: (i) => scaled(at("probability", i)),
    uncertainty: (i) => doubt(at("probability", i)),
    outcome: (i) => (at("outcome", i) < 0 ? -1 : at("outcome", i) * 255),
    error: (i) => error(at("outcome", i), at("forecast", i)),
    age: (i) => (frame.age[i] === UNKNOWN_COUNT ? -1
      : Math.min(255, Math.round((frame.age[i] * AGE_S * 255) / MAX_AGE_S))),
    level: (i) => Math.min(frame.lod - frame.levels[i], 3),
  }[mode];
  for (let i = 0; i < n; i++) values[i] = one(i);
  return values;
}

const DOUBT = Array.from({ length: SHARES + 1 }, (_, k) => {
  const p = Math.min(Math.max(k / SHARES, 1e-6), 1 - 1e-6);
  return Math.round(-255 * (p * Math.log2(p) + (1 - p) * Math.log2(1 - p)));
});

function doubt(share) {
  return share === UNKNOWN_SHARE ? -1 : DOUBT[share];
}

function error(outcome, forecast) {
  if (outcome < 0 || forecast === UNKNOWN_SHARE) return -1;
  return Math.round((255 * (outcome - forecast / SHARES + 1)) / 2);
}

// How large a cell is drawn, as a share of its true size: what matters is large and what is likely free small.
export function sizesOf(mode) {
  const [least, most] = MODES[mode].size;
  const sizes = new Float32Array(257);
  for (let k = 0; k < 256; k++) {
    const share = mode === "error" ? Math.abs(k / 255 - 0.5) * 2 : k / 255;
    sizes[k] = least + (most - least) * share;
  }
  sizes[256] = 0.22; // unknown
  return sizes;
}

// The legend of a mode: {gradient, ends, middle} or {items: [[colour, text]]}.
export function legendOf(mode, theme, frame) {
  const { scale, ends, middle } = MODES[mode];
  if (scale) return { gradient: SCALES[scale][theme], ends, middle };
  if (mode === "outcome") {
    return { items: [[OUTCOMES[theme].occupied, "hit"], [OUTCOMES[theme].free, "seen through"]] };
  }
  const edges = [0, 1, 2, 3].map((k) => (frame ? frame.lod - k : k)).filter((level) => level >= 0);
  return { items: edges.map((level, k) => [LEVELS[theme][k], `LOD ${level}`]) };
}

export function unknownColour(theme) {
  return UNKNOWN[theme];
}

export function rgb(text) {
  return [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
}

function between(stops, share) {
  const place = share * (stops.length - 1);
  const k = Math.min(Math.floor(place), stops.length - 2);
  return stops[k].map((from, c) => from + (stops[k + 1][c] - from) * (place - k));
}

function word([r, g, b]) {
  return (255 << 24 | Math.round(b) << 16 | Math.round(g) << 8 | Math.round(r)) >>> 0;
}
