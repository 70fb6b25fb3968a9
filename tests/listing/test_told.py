"""Values of earlier layers: heads ask for them at a place, other values see them and what neurons fired."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from emitted import Project, some_ids
from test_sources import means

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.exact.model import Taps
from pellucid.listing.count import count_program, count_values
from pellucid.listing.emit import emit
from pellucid.listing.parse import read_program

IDS = some_ids(11, 3, 13)
WORDS = "from .prelude import kind\n\nnames = kind({1.0: ('w1', 'w2'), 0.5: ('w3',)})\n"
LEVELS = {1: 1.0, 2: 1.0, 3: 0.5}
KNOWN = """@value
def known(here, fired):
    return 0.5 * names(here.token) + fired(0, {3: 0.75, 5: -2.0})


"""
MET = """@value
def met(seen, known, fired):
    return seen(1, 0, {2.0: (known,), -0.5: (names,)}) + 0.3 * known + 1.5 * seen(1, 0, names) + fired(0, {1: 1.0})


"""
TWO = "seen(1, 0, {2.0: (known,), -0.5: (names,)})"
LOOK = """@source("L01.H00.QK")
def looks(query, key, known):
    return 1.5 * known(key) - known(query) * names(key.token)


"""
NEURON = 'linear("L01.N0012.IN", -0.31, met=0.8)'


def furnish(project: Project) -> None:
    """Two values, a head and a neuron that read them, all of them without residual."""
    emit(project.subject, project.directory, means(project.exact()))
    project.write("words.py", WORDS)
    project.replace("layer_00.py", 'raw("L00.N*.IN")', f'{KNOWN}raw("L00.N*.IN")')
    project.replace("layer_01.py", 'raw("L01.N*.IN")', f'{MET}{NEURON}\nraw("L01.N*.IN")')
    project.replace("layer_01.py", 'raw("L01.H00.QK")', LOOK)
    for file in ("layer_00.py", "layer_01.py"):
        imports = "from .prelude import linear, raw, source, value\nfrom .words import names"
        project.replace(file, "from .prelude import raw", imports)
    project.dropped("L01.H00.QK", "L01.N0012.IN")


def wanted(project: Project, ids: np.ndarray) -> dict[str, np.ndarray]:
    """The logits, and the scores of the head, by hand from the subject's own activations."""
    model, rows = project.exact(), torch.from_numpy(ids)
    first = model.forward(rows, Taps(record=["L00.post"])).activations["L00.post"].numpy()
    levels = np.array([LEVELS.get(id, 0.0) for id in range(11)])[ids]
    known = 0.5 * levels + 0.75 * first[..., 3] - 2 * first[..., 5]
    scores = 1.5 * known[:, None] - known[:, :, None] * levels[:, None]

    def look(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.from_numpy(scores)[:, None].to(x), x[:, 1:]], 1)

    edits = {"L01.scores": look}
    pattern = model.forward(rows, Taps(record=["L01.pattern"], replace=edits)).activations["L01.pattern"][:, 0].numpy()

    def seen(there: np.ndarray) -> np.ndarray:
        return np.einsum("bqk,bk->bq", pattern, there)

    met = 2 * seen(known) + 0.3 * known + seen(levels) + first[..., 1]

    def fire(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., 12] = torch.from_numpy(-0.31 + 0.8 * met).to(x)
        return x

    return {"logits": model.forward(rows, Taps(replace=edits | {"L01.pre": fire})).logits.numpy(), "scores": scores}


def test_heads_and_values_read_what_earlier_layers_found(project: Project) -> None:
    furnish(project)
    program, found = project.load(), wanted(project, IDS)
    np.testing.assert_allclose(program.logits(IDS), found["logits"], atol=2e-5)
    assert np.abs(program.logits(IDS) - project.exact().logits(torch.from_numpy(IDS)).numpy()).max() > 1e-3
    scores = program.source_output("L01.H00.QK", IDS, (3, 13, 13))
    np.testing.assert_allclose(scores, found["scores"], atol=1e-5)


