// The legend of the map: what each colour and texture means, and a filter for it.

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
