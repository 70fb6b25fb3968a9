// The accounts themselves, a file a behaviour: source, rules, variables with their ties, and tables line by line.

const NO_MATCH = "No behaviour has all of these words.";
const PHANTOM = "no"; // in the column `told`: the text never says so
const WITH = 9; // lines from which a table is closed at first

/** The list of behaviours; it follows the page's search. */
function createBehaviours() {
  const target = byId("behaviours");
  const files = behaviours?.files ?? [];
  byId("behaviours-title").hidden = byId("account-filters").hidden = files.length === 0;
  if (files.length === 0) return fill(target);
  const entries = files.map((file) => ({ file, node: null }));
  const list = h("ul", { class: "card behaviours" });
  const empty = h("p", { class: "card empty" }, NO_MATCH);
  const foot = behaviours.more > 0 && h("p", { class: "hint" }, `${plural(behaviours.more, "file")} more in program/accounts/.`);
  fill(target, list, empty, foot);
  const draw = () => {
    const fits = textTest(state.filter.query);
    const found = entries.filter(({ file }) => fits(behaviourText(file)));
    fill(list, found.map(({ file }) => h("li", {}, behaviourEntry(file, state.filter.query))));
    list.hidden = found.length === 0;
    empty.hidden = found.length > 0;
    state.behaviours = found.length;
    byId("account-count").textContent = found.length === files.length ? plural(files.length, "file") : `${count(found.length)} of ${plural(files.length, "file")}`;
  };
  state.addEventListener("filter", draw);
  draw();
}

const behaviourTexts = new Map(); // made when they are first searched

/** All that is said of a file, in small letters. */
function behaviourText(file) {
  if (!behaviourTexts.has(file)) {
    const variables = (file.variables ?? []).map((one) => `${one.name} ${one.says} ${one.tie} ${one.measured?.tie ?? ""}`);
    const tables = (file.tables ?? []).flatMap((name) => [name, ...(tableOf(name)?.lines ?? []).map((line) => line.slice(0, 2).join(" "))]);
    behaviourTexts.set(file, [file.file, file.about, file.source, ...variables, ...tables].join("\n").toLowerCase());
  }
  return behaviourTexts.get(file);
}

const tableOf = (name) => ownEntry(behaviours?.tables, name);

function behaviourEntry(file, query) {
  const body = h("div", { class: "behaviour-body" });
  const right = measured(file.places) && file.places > 0 ? file.right / file.places : null;
  const entry = h("details", { class: "behaviour" },
    h("summary", {},
      h("span", { class: "behaviour-name" }, h("code", {}, printable(file.file)), h("span", { class: "about" }, printable(file.about))),
      h("span", { class: "behaviour-places" }, h("b", {}, count(file.places)), " places"),
      h("span", { class: "behaviour-right" }, "right ", h("b", {}, share(right)))),
    body);
  onFirstOpen(entry, () => fill(body, behaviourBody(file, query)));
  return entry;
}

function behaviourBody(file, query) {
  return [
    h("div", { class: "detail-grid" },
      h("div", { class: "detail-main" }, accountSource(file)),
      h("div", { class: "detail-side" }, rulesTable(file), variablesList(file.variables ?? []))),
    (file.tables ?? []).map((name) => tableEntry(name, tableOf(name), query)),
  ];
}

function accountSource(file) {
  return h("figure", { class: "source" },
    h("figcaption", {}, h("span", {}, `program/accounts/${printable(file.file)}`), copyButton(file.source ?? "", "source")),
    listing(file.source ?? ""),
    file.more_source > 0 && h("p", { class: "hint more" }, `${plural(file.more_source, "line")} more in the file.`));
}

