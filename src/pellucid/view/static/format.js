// Numbers and words as they are printed.

const UNMEASURED = "–";

/**
 * The metrics of fidelity. `place` maps a value to 0 (bad) … 1 (as the subject) for strips and tints; what spans
 * orders of magnitude is placed by its inverse hyperbolic sine, which is linear near 0 and logarithmic beyond `knee`.
 */
const METRICS = [
  metric("wer_next", "WER next word", "%", "word error rate of the next word", falling(0.1, 100), percentage),
  metric("wer_16", "WER 16 words", "%", "word error rate of a 16-word continuation", falling(0.1, 100), percentage),
  metric("top1", "Top-1", "%", "positions with the same most likely token", (value) => clamp(value / 100), percentage),
  metric("kl", "KL", "nats", "mean divergence, nats per token", falling(1e-5, 10), small),
  metric("ce_gap", "CE gap", "nats", "how much worse the text is predicted, nats per token", falling(1e-4, 10), small),
];

function metric(key, label, unit, help, place, format) {
  return { key, label, unit, help, place, format };
}

function falling(knee, most) {
  return (value) => 1 - clamp(Math.asinh(Math.max(0, value) / knee) / Math.asinh(most / knee));
}

/** The description of a metric, also of one that this page does not know. */
function metricOf(key) {
  return METRICS.find((known) => known.key === key) ?? metric(key, key.replaceAll("_", " "), "", "", null, small);
}

function clamp(value, low = 0, high = 1) {
  return Math.min(high, Math.max(low, value));
}

/** Whether `value` is a measured number. */
function measured(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** A value that is already in percent, without the sign. */
function percentage(value) {
  return measured(value) ? signed(value.toFixed(2)) : UNMEASURED;
}

/** A share of 0 … 1 in percent, with the sign. Small shares keep two significant digits. */
function share(value) {
  if (!measured(value)) return UNMEASURED;
  const percent = 100 * value;
  const size = Math.abs(percent);
  if (size !== 0 && size < 0.001) return "<\u20090.001\u202f%";
  const digits = size === 0 || size >= 10 ? 1 : size >= 0.1 ? 2 : 3;
  return `${signed(percent.toFixed(digits))}\u202f%`;
}

/** A number of any size to three significant digits: 0.0123, 4.56 × 10⁻⁵. */
function small(value) {
  if (!measured(value)) return UNMEASURED;
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1e6 || size < 5e-4) {
    const [mantissa, exponent] = value.toExponential(1).split("e");
    return `${signed(mantissa)}·10${superscript(Number(exponent))}`;
  }
  return signed(size >= 100 ? value.toFixed(1) : size >= 0.1 ? value.toFixed(3) : value.toFixed(size >= 0.01 ? 4 : 5));
}

function superscript(number) {
  return String(number).replace(/[-\d]/g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]));
}

/** A count with groups of three digits. */
function count(value) {
  return measured(value) ? value.toLocaleString("en-US") : UNMEASURED;
}

/** A large count in three digits: 38.6 M. */
function compact(value) {
  if (!measured(value)) return UNMEASURED;
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= size) {
      const scaled = value / (letter === "k" ? 1e3 : size);
      return `${scaled.toFixed(scaled >= 100 ? 0 : 1)}\u202f${letter}`;
    }
  }
  return count(value);
}

function signed(text) {
  return text.replace("-", "−");
}

/** "low – high" of an estimate, null where there is no interval. */
function interval(estimate, format) {
  return estimate && measured(estimate.low) && measured(estimate.high)
    ? `${format(estimate.low)} – ${format(estimate.high)}`
    : null;
}

/** Text with what cannot be seen made visible: control characters, and those that reorder or hide text. */
function printable(text) {
  return String(text ?? "").replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A token as it is shown: as `printable`, with line ends and tabs as signs. */
function tokenText(text) {
  return printable(String(text ?? "").replaceAll("\r\n", "⏎").replaceAll("\n", "⏎").replaceAll("\t", "⇥"));
}

/** "1 part", "2 parts". */
function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
