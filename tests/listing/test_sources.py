"""Sources do what they say: in the place of raw parts, with residuals on and off, with a cache and without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from emitted import Project, some_ids

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError, SourceError
from pellucid.exact.model import Model, Taps
from pellucid.listing.emit import emit
from pellucid.listing.load import load_sources
from printed import write_constants, write_statements

IDS = some_ids(11, 3, 13)


def replaced(model: Model, **taps: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """Logits of the subject with activations replaced."""
    names = {name.replace("__", "."): edit for name, edit in taps.items()}
    return model.forward(torch.from_numpy(IDS), Taps(replace=names)).logits.numpy()


def put(index: int, axis: int, value: object) -> Callable[[torch.Tensor], torch.Tensor]:
    """Replace one head or neuron of an activation."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x.select(axis, index)[...] = torch.as_tensor(value, dtype=x.dtype)
        return x

    return edit


def cached(program: object) -> np.ndarray:
    """Logits computed in three pieces."""
    first, cache = program.extend(IDS[:, :6])  # type: ignore[attr-defined]
    second, cache = program.extend(IDS[:, 6:7], cache)  # type: ignore[attr-defined]
    third, _ = program.extend(IDS[:, 7:], cache)  # type: ignore[attr-defined]
    return np.concatenate([first, second, third], 1)


POSITIONS = np.arange(13)
BEFORE = np.concatenate([np.full((3, 1), -1), IDS[:, :-1]], 1)
QK = {
    "6.5 * (key.position == query.position - 1)": 6.5 * (POSITIONS[None] == POSITIONS[:, None] - 1)
    + np.zeros((3, 1, 1)),
    "select(distance(query, key) == 2, 4.0, -1.5)": np.where(POSITIONS[:, None] - POSITIONS == 2, 4.0, -1.5),
    "select(key.position == 0, 9.0)": 9.0 * (POSITIONS == 0) * np.ones((13, 1)),
    "3.0 * (key.token == query.token)": 3.0 * (IDS[:, None] == IDS[:, :, None]),
    "select(key.previous == query.token, 5.0)": 5.0 * (BEFORE[:, None] == IDS[:, :, None]),
    "curve(distance(query, key), [0.5, 2.0, -1.0])": np.array([0.5, 2, -1])[
        np.clip(POSITIONS[:, None] - POSITIONS, 0, 2)
    ],
    "4.0 * key.token.one_of('w1', 'w4')": 4.0 * np.isin(IDS, (1, 4))[:, None],
    "0": 0.0,
}


@pytest.mark.parametrize("code", QK)
def test_where_a_head_looks(project: Project, code: str) -> None:
    project.source("L01.H01.QK", code)
    project.dropped("L01.H01.QK")
    wanted = replaced(project.exact(), L01__scores=put(1, 1, QK[code]))
    program = project.load()
    np.testing.assert_allclose(program.logits(IDS), wanted, atol=2e-5)
    np.testing.assert_allclose(cached(program), wanted, atol=2e-5)


def test_the_latest_token_of_a_set(project: Project) -> None:
    project.source("L00.H00.QK", "7.0 * latest(query, key, key.token.one_of('w2', 'w3', 'w5'))")
    project.dropped("L00.H00.QK")
    scores = np.zeros((3, 13, 13))
    for row, query in np.ndindex(3, 13):
        at = [key for key in range(query + 1) if IDS[row, key] in (2, 3, 5)]
        scores[row, query, at[-1:]] = 7
    wanted = replaced(project.exact(), L00__scores=put(0, 1, scores))
    np.testing.assert_allclose(cached(project.load()), wanted, atol=2e-5)


def test_when_a_neuron_fires(project: Project) -> None:
    code = '2.5 * here.token.one_of("w1", "w2") + 1.5 * (here.previous == "w3") - 0.5 * (here.before(2) == "w4")'
    text = f'@source("L00.N0007.IN")\ndef fires(here):\n    return {code}\n'
    write_statements(project.directory, {Address.parse("L00.N0007.IN"): text})
    project.dropped("L00.N0007.IN")
    before_2 = np.concatenate([np.full((3, 2), -1), IDS[:, :-2]], 1)
    fires = 2.5 * np.isin(IDS, (1, 2)) + 1.5 * (BEFORE == 3) - 0.5 * (before_2 == 4)
    wanted = replaced(project.exact(), L00__pre=put(7, 2, fires))
    np.testing.assert_allclose(cached(project.load()), wanted, atol=2e-5)


