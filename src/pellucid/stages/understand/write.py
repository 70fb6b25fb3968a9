"""Printing a student: `words.py`, the named values of every layer, a function for every head, a line for every neuron.

It prints students as `printed` (see `trim.py`) leaves them, which is what is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.base.address import Address
from pellucid.forms.form import TokenText
from pellucid.forms.forms import WIDTH, docstring, rounded
from pellucid.listing.pages import linear
from pellucid.stages.understand.spread import Spread
from pellucid.stages.understand.student import RAMPS, SHIFTS, Student, bends, reach
from pellucid.stages.words_page import unique, word, words_page

GOES_WITH = 0.3
"""A value is named after the kind, here or seen, that it goes with most over text, where they correlate this much."""
SHOWN = 3
"""Terms that a description names."""
_NAME = 40
"""The most letters of a value's name behind its layer."""
_BREAK = "\0"
"""Where a line may end within a summand."""
_PLACES = ("token", "previous", "before(2)")
_WHERE = ("on", "after", "two after")
_FOLLOWS = ("", "what follows ", "what comes two after ")


@dataclass(frozen=True)
class Printed:
    """The texts of a student: of `words.py`, of the values of each layer by name, and a statement for each address."""

    words: str
    values: tuple[dict[str, str], ...]
    statements: dict[Address, str]
    names: dict[Address, tuple[str, str]]
    """The name and the one sentence of every address, from its own rule."""


def write_up(student: Student, token_text: TokenText, found: Spread | None = None) -> Printed:
    """The texts of a `printed` student; what it sums is named by how much it does, given how much it varies."""
    found = found or Spread.even(student)
    kinds = kind_names(student, token_text)
    late: list[list[str]] = []
    values, statements, names = [], {}, {}
    for layer in range(student.model.decoder.layers):
        writer = _LayerWriter(student, layer, kinds, tuple(late), found)
        values.append(writer.values())
        late.append(writer.late_names)
        for address, (name, sentence, text) in (*writer.heads(), *writer.neurons()):
            statements[address], names[address] = text, (name, sentence)
    return Printed(kinds_page(student, kinds, token_text), tuple(values), statements, names)


# --- kinds ------------------------------------------------------------------------------------------------------------


def kind_names(student: Student, token_text: TokenText) -> list[str]:
    """A name for every kind, from the tokens that are most of it; the embedding's first kinds come first."""
    table = student.kinds()[:-1]
    found: list[str] = []
    for kind in range(table.shape[1]):
        level = table[:, kind]
        best = level.abs().argsort(descending=True)[:40].tolist()
        words = [word(token_text(token)) for token in best if level[token]]
        words = list(dict.fromkeys(w for w in words if w))[:2]
        found.append("_".join(["like", *words]) if words else "like_some")
    return unique(found)


def kinds_page(student: Student, kinds: Sequence[str], token_text: TokenText) -> str:
    """The text of `words.py`."""
    groups, levels = student.groups, student["levels"]
    assert groups is not None
    tables: dict[str, dict[float, list[int]]] = {}
    for number, name in enumerate(kinds):
        found: dict[float, list[int]] = {}
        for level, weight in enumerate(levels[:, number].tolist(), start=1):
            members = (groups[:, number] == level).nonzero()[:, 0].tolist()
            if members and weight:
                found.setdefault(rounded(weight), []).extend(members)
        if found:
            tables[name] = dict(sorted(found.items(), reverse=True))
    return words_page("how much each token is of a kind. Shared by all layers.", tables, token_text)


# --- a layer ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Code:
    """What a value may sum: its code and the words for it; the late value, neuron or head that it asks for.

    `carried` is the layer of a late value that is taken as it was before it was divided by a scale.
    """

    code: str
    words: str
    late: str = ""
    carried: int | None = None
    fired: tuple[int, int] | None = None
    seen: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Term:
    """A summand: its weight, the code of what it multiplies, the words for that, and what it asks for (see `_Code`).

    `spread` is how much it varies before it is weighed.
    """

    weight: float
    code: str
    words: str
    late: str = ""
    carried: int | None = None
    fired: tuple[int, int] | None = None
    seen: tuple[int, int] | None = None
    spread: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", rounded(self.weight))

    @property
    def force(self) -> float:
        """How much it moves the sum."""
        return abs(self.weight) * self.spread

    @property
    def text(self) -> str:
        return f"{self.weight!r} * {self.code}" if self.code else repr(self.weight)


