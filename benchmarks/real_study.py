"""Real models on six behaviours: how often they are right, the circuit and its faithfulness, heads that serve several.

    python benchmarks/real_study.py [--folder DIR] [--pairs 24] [--asked N] [--task NAME …] [--json FILE] [NAME …]

NAME is a model of `real.py`, which says where it comes from and skips what cannot be had. Behaviours: indirect objects,
greater-than, induction, agreement, successors, capitals; pairs are made here by a seed, of prompts that match token by
token. On one half edge attribution (EAP-IG) ranks all edges; on the other half is measured, exactly, what is left of
the way from corrupted to clean where only so many edges carry messages (faithfulness). `--json` keeps what is measured
of each behaviour, and a later run goes on from there. With `--asked` no circuits are sought: the different clean
prompts of N pairs are asked, and how many have the right answer is said with a Wilson interval of 95 %.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch

import pellucid
from circuits import right
from pellucid.accounts.meter import wilson
from pellucid.base.files import write_text
from pellucid.engine.tasks import MinimalPair, MinimalPairs
from pellucid.exact.model import Model
from pellucid.study.circuits import Examiner, largest
from real import FOLDER, MODELS, NotHereError, reading_gguf

SIZES = (0.001, 0.003, 0.01, 0.03, 0.1)
"""Shares of all edges at which faithfulness is measured."""
SERVING = 0.01
"""The share of edges whose heads serve a behaviour."""
PEOPLE = ("Mary", "John", "Tom", "James", "Anna", "Peter", "Sarah", "Paul", "Mark", "Laura", "David", "Alice", "Robert")
PLACES = ("store", "park", "school", "office", "station", "garden", "beach", "house")
THINGS = ("drink", "book", "ring", "letter", "bone", "basket", "coat", "key")
NOUNS = ("key", "book", "dog", "teacher", "picture", "letter", "car", "child's toy", "house", "student", "tree", "road")
NEAR = ("near the cabinet", "behind the wall", "on the table", "with the red cover", "in the garden")
WORDS = (
    "lamp",
    "river",
    "stone",
    "cloud",
    "music",
    "paper",
    "window",
    "summer",
    "engine",
    "mirror",
    "copper",
    "island",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Germany": "Berlin",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "Russia": "Moscow",
    "England": "London",
    "China": "Beijing",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Ireland": "Dublin",
    "Norway": "Oslo",
    "Cuba": "Havana",
}


# --- behaviours -------------------------------------------------------------------------------------------------------


def indirect_objects(draw: Random) -> MinimalPair:
    """Who is given something: the other of two people, whichever of them gives."""
    one, other = draw.sample(PEOPLE, 2)
    place, thing = draw.choice(PLACES), draw.choice(THINGS)
    start, end = f"When {one} and {other} went to the {place},", f"gave a {thing} to"
    return MinimalPair(f"{start} {other} {end}", f"{start} {one} {end}", (f" {one}",), (f" {other}",))


def greater_than(draw: Random) -> MinimalPair:
    """A war ends later in the century than it began: the first digit of its year, from digits alone."""
    century, tens = draw.randint(11, 17), draw.randint(3, 7)
    text = "The {} lasted from the year {}{}5 to the year {}"
    what = draw.choice(("war", "siege", "reign", "voyage", "treaty", "project"))
    later, others = [str(n) for n in range(tens, 10)], [str(n) for n in range(tens)]
    clean = text.format(what, century, tens, century)
    return MinimalPair(clean, text.format(what, century, 0, century), tuple(later), tuple(others))


def induction(draw: Random) -> MinimalPair:
    """What followed a word before follows it again."""
    words = draw.sample(WORDS, 8)
    again = draw.randrange(1, 6)
    other = draw.choice([at for at in range(1, 6) if abs(at - again) > 1])
    text = " ".join(words)
    clean, corrupted = (f"{text}, {text.split()[0]} {words[1]}, then {words[at]}" for at in (again, other))
    return MinimalPair(clean, corrupted, (f" {words[again + 1]}",), (f" {words[other + 1]}",))


def agreement(draw: Random) -> MinimalPair:
    """One is, several are."""
    noun, near = draw.choice([noun for noun in NOUNS if " " not in noun]), draw.choice(NEAR)
    many, one = f"The {noun}s {near}", f"The {noun} {near}"
    if draw.random() < 0.5:
        return MinimalPair(many, one, (" are", " were"), (" is", " was"))
    return MinimalPair(one, many, (" is", " was"), (" are", " were"))


def successors(draw: Random) -> MinimalPair:
    """What comes behind days, months or numbers in a row."""
    row = draw.choice((DAYS, MONTHS, NUMBERS))
    at, other = draw.sample(range(len(row) - 3), 2)
    clean, corrupted = (f"{row[n]}, {row[n + 1]}, {row[n + 2]}," for n in (at, other))
    return MinimalPair(clean, corrupted, (f" {row[at + 3]}",), (f" {row[other + 3]}",))


def capitals(draw: Random) -> MinimalPair:
    """The capital of a country."""
    one, other = draw.sample(list(CAPITALS), 2)
    text = draw.choice(("The capital of {} is the city of", "The capital city of {} is called"))
    return MinimalPair(text.format(one), text.format(other), (f" {CAPITALS[one]}",), (f" {CAPITALS[other]}",))


BEHAVIOURS: dict[str, Callable[[Random], MinimalPair]] = {
    "indirect objects": indirect_objects,
    "greater-than": greater_than,
    "induction": induction,
    "agreement": agreement,
    "successors": successors,
    "capitals": capitals,
}


def pairs_of(model: Model, name: str, count: int, seed: int = 0) -> MinimalPairs:
    """At most `count` different pairs of a behaviour that the model's tokens can tell apart."""
    draw, made = Random(f"{seed} {name}"), dict[str, MinimalPair]()
    for _ in range(20 * count):
        pair = BEHAVIOURS[name](draw)
        made.setdefault(f"{pair.clean}\n{pair.corrupted}", pair)
    found = MinimalPairs(name, tuple(made.values())).fitting(model)
    return MinimalPairs(name, found.pairs[:count])


