"""Corpora, and how they are split into text to fit on, to tune on, to choose by, and to measure on.

Nothing is held in memory: a corpus is read again from its files each time a split is walked through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pellucid.base.errors import CorpusError
from pellucid.corpus.blocks import FOLDS, CutSettings, Fold, TextBlock, cut_blocks
from pellucid.corpus.reading import Document, domain_of, read_documents, text_files

CUTS = (CutSettings(), CutSettings(words=200, gap=20))
"""Blocks of 2,000 words; ten times smaller for a corpus that is too short to be split by them."""
UNSPACED = 20
"""So many characters a word, on average, and words are no measure of a text: it has no spaces between them."""
CHARACTERS = (CutSettings(4000, 200, "characters"), CutSettings(400, 40, "characters"))
"""Blocks of such a text, where its words are too few to be split by."""
LEAST_BLOCKS = 30
"""So many of the small blocks are asked for: one of fewer than that would often leave some split without any."""


@dataclass(frozen=True)
class Corpus:
    """Documents of one or several domains, readable again and again; `origin` says where they come from."""

    origin: str
    domains: tuple[str, ...]
    read: Callable[[], Iterable[Document]] = field(repr=False)
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class FoldShare:
    """The blocks that a split is dealt: those of some folds. `opening`, if given, decides on the first of a domain."""

    folds: frozenset[Fold]
    opening: bool | None = None

    def has(self, block: TextBlock) -> bool:
        """Whether `block` is among them."""
        return self.opening if block.opens and self.opening is not None else block.fold in self.folds


ALL = FoldShare(FOLDS)
"""A whole corpus."""


@dataclass(frozen=True)
class Split:
    """The blocks of a corpus that are its share. `sha256` is over their texts, in order.

    `on_read` is told whenever the blocks are read; `n_words` counts what `cut` counts.
    """

    corpus: Corpus
    cut: CutSettings
    share: FoldShare
    sha256: str
    n_blocks: int
    n_words: int
    on_read: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of the corpus, those included that this split has nothing of."""
        return self.corpus.domains

    def blocks(self) -> Iterator[TextBlock]:
        """Read the blocks again, in order."""
        if self.on_read:
            self.on_read()
        return (block for block in cut_blocks(self.corpus.read(), self.cut) if self.share.has(block))


@dataclass(frozen=True)
class Splits:
    """Text to fit sources on, to tune them on, to choose by what was measured, and to measure on; nothing in common.

    `check` is None in directories that were made without such text.
    """

    fit: Split
    tune: Split
    heldout: Split
    check: Split | None = None

    @property
    def named(self) -> dict[str, Split]:
        """Those that there are, by name."""
        found = {"fit": self.fit, "tune": self.tune, "check": self.check, "heldout": self.heldout}
        return {name: split for name, split in found.items() if split}

    def watched(self, on_read: Callable[[], None]) -> Splits:
        """The same, with `on_read` told whenever held-out text is read."""
        return replace(self, heldout=replace(self.heldout, on_read=on_read))


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


def split_corpus(corpus: Corpus, fit_corpus: Corpus | None = None, *, check: bool = True) -> Splits:
    """Deal a corpus to fit, tune, check and held-out text.

    With a `fit_corpus`, that supplies fit and tune, and `corpus` the rest, of every domain some held-out text; if
    `corpus` is too short for two, it is wholly held-out and check comes from the `fit_corpus` too. Without `check` its
    share goes to fit, and with a `fit_corpus` to held-out. Raises `CorpusError` if there is no text, too little of it,
    or one file on both sides.
    """
    if fit_corpus is None:
        if not check:
            return Splits(*_deal(corpus, [_share("fit", "check"), _share("tune"), _share("heldout")]))
        return Splits(*_deal(corpus, [_share("fit"), _share("tune"), _share("heldout"), _share("check")]))
    if shared := {file.resolve() for file in corpus.files} & {file.resolve() for file in fit_corpus.files}:
        raise CorpusError(f"{str(min(shared))!r} is given both to fit on and to measure on; the two must not overlap")
    apart = [_share("fit", "heldout", opening=True), _share("check", "tune", opening=False)]
    if check and (two := _dealt(corpus, apart)):
        fit, tune = _deal(fit_corpus, [_share("fit", "check", "heldout"), _share("tune")])
        return Splits(fit, tune, *two)
    (heldout,) = _deal(corpus, [ALL])
    if not check:
        fit, tune = _deal(fit_corpus, [_share("fit", "check", "heldout"), _share("tune")])
        return Splits(fit, tune, heldout)
    fit, tune, chosen = _deal(fit_corpus, [_share("fit", "heldout"), _share("tune"), _share("check")])
    return Splits(fit, tune, heldout, chosen)


def _share(*folds: Fold, opening: bool | None = None) -> FoldShare:
    return FoldShare(frozenset(folds), opening)


def _deal(corpus: Corpus, shares: Sequence[FoldShare]) -> tuple[Split, ...]:
    """One split for each of `shares`. Raises `CorpusError` where the corpus is too short for that."""
    if splits := _dealt(corpus, shares):
        return splits
    cut = CHARACTERS[-1] if _is_unspaced(corpus) else CUTS[-1]
    held = sum(split.n_words for split in _survey(corpus, cut, shares))
    if not held:
        raise CorpusError(f"the corpus ({corpus.origin}) holds no words; give a text with some")
    raise CorpusError(
        f"the corpus ({corpus.origin}) has only {held:,} {cut.unit}, too few (or too much alike) to fit, tune, choose "
        f"and measure on apart; give at least {LEAST_BLOCKS * cut.words:,}, or other texts to fit on (--fit-corpus)"
    )


def _dealt(corpus: Corpus, shares: Sequence[FoldShare]) -> tuple[Split, ...]:
    """One split for each of `shares`, cut in large blocks if each gets some, else in small ones; none if that fails."""
    for cut in CUTS + CHARACTERS:
        if cut == CHARACTERS[0] and not _is_unspaced(corpus):
            break
        splits = _survey(corpus, cut, shares)
        if all(split.n_blocks for split in splits):
            return splits
    return ()


def _is_unspaced(corpus: Corpus) -> bool:
    """Whether a corpus has so few spaces that they cannot be what is between its words."""
    words = characters = 0
    for document in corpus.read():
        for fragment in document.fragments:
            found = fragment.split()
            words += len(found)
            characters += sum(map(len, found))
    return characters >= UNSPACED * max(1, words)


def _survey(corpus: Corpus, cut: CutSettings, shares: Sequence[FoldShare]) -> tuple[Split, ...]:
    """Walk through a corpus once, to hash and count what each share gets."""
    digests = [hashlib.sha256() for _ in shares]
    blocks, words = [0] * len(shares), [0] * len(shares)
    for block in cut_blocks(corpus.read(), cut):
        at = next((at for at, share in enumerate(shares) if share.has(block)), None)
        if at is None:
            continue
        blocks[at] += 1
        words[at] += block.words
        for piece in block.pieces:
            digests[at].update(f"{block.domain}\0{piece.document}\0{piece.text}\0".encode())
    counts = zip(shares, digests, blocks, words, strict=True)
    return tuple(Split(corpus, cut, share, digest.hexdigest(), b, w) for share, digest, b, w in counts)
