"""Corpora, and how they are split into text to fit on, to tune on, and to measure on.

Nothing is held in memory: a corpus is read again from its files each time a split is walked through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.base.errors import CorpusError
from pellucid.experiment.blocks import Block, Cut, Fold, cut_blocks
from pellucid.experiment.reading import Document, domain_of, read_documents, text_files

CUTS = (Cut(), Cut(words=200, gap=20))
"""Blocks of 2,000 words; ten times smaller for a corpus that is too short to be split by them."""


@dataclass(frozen=True)
class Corpus:
    """Documents of one or several domains, readable again and again; `origin` says where they come from."""

    origin: str
    domains: tuple[str, ...]
    read: Callable[[], Iterable[Document]] = field(repr=False)
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Split:
    """The blocks of a corpus that are dealt to some folds. `sha256` is over their texts, in order."""

    corpus: Corpus
    cut: Cut
    folds: frozenset[Fold]
    sha256: str
    n_blocks: int
    n_words: int

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of the corpus, those included that this split has nothing of."""
        return self.corpus.domains

    def blocks(self) -> Iterator[Block]:
        """Read the blocks again, in order."""
        return (block for block in cut_blocks(self.corpus.read(), self.cut) if block.fold in self.folds)


@dataclass(frozen=True)
class Splits:
    """Text to fit sources on, to choose among them by, and to measure on, with nothing in common."""

    fit: Split
    tune: Split
    heldout: Split


def read_corpus(paths: Iterable[Path | str]) -> Corpus:
    """A corpus of text files and folders (`.txt`, `.gz`, `.xz`; documents separated by `<|endoftext|>`).

    A domain is a file's name without its suffixes. Raises `CorpusError` for what is missing or not text.
    """
    files = tuple(sorted(text_files([Path(path) for path in paths]), key=lambda file: (domain_of(file), str(file))))
    domains = tuple(dict.fromkeys(domain_of(file) for file in files))
    size = sum(file.stat().st_size for file in files)
    origin = f"{len(files)} text file{'s' if len(files) > 1 else ''}, {size / 1e6:.1f} MB"
    return Corpus(origin, domains, lambda: (doc for file in files for doc in read_documents(file)), files)


def story_corpus(stories: Callable[[], Iterable[str]], origin: str, domain: str = "stories") -> Corpus:
    """A corpus of generated documents; `stories` starts the same sequence afresh at each call."""

    def read() -> Iterator[Document]:
        for ordinal, story in enumerate(stories()):
            yield Document(domain, f"{domain}#{ordinal}", (story,))

    return Corpus(origin, (domain,), read)


def split_corpus(corpus: Corpus, fit_corpus: Corpus | None = None) -> Splits:
    """Deal a corpus to fit, tune and held-out text; with a `fit_corpus`, that supplies fit and tune, `corpus` the rest.

    Raises `CorpusError` if there is no text, too little of it for three splits, or one file on both sides.
    """
    if fit_corpus is None:
        fit, tune, heldout = _deal(corpus, (frozenset({"fit"}), frozenset({"tune"}), frozenset({"heldout"})))
        return Splits(fit, tune, heldout)
    if shared := {file.resolve() for file in corpus.files} & {file.resolve() for file in fit_corpus.files}:
        raise CorpusError(f"{str(min(shared))!r} is given both to fit on and to measure on; the two must not overlap")
    fit, tune = _deal(fit_corpus, (frozenset({"fit", "heldout"}), frozenset({"tune"})))
    (heldout,) = _deal(corpus, (frozenset({"fit", "tune", "heldout"}),))
    return Splits(fit, tune, heldout)


def _deal(corpus: Corpus, shares: tuple[frozenset[Fold], ...]) -> tuple[Split, ...]:
    """One split for each of `shares`, cut in large blocks if each gets some, else in small ones."""
    for cut in CUTS:
        splits = _survey(corpus, cut, shares)
        if all(split.n_blocks for split in splits):
            return splits
    words = sum(split.n_words for split in splits)
    if not words:
        raise CorpusError(f"the corpus ({corpus.origin}) holds no words; give a text with some")
    raise CorpusError(
        f"the corpus ({corpus.origin}) has only {words:,} words, too few (or too much alike) to fit, tune and "
        f"measure on apart; give at least {20 * CUTS[-1].words:,}, or other texts to fit on (--fit-corpus)"
    )


def _survey(corpus: Corpus, cut: Cut, shares: tuple[frozenset[Fold], ...]) -> tuple[Split, ...]:
    """Walk through a corpus once, to hash and count what each share gets."""
    digests = [hashlib.sha256() for _ in shares]
    blocks, words = [0] * len(shares), [0] * len(shares)
    for block in cut_blocks(corpus.read(), cut):
        at = next((at for at, folds in enumerate(shares) if block.fold in folds), None)
        if at is None:
            continue
        blocks[at] += 1
        words[at] += block.words
        for piece in block.pieces:
            digests[at].update(f"{block.domain}\0{piece.document}\0{piece.text}\0".encode())
    counts = zip(shares, digests, blocks, words, strict=True)
    return tuple(Split(corpus, cut, folds, digest.hexdigest(), b, w) for folds, digest, b, w in counts)
