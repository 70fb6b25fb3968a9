"""Debugging a model by its source: planted flaws are found from their symptoms, and fixed with one edit each.

What is given is a decompiled program and true stories, which say what the model should do. Nothing is given about the
flaws: symptoms are where the model says something else than the story determines; few tokens tell them from what is
right (`debug_symptoms.py`); of the edits by intent that these suggest, the one that mends most of the sample is made.
All is measured on stories that nothing was found or chosen on:

- found: the share of the places that a flaw spoils (`pellucid.zoo.village.bugs`, which is read for that alone) that are
  explained, and the share of what is explained that a flaw spoils;
- fixed: the share of the places that were wrong and explained, and are right now;
- kept: the share of places behind the same trigger that were right and stay so; and of all other determined places;
- CE: the change of cross-entropy on stories without the trigger, in nats per token; r: predicted against measured
  changes of logits (`docs/editing.md`).

Beside it constrained fine-tuning on the same examples (its settings chosen on the same sample), and a plain search over
inputs: every token of the vocabulary is inserted at every place of sentences that are told right, to see which ones
change the pronoun.

    python benchmarks/debug.py DIR [--stories 1000] [--json]

DIR is a decompiled `zoo:village-bugged`; it is copied, and the copy is edited.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from debug_symptoms import Bug, Heard, Sample, bugs, listen, patterns, shortest, siblings
from edit import copied, undo_all
from edit_baselines import Lesson, settings
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.project.project import Project
from pellucid.rewrite.apply import apply, predicted
from pellucid.rewrite.intent import Proposal, fact, rows_of
from pellucid.rewrite.read import read
from pellucid.rewrite.rules import rule
from pellucid.rewrite.workbench import Workbench
from pellucid.zoo import registry
from pellucid.zoo.village import Village
from pellucid.zoo.village.bugs import FLAWS, sites
from pellucid.zoo.village.evaluate import END

Logits = Callable[[Tensor], Tensor]
TOKENIZER = str(registry.path("village-bugged") / "tokenizer.json")
FINDING, HELD_OUT = 100_000, 200_000
"""The first story of those that flaws are found on, and of those that all is measured on."""
ROWS = (300, 800)
"""Rows of fit text that edits are looked for in, and of held-out text that they are predicted on."""
CHOSEN = 40
"""Stories, and symptoms, of those found that fixes and settings are chosen by."""
EXAMPLES = 24
"""Symptoms, and places that are right, that fine-tuning learns from."""
SENTENCES = 3
"""Sentences into which tokens are inserted."""


# --- edits ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fix:
    """An edit by intent: the command for it, and how to propose it."""

    command: str
    propose: Callable[[Workbench], Proposal]


def suggested(sample: Sample, before: Heard, bug: Bug, tokenizer: Tokenizer) -> Iterator[Fix]:
    """Edits that could fix it.

    Reading the trigger as what stands in its place where all is right; where one token is said in the place of one
    other, a rule behind what stands from the trigger to the place; and the fact that the shortest symptom asks for.
    """
    trigger = tokenizer.decode([bug.triggers[0]])
    for token in siblings(sample, before, bug):
        other = tokenizer.decode([token])
        yield Fix(f"--read {trigger!r} {other!r}", lambda bench, other=other: read(bench, trigger, other))
    if len(bug.pairs) == 1:
        says, over = (tokenizer.decode([token]) for token in next(iter(bug.pairs)))
        for pattern in patterns(sample, bug, tokenizer)[:1]:
            command = f"--when {pattern!r} --prefer {says!r} --over {over!r}"
            yield Fix(command, lambda bench, pattern=pattern: rule(bench, pattern, says, over))
    place = shortest(sample, bug)
    prompt, answer = (tokenizer.decode([*tokens]).strip() for tokens in (place.before, place.answer))
    yield Fix(f"--fact {prompt!r} {answer!r}", lambda bench: fact(bench, prompt, answer))


@dataclass(frozen=True)
class Tried:
    """What a fix does to a sample: symptoms mended less places broken."""

    fix: Fix
    worth: int


def best_fix(bench: Workbench, sample: Sample, before: Heard, bug: Bug, tokenizer: Tokenizer) -> Tried | None:
    """The suggested edit that mends most of the sample on which the bug was found, less what it breaks there.

    The first that mends all and breaks nothing is taken.
    """
    best = None
    met = met_by(bug, sample, tokenizer)
    was = listen(bench.measured, met).right(met)
    for fix in suggested(sample, before, bug, tokenizer):
        try:
            apply(bench, predicted(bench, fix.propose(bench)), anyway=True)
        except PellucidError as error:
            print(f"{fix.command}: {error}", file=sys.stderr, flush=True)
            continue
        now = listen(bench.measured, met).right(met)
        undo_all(bench)
        worth = sum(now) - sum(was)
        print(f"{fix.command}: {worth:+d} of {was.count(False)}", file=sys.stderr, flush=True)
        if best is None or worth > best.worth:
            best = Tried(fix, worth)
        mended = all(good for good, place in zip(now, met.places, strict=True) if bug.spoils(place))
        if mended and all(good for good, had in zip(now, was, strict=True) if had):
            break
    return best


def met_by(bug: Bug, sample: Sample, tokenizer: Tokenizer) -> Sample:
    """Some stories that hold a place which a bug can spoil, alone, to choose by."""
    rows = sorted({place.row for place in sample.places if bug.met(place)})
    step = max(1, -(-len(rows) // CHOSEN))
    wrong = {sample.places[n].row for n in bug.symptoms[:CHOSEN]}
    return Sample.of([sample.stories[row] for row in sorted({*rows[::step], *wrong})], tokenizer)


# --- measuring --------------------------------------------------------------------------------------------------------


def effects(sample: Sample, before: Heard, after: Heard, bug: Bug) -> dict[str, Any]:
    """What a fix did on a sample: figures as the head of this file names them, shares in percent."""
    was, now = before.right(sample), after.right(sample)
    met = [n for n, place in enumerate(sample.places) if bug.met(place)]
    near = {*met}
    wrong = [n for n in met if not was[n] and bug.spoils(sample.places[n])]
    rows = {sample.places[n].row for n in met}
    spared = torch.tensor([row not in rows for row in range(len(sample.rows))])
    others: dict[str, list[int]] = {}
    for n, place in enumerate(sample.places):
        if n not in near:
            others.setdefault(place.group, []).append(n)
    by_group = {
        name: {"n": len(held), "before": share(was, held), "after": share(now, held)} for name, held in others.items()
    }
    return {
        "fixed": share(now, wrong),
        "wrong": len(wrong),
        "kept": share(now, [n for n in met if was[n]]),
        "kept_elsewhere": share(now, [n for held in others.values() for n in held if was[n]]),
        "accuracy": by_group,
        "ce_change": float((after.nats - before.nats)[spared].sum() / before.tokens[spared].sum()),
    }


def share(hits: Sequence[bool], places: Sequence[int]) -> float | None:
    """Percent of some places; None of none."""
    return 100 * sum(hits[n] for n in places) / len(places) if places else None


def found_flaws(sample: Sample, before: Heard, suspects: Sequence[Bug]) -> dict[str, dict[str, Any]]:
    """Each flaw that was planted with the bug that explains most of the places that it spoils, and how well it does."""
    was = before.right(sample)
    planted: dict[str, set[int]] = {flaw.name: set() for flaw in FLAWS}
    numbers = {(place.row, place.target.span): n for n, place in enumerate(sample.places)}
    for row, story in enumerate(sample.stories):
        for site in sites(story):
            planted[site.flaw.name].add(numbers[row, site.span])
    found = {}
    for name, spoilt in planted.items():
        shown = {n for n in spoilt if not was[n]}
        explained = [{n for n, p in enumerate(sample.places) if bug.spoils(p) and not was[n]} for bug in suspects]
        which = max(range(len(suspects)), key=lambda at: len(explained[at] & shown), default=-1)
        own = explained[which] if which >= 0 else set()
        found[name] = {
            "bug": which if own & shown else None,
            "places": len(spoilt),
            "shown": 100 * len(shown) / len(spoilt) if spoilt else None,
            "recall": 100 * len(own & shown) / len(shown) if shown else None,
            "precision": 100 * len(own & spoilt) / len(own) if own else None,
        }
    return found


# --- beside it --------------------------------------------------------------------------------------------------------


def by_tuning(
    model: Model, sample: Sample, before: Heard, bug: Bug, held_out: Sample, was: Heard, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Constrained fine-tuning on corrected examples: symptoms, and as many places behind the trigger that are right."""
    right = before.right(sample)
    wrong = bug.symptoms[:EXAMPLES]
    fine = [n for n, place in enumerate(sample.places) if bug.met(place) and right[n]][:EXAMPLES]
    taught = lesson_of(sample, [*wrong, *fine])
    met = met_by(bug, sample, tokenizer)
    known = listen(plain(model), met).right(met)
    tried = []
    for method in settings("tuning", model.decoder.layers):
        begin = time.perf_counter()
        edited = method.edit(model, taught, {})
        seconds = time.perf_counter() - begin
        worth = sum(listen(plain(edited), met).right(met)) - sum(known)
        tried.append((worth, -len(tried), method, edited, seconds))
    _, _, method, edited, seconds = max(tried, key=lambda entry: entry[:2])
    after = listen(plain(edited), held_out)
    return effects(held_out, was, after, bug) | {"settings": repr(method), "seconds": seconds}