class _LayerWriter:
    """Prints what a student says of one layer; `late` names the late values of all layers before."""

    def __init__(
        self, student: Student, layer: int, kinds: Sequence[str], late: Sequence[Sequence[str]], found: Spread
    ) -> None:
        self.student, self.layer, self.kinds, self.late, self.spread = student, layer, kinds, late, found
        self.at = f"L{layer:02d}"
        self.codes = list(self._codes())
        self.alone = torch.tensor([not code.late and bool(code.code) for code in self.codes])
        self.value_names = unique([self._value_name("values", n) for n in range(student.plan.values)])
        last = f"{self.at}.late" not in student.tensors
        late_names = [] if last else [self._value_name("late", n) for n in range(student.plan.late)]
        self.late_names = unique(late_names, self.value_names)

    # --- values

    def values(self) -> dict[str, str]:
        """The function of every value that something reads, by its name."""
        found = {}
        norms = f"l{self.layer}_ln2", f"l{self.layer + 1}_ln1"
        for what, norm, names in (("values", norms[0], self.value_names), ("late", norms[1], self.late_names)):
            for number, name in enumerate(names):
                if terms := self._value_terms(what, number):
                    along = self._goes_with(what, number)
                    said = [f"Goes with {along[1]} (r = {along[0]:.2f})."] if along else []
                    found[name] = self._value(name, norm, terms, [*said, _rises(terms)])
        return found

    def _value(self, name: str, norm: str, terms: list[_Term], said: list[str]) -> str:
        """A sum of what was written, divided by the scale of a norm."""
        summands = [term.text for term in terms if not (term.fired or term.seen or term.carried is not None)]
        carried = sorted({term.carried for term in terms if term.carried is not None})
        for layer in carried:
            pieces = _signed([term.text for term in terms if term.carried == layer])
            summands.append(f"l{layer + 1}_ln1 * ({_BREAK.join(pieces)})")
        for layer, head in sorted({term.seen for term in terms if term.seen}):
            seen = [(term.weight, term.code) for term in terms if term.seen == (layer, head)]
            alone = f"{seen[0][0]!r} * seen({layer}, {head}, {seen[0][1]})"
            summands.append(alone if len(seen) == 1 else f"seen({layer}, {head}, {_table(seen)})")
        for layer in sorted({term.fired[0] for term in terms if term.fired}):
            fired = [(term.weight, str(term.fired[1])) for term in terms if term.fired and term.fired[0] == layer]
            summands.append(f"fired({layer}, {_table(fired)})")
        text = " ".join(summands)
        asks = [ask for ask, code in (("here", "here."), ("seen", "seen("), ("fired", "fired(")) if code in text]
        asks += dict.fromkeys([norm, *(f"l{layer + 1}_ln1" for layer in carried)])
        asks += dict.fromkeys(term.late for term in terms if term.late)
        body = _sum("return (", summands, f") / {norm}")
        return "\n".join(["@value", *_define(name, asks), *docstring([said]), *body])

    def _codes(self) -> Iterator[_Code]:
        """What a value of this layer may sum, in the order of `features`, and then what neurons fire."""
        yield _Code("", "")
        yield _Code("(here.position == 0)", "at the start")
        yield _Code("log(here.position + 1)", "later in the text")
        for ramp in RAMPS:
            yield _Code(f"minimum(here.position, {ramp}) / {ramp}", f"up to position {ramp}")
        for shift in range(SHIFTS):
            for kind in self.kinds:
                yield _Code(f"{kind}(here.{_PLACES[shift]})", f"{_WHERE[shift]} {kind}")
        for layer in reach(self.layer):
            late = self.late[layer - 1] if layer else ()
            for head in range(self.student.model.decoder.sizes.head):
                sees = f"where L{layer:02d}.H{head:02d} sees"
                for kind in self.kinds:
                    yield _Code(kind, f"{sees} {kind}", seen=(layer, head))
                for name in late:
                    yield _Code(name, f"{sees} {name}", late=name, seen=(layer, head))
        for layer in reach(self.layer)[:-1]:
            for name in self.late[layer]:
                yield _Code(name, f"with {name}", late=name, carried=layer)
        for layer in reach(self.layer):
            for neuron in range(self.student.model.decoder.sizes.neuron):
                yield _Code("fired", f"as L{layer:02d}.N{neuron:04d} fires", fired=(layer, neuron))

    def _value_terms(self, what: str, number: int) -> list[_Term]:
        """What a value sums, the largest first; its constant comes last."""
        column, spread = self.student[f"{self.at}.{what}"][:, number], self.spread.terms[self.layer]
        rows = column.nonzero()[:, 0]
        terms = [
            _Term(weight, code.code, code.words, code.late, code.carried, code.fired, code.seen, varies)
            for weight, varies, code in zip(
                column[rows].tolist(), spread[rows].tolist(), (self.codes[row] for row in rows.tolist()), strict=True
            )
        ]
        return sorted(terms, key=lambda term: (not term.code, -term.force))

    def _value_name(self, what: str, number: int) -> str:
        """From what it goes with over text, or else from the strongest term that raises it: `l1_after_like_he_she`.

        `low_` where it only falls: it is low there. Heads and neurons keep their layers, `l1_as_l00_n0110_fires`.
        """
        terms = [(term.weight, term.words) for term in self._value_terms(what, number) if term.code]
        along = self._goes_with(what, number)
        told = [*([along] if along else []), *terms, (1.0, "nothing")]
        rises, said = next((found for found in told[:-1] if found[0] > 0), told[0])
        said = said.lower().replace("where ", "")
        said = re.sub(r"(?<![a-z0-9])l\d+_(late_)?(?![hn]\d)", "", re.sub(r"[^a-z0-9]+", "_", said).strip("_"))
        start = f"l{self.layer}_{'late_' if what == 'late' else ''}{'low_' if rises < 0 else ''}"
        return f"{start}{said[:_NAME].strip('_')}"

    def _goes_with(self, what: str, number: int) -> tuple[float, str] | None:
        """What is said of tokens alone that a value goes with most over text, with the correlation, if that is much."""
        tables = self.spread.values_with if what == "values" else self.spread.late_with
        if not tables:
            return None
        along = tables[self.layer][:, number]
        best = int((along.abs() * self.alone[: len(along)]).argmax())
        found = float(along[best])
        return (found, self.codes[best].words) if abs(found) >= GOES_WITH and self.alone[best] else None

    # --- neurons

    def neurons(self) -> Iterator[tuple[Address, tuple[str, str, str]]]:
        """Every neuron: its name, its sentence, its line."""
        student = self.student
        weights = student[f"{self.at}.neurons"].T.tolist()
        bias = [rounded(b) for b in student[f"{self.at}.bias"].tolist()]
        empty = {n for n in range(len(self.value_names)) if not self._value_terms("values", n)}
        varies = self.spread.values[self.layer].tolist()
        for neuron, row in enumerate(weights):
            address = Address("IN", self.layer, neuron)
            terms = [
                _Term(w, self.value_names[n], self.value_names[n], spread=varies[n])
                for n, w in enumerate(row)
                if w and n not in empty
            ]
            terms.sort(key=lambda term: -term.force)
            raising = [term for term in terms if term.weight > 0]
            name = f"fires_{raising[0].code}" if raising else f"quiet_{terms[0].code}" if terms else "constant"
            sentence = _rises(terms) if terms else f"Its pre-activation is a constant, {bias[neuron]:g}."
            summands = {term.code: term.weight for term in terms}
            yield address, (name, sentence, linear(str(address), bias[neuron], summands))

    # --- heads

    def heads(self) -> Iterator[tuple[Address, tuple[str, str, str]]]:
        """Every head: its name, its sentence, its function."""
        for head in range(self.student.model.decoder.sizes.head):
            address = Address("QK", self.layer, head)
            yield address, self._head(address, head)

    def _head(self, address: Address, head: int) -> tuple[str, str, str]:
        curve, offers = self._curve(head), self._key_terms("offers", head)
        own = [*curve, *self._primitives(head), *offers]
        lines, products = [], []
        for rank in range(self.student.plan.rank):
            seeks, found = self._query_terms(head, rank), self._key_terms("seeks.key", head, rank)
            if seeks and found:
                lines += [*_assignment(f"seeks_{rank}", seeks), *_assignment(f"offers_{rank}", found)]
                products.append((f"seeks_{rank} * offers_{rank}", seeks, found))
        liked = [term for term in offers if term.weight > 0]
        name = (
            "looks_"
            + re.sub(r"\W+", "_", liked[0].words if liked else "near" if curve else "everywhere").strip("_").lower()
        )
        sentence = self._sentence(curve, offers, products)
        summands = [*(term.text for term in own), *(text for text, _, _ in products)] or ["0.0"]
        asked = [*offers, *(term for _, seeks, found in products for term in (*seeks, *found))]
        arguments = ["query", "key", *dict.fromkeys(term.late for term in asked if term.late)]
        body = [*lines, *_return(summands)]
        said = docstring([[sentence], [str(address)]])
        text = "\n".join([f'@source("{address}")', *_define(name, arguments), *said, *body])
        return name, sentence, text

    def _curve(self, head: int) -> list[_Term]:
        limits = bends(self.student.model.n_ctx)
        weights = self.student[f"{self.at}.curve"][head].tolist()
        return [
            _Term(rounded(w / bend), f"minimum(distance(query, key), {bend})", f"each step back, up to {bend}")
            for bend, w in zip(limits, weights, strict=True)
            if w
        ]

    def _primitives(self, head: int) -> list[_Term]:
        said = (
            ("(key.token == query.token)", "the same token"),
            ("(key.previous == query.token)", "what followed the same token before"),
            ("(key.position == 0)", "the first token"),
        )
        weights = self.student[f"{self.at}.primitives"][head].tolist()
        return [_Term(weight, *entry) for weight, entry in zip(weights, said, strict=True) if weight]

    def _key_terms(self, name: str, head: int, rank: int | None = None) -> list[_Term]:
        return self._terms(name, head if rank is None else (head, rank), "key")

    def _query_terms(self, head: int, rank: int) -> list[_Term]:
        bias = float(self.student[f"{self.at}.seeks.bias"][head, rank])
        terms = self._terms("seeks.query", (head, rank), "query")
        return [*terms, _Term(bias, "", "")] if bias else terms

    def _terms(self, name: str, which: int | tuple[int, int], place: str) -> list[_Term]:
        """Terms over the kinds of a place and late values there, the largest first."""
        found = list(self._place_terms(self.student[f"{self.at}.{name}"][which], place))
        if self.layer:
            weights = self.student[f"{self.at}.{name}.late"][which].tolist()
            for weight, late, varies in zip(
                weights, self.late[-1], self.spread.late[self.layer - 1].tolist(), strict=True
            ):
                if weight:
                    found.append(_Term(weight, f"{late}({place})", late, late, spread=varies))
        return sorted(found, key=lambda term: -term.force)

    def _place_terms(self, table: Tensor, place: str) -> Iterator[_Term]:
        """Terms over the kinds of a place and of those before it; `table` is [kind, shift]."""
        for kind, weights in enumerate(table.tolist()):
            for weight, where, how in zip(weights, _PLACES, _FOLLOWS, strict=True):
                if weight:
                    code, varies = f"{self.kinds[kind]}({place}.{where})", float(self.spread.kinds[kind])
                    yield _Term(weight, code, f"{how}{self.kinds[kind]}", spread=varies)

    def _sentence(
        self, curve: list[_Term], offers: list[_Term], products: list[tuple[str, list[_Term], list[_Term]]]
    ) -> str:
        said = []
        if liked := [term for term in offers if term.weight > 0][:SHOWN]:
            said.append("looks at " + ", ".join(f"{term.words} ({term.weight:+g})" for term in liked))
        if curve:
            near = sum(term.weight for term in curve) < 0
            said.append(f"prefers {'near' if near else 'distant'} tokens")
        if products:
            _, seeks, found = max(products, key=lambda p: p[1][0].force * p[2][0].force)
            asked, given = seeks[0].words or "any query", found[0].words
            said.append(f"from {asked} {'to' if seeks[0].weight * found[0].weight > 0 else 'away from'} {given}")
        sentence = "; ".join(said) or "looks everywhere alike"
        return f"{sentence[0].upper()}{sentence[1:]}."


