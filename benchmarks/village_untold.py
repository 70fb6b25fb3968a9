"""What a model of the village knows that no story tells, beside what its program says.

Facts in the one wording that training never shows; what follows from a fact, asked without the fact, or behind a
wording that never has a consequence; kin of kin. Truth is the generator's; the best constant guess is beside each. Run
it on a decompiled village:

    python benchmarks/village_untold.py DIR [--json]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

import pellucid
from pellucid.zoo import registry
from pellucid.zoo.village import Village
from pellucid.zoo.village.consequences import RULES, consequences
from pellucid.zoo.village.evaluate import END, Logits
from pellucid.zoo.village.facts import KINSHIP, Fact
from pellucid.zoo.village.wordings import WORDINGS, held_out_wording
from village_rules import programs_of


@dataclass(frozen=True)
class Asked:
    """A prompt of some kind, the right answer, and all answers that would make sense."""

    kind: str
    prompt: str
    answer: str
    answers: tuple[str, ...]


def main() -> None:
    """Print a line for each kind of thing that no story tells."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = pellucid.open(options.directory)
    tokenizer = Tokenizer.from_file(str(registry.path("village") / "tokenizer.json"))
    programs = programs_of(project)
    asked = sorted(untold(Village()), key=lambda each: each.kind)
    found = {kind: line(list(cases), tokenizer, programs) for kind, cases in groupby(asked, key=lambda each: each.kind)}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    columns = [f"{name}, {how}" for name in programs for how in ("first", "among answers")]
    print(f"| never told | n | constant guess | {' | '.join(columns)} |")
    print(f"|---|{'---:|' * (len(columns) + 2)}")
    for kind, row in found.items():
        print(f"| {kind} | {row['n']} | {' | '.join(f'{row[c]:.1f}' for c in ('constant guess', *columns))} |")


def untold(village: Village) -> Iterator[Asked]:
    """Everything that is asked."""
    answers: dict[str, set[str]] = {}
    for fact in village.facts:
        answers.setdefault(fact.relation.name, set()).add(fact.answer)
    kin = {
        (fact.person.name, fact.relation.name): fact.answer for fact in village.facts if fact.relation.name in KINSHIP
    }
    for fact in village.facts:
        possible = tuple(sorted(answers[fact.relation.name]))
        if (kept := held_out_wording(fact)) and kept != "therefore":
            yield Asked("a fact in an untold wording", WORDINGS[kept](fact)[0], fact.answer, possible)
        yield from untold_consequences(fact)
        for relation in KINSHIP if fact.relation.name in KINSHIP else ():
            if further := kin.get((fact.answer, relation)):
                told = further in {kin.get((fact.person.name, other)) for other in KINSHIP}
                kind = "oneself" if further == fact.person.name else "also one's own kin" if told else "not told of"
                prompt = f" The {relation} of {fact.person.name}'s {fact.relation.name} is"
                yield Asked(f"kin of kin, {kind}", prompt, further, tuple(sorted(answers[relation])))


def untold_consequences(fact: Fact) -> Iterator[Asked]:
    """What follows from a fact, without it, and behind a wording that no consequence follows."""
    for found in consequences(fact):
        _, all_answers = RULES[fact.relation.name]
        possible = tuple(sorted(set(all_answers.values())))
        short = f" {fact.person.name} {found.clause}"
        yield Asked("a consequence, without its reason", short, found.answer, possible)
        before, _ = WORDINGS["possessive"](fact)
        behind = f"{before} {fact.answer}, so {fact.person.she} {found.clause}"
        yield Asked("a consequence behind another wording", behind, found.answer, possible)


def line(cases: Sequence[Asked], tokenizer: Tokenizer, programs: dict[str, Logits]) -> dict[str, Any]:
    """Shares of right first tokens, in percent: of all tokens, and among those that answers begin with."""
    prompts = [tokenizer.encode(case.prompt.strip()).ids for case in cases]
    rows = np.full((len(cases), 1 + max(map(len, prompts))), END, dtype=np.int64)
    for row, prompt in zip(rows, prompts, strict=True):
        row[1 : 1 + len(prompt)] = prompt
    right = [first_token(tokenizer, case.answer) for case in cases]
    possible = [[first_token(tokenizer, answer) for answer in case.answers] for case in cases]
    commonest = Counter(right).most_common(1)[0][1]
    found: dict[str, Any] = {"n": len(cases), "constant guess": 100 * commonest / len(cases)}
    at = np.array([len(prompt) for prompt in prompts])
    for name, logits in programs.items():
        said = np.concatenate([logits(rows[start : start + 64]) for start in range(0, len(rows), 64)])
        here = said[np.arange(len(rows)), at]
        among = [ids[int(here[n, ids].argmax())] for n, ids in enumerate(possible)]
        found[f"{name}, first"] = 100 * float(np.mean(here.argmax(-1) == right))
        found[f"{name}, among answers"] = 100 * float(np.mean(np.array(among) == right))
    return found


def first_token(tokenizer: Tokenizer, answer: str) -> int:
    """The token that an answer begins with behind a word."""
    return int(tokenizer.encode(f"it {answer}").ids[len(tokenizer.encode("it").ids)])


if __name__ == "__main__":
    main()