# --- measuring --------------------------------------------------------------------------------------------------------


def studied(model: Model, task: MinimalPairs) -> dict[str, Any]:
    """What is measured of a behaviour."""
    search, held_out = task.split()
    scores = pellucid.score_edges(model, search)
    total = int(scores.wiring.real.sum())
    examiner = Examiner(model, held_out)
    circuits = {size: largest(scores, max(1, round(size * total))) for size in SIZES}
    serving = largest(scores, round(SERVING * total))
    return {
        "pairs": len(held_out),
        "edges": total,
        "right": right(model, held_out),
        "faithfulness": {f"{100 * size:g} %": examiner.faithfulness(c.edges) for size, c in circuits.items()},
        "heads": [scores.wiring.address(name) for name in serving.nodes if name.startswith("a")],
        "most": scores.table[:5],
    }


def asked(model: Model, task: MinimalPairs) -> dict[str, Any]:
    """How often different clean prompts are answered rightly, with a Wilson interval of 95 %."""
    task = MinimalPairs(task.name, tuple({pair.clean: pair for pair in task.pairs}.values()))
    share = right(model, task)
    return {"pairs": len(task), "right": share, "between": wilson(round(share * len(task)), len(task))}


def answers(name: str, found: dict[str, Any]) -> Iterator[str]:
    """What was asked of a model, as a table."""
    yield f"{name}:\n\n| behaviour | prompts | right | 95 % |\n|---|---:|---:|---|"
    for task, one in found.items():
        low, high = (100 * bound for bound in one["between"])
        yield f"| {task} | {one['pairs']} | {100 * one['right']:.0f} % | {low:.0f} to {high:.0f} % |"


def serving(found: dict[str, Any]) -> dict[str, int]:
    """The heads that serve several behaviours, and how many."""
    count = Counter(head for one in found.values() for head in one["heads"])
    return {head: n for head, n in count.most_common() if n > 1}


def lines(name: str, found: dict[str, Any]) -> Iterator[str]:
    """What was measured of a model, as a table."""
    yield f"{name}: {next(iter(found.values()))['edges']:,} edges"
    yield ""
    yield "| behaviour | pairs | right | " + " | ".join(f"{100 * size:g} % of edges" for size in SIZES) + " | heads |"
    yield "|---|---:|---:|" + "---:|" * (len(SIZES) + 1)
    for task, one in found.items():
        curve = " | ".join(f"{value:.2f}" for value in one["faithfulness"].values())
        yield f"| {task} | {one['pairs']} | {100 * one['right']:.0f} % | {curve} | {len(one['heads'])} |"
    several = serving(found)
    yield ""
    most = [f"{head} ({n})" for head, n in list(several.items())[:12]]
    yield f"Heads of several behaviours: {', '.join(most) or 'none'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"models: {', '.join(MODELS)} (all)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where models are put")
    parser.add_argument("--pairs", type=int, default=24, help="pairs of each behaviour, both halves (24)")
    parser.add_argument("--asked", type=int, metavar="N", help="only ask the prompts of N pairs")
    parser.add_argument("--task", nargs="+", choices=[*BEHAVIOURS], default=[*BEHAVIOURS], help="behaviours (all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="what was measured, kept from run to run")
    options = parser.parse_args()
    kept: dict[str, Any] = {}
    if options.json and options.json.is_file():
        kept = json.loads(options.json.read_text(encoding="utf-8"))
    reading_gguf(options.folder)
    for name in options.names or [*MODELS]:
        try:
            model = pellucid.load(MODELS[name](options.folder))
        except NotHereError as error:
            print(f"{name}: left out, {error}", flush=True)
            continue
        found = kept.setdefault(f"{name}, asked" if options.asked else name, {})
        for task in (task for task in options.task if task not in found):
            with torch.no_grad():
                pairs = pairs_of(model, task, options.asked or options.pairs)
            if len(pairs) < 4:
                print(f"{name}, {task}: left out, its tokens tell {len(pairs)} pairs apart", flush=True)
                continue
            found[task] = asked(model, pairs) if options.asked else studied(model, pairs)
            if options.json:
                write_text(options.json, json.dumps(kept, indent=1) + "\n")
        print(*(answers if options.asked else lines)(name, found), sep="\n", flush=True)


if __name__ == "__main__":
    main()
