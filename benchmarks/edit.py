"""Editing facts of the village: by pellucid, beside ROME and constrained fine-tuning, on the same prompts in one run.

Facts are drawn from all that `zoo:village` was trained on and given another answer of the same relation. Every method
is told one wording of the new fact ("Ada lives in" → "Oak Street") and may read fit text; all is measured on prompts
that no method saw, each behind the beginning of an unseen story:

- efficacy: the edited wording says the new answer, all of its tokens;
- paraphrases: all other wordings of the fact do;
- consequences: "…, so she comes from the" is followed by what the generator derives from the new answer;
- neighbourhood: what is said of the same person in other relations, and of others in the same one, stays as it was;
- negated: behind "It is not so that Ada lives in" the new answer is said where the old one was (this model has no
  negation), and all else stays; reversed: so does what is said behind "Oak Street is the home of";
- generated: a free continuation of a question for the fact says the new answer, and the old one nowhere;
- CE: the change of cross-entropy on unseen stories, in nats per token.

For pellucid also: predicted against measured logit changes where the measured one exceeds 0.05 (median and worst tenth
of edits), top tokens that changed unpredicted, and seconds per edit.

    python benchmarks/edit.py DIR [--facts 200] [--together 50] [--sequence 0] [--only pellucid,tables,rome,tuning]
                              [--json]
    python benchmarks/edit.py DIR --known ../shared/tasks/known_1000.json [...]

With `tables` facts are changed as lines of the tables of accounts in DIR that hold them, as `edit --tables` does it,
all lines of a group at once; facts that no table holds are left out, and counted. With --sequence so many facts are
edited one after the other, none undone, and all are asked at the end.

DIR is a decompiled village; it is copied, and the copy is edited. With --known it is a program of any model that knows
something of the world: the facts of the file whose answers it says are edited, and how many those are is said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edit_baselines import Method, covariances, lesson, settings
from edit_cases import Case, Facts, known, of_village
from pellucid.accounts.folder import Folder
from pellucid.accounts.lines import AskedTables, read_tables, rewrite
from pellucid.base.errors import PellucidError
from pellucid.base.progress import track
from pellucid.exact.model import Model
from pellucid.project.project import Project
from pellucid.project.trust import is_trusted, trust
from pellucid.rewrite.apply import apply, predicted, undo
from pellucid.rewrite.command import undone
from pellucid.rewrite.intent import fact as fact_edit
from pellucid.rewrite.intent import rows_of
from pellucid.rewrite.tables import make_lines, plan
from pellucid.rewrite.workbench import Workbench

Logits = Callable[[Tensor], Tensor]
STORIES = 120
"""Unseen stories that the change of cross-entropy is measured on."""
CE_EDITS = 12
"""Single edits of which that is measured."""
TUNING = 8
"""Facts, none of those measured, that the settings of the other methods are chosen on."""


@dataclass
class Score:
    """What a method reached: shares of prompts, over all edits."""

    hits: dict[str, list[bool]] = field(default_factory=dict)
    ce: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    correlations: list[float] = field(default_factory=list)
    changed: int = 0
    surprises: int = 0
    false_alarms: int = 0
    refused: int = 0
    inserted: int = 0
    moved: int = 0
    """Lines of tables that moved and were not asked to."""
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Percent, nats and seconds; what was not measured is null."""
        ordered = sorted(self.correlations)
        tenth = ordered[: max(1, len(ordered) // 10)] if ordered else []
        shares = {name: 100 * statistics.mean(found) if found else None for name, found in self.hits.items()}
        return shares | {
            "ce_change": max(self.ce, key=abs) if self.ce else None,
            "ce_change_mean": statistics.mean(self.ce) if self.ce else None,
            "seconds": statistics.median(self.seconds) if self.seconds else None,
            "processor_seconds": statistics.median(self.processor) if self.processor else None,
            "r_median": statistics.median(ordered) if ordered else None,
            "r_worst_tenth": statistics.mean(tenth) if tenth else None,
            "surprises": 100 * self.surprises / self.changed if self.changed else None,
            "false_alarms": self.false_alarms if ordered else None,
            "edits": len(self.seconds),
            "refused": self.refused,
            "inserted": self.inserted,
            "moved": self.moved,
            "left_out": self.left_out,
        }


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """Prompts as rows of tokens, with what is to follow each."""

    rows: Tensor
    starts: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(model: Model, prompts: Iterable[tuple[str, str]]) -> Asked:
        pairs = [(model.ids(before)[0].tolist(), model.ids(before + after)[0].tolist()) for before, after in prompts]
        rows = rows_of([whole for _, whole in pairs] or [[0]])
        starts = tuple(len(before) for before, _ in pairs)
        return Asked(rows.ids, starts, tuple(tuple(whole[len(before) :]) for before, whole in pairs))

    def said(self, logits: Logits) -> list[tuple[int, ...]]:
        """The likeliest tokens in the places of the answers."""
        if not self.starts:
            return []
        top = logits(self.rows).argmax(-1)
        pairs = zip(self.starts, self.answers, strict=True)
        return [tuple(top[row, s - 1 : s - 1 + len(a)].tolist()) for row, (s, a) in enumerate(pairs)]


KINDS = ("told", "paraphrases", "consequences", "neighbours", "negated", "reversed")
KEPT = ("neighbours", "negated", "negated_was", "reversed")
"""Where what was said before counts; of what is negated also whether that was the old answer."""
Before = dict[str, list[tuple[int, ...]]]
"""What was said of each prompt that is to stay as it was."""
FREE = 24
"""Tokens of a free continuation."""


def prepared(model: Model, chosen: Sequence[Case]) -> list[dict[str, Asked]]:
    """The prompts of every case, tokenised."""
    return [{kind: Asked.of(model, getattr(case, kind)) for kind in {*KINDS, *KEPT}} for case in chosen]


def kept(asked: dict[str, Asked], logits: Logits) -> Before:
    """What is said where it is to stay."""
    return {kind: asked[kind].said(logits) for kind in KEPT}


def generate(bench: Workbench, case: Case, logits: Logits, score: Score) -> None:
    """Book whether free continuations of the questions for a fact say the new answer, and the old one nowhere."""
    for before, _ in case.free:
        ids = bench.model.ids(before)
        start = ids.shape[1]
        while ids.shape[1] < min(start + FREE, bench.model.n_ctx):
            ids = torch.cat([ids, logits(ids)[:, -1:].argmax(-1)], 1)
        said = bench.model.tokenizer.decode(ids[0, start:].tolist())
        score.hits.setdefault("generated", []).append(said.strip().startswith(case.answer) and case.was not in said)


def book(bench: Workbench, case: Case, asked: dict[str, Asked], logits: Logits, before: Before, score: Score) -> None:
    """Book what is said now, asked and freely."""
    ask(asked, logits, before, score)
    generate(bench, case, logits, score)


def ask(asked: dict[str, Asked], logits: Logits, before: Before, score: Score) -> None:
    """Book what is said now; what is to stay is held against what was said `before`."""
    whole = Asked(
        torch.cat([_padded(asked[kind].rows, max(a.rows.shape[1] for a in asked.values())) for kind in KINDS]), (), ()
    )
    top = logits(whole.rows).argmax(-1)
    at = 0
    for kind in KINDS:
        own = asked[kind]
        for row, (start, answer) in enumerate(zip(own.starts, own.answers, strict=True)):
            said = tuple(top[at + row, start - 1 : start - 1 + len(answer)].tolist())
            stays = kind in KEPT and not (
                kind == "negated" and before["negated_was"][row] == asked["negated_was"].answers[row]
            )
            score.hits.setdefault(kind, []).append(said == (before[kind][row] if stays else answer))
        at += len(own.rows)


def _padded(rows: Tensor, length: int) -> Tensor:
    return F.pad(rows, (0, length - rows.shape[1]))


def entropies(logits: Logits, text: Text) -> Tensor:
    """Nats at every position of rows, 0 outside the text, [row, pos]."""
    with torch.no_grad():
        found = F.cross_entropy(logits(text.ids)[:, :-1].transpose(1, 2), text.ids[:, 1:], reduction="none")
    return found * text.inside[:, 1:]


def ce_change(after: Tensor, before: Tensor, text: Text, stories: Sequence[str], chosen: Sequence[Case]) -> float:
    """The mean change, nats per token, on stories that tell none of the facts that were changed."""
    told = [any(c.subject in s and c.was in s for c in chosen) for s in stories]
    unrelated = ~torch.tensor(told)
    count = int(text.inside[unrelated, 1:].sum())
    return float((after - before)[unrelated].double().sum() / max(1, count))


@dataclass(frozen=True, eq=False)
class Stories:
    """Unseen stories, and their cross-entropy before any edit."""

    text: Text
    texts: tuple[str, ...]
    before: Tensor

    def change(self, logits: Logits, chosen: Sequence[Case]) -> float:
        """The change of cross-entropy where none of the changed facts is told."""
        return ce_change(entropies(logits, self.text), self.before, self.text, self.texts, chosen)


# --- pellucid ---------------------------------------------------------------------------------------------------------


def by_pellucid(bench: Workbench, chosen: Sequence[Case], asked: Prompts, stories: Stories) -> Score:
    """Every fact alone: edited, measured and undone."""
    score, logits = Score(), bench.measured
    for n, (case, prompts) in enumerate(zip(chosen, asked, strict=True)):
        before = kept(prompts, logits)
        if not _edited(bench, case, score):
            continue
        book(bench, case, prompts, logits, before, score)
        if n < CE_EDITS:
            score.ce.append(stories.change(logits, [case]))
        undo_all(bench)
        if n % 10 == 9:
            print(f"{n + 1} facts: {json.dumps(score.to_dict())}", file=sys.stderr, flush=True)
    return score


def together_by_pellucid(bench: Workbench, chosen: Sequence[Case], asked: Prompts, stories: Stories) -> Score:
    """All facts at once."""
    score, logits = Score(), bench.measured
    before = [kept(prompts, logits) for prompts in asked]
    for case in chosen:
        _edited(bench, case, score)
    for case, prompts, said in zip(chosen, asked, before, strict=True):
        book(bench, case, prompts, logits, said, score)
    score.ce.append(stories.change(logits, chosen))
    undo_all(bench)
    return score


def _edited(bench: Workbench, case: Case, score: Score) -> bool:
    """Make an edit and book its prediction; an edit that is refused is made anyway, and counted."""
    begin, busy = time.perf_counter(), time.process_time()
    try:
        ready = predicted(bench, fact_edit(bench, case.prompt, case.answer))
    except PellucidError as error:
        print(f"{case.prompt!r} → {case.answer!r}: {error}", flush=True)
        score.refused += 1
        return False
    score.refused += bool(ready.doubts)
    score.inserted += bool(ready.proposal.inserted)
    measured = apply(bench, ready, anyway=True).measurement or {}
    score.seconds.append(time.perf_counter() - begin)
    score.processor.append(time.process_time() - busy)
    _booked(score, measured)
    return True


def _booked(score: Score, measured: dict[str, Any]) -> None:
    """Book what was measured of an edit."""
    if measured["correlation"] is not None:
        score.correlations.append(measured["correlation"])
    score.changed += measured["changed"]
    score.surprises += measured["surprises"]
    score.false_alarms += measured["false_alarms"]


def undo_all(bench: Workbench) -> None:
    """Take back all edits, in the program and in the one that runs."""
    directory = bench.program.directory
    undo(directory, [path.stem for path in sorted((directory / "edits").glob("*.json"))])
    _forget(bench)


# --- pellucid, by lines of tables -------------------------------------------------------------------------------------


def by_lines(bench: Workbench, chosen: Sequence[Case], asked: Prompts, stories: Stories, group: int) -> Score:
    """Facts changed as lines, `group` of them at once: written, predicted, made, measured, and undone."""
    score, logits = Score(), bench.measured
    tables = read_tables(Folder(bench.project))
    held = _held(tables, chosen, asked)
    score.left_out = len(chosen) - len(held)
    for at in range(0, len(held), group):
        some = held[at : at + group]
        before = [kept(prompts, logits) for _, prompts, _ in some]
        made = _lines_made(bench, [(case, table) for case, _, table in some], score)
        _ask_all(bench, some, before, score)
        if at < CE_EDITS:
            score.ce.append(stories.change(logits, [case for case, _, _ in some]))
        _take_back(bench, made)
    return score


def lines_in_turn(bench: Workbench, chosen: Sequence[Case], asked: Prompts, stories: Stories) -> Score:
    """Facts changed as lines, one after the other, each on what the others left; all are asked at the end."""
    score, tables = Score(), read_tables(Folder(bench.project))
    held = _held(tables, chosen, asked)
    score.left_out = len(chosen) - len(held)
    before = [kept(prompts, bench.measured) for _, prompts, _ in held]
    made = [
        name
        for case, _, table in track(held, "lines", len(held))
        for name in _lines_made(bench, [(case, table)], score)
    ]
    _ask_all(bench, held, before, score)
    score.ce.append(stories.change(bench.measured, [case for case, _, _ in held]))
    _take_back(bench, made)
    return score


def _ask_all(
    bench: Workbench, held: Sequence[tuple[Case, dict[str, Asked], str]], before: Sequence[Before], score: Score
) -> None:
    for (case, prompts, _), said in zip(held, before, strict=True):
        book(bench, case, prompts, bench.measured, said, score)


def _take_back(bench: Workbench, made: Sequence[str]) -> None:
    undone(bench.project, made)
    _forget(bench)


def _forget(bench: Workbench) -> None:
    """Delete what was noted of edits that are undone, and let the program follow."""
    for path in (bench.program.directory / "edits").glob("*.json"):
        path.unlink()
    bench.program.edited()


def _held(tables: AskedTables, chosen: Sequence[Case], asked: Prompts) -> list[tuple[Case, dict[str, Asked], str]]:
    """The cases that a table holds, each with its prompts and that table."""
    pairs = zip(chosen, asked, strict=True)
    return [(case, prompts, table) for case, prompts in pairs for table in held_in(tables, case)]


def held_in(tables: AskedTables, case: Case) -> list[str]:
    """The table that says of a case's subject what it was, and that asks in the words of its prompt; none, or one."""
    found = [
        name
        for name, asked in tables.asked.items()
        if asked.answers.get(case.subject) == case.was and case.prompt in asked.prompts(case.subject)
    ]
    return found[:1]


def _lines_made(bench: Workbench, changes: Sequence[tuple[Case, str]], score: Score) -> list[str]:
    """Write lines, and let the program follow; the names of the edits that came of it."""
    folder = Folder(bench.project)
    for case, table in changes:
        cells = read_tables(folder).tables[table].lines[case.subject]
        rewrite(folder, table, {case.subject: [case.subject, case.answer, *cells[2:]]})
    begin, busy = time.perf_counter(), time.process_time()
    made = list(make_lines(bench, plan(bench).lines, anyway=True))
    score.seconds += [(time.perf_counter() - begin) / len(made)] * len(made)
    score.processor += [(time.process_time() - busy) / len(made)] * len(made)
    names = []
    for line in made:
        if line.record is None or line.record.measurement is None:
            print(f"{line.line} {line.line.key!r} → {line.line.now!r}: {line.refused}", file=sys.stderr, flush=True)
            score.refused += 1
            continue
        score.refused += bool(line.doubts)
        names.append(line.record.name)
        score.moved += len(line.record.lines) - 1
        score.inserted += line.record.inserted
        _booked(score, line.record.measurement)
    return names


# --- others -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Others:
    """What the other methods may read: contexts and the covariance of keys, both from fit text."""

    bench: Workbench
    contexts: tuple[str, ...]
    covariance: dict[int, Tensor]

    @property
    def model(self) -> Model:
        """The model as it is."""
        return self.bench.model

    def taught(self, model: Model, case: Case, method: Method) -> Model:
        """The model with one more fact."""
        return method.edit(model, lesson(model, case.prompt, case.subject, case.answer, self.contexts), self.covariance)

    def singly(self, method: Method, chosen: Sequence[Case], asked: Prompts, stories: Stories | None) -> Score:
        """Every fact alone."""
        score = Score()
        for n, (case, prompts) in enumerate(zip(chosen, asked, strict=True)):
            begin = time.perf_counter()
            edited = self.taught(self.model, case, method)
            score.seconds.append(time.perf_counter() - begin)
            ask(prompts, _plain(edited), self._before(prompts), score)
            if stories:
                generate(self.bench, case, _plain(edited), score)
            if stories and n < CE_EDITS:
                score.ce.append(stories.change(_plain(edited), [case]))
        return score

    def together(self, method: Method, chosen: Sequence[Case], asked: Prompts, stories: Stories) -> Score:
        """All facts, one after the other."""
        score, edited = Score(), self.model
        for case in chosen:
            begin = time.perf_counter()
            edited = self.taught(edited, case, method)
            score.seconds.append(time.perf_counter() - begin)
        for case, prompts in zip(chosen, asked, strict=True):
            book(self.bench, case, prompts, _plain(edited), self._before(prompts), score)
        score.ce.append(stories.change(_plain(edited), chosen))
        return score

    def _before(self, prompts: dict[str, Asked]) -> Before:
        """What the model says where it is to stay."""
        return kept(prompts, _plain(self.model))

    def tuned(self, name: str, chosen: Sequence[Case], asked: Prompts) -> Method:
        """The settings with the best harmonic mean of efficacy, paraphrases and neighbourhood on facts set apart."""
        best, most = None, -1.0
        for method in settings(name, self.model.decoder.layers):
            found = self.singly(method, chosen, asked, None).to_dict()
            shares = [found[kind] or 0.0 for kind in ("told", "paraphrases", "neighbours")]
            mean = statistics.harmonic_mean(shares) if all(shares) else 0.0
            print(f"{method}: {', '.join(f'{share:.1f}' for share in shares)}", file=sys.stderr, flush=True)
            if mean > most:
                best, most = method, mean
        assert best is not None
        return best


def _plain(model: Model) -> Logits:
    def logits(ids: Tensor) -> Tensor:
        with torch.no_grad():
            return model.logits(ids)

    return logits


# --- main -------------------------------------------------------------------------------------------------------------


def copied(directory: Path, target: Path) -> Path:
    """A copy of a decompiled directory to edit, without reports and checkpoints."""
    shutil.copytree(directory, target, ignore=shutil.ignore_patterns("report.*", "understanding*", "edits*", "__pyc*"))
    if is_trusted(directory):
        trust(target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--facts", type=int, default=200)
    parser.add_argument("--together", type=int, default=50)
    parser.add_argument("--sequence", type=int, default=0, help="facts that are edited one after the other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="pellucid,rome,tuning", help="also tables")
    parser.add_argument("--known", type=Path, help="prompts of facts, as known_1000.json has them; DIR is a GPT-2 then")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        found = run(options, copied(options.directory, Path(folder) / "program"))
    print(json.dumps(found, indent=1)) if options.json else show(found)


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """All methods that are asked for."""
    bench = Workbench(Project.open(directory))
    facts = _facts(bench, options)
    chosen, apart = facts.chosen, facts.apart
    found: dict[str, Any] = {"known": facts.said} if facts.said else {}
    if not chosen:
        return found
    asked, asked_apart = prepared(bench.model, chosen), prepared(bench.model, apart)
    text = bench.check.take(range(min(STORIES, len(bench.check.ids))))
    told = tuple(bench.model.tokenizer.decode(row.tolist()) for row in text.ids)
    stories = Stories(text, told, entropies(bench.measured, text))
    few, many = slice(0, options.together), slice(0, options.sequence)
    singly = slice(0, options.facts)

    def said(name: str, score: Score) -> None:
        found[name] = score.to_dict()
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)

    if "pellucid" in options.only:
        found["preparation_seconds"] = _prepared(bench, chosen[0])
        said("pellucid, singly", by_pellucid(bench, chosen[singly], asked[singly], stories))
        said("pellucid, together", together_by_pellucid(bench, chosen[few], asked[few], stories))
    if "tables" in options.only:
        said("lines, singly", by_lines(bench, chosen[singly], asked[singly], stories, 1))
        said("lines, together", by_lines(bench, chosen[few], asked[few], stories, options.together))
        if options.sequence:
            said("lines, in turn", lines_in_turn(bench, chosen[many], asked[many], stories))
    others = Others(bench, facts.contexts, covariances(bench.model, bench.fit.ids[:200], bench.fit.inside[:200]))
    for name in ("rome", "tuning"):
        if name in options.only and apart:
            method = others.tuned(name, apart, asked_apart)
            found[f"{name} settings"] = repr(method)
            said(f"{name}, singly", others.singly(method, chosen[singly], asked[singly], stories))
            said(f"{name}, together", others.together(method, chosen[few], asked[few], stories))
            if options.sequence:
                said(f"{name}, in turn", others.together(method, chosen[many], asked[many], stories))
    return found


def _facts(bench: Workbench, options: argparse.Namespace) -> Facts:
    """Facts of a file that the model knows, or of the village."""
    if options.known:
        return known(bench, options.known, options.facts, options.seed, TUNING)
    most = max(options.facts, options.together, options.sequence)
    return of_village(most, options.seed, TUNING, max(options.together, options.sequence))


def _prepared(bench: Workbench, case: Case) -> float:
    """Seconds in which what is found once for all edits is found."""
    begin = time.perf_counter()
    with suppress(PellucidError):
        fact_edit(bench, case.prompt, case.answer)
    return time.perf_counter() - begin


COLUMNS = {
    "told": "efficacy, %",
    "paraphrases": "paraphrases, %",
    "consequences": "consequences, %",
    "neighbours": "neighbourhood, %",
    "negated": "negated, %",
    "reversed": "reversed, %",
    "generated": "generated, %",
    "ce_change": "CE change, nats",
    "r_median": "r",
    "r_worst_tenth": "r, worst tenth",
    "surprises": "surprises, %",
    "seconds": "s per edit",
    "processor_seconds": "of processor",
    "refused": "refused",
    "inserted": "inserted",
}


def show(found: dict[str, Any]) -> None:
    """A table, one line a method."""
    if "known" in found:
        print(found["known"])
    print("| method |", " | ".join(COLUMNS.values()), "|\n|---|" + "---|" * len(COLUMNS))
    for name, score in found.items():
        if isinstance(score, dict):
            values = (score.get(column) for column in COLUMNS)
            print(f"| {name} |", " | ".join("–" if v is None else f"{v:.4g}" for v in values), "|")


if __name__ == "__main__":
    main()
