"""What taking a part away at one place changes, against a whole forward pass with that part replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints import random_model
from pellucid.exact.model import Model, Taps
from pellucid.stages.about.without import Ablation, results_in, without


@pytest.mark.parametrize(("name", "index"), [("L00.z", 1), ("L01.post", 3)])
def test_the_rest_is_run_again_with_the_mean_at_that_place_alone(name: str, index: int) -> None:
    model, _ = random_model(4)
    rows = torch.randint(0, model.n_vocab, (3, 16), generator=torch.Generator().manual_seed(2))
    own = model.forward(rows, Taps(record=(name,)))
    mean = own.activations[name].mean((0, 1))
    asked = [Ablation(37, name, index), Ablation(2, name, index), Ablation(15, name, index), Ablation(33, name, index)]
    for question, example in zip(asked, without(model, rows, {name: mean}, asked), strict=True):
        row, at = divmod(question.place, 16)

        def replaced(value: torch.Tensor, row: int = row, at: int = at) -> torch.Tensor:
            value = value.clone()
            value[row, at, index] = mean[index]
            return value

        other = model.forward(rows, Taps(replace={name: replaced})).logits
        before, after = own.logits[row].log_softmax(-1), other[row].log_softmax(-1)
        kl = (before.exp() * (before - after)).sum(-1)[at : at + 13]
        assert (example.place, example.later) == (question.place, int(kl.argmax()))
        assert example.kl == pytest.approx(float(kl.max()), rel=1e-3, abs=1e-6)
        there = at + example.later
        assert example.with_part[0] == pytest.approx(float(before[there, example.said].exp()), abs=1e-5)
        assert example.without_part[1] == pytest.approx(float(after[there, example.unsaid].exp()), abs=1e-5)
        raised = before[there].exp() * (before[there] - after[there])
        assert float(raised[example.said]) == pytest.approx(float(raised.max()), rel=1e-3, abs=1e-7)


def test_a_killed_run_goes_on_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = random_model(4)
    rows = torch.randint(0, model.n_vocab, (4, 16), generator=torch.Generator().manual_seed(2))
    mean = model.forward(rows, Taps(record=("L00.z",))).activations["L00.z"].mean((0, 1))
    asked = [Ablation(place, "L00.z", head) for head in (0, 1) for place in (60, 3, 20, 37, 41)]
    whole = without(model, rows, {"L00.z": mean}, asked)
    run, read = Model.run, list[int]()

    def counted(model: Model, ids: torch.Tensor, *more: Any, **options: Any) -> Any:
        read.append(len(ids))
        if len(read) == 6:  # the third row: two runs a row
            raise KeyboardInterrupt
        return run(model, ids, *more, **options)

    monkeypatch.setattr(Model, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        without(model, rows, {"L00.z": mean}, asked, results_in(tmp_path, "a state"))
    assert len(results_in(tmp_path, "a state").read()) == 2
    assert without(model, rows, {"L00.z": mean}, asked, results_in(tmp_path, "a state")) == whole
    assert len(read) == 6 + 4
    assert not [*tmp_path.rglob("*.jsonl")]