def test_constant_neurons(project: Project) -> None:
    write_constants(project.directory, {Address("IN", 1, 3): -0.75, Address("IN", 1, 30): 1.25})
    np.testing.assert_array_equal(project.load().logits(IDS), Project.load(project).logits(IDS))
    project.dropped("L01.N*.IN")
    model = project.exact()
    taps = Taps(replace={"L01.pre": lambda x: put(30, 2, 1.25)(put(3, 2, -0.75)(x))})
    wanted = model.forward(torch.from_numpy(IDS), taps).logits.numpy()
    np.testing.assert_allclose(project.load().logits(IDS), wanted, atol=2e-5)


def test_what_heads_neurons_and_embeddings_write(project: Project) -> None:
    project.source("L00.H01.OV", "(pattern * (key.token == 'w1')).sum(-1)[..., None]", "pattern, key", "moves")
    project.source("L01.ATTN.B", "0.25", "", "bias")
    project.source("EMB.POS", "0.1 * here.position[..., None]", "here", "place")
    text = '@source("L01.N0004.OUT")\ndef writes(fires):\n    return 0.5 * fires[..., None]\n'
    write_statements(project.directory, {Address.parse("L01.N0004.OUT"): text})
    project.dropped("L00.H01.OV", "L01.ATTN.B", "EMB.POS", "L01.N0004.OUT")
    subject = project.subject
    weights = {name: tensor.clone() for name, tensor in subject.weights.items()}
    weights["wpe.weight"][:] = 0.1 * torch.arange(16)[:, None]
    weights["h.1.attn.c_proj.bias"][:] = 0.25
    weights["h.1.mlp.c_proj.weight"][4] = 0.5
    model = Model(subject.__class__(**{**vars(subject), "weights": weights}))
    ids = torch.from_numpy(IDS)
    here = model.forward(ids, Taps(record=["L00.pattern", "L00.head_writes"])).activations
    moved = (here["L00.pattern"][:, 1] * (ids == 1)[:, None]).sum(-1)[..., None]
    change = moved - here["L00.head_writes"][:, :, 1]
    wanted = model.forward(ids, Taps(replace={"L00.attn_out": lambda x: x + change})).logits.numpy()
    np.testing.assert_allclose(cached(project.load()), wanted, atol=2e-5)


def test_a_residual_makes_up_for_its_source(project: Project) -> None:
    raw = project.load().logits(IDS)
    project.source("L01.H01.QK", "9.0 * (key.position == 0)")
    np.testing.assert_array_equal(project.load().logits(IDS), raw)


def test_source_only_runs_sources_and_means(project: Project) -> None:
    model = project.exact()
    average = means(model)
    emit(project.subject, project.directory, average)
    project.source("L01.H01.QK", "9.0 * (key.position == 0)")
    scores = {"L00.scores": torch.zeros_like, "L01.scores": put(1, 1, 9.0 * (POSITIONS == 0))}
    edits = {
        name: lambda x, name=name: average[name.replace("pre", "IN")].expand_as(x) for name in ("L00.pre", "L01.pre")
    }
    edits |= {"L00.scores": torch.zeros_like}
    edits |= {"L01.scores": lambda x: scores["L01.scores"](torch.zeros_like(x))}
    wanted = model.forward(torch.from_numpy(IDS), Taps(replace=edits)).logits.numpy()
    np.testing.assert_allclose(cached(project.load("code")), wanted, atol=2e-5)
    everything = cached(project.load("all"))
    np.testing.assert_allclose(everything, np.broadcast_to(everything[:1, :1], everything.shape), atol=2e-5)
    constant = sum(average[name] for name in ("EMB.TOK", "EMB.POS")) + sum(
        average[f"L{n:02d}.OV"].sum(0) + average[f"L{n:02d}.OUT"].sum(0)
        + model.weights[f"h.{n}.attn.c_proj.bias"] + model.weights[f"h.{n}.mlp.c_proj.bias"]
        for n in range(2)
    )  # fmt: skip
    final = torch.nn.functional.layer_norm(constant, (8,), model.weights["ln_f.weight"], model.weights["ln_f.bias"])
    np.testing.assert_allclose(everything[0, 0], (model.weights["wte.weight"] @ final).numpy(), atol=2e-5)


