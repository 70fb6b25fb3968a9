// The data of the report, read once, and what all views share: the parts as typed columns, the filter, the selection.

/** What each end of an address is called on the map. */
const KIND_OF = new Map(Object.entries({
  QK: "QK", OV: "OV", IN: "IN", OUT: "OUT", LN1: "norms", LN2: "norms", LNF: "norms", "ATTN.B": "biases",
  "MLP.B": "biases", "EMB.TOK": "tokens", "EMB.POS": "positions", UNEMB: "unembedding",
}));

const report = JSON.parse(byId("data").textContent);
const parts = readParts(report.parts ?? {}, report.details ?? []);
const state = Object.assign(new EventTarget(), {
  selected: -1,
  filter: { query: "", form: "", verdict: "", residual: "" },
  matches: new Uint8Array(parts.count).fill(1),
  rows: Uint32Array.from({ length: parts.count }, (_, part) => part),
});

/**
 * The columns of all parts. `share` is a part's share of the effect of its side (QK and IN, or OV and OUT), NaN where
 * its effect was not measured.
 */
function readParts(columns, details) {
  const address = columns.address ?? [];
  const total = address.length;
  const effect = Float64Array.from(columns.effect ?? [], (value) => (measured(value) ? value : NaN));
  const side = address.map((text) => (/\.(OV|OUT)$/.test(text) ? "OV and OUT" : "QK and IN"));
  const sums = { "OV and OUT": 0, "QK and IN": 0 };
  effect.forEach((value, part) => (sums[side[part]] += value > 0 ? value : 0));
  const detail = Int32Array.from(columns.detail ?? []);
  const read = address.map(readAddress);
  return {
    count: total,
    address,
    form: columns.form ?? [],
    residual: columns.residual ?? [],
    verdict: columns.verdict ?? [],
    name: columns.name ?? [],
    parameters: Float64Array.from(columns.parameters ?? []),
    effect,
    side,
    share: effect.map((value, part) => (sums[side[part]] > 0 ? value / sums[side[part]] : NaN)),
    detail,
    numbers: Float64Array.from(detail, (index) => details[index]?.numbers ?? NaN),
    band: read.map((one) => one.band),
    kind: read.map((one) => one.kind),
    index: new Map(address.map((text, part) => [text, part])),
  };
}

/** Which band of the map an address lies in (embeddings, a layer, the end) and its kind there. */
function readAddress(address) {
  const found = /^(?:(L\d+)\.)?(?:[HN]\d+\.)?(.*)$/s.exec(address);
  const last = found[2];
  if (found[1]) return { band: found[1], kind: KIND_OF.get(last) ?? "other" };
  return { band: last.startsWith("EMB") ? "Embeddings" : "End", kind: KIND_OF.get(last) ?? "other" };
}

/** Change the filter and tell all views. */
function setFilter(change) {
  Object.assign(state.filter, change);
  const { form, verdict, residual } = state.filter;
  const fits = queryTest(state.filter.query);
  const rows = [];
  for (let part = 0; part < parts.count; part++) {
    const match =
      (form === "" || parts.form[part] === form) &&
      (verdict === "" || parts.verdict[part] === verdict) &&
      (residual === "" || parts.residual[part] === residual) &&
      fits(part);
    state.matches[part] = match ? 1 : 0;
    if (match) rows.push(part);
  }
  state.rows = Uint32Array.from(rows);
  state.dispatchEvent(new Event("filter"));
}

/** Select a part (-1 for none) and tell all views; `reveal` asks the detail panel to come into sight. */
function select(part, { reveal = false } = {}) {
  state.selected = part;
  const hash = part < 0 ? "#parts" : `#${encodeURIComponent(parts.address[part])}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
  state.dispatchEvent(new CustomEvent("select", { detail: { reveal } }));
  if (part >= 0) announce(`Selected ${describe(part)}`);
}

/** One line about a part. */
function describe(part) {
  const name = parts.name[part] ? ` ${printable(parts.name[part])}` : "";
  return `${printable(parts.address[part])}${name}: ${parts.form[part]}, ${parts.verdict[part]}`;
}

/** The signs of the verdicts, so that colour is never the only cue. */
const SIGNS = { raw: "□", exact: "●", within: "◐", over: "▲", stale: "◇", unmeasured: "○" };

/** A badge with the form or verdict of a part. */
function badge(kind, value) {
  const known = Object.hasOwn(SIGNS, value) ? value : "unmeasured";
  return kind === "verdict"
    ? h("span", { class: "badge", "data-verdict": known }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[known]), printable(value))
    : h("span", { class: "badge plain", "data-form": value }, printable(value));
}
