// The list of parts: only the rows in sight exist, so 75,000 parts scroll like 75.

const ROW_HEIGHT = 34;
const SPARE_ROWS = 6;

/**
 * `order` is what a part is sorted by; parts of which it is not known (undefined, NaN, no name) stand last in either
 * direction. Numbers begin with the largest.
 */
const COLUMNS = [
  { key: "address", label: "Address", cell: (part) => printable(parts.address[part]), order: (part) => part },
  { key: "name", label: "Name", cell: nameCell, order: (part) => parts.name[part] || undefined },
  { key: "form", label: "Form", cell: (part) => badge("form", parts.form[part]), order: (part) => FORMS.indexOf(parts.form[part]) },
  { key: "verdict", label: "Verdict", cell: (part) => badge("verdict", parts.verdict[part]), order: (part) => VERDICTS.indexOf(parts.verdict[part]) },
  { key: "residual", label: "Residual", cell: (part) => printable(parts.residual[part]), order: (part) => parts.residual[part] },
  { key: "parameters", label: "Parameters", number: true, cell: (part) => count(parts.parameters[part]), order: (part) => parts.parameters[part] },
  { key: "effect", label: "Effect", unit: "nats", help: "the rise in KL when the part is mean-ablated alone, nats per token", number: true, cell: (part) => small(parts.effect[part]), order: (part) => parts.effect[part] },
  { key: "numbers", label: "Numbers", number: true, cell: (part) => count(parts.numbers[part]), order: (part) => parts.numbers[part] },
];

/** The name of a part, or where what was searched for stands if that is not in its name. */
function nameCell(part) {
  const found = state.filter.query && foundIn(part);
  if (!found) return printable(parts.name[part] ?? "");
  const [before, word, after] = found.map(tokenText);
  return h("span", { class: "found", title: before + word + after }, before, h("mark", {}, word), after);
}

/** Build the list; it follows the filter and the selection by itself. */
function createList() {
  const list = { rows: state.rows, sort: "address", down: false };
  const body = h("div", { class: "list-body", role: "rowgroup" });
  const heads = COLUMNS.map((column) => {
    const button = h("button", { type: "button", "data-sort": column.key, title: column.help, on: { click: () => sortBy(column.key) } }, column.label,
      column.unit && h("span", { class: "unit" }, column.unit), h("span", { class: "arrow", "aria-hidden": "true" }));
    return h("div", { role: "columnheader", class: `col-${column.key}`, "aria-sort": "none" }, button);
  });
  const head = h("div", { class: "list-head", role: "row", "aria-rowindex": 1 }, heads);
  const empty = h("p", { class: "list-empty", hidden: true }, parts.count === 0 ? "This report has no parts." : "No part matches the filter.");
  const box = h("div", { class: "list-box", role: "grid", tabindex: 0, "aria-label": "Parts", "aria-colcount": COLUMNS.length },
    h("div", { role: "rowgroup", class: "list-head-group" }, head), body);
  fill(byId("list"), box, empty);
  byId("list").style.setProperty("--longest", parts.address.reduce((most, address) => Math.max(most, address.length), 7));

  function sortBy(key) {
    const largestFirst = Boolean(COLUMNS.find((one) => one.key === key).number);
    list.down = list.sort === key ? !list.down : largestFirst;
    list.sort = key;
    arrange();
    box.scrollTop = 0;
  }

  /** Take the rows of the filter in the chosen order. Parts that are equal keep the order of execution. */
  function arrange() {
    const column = COLUMNS.find((one) => one.key === list.sort);
    const keys = new Map(Array.from(state.rows, (part) => [part, column.order(part)]));
    const turn = list.down ? -1 : 1;
    const unknown = (key) => key === undefined || Number.isNaN(key);
    list.rows = column.key === "address" && !list.down ? state.rows : Uint32Array.from(state.rows).sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (unknown(x) || unknown(y)) return unknown(x) - unknown(y) || a - b;
      return x < y ? -turn : x > y ? turn : a - b;
    });
    heads.forEach((node, index) => {
      node.setAttribute("aria-sort", COLUMNS[index].key === list.sort ? (list.down ? "descending" : "ascending") : "none");
    });
    box.setAttribute("aria-rowcount", list.rows.length + 1);
    body.style.height = `${list.rows.length * ROW_HEIGHT}px`;
    empty.hidden = list.rows.length > 0;
    drawRows();
  }

  function drawRows() {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const last = Math.min(list.rows.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW_HEIGHT) + SPARE_ROWS);
    fill(body, Array.from({ length: Math.max(0, last - first) }, (_, i) => row(first + i)));
    const active = list.rows.indexOf(state.selected);
    if (active >= first && active < last) box.setAttribute("aria-activedescendant", `row-${active}`);
    else box.removeAttribute("aria-activedescendant");
  }

  function row(index) {
    const part = list.rows[index];
    return h("div", {
      role: "row", id: `row-${index}`, class: "list-row", "data-part": part, "aria-rowindex": index + 2,
      "aria-selected": String(part === state.selected), style: { top: `${index * ROW_HEIGHT}px` },
    }, COLUMNS.map((column) => {
      const content = column.cell(part);
      const title = typeof content === "string" ? (content === UNMEASURED ? "unmeasured" : content) : null;
      return h("div", { role: "gridcell", class: `col-${column.key}${column.number ? " number" : ""}`, title }, content);
    }));
  }

  /** Scroll so that the selected part is in sight, if the filter leaves it in the list. */
  function reveal() {
    const at = list.rows.indexOf(state.selected);
    if (at >= 0) {
      const top = at * ROW_HEIGHT;
      const room = box.clientHeight - ROW_HEIGHT; // the head covers one row
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + ROW_HEIGHT > box.scrollTop + room) box.scrollTop = top + ROW_HEIGHT - room;
    }
    drawRows();
  }

  box.addEventListener("scroll", drawRows, { passive: true });
  body.addEventListener("click", (event) => {
    const found = event.target.closest("[data-part]");
    if (found) select(Number(found.dataset.part));
  });
  box.addEventListener("keydown", (event) => {
    if (event.target !== box || list.rows.length === 0) return;
    const page = Math.max(1, Math.floor(box.clientHeight / ROW_HEIGHT) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const at = list.rows.indexOf(state.selected);
    if (event.key in steps) {
      const to = at < 0 ? 0 : clamp(at + steps[event.key], 0, list.rows.length - 1);
      select(list.rows[to]);
    } else if (event.key === "Enter" && state.selected >= 0) select(state.selected, { reveal: true });
    else return;
    event.preventDefault();
  });
  new ResizeObserver(drawRows).observe(box);
  state.addEventListener("filter", arrange);
  state.addEventListener("select", reveal);
  arrange();
}
