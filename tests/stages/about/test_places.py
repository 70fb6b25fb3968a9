"""Places at which parts act, against the whole of what is felt at every place."""

from __future__ import annotations

import pytest
import torch

from checkpoints import random_model
from pellucid.stages.about import places as module
from pellucid.stages.about.places import acting_places
from pellucid.stages.lift.means import averages


def test_the_strongest_places_of_several_batches_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 7)
    monkeypatch.setattr("pellucid.measure.record.BATCH_TOKENS", 32)
    model, _ = random_model(3)
    rows = torch.randint(0, model.n_vocab, (6, 16), generator=torch.Generator().manual_seed(1))
    means = {name: mean for name, mean in averages(model, rows).items() if name.endswith((".z", ".post"))}
    found = acting_places(model, rows, means, seed=5)
    for name in ("L00.z", "L01.post"):
        felt = []
        for row in rows[:, None]:
            own = model.run(row, (name,))[name].requires_grad_()
            likeliest = model.run(row, ("logits",), edits={name: lambda _, own=own: own})["logits"][0].topk(2).values
            (likeliest[:, 0] - likeliest[:, 1]).sum().backward()
            moved = ((means[name] - own) * own.grad).detach()[0]
            felt.append((moved.sum(-1) if name.endswith(".z") else moved).square())
        whole = torch.cat(felt)
        torch.testing.assert_close(found[name].effect, whole.topk(7, dim=0).values, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(whole.gather(0, found[name].at), found[name].effect, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(found[name].total, whole.sum(0), rtol=1e-3, atol=1e-6)
        assert float(found[name].share().sum(0).max()) <= 1.0001