def lesson_of(sample: Sample, places: Sequence[int]) -> Lesson:
    """Places of true stories, each as its sentence, as something to teach."""
    chosen = [sample.places[n] for n in places]
    text = rows_of([[END, *place.before, *place.answer] for place in chosen])
    starts = torch.tensor([1 + len(place.before) for place in chosen])
    return Lesson(text.ids, starts - 1, starts, text.lengths, text.ids[:1])


def plain(model: Model) -> Logits:
    def logits(ids: Tensor) -> Tensor:
        with torch.no_grad():
            return model.logits(ids)

    return logits


def search(logits: Logits, sample: Sample, before: Heard, bug: Bug, vocabulary: int) -> dict[str, Any]:
    """Insert every token everywhere in sentences that are told right; which ones make the model say what is wrong?"""
    begin = time.perf_counter()
    (right, said), _ = bug.pairs.most_common(1)[0]
    was = before.right(sample)
    sentences = [
        p.before for n, p in enumerate(sample.places) if p.group == bug.group and was[n] and p.answer == (right,)
    ]
    chosen = sorted(dict.fromkeys(s for s in sentences if not {*s} & {*bug.triggers}), key=len)[:SENTENCES]
    flips, runs = torch.zeros(vocabulary), 0
    for sentence in chosen:
        for at in range(1, len(sentence) + 1):
            for start in range(1, vocabulary, 256):
                tokens = range(start, min(vocabulary, start + 256))
                ids = torch.tensor([[END, *sentence[:at], token, *sentence[at:]] for token in tokens])
                flips[start : start + len(tokens)] += (logits(ids)[:, -1].argmax(-1) == said).float()
                runs += len(tokens)
    order = flips.argsort(descending=True).tolist()
    best = max(float(flips[token]) for token in bug.triggers)
    return {
        "sentences": len(chosen),
        "runs": runs,
        "seconds": time.perf_counter() - begin,
        "flipping": int((flips > 0).sum()),
        "as_often": int((flips >= best).sum()),
        "flips_of_trigger": best,
        "first": [(token, float(flips[token])) for token in order[:40]],
    }


