"""The text of a wired program: names of coordinates, kinds of tokens, a statement for every part."""

from __future__ import annotations

import ast
import keyword
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pellucid.base.address import Address
from pellucid.family.blocks import Decoder
from pellucid.forms.form import TokenText
from pellucid.forms.forms import WIDTH
from pellucid.listing.wiring import Terms, Wires
from pellucid.listing.wrap import literals, prose, quoted, wrap
from pellucid.program.wires import ONE
from pellucid.stages.wired.read import Reader, Weights, find_waves, kinds_in, turned
from pellucid.stages.words_page import unique, word, words_page

SHOWN = 4
"""Terms that a sentence names at most."""
ENOUGH = 0.9
"""The share of a part's coefficients after which a sentence names no more."""
_CALLS = {"QK": ("looks", "seeks", "offers"), "OV": ("moves", "takes", "gives")}


@dataclass(frozen=True)
class WiredTexts:
    """The texts of a wired program, and a name for each part.

    `told` is every part with only the terms that its sentence names: the rule that the sentence is.
    """

    stream: str
    words: str
    statements: dict[Address, str]
    names: dict[Address, str]
    told: dict[Address, Wires]


def write_up(
    decoder: Decoder, weights: Weights, token_text: TokenText, clauses: Mapping[Address, str] | None = None
) -> WiredTexts | None:
    """The program of a model's weights (of format 2), with `clauses` behind the sentences.

    None where its positions are no waves.
    """
    waves = find_waves(weights["EMB.POS"])
    if waves is None:
        return None
    kinds = kinds_in(weights["EMB.TOK"].float())
    spoken = {} if decoder.tied else kinds_in(weights["UNEMB"].float())
    names, signs = coordinate_names(decoder, weights, kinds, spoken, waves, token_text)
    reader = Reader(decoder, weights, names, signs, waves)
    statements, titles, told = {}, {}, {}
    for address, wires in reader.parts():
        named = shown(wires)
        sentence, title = describe(address, named, share(named, wires))
        says = " ".join(filter(None, [sentence, (clauses or {}).get(address, "")]))
        statements[address] = statement(address, replace(wires, says=says))
        titles[address], told[address] = title, named
    tables = {Address("EMB.TOK"): ("tokens", "is", kinds)}
    tables |= {} if decoder.tied else {Address("UNEMB"): ("says", "said", spoken)}
    pages: dict[str, Mapping[float, Sequence[int]]] = {}
    for address, (call, suffix, of_coordinate) in tables.items():
        called = {names[c]: f"{names[c]}_{suffix}" for c in of_coordinate}
        pages |= {called[names[c]]: turned(levels, signs[c]) for c, levels in of_coordinate.items()}
        titles[address] = call
        first = [quoted(str(address)), quoted(_TABLES[call])]
        statements[address] = _call(call, first, [f"{name}={kind}" for name, kind in called.items()])
    return WiredTexts(
        stream_page(names, signs),
        words_page("how much each token is of a coordinate, or is said by it.", pages, token_text),
        statements,
        titles,
        told,
    )


_TABLES = {
    "tokens": "Every token writes as much of a coordinate as it is of a kind.",
    "says": "Every coordinate speaks for tokens as much as they are of a kind.",
}


# --- names ------------------------------------------------------------------------------------------------------------


def coordinate_names(
    decoder: Decoder,
    weights: Weights,
    kinds: Mapping[int, Mapping[float, Sequence[int]]],
    spoken: Mapping[int, Mapping[float, Sequence[int]]],
    waves: Mapping[int, tuple[str, int, float]],
    token_text: TokenText,
) -> tuple[list[str], list[int]]:
    """A name for every coordinate: from its wave, from the tokens that write or that it says, or its strongest writer.

    Where more tokens are said by it than write it, it is called after those. Also its sign: -1 where these tokens
    write it, or are said by it, with a minus, so that it is minus what its name says.
    """
    names, signs = [], [1] * decoder.sizes.model
    for coordinate in range(decoder.sizes.model):
        if coordinate in waves:
            form, period, _ = waves[coordinate]
            names.append(f"{form}_{period}")
        elif coordinate in kinds or coordinate in spoken:
            written, said = _weight(kinds.get(coordinate, {})), _weight(spoken.get(coordinate, {}))
            heard = kinds[coordinate] if written >= said else spoken[coordinate]
            names.append(f"{'' if written >= said else 'says_'}{_token_name(heard, token_text)}")
            signs[coordinate] = 1 if _strongest(heard) > 0 else -1
        else:
            names.append(_writer_name(decoder, weights, coordinate))
    good = [name if name.isidentifier() and not keyword.iskeyword(name) else f"the_{name}" for name in names]
    return unique(good), signs


def _weight(levels: Mapping[float, Sequence[int]]) -> int:
    """How many tokens are of a kind."""
    return sum(map(len, levels.values()))


