// The contexts in which the program strays furthest, and how to make this report again.

const LONGEST_BEFORE = 320; // characters of the text before that are shown

function drawWorst() {
  const worst = report.worst ?? [];
  const target = byId("worst-list");
  if (worst.length === 0) return fill(target, h("li", { class: "card empty" }, "Nowhere where it was measured does the program say another word."));
  fill(target, worst.map((one) => h("li", { class: "card" },
    h("p", { class: "context-head" }, h("span", { class: "chip" }, printable(one.domain ?? "")), h("span", {}, "KL ", h("b", {}, small(one.kl)), " nats"), one.times > 1 ? h("span", {}, `the worst of ${one.times} contexts`) : null),
    h("p", { class: "before" }, lastOf(printable(one.before ?? ""))),
    h("dl", { class: "versus" },
      h("div", {}, h("dt", {}, "Subject"), h("dd", {}, tokenText(one.subject))),
      h("div", { class: "other" }, h("dt", {}, "Program"), h("dd", {}, tokenText(one.program)))))));
}

function lastOf(text) {
  return text.length <= LONGEST_BEFORE ? text : `… ${text.slice(-LONGEST_BEFORE)}`;
}

function drawReproduce() {
  const command = report.command;
  fill(byId("reproduce"), command
    ? [h("div", { class: "command" }, h("code", {}, printable(command)), copyButton(command, "command")),
       h("p", { class: "hint" }, "With the same subject, corpus and version (the hashes at the top) it measures the same numbers.")]
    : h("p", { class: "hint" }, "The command was not recorded."));
}
