// The layout of the map: bands (embeddings, one a layer, the end) from top to bottom, groups of one kind within a
// band from left to right, and in a group a squarified treemap of its parts.

const GROUP_ORDER = ["tokens", "positions", "QK", "OV", "IN", "OUT", "norms", "biases", "unembedding", "other"];
const NO_EFFECT = "no effect measured";
const SMALLEST_BAND = 18; // pixels; what is smaller is widened to stay visible, and the page says so
const SMALLEST_GROUP = 6;
const BAND_GAP = 4;
const GROUP_GAP = 3;
const GUTTER = 34; // left of the bands, for their labels
const HEADER = 16; // above the groups of a layer, for their labels, in the first layer and in tall ones
const TALL = 80;

/**
 * The map of the parts of `only` (a band, or null for all) on `width` × `height` pixels with areas by `area`
 * ("parameters" or "effect"). Parts whose effect was not measured get a strip of their own at the band's end, by parameters.
 * Returns cells (x, y, w, h of each part in a Float32Array; w = 0 if absent), bands and groups.
 */
function layoutMap(parts, { area, only, width, height }) {
  const cells = new Float32Array(4 * parts.count);
  const weight = cellWeights(parts, area);
  const bands = [];
  for (let part = 0; part < parts.count; part++) {
    if (only !== null && parts.band[part] !== only) continue;
    let band = bands.find((one) => one.label === parts.band[part]);
    if (!band) bands.push((band = { label: parts.band[part], groups: new Map(), weight: 0 }));
    const kind = area === "effect" && Number.isNaN(parts.effect[part]) ? NO_EFFECT : parts.kind[part];
    if (!band.groups.has(kind)) band.groups.set(kind, []);
    band.groups.get(kind).push(part);
    if (kind !== NO_EFFECT) band.weight += weight[part];
  }
  const gaps = BAND_GAP * Math.max(0, bands.length - 1);
  const heights = divide(bands.map((band) => band.weight), height - gaps - HEADER, SMALLEST_BAND);
  const firstLayer = bands.findIndex((band) => band.groups.size > 2);
  const groups = [];
  let y = 0;
  bands.forEach((band, index) => {
    const header = index === firstLayer || (band.groups.size > 2 && heights[index] >= TALL) ? HEADER : 0;
    const h = heights[index] + (index === Math.max(0, firstLayer) ? HEADER : 0);
    Object.assign(band, { x: GUTTER, y, w: width - GUTTER, h, header });
    groups.push(...layoutBand(band, weight, cells));
    y += h + BAND_GAP;
  });
  return { cells, bands, groups };
}

/** The weight of every part. A part without any effect keeps a sliver, so that it can be seen and found. */
function cellWeights(parts, area) {
  if (area === "parameters") return parts.parameters.map((value) => Math.max(1, value));
  const most = parts.effect.reduce((top, value) => Math.max(top, value || 0), 0);
  return parts.effect.map((value, part) => (Number.isNaN(value) ? Math.max(1, parts.parameters[part]) : Math.max(value, most * 1e-5, 1e-12)));
}

function layoutBand(band, weight, cells) {
  const kinds = [...band.groups.keys()].sort((a, b) => GROUP_ORDER.indexOf(a) - GROUP_ORDER.indexOf(b));
  const strip = kinds.includes(NO_EFFECT);
  const others = kinds.filter((kind) => kind !== NO_EFFECT);
  const room = band.w - GROUP_GAP * (kinds.length - 1);
  const stripWidth = !strip ? 0 : others.length === 0 ? room : 0.12 * room;
  const totals = others.map((kind) => band.groups.get(kind).reduce((sum, part) => sum + weight[part], 0));
  const widths = [...divide(totals, room - stripWidth, SMALLEST_GROUP), ...(strip ? [stripWidth] : [])];
  let x = band.x;
  return [...others, ...(strip ? [NO_EFFECT] : [])].map((kind, index) => {
    const group = { kind, parts: band.groups.get(kind), x, y: band.y + band.header, w: widths[index], h: band.h - band.header, header: band.header };
    const equal = group.parts.every((part) => weight[part] === weight[group.parts[0]]);
    if (equal) grid(group, cells);
    else squarify(group, weight, cells);
    x += widths[index] + GROUP_GAP;
    return group;
  });
}

