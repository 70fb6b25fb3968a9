"""Pictures: self-contained, with their numbers, and nothing that strangers wrote read as markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch

import checkpoints
from pellucid import (
    attention,
    direct_effects,
    faithfulness_curve,
    find_circuit,
    head_scores,
    logit_difference,
    logit_lens,
    picture,
    score_edges,
    sweep,
    trace,
    why,
)
from pellucid.base.errors import PellucidError
from pellucid.exact.model import Model
from pellucid.experiment.tasks import Pair, Task
from pellucid.subject.tokenizer import WordTokenizer
from pellucid.view.pictures import Picture

EVIL = ["<script>alert(1)</script>", "$x^2", "a&b", '"><img', "w4", "\n", "w6", "w7", "w8", "w9", "w10"]


@pytest.fixture(scope="module")
def model() -> Model:
    subject = checkpoints.random_model(2, n_embd=15, n_head=3, n_inner=4, n_layer=2)[0].subject
    object.__setattr__(subject, "tokenizer", WordTokenizer(EVIL, 0, "random"))
    return Model(subject)


@pytest.fixture(scope="module")
def pictures(model: Model) -> dict[str, Picture]:
    ids = torch.tensor([[0, 1, 2, 3, 4]])
    other = torch.tensor([[0, 6, 2, 7, 4]])
    metric = logit_difference(model, 3, 5)
    task = Task("<b>task</b>", (Pair("w6 w7 w8", "w7 w6 w8", ("w9",), ("w10",)),))
    scores = score_edges(model, task, "gradient")
    return {
        "stream": picture(sweep(model, ids, other, metric)),
        "heads": picture(sweep(model, ids, other, metric, "z")),
        "neurons": picture(sweep(model, ids, other, metric, "neuron")),
        "lens": picture(logit_lens(model, ids)),
        "direct": picture(direct_effects(model, ids, 3)),
        "scores": picture(head_scores(model, rows=2)),
        "circuit": picture(find_circuit(model, task, 0.3, scores=scores)),
        "curve": picture(faithfulness_curve(model, task, scores, (0.1, 1.0))),
        "why": picture(why(model, "w6 w7", texts=torch.cat([ids, other]))),
        "attention": attention(trace(model, ids, ["L01.pattern"]), 1, [0, 2]),
    }


def test_every_picture_has_numbers_and_is_one_file(pictures: dict[str, Picture], tmp_path: Path) -> None:
    for name, drawn in pictures.items():
        assert drawn.table, name
        svg = ET.fromstring(drawn.svg())
        assert svg.tag.endswith("svg"), name
        drawn.save_html(tmp_path / "it.html")
        text = (tmp_path / "it.html").read_text(encoding="utf-8")
        assert text.startswith("<!doctype html>"), name
        assert "default-src 'none'" in text, name
        assert not re.search(r"""(src|href)=["']https?:|@import|<script|<b>task|"><img""", text), name
        drawn.save_png(tmp_path / "it.png", dpi=40)
        assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG"), name
        assert drawn._repr_html_().startswith("<figure><svg"), name


def test_text_is_drawn_as_it_is(pictures: dict[str, Picture]) -> None:
    words = "".join(ET.fromstring(pictures["stream"].svg()).itertext())
    assert "$x^2" in words
    assert "<script>aler" in words


def test_what_has_no_picture_is_named(model: Model) -> None:
    with pytest.raises(PellucidError, match="there is no picture of a int"):
        picture(3)
    run = trace(model, torch.tensor([[0, 1]]), ["L01.pattern"])
    with pytest.raises(PellucidError, match="head 3 is not among the 3 of layer 1"):
        attention(run, 1, [3])
