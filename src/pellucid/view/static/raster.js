// Painting the cells of the map straight into pixels: 75,000 cells take a few milliseconds, and every class of parts
// has a texture besides its colour that runs on across cells too small to hold one.

const FORMS = ["raw", "described", "lifted", "source"];
const VERDICTS = ["raw", "exact", "within", "over", "stale", "unmeasured"];
const TILE = 8; // CSS pixels

/** The class of a part: which tile it is painted with. A verdict that is not known counts as unmeasured. */
function classOf(form, verdict) {
  const row = Math.max(0, FORMS.indexOf(form));
  const column = VERDICTS.indexOf(verdict);
  return row * VERDICTS.length + (column < 0 ? VERDICTS.length - 1 : column);
}

/** Whether the texture of a class marks the pixel (x, y) of its tile. */
function isMarked(form, verdict, x, y) {
  const lifted = (form === "lifted" && (x + y) % 8 < 3) || (form === "described" && x % 8 < 2);
  switch (verdict) {
    case "over": return lifted || (x - y + 8) % 8 < 1;
    case "stale": return lifted || y % 4 === 0;
    case "unmeasured": return form !== "raw" && (lifted || (x % 4 === 1 && y % 4 === 1));
    default: return lifted;
  }
}

/** The tiles of all classes at `ratio` device pixels a CSS pixel, bright and dimmed, in the colours of the page. */
function makeTiles(ratio) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => parseColor(style.getPropertyValue(name));
  const paper = color("--map-paper");
  const mark = color("--map-mark");
  const size = TILE * ratio;
  const tiles = { size, bright: [], dim: [], plain: [] };
  for (const form of FORMS) {
    for (const verdict of VERDICTS) {
      const base = color(form === "raw" && verdict === "unmeasured" ? "--v-raw" : `--v-${verdict}`);
      const texture = mix(base, mark, 0.5);
      for (const [set, fade] of [[tiles.bright, 0], [tiles.dim, 0.82]]) {
        const tile = new Uint32Array(size * size);
        for (let i = 0; i < tile.length; i++) {
          const marked = isMarked(form, verdict, Math.floor((i % size) / ratio), Math.floor(i / size / ratio));
          tile[i] = pixel(mix(marked ? texture : base, paper, fade));
        }
        set.push(tile);
      }
      tiles.plain.push(tiles.bright.at(-1).every((value, _, tile) => value === tile[0]));
    }
  }
  tiles.paper = pixel(paper);
  return tiles;
}

function parseColor(text) {
  const digits = text.trim().slice(1);
  return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
}

function mix(from, to, amount) {
  return from.map((value, channel) => Math.round(value + (to[channel] - value) * amount));
}

/** A colour as canvas image data holds it, little-endian. */
function pixel([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * Paint all cells into `image` (Uint32Array, `width` × `height` device pixels). `view` maps the layout to device
 * pixels: scale, x, y. Raw parts come first, the others above them at no less than a pixel, so that a single
 * understood neuron among thousands can be seen.
 */
function paintCells(image, width, height, { cells, classes, matches, tiles, view }) {
  image.fill(tiles.paper);
  const gap = Math.max(1, Math.round(tiles.size / TILE));
  for (const raw of [true, false]) {
    for (let part = 0; part < classes.length; part++) {
      if (classes[part] < VERDICTS.length !== raw) continue;
      const at = 4 * part;
      if (cells[at + 2] === 0) continue;
      const x = Math.round(cells[at] * view.scale + view.x);
      const y = Math.round(cells[at + 1] * view.scale + view.y);
      let right = Math.round((cells[at] + cells[at + 2]) * view.scale + view.x);
      let bottom = Math.round((cells[at + 1] + cells[at + 3]) * view.scale + view.y);
      if (right < 0 || bottom < 0 || x >= width || y >= height) continue;
      if (cells[at + 2] * view.scale > 4 * gap) right -= gap;
      if (cells[at + 3] * view.scale > 4 * gap) bottom -= gap;
      if (!raw) [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
      const tile = (matches[part] ? tiles.bright : tiles.dim)[classes[part]];
      const box = [Math.max(0, x), Math.max(0, y), Math.min(width, right), Math.min(height, bottom)];
      if (tiles.plain[classes[part]]) fillPlain(image, width, box, tile[0]);
      else fillTile(image, width, box, tile, tiles.size);
    }
  }
}

function fillPlain(image, width, [left, top, right, bottom], value) {
  for (let y = top; y < bottom; y++) image.fill(value, y * width + left, y * width + right);
}

function fillTile(image, width, [left, top, right, bottom], tile, size) {
  for (let y = top; y < bottom; y++) {
    const row = (y % size) * size;
    for (let x = left; x < right; x++) image[y * width + x] = tile[row + (x % size)];
  }
}
