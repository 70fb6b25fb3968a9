// The map of all parts: two canvases, cells below and labels, hover and selection above.

const MAX_ZOOM = 60;

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
