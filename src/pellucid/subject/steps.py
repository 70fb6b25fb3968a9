"""What a tokenizer.json does to text before it merges, as steps that a program runs: see `program/cutting.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pellucid.subject.patterns import PatternError, literal, one_of, translated

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
BEHAVIOURS = {
    "Isolated": "isolated",
    "Removed": "removed",
    "Contiguous": "contiguous",
    "MergedWithPrevious": "merged_with_previous",
    "MergedWithNext": "merged_with_next",
}
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What byte-level pre-tokenizers cut by, as Radford et al. (2019) do."""
_MOST = 32
"""The most steps that are read."""


class StepError(ValueError):
    """A step that no program can take; the message names it."""


@dataclass(frozen=True)
class Steps:
    """What is done to text: `changes`, then `cuts`; `classes` are what their patterns name (`patterns.ranges_of`).

    `blank` stands for a space in tokens; where it is `taken`, one space at the front of a text is no part of it.
    `bytewise`: what is merged is UTF-8 bytes in printable characters, else characters; a `fallback` writes a character
    that is no token as its bytes, `<0xE2>`. `whole`: a stretch that is a token is not merged. `unknown` is the token
    for what is none, one for several in a row where they are `fused`; None: such characters are left out.
    """

    changes: tuple[tuple[Any, ...], ...] = ()
    cuts: tuple[tuple[Any, ...], ...] = ()
    classes: tuple[str, ...] = ()
    blank: str = ""
    taken: bool = False
    bytewise: bool = True
    fallback: bool = False
    whole: bool = False
    unknown: str | None = None
    fused: bool = False


@dataclass
class _Reader:
    """Collects the classes of all patterns."""

    classes: list[str] = field(default_factory=list)

    def pattern(self, given: Any) -> list[str | int]:
        """The parts of a pattern, `{"String": …}` or `{"Regex": …}`."""
        text = given.get("Regex", given.get("String")) if isinstance(given, dict) else None
        if not isinstance(text, str) or not text:
            raise StepError(f"pattern {given!r:.80}")
        try:
            return translated(text, self.classes) if "Regex" in given else literal(text)
        except PatternError as error:
            raise StepError(f"pattern {text!r:.80}: {error}") from error

    def changes(self, step: Any) -> Iterator[tuple[Any, ...]]:
        """The steps of a normalizer."""
        kind = _kind(step, "normalizer")
        if kind == "Sequence":
            for inner in _inner(step, "normalizers"):
                yield from self.changes(inner)
        elif kind == "Prepend" and isinstance(step.get("prepend"), str):
            yield "prepend", step["prepend"]
        elif kind == "Replace" and isinstance(step.get("content"), str):
            yield "swap", self.pattern(step.get("pattern")), step["content"]
        elif kind in FORMS:
            yield "form", kind
        else:
            raise StepError(f"normalizer {step!r:.120}")

    def cuts(self, step: Any) -> Iterator[tuple[Any, ...]]:
        """The steps of a pre-tokenizer."""
        kind = _kind(step, "pre_tokenizer")
        if kind == "Sequence":
            for inner in _inner(step, "pretokenizers"):
                yield from self.cuts(inner)
        elif kind == "Split" and step.get("behavior") in BEHAVIOURS:
            pattern = self.pattern(step.get("pattern"))
            yield "split", pattern, BEHAVIOURS[step["behavior"]], bool(step.get("invert"))
        elif kind == "Digits":
            behaviour = "isolated" if step.get("individual_digits") else "contiguous"
            yield "split", one_of(kind, self.classes), behaviour, False
        elif kind == "Punctuation" and step.get("behavior", "Isolated") in BEHAVIOURS:
            yield "split", one_of(kind, self.classes), BEHAVIOURS[step.get("behavior", "Isolated")], False
        elif kind == "ByteLevel":
            yield from self._bytes(step)
        elif kind == "Metaspace":
            yield from self._blanks(step)
        else:
            raise StepError(f"pre_tokenizer {step!r:.120}")

    def _bytes(self, step: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        if step.get("add_prefix_space", True):
            yield "begin", " ", True
        if step.get("use_regex", True):
            yield "split", self.pattern({"Regex": WORDS}), "isolated", False
        yield ("bytes",)

    def _blanks(self, step: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        blank, scheme = step.get("replacement", "▁"), step.get("prepend_scheme", "always")
        if not isinstance(blank, str) or len(blank) != 1 or scheme not in ("always", "first", "never"):
            raise StepError(f"pre_tokenizer {step!r:.120}")
        yield "swap", self.pattern({"String": " "}), blank
        if scheme != "never":
            yield "begin", blank, scheme == "always"
        if step.get("split", True):
            yield "split", self.pattern({"String": blank}), "merged_with_next", False


def steps_of(fields: Mapping[str, Any]) -> Steps:
    """What the tokenizer of `fields`, a tokenizer.json, does. Raises `StepError` naming what no program can do."""
    read, model, pre = _Reader(), fields["model"], fields.get("pre_tokenizer")
    changes = tuple(read.changes(fields["normalizer"])) if fields.get("normalizer") else ()
    cuts = tuple(read.cuts(pre)) if pre else ()
    if len(changes) + len(cuts) > _MOST:
        raise StepError(f"{len(changes) + len(cuts)} steps, at most {_MOST}")
    unknown, decoder = model.get("unk_token"), fields.get("decoder")
    if ("bytes",) not in cuts and isinstance(decoder, dict) and decoder.get("type") == "ByteLevel":
        raise StepError(f"pre_tokenizer {pre!r:.120} with the decoder ByteLevel")
    blank, taken = _blank_of(decoder)
    return Steps(
        changes,
        cuts,
        tuple(read.classes),
        blank,
        taken,
        bytewise=("bytes",) in cuts,
        fallback=bool(model.get("byte_fallback")),
        whole=bool(model.get("ignore_merges")),
        unknown=unknown if isinstance(unknown, str) else None,
        fused=bool(model.get("fuse_unk")),
    )


def _blank_of(decoder: Any) -> tuple[str, bool]:
    """What stands for a space in tokens, and whether one is taken from the front of a text, as a decoder says.

    Raises `StepError` for a decoder that does more than that.
    """
    kind = _kind(decoder or {"type": "Fuse"}, "decoder")
    if kind in ("ByteLevel", "ByteFallback", "Fuse"):
        return "", False
    if kind == "Sequence":
        found = [_blank_of(inner) for inner in _inner(decoder, "decoders")]
        return next((blank for blank, _ in found if blank), ""), any(taken for _, taken in found)
    if kind == "Metaspace":
        return str(decoder.get("replacement", "▁")), decoder.get("prepend_scheme", "always") != "never"
    if kind == "Replace" and decoder.get("content") == " " and isinstance(decoder.get("pattern"), dict):
        return str(decoder["pattern"].get("String", "")), False
    if kind == "Strip" and (decoder.get("content"), decoder.get("start"), decoder.get("stop")) == (" ", 1, 0):
        return "", True
    raise StepError(f"decoder {decoder!r:.120}")


def _kind(step: Any, what: str) -> str:
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise StepError(f"{what} {step!r:.120}")
    return str(step["type"])


def _inner(step: Mapping[str, Any], key: str) -> list[Any]:
    found = step.get(key)
    if not isinstance(found, list) or len(found) > _MOST:
        raise StepError(f"{step.get('type')} {found!r:.120}")
    return found
