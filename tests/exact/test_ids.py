"""What a model takes: texts, token ids as tensors or lists, and nothing else; in any of four precisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import checkpoints
import pellucid
from pellucid.base.errors import PellucidError, SubjectError
from pellucid.subject.locate import named


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.write(tmp_path_factory.mktemp("subject"))


def test_lists_of_ids_are_rows(directory: Path) -> None:
    model, reference = pellucid.load(directory), checkpoints.hugging_face()
    wanted = reference(torch.tensor([[1, 2, 3]])).logits
    for given in ([1, 2, 3], [[1, 2, 3]], "w1 w2 w3", ["w1 w2 w3"], torch.tensor([[1, 2, 3]])):
        assert torch.equal(model.logits(given), wanted)
        assert torch.equal(model(given), wanted)
    rows = model.logits([[1, 2, 3], [5]])
    assert rows[:1] == pytest.approx(wanted, abs=1e-5)
    assert rows[1, -1] == pytest.approx(reference(torch.tensor([[5]])).logits[0, -1], abs=1e-5)
    assert model.generate([1, 2], 4) == model.generate("w1 w2", 4)
    assert pellucid.why(model, [1, 2]).to_dict() == pellucid.why(model, "w1 w2").to_dict()


@pytest.mark.parametrize("given", [[], [True], [1.5], [[1], []], [[1], "w1"], None, 3, [11], [-1], [1 << 70]])
def test_what_is_neither_text_nor_ids_is_refused(directory: Path, given: Any) -> None:
    model = pellucid.load(directory)
    with pytest.raises(PellucidError, match=r"expected a text, several texts, or token ids|is not in 0 … 10"):
        model.run(model.rows(given).ids, ("logits",))


def test_any_subject_can_be_read_by_bare_ids(directory: Path) -> None:
    words, ids = pellucid.load(directory), pellucid.load(directory, ids=True)
    assert torch.equal(words.logits("w1 w2"), ids.logits("1 2"))
    assert ids.generate("1 2", 4) == words.generate("w1 w2", 4).replace("w", "")
    with pytest.raises(PellucidError, match=r"'w1' is no token of .*; expected token ids from 0 to 10"):
        ids.logits("w1")


def test_half_precision(directory: Path) -> None:
    exact, half = pellucid.load(directory), pellucid.load(directory, dtype="float16")
    found = half.logits("w1 w2 w3")
    assert found.dtype == torch.float16
    assert found.float() == pytest.approx(exact.logits("w1 w2 w3"), abs=0.02)


@pytest.mark.parametrize("given", [checkpoints.hugging_face(), None, 3])
def test_an_object_in_memory_is_to_be_saved(given: Any) -> None:
    with pytest.raises(SubjectError) as caught:
        named(given)
    assert f"not an object of {type(given).__name__}; save a model that is in memory, " in str(caught.value)
    assert "model.save_pretrained('DIR')" in str(caught.value)


def test_revisions_are_of_hub_names() -> None:
    for name in ("zoo:village", Path("gpt2"), "./gpt2", "gpt2@main"):
        with pytest.raises(SubjectError, match="is no revision of a hub model, which is written NAME or OWNER/NAME"):
            pellucid.load(name, revision="v1")
