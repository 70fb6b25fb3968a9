"""Messages quote what was given, and stay readable however long that was."""

from __future__ import annotations

import pytest

from pellucid.base.address import Address
from pellucid.base.errors import LONGEST, PellucidError, SubjectError


def test_messages_are_as_they_were_given() -> None:
    assert str(SubjectError("what it is")) == "what it is"
    assert str(PellucidError("/" + "a" * 300 + " is a path")) == "/" + "a" * 300 + " is a path"


@pytest.mark.parametrize("text", ["x" * 10_000, "x " * 10_000, "\n" * 10_000, "ab" * 300 + " " + "y" * 5_000])
def test_long_ones_are_cut_within(text: str) -> None:
    said = str(PellucidError(f"before {text!r} after"))
    assert len(said) <= LONGEST + 1
    assert said.startswith("before '")
    assert said.endswith("' after")


def test_what_was_quoted_is_cut_too() -> None:
    with pytest.raises(PellucidError) as raised:
        Address.parse("L" * 100_000)
    assert len(str(raised.value)) <= LONGEST + 1
    assert "addresses look like" in str(raised.value)
