"""A program that is written as a checkpoint says the same when Transformers loads it; what no weights do is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import pellucid as api
from cli_support import Workshop, copied, furnish, lean, leftovers, pellucid
from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.corpus.corpus import split_corpus, story_corpus
from pellucid.exact.model import Model
from pellucid.listing.emit import emit
from pellucid.project.manifest import CorpusEntry, Manifest, SubjectEntry
from pellucid.project.project import Project
from pellucid.project.trust import trust
from pellucid.rewrite import export as module
from pellucid.subject.load import load_subject
from pellucid.verify.running import Running
from printed import write_constants, write_lifted

IDS = torch.randint(1, 11, (3, 12), generator=torch.Generator().manual_seed(2))
EDITS = """from .prelude import edit, where


@edit("EMB.TOK", 1, says=("w4",), over=("w3",))
def edit_0001(here):
    return where(is_w3(here), 1.0, 0.0)


def is_w3(place):
    return place.token.one_of("w3")


@edit("L01.MLP.B", 2, over=("w5",))
def edit_0002():
    return 3.0
"""
BEHIND = """from .prelude import edit, where


@edit("L00.H01.OV", 7, says=("w4",))
def edit_0007(query):
    return where(query.previous.one_of("w3"), 9.0, 0.0)
"""


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    root = tmp_path_factory.mktemp("to_export")
    with lean(root / "state"):
        return furnish(root / "workshop")


@pytest.fixture
def workshop(furnished: Workshop, tmp_path: Path):
    with lean(tmp_path / "state"):
        yield copied(furnished, tmp_path / "workshop")


def hugging_face(checkpoint: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        return model(IDS).logits


def program(workshop: Workshop) -> torch.Tensor:
    return torch.from_numpy(Project.open(workshop.made).program().logits(IDS.numpy()))


def nothing_new(workshop: Workshop, name: str = "checkpoint") -> bool:
    return not list(workshop.root.glob(f"*{name}*")) and not leftovers(workshop.root)


def lifted(workshop: Workshop) -> None:
    """A program with parts of every kind that holds vectors, all without residual."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"read": (8, 1), "write": (1, 8), "centre": (1,)}
    vectors = {f"L00.H01.OV.{name}": torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    shapes = {"read_q": (8, 1), "read_k": (8, 1), "bias": (1,)}
    vectors |= {f"L01.H01.QK.{name}": torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    shapes = {
        "L00.OV": (2, 8),
        "L01.OV": (2, 8),
        "L00.OUT": (32, 8),
        "L01.OUT": (32, 8),
        "EMB.TOK": (8,),
        "EMB.POS": (8,),
    }
    average = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    emit(Project.open(workshop.made).subject, workshop.made, average, vectors)
    heads = {"L00.H01.OV": 1, "L01.H01.QK": 1, "L01.H00.OV": 0, "L01.H00.QK": 0, "EMB.POS": 0}
    neurons = [Address("OUT", 0, n) for n in (3, 9, 11, 30)]
    write_lifted(workshop.made, {Address.parse(key): rank for key, rank in heads.items()}, neurons)
    write_constants(workshop.made, {Address("IN", 1, 5): 0.7, Address("IN", 1, 6): -0.2})
    free = [*heads, *map(str, neurons), "L01.N0005.IN", "L01.N0006.IN"]
    entry = f'[[part]]\naddresses = {json.dumps(free)}\nform = "lifted"\nresidual = "dropped"\n'
    (workshop.made / "parts.toml").write_text(entry)
    trust(workshop.made)


def test_a_raw_program_is_its_subject(workshop: Workshop) -> None:
    target = workshop.root / "checkpoint"
    answer = pellucid("export", workshop.made, "-o", target, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["difference"] < 1e-4
    assert (answer.json["tops"], answer.json["tied"]) == (0, True)
    assert answer.json["loaded_by"].startswith("transformers ")
    torch.testing.assert_close(hugging_face(target), hugging_face(workshop.subject), rtol=0, atol=0)
    subject = load_subject(target)  # it is a subject again, with its tokens
    assert subject.tokenizer.encode("w1 w2") == [1, 2]
    assert (target / "generation_config.json").is_file()
    assert not leftovers(workshop.root)
    assert target.stat().st_mode & 0o777 == 0o755


def test_tokens_biases_and_lifted_parts_become_weights(workshop: Workshop) -> None:
    lifted(workshop)
    (workshop.made / "program" / "edits.py").write_text(EDITS)
    trust(workshop.made)
    target = workshop.root / "checkpoint"
    answer = pellucid("export", workshop.made, "-o", target)
    assert answer.code == 0, answer.err
    assert "the unembedding is a table of its own now" in answer.out
    found = hugging_face(target)
    torch.testing.assert_close(found, program(workshop), rtol=1e-4, atol=1e-4)
    assert (found - hugging_face(workshop.subject)).abs().max() > 1  # they do something else than the subject


def test_embeddings_that_are_tables_become_weights(workshop: Workshop) -> None:
    page = workshop.made / "program" / "embedding.py"
    text = page.read_text().replace("from .prelude import raw", "from .prelude import raw, source")
    tok = '@source("EMB.TOK")\ndef tok(here):\n    return here.token.one_of("w1", "w7")[..., None] * 0.5\n'
    pos = '@source("EMB.POS")\ndef pos(here):\n    return 0.1 * here.position[..., None]\n'
    page.write_text(text.replace('raw("EMB.TOK")\n', tok).replace('raw("EMB.POS")\n', pos))
    entry = '[[part]]\naddresses = ["EMB.TOK", "EMB.POS"]\nform = "source"\nresidual = "dropped"\n'
    (workshop.made / "parts.toml").write_text(entry)
    trust(workshop.made)
    target = workshop.root / "checkpoint"
    assert pellucid("export", workshop.made, "-o", target).code == 0
    torch.testing.assert_close(hugging_face(target), program(workshop), rtol=1e-4, atol=1e-4)
    page.write_text(page.read_text().replace("here.token.one_of", "here.previous.one_of"))
    trust(workshop.made)
    said = pellucid("export", workshop.made, "-o", workshop.root / "other").complaint()
    assert "EMB.TOK (embedding.py:" in said


def test_what_no_weights_do_is_named_before_anything_is_written(workshop: Workshop) -> None:
    (workshop.made / "program" / "edits.py").write_text(BEHIND)
    workshop.source("L00.H01.QK", "return 6.0 * (key.position == query.position - 1)")
    entry = '[[part]]\naddresses = ["L00.H01.QK"]\nform = "source"\nresidual = "dropped"\n'
    (workshop.made / "parts.toml").write_text(entry)
    trust(workshop.made)
    said = pellucid("export", workshop.made, "-o", workshop.root / "checkpoint").complaint()
    assert "L00.H01.QK (layer_00.py:" in said
    assert "edit 0007 (L00.H01.OV) speaks behind certain words alone" in said
    assert "--undo" in said
    assert nothing_new(workshop)


def test_a_source_recorded_by_hand_is_named(workshop: Workshop) -> None:
    workshop.source("L00.H01.QK", "return 6.0 * (key.position == query.position - 1)")
    workshop.edit("program/layer_00.py", "return 6.0", "return 7.0")
    base = 'from .prelude import base\n\n\n@base("L00.H01.QK", 1)\ndef before(query, key):\n    return key.position\n'
    (workshop.made / "program" / "edits.py").write_text(base)
    trust(workshop.made)
    said = pellucid("export", workshop.made, "-o", workshop.root / "checkpoint").complaint()
    assert "L00.H01.QK was edited by hand" in said


@pytest.mark.parametrize("where", ["L00.resid_pre", "L01.resid_pre", "L00.resid_mid", "L01.resid_post", "L00.pre"])
def test_steering_becomes_a_bias(workshop: Workshop, where: str) -> None:
    project = Project.open(workshop.made)
    vector = torch.randn(32 if where.endswith("pre") and "resid" not in where else 8)
    found = module.export(project, workshop.root / "checkpoint", {where: vector})
    assert found.difference < 1e-4
    running = Running(project.model, project.program())
    wanted = api.trace(running, IDS, changes=[api.steer(where, vector)]).logits
    torch.testing.assert_close(hugging_face(workshop.root / "checkpoint"), wanted, rtol=1e-4, atol=1e-4)


def test_vectors_that_are_no_bias_are_refused(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    for where, vector, said in (
        ("L00.pattern", 1.0, "is no weight of a checkpoint"),
        ("L00.resid_post", torch.zeros(3), "expected 8 finite numbers"),
        ("L00.resid_post", torch.full((8,), torch.nan), "expected 8 finite numbers"),
        ("nowhere", 1.0, "nowhere"),
    ):
        with pytest.raises(PellucidError, match=said):
            module.export(project, workshop.root / "checkpoint", {where: vector})
    assert nothing_new(workshop)


def test_what_is_there_stays_and_what_differs_is_not_written(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = workshop.files(workshop.subject)
    assert "is there already" in pellucid("export", workshop.made, "-o", workshop.subject).complaint()
    assert workshop.files(workshop.subject) == before
    monkeypatch.setattr(module, "LIMIT", -1.0)
    assert "nothing was written" in pellucid("export", workshop.made, "-o", workshop.root / "checkpoint").complaint()
    assert nothing_new(workshop)


@pytest.mark.parametrize(("name", "text"), [("zoo:village", "Ada lives in Pine Lane. " * 60), ("zoo:induction", "")])
def test_zoo_models_are_written_with_their_tokens(name: str, text: str, tmp_path: Path) -> None:
    with lean(tmp_path / "state"):
        subject = load_subject(name)
        entry = SubjectEntry(name, subject.weights_sha256, subject.tokenizer_sha256)
        manifest = Manifest(entry, CorpusEntry("text", ("gone.txt",), ()))
        emit(subject, tmp_path / "made")
        trust(tmp_path / "made")
        corpora = [
            story_corpus(lambda: [f"{n} {text}" for n in range(200)], "stories", "village")
            for _ in range(2 if text else 0)
        ]
        project = Project(tmp_path / "made", manifest, Model(subject), split_corpus(*corpora) if text else None)
        found = module.export(project, tmp_path / "checkpoint")
    assert found.difference < 1e-3
    assert found.text == ("8 rows of held-out text" if text else "random tokens")
    again = load_subject(tmp_path / "checkpoint")
    assert again.tokenizer_sha256 == subject.tokenizer_sha256
    assert all(torch.equal(weight, again.weights[key]) for key, weight in subject.weights.items())
