"""What a command says meanwhile: all of it, nothing but errors, more, or into a file too."""

from __future__ import annotations

import logging

from cli_support import Workshop, pellucid
from pellucid.base import events


def test_quiet_says_nothing_but_errors(workshop: Workshop) -> None:
    said = pellucid("verify", workshop.made, "--quick", "--trust")
    quiet = pellucid("--quiet", "verify", workshop.made, "--quick", "--trust")
    assert (said.code, quiet.code) == (0, 0)
    assert "measuring" in said.err
    assert quiet.err == ""
    assert pellucid("--quiet", "verify", workshop.root).complaint()
    assert events._listeners is None


def test_verbose_says_what_begins_and_ends(workshop: Workshop) -> None:
    answer = pellucid("--verbose", "verify", workshop.made, "--quick", "--trust")
    assert answer.code == 0
    assert "pellucid.events: began " in answer.err
    assert "pellucid.events: ended " in answer.err
    assert logging.getLogger("pellucid").handlers == []
    assert "say the opposite" in pellucid("--verbose", "--quiet", "zoo", "list").complaint()


def test_a_log_has_what_is_said(workshop: Workshop) -> None:
    log = workshop.root / "log"
    answer = pellucid("--log", log, "verify", workshop.made, "--quick", "--trust")
    assert "measuring" in answer.err
    assert " measuring " in log.read_text()
    before = log.read_text()
    assert pellucid("--log", log, "--quiet", "verify", workshop.made, "--quick", "--trust").err == ""
    assert log.read_text().startswith(before)
    assert "no such" in pellucid("--log", workshop.root / "no" / "log", "zoo", "list").complaint().lower()