def test_values_of_past_tokens_are_kept(make: Callable[..., Project]) -> None:
    project = make(n_positions=150)
    furnish(project)
    program, ids = project.load(), some_ids(11, 2, 150)
    whole, cache, pieces = program.logits(ids), None, []
    np.testing.assert_allclose(whole, wanted(project, ids)["logits"], atol=5e-5)
    for first, last in ((0, 4), (4, 5), (5, 6), (6, 131), (131, 150)):
        logits, cache = program.extend(ids[:, first:last], cache)
        pieces.append(logits)
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=5e-5)
    taken, _ = program.extend(ids[1:, 100:], cache.take(np.array([1]), 100))
    np.testing.assert_allclose(taken, whole[1:, 100:], atol=5e-5)


def test_they_are_counted_with_all_that_they_name(project: Project) -> None:
    furnish(project)
    listing = read_program(project.directory)
    head, neuron = Address("QK", 1, 0), Address("IN", 1, 12)
    assert listing.values_of(listing[head]) == ["known"]
    assert listing.values_of(listing[neuron]) == ["known", "met"]
    assert count_values(listing) == {"known": 6, "met": 13}
    held = count_program(listing)
    assert held[head] == 1 + 3 + 3  # its own, and halves of 6 and of 5
    assert held[neuron] == 3 + 13 + 3 + 3


def test_they_are_not_run_where_nothing_reads_them(project: Project) -> None:
    furnish(project)
    project.dropped()
    values = project.load().model.plan.values
    assert not values.needed
    assert not values.kept


def test_a_head_alone_cannot_say_where_it_looks(project: Project) -> None:
    furnish(project)
    project.dropped()
    with pytest.raises(SourceError, match=r"L01.H00.QK reads named values \(known, …\)"):
        project.load().source_output("L01.H00.QK", IDS, (3, 13, 13))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("known(key) -", "known(here) -", r"known\(here\): expected known\(query\) or known\(key\)"),
        ("1.5 * known(key) -", "1.5 * known -", r"known is a named value: ask for it at a place, known\(query\)"),
        ("(query, key, known)", "(query, key, nobody)", "reads nobody, but there is no such value|known is not known"),
        ("(query, key, known)", "(query, key, met)", "reads met, which is known later|known is not known"),
        (TWO, "seen(0, 0, known)", "met sees known by a head of layer 0; heads see values of earlier"),
        (TWO, "seen(1, 0, known, 1)", "known is no kind that is imported"),
        ("fired(0, {1: 1.0})", "fired(0, {99: 1.0})", "met asks for neuron 99 of layer 0"),
        ("fired(0, {1: 1.0})", "fired(2, {1: 1.0})", "met asks for neuron 1 of layer 2"),
        ("fired(0, {1: 1.0})", "fired(0, {1: known})", "expected fired"),
        ("fired(0, {1: 1.0})", "fired(0, {1: 1.0, 1: 2.0})", "expected fired"),
        ("fired(0, {1: 1.0})", "fired(0, {})", "expected fired"),
        ("fired(0, {1: 1.0})", "fired(1, {1: 1.0})", "reads met, which is known later .*: it asks what they fire"),
    ],
)
def test_what_is_not_known_yet_is_refused(project: Project, old: str, new: str, said: str) -> None:
    furnish(project)
    project.replace("layer_01.py", old, new)
    with pytest.raises(SourceError, match=rf"layer_01.py:\d+: .*({said})"):
        read_program(project.directory)


def test_a_head_that_looks_ahead_is_named(project: Project) -> None:
    furnish(project)
    project.replace("layer_01.py", "1.5 * known(key)", "known(key).sum(-1)[..., None]")
    with pytest.raises(SourceError, match=r"looks\) depends on tokens that come later"):
        project.load()