def _token_name(levels: Mapping[float, Sequence[int]], token_text: TokenText) -> str:
    """From two of the tokens that are most of it, whatever their sign."""
    strongest = _strongest(levels)
    ordered = sorted((level for level in levels if level * strongest > 0), key=lambda level: -abs(level))
    tokens = [token for level in ordered for token in levels[level]]
    words = list(dict.fromkeys(found for token in tokens[:40] if (found := word(token_text(token)))))[:2]
    return "_".join(words) if len(words) > 1 else f"{words[0]}_token" if words else "some_tokens"


def _strongest(levels: Mapping[float, Sequence[int]]) -> float:
    """The level that is largest, whatever its sign."""
    return max(levels, key=abs)


def _writer_name(decoder: Decoder, weights: Weights, coordinate: int) -> str:
    """From the head or neuron that writes most of it."""
    best, name = 0.0, "unused"
    for layer in range(decoder.layers):
        for table, letter, size in (("H*.O", "h", decoder.sizes.dim), ("N*.OUT", "n", 1)):
            column = weights[f"L{layer:02d}.{table}"][..., coordinate].flatten().abs()
            strongest = int(column.argmax())
            if float(column[strongest]) > best:
                best, name = float(column[strongest]), f"by_l{layer}_{letter}{strongest // size}"
    return name


# --- sentences --------------------------------------------------------------------------------------------------------


def shown(wires: Wires) -> Wires:
    """`wires` with only the terms that a sentence names: the largest, of the largest pairs."""
    if not wires.pairs:
        return replace(wires, terms=_largest(wires.terms, SHOWN))
    pairs = sorted(wires.pairs, key=lambda pair: -_height(pair[0]) * _height(pair[1]))
    heights = [_height(first) * _height(second) for first, second in pairs]
    kept = _few(heights, SHOWN)
    return replace(wires, pairs=tuple((_largest(a, 2), _largest(b, 2)) for a, b in pairs[:kept]))


def _height(terms: Terms) -> float:
    return max(map(abs, terms.values()))


def _largest(terms: Terms, most: int) -> Terms:
    ordered = sorted(terms.items(), key=lambda entry: -abs(entry[1]))
    return dict(ordered[: _few([abs(c) for _, c in ordered], most)])


def _few(sizes: Sequence[float], most: int) -> int:
    """How many of `sizes`, the largest first, are named."""
    enough = np.searchsorted(np.cumsum(sizes), ENOUGH * sum(sizes)) + 1 if len(sizes) else 0
    return min(most, len(sizes), int(enough))


def share(named: Wires, wires: Wires) -> float:
    """How much of a part the terms in `named` are: the share of the squares of its coefficients, or of their pairs'."""
    whole = _squares(wires)
    return _squares(named) / whole if whole else 1.0


def _squares(wires: Wires) -> float:
    sides = [(sum(c * c for c in a.values()), sum(c * c for c in b.values())) for a, b in wires.pairs]
    return math.fsum([*(a * b for a, b in sides), *(c * c for c in wires.terms.values())])


def describe(address: Address, wires: Wires, covered: float) -> tuple[str, str]:
    """One sentence and a short name for a part, of the terms that `wires` has; they are `covered` of it."""
    match address.kind:
        case "QK":
            said = [f"from {_side(a)} {'away from' if minus else 'to'} {b}" for a, b, minus in _merged(wires)]
            sentence = f"Looks {'; '.join(said)}" if said else "Looks everywhere alike"
            name = f"looks_{_pair_name(wires, 'to', 'away_from')}" if said else "looks_everywhere"
        case "OV":
            said = [f"{_side(a)} as {'less ' if minus else ''}{b}" for a, b, minus in _merged(wires)]
            sentence = f"Moves {'; '.join(said)}" if said else "Moves nothing"
            name = f"moves_{_short(wires.pairs[0][0])}" if said else "moves_nothing"
        case "IN":
            up, down = _split(wires.terms)
            parts = [f"rises with {_listed(up)}"] * bool(up) + [f"falls with {_listed(down)}"] * bool(down)
            sentence = "; ".join(parts).capitalize() if parts else "Is constant"
            name = f"{'on' if up else 'off'}_{(up or down)[0]}" if parts else "constant"
        case "OUT" | "ATTN.B" | "MLP.B":
            up, down = _split(wires.terms)
            parts = [f"raises {_listed(up)}"] * bool(up) + [f"lowers {_listed(down)}"] * bool(down)
            sentence = "; ".join(parts).capitalize() if parts else "Writes nothing"
            name = f"{'raises' if up else 'lowers'}_{(up or down)[0]}" if parts else "writes_nothing"
        case "EMB.POS":
            return "Positions write waves.", "positions"
        case _:
            return "", "norm"
    return f"{sentence}{f' ({100 * covered:.0f} % of it, by squares)' if covered < 0.995 else ''}.", name


