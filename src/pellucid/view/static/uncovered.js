// What no account covers: the largest kinds of position, with examples and the parts that speak there.

const KINDS_AT_FIRST = 8;

function drawUncovered() {
  const found = accounts?.uncovered, target = byId("uncovered");
  byId("uncovered-title").hidden = !found;
  if (!found) return fill(target);
  const total = accounts.positions?.heldout, kinds = found.kinds ?? [];
  const list = h("ul", { class: "card kinds" }, kinds.map((kind, index) => h("li", { hidden: index >= KINDS_AT_FIRST }, kindEntry(kind, total))));
  const more = kinds.length > KINDS_AT_FIRST && h("button", { type: "button", class: "button" }, `Show ${count(kinds.length - KINDS_AT_FIRST)} more kinds`);
  more && more.addEventListener("click", () => {
    list.querySelectorAll(":scope > li[hidden]").forEach((item) => { item.hidden = false; });
    more.remove();
  });
  fill(target,
    h("p", { class: "lead" }, `At ${count(found.places)} of ${count(total)} positions (${share(found.places / total)}) no reliable rule speaks, at `,
      `${count(found.silent)} of them none at all. By what stands before, the largest kinds first; a kind has none of the places of a longer one. `,
      `“Right” is the program: a rule that is not reliable, or the back-off.`),
    kinds.length ? list : h("p", { class: "card empty" }, "No kind of position has enough places to be told."),
    h("p", { class: "kinds-foot" }, more, found.others > 0 && h("span", { class: "hint" }, `${plural(found.others, "position")} of other kinds, each rarer.`)));
}

function kindEntry(kind, total) {
  const body = h("div", { class: "kind-body" });
  const entry = h("details", { class: "kind" },
    h("summary", {},
      h("code", { class: "pattern" }, pattern(kind.behind)),
      h("span", { class: "kind-size" }, h("b", {}, count(kind.n)), ` · ${share(kind.n / total)}`),
      h("span", { class: "kind-right" }, "right ", h("b", {}, share(kind.right?.value))),
      h("span", { class: "kind-says" }, (kind.says ?? []).map(([text, n]) => h("span", { class: "chip" }, tokenText(text), h("span", { class: "times" }, count(n)))))),
    body);
  onFirstOpen(entry, () => fill(body, kindFacts(kind), (kind.examples ?? []).map(exampleEntry), partsEntry(kind.parts)));
  return entry;
}

/** Call `draw` once, when `details` is opened first. */
function onFirstOpen(details, draw) {
  details.addEventListener("toggle", () => draw(), { once: true });
}

function kindFacts(kind) {
  const hard = kind.hard === kind.n ? "all of them hard" : `${count(kind.hard)} of them hard`;
  return h("p", { class: "hint" }, `${plural(kind.n, "position")}, ${hard}; ${kind.silent ? `no rule speaks at ${count(kind.silent)}` : "a rule speaks at each, but none that is reliable"}.`);
}

function exampleEntry(one) {
  const same = one.model === one.said;
  return h("div", { class: "example" },
    h("p", { class: "before" }, printable(one.before ?? "")),
    h("dl", { class: "versus" },
      h("div", {}, h("dt", {}, "Model"), h("dd", {}, tokenText(one.model))),
      h("div", { class: same ? null : "other" }, h("dt", {}, one.rule ? `Rule ${printable(one.rule)}` : "Back-off"), h("dd", {}, tokenText(one.said)))));
}

/** The parts that make the model speak as it does at one example, each by what ablating it alone takes away. */
function partsEntry(found) {
  if (!found) return h("p", { class: "hint" }, "Which parts speak here was not looked for.");
  return h("div", { class: "responsible" },
    h("h4", {}, "Parts responsible, at one place"),
    h("p", { class: "before" }, printable(found.before ?? ""), h("mark", {}, tokenText(found.said)), h("span", { class: "hint" }, " rather than "), h("code", {}, tokenText(found.instead))),
    h("ul", {}, (found.causes ?? []).map((one) => h("li", {},
      partLink(one.part), ` at “${tokenText(one.token).trim()}”${one.back ? `, ${plural(one.back, "token")} back` : ""}: `,
      h("b", {}, `${one.effect < 0 ? "" : "+"}${small(one.effect)}`), " in the logits"))),
    h("p", { class: "hint" }, "What taking each away alone takes from the lead of what is said; what has a minus speaks against it."));
}

/** The address of a part, which selects it where it is one of the map's. */
function partLink(address) {
  const text = h("code", {}, printable(address));
  return parts.index.has(address) ? h("a", { href: `#${encodeURIComponent(address)}` }, text) : text;
}

/** A pattern of accounts with its slots marked; what a slot stands for is its title. */
function pattern(text) {
  return String(text ?? "").split(/(\{[^{}]+\})/).map((piece, index) => {
    const known = index % 2 ? ownEntry(behaviours?.classes, piece.slice(1, -1)) : null;
    const title = known && `${known.some.map(printable).join(", ")}${known.n > known.some.length ? `, … ${count(known.n)} in all` : ""}`;
    return index % 2 ? h("span", { class: "slot", title }, printable(piece)) : tokenText(piece);
  });
}

/** The entry of an object by a name that may be that of anything that every object has. */
function ownEntry(entries, name) {
  return entries && Object.hasOwn(entries, name) ? entries[name] : undefined;
}