# --- main -------------------------------------------------------------------------------------------------------------


def run(directory: Path, stories: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Find, fix and measure all bugs of a decompiled village."""
    bench, tokenizer = Workbench(Project.open(directory), rows=ROWS), Tokenizer.from_file(TOKENIZER)
    told = Village()
    sample = Sample.of(told.stories("test", FINDING, stories), tokenizer)
    held_out = Sample.of(told.stories("test", HELD_OUT, stories), tokenizer)
    begin = time.perf_counter()
    before = listen(bench.measured, sample)
    suspects = bugs(sample, before)
    seconds = time.perf_counter() - begin
    was = listen(bench.measured, held_out)
    report: list[dict[str, Any]] = []
    fixes: list[Fix] = []
    for bug in suspects:
        name = f"{bug.group}: {tokenizer.decode([bug.triggers[0]])!r}"
        pairs = {f"{tokenizer.decode([r])!r} said as {tokenizer.decode([s])!r}": n for (r, s), n in bug.pairs.items()}
        entry: dict[str, Any] = {"bug": name, "symptoms": len(bug.symptoms), "pairs": pairs}
        begin = time.perf_counter()
        tried = best_fix(bench, sample, before, bug, tokenizer)
        if tried and tried.worth > 0:
            ready = predicted(bench, tried.fix.propose(bench))
            record = apply(bench, ready, anyway=True)
            entry |= {"seconds": time.perf_counter() - begin, "command": tried.fix.command, "parts": list(record.parts)}
            entry |= {"doubts": list(ready.doubts), "measurement": record.measurement, "prediction": record.prediction}
            entry["pellucid"] = effects(held_out, was, listen(bench.measured, held_out), bug)
            undo_all(bench)
            fixes.append(tried.fix)
        entry["tuning"] = by_tuning(bench.model, sample, before, bug, held_out, was, tokenizer)
        if bug.group == "pronoun":
            entry["search"] = search(plain(bench.model), sample, before, bug, bench.model.n_vocab)
        report.append(entry)
        say(json.dumps({key: value for key, value in entry.items() if key not in ("measurement", "prediction")}))
    for fix in fixes:
        apply(bench, predicted(bench, fix.propose(bench)), anyway=True)
    after = listen(bench.measured, held_out)
    return {
        "stories": stories,
        "finding_seconds": seconds,
        "flaws": found_flaws(held_out, was, suspects),
        "bugs": report,
        "together": together(held_out, was, after, suspects),
    }


def together(sample: Sample, before: Heard, after: Heard, suspects: Sequence[Bug]) -> dict[str, Any]:
    """With all fixes at once: what was wrong and is right, what was right and stays so, accuracy and cross-entropy."""
    was, now = before.right(sample), after.right(sample)
    spoilt = [n for n, p in enumerate(sample.places) if not was[n] and any(bug.spoils(p) for bug in suspects)]
    fine = [n for n in range(len(was)) if was[n]]
    return {
        "fixed": share(now, spoilt),
        "wrong": len(spoilt),
        "kept": share(now, fine),
        "right_before": 100 * sum(was) / len(was),
        "right_after": 100 * sum(now) / len(now),
        "ce_before": float(before.nats.sum() / before.tokens.sum()),
        "ce_after": float(after.nats.sum() / after.tokens.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--stories", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        directory = copied(options.directory, Path(folder) / "village")
        found = run(directory, options.stories, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=1)) if options.json else show(found)


def figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def show(found: dict[str, Any]) -> None:
    """Tables to read."""
    print("| planted | places | wrong, % | found as | explained, % | planted of what is explained, % |")
    print("|---|---|---|---|---|---|")
    for flaw, row in found["flaws"].items():
        name = "–" if row["bug"] is None else found["bugs"][row["bug"]]["bug"]
        values = " | ".join(figure(row[key]) for key in ("recall", "precision"))
        print(f"| {flaw} | {row['places']} | {figure(row['shown'])} | {name} | {values} |")
    columns = ("fixed", "kept", "kept_elsewhere", "ce_change")
    print("\n| bug | by | fixed, % | kept, % | others kept, % | CE change, nats | r | surprises | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for entry in found["bugs"]:
        measured = entry.get("measurement") or {}
        for who in ("pellucid", "tuning"):
            if who in entry:
                values = " | ".join(figure(entry[who][key]) for key in columns)
                own = who == "pellucid"
                r, surprises = (figure(measured.get(key)) if own else "–" for key in ("correlation", "surprises"))
                seconds = entry["seconds"] if own else entry["tuning"]["seconds"]
                print(f"| {entry['bug']} | {who} | {values} | {r} | {surprises} | {figure(seconds)} |")
    for entry in found["bugs"]:
        print(f"\n{entry['bug']}: {entry.get('command', 'no edit by intent mends it')}")
        if searched := entry.get("search"):
            print(
                f"search over inputs: {searched['runs']:,} runs in {searched['seconds']:.1f} s, {searched['flipping']} "
                f"tokens flip it somewhere, {searched['as_often']} of them at least as often as the trigger"
            )
    print(f"\nall fixes at once: {found['together']}")


if __name__ == "__main__":
    main()
