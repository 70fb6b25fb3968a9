// The meter of accounts: what they cover, how often they are right, and what stands behind them.

const accounts = report.accounts ?? null; // what was measured of them
const behaviours = report.behaviours ?? null; // what they say

function drawMeter() {
  const target = byId("meter");
  if (!accounts) {
    return fill(target, h("p", { class: "card empty" }, behaviours
      ? ["These accounts were not measured as they stand; ", command("pellucid accounts DIR --measure"), " does that."]
      : ["There are none; ", command("pellucid accounts DIR"), " looks for them."]));
  }
  fill(target, h("div", { class: "scoreboard" }, coveredCard(), programCard(), behindCard()));
}

function coveredCard() {
  const [all, hard] = [accounts.all ?? {}, accounts.hard ?? {}];
  return scoreCard(
    "Covered", "Positions where a rule speaks that is known to be right 95\u202f% of the time or more.",
    h("div", { class: "pair" }, bigNumber(share(all.covered?.value), "of all positions"), bigNumber(share(hard.covered?.value), "of hard ones")),
    shareBar("All positions", all.covered),
    shareBar("Hard positions", hard.covered),
    h("p", { class: "hint" }, "Right there: ", h("b", {}, share(all.precision?.value)), within(all.precision),
      ", at hard positions ", h("b", {}, share(hard.precision?.value)), within(hard.precision), "."));
}

function programCard() {
  const [all, hard] = [accounts.all ?? {}, accounts.hard ?? {}];
  return scoreCard(
    "Top-1 as a program", "What any rule says, and elsewhere a plain back-off, beside what the model says.",
    h("div", { class: "pair" }, bigNumber(share(all.top1?.value), "of all positions"), bigNumber(share(hard.top1?.value), "of hard ones")),
    shareBar("All positions", all.top1),
    shareBar("… the back-off alone", all.back_off),
    shareBar("Hard positions", hard.top1),
    shareBar("… the back-off alone", hard.back_off),
    accounts.back_off && h("p", { class: "hint" }, `The back-off is ${printable(accounts.back_off)}.`));
}

function behindCard() {
  const { tables, ties, positions } = accounts;
  return scoreCard(
    "What they consist of", "Held-out text, read after everything was chosen.",
    h("dl", { class: "facts compact" },
      fact("Files, rules", `${count(accounts.files?.length)}, ${count(accounts.rules?.length)}`),
      fact("Symbols", count(accounts.symbols)),
      fact("Positions read", count(positions?.heldout)),
      fact("Hard positions", count(positions?.hard)),
      fact("Lines of tables", count(tables?.lines)),
      fact("Asked of the model", count(tables?.flagged)),
      fact("Phantoms", tables?.flagged ? `${share(tables.phantoms?.value)} of these` : UNMEASURED),
      fact("Ties that hold", ties?.measured ? `${count(ties.hold)} of ${count(ties.measured)} tested` : UNMEASURED)),
    h("p", { class: "hint" }, "A phantom is a line that the model answers although the text never says so. A tie holds if moving it moves the ",
      "variable in 95\u202f% of pairs, 20 points above any random set.",
      ties && !ties.measured && [` None of ${plural(ties.variables, "variable")} was tested; `, command("pellucid accounts DIR --ties"), " does that."]));
}

function command(text) {
  return h("code", { class: "command-name" }, text);
}

function within(estimate) {
  const range = interval(estimate, share);
  return range ? ` (${range})` : "";
}

/** A bar for a share of 0 to 1, with its value. */
function shareBar(label, estimate) {
  const { value } = estimate ?? {};
  return h("div", { class: "bar-row", title: within(estimate).trim() || null },
    h("span", { class: "bar-label" }, label),
    h("span", { class: "bar-value" }, h("b", {}, share(value))),
    h("span", { class: "bar-track", "aria-hidden": "true", "data-known": measured(value) ? "yes" : "no" },
      h("span", { class: "bar-source", style: { width: `${100 * clamp(measured(value) ? value : 0)}%` } })));
}
