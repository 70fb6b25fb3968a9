"""Why ends in the lines that one would change, and in commands that a shell reads as they are meant."""

from __future__ import annotations

from cli_support import Workshop, pellucid
from pellucid.project.project import Project
from pellucid.study.why import Cause, Why
from pellucid.verify.lines import printable, where

ODD = 'it\'s\n\x1b[31m$(reboot) `x` "y" \\ é'


def explained(*causes: Cause, prompt: str = "w1 w2", instead: str = " w3") -> Why:
    return Why(prompt, ("w1", " w2"), " w4", instead, 2.0, 0.9, causes)


def head(part: str = "L01.H00.OV", share: float = 0.8) -> Cause:
    return Cause(part, 1, " w2", 1.0, 2 * share, share, ((0, "w1", 0.9),))


def test_a_raw_part_is_shown_with_the_edit_to_try(workshop: Workshop) -> None:
    found = where(explained(head(), head("L00.H01.OV", 0.05)), Project.open(workshop.made).listing(), "DIR")
    assert [line.part for line in found.lines] == ["L01.H00.OV", "L01.H00.QK"]
    for line in found.lines:
        file, _, number = line.place.partition(":")
        assert line.text in (workshop.made / "program" / file).read_text().split("\n")[int(number) - 1]
    assert "insert an edit in program/edits.py, at L01.H00.OV" in found.text
    assert "pellucid edit DIR --fact 'w1 w2' w3 --dry-run" in found.text


def test_a_source_is_shown_with_the_lines_to_change(workshop: Workshop) -> None:
    workshop.source("L01.H00.QK", "return log(query.position + 1.0)")
    found = where(explained(head()), Project.open(workshop.made).listing(), "DIR")
    text = next(line for line in found.lines if line.part == "L01.H00.QK").text
    assert "return log(query.position + 1.0)" in text
    assert "change the source of L01.H00.QK, then `--commit L01.H00.QK`" in found.how


def test_an_edit_comes_before_what_it_changes(workshop: Workshop) -> None:
    page = 'from .prelude import edit\n\n\n@edit("L01.H00.OV", 1, says=("w5",))\ndef edit_0001():\n    return 2.0\n'
    (workshop.made / "program" / "edits.py").write_text(page)
    found = where(explained(head()), Project.open(workshop.made).listing(), "DIR")
    assert found.lines[0].form == "edit 0001"
    assert found.lines[0].place == "edits.py:4"
    assert "change or undo edit 0001" in found.how


def test_neurons_and_embeddings_have_lines_too(workshop: Workshop) -> None:
    mlp = Cause("L00.mlp_out", 1, " w2", 1.0, 1.0, 0.5, neurons=(("L00.N0002", 0.4), ("L00.N0001", -0.3)))
    found = where(
        explained(mlp, Cause("EMB.TOK", 1, " w2", 1.0, 0.5, 0.25)), Project.open(workshop.made).listing(), "DIR"
    )
    assert [line.part for line in found.lines] == ["L00.N0002.OUT", "L00.N0002.IN", "EMB.TOK"]
    assert "a part of its own" in found.how
    assert "let ' w2' be read as another token, with --read" in found.how


def test_the_command_line_shows_them_for_a_directory_alone(workshop: Workshop) -> None:
    shown = pellucid("why", workshop.made, "w1 w2 w3")
    assert shown.code == 0, shown.err
    assert "lines to change:" in shown.out
    assert "lines to change:" not in pellucid("why", workshop.subject, "w1 w2 w3").out
    data = pellucid("why", workshop.made, "w1 w2 w3", "--json").json
    assert {"causes", "lines", "how", "commands"} <= data.keys()


def test_nothing_steers_the_terminal(workshop: Workshop) -> None:
    found = where(explained(head(), prompt=ODD, instead=ODD), Project.open(workshop.made).listing(), ODD)
    assert all(line.isprintable() for line in found.text.split("\n"))
    assert printable(ODD).isprintable()
