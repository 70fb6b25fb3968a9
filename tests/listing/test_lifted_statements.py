"""Lifted statements: what they say, what is refused, how their numbers are counted, and who may write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from emitted import Project, some_ids

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.listing.count import count_lifted, count_program
from pellucid.listing.emit import emit
from pellucid.listing.load import load_program
from pellucid.listing.pages import means
from pellucid.listing.parse import digest, read_page, read_program
from printed import arrange, write_lifted, write_statements

HEAD = Address("OV", 0, 1)
NEURONS = [Address("OUT", 0, n) for n in (3, 9, 11, 30)]


def drop(project: Project, *addresses: str) -> None:
    """Let parts run what they are lifted to."""
    quoted = ", ".join(f'"{address}"' for address in addresses)
    text = f'[[part]]\naddresses = [{quoted}]\nform = "lifted"\nresidual = "dropped"\n'
    (project.directory / "parts.toml").write_text(text)


def furnish(project: Project) -> dict[str, torch.Tensor]:
    """Give the program vectors for a head, and means, and return the former."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"read": (8, 1), "write": (1, 8), "centre": (1,)}
    vectors = {f"L00.H01.OV.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    average = {f"L{layer:02d}.{name}": torch.randn(shape, generator=generator) for layer in range(2) for name, shape in
               (("OV", (2, 8)), ("OUT", (32, 8)))}  # fmt: skip
    average |= {name: torch.randn(8, generator=generator) for name in ("EMB.TOK", "EMB.POS")}
    emit(project.subject, project.directory, average, vectors)
    return vectors | average


# --- what they say ----------------------------------------------------------------------------------------------------


def test_a_statement_says_what_is_lifted(project: Project) -> None:
    write_lifted(project.directory, {HEAD: 1, Address("OV", 1, 0): 0}, NEURONS)
    listing = read_program(project.directory)
    assert [listing[HEAD].form, listing[HEAD].rank] == ["lifted", 1]
    assert listing[Address("OV", 1, 0)].form == "mean"
    assert listing[NEURONS[0]].neurons == (3, 9, 11, 30)
    assert listing[Address("OUT", 0, 4)].key == "L00.N*.OUT"
    assert {listing.form(address) for address in (HEAD, *NEURONS)} == {"lifted"}
    assert not any(statement.by_person for statement in listing.statements.values())
    assert listing[HEAD].source == f"layer_00.py:{listing[HEAD].line}"


def test_lifted_numbers_are_counted_and_shared(project: Project) -> None:
    write_lifted(project.directory, {HEAD: 1, Address("OV", 1, 0): 0}, NEURONS)
    assert {str(address): held for address, held in count_program(read_program(project.directory)).items()} == {
        "L00.H01.OV": 24,
        "L01.H00.OV": 8,
        **{str(address): 2 for address in NEURONS},
    }
    assert "what heads move (OV)           1       1       0          0          136\n" in project.read("layer_00.py")
    assert "what neurons write (OUT)      28       4       0          0          256\n" in project.read("layer_00.py")
    assert "Nothing here runs from a source." in project.read("layer_00.py")


def test_long_lists_of_neurons_are_broken_and_read_back() -> None:
    text = means("L00.OUT", range(400, 800, 2))
    page = read_page(Path("layer_00.py"), {}, f"from .prelude import means\n\n{text}\n")
    assert max(map(len, text.splitlines())) <= 120
    assert page.statements[0].neurons == tuple(range(400, 800, 2))


def test_what_is_lifted_can_be_written_again_and_taken_back(project: Project) -> None:
    raw = project.read("layer_00.py")
    write_lifted(project.directory, {HEAD: 1}, NEURONS)
    first = project.read("layer_00.py")
    write_lifted(project.directory, {HEAD: 1}, NEURONS)
    assert project.read("layer_00.py") == first
    write_lifted(project.directory, {}, NEURONS[:2])
    assert "means(" not in project.read("layer_00.py")
    write_lifted(project.directory, {}, [])
    body = [text.partition("import")[2].replace("lifted, means, ", "") for text in (raw, project.read("layer_00.py"))]
    assert body[0] == body[1]