# --- text -------------------------------------------------------------------------------------------------------------


def _rises(terms: Sequence[_Term]) -> str:
    """The largest terms as one sentence, and their share of the sum's variance as if all terms varied apart."""
    said = [term for term in terms if term.words]
    up, down = [t for t in said if t.weight > 0][:SHOWN], [t for t in said if t.weight < 0][:SHOWN]
    clauses = [f"{verb} {_weighed(side)}" for verb, side in (("rises", up), ("falls", down)) if side]
    whole = sum(term.force**2 for term in said)
    covered = sum(term.force**2 for term in (*up, *down)) / whole if whole else 1.0
    sentence = "; ".join(clauses or ["is a constant"])
    share = f" ({100 * covered:.0f} % of how it varies)" if covered < 0.995 else ""
    return f"{sentence[0].upper()}{sentence[1:]}{share}."


def _weighed(terms: Sequence[_Term]) -> str:
    return ", ".join(f"{term.words} ({term.weight:+g})" for term in terms)


def _define(name: str, arguments: Sequence[str]) -> list[str]:
    """The first line of a function, or as many as its arguments need."""
    line = f"def {name}({', '.join(arguments)}):"
    return [line] if len(line) <= WIDTH else [f"def {name}(", *_filled([f"{a}," for a in arguments], 4), "):"]


