"""Pictures: self-contained, with their numbers, and nothing that strangers wrote read as markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import checkpoints
from pellucid import (
    attention,
    direct_effects,
    faithfulness_curve,
    find_circuit,
    graph,
    head_scores,
    logit_difference,
    logit_lens,
    means,
    path_patch,
    picture,
    score_edges,
    steer,
    sweep,
    trace,
    why,
)
from pellucid.base.errors import PellucidError
from pellucid.engine.tasks import MinimalPair, MinimalPairs
from pellucid.exact.model import Model
from pellucid.study.why import Cause, Why
from pellucid.study.wiring import Wiring
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
    task = MinimalPairs("<b>task</b>", (MinimalPair("w6 w7 w8", "w7 w6 w8", ("w9",), ("w10",)),))
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
        "graph": graph(why(model, "w6 w7", texts=torch.cat([ids, other]))),
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


def test_notes_end_inside_the_frame(pictures: dict[str, Picture]) -> None:
    (ax,) = pictures["why"].figure.axes
    pictures["why"].figure.draw_without_rendering()
    frame = ax.get_window_extent()
    notes = [text.get_window_extent() for text in ax.texts]
    assert notes
    assert all(note.x1 <= frame.x1 + 1 and note.y0 >= frame.y0 - 1 and note.y1 <= frame.y1 + 1 for note in notes)


def test_colours_and_lines_are_explained(pictures: dict[str, Picture]) -> None:
    for name, unit in {
        "stream": "share of the way",
        "lens": "probability of what it says",
        "scores": "share of attention",
        "attention": "share of attention",
    }.items():
        assert any(unit in ax.get_ylabel() for ax in pictures[name].figure.axes), name
    for name, words in {"circuit": "raises the metric", "graph": "up the stream", "curve": "the whole model"}.items():
        legend = pictures[name].figure.axes[0].get_legend()
        assert legend is not None
        assert words in [text.get_text() for text in legend.get_texts()], name


def test_circuits_are_drawn_by_their_addresses(pictures: dict[str, Picture]) -> None:
    words = {text.get_text() for text in pictures["circuit"].figure.axes[0].texts}
    assert words & {"L00.MLP", "L01.MLP", "L00.H01", "L01.H02"}
    assert not any(word.startswith(("a0", "a1", "m0", "m1")) for word in words)
    line = pictures["circuit"].table[0]
    assert set(line) == {"edge", "from", "to", "score"}
    wiring = Wiring(12, 12)
    assert [wiring.address(end) for end in ("a2.h11<q>", "a10.h3", "m7", "input", "logits")] == [
        "L02.H11 query",
        "L10.H03",
        "L07.MLP",
        "EMB",
        "logits",
    ]


def test_a_graph_has_tokens_parts_and_what_is_said() -> None:
    causes = (
        Cause("L01.H02.OV", 1, "w7", 1.0, 1.5, 0.75, looks_at=((0, "w6", 0.8),)),
        Cause("L00.mlp_out", 0, "w6", 0.5, 0.4, 0.2, neurons=(("L00.N0001", 0.3),)),
        Cause("EMB.TOK", 1, "w7", -0.5, -0.2, -0.1),
    )
    found = Why("w6 w7", ("w6", "w7"), "w9", "w4", 2.0, 0.9, causes, 1.8, (0.5, 0.07))
    (ax,) = graph(found).figure.axes
    boxes = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    named = {"0 w6", "1 w7\n-10 %", "L00.MLP\n20 %", "L01.H02\n75 %", "80 %", "“w9” (50 %)\nrather than “w4” (7 %)"}
    assert named == set(boxes)
    assert boxes["L00.MLP\n20 %"][0] == boxes["0 w6"][0]
    assert boxes["0 w6"][1] < boxes["L00.MLP\n20 %"][1] < boxes["L01.H02\n75 %"][1]
    tied = graph(replace(found, together=None, causes=tuple(replace(cause, share=None) for cause in causes)))
    assert "L01.H02\n+1.50" in {text.get_text() for text in tied.figure.axes[0].texts}


def test_a_picture_is_saved_as_its_name_says(pictures: dict[str, Picture], tmp_path: Path) -> None:
    for name, start in {"a.png": b"\x89PNG", "a.svg": b"<svg", "a.html": b"<!doctype html>"}.items():
        pictures["curve"].save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(
        PellucidError, match=r"a.jpg' does not say what to write; expected a name in .png, .svg or .html"
    ):
        pictures["curve"].save(tmp_path / "a.jpg")


def test_results_say_what_they_are(model: Model) -> None:
    ids, other = torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[0, 6, 2, 7, 4]])
    metric = logit_difference(model, 3, 5)
    task = MinimalPairs("t", (MinimalPair("w6 w7 w8", "w7 w6 w8", ("w9",), ("w10",)),))
    scores = score_edges(model, task, "gradient")
    said = {
        r"<HeadScores of 6 heads; most: previous_token L0\d.H0\d 0\.\d\d, ": head_scores(model, rows=2),
        r"<Sweep of z, 2 × 3 × 5 pieces: the metric goes from -?\d.* most at layer \d \d at \d ": sweep(
            model, ids, other, metric, "z"
        ),
        r"<Lens of 3 streams, 1 row of 5 tokens; behind the first they say \[": logit_lens(model, ids),
        r"<DirectEffects of 15 parts, 1 row: [+-].* in all; most: ": direct_effects(model, ids, 3),
        r"<EdgeScores of 75 edges by 'gradient'; most: .* → .*; at the embeddings .* % of .* is missed>": scores,
        r"<Circuit 't': \d+ of 75 edges, faithfulness .*; most: .* → ": find_circuit(model, task, 0.3, scores=scores),
        r"<Curve 't': 2 sizes, CPR .*, CMD ": faithfulness_curve(model, task, scores, (0.1, 1.0)),
        r"<Why 'w6 w7' → .* rather than .*; most: ": why(model, "w6 w7", texts=torch.cat([ids, other])),
        r"<Trace of random: 1 row of 5 tokens; 1 recorded \(L01.pattern\)>": trace(model, ids, ["L01.pattern"]),
        r"<Means of 1 activations: L01.z \[1, 1, 3, 5\]>": means(model, ids, ["L01.z"]),
        r"<PathEffect L00.H00.OV → logits: [+-]": path_patch(model, ids, other, metric, "L00.H00.OV", "logits"),
        r"<Task 't' of 1 pairs: 'w6 w7 w8' → 'w9', …>": task,
        r"steer\('L00.z', positions=-1, heads=\[0, 2\]\)": steer("L00.z", 1.0, positions=-1, heads=[0, 2]),
        r"<Picture 'x', \d+ lines; .save\(FILE\) writes": picture(head_scores(model, rows=2), title="x"),
    }
    for expected, result in said.items():
        text = repr(result)
        assert re.match(expected, text), text
        assert len(text) < 400