def test_what_a_person_wrote_is_kept(project: Project) -> None:
    project.replace("layer_00.py", 'raw("L00.H01.OV")', 'lifted("L00.H01.OV", rank=1)  # mine')
    project.replace("layer_00.py", 'raw("L00.N*.OUT")', 'means("L00.OUT", 1, 2, 5)\nraw("L00.N*.OUT")')
    project.replace("layer_00.py", "import raw", "import lifted, means, raw")
    text = project.read("layer_00.py")
    emission = write_lifted(project.directory, {HEAD: 0, Address("OV", 0, 0): 0}, NEURONS)
    assert set(emission.kept) == {"L00.H01.OV", "L00.OUT"}
    assert 'mean("L00.H00.OV")' in project.read("layer_00.py")
    write_statements(project.directory, {Address("OV", 0, 0): None})
    kept = project.read("layer_00.py")
    assert kept[kept.index("# ---") :] == text[text.index("# ---") :]


# --- what they do -----------------------------------------------------------------------------------------------------


def test_the_vectors_of_the_file_are_what_runs(project: Project) -> None:
    held = furnish(project)
    write_lifted(project.directory, {HEAD: 1}, [])
    drop(project, str(HEAD))
    ids = some_ids(11, 2, 9)
    model = project.exact()
    found = model.run(torch.from_numpy(ids), ("L00.LN1", "L00.pattern", "L00.attn_out", "L00.z"))
    out = model.weights["h.0.attn.c_proj.weight"][4:]
    read, write, centre = (held[f"L00.H01.OV.{name}"] for name in ("read", "write", "centre"))
    lifted = (found["L00.pattern"][:, 1] @ (found["L00.LN1"] @ read) - centre) @ write + held["L00.OV"][1]
    attn_out = found["L00.attn_out"] - found["L00.z"][:, :, 1] @ out + lifted
    wanted = model.run(torch.from_numpy(ids), ("logits",), edits={"L00.attn_out": lambda _: attn_out})["logits"]
    np.testing.assert_allclose(project.load().logits(ids), wanted.numpy(), atol=2e-5)


