// Frames as agents/web/frame.py makes them: uint32 kind, uint32 length, header, zlib of columns.

export const UNKNOWN_SHARE = 255;
export const SHARES = 254;
export const UNKNOWN_COUNT = 65535;
export const AGE_S = 0.01;

const ARRAYS = { u8: Uint8Array, i8: Int8Array, u16: Uint16Array, f32: Float32Array, u64: BigUint64Array };

export async function decodeFrame(buffer) {
  const view = new DataView(buffer);
  const length = view.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const body = await inflate(new Uint8Array(buffer, 8 + length));
  const frame = { ...header, past: view.getUint32(0, true) === 2, stampNs: BigInt(header.stamp_ns) };
  let begin = 0;
  for (const [name, kind, width] of header.columns) {
    frame[name] = new ARRAYS[kind](body, begin, header.cells * width);
    begin += frame[name].byteLength;
  }
  frame.horizons = header.horizons_ns.length;
  frame.sensor = [header.pose[3], header.pose[7], header.pose[11]];
  return frame;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// Half edge and centre of every cell: from the ids, or from the frame where it has coarser ones.
// Adds frame.half (Float32Array), frame.levels (Uint8Array) and frame.centre.
export function place(frame, halfEdgeLod0) {
  const n = frame.cells;
  const words = new Uint32Array(frame.id.buffer, frame.id.byteOffset, 2 * n);
  const levels = new Uint8Array(n);
  const half = new Float32Array(n);
  const centre = frame.centre || new Float32Array(3 * n);
  for (let i = 0; i < n; i++) {
    const low = words[2 * i], high = words[2 * i + 1];
    levels[i] = (high >>> 16) & 15;
    const halfEdge = halfEdgeLod0 / 2 ** levels[i];
    half[i] = halfEdge;
    if (frame.centre) continue;
    const inner = low & 0xffffff, outer = ((high & 0xffff) << 8) | (low >>> 24);
    for (let axis = 0; axis < 3; axis++) {
      centre[3 * i + axis] = (((gather(outer >>> axis) << 8) | gather(inner >>> axis)) - 32768) * halfEdge;
    }
  }
  return Object.assign(frame, { levels, half, centre });
}

// Every third of 24 bits, as 8 bits: ids hold a Morton key.
function gather(bits) {
  let v = bits & 0x249249;
  v = (v | (v >>> 2)) & 0x0c30c3;
  v = (v | (v >>> 4)) & 0x00f00f;
  return (v | (v >>> 8)) & 0xff;
}

// What a frame says of one cell, in plain values; null where nothing is known.
export function cellOf(frame, i) {
  const share = (value) => (value === UNKNOWN_SHARE ? null : value / SHARES);
  const h = frame.horizons;
  const row = (column) => Array.from(frame[column].subarray(i * h, i * h + h));
  return {
    hits: frame.hits[i],
    passes: frame.passes[i] === UNKNOWN_COUNT ? null : frame.passes[i],
    ageS: frame.age[i] === UNKNOWN_COUNT ? null : frame.age[i] * AGE_S,
    occupancy: share(frame.occupancy[i]),
    probability: row("probability").map(share),
    forecast: row("forecast").map(share),
    outcome: row("outcome").map((state) => (state < 0 ? null : state === 1)),
  };
}
