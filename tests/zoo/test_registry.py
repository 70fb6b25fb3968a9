"""The zoo's list of subjects."""

import pytest

from pellucid import zoo
from pellucid.base.errors import PellucidError


def test_the_village_ships_in_hugging_face_layout():
    assert "village" in zoo.names()
    folder = zoo.path("village")
    assert {"config.json", "model.safetensors", "tokenizer.json", "card.json"} <= {
        file.name for file in folder.iterdir()
    }


def test_the_card_states_how_the_model_was_made_and_what_it_knows():
    card = zoo.card("village")
    assert {"summary", "date", "command", "machine", "tokens", "training_seconds", "accuracy"} <= card.keys()
    assert {"n", "first", "whole"} <= card["accuracy"]["fact"]["model"].keys()


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(PellucidError, match=r"zoo:vilage is not in the zoo.*village"):
        zoo.path("vilage")
