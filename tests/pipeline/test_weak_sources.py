"""Sources that say next to nothing are not written, unless they run or are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli_support import Workshop
from pellucid.base.address import Address
from pellucid.forms.effect import Calibration
from pellucid.forms.forms import Fires, First, Looks
from pellucid.listing.arrange import arranged
from pellucid.project.manifest import Manifest, RunSettings
from pellucid.project.parts_file import standing
from pellucid.project.project import Project
from pellucid.stages.first.sources import FirstSources, is_weak, write_linked, write_sources

HEADS = [Address("QK", 0, 0), Address("QK", 0, 1)]
NEURONS = [Address("IN", 1, n) for n in range(4)]


def neuron(address: Address) -> Fires:
    """A neuron that fires on a token."""
    return Fires(address, 0.5, (("token", (3,), 1.5),))


SOURCES = FirstSources(
    {
        HEADS[0]: Looks(HEADS[0], ((First(), 2.0),)),
        HEADS[1]: Looks(HEADS[1], ((First(), 2.0),)),
        **{address: neuron(address) for address in NEURONS[:3]},
        NEURONS[3]: Fires(NEURONS[3], -0.25),
    },
    effects=dict(zip([*HEADS, *NEURONS], [1.0, 1.0, 1.0, 2.0, 1.0, 1.0], strict=True)),
    losses=dict(zip([*HEADS, *NEURONS], [0.79, 0.81, 0.1, 0.1, 1.7, 1.0], strict=True)),
    calibration=Calibration(None, None, None, 0, ()),
)


def told(project: Project) -> dict[str, str]:
    """The parts with a source, and the file where it stands."""
    return {str(address): statement.file.name for address, statement in project.listing().sources()}


def test_a_source_is_weak_that_removes_less_than_a_fifth() -> None:
    assert [is_weak(SOURCES, address) for address in SOURCES.forms] == [False, True, False, False, True, True]
    unfelt = replace(SOURCES, effects={**SOURCES.effects, NEURONS[0]: 0.0}, losses={**SOURCES.losses, NEURONS[0]: 0.0})
    assert is_weak(unfelt, NEURONS[0])


def test_weak_ones_are_written_where_they_run(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    write_sources(project, SOURCES)
    strong = {str(HEADS[0]): "described_00.py", **{str(n): "described_01.py" for n in NEURONS[1::-1]}}
    assert told(project) == strong
    assert list(told(project))[1:] == [str(NEURONS[1]), str(NEURONS[0])]  # by effect
    linked = {HEADS[1], NEURONS[3], NEURONS[0]}
    write_linked(project, SOURCES, linked)
    project.take(arranged(project.listing(), linked))
    assert told(project) == strong | {
        str(HEADS[1]): "layer_00.py",
        str(NEURONS[3]): "layer_01.py",
        str(NEURONS[0]): "layer_01.py",
    }
    write_linked(project, SOURCES, {NEURONS[3]})
    project.take(arranged(project.listing(), {NEURONS[3]}))
    assert told(project) == strong | {str(NEURONS[3]): "layer_01.py"}
    write_linked(project, SOURCES, set())
    project.take(arranged(project.listing(), set()))
    assert told(project) == strong
    assert not any(statement.by_person for statement in project.listing().statements.values())


def test_they_are_kept_where_that_is_asked_for(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    settings = replace(project.manifest.settings, keep_weak=True)
    kept = Project(workshop.made, replace(project.manifest, settings=settings), project.model, project.texts)
    write_sources(kept, SOURCES)
    assert set(told(kept)) == set(map(str, SOURCES.forms))
    write_linked(kept, SOURCES, set())
    assert set(told(kept)) == set(map(str, SOURCES.forms))
    kept.print_program()
    write_sources(project, SOURCES)
    assert set(told(project)) == {str(HEADS[0]), str(NEURONS[0]), str(NEURONS[1])}


def test_what_a_person_wrote_about_a_weak_one_stays(workshop: Workshop) -> None:
    workshop.source(str(HEADS[1]), "return 2.0 * (key.position == 0)")
    project = Project.open(workshop.made)
    write_sources(project, SOURCES)
    write_linked(project, SOURCES, {HEADS[1]})
    write_linked(project, SOURCES, set())
    assert told(project)[str(HEADS[1])] == "layer_00.py"


def test_the_setting_is_stored_and_old_manifests_have_none(workshop: Workshop) -> None:
    manifest = Manifest.read(workshop.made)
    assert not manifest.settings.keep_weak
    replace(manifest, settings=replace(manifest.settings, keep_weak=True)).write(workshop.made)
    assert Manifest.read(workshop.made).settings.keep_weak
    path = workshop.made / "pellucid.toml"
    path.write_text("\n".join(line for line in path.read_text().split("\n") if "keep_weak" not in line))
    assert not Manifest.read(workshop.made).settings.keep_weak
    assert repr(RunSettings(keep_weak=True)) == repr(RunSettings())  # stages that are finished stay so


@pytest.mark.parametrize("dropped", [True, False])
def test_parts_say_what_runs_and_what_describes(workshop: Workshop, dropped: bool) -> None:
    project = Project.open(workshop.made)
    write_sources(project, SOURCES)
    chosen = frozenset({NEURONS[0]} if dropped else set())
    project.take(arranged(project.listing(), chosen))
    listing = project.listing()
    found = standing(listing, NEURONS[0], chosen)
    assert (found.form, found.residual) == (("source", "dropped") if dropped else ("raw", "on"))
    assert (found.described is None) is dropped
    assert found.runs.file.name == ("layer_01.py" if dropped else "described_01.py")
