// The map of all parts: two canvases, cells below and labels, hover and selection above.

const MAX_ZOOM = 60;
const SHORT_BANDS = new Map([["Embeddings", "EMB"], ["End", "END"]]);

/** Build the map; it follows filter, selection, theme and size by itself. */
function createMap() {
  const stage = byId("map-stage");
  const lower = byId("map-cells");
  const upper = byId("map-overlay");
  const classes = Uint8Array.from({ length: parts.count }, (_, part) => classOf(parts.form[part], parts.verdict[part]));
  const map = { area: "parameters", only: null, view: { scale: 1, x: 0, y: 0 }, hover: -1, width: 0, height: 0, ratio: 1 };
  let tiles = null;
  let image = null;
  let pending = 0;
  let stale = true; // whether the cells have to be painted again

  /** Measure, lay out anew and draw. */
  function layout() {
    map.width = stage.clientWidth;
    map.height = stage.clientHeight;
    map.ratio = Math.min(3, Math.max(1, Math.round(window.devicePixelRatio || 1)));
    if (map.width === 0) return;
    for (const canvas of [lower, upper]) {
      canvas.width = map.width * map.ratio;
      canvas.height = map.height * map.ratio;
    }
    image = lower.getContext("2d").createImageData(lower.width, lower.height);
    tiles = makeTiles(map.ratio);
    Object.assign(map, layoutMap(parts, map));
    reset();
    paint(); // at once: paper does not wait for the next frame
  }

  function draw(cells = true) {
    stale ||= cells;
    if (pending === 0) pending = requestAnimationFrame(paint);
  }

  function paint() {
    cancelAnimationFrame(pending);
    pending = 0;
    if (!image) return;
    if (stale) {
      const pixels = new Uint32Array(image.data.buffer);
      const { scale, x, y } = map.view;
      const view = { scale: scale * map.ratio, x: x * map.ratio, y: y * map.ratio };
      paintCells(pixels, image.width, image.height, { cells: map.cells, classes, matches: state.matches, tiles, view });
      lower.getContext("2d").putImageData(image, 0, 0);
      stale = false;
    }
    drawOverlay(upper.getContext("2d"), map);
  }

  /** Zoom by `factor` about the point (x, y) of the stage, never leaving the map. */
  function zoom(factor, x = map.width / 2, y = map.height / 2) {
    const { view } = map;
    const scale = clamp(view.scale * factor, 1, MAX_ZOOM);
    const change = scale / view.scale;
    move({ scale, x: x - (x - view.x) * change, y: y - (y - view.y) * change });
  }

  function move({ scale = map.view.scale, x, y }) {
    map.view = { scale, x: clamp(x, map.width * (1 - scale), 0), y: clamp(y, map.height * (1 - scale), 0) };
    upper.classList.toggle("zoomed", scale > 1);
    draw();
  }

  function reset() {
    move({ scale: 1, x: 0, y: 0 });
  }

  /** Show one band alone, or all for null. */
  function enter(band) {
    map.only = band;
    byId("map-layer").value = band ?? "";
    setHover(-1);
    layout();
  }

  function setArea(area) {
    map.area = area;
    document.querySelectorAll("[data-area]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.area === area)));
    byId("map-note").textContent = areaNote(area);
    layout();
  }

  /** The part under the point (x, y) of the stage, or -1. */
  function hit(x, y) {
    return map.cells ? partAt(map, (x - map.view.x) / map.view.scale, (y - map.view.y) / map.view.scale) : -1;
  }

  function setHover(part, x = 0, y = 0) {
    showTooltip(part, x, y, map);
    if (part === map.hover) return;
    map.hover = part;
    draw(false);
  }

  /** Bring a part into sight: leave a band that it is not in, and pan to it where the map is zoomed. */
  function reveal(part) {
    if (part < 0 || !map.cells) return;
    if (map.only !== null && parts.band[part] !== map.only) enter(null);
    const [x, y, w, height] = map.cells.subarray(4 * part, 4 * part + 4);
    const { scale, x: dx, y: dy } = map.view;
    const center = [(x + w / 2) * scale + dx, (y + height / 2) * scale + dy];
    if (center[0] < 0 || center[1] < 0 || center[0] > map.width || center[1] > map.height) {
      move({ x: dx + map.width / 2 - center[0], y: dy + map.height / 2 - center[1] });
    }
  }

  /** The part next to `part` in the direction (dx, dy), found by walking on from its edge; itself at the rim. */
  function neighbour(part, dx, dy) {
    const [x, y, w, height] = map.cells.subarray(4 * part, 4 * part + 4);
    for (let way = 0.5; way < 2 * (HEADER + BAND_GAP); way += 0.5) {
      for (const aside of [0, GROUP_GAP, -GROUP_GAP]) { // past a gap that the way would run along
        const ahead = [x + w / 2 + dx * (w / 2 + way) + dy * aside, y + height / 2 + dy * (height / 2 + way) + dx * aside];
        const found = partAt(map, ...ahead);
        if (found >= 0 && found !== part) return found;
      }
    }
    return part;
  }

  new ResizeObserver(() => {
    if (stage.clientWidth !== map.width || stage.clientHeight !== map.height) layout();
  }).observe(stage);
  state.addEventListener("filter", () => draw());
  state.addEventListener("select", () => {
    reveal(state.selected);
    showStatus();
    draw(false);
  });
  document.addEventListener("theme", () => {
    if (!image) return;
    tiles = makeTiles(map.ratio);
    stale = true;
    paint();
  });
  document.querySelectorAll("[data-area]").forEach((button) => button.addEventListener("click", () => setArea(button.dataset.area)));
  byId("zoom-in").addEventListener("click", () => zoom(1.6));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
  byId("zoom-reset").addEventListener("click", () => (map.only === null ? reset() : enter(null)));
  const bands = [...new Set(parts.band)];
  fill(byId("map-layer"), h("option", { value: "" }, "Whole model"), bands.map((band) => h("option", { value: band }, printable(band))));
  byId("map-layer").addEventListener("change", (event) => enter(event.target.value || null));
  followPointers(upper, { map, hit, zoom, move, setHover, enter });
  followKeys(upper, { map, zoom, reset, enter, neighbour });
  drawLegend(classes);
  setArea("parameters");
  showStatus();
}

/** What the areas mean, and what does not fit that meaning. */
function areaNote(area) {
  const small = "Groups too small to see are widened.";
  if (area === "parameters") return `Area: parameters. ${small}`;
  const without = parts.effect.reduce((sum, value) => sum + (Number.isNaN(value) ? 1 : 0), 0);
  if (without === parts.count) return "Area: parameters, because no effect has been measured.";
  return without === 0
    ? `Area: share of effect. ${small}`
    : `Area: share of effect. ${plural(without, "part")} without a measured effect stand in the strip at the end of each layer, by parameters. ${small}`;
}

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

/** What a part is, beside the pointer, inside the stage. */
function showTooltip(part, x, y, map) {
  const tooltip = byId("map-tooltip");
  tooltip.hidden = part < 0;
  if (part < 0) return;
  if (part !== map.hover) {
    fill(tooltip,
      h("strong", {}, printable(parts.address[part])),
      parts.name[part] ? h("span", { class: "name" }, printable(parts.name[part])) : null,
      h("span", {}, parts.form[part] !== parts.verdict[part] && badge("form", parts.form[part]), badge("verdict", parts.verdict[part])),
      h("span", { class: "hint" }, `residual ${printable(parts.residual[part])} · ${plural(parts.parameters[part], "parameter")} · effect ${share(parts.share[part])}`));
  }
  const { offsetWidth: width, offsetHeight: height } = tooltip;
  const left = x + 16 + width > map.width ? x - 12 - width : x + 16;
  const top = y + 16 + height > map.height ? y - 12 - height : y + 16;
  tooltip.style.transform = `translate(${clamp(left, 4, Math.max(4, map.width - width - 4))}px, ${Math.max(4, top)}px)`;
}

/** The selected part in words below the map, with a way to its details. */
function showStatus() {
  const part = state.selected;
  fill(byId("map-status"), part < 0
    ? h("span", { class: "hint" }, parts.count === 0 ? "This report has no parts." : "No part selected. Click a part, or use the arrow keys on the map.")
    : [h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[parts.verdict[part]] ?? "○"), " ", describe(part), " ",
       h("button", { type: "button", class: "button open", on: { click: () => select(part, { reveal: true }) } }, "Show details")]);
}

