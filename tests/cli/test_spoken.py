"""Speaking to a subject and to its program: `--chat` with `run` and `why`; `run` of a subject itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import checkpoints
from cli_support import Workshop, lean, pellucid, text_file

TEMPLATE = "w1 {% for message in messages %}{{ message.content }} {% endfor %}w2"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A workshop whose subject has a chat template."""
    root = tmp_path_factory.mktemp("spoken")
    with lean(root / "state"):
        workshop = Workshop(root)
        checkpoints.write(workshop.subject)
        (workshop.subject / "chat_template.jinja").write_text(TEMPLATE)
        text_file(workshop.text)
        assert workshop.decompile().code == 0
        yield workshop


def test_a_program_and_its_subject_are_spoken_to_alike(spoken: Workshop) -> None:
    for asked in (spoken.made, spoken.subject):
        said = pellucid("run", asked, "w5 w6", "--chat", "--tokens", "4", "--json")
        plain = pellucid("run", asked, "w1 w5 w6 w2", "--tokens", "4", "--json")
        assert said.json["prompt"].split() == ["w1", "w5", "w6", "w2"]
        assert said.json["continuation"].split() == plain.json["continuation"].split() != []
    assert pellucid("run", spoken.subject, "5 6", "--ids", "--tokens", "2").out.startswith("5 6 ")


def test_why_of_a_conversation(spoken: Workshop) -> None:
    for asked in (spoken.made, spoken.subject):
        found = pellucid("why", asked, "w5 w6", "--chat", "--top", "1", "--json").json
        assert found["prompt"] == "w1 w5 w6 w2"


def test_without_a_template_it_is_said(workshop: Workshop) -> None:
    for asked in (workshop.made, workshop.subject):
        complaint = pellucid("run", asked, "w5", "--chat").complaint()
        assert "chat template; give" in complaint
    assert "has no chat template" in pellucid("why", workshop.subject, "w5", "--chat").complaint()


def test_a_template_that_raises_is_one_line(tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "own")
    (tmp_path / "own" / "chat_template.jinja").write_text("{{ raise_exception('not\nnow') }}")
    complaint = pellucid("run", tmp_path / "own", "w5", "--chat").complaint()
    assert "cannot be used: TemplateError: not" in complaint
