// Fidelity by domain: every metric for the full program and for source-only, tinted by the distance to the subject.

function drawDomains() {
  const blocks = [["full", "Full program"], ["source_only", "Source-only (code)"]];
  const domains = [...new Set(blocks.flatMap(([key]) => Object.keys(report[key]?.domains ?? {})))];
  const target = byId("domain-table");
  if (domains.length === 0) return fill(target, h("p", { class: "empty" }, "No domain has been measured."));
  const rows = [
    ...domains.sort((a, b) => distance(b) - distance(a)).map((name) => ({ label: printable(name), block: (key) => own(report[key]?.domains, name) })),
    { label: "All domains", kind: "overall", block: (key) => report[key]?.overall },
  ];
  fill(target, h("table", { class: "domains" },
    h("caption", { class: "sr-only" }, "Fidelity by domain, the furthest from the subject first"),
    h("thead", {},
      h("tr", {}, h("th", { rowspan: 2, scope: "col" }, "Domain"), blocks.map(([, label]) => h("th", { colspan: METRICS.length, scope: "colgroup", class: "group" }, label))),
      h("tr", {}, blocks.map(() => METRICS.map((one, index) => h("th", { scope: "col", title: one.help, class: index === 0 ? "first" : null }, one.label, h("span", { class: "unit" }, one.unit)))))),
    h("tbody", {}, rows.map(({ label, kind = null, block }) => h("tr", { class: kind },
      h("th", { scope: "row" }, label),
      blocks.map(([key]) => METRICS.map((one, index) => heatCell(one, block(key)?.[one.key], index === 0))))))));
}

/** How far source-only strays in a domain, for the order of the rows. */
function distance(domain) {
  return own(report.source_only?.domains, domain)?.kl?.value ?? -Infinity;
}

/** The entry of a domain, whose name may be that of anything that every object has, such as `constructor`. */
function own(blocks, domain) {
  return blocks && Object.hasOwn(blocks, domain) ? blocks[domain] : undefined;
}

function heatCell(one, estimate, first) {
  const edge = first ? " first" : "";
  if (!measured(estimate?.value)) return h("td", { class: `missing${edge}`, title: "unmeasured" }, UNMEASURED);
  const range = interval(estimate, one.format);
  return h("td", { class: `heat${edge}`, title: measured(estimate.n) ? `n ${count(estimate.n)}` : null, style: { "--heat": (1 - one.place(estimate.value)).toFixed(3) } },
    h("span", { class: "value" }, one.format(estimate.value)), range && h("span", { class: "range" }, range));
}
