"""The text of a wired program: names of coordinates, kinds of tokens, a statement for every part."""

from __future__ import annotations

import keyword
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pellucid.base.address import Address
from pellucid.listing.wires import ONE
from pellucid.listing.wiring import Terms, Wires
from pellucid.match.forms import WIDTH, TokenText, quoted
from pellucid.match.wired.read import Reader, Weights, find_waves, kinds_of
from pellucid.match.words import unique, word, words_page
from pellucid.subject.gpt2 import GPT2Config

SHOWN = 4
"""Terms that a sentence names at most."""
ENOUGH = 0.9
"""The share of a part's coefficients after which a sentence names no more."""
_CALLS = {"QK": ("looks", "seeks", "offers"), "OV": ("moves", "takes", "gives")}


@dataclass(frozen=True)
class Written:
    """The texts of a wired program, and a name for each part.

    `told` is every part with only the terms that its sentence names: the rule that the sentence is.
    """

    stream: str
    words: str
    statements: dict[Address, str]
    names: dict[Address, str]
    told: dict[Address, Wires]


def write_up(
    config: GPT2Config, weights: Weights, token_text: TokenText, clauses: Mapping[Address, str] | None = None
) -> Written | None:
    """The program of a model's weights, with `clauses` behind the sentences; None where its positions are no waves."""
    waves = find_waves(weights["wpe.weight"])
    if waves is None:
        return None
    kinds = kinds_of(weights["wte.weight"].float())
    spoken = {} if config.tied else kinds_of(weights["lm_head.weight"].float())
    names = coordinate_names(config, weights, kinds, spoken, waves, token_text)
    reader = Reader(config, weights, names, waves)
    statements, titles, told = {}, {}, {}
    for address, wires in reader.parts():
        named = shown(wires)
        sentence, title = describe(address, named, len(wires.coefficients) - len(named.coefficients))
        says = " ".join(filter(None, [sentence, (clauses or {}).get(address, "")]))
        statements[address] = statement(address, replace(wires, says=says))
        titles[address], told[address] = title, named
    tables = {Address("EMB.TOK"): ("tokens", "is", kinds)}
    tables |= {} if config.tied else {Address("UNEMB"): ("says", "said", spoken)}
    pages: dict[str, Mapping[float, Sequence[int]]] = {}
    for address, (call, suffix, of_coordinate) in tables.items():
        called = {names[c]: f"{names[c]}_{suffix}" for c in of_coordinate}
        pages |= {called[names[c]]: levels for c, levels in of_coordinate.items()}
        titles[address] = call
        first = [quoted(str(address)), quoted(_TABLES[call])]
        statements[address] = _call(call, first, [f"{name}={kind}" for name, kind in called.items()])
    return Written(
        stream_page(names),
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
    config: GPT2Config,
    weights: Weights,
    kinds: Mapping[int, Mapping[float, Sequence[int]]],
    spoken: Mapping[int, Mapping[float, Sequence[int]]],
    waves: Mapping[int, tuple[str, int, float]],
    token_text: TokenText,
) -> list[str]:
    """A name for every coordinate: from its wave, from the tokens that write or that it says, or its strongest writer.

    Where more tokens are said by it than write it, it is called after those.
    """
    names = []
    for coordinate in range(config.n_embd):
        if coordinate in waves:
            form, period, _ = waves[coordinate]
            names.append(f"{form}_{period}")
        elif coordinate in kinds or coordinate in spoken:
            written, said = _weight(kinds.get(coordinate, {})), _weight(spoken.get(coordinate, {}))
            heard = kinds[coordinate] if written >= said else spoken[coordinate]
            names.append(f"{'' if written >= said else 'says_'}{_token_name(heard, token_text)}")
        else:
            names.append(_writer_name(config, weights, coordinate))
    return unique([name if name.isidentifier() and not keyword.iskeyword(name) else f"the_{name}" for name in names])


def _weight(levels: Mapping[float, Sequence[int]]) -> int:
    """How many tokens are of a kind."""
    return sum(map(len, levels.values()))


