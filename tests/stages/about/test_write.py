"""What parts do, in the program and with its evidence."""

from __future__ import annotations

from cli_support import Workshop
from pellucid.base.effort import Effort
from pellucid.project.descriptions import told_before
from pellucid.project.inventory import inventory
from pellucid.project.project import Project
from pellucid.stages.about.write import tell_parts


def test_no_part_that_carries_effect_is_a_blank(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    tell_parts(project, "a state", Effort.quick())
    abouts, told = project.listing().abouts, told_before(project.evidence)
    heads = {str(a).rpartition(".")[0] for a in project.listing().decoder.addresses.addresses() if a.kind == "QK"}
    assert heads <= abouts.keys() <= told.keys()
    assert any(".N" in part for part in abouts)
    assert all(about.said == told[part] and not about.by_person for part, about in abouts.items())
    entries = {str(entry.address): entry for entry in inventory(project)}
    for part in told:
        for address in (f"{part}.QK", f"{part}.OV") if ".H" in part else (f"{part}.IN", f"{part}.OUT"):
            assert entries[address].is_told
            assert entries[address].detail()["about"] == told[part]


def test_what_a_person_wrote_stays_and_an_ended_stage_is_not_repeated(workshop: Workshop) -> None:
    project = Project.open(workshop.made)
    tell_parts(project, "a state", Effort.quick())
    project.print_program()
    about = project.listing().abouts["L00.H00"]
    path = project.directory / "program" / about.file.name
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace(about.text, 'about("L00.H00", "Mine.")'), encoding="utf-8")
    project.evidence.finish("what parts do", "a state", '{"L00.H00": ["Another.", 1.0], "L01.H00": ["Its own.", 1.0]}')
    tell_parts(project, "a state", Effort.quick())
    found = {part: (about.said, about.by_person) for part, about in project.listing().abouts.items()}
    assert found == {"L00.H00": ("Mine.", True), "L01.H00": ("Its own.", False)}