/** Divide `room` in proportion to `weights`, none less than `least` (or its equal share, where room is short). */
function divide(weights, room, least) {
  const floor = Math.min(least, room / Math.max(1, weights.length));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total <= 0) return weights.map(() => room / weights.length);
  const tight = new Set();
  for (;;) {
    const free = weights.reduce((sum, weight, index) => (tight.has(index) ? sum : sum + weight), 0);
    const left = room - floor * tight.size;
    const below = weights.findIndex((weight, index) => !tight.has(index) && (weight / free) * left < floor);
    if (below < 0) return weights.map((weight, index) => (tight.has(index) ? floor : (weight / free) * left));
    tight.add(below);
  }
}

/** Fill the rectangle of `group` with equal cells, near squares, column by column in order of execution. */
function grid(group, cells) {
  const total = group.parts.length;
  const ideal = Math.sqrt((total * group.h) / group.w);
  let best = { rows: 1, cost: Infinity };
  for (let rows = Math.max(1, Math.floor(0.6 * ideal)); rows <= Math.min(total, Math.ceil(1.7 * ideal)); rows++) {
    const empty = Math.ceil(total / rows) * rows - total;
    const cost = Math.abs(Math.log(rows / ideal)) + (8 * empty) / total;
    if (cost < best.cost) best = { rows, cost };
  }
  const w = group.w / Math.ceil(total / best.rows);
  const height = group.h / best.rows;
  group.parts.forEach((part, index) => {
    cells.set([group.x + Math.floor(index / best.rows) * w, group.y + (index % best.rows) * height, w, height], 4 * part);
  });
}

/**
 * Fill the rectangle of `group` with its parts, area in proportion to weight, heaviest first, as close to squares as
 * rows allow (Bruls, Huizing, van Wijk 2000: Squarified Treemaps).
 */
function squarify(group, weight, cells) {
  const order = [...group.parts].sort((a, b) => weight[b] - weight[a] || a - b);
  let { x, y, w, h: height } = group;
  let left = order.reduce((sum, part) => sum + weight[part], 0);
  for (let start = 0; start < order.length; ) {
    const side = Math.min(w, height);
    const end = rowEnd(order, weight, start, side, (w * height) / left);
    let sum = 0;
    for (let i = start; i < end; i++) sum += weight[order[i]];
    const along = w >= height; // the row is a column at the left, or a line at the top
    const depth = end === order.length ? Math.max(w, height) : (Math.max(w, height) * sum) / left;
    let offset = 0;
    for (let i = start; i < end; i++) {
      const length = (side * weight[order[i]]) / sum;
      const cell = along ? [x, y + offset, depth, length] : [x + offset, y, length, depth];
      cells.set(cell, 4 * order[i]);
      offset += length;
    }
    if (along) [x, w] = [x + depth, w - depth];
    else [y, height] = [y + depth, height - depth];
    left -= sum;
    start = end;
  }
}

/** Where the row that begins at `start` ends: as soon as one more part would make its worst cell less square. */
function rowEnd(order, weight, start, side, scale) {
  const largest = weight[order[start]];
  let sum = 0;
  let worst = Infinity;
  for (let i = start; i < order.length; i++) {
    const smallest = weight[order[i]];
    sum += smallest;
    const area = sum * scale;
    const ratio = Math.max((side * side * largest * scale) / (area * area), (area * area) / (side * side * smallest * scale));
    if (ratio > worst) return i;
    worst = ratio;
  }
  return order.length;
}

/** The part at (x, y) of the layout, or -1. Groups first, then the cells of one group. */
function partAt({ cells, groups }, x, y) {
  for (const group of groups) {
    if (x < group.x || y < group.y || x >= group.x + group.w || y >= group.y + group.h) continue;
    for (const part of group.parts) {
      const at = 4 * part;
      if (x >= cells[at] && y >= cells[at + 1] && x < cells[at] + cells[at + 2] && y < cells[at + 1] + cells[at + 3]) return part;
    }
  }
  return -1;
}
