// Search: words that must all be found in a part, in its address and name or in anything that its panel shows.

/** What of a detail is no text to search: where it lies, numbers, and what is searched as values. */
const NOT_SEARCHED = new Set(["address", "file", "provenance", "reads", "measured", "split", "weights"]);
const AROUND = 28; // characters beside what was found that the list shows
const NARROW = matchMedia("(max-width: 760px)"); // there it shows what follows alone

/**
 * The words of a query: what is quoted is one word, blanks included. `*` stands for any characters, and what looks like
 * an address is searched in addresses and names alone, since sources name other parts.
 */
function queryWords(query) {
  return [...query.toLowerCase().matchAll(/"([^"]+)"?|[^\s"]+/g)].map(([whole, quoted]) => {
    const word = quoted ?? whole;
    const named = quoted === undefined && (word.includes("*") || /^(l\d+(\.|$)|emb\.|lnf$|unemb$)/.test(word));
    return { word, named, fits: wordTest(word) };
  });
}

function wordTest(word) {
  if (!word.includes("*")) return (text) => text.includes(word);
  const pieces = word.split("*").map((piece) => piece.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(pieces.join(".*"));
  return (text) => pattern.test(text);
}

/** A test of a part against all words of `query`. */
function queryTest(query) {
  const words = queryWords(query);
  const found = words.map(({ word, named }) => (named ? null : valuesWith(word)));
  return (part) => words.every(({ fits, named, word }, index) =>
    inName(part, fits) || (!named && (searchedText(part).includes(word) || valuesRead(part).some((name) => found[index].has(name)))));
}

/** A test of a text in small letters against all words of `query`. */
function textTest(query) {
  const words = queryWords(query);
  return (text) => words.every(({ fits }) => fits(text));
}

function inName(part, fits) {
  return fits(parts.address[part].toLowerCase()) || fits((parts.name[part] ?? "").toLowerCase());
}

/** The named values whose source has `word` in it. */
function valuesWith(word) {
  return new Set(Object.entries(report.values ?? {}).filter(([, value]) => String(value.source ?? "").toLowerCase().includes(word)).map(([name]) => name));
}

const texts = new Map(); // of details by number, made when they are first searched
const read = new Map();

/** All that the panel of a part says, in small letters; empty for a part without details. */
function searchedText(part) {
  const at = parts.detail[part];
  if (!report.details?.[at]) return "";
  if (!texts.has(at)) texts.set(at, shownText(report.details[at]).toLowerCase());
  return texts.get(at);
}

/** The texts in `value`, one a line; tokens follow each other as they do in text. */
function shownText(value) {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(shownText).join(value.every((one) => typeof one === "string") ? "" : "\n");
  if (value === null || typeof value !== "object") return "";
  return Object.entries(value).filter(([key]) => !NOT_SEARCHED.has(key)).map(([, inner]) => shownText(inner)).filter(Boolean).join("\n");
}

/** The named values that a part reads, directly or through others. */
function valuesRead(part) {
  const at = parts.detail[part];
  if (!read.has(at)) read.set(at, report.details?.[at] ? [...readBy(report.details[at].reads)] : []);
  return read.get(at);
}

/** `names` of values and those that they read in turn. */
function readBy(names) {
  const values = report.values ?? {}, found = new Set(), left = [...(names ?? [])];
  while (left.length) {
    const name = left.pop();
    if (found.has(name) || !Object.hasOwn(values, name)) continue;
    found.add(name);
    left.push(...(values[name].reads ?? []));
  }
  return found;
}

/** Where the first word that is in no name stands in what the panel of `part` says: [before, found, after], or null. */
function foundIn(part) {
  const { word } = queryWords(state.filter.query).find(({ named, fits }) => !named && !inName(part, fits)) ?? {};
  if (word === undefined) return null;
  const detail = report.details?.[parts.detail[part]];
  if (!detail) return null;
  const own = [shownText(detail), ...valuesRead(part).map((name) => String(report.values[name].source ?? ""))];
  const text = own.find((one) => one.toLowerCase().includes(word)) ?? "";
  const at = text.toLowerCase().indexOf(word), end = at + word.length;
  if (at < 0) return null;
  const line = [text.lastIndexOf("\n", at - 1) + 1, (text.indexOf("\n", end) + 1 || text.length + 1) - 1];
  const from = Math.max(line[0], at - (NARROW.matches ? 0 : AROUND)), to = Math.min(line[1], end + AROUND);
  return [`${from > line[0] && from < at ? "…" : ""}${text.slice(from, at)}`, text.slice(at, end), `${text.slice(end, to)}${to < line[1] ? "…" : ""}`];
}
