"""The way back: a program of looks and questions as a GPT-2 model that computes it, with weights set by hand.

As in RASP (Weiss et al., 2021) and Tracr (Lindner et al., 2023), every value has coordinates of its own in the residual
stream: the token and the position as one-hot vectors, the shares that each look sees, the truth of each question, the
tokens that are said. Norms are no obstacle: every coordinate comes with its negative, so that the mean is zero, and a
constant outweighs everything else, so that the variance is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.base.errors import SourceError
from pellucid.base.files import write_text
from pellucid.base.tensors import save_tensors
from pellucid.family.canonical import canonical, checkpoint
from pellucid.family.made import Made, made
from pellucid.family.shapes import shapes
from pellucid.family.slots import Sizes
from pellucid.subject.checkpoint import WEIGHTS
from pellucid.weightless.branches import is_condition
from pellucid.weightless.comparisons import SideValues, evaluate
from pellucid.weightless.language import Look, WeightlessProgram
from pellucid.weightless.tree import DecisionNode

CONSTANT = 300.0
"""The coordinate that fixes the norms' scale: a value of 1 beside it changes the scale by 1e-5."""
STEEP = 1000.0
"""How fast the truth of a question rises at its threshold: from false to true within 1/1000."""
LOUD = 40.0
"""What a share of 1 adds to its token's logit."""
TIE = 1e-5
"""Of tokens with equal shares, the one with the smallest id is said: each is handicapped by so much more."""
EPSILON = 1e-5


@dataclass(frozen=True)
class Compiled:
    """What the model is made of, and its weights by canonical name."""

    made: Made
    weights: dict[str, Tensor] = field(repr=False)

    def write(self, directory: Path) -> None:
        """Write the checkpoint to `directory`."""
        save_tensors(directory / WEIGHTS, self.weights)
        write_text(directory / "config.json", json.dumps(self.made.fields, indent=1) + "\n")


def compiled(program: WeightlessProgram, positions: int) -> Compiled:
    """The model that computes `program` on rows of at most `positions` tokens.

    Raises `SourceError` naming every comparison, question and answer that has no such weights.
    """
    return _Compiler(program, positions).model()


@dataclass(frozen=True)
class Leaf:
    """What is said where all questions in `path` have the given truth."""

    path: tuple[tuple[int, bool], ...]
    choice: str


def leaves(program: WeightlessProgram) -> list[Leaf]:
    """The leaves of the program's tree with the way to each."""

    def below(node: DecisionNode, path: tuple[tuple[int, bool], ...]) -> list[Leaf]:
        if node.above is None or node.below is None:
            return [Leaf(path, program.choices[node.leaf])]
        yes, no = (*path, (node.feature, True)), (*path, (node.feature, False))
        return below(node.above, yes) + below(node.below, no)

    return below(program.tree, ())


