"""Decompile models whose programs are known, and say how many of these were found again.

    python benchmarks/recover.py [--json] [--programs 20] [--seconds 20] [--output DIR] [--only PREFIX …]

Two kinds of ground truth. The zoo's algorithmic models were trained on a known labelling function: one counts as
recovered *functionally* where the program found is right on at least 99 % of new rows of the trained band. Which
selectors a trained model uses nobody knows, so nothing is said about structure. Compiled programs are drawn from seeds
and have weights set by hand: functionally recovered where what is found says the same on 99 % of new rows at all
places, *structurally* where it has the same looks in the same order, each with the same selectors of the same sign.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from platform import machine
from typing import Any

import numpy as np

from pellucid.base.errors import PellucidError
from pellucid.base.progress import track
from pellucid.weightless.decompile import Decompiled, decompiled
from pellucid.weightless.emit import load, program_text
from pellucid.weightless.generate import BANDS, generated
from pellucid.weightless.language import Alphabet
from pellucid.weightless.prelude import run
from pellucid.weightless.runner import Runner
from pellucid.weightless.task import read_task
from pellucid.zoo import registry
from pellucid.zoo.algorithmic import LANGUAGES, Language

WANTED, NEW_ROWS, NEW_SEED = 0.99, 500, 4

Said = Callable[[np.ndarray, int], Any]
"""What a program says at a place of a row: an id, or a set of ids."""


@dataclass(frozen=True)
class Recovery:
    """What became of one known program. `agrees` is the share of new rows by band; None is what has no meaning.

    The verdict of one that failed is `error` with the reason, and nothing agrees.
    """

    name: str
    kind: str
    verdict: str
    agrees: dict[str, float]
    selectors: list[list[str]] | None
    found: list[list[str]] | None
    numbers: int
    seconds: float

    @property
    def functional(self) -> bool:
        """Whether what was found computes the known function, in the trained band."""
        return next(iter(self.agrees.values()), 0.0) >= WANTED

    @property
    def structural(self) -> bool | None:
        """Whether it has the same selectors in the same order."""
        return None if self.selectors is None else self.selectors == self.found

    @property
    def leading(self) -> bool | None:
        """Whether the strongest selector of each look is the same, in the same order."""
        if self.selectors is None or self.found is None:
            return None
        return [look[:1] for look in self.selectors] == [look[:1] for look in self.found]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON."""
        more = {"functional": self.functional, "structural": self.structural, "leading": self.leading}
        return asdict(self) | more


def main() -> None:
    """Read the command line, decompile, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--programs", type=int, default=20, help="how many programs to compile (20)")
    parser.add_argument("--seconds", type=float, default=20.0, help="time to search for one program (20)")
    parser.add_argument("--output", type=Path, help="write each program to a directory below this one")
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of names, such as zoo or compiled-3")
    options = parser.parse_args()
    known = {f"zoo:{name}": partial(of_zoo, language) for name, language in LANGUAGES.items()}
    known |= {f"compiled-{seed}": partial(of_compiled, seed) for seed in range(options.programs)}
    chosen = [pair for pair in known.items() if pair[0].startswith(tuple(options.only))]
    found = []
    for name, decompiling in track(chosen, "known programs"):
        found.append(tried(name, partial(decompiling, options.seconds, options.output)))
        print(row(found[-1]), file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps([entry.to_dict() for entry in found], indent=1, ensure_ascii=False))
    else:
        table(found)


def tried(name: str, decompiling: Callable[[], Recovery]) -> Recovery:
    """What became of a program, or why nothing did: whatever happens is one row."""
    try:
        return decompiling()
    except Exception as error:
        if not isinstance(error, PellucidError | OSError):
            traceback.print_exc()
        reason = " ".join(f"error: {type(error).__name__}: {error}".split()).replace("|", "\\|")
        return Recovery(name, "trained" if name.startswith("zoo:") else "compiled", reason, {}, None, None, 0, 0.0)


def of_zoo(language: Language, seconds: float, output: Path | None) -> Recovery:
    """Decompile a trained model, and compare what is found with its labelling function."""
    path = registry.path(language.name)
    alphabet = Alphabet.of(read_task(path))
    id_of = {word: at for at, word in enumerate(language.vocabulary)}
    result = written(decompiled(path, seconds), output, language.name)
    said = speaker(result.text, alphabet)
    agrees = {}
    for band in language.bands:
        right = []
        for drawn in language.rows(NEW_SEED, NEW_ROWS, band):
            ids = np.array([id_of[word] for word in drawn.tokens])
            wanted = [{id_of[word] for word in words} for words in drawn.right]
            right.append(all(as_set(said(ids, at)) == want for at, want in zip(drawn.scored, wanted, strict=True)))
        agrees[band] = float(np.mean(right))
    return recovery(f"zoo:{language.name}", "trained", result, agrees, None)


def of_compiled(seed: int, seconds: float, output: Path | None) -> Recovery:
    """Compile the program of a seed, decompile the model, and compare the two programs."""
    name, known = f"compiled-{seed}", generated(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        known.write(path)
        result = written(decompiled(path, seconds), output, name)
    said, runner, agrees = speaker(result.text, known.program.alphabet), Runner(known.program), {}
    theirs = speaker(runner.text, known.program.alphabet)
    for band in BANDS:
        rows = known.rows(NEW_SEED, NEW_ROWS, band)
        same = [all(as_set(said(ids, at)) == as_set(theirs(ids, at)) for at in row.scored)
                for row in rows for ids in [np.array(row.ids)]]  # fmt: skip
        agrees[band] = float(np.mean(same))
    if output:
        (output / name / "known.py").write_text(program_text(known.program, f"{name}: what was compiled."))
    return recovery(name, "compiled", result, agrees, selectors(runner.text))


def recovery(
    name: str, kind: str, result: Decompiled, agrees: dict[str, float], known: list[list[str]] | None
) -> Recovery:
    """What became of a program."""
    figures, found = result.figures, None if known is None else selectors(result.text)
    return Recovery(name, kind, figures.verdict, agrees, known, found, figures.numbers, round(figures.seconds, 1))


def written(result: Decompiled, output: Path | None, name: str) -> Decompiled:
    """`result`, written below `output` if there is one."""
    if output:
        result.write(output / name)
    return result


def speaker(text: str, alphabet: Alphabet) -> Said:
    """What the text of a program says at a place of a row."""
    module = load(text)
    if not hasattr(module, "LOOKS"):  # arithmetic: a function of the first two numbers
        return lambda ids, _: module.answer(int(ids[0]), int(ids[1]))

    def said(ids: np.ndarray, place: int) -> Any:
        values = run(module.LOOKS, ids[: place + 1], alphabet.number)
        return module.answer(**{name: values[name][place] for name in ("token", "position", *module.LOOKS)})

    return said


def as_set(said: Any) -> set[int]:
    """An answer as a set of ids."""
    return {int(id) for id in said} if isinstance(said, set | tuple) else {int(said)}


# --- structure --------------------------------------------------------------------------------------------------------


def selectors(text: str) -> list[list[str]]:
    """The comparisons of every look of a program with their signs, the strongest first; numbers are left out."""
    functions = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("answer")
    ]
    found = []
    for function in functions:
        scores = [
            node.value
            for node in function.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "scores"
        ]
        terms = [_canonical(*pair) for value in scores for pair in _terms(value, 1.0)]
        ordered = sorted(terms, key=lambda pair: -abs(pair[0]))
        found.append([f"{'+' if weight > 0 else '-'} {name}" for weight, name in ordered if name])
    return found


def _canonical(weight: float, name: str) -> tuple[float, str]:
    """A softmax over keys cannot tell a distance from the key's position, negated: the latter stands for both."""
    return (-weight, "key.position") if name == "distance" else (weight, name)