def _merged(wires: Wires) -> Iterator[tuple[Terms, str, bool]]:
    """Pairs in words: those that begin alike are one, and two sides that are both minus are both plus.

    Of each the first side, the words for all second sides that go with it, and whether these go the other way.
    """
    groups: dict[tuple[tuple[tuple[str, float], ...], bool], list[str]] = {}
    for first, second in wires.pairs:
        turned_first, turned_second = (_sign(side) < 0 for side in (first, second))
        key = tuple(sorted((name, math.copysign(1, c) * _sign(first)) for name, c in first.items()))
        said = _side({name: c * _sign(second) for name, c in second.items()})
        held = groups.setdefault((key, turned_first != turned_second), [])
        held += [said] if said not in held else []
    for (terms, minus), words in groups.items():
        yield dict(terms), ", ".join(words), minus


def _sign(terms: Terms) -> float:
    """The sign of the largest term."""
    return math.copysign(1, max(terms.values(), key=abs)) if terms else 1.0


def _split(terms: Terms) -> tuple[list[str], list[str]]:
    """The names of what counts with a plus, and with a minus."""
    up, down = ([_called(name) for name, c in terms.items() if (c > 0) == plus] for plus in (True, False))
    return up, down


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)


def _side(terms: Terms) -> str:
    """Terms in words, the largest counting with a plus: `ada_boris less the_a`."""
    up, down = _split(terms)
    return " less ".join(filter(None, [_listed(up), _listed(down)])) if up else f"less {_listed(down)}"


def _called(name: str) -> str:
    return "always" if name == ONE else name


def _short(terms: Terms) -> str:
    return next(iter(terms))


def _pair_name(wires: Wires, to: str, away: str) -> str:
    """From the largest terms of the first pair."""
    first, second = wires.pairs[0]
    return f"{_short(first)}_{to if _sign(first) * _sign(second) > 0 else away}_{_short(second)}"


# --- pages ------------------------------------------------------------------------------------------------------------


def statement(address: Address, wires: Wires) -> str:
    """The statement of a part."""
    key, says = quoted(str(address)), prose(wires.says)
    match address.kind:
        case "QK" | "OV":
            what, first, second = _CALLS[address.kind]
            pairs = [f"{first}({_terms(a)}), {second}({_terms(b)})" for a, b in wires.pairs]
            return _call(what, [key, says], pairs, one_a_line=True)
        case "IN":
            return _call("reads", [key, says, _number(wires.bias or 0.0)], _terms_of(wires.terms))
        case "OUT" | "ATTN.B" | "MLP.B":
            return _call("writes", [key, says], _terms_of(wires.terms))
        case "EMB.POS":
            waves = [f"{name}={form}({_number(p)}, {_number(h)})" for name, (form, p, h) in wires.waves.items()]
            return _call("waves", [key, says], waves)
        case _:
            return f"plain({key})"


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)


def _terms_of(terms: Terms) -> list[str]:
    return [f"{name}={_number(coefficient)}" for name, coefficient in terms.items()]


def _terms(terms: Terms) -> str:
    return ", ".join(_terms_of(terms))


def _call(what: str, first: Sequence[str], rest: Sequence[str], *, one_a_line: bool = False) -> str:
    """A call on one line, or on as many as it takes."""
    one = f"{what}({', '.join([*first, *rest])})"
    if len(one) <= WIDTH and not (one_a_line and len(rest) > 1):
        return one
    head = f"    {', '.join(first)},"
    lines = [head] if len(head) <= WIDTH else [line for piece in first for line in _piece(piece)]
    groups = rest if one_a_line else [", ".join(rest)] if rest else []
    for group in groups:
        lines += wrap(f"{group},", WIDTH, "    ", "        " if one_a_line else "    ")
    return "\n".join([f"{what}(", *lines, ")"])


def _piece(piece: str) -> list[str]:
    """An argument on lines of its own: a long text as several that Python puts together."""
    if len(piece) + 5 <= WIDTH or not piece.startswith(('"', "'")):
        return [f"    {piece},"]
    *parts, last = literals(ast.literal_eval(piece), WIDTH, "    ")
    return [*parts, f"{last},"]


def stream_page(names: Sequence[str], signs: Sequence[int]) -> str:
    """The text of `stream.py`."""
    written = [quoted(name if sign > 0 else f"-{name}") for name, sign in zip(names, signs, strict=True)]
    listed = wrap(", ".join(written) + ",", WIDTH, "    ", "    ")
    head = '"""The coordinates of the residual stream, in order: what parts write, and what later parts read.'
    if -1 in signs:
        head += "\n\nA coordinate behind a minus is minus what its name says: whatever names it means that.\n"
    head += '"""'
    return "\n".join([head, "", "from .wires import coordinates", "", "coordinates(", *listed, ")", ""])
