// The panel of one part: what it does, its source, how good it is, and where it differs from the subject.

const STAGES = [
  { key: "isolated", label: "Isolated", help: "the source on the part's own recorded inputs" },
  { key: "swapped_in", label: "Swapped in", help: "this source alone in the whole model" },
  { key: "joint", label: "Joint", help: "together with all other sources, or with all other parts without residual" },
];

const FAINT = 0.05; // a token less responsible than this is not tinted

/** Build the panel; it follows the selection by itself. */
function createDetail() {
  const panel = byId("detail");
  const draw = () => fill(panel, state.selected < 0 ? emptyDetail() : partDetail(state.selected));
  state.addEventListener("select", (event) => {
    draw();
    if (!event.detail.reveal) return;
    panel.scrollIntoView({ block: "start" });
    panel.focus({ preventScroll: true });
  });
  draw();
}

function emptyDetail() {
  return h("p", { class: "hint detail-empty" }, "Select a part in the map or the list to see its source, its numbers and the contexts where it differs most.");
}

function partDetail(part) {
  const detail = report.details?.[parts.detail[part]] ?? null;
  return [
    detailHead(part, detail),
    h("div", { class: "detail-grid" },
      h("div", { class: "detail-main" }, detail ? sourceBlock(detail) : rawBlock(part)),
      h("div", { class: "detail-side" }, detailFacts(part, detail), measuredBlock(detail))),
    detail && contextsBlock(detail.contexts ?? []),
  ];
}

function detailHead(part, detail) {
  const address = parts.address[part];
  const shared = detail && detail.address !== address ? h("span", { class: "hint" }, ` shares the source of ${printable(detail.address)}`) : null;
  return h("header", { class: "detail-head" },
    h("div", {},
      h("h3", {}, h("code", {}, printable(address)), parts.name[part] ? h("span", { class: "name" }, printable(parts.name[part])) : null),
      h("p", { class: "badges" }, badge("form", parts.form[part]), badge("verdict", parts.verdict[part]),
        h("span", { class: "badge plain" }, `residual ${printable(parts.residual[part])}`), shared)),
    h("div", { class: "detail-actions" }, copyButton(address, "address", "Copy address"),
      copyButton(`${location.href.split("#")[0]}#${encodeURIComponent(address)}`, "link to this part", "Copy link")));
}

function detailFacts(part, detail) {
  return h("dl", { class: "facts compact" },
    fact("Parameters", count(parts.parameters[part])),
    fact(`Share of effect of ${parts.side[part]}`, share(parts.share[part])),
    fact("Effect", small(parts.effect[part])),
    fact("Numbers", count(detail?.numbers)),
    detail && fact("Name from", printable(detail.provenance || UNMEASURED)),
    detail?.file && fact("File", h("code", {}, `${printable(detail.file)}${measured(detail.line) ? `:${detail.line}` : ""}`)));
}

/** The source of a part behind the named values that it reads, directly or through others, in the order of the files. */
function wholeSource(detail) {
  const values = report.values ?? {}, found = readBy(detail.reads);
  return [...Object.keys(values).filter((name) => found.has(name)).map((name) => values[name].source), detail.source].join("\n\n\n");
}

function sourceBlock(detail) {
  const source = detail.source && wholeSource(detail);
  return [
    detail.about && h("p", { class: "description" }, printable(detail.about)),
    detail.description && h("p", { class: "description" }, printable(detail.description)),
    detail.note && h("p", { class: "note" }, h("strong", {}, "Note "), printable(detail.note)),
    source
      ? h("figure", { class: "source" }, h("figcaption", {}, h("span", {}, `program/${printable(detail.file ?? "")}`,
        detail.runs === false && ", which does not run in the full program"), copyButton(source, "source")), listing(source, detail.line || 1))
      : h("p", { class: "hint" }, "This part runs from the weights. It has no source yet."),
  ];
}

function rawBlock(part) {
  const raw = parts.form[part] === "raw";
  return [
    h("p", { class: "description" }, raw ? "This part runs from the weights. It has no source yet." : "This report holds no details of this part."),
    raw && listing(`raw(${JSON.stringify(parts.address[part])})`),
  ];
}

/** Isolated, swapped-in and joint numbers side by side. */
function measuredBlock(detail) {
  const results = detail?.measured ?? {};
  const keys = [...new Set(STAGES.flatMap(({ key }) => Object.keys(results[key] ?? {})))];
  const order = METRICS.map((one) => one.key);
  keys.sort((a, b) => (order.indexOf(a) + 1 || 99) - (order.indexOf(b) + 1 || 99));
  if (keys.length === 0) return h("p", { class: "hint measured-empty" }, "Unmeasured: no evidence about this part is stored.");
  return h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": "Measurements" }, h("table", { class: "measured" },
    h("caption", { class: "sr-only" }, "Measurements of this part"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Metric"), STAGES.map(({ label, help }) => h("th", { scope: "col", title: help }, label)))),
    h("tbody", {}, keys.map((key) => {
      const one = metricOf(key);
      return h("tr", {}, h("th", { scope: "row", title: one.help || null }, printable(one.label), h("span", { class: "unit" }, one.unit)),
        STAGES.map((stage) => stageCell(one, results[stage.key]?.[key])));
    }))));
}

function stageCell(one, estimate) {
  if (!measured(estimate?.value)) return h("td", { class: "missing", title: "unmeasured" }, UNMEASURED);
  return h("td", {}, h("span", { class: "value" }, one.format(estimate.value)),
    h("span", { class: "range" }, interval(estimate, one.format) ?? ""), measured(estimate.n) && h("span", { class: "n" }, `n ${count(estimate.n)}`),
    estimate.split && h("span", { class: "n" }, estimate.split === "heldout" ? "held-out" : printable(estimate.split)));
}

function contextsBlock(contexts) {
  if (contexts.length === 0) return null;
  return h("section", { class: "contexts" },
    h("h4", {}, contexts[0].strongest ? "Where it acts most" : "Where source and subject differ most"),
    h("p", { class: "hint" }, contexts[0].strongest
      ? "The stronger a token's tint, the more the part looks there; the position where it acts is framed."
      : "The stronger a token's tint, the more it is responsible for the difference; the position that was compared is framed."),
    h("ol", {}, contexts.map(contextItem)));
}

function contextItem(context) {
  return h("li", { class: "context" },
    h("p", { class: "context-head" },
      h("span", { class: "chip" }, printable(context.domain ?? "")),
      h("span", {}, "subject ", h("b", {}, small(context.raw))),
      h("span", {}, "source ", h("b", {}, small(context.source))),
      h("span", {}, "difference ", h("b", {}, small(context.difference)))),
    h("p", { class: "tokens" }, (context.tokens ?? []).map((token, index) => {
      const weight = clamp(measured(context.weights?.[index]) ? context.weights[index] : 0);
      const here = index === context.at;
      const title = `position ${index}${here ? ", compared here" : ""}, responsible ${weight.toFixed(2)}`;
      const style = { "--weight": weight < FAINT ? "0" : weight.toFixed(3) };
      return h(here ? "mark" : "span", { class: here ? "token here" : "token", title, style }, tokenText(token));
    })),
    context.note && h("p", { class: "hint" }, printable(context.note)));
}