function rulesTable(file) {
  return h("div", { class: "scroll-x" }, h("table", { class: "rules" },
    h("caption", { class: "sr-only" }, "Rules, the most often asked first"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Rule"), h("th", { scope: "col" }, "Places"), h("th", { scope: "col" }, "Right"))),
    h("tbody", {}, (file.rules ?? []).map((rule) => h("tr", { class: rule.covers ? null : "doubtful" },
      h("th", { scope: "row" }, h("span", { class: "line-number" }, `:${rule.line}`), h("code", {}, printable(rule.text)),
        !rule.covers && h("span", { class: "hint" }, rule.share ? "not known to be reliable" : "not measured")),
      h("td", {}, count(rule.n)),
      h("td", {}, h("span", { class: "value" }, share(rule.share?.value)), h("span", { class: "range" }, interval(rule.share, share) ?? "")))))),
    file.more_rules > 0 && h("p", { class: "hint more" }, `${plural(file.more_rules, "rule")} more, asked less often.`));
}

function variablesList(variables) {
  return variables.length > 0 && h("dl", { class: "variables" }, variables.map((one) => h("div", {},
    h("dt", {}, h("code", {}, printable(one.name)), h("span", { class: "hint" }, printable(one.says))),
    h("dd", {}, tieText(one)))));
}

/** What carries a variable: as it was measured, or as its file says. */
function tieText(one) {
  const tie = one.measured;
  if (!tie) return one.tie ? [h("code", {}, printable(one.tie)), measured(one.moved) && `, moved ${share(one.moved)}`, " (as the file says)"] : h("span", { class: "hint" }, "tie not measured");
  if (!tie.tie) return h("span", { class: "hint" }, `no tie: ${printable(tie.why ?? "")}`);
  return [h("span", { class: `badge tie${one.holds ? " holds" : ""}` }, one.holds ? "tied" : "weak tie"), " ", h("code", {}, printable(tie.tie)),
    ` moves it in ${share(tie.agreement?.value)} of ${plural(tie.agreement?.n, "pair")}; best random set ${share(tie.random?.value)}`];
}

/** A table line by line; with a search, the lines that have all its words where any has. */
function tableEntry(name, table, query) {
  if (!table) return null;
  const fits = textTest(query), lines = table.lines.map((line, index) => ({ line, number: index + 2 }));
  const chosen = query ? lines.filter(({ line }) => fits(line.slice(0, 2).join(" ").toLowerCase())) : [];
  const shown = chosen.length > 0 ? chosen : lines;
  const told = table.columns.indexOf("told");
  const phantoms = told < 0 ? 0 : table.lines.filter((line) => line[told] === PHANTOM).length;
  const entry = h("details", { class: "table", open: chosen.length > 0 || lines.length < WITH },
    h("summary", {}, h("code", {}, `tables/${printable(name)}`),
      h("span", { class: "hint" }, plural(lines.length + table.more, "line"), phantoms > 0 && `, ${plural(phantoms, "phantom")}`, chosen.length > 0 && `; ${count(chosen.length)} found`),
      table.asks.length > 0 && h("span", { class: "hint asks" }, "asked ", table.asks.slice(0, 2).map((ask, index) => [index > 0 && ", ", h("q", {}, printable(ask))]), table.asks.length > 2 && `, … ${count(table.asks.length)} wordings`)));
  const body = h("div", { class: "scroll-x table-box", tabindex: 0, role: "region", "aria-label": `Lines of ${printable(name)}` });
  const draw = () => fill(body, linesTable(table, shown, told));
  if (entry.open) draw();
  else onFirstOpen(entry, draw);
  entry.append(body);
  if (table.more > 0) entry.append(h("p", { class: "hint more" }, `${plural(table.more, "line")} more in the file.`));
  return entry;
}

function linesTable(table, shown, told) {
  const columns = table.columns, width = columns.length;
  return h("table", { class: "lines" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "line"), columns.map((name) => h("th", { scope: "col" }, printable(name))),
      h("th", { scope: "col", title: "places of held-out text where it was looked up" }, "places"), h("th", { scope: "col" }, "right"))),
    h("tbody", {}, shown.map(({ line, number }) => {
      const phantom = told >= 0 && line[told] === PHANTOM;
      return h("tr", { class: phantom ? "phantom" : null },
        h("td", { class: "line-number" }, number),
        line.slice(0, width).map((cell, at) => h("td", { class: at < 2 ? "text" : null }, printable(cell), phantom && at === told && [" ", h("span", { class: "badge" }, "phantom")])),
        h("td", {}, count(line[width])), h("td", {}, line[width] > 0 ? share(line[width + 1] / line[width]) : UNMEASURED));
    })));
}
