"""Forms: what a source says, between fitting it and printing it.

A form is a small frozen value that evaluates itself on token ids (the fast twin of what it prints), prints itself as a
statement of the program language, and knows how many numbers that statement holds. Its constants are rounded to what
is printed when it is made, so that whatever is measured of a form holds for its statement.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.errors import ProjectError
from pellucid.base.schema import CLOSED, Count, shown
from pellucid.exact.model import Model
from pellucid.forms.form import FormInput, Neurons, Together, TokenText, Written
from pellucid.listing.numbers import literal
from pellucid.listing.rows import SHOWN_TOKENS, Levels, described_row, row
from pellucid.listing.wrap import wrap
from pellucid.subject.tokenizer import Tokenizer

Which = Literal["token", "previous"]

DIGITS = 3
WIDTH = 116
NAMED_TOKENS = 3


def rounded(value: float, digits: int = DIGITS) -> float:
    """`value` to the significant digits that are printed."""
    return float(f"{value:.{digits}g}") + 0.0


def token_texts(tokenizer: Tokenizer) -> TokenText:
    """How the tokens of `tokenizer` are written: their text; their id where that is no UTF-8, or an earlier token's.

    Bytes that are spelled `<0x61>` yield their text to others.
    """
    written: list[str | int] = [*range(tokenizer.n_tokens)]
    seen: set[str] = set()
    for token in sorted(range(tokenizer.n_tokens), key=tokenizer.is_byte):
        text = tokenizer.token_bytes(token).decode("utf-8", errors="replace")
        if text and "\ufffd" not in text and text not in seen:
            written[token] = text
        seen.add(text)
    return lambda token: written[token] if token < len(written) else token


# --- where a head looks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offset:
    """The key is `steps` positions before the query: 0 is the query's own place, 1 the previous token."""

    steps: int

    @property
    def numbers(self) -> int:
        return int(self.steps > 0)

    @property
    def code(self) -> str:
        return f"(key.position == query.position{f' - {self.steps}' if self.steps else ''})"

    @property
    def name(self) -> str:
        return {0: "itself", 1: "previous_token"}.get(self.steps, f"{self.steps}_tokens_before")

    @property
    def phrase(self) -> str:
        return {0: "itself", 1: "the previous token"}.get(self.steps, f"the token {self.steps} before")

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "#batch query key"]:
        return (_distance(ids) == self.steps).float()[None]


@dataclass(frozen=True)
class First:
    """The key is the first token of the text."""

    numbers = 1
    code = "(key.position == 0)"
    name = "first_token"
    phrase = "the first token"

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "#batch query key"]:
        at = torch.arange(ids.shape[1], device=ids.device)
        return (at == 0).float().expand(1, ids.shape[1], -1)


@dataclass(frozen=True)
class Sink:
    """The key is the first token, and counts as much as all others together would if they were alike.

    A head that finds nothing looks there (an attention sink, arXiv 2309.17453): by the same share in short and in long
    texts, for which its score has to grow with the logarithm of their number.
    """

    numbers = 2
    code = "(key.position == 0) * log(query.position + 1)"
    name = "first_token"
    phrase = "the first token, however long the text is"

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "#batch query key"]:
        seen = torch.arange(1, ids.shape[1] + 1, device=ids.device).float()
        return First().twin(ids) * seen.log()[:, None]


@dataclass(frozen=True)
class SameToken:
    """The key's token is the query's; the query's own place is one such key."""

    numbers = 0
    code = "(key.token == query.token)"
    name = "same_token"
    phrase = "the same token"

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "#batch query key"]:
        return (ids[:, :, None] == ids[:, None, :]).float()


@dataclass(frozen=True)
class AfterSame:
    """The key follows an earlier occurrence of the query's token (induction, arXiv 2209.11895)."""

    numbers = 0
    code = "(key.previous == query.token)"
    name = "after_the_same_token"
    phrase = "what followed the same token before"

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "#batch query key"]:
        return (ids[:, :, None] == _previous(ids, -1)[:, None, :]).float()


@dataclass(frozen=True)
class Distance:
    """How many positions back the key is, counted up to `limit`; several of them make any piecewise linear curve."""

    limit: int

    numbers = 1
    name = "distance"

    @property
    def code(self) -> str:
        return f"minimum(distance(query, key), {self.limit})"

    @property
    def phrase(self) -> str:
        return f"each step back, up to {self.limit}"

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "#batch query key"]:
        return _distance(ids).clamp(max=self.limit).float()[None]