/** Mouse, pen and fingers: hover, click to select, drag to pan, wheel with Ctrl and two fingers to zoom. */
function followPointers(canvas, { map, hit, zoom, move, setHover, enter }) {
  const fingers = new Map();
  let travelled = 0;
  const local = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { size: Math.hypot(a[0] - b[0], a[1] - b[1]), x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2 };
  };
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, local(event));
    if (fingers.size === 1) travelled = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const to = local(event);
    const from = fingers.get(event.pointerId);
    if (!from) return setHover(hit(...to), ...to);
    const before = fingers.size === 2 ? spread() : null;
    fingers.set(event.pointerId, to);
    travelled += Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (before) {
      const after = spread();
      return zoom(after.size / Math.max(1, before.size), after.x, after.y);
    }
    if (travelled > 4) {
      setHover(-1);
      move({ x: map.view.x + to[0] - from[0], y: map.view.y + to[1] - from[1] });
    }
  });
  const lift = (event) => {
    const click = event.type === "pointerup" && fingers.size === 1 && travelled <= 4;
    fingers.delete(event.pointerId);
    if (!click) return;
    const part = hit(...local(event));
    if (part >= 0) select(part);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => setHover(-1));
  canvas.addEventListener("dblclick", (event) => {
    const part = hit(...local(event));
    if (part >= 0 && map.only === null) enter(parts.band[part]);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.01), ...local(event));
  }, { passive: false });
}

