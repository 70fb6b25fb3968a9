"""Reading, cutting and splitting text."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pellucid.base.errors import CorpusError
from pellucid.corpus import blocks as blocks_module
from pellucid.corpus.blocks import CutSettings, cut_blocks
from pellucid.corpus.corpus import read_corpus, split_corpus, story_corpus
from pellucid.corpus.reading import Document, read_documents, stripped, text_files
from pellucid.corpus.rows import sample_rows, windows
from pellucid.corpus.sampling import sampled_corpus

BENT = gzip.compress(b"some words " * 9000)
BENT = BENT[:10] + b"\x07" + BENT[11:]  # a block of no kind


def numbered(count: int, start: int = 0) -> str:
    """A text of different words."""
    return " ".join(f"w{number}" for number in range(start, start + count))


def test_files_are_read_alike_however_they_are_packed(tmp_path: Path) -> None:
    text = f"\n{numbered(30_000)} é\n<|endoftext|>\nsecond\n<|endoftext|>" + "x" * 70_000
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "tight.txt.xz").write_bytes(lzma.compress(text.encode()))
    read = [["".join(d.fragments) for d in read_documents(file)] for file in sorted(tmp_path.iterdir())]
    assert read[0] == read[1] == read[2] == [part.strip() for part in text.split("<|endoftext|>")]
    assert read_corpus([tmp_path]).domains == ("packed", "plain", "tight")


def test_white_space_inside_is_kept_and_at_the_ends_dropped() -> None:
    assert "".join(stripped([" ", "\n a", " ", "\n", "b ", " \n"])) == "a \nb"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_white_space_is_kept_however_it_is_read(size: int) -> None:
    text = " \n a  b" + "\n" * 50 + "c \t"
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    assert "".join(stripped(parts)) == text.strip()


def test_cuts_do_not_depend_on_how_text_is_read() -> None:
    """Also where words are so long that no cut is found for many fragments."""
    text = " ".join(f"{'x' * (n % 97)}{n}" for n in range(3000))
    cut = CutSettings(words=200, gap=20)
    whole = [block.pieces for block in cut_blocks([Document("d", "d#0", (text,))], cut)]
    for size in (1, 13, 5000):
        parts = tuple(text[at : at + size] for at in range(0, len(text), size))
        assert [block.pieces for block in cut_blocks([Document("d", "d#0", parts)], cut)] == whole


def test_reading_grows_with_the_text_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in characters that are searched: text without white space is looked at a few times, however long."""
    looked = []
    real = blocks_module._word_ends
    monkeypatch.setattr(blocks_module, "_word_ends", lambda text, cut: looked.append(len(text)) or real(text, cut))
    list(cut_blocks([Document("d", "d#0", ("天地玄黄" * 250 for _ in range(1000)))], CutSettings()))
    assert sum(looked) <= 4 * 1_000_000


def test_text_without_spaces_is_counted_in_characters(tmp_path: Path) -> None:
    draw = random.Random(0)
    documents = ["".join(draw.choice("天地玄黄宇宙洪荒日月盈昃") for _ in range(400)) + "。" for _ in range(600)]
    (tmp_path / "zh.txt").write_text("<|endoftext|>".join(documents), encoding="utf-8")
    splits = split_corpus(read_corpus([tmp_path]))
    assert splits.fit.cut == CutSettings(4000, 200, "characters")
    named = list(splits.named.values())
    held = ["".join(piece.text for block in split.blocks() for piece in block.pieces) for split in named]
    assert [split.n_words for split in named] == list(map(len, held))
    assert sum(map(len, held)) == 600 * 401
    (tmp_path / "zh.txt").write_text("".join(documents[:50]), encoding="utf-8")
    assert split_corpus(read_corpus([tmp_path])).fit.cut == CutSettings(400, 40, "characters")
    (tmp_path / "zh.txt").write_text(documents[0], encoding="utf-8")
    with pytest.raises(CorpusError, match=r"has only 401 characters, .* give at least 12,000"):
        split_corpus(read_corpus([tmp_path]))


