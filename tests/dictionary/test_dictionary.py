"""What features say, what is missed, and what is refused."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from dictionaries import drawn, random_dictionary
from torch import nan, tensor

import checkpoints
from pellucid import PellucidError
from pellucid.dictionary.dictionary import Dictionary, Origin
from pellucid.dictionary.places import of_module, places
from pellucid.dictionary.sound import fitting_sites, made
from pellucid.exact.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(checkpoints.in_memory(checkpoints.hugging_face(3)))


def tiny(firing: str, **more: object) -> Dictionary:
    """Two features of two numbers: the first reads one, the second the other, each writes what it reads."""
    square = torch.eye(2)[None]
    bias, offset = tensor([[0.0, -1.0]]), tensor([[10.0, 20.0]])
    held = {"kind": "transcoder", "reads": ("L00.LN2",), "writes": ("L00.mlp_out",), "encoder": square, "bias": bias}
    held |= {"decoders": (square,), "offset": offset, "firing": firing}
    return Dictionary(**(held | more))  # type: ignore[arg-type]


def test_features_fire_above_zero_their_threshold_or_among_the_largest() -> None:
    x = tensor([[[2.0, 3.5]], [[-1.0, 1.5]]])
    assert tiny("relu").encode(x).tolist() == [[[2.0, 2.5]], [[0.0, 0.5]]]
    assert tiny("jumprelu", thresholds=tensor([[2.0, 0.4]])).encode(x).tolist() == [[[0.0, 2.5]], [[0.0, 0.5]]]
    assert tiny("topk", k=1).encode(x).tolist() == [[[0.0, 2.5]], [[0.0, 0.5]]]


def test_what_is_said_is_vectors_offset_and_what_skips() -> None:
    x = tensor([[2.0, 3.5]])
    assert tiny("relu").reconstruct(x).tolist() == [[12.0, 22.5]]
    assert tiny("relu", center=tensor([[1.0, 0.0]])).reconstruct(x).tolist() == [[11.0, 22.5]]
    skipping = tiny("relu", kind="skip-transcoder", skip=tensor([[[0.0, 1.0], [0.0, 0.0]]]))
    assert skipping.reconstruct(x).tolist() == [[12.0, 24.5]]
    assert skipping.residual(x, tensor([[13.0, 24.0]])).tolist() == [[1.0, -0.5]]


def test_a_scaled_input_is_scaled_back_by_an_autoencoder_alone() -> None:
    x = tensor([[[3.0, 5.0]], [[6.0, 8.0]]])
    square = torch.eye(2)[None]
    held = {"encoder": square, "bias": torch.zeros(1, 2), "decoders": (square,), "offset": torch.zeros(1, 2)}
    length = tiny("relu", **held, kind="sae", reads=("L00.mlp_out",), scaling="length")
    torch.testing.assert_close(length.reconstruct(x), x)
    assert length.before(x)[1, 0].square().sum().item() == pytest.approx(2)
    normed = replace(length, scaling="layer-norm")
    torch.testing.assert_close(normed.before(x)[0, 0], tensor([-1.0, 1.0]) / 2**0.5, atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.reconstruct(x)[0, 0], tensor([4.0, 5.0]), atol=1e-4, rtol=0)
    transcoder = replace(length, kind="transcoder", reads=("L00.LN2",))
    torch.testing.assert_close(transcoder.reconstruct(x), transcoder.before(x))


def test_features_of_a_cross_layer_transcoder_write_in_their_layer_and_above() -> None:
    one = random_dictionary("crosslayer", layers=3)
    features = one.encode(drawn(5, 3, 8))
    (a, b, c), f = one.decoders, features
    said = [f[:, 0] @ a[0], f[:, 0] @ a[1] + f[:, 1] @ b[0], f[:, 0] @ a[2] + f[:, 1] @ b[1] + f[:, 2] @ c[0]]
    torch.testing.assert_close(one.decode(features), torch.stack(said, 1) + one.offset)
    assert one.unit


@pytest.mark.parametrize("kind", ["sae", "transcoder", "crosslayer"])
def test_normalising_and_centering_change_nothing_that_is_said(kind: str) -> None:
    one = random_dictionary(kind, layers=2 if kind == "crosslayer" else 1)  # type: ignore[arg-type]
    scale = drawn(len(one.bias), 12, seed=8).abs() + 0.1
    uneven = replace(one, decoders=tuple(v * s[:, None] for v, s in zip(one.decoders, scale, strict=True)))
    x = drawn(6, len(one.bias), 8)
    assert not uneven.unit
    assert uneven.normalised().unit
    torch.testing.assert_close(uneven.normalised().reconstruct(x), uneven.reconstruct(x))
    torch.testing.assert_close(one.centered(drawn(len(one.bias), 8)).reconstruct(x), one.reconstruct(x))
    torch.testing.assert_close(one.centered(None).reconstruct(x), one.reconstruct(x))
    with pytest.raises(PellucidError, match="the k features that fire most are others"):
        replace(uneven, firing="topk", thresholds=None, k=2).normalised()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"thresholds": None}, "its features fire above thresholds .*, and the thresholds are missing"),
        ({"thresholds": torch.full((1, 12), -0.5)}, "a threshold is below 0"),
        ({"bias": torch.full((1, 12), nan)}, "12 numbers of bias are not finite"),
        ({"bias": torch.zeros(1, 11)}, r"bias has shape \[1, 11\], expected \[1, 12\]"),
        ({"decoders": (torch.zeros(1, 12, 7),)}, r"decoder 0 has shape \[1, 12, 7\], expected \[1, 12, 8\]"),
        ({"k": 4}, "it has a k of 4"),
        ({"firing": "topk", "thresholds": None, "k": 13}, "k is 13, expected 1 to 12"),
        ({"firing": "topk", "k": 3}, "it has thresholds, which features that fire by topk do not"),
        ({"writes": ("L01.mlp_out",)}, "an autoencoder writes where it reads, not L00.mlp_out to L01.mlp_out"),
        ({"skip": torch.zeros(1, 8, 8)}, "a dictionary of kind sae has a skip matrix"),
        ({"kind": "skip-transcoder"}, "a skip-transcoder has no skip matrix"),
        ({"reads": ("L00.mlp_out", "L01.mlp_out")}, "2 places are read and 1 written by an encoder of 1 layers"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], said: str) -> None:
    one = random_dictionary()
    parts = {held.name: getattr(one, held.name) for held in fields(one)}
    with pytest.raises(PellucidError, match=f"somewhere: {said}"):
        made("somewhere", **(parts | change))


def test_a_dictionary_of_another_model_layer_place_or_width_is_refused(model: Model) -> None:
    one = random_dictionary(origin=Origin("gpt2", "a" * 64))
    reads, writes = fitting_sites(one, model)
    assert [str(site) for site in (*reads, *writes)] == ["L00.mlp_out", "L00.mlp_out"]
    subject = replace(model.subject, weights_sha256="b" * 64)
    with pytest.raises(
        PellucidError, match=r"was made for gpt2 \(weights aaaaaaaaaaaa…\), not for random \(weights bbb"
    ):
        fitting_sites(one, Model(subject))
    for name, said in (
        ("L07.mlp_out", "'L07.mlp_out' names nothing in random"),
        ("blocks.0.hook_mlp_oot", "did you mean blocks.0.hook_mlp_out"),
        ("L00.pattern", "L00.pattern is no place that a dictionary can read"),
        ("L00.post", "the dictionary reads 8 numbers at L00.post, which has 32 in random"),
    ):
        with pytest.raises(PellucidError, match=said):
            fitting_sites(replace(one, reads=(name,), writes=(name,)), model)


def test_places_by_their_names(model: Model) -> None:
    assert places(model, "L01.mlp", "sae") == [(("L01.mlp_out",), ("L01.mlp_out",))]
    assert places(model, "L01.mlp", "transcoder") == [(("L01.LN2",), ("L01.mlp_out",))]
    assert places(model, "blocks.1.hook_resid_post", "sae") == [(("L01.resid_post",), ("L01.resid_post",))]
    assert [reads for reads, _ in places(model, "all", "sae")] == [("L00.mlp_out",), ("L01.mlp_out",)]
    ((reads, writes),) = places(model, "all", "crosslayer")
    assert (reads, writes) == (("L00.LN2", "L01.LN2"), ("L00.mlp_out", "L01.mlp_out"))
    for at, kind, said in (
        ("L02.mlp", "sae", "'L02.mlp' is no layer's MLP: random has layers 0 to 1"),
        ("L01.resid_post", "transcoder", "a transcoder stands for an MLP"),
        ("L01.mlp", "crosslayer", "expected --at all, not 'L01.mlp'"),
    ):
        with pytest.raises(PellucidError, match=said):
            places(model, at, kind)  # type: ignore[arg-type]


def test_modules_by_their_names() -> None:
    assert of_module("layers.5.mlp", False) == ("L05.mlp_out", "L05.mlp_out")
    assert of_module("model.layers.5", False) == ("L05.resid_post", "L05.resid_post")
    assert of_module("gpt_neox.layers.11.mlp", True) == ("L11.LN2", "L11.mlp_out")
    with pytest.raises(PellucidError, match="'embed_in' is no module"):
        of_module("embed_in", False)


def test_a_feature_has_an_id_where_it_is_published() -> None:
    one = random_dictionary(origin=Origin(np="gemma-2-2b/12-gemmascope-res-16k"))
    assert one.np_id(7) == "gemma-2-2b/12-gemmascope-res-16k/7"
    with pytest.raises(PellucidError, match="there is no feature 12: the dictionary has 12"):
        one.np_id(12)
    with pytest.raises(PellucidError, match="no id in Neuronpedia"):
        random_dictionary().np_id(0)