/** Arrow keys move between parts, Enter opens, + - 0 zoom, Escape leaves a band. */
function followKeys(canvas, { map, zoom, reset, enter, neighbour }) {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (parts.count === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) {
      const start = state.selected < 0 ? map.groups[0]?.parts[0] : neighbour(state.selected, ...steps[event.key]);
      if (start !== undefined) select(start);
    } else if (event.key === "Enter" && state.selected >= 0) select(state.selected, { reveal: true });
    else if (event.key === "+" || event.key === "=") zoom(1.6);
    else if (event.key === "-") zoom(1 / 1.6);
    else if (event.key === "0") reset();
    else if (event.key === "Escape" && map.only !== null) enter(null);
    else return;
    event.preventDefault();
  });
}

/** One button for each class of parts that occurs: its tile, its words, how many; it filters. */
function drawLegend(classes) {
  const counts = new Map();
  classes.forEach((one) => counts.set(one, (counts.get(one) ?? 0) + 1));
  const rank = (one) => -100 * Math.floor(one / VERDICTS.length) + (one % VERDICTS.length);
  const items = [...counts.keys()].sort((a, b) => rank(a) - rank(b)).map((one) => {
    const form = FORMS[Math.floor(one / VERDICTS.length)];
    const verdict = VERDICTS[one % VERDICTS.length];
    const swatch = h("canvas", { width: 32, height: 24, "aria-hidden": "true" });
    const words = form === verdict ? form : `${form}, ${verdict}`;
    const button = h("button", { type: "button", "aria-pressed": "false", "data-class": one }, swatch,
      h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[verdict]), words, h("span", { class: "n" }, count(counts.get(one))));
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") === "true";
      setFilter(on ? { form: "", verdict: "" } : { form, verdict });
    });
    return { button, swatch, one, form, verdict };
  });
  const paintSwatches = () => {
    const tiles = makeTiles(2);
    for (const { swatch, one } of items) {
      const context = swatch.getContext("2d");
      const image = context.createImageData(swatch.width, swatch.height);
      fillTile(new Uint32Array(image.data.buffer), swatch.width, [0, 0, swatch.width, swatch.height], tiles.bright[one], tiles.size);
      context.putImageData(image, 0, 0);
    }
  };
  state.addEventListener("filter", () => {
    for (const { button, form, verdict } of items) {
      button.setAttribute("aria-pressed", String(state.filter.form === form && state.filter.verdict === verdict));
    }
  });
  document.addEventListener("theme", paintSwatches);
  paintSwatches();
  fill(byId("legend"), items.map(({ button }) => button));
}
