"""Sentences about parts whose job is known."""

from __future__ import annotations

import pytest
import torch

from checkpoints import random_model
from pellucid.project.descriptions import dump, load
from pellucid.stages.about.looking import NOWHERE, Looking, strongest
from pellucid.stages.about.places import Places
from pellucid.stages.about.run import tell
from pellucid.stages.about.tell import Teller, ranked
from pellucid.stages.about.without import Example

TEXT = [" Ada", " Bo", " is", "."]


def teller(rows: torch.Tensor) -> Teller:
    return Teller(rows, lambda token: TEXT[token], lambda ids: "".join(TEXT[token] for token in ids))


def places(effects: list[float], at: list[int], above: float = 1.0) -> Places:
    effect = torch.tensor(effects)[:, None]
    return Places(effect, torch.tensor(at)[:, None], torch.full_like(effect, above), effect.sum(0))


def test_a_neuron_is_told_by_the_tokens_it_fires_on_and_the_words_it_speaks_for() -> None:
    rows = torch.tensor([[0, 2, 1, 3], [1, 2, 0, 3]])
    said = teller(rows).neuron(places([3.0, 1.0], [2, 4]), 0, [Example(2, 1, 0, 1, (0.9, 0.1), (0.2, 0.8), 1.0)])
    assert said == (
        'Fires on " Bo" (100 % of its effect). Speaks for " Ada", against " Bo". '
        'For example behind "Ada is Bo.": " Ada" 90 %, without it 20 %; " Bo" 10 %, without it 80 %.'
    )


@pytest.mark.parametrize("tried", [1, 2])
def test_an_example_without_an_effect_is_none(tried: int) -> None:
    """Where it shows at some place only that one is told, and where at none, that is said."""
    rows = torch.tensor([[0, 2, 1, 3], [1, 2, 0, 3]])
    idle = [
        Example(2, 1, 0, 1, (0.999, 0.0001), (0.998, 0.0009), 0.5),
        Example(2, 1, 1, 0, (0.5, 0.5), (0.495, 0.505), 0.4),
    ]
    seen = Example(2, 1, 2, 1, (0.9, 0.1), (0.85, 0.1), 0.1)
    told = teller(rows).neuron(places([3.0, 1.0], [2, 4]), 0, idle[:tried])
    at = "the one place" if tried == 1 else "any of the 2 places"
    assert told.endswith(f"No example was found: without it no probability changes by 1 % at {at} tried.")
    assert "For example" not in told
    told = teller(rows).neuron(places([3.0, 1.0], [2, 4]), 0, [*idle[:tried], seen])
    assert told.endswith('For example behind "Ada is Bo.": " is" 90 %, without it 85 %; " Bo" 10 %, without it 10 %.')


def test_a_neuron_that_acts_by_being_silent_behind_a_token() -> None:
    rows = torch.tensor([[0, 2, 0, 1], [0, 3, 1, 2]])
    said = teller(rows).neuron(places([1.0, 1.0, 1.0, 1.0], [1, 3, 5, 5], above=0.0), 0, [])
    assert said == 'Is silent behind " Ada" (100 % of its effect).'


def test_a_part_without_effect() -> None:
    assert teller(torch.tensor([[0, 1]])).neuron(places([0.0], [1]), 0, []) == "Never changes a prediction."


def test_strongest_stops_where_most_is_said() -> None:
    assert strongest({1: 0.5, 2: 0.45, 3: 0.05}, 5) == [1, 2]
    assert strongest({1: 0.4, 2: 0.3, 3: 0.3}, 2) == [1, 2]
    assert ranked({"a": 1.0, "b": 8.0, "c": 1.0, "d": 0.0}, 0.85) == ["b", "a"]


FAR = {2: 0.4, 5: 0.3, 7: 0.3}
LOOKS = {
    'at the token before (80 % of its attention), at " Ada", " is"': Looking({0: 0.6, 2: 0.4}, {1: 0.8}, 0.0, 0.1, {}),
    "at the first token of the text (70 % of its attention)": Looking({NOWHERE: 0.7, 2: 0.3}, {9: 0.7}, 0.0, 0.0, {}),
    "at what followed the same token before (70 % of its attention)": Looking({0: 0.2, 1: 0.2}, FAR, 0.1, 0.7, {}),
    "at the same token before (90 % of its attention)": Looking({0: 0.2, 1: 0.2}, FAR, 0.9, 0.1, {}),
    'at " Ada", " Bo" (80 % of its attention, half of it within 5 tokens)': Looking(
        {0: 0.5, 1: 0.3}, FAR, 0.0, 0.0, {}
    ),
}


@pytest.mark.parametrize("said", LOOKS)
def test_where_a_head_looks_is_told_by_what_covers_most(said: str) -> None:
    told = teller(torch.tensor([[0, 1]])).head(places([1.0], [1]), 0, LOOKS[said], [])
    assert told == f'Acts on " Bo" (100 % of its effect), and looks {said} from there.'


def test_what_a_head_speaks_for_is_told_by_what_it_looks_at() -> None:
    looking = Looking({0: 0.5, 2: 0.5}, {2: 0.4, 5: 0.3, 7: 0.3}, 0.0, 0.0, {1: 0, 3: 2})
    examples = [Example(1, 0, 1, 0, (0.9, 0.1), (0.2, 0.8), 0.5), Example(3, 0, 3, 0, (0.9, 0.1), (0.2, 0.8), 1.0)]
    told = teller(torch.tensor([[0, 1, 2, 3]])).head(places([1.0, 1.0], [1, 3]), 0, looking, examples)
    assert 'What it looks at → what it speaks for: " is" → ".", " Ada" → " Bo".' in told


def test_all_parts_of_a_model_are_told_by_layer_and_effect() -> None:
    model, _ = random_model(2)
    rows = torch.randint(0, model.n_vocab, (8, 16), generator=torch.Generator().manual_seed(0))
    told = tell(model, rows)
    shape = model.decoder.addresses
    assert set(told) == {str(a).rpartition(".")[0] for a in shape.addresses() if a.kind in ("QK", "IN")}
    assert all(found.text for found in told.values())
    for kind in (".H", ".N"):
        assert sum(found.share for part, found in told.items() if kind in part) == pytest.approx(1, abs=1e-4)
        for layer in range(shape.layers):
            shares = [found.share for part, found in told.items() if part.startswith(f"L{layer:02d}{kind}")]
            assert shares == sorted(shares, reverse=True)
    assert load(dump(told)) == told