def test_a_long_text_without_spaces_is_cut_with_gaps() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(100)) + " \n" + "".join(chr(0x5E00 + n) for n in range(30))
    blocks = list(cut_blocks([Document("d", "d#0", (text[:50], text[50:]))], CutSettings(40, 5, "characters")))
    pieces = [piece for block in blocks for piece in block.pieces]
    assert [piece.words for piece in pieces] == [40, 40, 40]
    assert [piece.text for piece in pieces] == [text[:40], text[45:85], text[90:132]]


def test_a_name_that_is_not_utf_8_is_a_domain(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    try:
        path.write_text(numbered(9_000))
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    splits = split_corpus(read_corpus([tmp_path]))
    assert splits.heldout.domains == ("caf\\xe9",)
    assert "caf\\xe9#0" in {piece.document for block in splits.fit.blocks() for piece in block.pieces}


def test_long_documents_are_cut_with_a_gap_and_short_ones_grouped_whole() -> None:
    long = Document("d", "long", (numbered(100)[:37], numbered(100)[37:]))
    short = [Document("d", f"short{i}", (numbered(7, 1000 + 10 * i),)) for i in range(6)]
    blocks = list(cut_blocks([long, *short], CutSettings(words=20, gap=5)))
    pieces = [piece for block in blocks for piece in block.pieces]
    assert [piece.words for piece in pieces] == [20, 20, 20, 25] + [7] * 6
    assert [piece.text.split()[0] for piece in pieces[:4]] == ["w0", "w25", "w50", "w75"]
    assert [piece.start for piece in pieces[:4]] == [True, False, False, False]
    assert all(block.words <= 25 for block in blocks)
    assert [len(block.pieces) for block in blocks[4:]] == [3, 3]


def test_splits_are_disjoint_and_stay_put_when_text_is_added(tmp_path: Path) -> None:
    documents = [numbered(9_000, 10_000 * i) for i in range(20)]
    (tmp_path / "a.txt").write_text("<|endoftext|>".join(documents))
    first = split_corpus(read_corpus([tmp_path]))
    (tmp_path / "a.txt").write_text("<|endoftext|>".join([*documents, numbered(500, 10**7)]))
    second = split_corpus(read_corpus([tmp_path]))

    def words(split) -> set[str]:
        return {w for block in split.blocks() for piece in block.pieces for w in piece.text.split()}

    assert list(first.named) == ["fit", "tune", "check", "heldout"]
    parts = [words(split) for split in first.named.values()]
    assert sum(map(len, parts)) == len(set.union(*parts))
    edges = [{int(w[1:]) for w in part} for part in parts]
    for part in edges:
        for other in edges:
            assert part is other or not any(w + 1 in other for w in part if (w + 1) % 10_000)
    for before, after in zip(parts, second.named.values(), strict=True):
        assert before <= words(after)
    assert 0.45 < first.fit.n_words / 180_000 < 0.75
    assert len({split.sha256 for split in first.named.values()}) == 4
    assert first.heldout.n_words == sum(block.words for block in first.heldout.blocks())


def test_a_fit_corpus_leaves_the_other_to_choose_by_and_to_measure_on(tmp_path: Path) -> None:
    (tmp_path / "fit.txt").write_text(numbered(60_000))
    (tmp_path / "new.txt").write_text(numbered(3_000, 10**6))
    splits = split_corpus(read_corpus([tmp_path / "new.txt"]), read_corpus([tmp_path / "fit.txt"]))
    assert splits.check
    assert splits.heldout.domains == splits.check.domains == ("new",)
    assert (splits.heldout.n_blocks, splits.check.n_blocks) == (12, 2)
    assert splits.fit.domains == splits.tune.domains == ("fit",)
    with pytest.raises(CorpusError, match=r"new\.txt.*must not overlap"):
        split_corpus(read_corpus([tmp_path / "new.txt"]), read_corpus([tmp_path]))


def test_a_small_corpus_is_split_in_smaller_blocks(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text(numbered(9_000))
    splits = split_corpus(read_corpus([tmp_path / "small.txt"]))
    assert splits.fit.cut.words == 200
    assert min(split.n_blocks for split in splits.named.values()) > 0
    assert len(splits.named) == 4


def test_of_every_domain_that_is_measured_some_text_stays_held_out(tmp_path: Path) -> None:
    for number in range(12):  # of one block each, some of which would be dealt to check
        (tmp_path / f"d{number}.txt").write_text(numbered(150, 1000 * number))
    (tmp_path / "long.txt").write_text(numbered(4_000, 10**6))
    fit = story_corpus(lambda: (numbered(9_000, 10**7 + 10**4 * number) for number in range(20)), "other")
    splits = split_corpus(read_corpus([tmp_path]), fit)
    assert splits.check
    assert {block.domain for block in splits.heldout.blocks()} == set(splits.heldout.domains)
    assert {block.domain for block in splits.check.blocks()} == {"long"}


def test_a_text_too_short_to_choose_by_too_is_measured_on_whole(tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text(numbered(150))
    fit = story_corpus(lambda: (numbered(9_000, 10**7 + 10**4 * number) for number in range(20)), "other", "fit")
    splits = split_corpus(read_corpus([tmp_path / "new.txt"]), fit)
    assert splits.check
    assert splits.heldout.n_words == 150
    assert splits.check.domains == ("fit",)
    seen = [{block.name for block in split.blocks()} for split in (splits.fit, splits.tune, splits.check)]
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_splits_without_check_text_are_those_of_before_there_was_any() -> None:
    corpus = story_corpus(lambda: (numbered(9_000, 10**4 * number) for number in range(20)), "some")
    new, old = split_corpus(corpus), split_corpus(corpus, check=False)
    assert new.check
    assert old.check is None
    assert (old.tune, old.heldout) == (new.tune, new.heldout)
    names = [{block.name for block in split.blocks()} for split in (old.fit, new.fit, new.check)]
    assert names[0] == names[1] | names[2]


def test_reading_held_out_text_is_told() -> None:
    told: list[str] = []
    corpus = story_corpus(lambda: (numbered(9_000, 10**4 * number) for number in range(20)), "some")
    splits = split_corpus(corpus).watched(lambda: told.append("read"))
    for split in (splits.fit, splits.tune, splits.check):
        assert split
        assert list(split.blocks())
    assert told == []
    assert list(splits.heldout.blocks())
    assert told == ["read"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "holds no words"),
        ("blank.txt", b" \n<|endoftext|>\n ", "holds no words"),
        ("short.txt", b"only a few words", "has only 4 words, too few"),
        ("latin.txt", b"x" * 70_000 + b"caf\xe9 au lait", r"latin\.txt' is not UTF-8 text: byte 0xe9 at offset 70,003"),
        ("cut.txt", b"caf\xc3", r"cut\.txt' is not UTF-8 text: byte 0xc3 at offset 3"),
        ("torn.gz", gzip.compress(numbered(9000).encode())[:-90], r"cannot read .*torn\.gz"),
        ("torn.xz", lzma.compress(numbered(9000).encode())[:-90], r"cannot read .*torn\.xz"),
        ("no.xz", b"plain", r"cannot read .*no\.xz"),
        ("bent.gz", BENT, r"cannot read .*bent\.gz.*invalid"),
        ("book.pdf", b"x", r"cannot read .*book\.pdf': expected plain text"),
        ("model.safetensors", b"x", r"expected plain text \(\.txt\), lines of JSON"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        split_corpus(read_corpus([tmp_path / name]))


def test_bad_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no text file or folder .*nowhere"):
        read_corpus([tmp_path / "nowhere"])
    with pytest.raises(CorpusError, match="holds no text files"):
        read_corpus([tmp_path])
    with pytest.raises(CorpusError, match="no text was given"):
        read_corpus([])


def story(number: int) -> str:
    """A document of the tiny language, unlike the others."""
    return "".join((" a", " bc", " d", "e", " f's", " gh", " i")[(number >> shift) % 7] for shift in range(0, 40, 2))


def test_a_text_shorter_than_one_context_is_refused(pieces) -> None:
    corpus = story_corpus(lambda: [" a b"], "one story")
    heldout = split_corpus(corpus, story_corpus(lambda: [story(i) for i in range(900)], "stories")).heldout
    with pytest.raises(CorpusError, match="has 3 tokens, fewer than one context of 48"):
        sample_rows(heldout, pieces, 48, 10)


def test_rows_begin_with_the_separator_at_a_documents_start_only(pieces) -> None:
    corpus = story_corpus(lambda: [" a" * 50, " b" * 3], "stories", "tiny")
    rows = list(windows(cut_blocks(corpus.read(), CutSettings()), pieces, 20))
    assert [len(row) for row in rows] == [20, 20, 11, 4]
    assert [int(row.tokens[0]) for row in rows] == [0, 1, 1, 0]
    assert [row.document for row in rows] == ["tiny#0", "tiny#0", "tiny#0", "tiny#1"]


def test_rows_are_shared_out_among_domains_and_the_same_each_time(tmp_path: Path, pieces) -> None:
    for name, count in (("large", 30_000), ("middle", 30_000), ("tiny", 130)):
        (tmp_path / f"{name}.txt").write_text("".join(story(i) for i in range(count // 20)))
    fit = story_corpus(lambda: (story(i) for i in range(10_000, 11_000)), "stories")
    heldout = split_corpus(read_corpus([tmp_path]), fit).heldout
    rows = sample_rows(heldout, pieces, 32, 60, seed=3)
    counts = {name: sum(row.domain == name for row in rows) for name in heldout.domains}
    assert counts["tiny"] >= 4
    assert abs(counts["large"] - counts["middle"]) <= 1
    assert sum(counts.values()) in range(60, 64)
    again = sample_rows(heldout, pieces, 32, 60, seed=3)
    assert all((one.tokens == two.tokens).all() for one, two in zip(rows, again, strict=True))
    assert len({row.block for row in rows if row.domain == "large"}) > 5


def test_a_corpus_that_the_subject_wrote_says_so(markov, pieces) -> None:
    corpus = sampled_corpus(markov, pieces, "zoo:tiny", tokens=30_000)
    assert "sampled from zoo:tiny itself at temperature 1" in corpus.origin
    splits = split_corpus(corpus)
    assert splits.heldout.n_words > 100
    counts = [0] * 12
    for row in windows(cut_blocks(corpus.read(), CutSettings()), pieces, 48):
        for before, last, after in zip(row.tokens, row.tokens[1:], row.tokens[2:], strict=False):
            if (before, last) == (0, 2):
                counts[after] += 1
    logits, _ = markov.extend(np.array([[0, 2]]))
    assert counts[1:].index(max(counts[1:])) == logits[0, -1, 1:].argmax()


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, pieces) -> None:
    pieces.encode = lambda text: [1, 2] * (len(text) // 100)
    peaks = []
    for size in (1_500, 15_000):
        file = tmp_path / f"{size}.txt.xz"
        file.write_bytes(lzma.compress(" ".join(story(i) for i in range(size)).encode(), preset=0))
        tracemalloc.start()
        corpus = story_corpus(lambda size=size: ((story(i) + " ") * 10 for i in range(size // 10)), "stories")
        heldout = split_corpus(read_corpus([file]), corpus).heldout
        sample_rows(heldout, pieces, 48, 4)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 1e6


def test_lines_of_json_are_documents(tmp_path: Path) -> None:
    lines = '{"text": "One\\ntwo. ", "id": 3}\n\n{"text": "Three \\u00e9"}'
    (tmp_path / "own.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "own.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for path in text_files([tmp_path]):
        found = [(one.domain, "".join(one.fragments)) for one in read_documents(path)]
        assert [one for one in found if one[1]] == [("own", "One\ntwo."), ("own", "Three é")]
    for line in ("{", "[1]", '{"story": "x"}', '{"text": 3}'):
        (tmp_path / "own.jsonl").write_text(f'{{"text": "x"}}\n{line}\n')
        with pytest.raises(CorpusError, match=r"own.jsonl', line 2: .* is no JSON such as"):
            [list(one.fragments) for one in read_documents(tmp_path / "own.jsonl")]
