// The head: what was decompiled, on which text, and whether the result passed the gate.

function drawHead() {
  const subject = report.subject ?? {};
  const corpus = report.corpus ?? {};
  const path = printable(subject.name ?? "unnamed subject");
  const name = /^(\/|[A-Za-z]:\\)/.test(path) ? path.split(/[\/\\]/).filter(Boolean).pop() ?? path : path;
  document.title = `${name} · pellucid report`;
  fill(
    byId("head"),
    report.quick &&
      h("p", { class: "quick", role: "note" }, h("strong", {}, "Quick run"),
        ` Measured on ${quickAmount()}. The intervals are wide and the gate is not the real one: do not quote these numbers.`),
    h("div", { class: "head-title" },
      h("div", {},
        h("p", { class: "eyebrow" }, "Decompilation of"),
        h("h1", { title: path }, name),
        h("p", { class: "subtitle" }, subjectLine(subject))),
      gateBadge(report.gate, report.standing)),
    gateText(report.gate),
    h("dl", { class: "facts" },
      fact("Weights", hash(subject.weights_sha256, "hash of the weights")),
      fact("Tokenizer", hash(subject.tokenizer_sha256, "hash of the tokenizer")),
      fact("Corpus", printable(corpus.origin ?? UNMEASURED)),
      overlapFact(corpus.overlap),
      readingsFact(report.heldout),
      Object.entries(corpus.splits ?? {}).map(([split, text]) =>
        fact(splitName(split), count(text?.words), ` ${text?.unit ?? "words"} `, hash(text?.sha256, `hash of ${split}`))),
      fact("Numbers in sources", numbersText(report.numbers)),
      (report.hindered ?? []).map((said) => fact("Not done", printable(said))),
      fact("Created", printable(report.created ?? UNMEASURED), " with pellucid ", printable(report.pellucid ?? ""))),
  );
}

/** How much a quick run measured, beside what the gate asks for. */
function quickAmount() {
  const { n } = report.full?.overall?.wer_next ?? {}, wanted = report.gate?.limits?.contexts;
  if (!measured(n)) return "few contexts";
  return `${plural(n, "context")}${measured(wanted) ? ` where the gate asks for ${count(wanted)}` : ""}`;
}

function fact(term, ...text) {
  return h("div", {}, h("dt", {}, term), h("dd", {}, text));
}

/** How much of the held-out text also stands in the text that was fitted on; nothing where none does. */
function overlapFact(found) {
  if (!(found?.copied || found?.alike)) return null;
  return fact("Not new", `${count(found.copied)} of ${count(found.stretches)} stretches are in the fit text, ${count(found.alike)} nearly`);
}

function splitName(split) {
  return { fit: "Fit text", tune: "Tune text", check: "Check text", heldout: "Held-out text" }[split] ?? printable(split);
}

function subjectLine(subject) {
  const pieces = [
    measured(subject.parameters) && `${compact(subject.parameters)} parameters`,
    measured(subject.layers) && plural(subject.layers, "layer"),
    measured(subject.heads) && `${count(subject.heads)} heads and ${count(subject.neurons)} neurons each`,
    measured(subject.d_model) && `width ${count(subject.d_model)}`,
    measured(subject.vocab) && `${count(subject.vocab)} tokens`,
    measured(subject.context) && `context ${count(subject.context)}`,
  ];
  return pieces.filter(Boolean).join(" · ");
}

/** The first characters of a hash, all of it as title and to copy. */
function hash(text, what) {
  if (!text) return h("span", { title: "unmeasured" }, UNMEASURED);
  return h("span", { class: "hash" }, h("code", { title: printable(text) }, printable(text).slice(0, 12)), copyButton(text, what));
}

/** How often held-out text was read, and whether what runs without residual was chosen on it. */
function readingsFact(held) {
  if (!measured(held?.readings)) return null;
  const chosen = held.chosen_on === "heldout" ? "; what runs without residual was chosen on it" : "";
  return fact("Held-out text read", `${held.at_least ? "at least " : ""}${plural(held.readings, "time")}${chosen}`);
}

function numbersText(numbers) {
  if (!numbers || !measured(numbers.program)) return UNMEASURED;
  const budget = measured(numbers.budget) ? ` of ${count(numbers.budget)} allowed` : "";
  const whole = measured(numbers.whole) ? `; ${count(numbers.whole)} in the whole program` : "";
  return `${count(numbers.program)}${budget}${numbers.size ? ` (size ${printable(numbers.size)})` : ""}${whole}`;
}

function gateState(gate, standing) {
  if (standing?.said) { // never "passed" alone: what source-only is worth stands beside it
    const key = gate?.passed === true ? (standing.below ? "mixed" : "passed") : gate?.passed === false ? "failed" : "unmeasured";
    return { key, sign: { passed: "✓", mixed: "!", failed: "✕", unmeasured: "?" }[key], text: capital(printable(standing.said)) };
  }
  const alone = measured(gate?.limits?.wer_16) ? "" : " (next words alone)";
  if (gate?.passed === true) return { key: "passed", sign: "✓", text: `Gate passed${alone}` };
  if (gate?.passed === false) return { key: "failed", sign: "✕", text: `Gate failed${alone}` };
  return { key: "unmeasured", sign: "?", text: "Gate unmeasured" };
}

const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

function gateBadge(gate, standing) {
  const { key, sign, text } = gateState(gate, standing);
  return h("p", { class: "gate", "data-gate": key }, h("span", { "aria-hidden": "true" }, sign), text);
}

/** What the gate asks for, and which of its clauses fail. */
function gateText(gate) {
  const limits = gate?.limits ?? {};
  const clauses = [
    measured(limits.wer_next) && `WER of the next word at most ${limits.wer_next} % (upper 95 % bound)`,
    measured(limits.wer_16) && `of 16 words at most ${limits.wer_16} % (upper 95 % bound)`,
    measured(limits.domain) && `no domain above ${limits.domain} %`,
    measured(limits.contexts) && `over at least ${count(limits.contexts)} contexts`,
  ].filter(Boolean);
  const reasons = gate?.reasons ?? [];
  return h("div", { class: "gate-text" },
    reasons.length > 0 && h("ul", { class: "reasons" }, reasons.map((reason) => h("li", {}, printable(reason)))),
    clauses.length > 0 && h("p", { class: "hint" }, `The gate, for the full program: ${clauses.join(", ")}.`));
}