Term = Offset | First | Sink | SameToken | AfterSame | Distance


def _distance(ids: Int[Tensor, "batch pos"]) -> Int[Tensor, "query key"]:
    at = torch.arange(ids.shape[1], device=ids.device)
    return at[:, None] - at[None, :]


def _previous(ids: Int[Tensor, "batch pos"], start: int) -> Int[Tensor, "batch pos"]:
    """The token before each; `start` where there is none."""
    return torch.cat([ids.new_full((len(ids), 1), start), ids[:, :-1]], 1)


@dataclass(frozen=True)
class KeptLooks:
    """`Looks` as it is kept: terms by name, what they take, and their weights."""

    __pydantic_config__ = CLOSED
    terms: tuple[tuple[str, tuple[Count, ...], float], ...]

    def form(self, address: Address, place: str) -> Looks:
        """The form. Raises `ProjectError` naming `place` for terms that there are not."""
        return Looks(address, tuple((_term(name, taken, place), weight) for name, taken, weight in self.terms))


_TERMS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Offset, First, Sink, SameToken, AfterSame, Distance)}


def _arguments(term: Term) -> tuple[int, ...]:
    return tuple(getattr(term, field.name) for field in fields(term))


def _term(name: str, arguments: tuple[int, ...], place: str) -> Term:
    kind = _TERMS.get(name)
    if kind is None or len(fields(kind)) != len(arguments):
        raise ProjectError(f"{place}: there is no term {shown(name)} of {len(arguments)} numbers")
    term: Term = kind(*arguments)
    return term


@dataclass(frozen=True)
class Looks(Written):
    """Where a head looks: pre-softmax score = Σ weight · term(query, key). Without terms it looks everywhere alike."""

    kept_as: ClassVar = KeptLooks
    address: Address
    terms: tuple[tuple[Term, float], ...] = ()

    def __post_init__(self) -> None:
        kept = tuple((term, rounded(weight)) for term, weight in self.terms)
        object.__setattr__(self, "terms", tuple((term, weight) for term, weight in kept if weight))

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch query key"]:
        """The scores of all pairs; those of keys later than the query mean nothing."""
        scores = torch.zeros(len(ids), ids.shape[1], ids.shape[1], device=ids.device)
        for term, weight in self.terms:
            scores += weight * term.twin(ids)
        return scores

    def run(self, seen: FormInput) -> Float[Tensor, "batch query key"]:
        """The scores, from the tokens alone."""
        return self.twin(seen.ids)

    def numbers(self, token_text: TokenText | None = None) -> int:  # noqa: ARG002 (as of `Fires`)
        """How many numbers the statement holds."""
        return sum(1 + term.numbers for term, _ in self.terms) or 1

    def name(self, token_text: TokenText | None = None) -> str:  # noqa: ARG002
        """A name from the rule: the strongest terms that it looks at."""
        liked = [term for term, weight in _strongest(self.terms) if weight > 0 and not isinstance(term, Distance)]
        names = [*dict.fromkeys(term.name for term in liked)][:2]
        nearer = [(t, w) for t, w in self.terms if isinstance(t, Distance)]
        if not names and nearer:
            return "nearby_tokens" if sum(w * t.limit for t, w in nearer) < 0 else "distant_tokens"
        name = "_or_".join(names) or ("other_tokens" if self.terms else "everywhere")
        return name if name[0].isalpha() else f"the_{name}"

    def describe(self, token_text: TokenText | None = None) -> str:  # noqa: ARG002
        """The rule as one plain sentence."""
        if not self.terms:
            return "Looks at all earlier tokens alike."
        places = [(t, w) for t, w in _strongest(self.terms) if not isinstance(t, Distance)]
        liked = [(t, w) for t, w in places if w > 0]
        shunned = [(t, w) for t, w in places if w < 0]
        clauses = []
        if liked:
            clauses.append(f"looks at {_listed([_clause(n, t, w) for n, (t, w) in enumerate(liked)])}")
        if shunned:
            clauses.append(f"avoids {_listed([_clause(0, t, w) for t, w in shunned])}")
        if curve := self.curve():
            falling = curve[-1][1] < 0
            clauses.append(f"prefers {'near' if falling else 'distant'} tokens ({_curve_words(curve)})")
        sentence = ", ".join(clauses)
        return f"{sentence[0].upper()}{sentence[1:]}."

    def curve(self) -> list[tuple[int, float]]:
        """What distance adds to the score, at each bend of the curve: (distance, score); empty without such terms."""
        bends = sorted({term.limit for term, _ in self.terms if isinstance(term, Distance)})
        parts = [(term.limit, weight) for term, weight in self.terms if isinstance(term, Distance)]
        return [(bend, sum(weight * min(bend, limit) for limit, weight in parts)) for bend in bends]

    def statement(self, token_text: TokenText, evidence_lines: Sequence[str] = ()) -> str:
        """The source of this head as it stands in a layer file."""
        summands = [f"{_number(weight)} * {term.code}" for term, weight in _strongest(self.terms)]
        name, description = self.name(token_text), self.describe(token_text)
        return function(self.address, name, "query, key", description, evidence_lines, summands or ["0.0"])

    def kept(self) -> KeptLooks:
        """Terms by name, with what they take."""
        return KeptLooks(tuple((type(term).__name__, _arguments(term), weight) for term, weight in self.terms))


