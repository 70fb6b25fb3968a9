// What lies above the cells of the map: labels where there is room, and the frames of what is hovered and selected.

const SHORT_BANDS = new Map([["Embeddings", "EMB"], ["End", "END"]]);

/** Labels of bands and groups where there is room, outlines of what is hovered and selected. */
function drawOverlay(context, map) {
  const style = getComputedStyle(document.documentElement);
  const colors = { ink: style.getPropertyValue("--ink").trim(), paper: style.getPropertyValue("--surface").trim() };
  context.setTransform(map.ratio, 0, 0, map.ratio, 0, 0);
  context.clearRect(0, 0, map.width, map.height);
  const seen = onScreen(map);
  if (!map.cells) return;
  drawCellLabels(context, map, seen, colors);
  for (const group of map.groups) drawGroupLabel(context, map, seen(group), group, colors);
  for (const band of map.bands) drawBandLabel(context, map, seen(band), band, colors);
  outline(context, seen, map, map.hover, colors, 1.5);
  outline(context, seen, map, state.selected, colors, 3);
}

/** A function from a rectangle of the layout to pixels of the stage. */
function onScreen({ view }) {
  return ({ x, y, w, h: height }) => ({ x: x * view.scale + view.x, y: y * view.scale + view.y, w: w * view.scale, h: height * view.scale });
}

function cellBox(map, part) {
  const [x, y, w, height] = map.cells.subarray(4 * part, 4 * part + 4);
  return { x, y, w, h: height };
}

/** The name of a band in the gutter, at the rim of the stage where the gutter is out of sight. */
function drawBandLabel(context, map, box, band, colors) {
  const top = Math.max(box.y, 0);
  const bottom = Math.min(box.y + box.h, map.height);
  if (bottom - top < 15) return;
  const middle = box.y >= 0 && box.y + box.h <= map.height ? top + (bottom - top) / 2 - 9 : top;
  tag(context, SHORT_BANDS.get(band.label) ?? printable(band.label), Math.max(0, box.x - GUTTER * map.view.scale) - 2, middle, 200, colors);
}

/** The kind of a group above it, or on it where it is tall and its head is out of sight. */
function drawGroupLabel(context, map, box, group, colors) {
  const header = group.header * map.view.scale;
  const left = Math.max(box.x, 0);
  const room = Math.min(box.x + box.w, map.width) - left;
  const inside = box.y - header < 0 && box.y + box.h > 80;
  if ((header === 0 || inside) && !(map.view.scale > 1 && inside)) return;
  tag(context, group.kind, left - (inside ? 0 : 5), inside ? 0 : box.y - 17, room + 8, colors);
}

/** A small label on a plate; nothing where it does not fit. */
function tag(context, text, x, y, room, { ink, paper }, font = "600 11px system-ui, sans-serif") {
  context.font = font;
  const width = context.measureText(text).width + 8;
  if (width + 4 > room) return;
  context.fillStyle = paper;
  context.globalAlpha = 0.88;
  context.beginPath();
  context.roundRect(x + 2, y + 2, width, 15, 3);
  context.fill();
  context.globalAlpha = 1;
  context.fillStyle = ink;
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + 10);
}

/** Names, or else addresses, in the cells that are large enough. */
function drawCellLabels(context, map, seen, colors) {
  const font = "11px ui-monospace, monospace";
  const visible = (box) => box.x < map.width && box.y < map.height && box.x + box.w > 0 && box.y + box.h > 0;
  for (const group of map.groups) {
    const around = seen(group);
    if (!visible(around) || (group.parts.length > 1 && (around.w * around.h) / group.parts.length < 400)) continue;
    for (const part of group.parts) {
      const box = seen(cellBox(map, part));
      if (box.w < 50 || box.h < 18 || !visible(box)) continue;
      const address = parts.address[part];
      const texts = [parts.name[part], address, address.split(".").slice(1).join(".")].filter(Boolean).map(printable);
      context.font = font;
      const fitting = texts.find((text) => context.measureText(text).width + 14 < box.w);
      if (fitting) tag(context, fitting, box.x, box.y + Math.min(box.h / 2, 14) - 9, box.w, colors, font);
    }
  }
}

function outline(context, seen, map, part, { ink, paper }, width) {
  if (part < 0 || !map.cells || map.cells[4 * part + 2] === 0) return;
  const box = seen(cellBox(map, part));
  const grow = Math.max(0, (7 - Math.min(box.w, box.h)) / 2); // tiny cells get a frame around them
  for (const [color, line] of [[paper, width + 2], [ink, width]]) {
    context.strokeStyle = color;
    context.lineWidth = line;
    context.strokeRect(box.x - grow, box.y - grow, box.w + 2 * grow, box.h + 2 * grow);
  }
}