def means(model: Model) -> dict[str, torch.Tensor]:
    """What every part does on average on `IDS`, by the names that a program reads."""
    taps = Taps(record=["EMB.TOK", "EMB.POS", "L*.pre", "L*.post", "L*.head_writes"])
    record = model.forward(torch.from_numpy(IDS), taps).activations
    found = {"EMB.TOK": record["EMB.TOK"].mean((0, 1)), "EMB.POS": record["EMB.POS"].mean((0, 1))}
    for layer in range(2):
        at, writes = f"L{layer:02d}", model.weights[f"h.{layer}.mlp.c_proj.weight"]
        found |= {f"{at}.IN": record[f"{at}.pre"].mean((0, 1)), f"{at}.OV": record[f"{at}.head_writes"].mean((0, 1))}
        found[f"{at}.OUT"] = record[f"{at}.post"].mean((0, 1))[:, None] * writes
    return found


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("key.position * [1, 2]", r"layer_01.py:\d+: L01.H01.QK \(by_hand\) raised "),
        ("key.token == 'nowhere'", r"L01.H01.QK \(by_hand\) raised ProgramError: 'nowhere' is not one token"),
        ("[1, 2]", r"L01.H01.QK \(by_hand\) returned shape \[2\]; it must broadcast to \[4, 16, 16\]"),
        ("0 * log(-1)", r"layer_01.py:\d+: L01.H01.QK \(by_hand\) "),
        ("select(key.position == 0, 1e999)", r"L01.H01.QK \(by_hand\) returned NaN or infinity"),
        ("(key.token == 'w9').sum(-1)[..., None]", r"L01.H01.QK \(by_hand\) depends on tokens that come later"),
        ("'text'", r"L01.H01.QK \(by_hand\) raised ValueError"),
        ("key.token", r"L01.H01.QK \(by_hand\) raised TypeError"),
    ],
)
def test_a_broken_source_is_named(project: Project, code: str, said: str) -> None:
    project.source("L01.H01.QK", code)
    with pytest.raises(SourceError, match=said):
        project.load()


def test_unknown_arguments_are_named(project: Project) -> None:
    project.source("L01.H01.QK", "0", "here")
    with pytest.raises(SourceError, match="there is no value here; define it in an earlier layer"):
        project.load()


def test_norms_run_raw(project: Project) -> None:
    project.source("L01.LN1", "0", "")
    with pytest.raises(SourceError, match="LN1 can only run raw"):
        project.load()


def test_an_edit_is_seen_at_once(project: Project) -> None:
    project.source("L01.H01.QK", "1.0 * (key.position == 0)")
    project.dropped("L01.H01.QK")
    first = project.load().logits(IDS)
    project.replace("layer_01.py", "1.0 *", "2.0 *")
    assert np.abs(project.load().logits(IDS) - first).max() > 1e-3


def test_errors_while_running_name_the_part(project: Project) -> None:
    project.source("L01.H01.QK", "[[[0]], [[0]], [[0]], [[0]]]")
    project.dropped("L01.H01.QK")
    program = project.load()
    with pytest.raises(SourceError, match=r"L01.H01.QK \(by_hand\) returned shape"):
        program.logits(IDS)


NEURON = (
    '@source("L00.N0003.IN")\ndef by_hand_too(here):\n    """By hand."""\n    return 0.75 * (here.token == "w4")\n\n\n'
)


@pytest.mark.parametrize("alone", [False, True])
def test_a_source_answers_alone(project: Project, alone: bool) -> None:
    project.source("L00.H01.QK", "6.5 * (key.position == query.position - 1)")
    project.replace("layer_00.py", 'raw("L00.N*.IN")', f'{NEURON}raw("L00.N*.IN")')
    program = load_sources(project.directory, "layer_00.py") if alone else project.load()
    scores = program.source_output("L00.H01.QK", IDS, (3, 13, 13))
    assert np.array_equal(scores, QK["6.5 * (key.position == query.position - 1)"])
    one = program.source_output("L00.H01.QK", IDS[:1], (13, 13))
    assert np.array_equal(one, scores[0])
    fires = program.source_output("L00.N0003.IN", IDS[:1], (13,))
    assert np.array_equal(fires, np.float32(0.75) * (IDS[0] == 4))
    for key in ("L00.H00.QK", "L00.H01.OV"):
        with pytest.raises(SourceError, match=f"{key} has no source .* did you mean L00.H01.QK"):
            program.source_output(key, IDS, (3, 13, 13))


def test_a_page_alone_needs_no_weights(project: Project) -> None:
    project.source("L00.H01.QK", "select(key.previous == query.token)")
    (project.directory / "weights.safetensors").unlink()
    sources = load_sources(project.directory, "layer_00.py")
    sources.check("L00.H01.QK")
    project.replace("layer_00.py", "select(key.previous == query.token)", "(key.token == 'w9').sum(-1)[..., None]")
    with pytest.raises(PellucidError, match=r"L00.H01.QK .* depends on tokens that come later"):
        load_sources(project.directory, "layer_00.py").check("L00.H01.QK")