def _strongest(terms: Iterable[tuple[Term, float]]) -> list[tuple[Term, float]]:
    """Terms by how much they can change a score, the curve of distances last, its bends in order."""
    return sorted(terms, key=lambda tw: (tw[0].limit, 0.0) if isinstance(tw[0], Distance) else (0, -abs(tw[1])))


def _clause(rank: int, term: Term, weight: float) -> str:
    size = f"weight {weight:g}"
    return f"{'a little at ' if rank and abs(weight) < 1.5 else ''}{term.phrase} ({size})"


def _curve_words(curve: list[tuple[int, float]]) -> str:
    return ", ".join(f"{score:+.2g} at {at}" for at, score in curve)


# --- when a neuron fires ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeptFires:
    """`Fires` as it is kept."""

    __pydantic_config__ = CLOSED
    bias: float
    sets: tuple[tuple[Which, tuple[Count, ...], float], ...]

    def form(self, address: Address, place: str) -> Fires:
        """The form."""
        del place
        return Fires(address, self.bias, self.sets)


@dataclass(frozen=True)
class Fires(Written):
    """When a neuron fires: pre-activation = bias + Σ weight · [token in set]. Without sets it is a constant.

    A set is (which, ids, weight): which token it is about (`token` here, or the `previous` one), its members, and what
    it adds. Sets about the same token are disjoint.
    """

    kept_as: ClassVar = KeptFires
    address: Address
    bias: float
    sets: tuple[tuple[Which, tuple[int, ...], float], ...] = ()

    def __post_init__(self) -> None:
        alike: dict[tuple[Which, float], tuple[int, ...]] = {}
        for which, ids, weight in self.sets:
            if ids and rounded(weight):
                alike[which, rounded(weight)] = (*alike.get((which, rounded(weight)), ()), *ids)
        object.__setattr__(self, "bias", rounded(self.bias))
        object.__setattr__(self, "sets", tuple((which, ids, weight) for (which, weight), ids in alike.items()))

    def twin(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos"]:
        """The pre-activation at every position."""
        vocab = 1 + max([int(ids.max()), *(max(members) for _, members, _ in self.sets)])
        return FiringTables.of([self], vocab, ids.device)(ids)[..., 0]

    def run(self, seen: FormInput) -> Float[Tensor, "batch pos"]:
        """The pre-activation, from the tokens alone."""
        return self.twin(seen.ids)

    def together(self) -> type[Together[Any]]:
        """Two gathers for all."""
        return _Tabled

    @property
    def constant(self) -> float | None:
        """Its bias, where no token adds to it."""
        return None if self.sets else self.bias

    @property
    def tokens(self) -> Collection[int]:
        """Those in its sets."""
        return {token for _, members, _ in self.sets for token in members}

    def numbers(self, token_text: TokenText) -> int:
        """How many numbers the statement holds."""
        return 1 + sum(1 + sum(literal(token_text(token)) for token in members) for _, members, _ in self.sets)

    def name(self, token_text: TokenText) -> str:
        """A name from the rule: the first tokens of its strongest set."""
        raising = [entry for entry in self.sets if entry[2] > 0]
        if not self.sets:
            return "constant"
        which, members, _ = max(raising or self.sets, key=lambda entry: abs(entry[2]))
        words = [word(token_text(token)) for token in members]
        words = list(dict.fromkeys(word for word in words if word))[:NAMED_TOKENS]
        start = f"{'' if raising else 'quiet_'}{'on' if which == 'token' else 'after'}"
        return "_".join([start, *words]) if words else f"{start}_some_tokens"

    def describe(self, token_text: TokenText) -> str:
        """The rule as one plain sentence."""
        return described_row(self.bias, *self._sides(token_text))

    def told(self) -> Fires:
        """What the sentence says by itself: of every set, the tokens that it names."""
        return replace(self, sets=tuple((which, members[:SHOWN_TOKENS], w) for which, members, w in self.sets))

    def statement(self, token_text: TokenText, evidence_lines: Sequence[str] = ()) -> str:
        """The source of this neuron as it stands in a file of its layer: a row, what adds most first; it has no room
        for evidence.
        """
        del evidence_lines
        return row(str(self.address), self.bias, *self._sides(token_text))

    def _sides(self, token_text: TokenText) -> tuple[Levels, Levels]:
        """What tokens here add, and those before, what adds most first."""
        sides: dict[Which, Levels] = {"token": {}, "previous": {}}
        for which, members, weight in sorted(self.sets, key=lambda entry: -entry[2]):
            sides[which][weight] = tuple(token_text(token) for token in members)
        return sides["token"], sides["previous"]

    def kept(self) -> KeptFires:
        """Bias and sets."""
        return KeptFires(self.bias, self.sets)


@dataclass(frozen=True)
class FiringTables:
    """Many `Fires` of one layer at once: two gathers whatever their number.

    `row` maps a token id (and, one beyond, "no token") to a row of `here` and `before`, which hold only tokens that
    some set contains and, in row 0, all others. The biases are in `here`.
    """

    row: Int[Tensor, " ids"]
    here: Float[Tensor, "rows neuron"]
    before: Float[Tensor, "rows neuron"]

    @staticmethod
    def of(fires: Sequence[Fires], vocab: int, device: torch.device | str = "cpu") -> FiringTables:
        """The tables of `fires`, one column each in their order."""
        named = sorted({token for form in fires for _, members, _ in form.sets for token in members})
        place = {token: 1 + n for n, token in enumerate(named)}
        sides: dict[str, Tensor] = {which: torch.zeros(1 + len(named), len(fires)) for which in ("token", "previous")}
        for column, form in enumerate(fires):
            sides["token"][:, column] = form.bias
            for which, members, weight in form.sets:
                sides[which][[place[token] for token in members], column] += weight
        row = torch.zeros(vocab + 1, dtype=torch.long)
        row[named] = torch.arange(1, 1 + len(named))
        return FiringTables(row.to(device), sides["token"].to(device), sides["previous"].to(device))

    def __call__(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """The pre-activation of every neuron at every position."""
        return self.here[self.row[ids]] + self.before[self.row[_previous(ids, len(self.row) - 1)]]


class _Tabled(Neurons[Fires]):
    """Neurons of a layer that fire on tokens."""

    def __init__(self, model: Model, forms: Sequence[Fires]) -> None:
        super().__init__(model, forms)
        self.tables = FiringTables.of(self.forms, model.n_vocab, model.device)

    def all(self, seen: FormInput) -> Float[Tensor, "batch pos neuron"]:
        """The pre-activation of each of them."""
        return self.tables(seen.ids)


# --- printing ---------------------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return repr(value)


def word(token: str | int) -> str:
    """What a token may lend to a Python name."""
    return f"token_{token}" if isinstance(token, int) else re.sub(r"[^a-z0-9]+", "_", token.lower()).strip("_")


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def function(
    address: Address, name: str, arguments: str, description: str, evidence: Sequence[str], summands: Sequence[str]
) -> str:
    """A decorated function that returns the sum of `summands`, which are a number each or a number times something."""
    signed = [summands[0], *(f"- {s[1:]}" if s.startswith("-") else f"+ {s}" for s in summands[1:])]
    line = f"    return {' '.join(signed)}"
    body = [line] if len(line) <= WIDTH else ["    return (", *(f"        {s}" for s in signed), "    )"]
    return "\n".join(
        [
            f'@source("{address}")',
            f"def {name}({arguments}):",
            *docstring([[description], evidence, [str(address)]]),
            *body,
        ]
    )


def docstring(paragraphs: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a docstring, each paragraph a list of sentences. Nothing in them can end it."""
    lines: list[str] = []
    for paragraph in filter(None, paragraphs):
        lines += [""] if lines else []
        for sentence in paragraph:
            lines += wrap(sentence, WIDTH - 6, shown=_escaped) or [""]
    first = f'    """{lines[0]}'
    return [first, *(f"    {line}" if line else "" for line in lines[1:]), '    """']


def _escaped(text: str) -> str:
    """`text` as it may stand in a docstring."""
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return visible.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