def _token_name(levels: Mapping[float, Sequence[int]], token_text: TokenText) -> str:
    """From two of the tokens that are most of it; `not_` where those speak against it."""
    ordered = sorted(levels, key=lambda level: -abs(level))
    tokens = [token for level in ordered for token in levels[level] if level * ordered[0] > 0]
    words = list(dict.fromkeys(found for token in tokens[:40] if (found := word(token_text(token)))))[:2]
    name = "_".join(words) if len(words) > 1 else f"{words[0]}_token" if words else "some_tokens"
    return f"{'not_' if ordered[0] < 0 else ''}{name}"


def _writer_name(config: GPT2Config, weights: Weights, coordinate: int) -> str:
    """From the head or neuron that writes most of it."""
    best, name = 0.0, "unused"
    for layer in range(config.n_layer):
        for part, letter, size in (("attn", "h", config.d_head), ("mlp", "n", 1)):
            column = weights[f"h.{layer}.{part}.c_proj.weight"][:, coordinate].abs()
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


def describe(address: Address, wires: Wires, more: int) -> tuple[str, str]:
    """One sentence and a short name for a part, of the terms that `wires` has; `more` terms are not named."""
    match address.kind:
        case "QK":
            said = [f"from {_side(a)} to {_side(b)}" for a, b in wires.pairs]
            sentence = f"Looks {'; '.join(said)}" if said else "Looks everywhere alike"
            name = f"looks_{_short(wires.pairs[0][0])}_to_{_short(wires.pairs[0][1])}" if said else "looks_everywhere"
        case "OV":
            said = [f"{_side(a)} as {_side(b)}" for a, b in wires.pairs]
            sentence = f"Moves {'; '.join(said)}" if said else "Moves nothing"
            name = f"moves_{_short(wires.pairs[0][0])}" if said else "moves_nothing"
        case "IN":
            up, down = ({n: abs(c) for n, c in wires.terms.items() if (c > 0) == rises} for rises in (True, False))
            parts = [f"rises with {_side(up)}"] * bool(up) + [f"falls with {_side(down)}"] * bool(down)
            sentence = "; ".join(parts).capitalize() if parts else "Is constant"
            name = f"on_{_short(wires.terms)}" if parts else "constant"
        case "OUT" | "ATTN.B" | "MLP.B":
            sentence = f"Writes {_side(wires.terms)}" if wires.terms else "Writes nothing"
            name = f"writes_{_short(wires.terms)}" if wires.terms else "writes_nothing"
        case "EMB.POS":
            return "Positions write waves.", "positions"
        case _:
            return "", "norm"
    return f"{sentence}{f', and {more} smaller terms' if more > 0 else ''}.", name


def _side(terms: Terms) -> str:
    """Terms in words: `ada_boris and not the_a`."""
    return " and ".join(_signed("always" if name == ONE else name, c, "not ") for name, c in terms.items())


def _short(terms: Terms) -> str:
    name, coefficient = next(iter(terms.items()))
    return _signed(name, coefficient, "not_")


def _signed(name: str, coefficient: float, negation: str) -> str:
    """A coordinate, or that it is not: two negations are none."""
    if coefficient > 0:
        return name
    return name.removeprefix("not_") if name.startswith("not_") else f"{negation}{name}"


# --- pages ------------------------------------------------------------------------------------------------------------


def statement(address: Address, wires: Wires) -> str:
    """The statement of a part."""
    key, says = quoted(str(address)), quoted(wires.says)
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
        lines += textwrap.wrap(
            f"{group},", WIDTH, initial_indent="    ", subsequent_indent="    " if not one_a_line else "        ",
            break_on_hyphens=False, break_long_words=False,
        )  # fmt: skip
    return "\n".join([f"{what}(", *lines, ")"])


def _piece(piece: str) -> list[str]:
    """An argument on lines of its own: a long text as several that Python puts together."""
    if len(piece) + 5 <= WIDTH or not piece.startswith('"'):
        return [f"    {piece},"]
    words = textwrap.wrap(piece[1:-1], WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    parts = [f'    "{part} "' for part in words[:-1]]
    return [*parts, f'    "{words[-1]}",']


def stream_page(names: Sequence[str]) -> str:
    """The text of `stream.py`."""
    listed = textwrap.wrap(", ".join(map(quoted, names)) + ",", WIDTH, initial_indent="    ", subsequent_indent="    ")
    head = '"""The coordinates of the residual stream, in order: what parts write, and what later parts read."""'
    return "\n".join([head, "", "from .wires import coordinates", "", "coordinates(", *listed, ")", ""])
