"""The text that a decompilation is fitted, tuned, chosen by and measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from pellucid.base.effort import Effort
from pellucid.base.errors import CorpusError
from pellucid.base.terminal import tell
from pellucid.corpus.blocks import FOLDS
from pellucid.corpus.corpus import Corpus, Split, Splits, read_corpus, split_corpus, story_corpus
from pellucid.corpus.overlap import overlap
from pellucid.corpus.packing import row_tokens
from pellucid.corpus.reading import Document
from pellucid.corpus.rows import sample_rows
from pellucid.corpus.sampling import sampled_corpus
from pellucid.exact.model import Model
from pellucid.measure.pace import probe, sampling_tokens
from pellucid.project.manifest import CorpusEntry
from pellucid.zoo.village import Split as Stories
from pellucid.zoo.village import Village

STORIES: dict[Stories, int] = {"train": 12_000, "test": 8_000}


def open_texts(entry: CorpusEntry, model: Model, seed: int) -> Splits:
    """The splits of the text that `entry` names; without paths, the subject's own text.

    A village model is read with the village's generator: stories like those it was trained on to fit and tune, stories
    and wordings it has never seen to choose by and to measure. Any other subject is sampled at temperature 1, and the
    origin says so. An entry that was written without check text has none.
    Raises `CorpusError` for text that is missing or too short.
    """
    check = bool(entry.check_sha256) or not entry.hashes
    if entry.paths:
        fit = read_corpus(entry.fit_paths) if entry.fit_paths else None
        return split_corpus(read_corpus(entry.paths), fit, check=check)
    if has_stories(model):
        return split_corpus(_village("test"), _village("train"), check=check)
    return split_corpus(sampled_corpus(model, model.tokenizer, model.subject.name, entry.tokens, seed), check=check)


def compared(entry: CorpusEntry, texts: Splits) -> CorpusEntry:
    """`entry` with how much of the held-out text also stands in the text to fit on; some of it is said.

    A subject's own text is not compared. Raises `CorpusError` where a text of its own to fit on holds what is measured.
    """
    if not entry.paths:
        return entry
    held = texts.heldout.blocks()
    found = overlap(held, _documents(texts.fit, texts.tune))
    if found.copied and entry.fit_paths:
        raise CorpusError(
            f"the text to measure on and the text to fit on must not overlap: {found.said(found.copied)} of the first "
            "also stand in the second; take them out of one of the two"
        )
    if found.copied:
        tell(
            f"held-out text is not new: {found.said(found.copied)} also stand in the text to fit on; the corpus holds "
            "them more than once"
        )
    if found.alike:
        tell(f"near-duplicates: {found.said(found.alike)} nearly stand in the text to fit on")
    return replace(entry, stretches=found.stretches, copied=len(found.copied), alike=len(found.alike))


def _documents(*splits: Split) -> Iterator[Document]:
    """The text of some splits of one corpus; all of it where they leave nothing out."""
    if frozenset.union(*(split.share.folds for split in splits)) == FOLDS:
        yield from splits[0].corpus.read()
        return
    for split in splits:
        for block in split.blocks():
            yield Document(block.domain, block.name, [piece.text + "\n" for piece in block.pieces])


def require_enough(texts: Splits, model: Model, seed: int) -> None:
    """Raise `CorpusError` if a split is shorter than a row, `PellucidError` for words that the subject lacks."""
    length = row_tokens(model)
    for split in texts.named.values():
        is_enough = split.cut.unit == "words" and split.n_words >= length  # a word is one token at least
        if model.tokenizer.kind == "words" or not is_enough:
            sample_rows(split, model.tokenizer, length, max(1, split.n_words // length), seed)


def has_stories(model: Model) -> bool:
    """Whether the subject has a generator of the texts that it was trained on."""
    return model.subject.name.startswith("zoo:village")


def with_tokens(entry: CorpusEntry, model: Model, effort: Effort) -> CorpusEntry:
    """`entry` with the number of tokens that the subject is to write where it must write its text itself."""
    if entry.paths or entry.tokens or has_stories(model):
        return entry
    return replace(entry, tokens=sampling_tokens(probe(model), effort))


@cache
def _stories(split: Stories) -> tuple[str, ...]:
    """The texts of the stories, kept because every stage reads them again: some megabytes."""
    return tuple(story.text for story in Village().stories(split, 0, STORIES[split]))


def _village(split: Stories) -> Corpus:
    kind = {"train": "stories and wordings as in training", "test": "unseen stories and wordings"}[split]
    return story_corpus(
        lambda: _stories(split), f"the village generator, {STORIES[split]:,} stories: {kind}", "village"
    )
