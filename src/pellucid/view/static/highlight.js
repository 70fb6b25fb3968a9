// Just enough Python to colour a listing: one expression that finds comments, strings, numbers and words.

const PYTHON = new RegExp([
  /(?<comment>#[^\n]*)/,
  /(?<string>(?:\b[rbfu]{1,2})?(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))/,
  /(?<decorator>@[\w.]+)/,
  /(?<number>\b\d[\d_]*(?:\.\d*)?(?:e[-+]?\d+)?\b|\.\d+(?:e[-+]?\d+)?\b)/,
  /(?<word>\b[A-Za-z_]\w*\b)/,
].map((piece) => piece.source).join("|"), "gi");

const KEYWORDS = new Set(("and as assert async await break class continue def del elif else except finally for from global " +
  "if import in is lambda nonlocal not or pass raise return try while with yield None True False match case").split(" "));

/** The pieces of Python `text` as [class or null, text]; together they are the text. */
function pythonPieces(text) {
  const pieces = [];
  let at = 0;
  let before = "";
  for (const found of text.matchAll(PYTHON)) {
    if (found.index > at) pieces.push([null, text.slice(at, found.index)]);
    let kind = Object.keys(found.groups).find((name) => found.groups[name] !== undefined);
    if (kind === "word") kind = KEYWORDS.has(found[0]) ? "keyword" : before === "def" || before === "class" ? "definition" : null;
    pieces.push([kind, found[0]]);
    before = found[0];
    at = found.index + found[0].length;
  }
  if (at < text.length) pieces.push([null, text.slice(at)]);
  return pieces;
}

/** A listing with line numbers from `first` on. Every line is a list item, so numbers are not copied with the text. */
function listing(text, first = 1) {
  const lines = [[]];
  for (const [kind, piece] of pythonPieces(text.replace(/\r\n?/g, "\n").replace(/\n+$/, ""))) {
    piece.split("\n").forEach((line, index) => {
      if (index > 0) lines.push([]);
      if (line !== "") lines.at(-1).push(kind ? h("span", { class: `py-${kind}` }, printable(line)) : printable(line));
    });
  }
  const list = h("ol", { class: "listing", start: first, style: { "--first": String(first - 1) } },
    lines.map((line) => h("li", {}, h("code", {}, line.length > 0 ? line : "\u200b"))));
  return h("div", { class: "listing-box scroll-x", tabindex: 0, role: "region", "aria-label": "Source" }, list);
}