def _terms(node: ast.expr, factor: float) -> list[tuple[float, str]]:
    """The terms of a sum, each as its number and what it is multiplied by."""
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return [*_terms(left, factor), *_terms(right, factor)]
        case ast.BinOp(left, ast.Sub(), right):
            return [*_terms(left, factor), *_terms(right, -factor)]
        case ast.UnaryOp(ast.USub(), operand):
            return _terms(operand, -factor)
        case ast.BinOp(left, ast.Mult(), right):
            (one, first), (other, second) = _product(left), _product(right)
            return [(factor * one * other, " * ".join(name for name in (first, second) if name))]
    number, name = _product(node)
    return [(factor * number, name)]


def _product(node: ast.expr) -> tuple[float, str]:
    """The number in a product, and the rest of it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value), ""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number, name = _product(node.operand)
        return -number, name
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        (one, first), (other, second) = _product(node.left), _product(node.right)
        return one * other, " * ".join(name for name in (first, second) if name)
    return 1.0, ast.unparse(node)


# --- what is printed --------------------------------------------------------------------------------------------------


def table(found: list[Recovery]) -> None:
    """Print the table, and how many were recovered."""
    print(f"{date.today()}, {machine()}\n")
    print("| program | verdict | agrees per band (%) | functional | structural | leading | numbers | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for entry in found:
        print(row(entry))
    print()
    for kind in ("trained", "compiled"):
        mine = [entry for entry in found if entry.kind == kind]
        if mine:
            print(f"{kind}: {summary(mine)}")


def summary(found: list[Recovery]) -> str:
    """How many were recovered, and how."""
    parts = [f"{sum(entry.functional for entry in found)} of {len(found)} functionally"]
    if any(entry.structural is not None for entry in found):
        parts.append(f"{sum(bool(entry.structural) for entry in found)} structurally")
        parts.append(f"{sum(bool(entry.leading) for entry in found)} with the same strongest selectors")
    parts.append(f"{sum(entry.verdict == 'decompiled' for entry in found)} decompiled")
    return ", ".join(parts)


def row(entry: Recovery) -> str:
    """A line of the table."""
    agrees = " ".join(f"{100 * share:.1f}" for share in entry.agrees.values())
    marks = [{True: "yes", False: "no", None: "–"}[x] for x in (entry.functional, entry.structural, entry.leading)]
    return f"| {entry.name} | {entry.verdict} | {agrees} | {' | '.join(marks)} | {entry.numbers} | {entry.seconds} |"


if __name__ == "__main__":
    try:
        main()
    except PellucidError as error:
        sys.exit(f"recover: {error}")
