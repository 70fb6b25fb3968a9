"""Fidelity: how far programs are from their subject, in words, tokens and nats.

- `wer_next`, percent: for contexts sampled from the text, the error rate of the next word at temperature 0;
- `wer_16`, percent: the word error rate of a free-running continuation of 16 words. A continuation that runs out of
  room (the model's context, or 64 tokens) is cut after its last complete word, and the other one after as many;
- `top1`, percent: positions whose likeliest token is the subject's (ties: the lowest id), on the text as it stands;
- `kl`, nats per token: mean KL(subject‖program);
- `ce_gap`, nats per token: cross-entropy on the text, less the subject's.

Each row of text is read once. Its caches are then cut at random positions, the same for all rows of a batch, and
continued from there. The subject's side is computed once for all programs, and only sums per row are kept.
A contender may be continued on fewer rows than it reads.

Intervals are 95 % bootstrap intervals over documents within domains. Where a domain has fewer than 20 documents, the
unit is the block of about 2,000 words; where it has fewer than 20 of those, the row. A rate of which nothing (or
nothing else) was seen in n observations is bounded by the rule of three, 3/n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np
from jaxtyping import Float32, Int64

from pellucid.base.progress import track
from pellucid.base.work import Crew, threads
from pellucid.corpus.cuts import Contexts
from pellucid.corpus.lexicon import Lexicon
from pellucid.corpus.rows import Row, padded
from pellucid.exact.predictor import Predictor, PredictorCache, TextCodec
from pellucid.measure.continue_words import WordContinuation, continuations, room_for
from pellucid.measure.ledger import Fidelity, Ledger
from pellucid.measure.teacher import Comparison, compare
from pellucid.measure.worst_rows import Divergence

_LOGITS = 1 << 24
"""Logits of one predictor in memory at a time."""
_SHOWN = 60
"""Tokens shown before a divergence."""


@dataclass(frozen=True)
class MeasureSettings:
    """How much to measure: contexts to continue (0: teacher-forced metrics only), words each, rows in a batch."""

    contexts: int = 5000
    words: int = 16
    batch: int = 64
    seed: int = 0


Logits = Float32[np.ndarray, "batch pos vocab"]
SILENT: frozenset[int] = frozenset()
"""The rows on which a contender is continued whose continuations are not measured."""


@dataclass(frozen=True)
class Contender:
    """A predictor to compare: on which `rows` (None: on all), and on which of these its continuations are measured too.

    `words` are those rows (None: all that it is compared on; none of them where it is empty).
    """

    predictor: Predictor
    words: frozenset[int] | None = None
    rows: frozenset[int] | None = None

    @staticmethod
    def of(program: Predictor | Contender) -> Contender:
        """`program` itself, or one that is compared on all rows in every way."""
        return program if isinstance(program, Contender) else Contender(program)

    def speaking(self, rows: frozenset[int]) -> Contender:
        """The same, whose continuations are measured on `rows` at most."""
        return replace(self, words=rows if self.words is None else self.words & rows)

    @property
    def speaks(self) -> bool:
        """Whether any of its continuations are measured."""
        return self.words is None or bool(self.words)

    def compares(self, row: int) -> bool:
        """Whether it is compared on `row`."""
        return self.rows is None or row in self.rows

    def continues(self, row: int) -> bool:
        """Whether its continuations are measured on `row`."""
        return self.compares(row) and (self.words is None or row in self.words)


@dataclass(frozen=True)
class _Reading:
    """A batch as all have read it: caches by name (the subject's is ""), its top tokens, the programs' comparisons.

    `places` says which row of its cache a program has for each row of the batch, where it has not read all of them.
    """

    group: Int64[np.ndarray, " batch"]
    rows: list[Row]
    caches: dict[str, PredictorCache]
    places: dict[str, Int64[np.ndarray, " batch"]]
    tops: Int64[np.ndarray, "batch pos"]
    compared: dict[str, Comparison]

    @property
    def lengths(self) -> Int64[np.ndarray, " batch"]:
        return np.array([len(row) for row in self.rows])


def evaluate(
    subject: Predictor,
    programs: Mapping[str, Predictor | Contender],
    rows: Sequence[Row],
    tokenizer: TextCodec,
    settings: MeasureSettings | None = None,
) -> dict[str, Fidelity]:
    """Measure each of `programs` against `subject` on `rows` (as `sample_rows` gives them)."""
    settings = settings or MeasureSettings()
    contexts, groups = _dealing(rows, subject.n_ctx, settings)
    with threads() as crew:
        measure = _Measure(subject, programs, rows, Lexicon.of(tokenizer, subject.n_vocab), settings, crew)
        for group in track(groups, "measuring"):
            reading = measure.read(group)
            measure.extend(reading, [*contexts.draw(reading.lengths)])
    return {name: ledger.fidelity(settings.seed) for name, ledger in measure.ledgers.items()}


def contexts_on(rows: Sequence[Row], n_ctx: int, settings: MeasureSettings) -> int:
    """How many contexts `evaluate` continues on `rows`: fewer than it is asked for where text is short."""
    contexts, groups = _dealing(rows, n_ctx, settings)
    lengths = np.array([len(row) for row in rows])
    return sum(len(members) for group in groups for _, members in contexts.draw(lengths[group]))


def _dealing(
    rows: Sequence[Row], n_ctx: int, settings: MeasureSettings
) -> tuple[Contexts, list[Int64[np.ndarray, " batch"]]]:
    """What deals contexts to batches of rows, and these batches: rows of like length together."""
    contexts = Contexts(settings.contexts, len(rows), n_ctx - room_for(settings.words, n_ctx), settings.seed)
    order = np.argsort([len(row) for row in rows], kind="stable")
    return contexts, [order[begin : begin + settings.batch] for begin in range(0, len(rows), settings.batch)]


class _Measure:
    """Runs a subject and programs side by side and books what they do."""

    def __init__(
        self,
        subject: Predictor,
        programs: Mapping[str, Predictor | Contender],
        rows: Sequence[Row],
        lexicon: Lexicon,
        settings: MeasureSettings,
        crew: Crew,
    ) -> None:
        self.crew = crew
        self.subject, self.rows, self.lexicon, self.settings = subject, rows, lexicon, settings
        self.programs = {name: Contender.of(program) for name, program in programs.items()}
        self.ledgers = {name: Ledger(rows) for name in programs}

    def read(self, group: Int64[np.ndarray, " batch"]) -> _Reading:
        """Feed a batch of rows to all and book the teacher-forced metrics."""
        rows = [self.rows[at] for at in group]
        reads = {name: self._reads(program, group) for name, program in self.programs.items()}
        caches, tops, compared = self._forced(padded(rows), {name: read for name, read in reads.items() if len(read)})
        places = {name: np.searchsorted(read, np.arange(len(group))) for name, read in reads.items()}
        reading = _Reading(group, rows, caches, places, tops, compared)
        for name, program in self.programs.items():
            for at, row in enumerate(rows):
                if program.compares(int(group[at])):
                    self._book(name, reading, at, len(row) - 1)
        return reading

    def _reads(self, program: Contender, group: Int64[np.ndarray, " batch"]) -> Int64[np.ndarray, " read"]:
        """The rows of a batch that a program is compared on."""
        return np.array([at for at, row in enumerate(group.tolist()) if program.compares(row)], np.int64)

    def _forced(
        self, ids: Int64[np.ndarray, "batch pos"], reads: Mapping[str, Int64[np.ndarray, " read"]]
    ) -> tuple[dict[str, PredictorCache], Int64[np.ndarray, "batch pos"], dict[str, Comparison]]:
        """Run the subject over `ids`, and every program over the rows that it `reads`.

        A stretch of positions at a time, so that logits take a bounded amount of memory.
        """
        batch, pos = ids.shape
        targets = np.concatenate([ids[:, 1:], np.zeros((batch, 1), np.int64)], 1)
        step = ceil(_LOGITS / (batch * self.subject.n_vocab))
        caches: dict[str, PredictorCache] = {}
        tops: list[Int64[np.ndarray, "batch stretch"]] = []
        parts: dict[str, list[Comparison]] = {name: [] for name in reads}
        for begin in range(0, pos, step):
            stretch, goal = ids[:, begin : begin + step], targets[:, begin : begin + step]
            calls = [partial(self.subject.extend, stretch, caches.get(""))]
            for name, read in reads.items():
                calls.append(partial(self.programs[name].predictor.extend, stretch[read], caches.get(name)))
            (ours, caches[""]), *theirs = self.crew.calls(calls)
            whole: dict[str, Logits] = {}
            some: dict[str, Logits] = {}
            for (name, read), (said, caches[name]) in zip(reads.items(), theirs, strict=True):
                (whole if len(read) == batch else some)[name] = said
            top, compared = compare(ours, whole, goal)
            for name, said in some.items():
                read = reads[name]
                compared[name] = compare(ours[read], {name: said}, goal[read])[1][name].among(read, batch)
            tops.append(top)
            for name, part in compared.items():
                parts[name].append(part)
        return caches, np.concatenate(tops, 1), {name: Comparison.join(found) for name, found in parts.items()}

    def _book(self, name: str, reading: _Reading, at: int, count: int) -> None:
        """Book the first `count` positions of one row, and the worst that differs where words are not measured."""
        found, row = reading.compared[name], int(reading.group[at])
        agree = found.top[at, :count] == reading.tops[at, :count]
        kl, excess = found.kl[at, :count], found.excess[at, :count]
        self.ledgers[name].add_positions(row, agree.astype(np.int64), kl, excess)
        if not (self.settings.contexts and self.programs[name].speaks) and not agree.all():
            worst = int(np.where(agree, -np.inf, kl).argmax())
            pair = [self.lexicon.text([int(tops[at, worst])]) for tops in (reading.tops, found.top)]
            self._note(name, row, worst + 1, pair[0], pair[1], float(kl[worst]))

    def extend(self, reading: _Reading, drawn: Sequence[tuple[int, Int64[np.ndarray, " _member"]]]) -> None:
        """Continue the first `length` tokens of some rows of a batch, for all that were drawn, and book the words.

        All is asked for at once: where one program is slower than the others, nobody waits for it length by length.
        """
        asked = [(length, self._speakers(reading, members)) for length, members in drawn]
        calls = [call for length, speak in asked for call in self._calls(reading, length, speak)]
        said = iter(self.crew.calls(calls))
        for length, speak in asked:
            ours = next(said) if speak else {}
            for name in speak:
                self._book_words(name, reading, length, ours, next(said))

    def _speakers(
        self, reading: _Reading, members: Int64[np.ndarray, " member"]
    ) -> dict[str, Int64[np.ndarray, " _row"]]:
        """The rows that each program continues, without those that continue none."""
        spoken = {
            name: np.array([at for at in members if program.continues(int(reading.group[at]))], np.int64)
            for name, program in self.programs.items()
        }
        return {name: rows for name, rows in spoken.items() if len(rows)}

    def _calls(
        self, reading: _Reading, length: int, speak: Mapping[str, Int64[np.ndarray, " _row"]]
    ) -> Iterator[Callable[[], dict[int, WordContinuation]]]:
        """The subject's continuations and those of the programs, to be made."""
        if not speak:
            return
        wanted = np.unique(np.concatenate([*speak.values()]))
        yield partial(self._say, self.subject, reading.caches[""], reading.tops, length, wanted)
        for name, rows in speak.items():
            program, top = self.programs[name].predictor, reading.compared[name].top
            yield partial(self._say, program, reading.caches[name], top, length, rows, reading.places[name])

    def _book_words(
        self,
        name: str,
        reading: _Reading,
        length: int,
        ours: Mapping[int, WordContinuation],
        theirs: Mapping[int, WordContinuation],
    ) -> None:
        for at, continuation in theirs.items():
            row, kl = int(reading.group[at]), float(reading.compared[name].kl[at, length - 1])
            self.ledgers[name].add_words(row, ours[at], continuation, self.settings.words)
            words = [" ".join(side.words[:1]) for side in (ours[at], continuation)]
            self._note(name, row, length, words[0], words[1], kl)

    def _say(
        self,
        predictor: Predictor,
        cache: PredictorCache,
        tops: Int64[np.ndarray, "batch pos"],
        length: int,
        rows: Int64[np.ndarray, " member"],
        places: Int64[np.ndarray, " batch"] | None = None,
    ) -> dict[int, WordContinuation]:
        """The continuations of the first `length` tokens of `rows`, by row of the batch; `places` in the cache."""
        cut, first = cache.take(rows if places is None else places[rows], length), tops[rows, length - 1]
        found = continuations(predictor, cut, first, self.lexicon, self.settings.words)
        return dict(zip(map(int, rows), found, strict=True))

    def _note(self, name: str, row: int, length: int, subject: str, program: str, kl: float) -> None:
        """Keep a context of `length` tokens if it is the worst with its two words."""
        worst = self.ledgers[name].worst
        if worst.admits(subject, program, kl):
            source = self.rows[row]
            before = self.lexicon.text(source.tokens[max(0, length - _SHOWN) : length].tolist())
            worst.add(Divergence(source.domain, source.document, before, subject, program, kl))
