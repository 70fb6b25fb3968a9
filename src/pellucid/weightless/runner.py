"""Running the text of a program over rows: what is measured is what was printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from pellucid.weightless.emit import load, program_text
from pellucid.weightless.language import Alphabet, Look, WeightlessProgram
from pellucid.weightless.prelude import Place, Seen, attend, run
from pellucid.weightless.task import Judged

Given = Mapping[tuple[str, int], Any]


class Runner:
    """A program that answers: `values` of a row, and `answers` at places."""

    def __init__(self, program: WeightlessProgram) -> None:
        self.text = program_text(program, "")
        self.module = load(self.text)
        self.looks = list(self.module.LOOKS)
        self.alphabet, self.kind = program.alphabet, program.answer

    def values(self, row: np.ndarray, given: Given | None = None) -> dict[str, Any]:
        """All values of a row, with what looks saw replaced at places."""
        return run(self.module.LOOKS, row, self.alphabet.number, given)

    def answer(self, values: Mapping[str, Any], place: int) -> np.ndarray:
        """The answer at a place as the model gives it: an id, or a boolean for every token."""
        here = {name: values[name][place] for name in ("token", "position", *self.looks)}
        with np.errstate(all="ignore"):
            return as_array(self.module.answer(**here), self.kind, len(self.alphabet.texts))

    def answers(self, ids: Int64[np.ndarray, "batch pos"], where: Bool[np.ndarray, "batch pos"]) -> np.ndarray:
        """The answers at the places `where`, in order, stacked."""
        found = []
        for row, places in zip(ids, where, strict=True):
            at = np.flatnonzero(places)
            values = self.values(row[: at[-1] + 1]) if len(at) else {}
            found += [self.answer(values, int(place)) for place in at]
        return np.stack(found)


def as_array(said: Any, kind: Judged, vocabulary: int) -> np.ndarray:
    """What a program returned, as an id or as booleans over the vocabulary."""
    if kind == "argmax":
        return np.asarray(int(said))
    members = np.zeros(vocabulary, bool)
    members[list(said)] = True
    return members


def see(look: Look, alphabet: Alphabet, rows: Sequence[Mapping[str, Any]]) -> list[Seen]:
    """What `look` sees in rows whose earlier values are given."""
    score = " + ".join(f"({term.weight!r}) * ({term.text})" for term in look.terms) or "0"
    code = compile(score, look.name, "eval")
    numbers = [(name, compile(text, look.name, "eval")) for name, text in look.numbers]
    found = []
    for values in rows:
        query, key = Place(values, (slice(None), None)), Place(values, (None, slice(None)))
        scope = alphabet.constants | {"query": query, "key": key, "distance": query.position - key.position}
        with np.errstate(all="ignore"):  # what is compared with later places is never used
            scores = eval(code, {"__builtins__": {}}, scope)
            means = {name: eval(text, {"__builtins__": {}}, scope) for name, text in numbers}
        found.append(attend(scores, values, len(alphabet.texts), means))
    return found
