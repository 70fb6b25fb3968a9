"""Where heads look, against patterns added up by hand."""

from __future__ import annotations

import pytest
import torch

from checkpoints import random_model
from pellucid.stages.about.looking import NOWHERE, where_heads_look
from pellucid.stages.about.places import Places


def test_attention_is_weighed_by_the_effect_of_its_places() -> None:
    model, _ = random_model(6)
    rows = torch.randint(0, model.n_vocab, (4, 12), generator=torch.Generator().manual_seed(3))
    heads = model.decoder.sizes.head
    at = torch.tensor([17, 30])[:, None].expand(2, heads)
    effect = torch.tensor([3.0, 1.0])[:, None].expand(2, heads)
    found = where_heads_look(model, rows, {"L01.z": Places(effect, at, torch.ones(2, heads), effect.sum(0))})
    pattern = model.run(rows, ("L01.pattern",))["L01.pattern"]
    for head in range(heads):
        looking = found["L01.z", head]
        first, second = pattern[1, head, 5, :6], pattern[2, head, 6, :7]
        assert looking.steps[0] == pytest.approx(0.75 * float(first[5]) + 0.25 * float(second[6]), abs=3e-3)
        assert looking.tokens[NOWHERE] == pytest.approx(0.75 * float(first[0]) + 0.25 * float(second[0]), abs=3e-3)
        again = (
            [key for key in range(5) if rows[1, key] == rows[1, 5]],
            [key for key in range(6) if rows[2, key] == rows[2, 6]],
        )
        same = 0.75 * float(first[again[0]].sum()) + 0.25 * float(second[again[1]].sum())
        assert looking.same == pytest.approx(same, abs=3e-3)
        assert looking.most == {17: int(rows[1, int(first.argmax())]), 30: int(rows[2, int(second.argmax())])}
