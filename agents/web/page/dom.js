// Small helpers: elements, and numbers and times as people read them.

export const $ = (id) => document.getElementById(id);

// An element: h("p.muted", {title: "x"}, "text", child, ...); what is null is left out.
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const NONE = "–";

export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return value.toFixed(digits).replace("-", "−");
}

export function whole(value) {
  return value === null || value === undefined ? NONE : value.toLocaleString("en").replaceAll(",", "\u2009");
}

export function percent(value) {
  return value === null || value === undefined ? NONE : `${Math.round(100 * value)} %`;
}

export function bytes(value) {
  return value >= 1e6 ? `${number(value / 1e6, 1)} MB` : `${number(value / 1e3, 0)} kB`;
}

// Seconds between two stamps, which are BigInt of nanoseconds.
export function secondsBetween(from, to) {
  return Number(to - from) / 1e9;
}

// A stamp as a time of day where it is one, else as seconds of the log.
export function clockOf(stampNs) {
  const seconds = Number(stampNs / 1000000n) / 1e3;
  if (seconds < 1e8) return `${seconds.toFixed(1)} s`;
  return new Date(seconds * 1e3).toISOString().slice(11, 21);
}

export function ahead(horizonNs) {
  return `${horizonNs / 1e9} s`;
}

// What a model is called where there is little room: the built-in one by its name, others by the first digits.
export function shortModel(id) {
  return id.length > 22 ? `${id.slice(0, 20)}…` : id;
}
