"""Tables of real models: what they answer to relations of the world, in several wordings, beside what is so.

    python benchmarks/real_tables.py [--folder DIR] [--relations 20] [--json FILE] [NAME …]

NAME is a model of `real.py`. Relations are those of `../shared/tasks/known_1000.json` with the most subjects; each is
asked of all its subjects in its commonest wordings, at most four, and answered among the values that the relation has
there (`pellucid table … --answers`). *right*: lines with the value of the data. *chance*: one of so many values.
*agreement*: the share of wordings that give the line's answer, in the mean. *plain*: lines that say it at once. Data
are facts that a larger model knew; a model of 135 million numbers knows fewer of them. `--json` keeps each relation.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pellucid
from pellucid.base.files import write_text
from real import FOLDER, MODELS, SHARED, NotHereError, reading_gguf

FACTS = SHARED / "tasks" / "known_1000.json"
WORDINGS = 4


def relations(count: int) -> dict[str, list[dict[str, Any]]]:
    """The facts of the relations with the most subjects that are asked in two wordings or more."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fact in json.loads(FACTS.read_text(encoding="utf-8")):
        found[fact["relation_id"]].append(fact)
    several = {name: own for name, own in found.items() if len(_wordings(own)) > 1}
    return dict(sorted(several.items(), key=lambda entry: -len(entry[1]))[:count])


def _wordings(facts: Sequence[dict[str, Any]]) -> list[str]:
    common = Counter(fact["template"] for fact in facts)
    return [template for template, _ in common.most_common(WORDINGS)]


def measured(model: Any, facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a model answers of a relation, beside the data."""
    truth = {fact["subject"]: fact["attribute"] for fact in facts}
    asks, values = _wordings(facts), sorted(set(truth.values()))
    found = pellucid.table(model, asks, list(truth), answers=values)
    lines = found.lines
    return {
        "asks": asks,
        "keys": len(lines),
        "values": len(values),
        "right": sum(line.answer == truth[line.key] for line in lines) / len(lines),
        "commonest": Counter(truth.values()).most_common(1)[0][1] / len(lines),
        "agreement": sum(line.agreement for line in lines) / len(lines),
        "plain": sum(line.same for line in lines) / len(lines),
        "wordings": [
            sum(line.readings[at].answer == truth[line.key] for line in lines) / len(lines) for at in range(len(asks))
        ],
    }


def rows(found: dict[str, Any]) -> Iterator[str]:
    """A table of what was measured."""
    yield "| relation | asked as | keys | right | chance; commonest value | agreement of wordings | said plainly |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for name, one in found.items():
        figures = (one["right"], 1 / one["values"], one["commonest"], one["agreement"], one["plain"])
        right, chance, commonest, agreement, plain = (f"{100 * figure:.0f} %" for figure in figures)
        said = one["asks"][0]
        yield f"| {name} | {said} | {one['keys']} | {right} | {chance}; {commonest} | {agreement} | {plain} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"models: {', '.join(MODELS)} (smollm2)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where models are put")
    parser.add_argument("--relations", type=int, default=20, help="how many relations (20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="what was measured, kept from run to run")
    options = parser.parse_args()
    if not FACTS.is_file():
        parser.error(f"there is no {FACTS}")
    kept: dict[str, Any] = {}
    if options.json and options.json.is_file():
        kept = json.loads(options.json.read_text(encoding="utf-8"))
    reading_gguf(options.folder)
    for name in options.names or ["smollm2"]:
        try:
            model = pellucid.load(MODELS[name](options.folder))
        except NotHereError as error:
            print(f"{name}: left out, {error}", flush=True)
            continue
        found = kept.setdefault(name, {})
        for relation, facts in relations(options.relations).items():
            if relation not in found:
                found[relation] = measured(model, facts)
                if options.json:
                    write_text(options.json, json.dumps(kept, indent=1) + "\n")
        print(name, *rows(found), sep="\n", flush=True)


if __name__ == "__main__":
    main()
