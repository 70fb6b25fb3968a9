// The scoreboard (three numbers that never stand alone) and the table of fidelity.

const PROGRAMS = [
  { key: "full", label: "Full program", help: "sources and the residuals that are on" },
  { key: "source_only", label: "Source-only (code)", help: "QK and IN as understood, the rest raw" },
  { key: "source_only_all", label: "Source-only (all)", help: "every part as understood" },
  { key: "noise_floor", label: "Noise floor", help: "the subject in bfloat16", reference: true },
  { key: "trigram", label: "Trigram", help: "a table of the last two tokens", reference: true },
  { key: "bigram", label: "Bigram", help: "a table of the last token", reference: true },
];

function drawScoreboard() {
  const progress = report.progress ?? {};
  fill(byId("scoreboard"),
    residualFreeCard(progress.residual_free ?? {}, progress.effect_calibration),
    sourceOnlyCard(progress.source_only ?? report.source_only?.overall ?? {}),
    evidenceCard(progress.evidence ?? {}));
}

function scoreCard(title, meaning, ...content) {
  return h("section", { class: "score" }, h("h3", {}, title), h("p", { class: "hint" }, meaning), content);
}

function bigNumber(text, unit) {
  const missing = text === UNMEASURED;
  return h("p", { class: "big", title: missing ? "unmeasured" : null }, text, h("span", { class: "unit" }, missing ? "unmeasured" : unit));
}

function residualFreeCard(free, calibration) {
  const lifted = free.lifted ?? {};
  const source = free.source ?? {};
  return scoreCard(
    "Residual-free", "Replaced for good while the full program still passes the gate.",
    h("div", { class: "pair" },
      bigNumber(share(source.effect), "of effect is source"),
      bigNumber(share(lifted.effect), "of effect is lifted")),
    stackedBar("QK and IN, by effect", source.effect, lifted.effect),
    stackedBar("By parameters", source.parameters, lifted.parameters),
    stackedBar("OV and OUT, by effect", source.data_effect, lifted.data_effect),
    h("p", { class: "hint" },
      `Of all parameters: code ${share(free.code?.parameters)}, data ${share(free.data?.parameters)}. `,
      measured(calibration?.correlation)
        ? `The effect estimate agrees with ${count(calibration.n)} exact ablations at r = ${signed(calibration.correlation.toFixed(3))}.`
        : "The effect estimate is not calibrated."));
}

/** One bar: source (solid), lifted (striped), the rest. */
function stackedBar(label, source, lifted) {
  const width = (value) => `${100 * clamp(measured(value) ? value : 0)}%`;
  const known = measured(source) || measured(lifted);
  return h("div", { class: "bar-row" },
    h("span", { class: "bar-label" }, label),
    h("span", { class: "bar-track", role: "img", "aria-label": `${label}: source ${share(source)}, lifted ${share(lifted)}`, "data-known": known ? "yes" : "no" },
      h("span", { class: "bar-source", style: { width: width(source) } }),
      h("span", { class: "bar-lifted", style: { width: width(lifted) } })),
    h("span", { class: "bar-value" }, "source ", h("b", {}, share(source)), " lifted ", h("b", {}, share(lifted))));
}

function sourceOnlyCard(block) {
  const top1 = block.top1 ?? {};
  const range = interval(top1, percentage);
  return scoreCard(
    "Source-only fidelity", "What is understood, predicting by itself: all residuals of the code off at once.",
    h("div", { class: "pair" }, bigNumber(measured(top1.value) ? `${percentage(top1.value)}\u202f%` : UNMEASURED, "of top tokens agree"),
      bigNumber(small(block.kl?.value), "nats KL")),
    ladder(),
    h("p", { class: "hint" },
      range ? `Top-1 ${range}\u202f% (95\u202f% interval, ${count(top1.n)} positions). ` : "",
      `WER next word ${percentWord(block.wer_next)}, 16 words ${percentWord(block.wer_16)}, CE gap ${small(block.ce_gap?.value)}.`));
}

function percentWord(estimate) {
  return measured(estimate?.value) ? `${percentage(estimate.value)}\u202f%` : UNMEASURED;
}

