"""Text to measure on is not to stand in the text to fit on, under whatever name."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from cli_support import Answer, Workshop, pellucid
from pellucid.corpus import packing
from pellucid.project import texts
from pellucid.project.project import Project


def words(path: Path, count: int, seed: int, step: int = 0) -> str:
    """Write a text of the subject's words to `path`; every word at a multiple of `step` is another one."""
    draw = random.Random(seed)
    text = [f"w{draw.randrange(1, 11)}" for _ in range(count)]
    for at in range(0, count, step) if step else ():
        text[at] = "w0" if text[at] != "w0" else "w1"
    path.write_text(" ".join(text), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def decompiled(workshop: Workshop, corpus: Path, fit: Path | None = None) -> Answer:
    arguments = (workshop.subject, "-o", workshop.fresh, "--corpus", corpus, "--quick", "--raw", "--json")
    return pellucid("decompile", *arguments, *(("--fit-corpus", fit) if fit else ()))


@pytest.mark.parametrize("how", ["copy", "link", "superset", "subset"])
def test_a_copy_to_fit_on_is_refused(workshop: Workshop, how: str) -> None:
    """By content: the file has another name, and may hold other text as well."""
    measured, fitted = workshop.root / "new.txt", workshop.root / "old.txt"
    text = words(measured, 6000, 1)
    if how == "link":
        os.link(measured, fitted)
    else:
        before, after = (words(workshop.root / "rest", 3000, seed) for seed in (2, 3))
        half = " ".join(text.split()[3000:])
        fitted.write_text({"copy": text, "superset": f"{before} {text} {after}", "subset": f"{before} {half}"}[how])
    said = decompiled(workshop, measured, fitted).complaint()
    assert "must not overlap" in said
    copied, stretches = (int(word) for word in said.split(": ")[2].split(" stretches")[0].split(" of "))
    assert copied >= (0.4 if how == "subset" else 0.9) * stretches > 6
    assert "(new#0)" in said
    assert not workshop.fresh.exists()


def test_near_duplicates_are_counted_and_said(workshop: Workshop) -> None:
    measured, fitted = workshop.root / "new.txt", workshop.root / "old.txt"
    words(measured, 6000, 1)
    words(fitted, 6000, 1, step=40)
    answer = decompiled(workshop, measured, fitted)
    assert answer.code == 0
    found = answer.json["corpus"]["overlap"]
    assert (found["copied"], found["alike"]) == (0, found["stretches"])
    assert "near-duplicates: " in answer.err
    assert f"{found['alike']:,} nearly do" in pellucid("report", workshop.fresh).out
    verified = pellucid("verify", workshop.fresh, "--quick", "--json").json
    assert verified["corpus"]["overlap"] == found


def test_a_corpus_that_holds_a_text_twice_says_so(workshop: Workshop) -> None:
    folder = workshop.root / "texts"
    folder.mkdir()
    text = words(folder / "one.txt", 20_000, 1)
    (folder / "two.txt").write_text(text)
    words(folder / "three.txt", 20_000, 2)
    answer = decompiled(workshop, folder)
    found = answer.json["corpus"]["overlap"]
    assert 0 < found["copied"] < found["stretches"]
    assert "held-out text is not new: " in answer.err


def test_new_text_has_no_overlap(workshop: Workshop) -> None:
    report = json.loads((workshop.made / "report.json").read_text())
    assert report["corpus"]["overlap"]["copied"] == report["corpus"]["overlap"]["alike"] == 0
    assert report["corpus"]["overlap"]["stretches"] > 0
    assert "stretches" not in pellucid("report", workshop.made).out


def test_a_text_may_be_shorter_than_a_long_context(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough is a row, which is as long as it need be, and not all that a model could read."""
    monkeypatch.setattr(packing, "LONGEST_ROW", 8)
    project, lengths = Project.open(workshop.made), list[int]()
    known = texts.sample_rows

    def watched(split: Any, tokenizer: Any, length: int, count: int, seed: int = 0) -> Any:
        lengths.append(length)
        return known(split, tokenizer, length, count, seed)

    monkeypatch.setattr(texts, "sample_rows", watched)
    texts.require_enough(project.texts, project.model, 0)
    assert project.model.n_ctx == 16
    assert lengths == [8] * len(project.texts.named)