class _Compiler:
    def __init__(self, program: WeightlessProgram, positions: int) -> None:
        self.program, self.positions = program, positions
        self.size = len(program.alphabet.texts)
        self.leaves = leaves(program)
        self.thresholds = _thresholds(program.tree)
        self.shares = [at for at, text in enumerate(program.questions) if not self._token_of(text)]
        self._check()
        plain = all(len(leaf.path) <= 1 for leaf in self.leaves)
        constant = all(self._seen(leaf.choice) is None for leaf in self.leaves)
        self.gated = bool(self.leaves[0].path) and not (plain and constant)
        """Whether leaves are conjunctions, or pass shares on, and so need neurons of their own."""
        starts = ["token", "position", "constant", *(look.name for look in program.looks), "truth", "said"]
        widths = [self.size, positions, 1, *([self.size] * len(program.looks)), len(self.shares), self.size]
        self.at = dict(zip(starts, np.cumsum([0, *widths[:-1]]).tolist(), strict=True))
        self.features = sum(widths)
        layers = 1 + max((look.layer for look in program.looks), default=0)
        self.heads = max((sum(look.layer == n for look in program.looks) for n in range(layers)), default=1) or 1
        reads = self.size * (1 + len(program.looks)) + positions
        self.inside = max(reads, -(-2 * self.features // self.heads))
        self.width = self.inside * self.heads
        self.layers, self.last = layers + self.gated, layers - 1

    # --- what there are weights for ---------------------------------------------------------------------------------

    def _check(self) -> None:
        program = self.program
        wrong = [term.text for look in program.looks for term in look.terms if self._kind(term.text) is None]
        wrong += [name for look in program.looks for name, _ in look.numbers]
        wrong += [text for at, text in enumerate(program.questions) if at in self.shares and not self._linear(text)]
        if program.answer == "argmax":
            names = {*program.alphabet.names, "token"}
            wrong += [x.choice for x in self.leaves if x.choice not in names and self._seen(x.choice) is None]
        if wrong:
            raise SourceError(f"there are no weights for {'; '.join(dict.fromkeys(wrong))}")

    def _kind(self, text: str) -> str | None:
        """What a comparison is about: `token`, `position`, or a look of the keys."""
        if re.fullmatch(r"key\.\w+\.(on\(query\.token\)|share\(\w+\))", text):
            return "look"
        place, token = re.search(r"distance|position", text), re.search(r"token|number", text)
        if (place and token) or "look" in text:
            return None
        return "position" if place else "token"

    def _token_of(self, question: str) -> int | None:
        """The token that `token == X` asks for, as id + 1."""
        found = re.fullmatch(r"token == (\w+)", question)
        return self.program.alphabet.names.index(found[1]) + 1 if found else None

    def _seen(self, choice: str) -> str | None:
        """The value that an answer passes on: a look's for `look.top`, `token` for itself."""
        if choice == "token":
            return "token"
        found = re.fullmatch(r"(\w+)\.top", choice)
        return found[1] if found and found[1] in {look.name for look in self.program.looks} else None

    def _linear(self, question: str) -> list[tuple[float, str, int]] | None:
        """`look.share(X) - look.share(Y)` as signs, looks and tokens."""
        if is_condition(question):
            return None
        found = []
        for piece in re.split(r"(?= [+-] )", question):
            term = re.fullmatch(r"(?: ([+-]) )?(\w+)\.share\((\w+)\)", piece)
            if not term or term[2] not in {look.name for look in self.program.looks}:
                return None
            found.append((-1.0 if term[1] == "-" else 1.0, term[2], self.program.alphabet.names.index(term[3])))
        return found

    # --- weights ----------------------------------------------------------------------------------------------------

    def model(self) -> Compiled:
        gated = 2 * len(self.shares), sum(self.size if self._seen(x.choice) else 1 for x in self.leaves)
        sizes = Sizes(
            *(self.width, self.heads, self.heads, self.inside),
            *(max(1, *gated), self.size, self.positions),
        )
        model = made(self.layers, sizes, activation="relu", epsilon=EPSILON)
        self.weights = {name: np.zeros(shape) for name, shape in shapes(canonical(model.decoder)).items()}
        for name in self.weights:
            if name.endswith((".LN1", ".LN2", "LNF")):
                self.weights[name] += np.sqrt(2 * CONSTANT**2 / self.width + EPSILON)
        self._embed()
        for layer in range(self.last + 1):
            for head, look in enumerate(look for look in self.program.looks if look.layer == layer):
                self._attend(look, layer, head)
        self._ask()
        if self.gated:
            self._gate()
        self._say()
        held = {name: torch.from_numpy(value).float() for name, value in self.weights.items()}
        empty = {name: torch.zeros(shape) for name, shape in shapes(model.decoder).items()}
        return Compiled(model, checkpoint(model.decoder, empty, held))

    def _write(self, table: Float[np.ndarray, "row model"], row: int, feature: int, value: float) -> None:
        """Let `row` of what writes to the residual stream add `value` to a feature: there, and negated beside it."""
        table[row, 2 * feature] += value
        table[row, 2 * feature + 1] -= value

    def _embed(self) -> None:
        for token in range(self.size):
            self._write(self.weights["EMB.TOK"], token, self.at["token"] + token, 1.0)
            self._write(self.weights["EMB.TOK"], token, self.at["constant"], CONSTANT)
        for place in range(self.positions):
            self._write(self.weights["EMB.POS"], place, self.at["position"] + place, 1.0)

    def _attend(self, look: Look, layer: int, head: int) -> None:
        """Scores are a form of the query's features and the key's; what is moved is the key's token."""
        at = f"L{layer:02d}.H*"
        queries, offered, values = (self.weights[f"{at}.{letter}"] for letter in "QKV")
        keys = [self.at["token"] + n for n in range(self.size)]
        keys += [self.at["position"] + n for n in range(self.positions)]
        keys += [self.at[other.name] + n for other in self.program.looks for n in range(self.size)]
        form = np.zeros((self.features, len(keys)))
        for term in look.terms:
            self._compare(form, keys, term.text, term.weight)
        start = head * self.inside
        for column, key in enumerate(keys):
            queries[2 * np.arange(self.features), start + column] = form[:, column]
            offered[2 * key, start + column] = 1.0
        for token in range(self.size):
            values[2 * (self.at["token"] + token), start + token] = 1.0
            self._write(self.weights[f"{at}.O"], start + token, self.at[look.name] + token, 1.0)

    def _compare(self, form: Float[np.ndarray, "feature key"], keys: Sequence[int], text: str, weight: float) -> None:
        """Add a comparison to the form of a head's scores."""
        column = {key: at for at, key in enumerate(keys)}
        alphabet, kind = self.program.alphabet, self._kind(text)
        if kind == "look":
            _, name, rest = text.split(".", 2)
            if rest.startswith("on"):
                for token in range(self.size):
                    form[self.at["token"] + token, column[self.at[name] + token]] += weight
            else:
                token = alphabet.names.index(rest[len("share(") : -1])
                form[self.at["constant"], column[self.at[name] + token]] += weight / CONSTANT
            return
        size, start = (self.size, self.at["token"]) if kind == "token" else (self.positions, self.at["position"])
        query, key = (side.ravel() for side in np.meshgrid(np.arange(size), np.arange(size), indexing="ij"))
        sides = [SideValues(at, at, alphabet.number[at] if kind == "token" else at, {}) for at in (query, key)]
        with np.errstate(all="ignore"):  # places behind the query are never looked at
            table = np.nan_to_num(evaluate([text], alphabet, *sides)[0].reshape(size, size))
        table = np.tril(table) if kind == "position" else table
        form[start : start + size, [column[start + at] for at in range(size)]] += weight * table

    def _ask(self) -> None:
        """Neurons that say whether each question about shares is true, behind the last looks."""
        names = [f"L{self.last:02d}.N*.{name}" for name in ("IN", "IN.bias", "OUT")]
        reads, bias, writes = (self.weights[name] for name in names)
        for at, question in enumerate(self.shares):
            for side, offset in enumerate((0.5, -0.5)):
                neuron = 2 * at + side
                for sign, look, token in self._linear(self.program.questions[question]) or ():
                    reads[2 * (self.at[look] + token), neuron] += STEEP * sign
                bias[neuron] = offset - STEEP * self.thresholds[question]
                self._write(writes, neuron, self.at["truth"] + at, 1.0 - 2.0 * side)

    def _truth(self, question: int) -> int:
        """The feature that is 1 where a question is true."""
        token = self._token_of(self.program.questions[question])
        start: int = self.at["token"] - 1 if token else self.at["truth"]
        return start + (token or self.shares.index(question))

    def _gate(self) -> None:
        """Neurons for each leaf: open where all its questions have their truth."""
        names = [f"L{self.layers - 1:02d}.N*.{name}" for name in ("IN", "IN.bias", "OUT")]
        reads, bias, writes = (self.weights[name] for name in names)
        neuron = 0
        for leaf in self.leaves:
            seen = self._seen(leaf.choice)
            for token in range(self.size if seen else 1):
                for question, truth in leaf.path:
                    reads[2 * self._truth(question), neuron] += 1.0 if truth else -1.0
                bias[neuron] = (0.0 if seen else 1.0) - sum(truth for _, truth in leaf.path)
                if seen:
                    reads[2 * (self.at[seen] + token), neuron] += 1.0
                    self._write(writes, neuron, self.at["said"] + token, 1.0)
                else:
                    for said, sign in self._constant(leaf.choice):
                        self._write(writes, neuron, self.at["said"] + said, sign)
                neuron += 1

    def _constant(self, choice: str) -> list[tuple[int, float]]:
        """What an answer that is always the same adds to which tokens."""
        names = self.program.alphabet.names
        if self.program.answer == "argmax":
            return [(names.index(choice), 1.0)]
        members = set(re.findall(r"\w+", choice))
        return [(at, 0.5 if name in members else -0.5) for at, name in enumerate(names)]

    def _say(self) -> None:
        """Logits: what the leaves said, or directly the features that the only leaf, or either of two, is made of."""
        head, constant = self.weights["UNEMB"], 2 * self.at["constant"]
        if self.program.answer == "argmax":
            head[:, constant] -= LOUD * TIE * np.arange(self.size) / CONSTANT
        if self.gated:
            for token in range(self.size):
                head[token, 2 * (self.at["said"] + token)] = LOUD
            return
        for leaf in self.leaves:
            if seen := self._seen(leaf.choice):
                for token in range(self.size):
                    head[token, 2 * (self.at[seen] + token)] += LOUD
                continue
            for token, sign in self._constant(leaf.choice):
                if not leaf.path:
                    head[token, constant] += LOUD * sign / CONSTANT
                    continue
                ((question, truth),) = leaf.path
                head[token, 2 * self._truth(question)] += LOUD * sign * (1.0 if truth else -1.0)
                head[token, constant] += 0.0 if truth else LOUD * sign / CONSTANT


def _thresholds(node: DecisionNode) -> dict[int, float]:
    if node.above is None or node.below is None:
        return {}
    return {node.feature: node.threshold} | _thresholds(node.above) | _thresholds(node.below)