def furnish_beside(project: Project) -> dict[str, torch.Tensor]:
    """Give the program vectors for channels of layer 1 and for where a head of it looks, and return them."""
    generator = torch.Generator().manual_seed(1)
    shapes = {"IN.read": (8, 2), "IN.write": (2, 32), "IN.centre": (2,), "IN.offset": (32,)}
    shapes |= {"H01.QK.read_q": (8, 1), "H01.QK.read_k": (8, 1), "H01.QK.bias": (1,)}
    vectors = {f"L01.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    emit(project.subject, project.directory, {"L01.IN": torch.zeros(32), "L00.IN": torch.zeros(32)}, vectors)
    return vectors


def test_channels_and_comparisons_are_what_runs_beside_a_source(project: Project) -> None:
    held = furnish_beside(project)
    write_lifted(project.directory, {Address("QK", 1, 1): 1}, [], {1: (2, range(3, 32))})
    page = project.read("layer_01.py")
    assert 'raw("L01.H01.QK")' not in page  # one statement an address
    assert 'raw("L01.H00.OV")\nlifted("L01.H01.QK", rank=1)\nraw("L01.H01.OV")' in page
    assert 'channels("L01.IN", *range(3, 32), rank=2)\n\nraw("L01.N*.IN")' in page
    ids = some_ids(11, 2, 9)
    raw = project.load().logits(ids)
    drop(project, "L01.H01.QK", *(f"L01.N{n:04d}.IN" for n in (5, 30)), "L01.N0000.IN")
    model = project.exact()
    found = model.run(torch.from_numpy(ids), ("L01.LN1", "L01.scores"))
    q, k = found["L01.LN1"] @ held["L01.H01.QK.read_q"] + held["L01.H01.QK.bias"], found["L01.LN1"]
    scores = found["L01.scores"].clone()
    scores[:, 1] = q @ (k @ held["L01.H01.QK.read_k"]).transpose(1, 2) * model.decoder.blocks[1].attention.scale
    seen: dict[str, torch.Tensor] = {}

    def reads(pre: torch.Tensor) -> torch.Tensor:
        said = (seen["x"] @ held["L01.IN.read"] - held["L01.IN.centre"]) @ held["L01.IN.write"] + held["L01.IN.offset"]
        return pre.index_copy(2, torch.tensor([5, 30]), said[..., [5, 30]])

    edits = {"L01.scores": lambda _: scores, "L01.LN2": lambda x: seen.setdefault("x", x), "L01.pre": reads}
    wanted = model.run(torch.from_numpy(ids), ("logits",), edits=edits)["logits"].numpy()
    np.testing.assert_allclose(project.load().logits(ids), wanted, atol=2e-5)
    assert np.abs(wanted - raw).max() > 1e-2
    project.replace("layer_01.py", 'raw("L01.N*.IN")', 'constants("L01.IN", {5: 3.0})\nraw("L01.N*.IN")')
    project.replace("layer_01.py", " lifted,", " constants, lifted,")
    np.testing.assert_allclose(project.load().logits(ids), wanted, atol=2e-5)
    listing, neuron = read_program(project.directory), Address("IN", 1, 5)
    assert (listing[neuron].form, listing.runs(neuron).form) == ("constants", "channels")
    assert listing.form(neuron) == "lifted"
    assert count_program(listing)[neuron] == 1
    assert count_lifted(listing)[neuron] == -(-8 * 2 // 29) + 2 + 1
    assert count_lifted(listing)[Address("QK", 1, 1)] == 17
    alone = project.load("code").logits(ids)
    write_lifted(project.directory, {}, [])
    assert "channels(" not in project.read("layer_01.py")
    assert read_program(project.directory)[Address("QK", 1, 1)].form == "raw"
    np.testing.assert_array_equal(project.load("code").logits(ids), alone)


def test_a_lifted_head_is_said_to_run_in_one_statement(project: Project) -> None:
    """Also where a source describes it, and where emission once said so twice; unlifted it runs raw again."""
    furnish_beside(project)
    head, layer, said = Address("QK", 1, 1), "layer_01.py", 'lifted("L01.H01.QK", rank=1)'
    source = '@source("L01.H01.QK")\ndef looks(query, key):\n    return 1.0 * (key.position == 0)'
    write_lifted(project.directory, {head: 1}, [])
    write_statements(project.directory, {head: source})
    assert source in project.read("described_01.py")
    drop(project, str(head))
    found = project.load().logits(some_ids(11, 2, 9))
    for twice in (False, True):
        if twice:
            project.replace(layer, said, f'raw("L01.H01.QK")\n{said}')
            record = project.directory / "program" / ".emitted"
            written = digest('raw("L01.H01.QK")')
            record.write_text(f"{record.read_text()}L01.H01.QK\t{written}\n")
        arrange(project.directory, [head])
        assert said in project.read(layer)
        assert 'raw("L01.H01.QK")' not in project.read(layer)
        assert emit(project.subject, project.directory).written == ()
        np.testing.assert_array_equal(project.load().logits(some_ids(11, 2, 9)), found)
    write_lifted(project.directory, {}, [])
    assert 'raw("L01.H00.OV")\nraw("L01.H01.QK")\nraw("L01.H01.OV")' in project.read(layer)
    assert source in project.read("described_01.py")


def test_missing_or_shorter_channels_are_named(project: Project) -> None:
    furnish_beside(project)
    write_lifted(project.directory, {}, [], {0: (1, range(32))})
    drop(project, "L00.N0001.IN")
    with pytest.raises(SourceError, match=r"layer_00.py:\d+: L00.IN.lifted of rank 1: weights.safetensors has none"):
        load_program(project.directory)


@pytest.mark.parametrize("address", ["L00.H01.QK", "EMB.TOK", "EMB.POS", "L00.H00.OV"])
def test_a_mean_runs_what_source_only_would(project: Project, address: str) -> None:
    furnish(project)
    file = "embedding.py" if address.startswith("EMB") else "layer_00.py"
    ids = some_ids(11, 2, 9)
    raw = project.load().logits(ids)
    project.replace(file, f'raw("{address}")', f'mean("{address}")')
    project.replace(file, "import raw", "import mean, raw")
    np.testing.assert_array_equal(project.load().logits(ids), raw)
    drop(project, address)
    dropped = project.load().logits(ids)
    assert np.abs(dropped - raw).max() > 1e-3
    if address.endswith("QK"):
        project.replace(file, f'mean("{address}")', f'@source("{address}")\ndef f(query, key):\n    return 0.0')
        project.replace(file, "import mean, raw", "import raw, source")
        np.testing.assert_allclose(project.load().logits(ids), dropped, atol=1e-6)


def test_vectors_that_are_missing_are_named(project: Project) -> None:
    write_lifted(project.directory, {HEAD: 1}, [])
    drop(project, str(HEAD))
    with pytest.raises(SourceError, match=r"layer_00.py:\d+: L00.H01.OV of rank 1: weights.safetensors has none"):
        load_program(project.directory)


def test_renewed_means_leave_the_vectors(project: Project) -> None:
    furnish(project)
    emit(project.subject, project.directory, {"L00.OV": torch.zeros(2, 8)})
    weights = project.load().model.plan.weights
    assert {"lifted.L00.H01.OV.read", "mean.L00.OV"} <= set(weights)
    assert "mean.L00.OUT" not in weights
    emit(project.subject, project.directory, lifted={})
    weights = project.load().model.plan.weights
    assert "mean.L00.OV" in weights
    assert not any(name.startswith("lifted.") for name in weights)


# --- what is refused --------------------------------------------------------------------------------------------------

WRONG = [
    ('lifted("L00.H01.OV")', "expected lifted"),
    ('lifted("L00.H01.OV", 3)', "expected lifted"),
    ('lifted("L00.H01.OV", rank=0)', "expected lifted"),
    ('lifted("L00.H01.OV", rank=1.5)', "expected lifted"),
    ('lifted("L00.H01.OV", rank=1, bias=2)', "expected lifted"),
    ('lifted("L00.LN1", rank=1)', "expected lifted"),
    ('lifted("L00.H01.QK", rank=5)\nraw("L00.H01.OV")', "L00.H01.QK would hold 85 numbers .* the most is rank 1"),
    ('channels("L00.IN", 1, 2)', "expected channels"),
    ('channels("L00.IN", rank=1)', "expected channels"),
    ('channels("L00.IN", 1, 1, rank=1)', "expected channels"),
    ('channels("L00.IN", 1.5, rank=1)', "expected channels"),
    ('channels("L00.IN", *range(3, 2), rank=1)', "expected channels"),
    ('channels("L00.IN", *range(0, 32, 2), rank=1)', "expected channels"),
    ('channels("L00.IN", *[1, 2], rank=1)', "expected channels"),
    ('channels("L00.OUT", *range(32), rank=1)', "expected channels"),
    ('channels("L00.IN", *range(33), rank=1)\nraw("L00.H01.OV")', "names no part of this subject"),
    ('channels("L00.IN", *range(32), rank=3)\nraw("L00.H01.OV")', "hold 5 numbers where the raw part has 9; .* rank 2"),
    ('channels("L00.IN", 1, 2, rank=1)\nraw("L00.H01.OV")', "for 2 neurons is rank 0, or name at least 4 neurons"),
    ('lifted("L00.H1.OV", rank=1)', "is not an address"),
    ('lifted("L00.H01.OV", rank=2)', "L00.H01.OV would hold 40 numbers where the raw part has 68"),
    ('mean("L00.N0003.IN")', "expected mean"),
    ('mean("L00.ATTN.B")', "expected mean"),
    ('mean("L00.H01.OV", "L00.H00.OV")', "expected mean"),
    ('means("L00.OUT")', "expected means"),
    ('means("L00.OUT", 1, 2, 2)', "expected means"),
    ('means("L00.OUT", 1, 2, 3.0)', "expected means"),
    ('means("L00.OUT", -1, 2, 3)', "expected means"),
    ('means("L00.IN", 1, 2, 3)', "expected means"),
    ('means("L00.OUT", 1, 2)', "L00.N0001.OUT would hold 4 numbers where the raw part has 8; .* at least 3 neurons"),
    ('means("L00.OUT", 1, 2, 32)', "L00.OUT names no part of this subject"),
    ('means("L00.OUT", 1, 2, 3)\nraw("L00.N0002.OUT")', "L00.N0002.OUT is already defined"),
    ('means("L00.OUT", 1, 2, 3)\nmeans("L00.OUT", 4, 5, 6)', "L00.OUT is already defined"),
]


@pytest.mark.parametrize(("statement", "said"), WRONG)
def test_a_wrong_statement_is_named_with_its_place(project: Project, statement: str, said: str) -> None:
    project.replace("layer_00.py", 'raw("L00.H01.OV")\n', 'raw("L00.H01.OV")\n' if "OUT" in statement else "")
    project.replace("layer_00.py", 'raw("L00.N*.OUT")\n', f'{statement}\nraw("L00.N*.OUT")\n')
    project.replace("layer_00.py", "import raw", "import channels, lifted, mean, means, raw")
    with pytest.raises(SourceError, match=rf"layer_00.py:\d+: .*{said}"):
        read_program(project.directory)


def test_the_program_alone_refuses_what_it_cannot_run() -> None:
    from pellucid.program import prelude

    for call, said in (
        (lambda: prelude.lifted("L00.LN1", rank=1), "expected lifted"),
        (lambda: prelude.channels("L00.OUT", 1, rank=1), "expected channels"),
        (lambda: prelude.channels("L00.IN", rank=1), "expected channels"),
        (lambda: prelude.lifted("L00.H00.OV", rank=0), "expected lifted"),
        (lambda: prelude.mean("L00.N0001.IN"), "is for heads and embeddings"),
        (lambda: prelude.means("L00.IN", 1), "is for what neurons write"),
    ):
        with pytest.raises(prelude.ProgramError, match=said):
            call()
