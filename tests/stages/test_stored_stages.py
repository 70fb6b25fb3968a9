"""What stages store reads back as it was, and anything else is refused in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError, ProjectError
from pellucid.forms.codec import dump_forms, load_forms
from pellucid.forms.effect import Calibration
from pellucid.forms.forms import AfterSame, Distance, Fires, First, Looks, Offset, SameToken
from pellucid.forms.worst_places import load_contexts
from pellucid.project.descriptions import load as load_told
from pellucid.project.evidence import Evidence
from pellucid.project.heldout import STAGE, HeldoutReadings
from pellucid.stages.first.sources import FirstSources, dump, load

HEAD, NEURON = Address("QK", 0, 0), Address("IN", 0, 3)
TERMS = ((Offset(1), 2.0), (First(), 1.0), (SameToken(), 0.5), (AfterSame(), 4.0), (Distance(3), -0.5))
FORMS: dict[Address, Looks | Fires] = {
    HEAD: Looks(HEAD, TERMS),
    NEURON: Fires(NEURON, 0.25, (("token", (1, 2), 0.5), ("previous", (3,), -1.0))),
}
SOURCES = FirstSources(
    FORMS, {HEAD: 0.5, NEURON: 0.1 + 0.2}, {HEAD: 1e-9, NEURON: 0.0}, Calibration(0.9, None, 1.5, 20, ())
)
PLACE = {"tokens": ["a", " b"], "weights": [0.5, 1], "at": 1, "raw": 1.0, "source": 0.5, "difference": -0.5}


def test_sources_read_back_as_they_were() -> None:
    assert load_forms(dump_forms(FORMS)) == FORMS
    assert load(dump(SOURCES)) == SOURCES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("effects"), "effects is missing"),
        (lambda data: data.update(forms=3), "forms is 3, expected a valid string"),
        (lambda data: data.update(forms="[]"), "expected an object"),
        (lambda data: data["losses"].update({str(HEAD): "x"}), "losses.L00.H00.QK is 'x', expected a valid number"),
        (lambda data: data["effects"].pop(str(HEAD)), "L00.H00.QK has a form, but no effect and loss"),
        (lambda data: data["effects"].update(nowhere=1), "'nowhere' is not an address"),
        (lambda data: data.update(calibration=[1, 2, 3]), "calibration[3] is missing"),
    ],
)
def test_sources_of_another_shape_are_refused(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    data = json.loads(dump(SOURCES))
    change(data)
    with pytest.raises(PellucidError) as raised:
        load(json.dumps(data))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "form",
    [
        {"terms": [["Offset", [], 1.0]]},
        {"terms": [["Offset", [1, 2], 1.0]]},
        {"terms": [["Elsewhere", [], 1.0]]},
        {"terms": [["Offset", ["1"], 1.0]]},
        {"bias": 0.5, "sets": [["next", [1], 0.5]]},
        {"bias": 0.5, "sets": [["token", [1.5], 0.5]]},
        {"bias": 0.5},
        {},
    ],
)
def test_forms_of_another_shape_are_refused(form: dict[str, Any]) -> None:
    with pytest.raises(ProjectError, match=r"^stage: "):
        load_forms(json.dumps({str(HEAD): form}), "stage")


def test_places_read_back_with_whatever_else_they_hold() -> None:
    text = json.dumps({str(HEAD): [PLACE | {"strongest": True}]})
    assert load_contexts(text, "contexts") == json.loads(text)
    for change in ({"tokens": "ab"}, {"weights": [None]}, {"at": -1}, {"raw": float("nan")}):
        with pytest.raises(ProjectError, match="stage `contexts`"):
            load_contexts(json.dumps({str(HEAD): [PLACE | change]}), "contexts")


@pytest.mark.parametrize("text", ["[]", "3", '{"L00.H00.QK": ["x"]}', '{"L00.H00.QK": [1, 0.5]}', "{"])
def test_what_parts_do_is_text_and_share(text: str) -> None:
    with pytest.raises(ProjectError, match="what parts do"):
        load_told(text)


@pytest.mark.parametrize("text", ["[]", '{"count": -1, "unfinished": ""}', '{"count": "1", "unfinished": ""}', "{}"])
def test_readings_are_a_count(tmp_path: Path, text: str) -> None:
    evidence = Evidence(tmp_path / "evidence.sqlite")
    evidence.finish(STAGE, "hash", text)
    with pytest.raises(ProjectError, match="stage `readings of held-out text`"):
        _ = HeldoutReadings(evidence, "hash").count