def _return(summands: Sequence[str]) -> list[str]:
    return _sum("return ", summands)


def _assignment(name: str, terms: Sequence[_Term]) -> list[str]:
    return _sum(f"{name} = ", [term.text for term in terms])


def _signed(summands: Sequence[str]) -> list[str]:
    """Summands with signs between them."""
    return [summands[0], *(f"- {s[1:]}" if s.startswith("-") else f"+ {s}" for s in summands[1:])]


def _table(terms: Sequence[tuple[float, str]]) -> str:
    """`{0.8: (he, she), -0.3: (it,)}`: what is summed, by the number that it is multiplied by."""
    alike: dict[float, list[str]] = {}
    for weight, what in terms:
        alike.setdefault(weight, []).append(what)
    entries = []
    for weight, several in alike.items():
        *front, last = several
        comma = "" if front else ","
        entries.append(f"{weight!r}: ({''.join(f'{what},{_BREAK}' for what in front)}{last}{comma})")
    return f"{{{f',{_BREAK}'.join(entries)}}}"


def _sum(start: str, summands: Sequence[str], end: str = "") -> list[str]:
    """A statement that is a sum, on as many lines as it needs; where it has an `end`, `start` opens a bracket."""
    pieces = [piece for summand in _signed(summands) for piece in summand.split(_BREAK)]
    line = f"    {start}{' '.join(pieces)}{end}"
    if len(line) <= WIDTH:
        return [line]
    return [f"    {start}" if end else f"    {start}(", *_filled(pieces, 8), f"    {end or ')'}"]


def _filled(pieces: Sequence[str], indent: int) -> list[str]:
    """Pieces on as few lines as their width allows."""
    lines, line = [], " " * (indent - 1)
    for piece in pieces:
        if len(line) + len(piece) + 1 > WIDTH and line.strip():
            lines.append(line)
            line = " " * (indent - 1)
        line += f" {piece}"
    return [*lines, line]