/** Where source-only stands between what needs no understanding and the full program, by top-1. */
function ladder() {
  const steps = ["bigram", "trigram", "source_only", "full"]
    .map((key) => ({ key, program: PROGRAMS.find((one) => one.key === key), value: report[key]?.overall?.top1?.value }))
    .filter((step) => measured(step.value));
  return h("ul", { class: "ladder", "aria-label": "Top-1 agreement beside the references" },
    steps.map(({ key, program, value }) =>
      h("li", { "data-program": key },
        h("span", { class: "ladder-label" }, program.label),
        h("span", { class: "ladder-track", "aria-hidden": "true" }, h("span", { style: { width: `${clamp(value, 0, 100)}%` } })),
        h("span", { class: "ladder-value" }, `${percentage(value)}\u202f%`))));
}

function evidenceCard(evidence) {
  return scoreCard(
    "Evidence", "Heads and neurons, by effect, whose sentence passed its test on text it was not written from.",
    h("div", { class: "pair" }, bigNumber(share(evidence.share), "of effect has passed"),
      bigNumber(measured(evidence.mean_score) ? evidence.mean_score.toFixed(3) : UNMEASURED, "mean score, 0 to 1")),
    simpleBar("Passed", evidence.share),
    simpleBar("Score", evidence.mean_score),
    Object.entries(evidence.kinds ?? {}).map(([kind, found]) => simpleBar(printable(kind), found.share)),
    h("p", { class: "hint" }, measured(evidence.n) && evidence.n > 0
      ? `${plural(evidence.n, "description")} tested.`
      : "No description has been tested."));
}

function simpleBar(label, value) {
  return h("div", { class: "bar-row" },
    h("span", { class: "bar-label" }, label),
    h("span", { class: "bar-track", "aria-hidden": "true", "data-known": measured(value) ? "yes" : "no" },
      h("span", { class: "bar-source", style: { width: `${100 * clamp(measured(value) ? value : 0)}%` } })));
}

function drawFidelity() {
  const limits = report.gate?.limits ?? {};
  fill(byId("fidelity-table"),
    h("table", { class: "fidelity" },
      h("caption", { class: "sr-only" }, "Fidelity to the subject on held-out text"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Program"), METRICS.map(metricHead))),
      h("tbody", {}, PROGRAMS.map(({ key, label, help, reference }) =>
        h("tr", { class: reference ? "reference" : null, "data-program": key },
          h("th", { scope: "row" }, label, h("span", { class: "hint" }, help)),
          METRICS.map((one) => estimateCell(one, report[key]?.overall?.[one.key], key === "full" ? limits[one.key] : null)))))));
}

function metricHead(one) {
  return h("th", { scope: "col", title: one.help }, one.label, h("span", { class: "unit" }, one.unit));
}

/** A cell with estimate, strip, interval and number of samples; `limit` marks what the gate allows. */
function estimateCell(one, estimate, limit = null) {
  if (!measured(estimate?.value)) return h("td", { class: "missing", title: "unmeasured" }, UNMEASURED);
  const range = interval(estimate, one.format);
  return h("td", { title: `${one.help}${measured(limit) ? `; the gate allows ${limit}` : ""}` },
    h("span", { class: "value" }, one.format(estimate.value)),
    strip(one, estimate, limit),
    h("span", { class: "range" }, range ?? "no interval"),
    measured(estimate.n) && h("span", { class: "n" }, `n ${count(estimate.n)}`));
}

/** A small strip: the interval as a line, the estimate as a dot, the limit as a tick; right is better. */
function strip(one, estimate, limit) {
  const x = (value) => 4 + 88 * one.place(value);
  const low = measured(estimate.low) ? estimate.low : estimate.value;
  const high = measured(estimate.high) ? estimate.high : estimate.value;
  return svg("svg", { class: "strip", viewBox: "0 0 96 10", width: 96, height: 10, "aria-hidden": "true" },
    svg("line", { class: "strip-track", x1: 4, x2: 92, y1: 5, y2: 5 }),
    ...(measured(limit) ? [svg("line", { class: "strip-limit", x1: x(limit), x2: x(limit), y1: 0, y2: 10 })] : []),
    svg("line", { class: "strip-range", x1: x(low), x2: x(high), y1: 5, y2: 5 }),
    svg("circle", { class: "strip-dot", cx: x(estimate.value), cy: 5, r: 3 }));
}
