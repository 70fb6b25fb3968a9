"""What is printed reaches files and terminals of any encoding, and JSON stays JSON."""

from __future__ import annotations

import io
import json
import sys

import pytest

from pellucid.base.output import print_anything


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
@pytest.mark.parametrize("text", ["plain", "é – 天 🤗", "caf\udce9", "\U0010ffff"])
def test_anything_can_be_printed(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_anything()
    print(json.dumps(text, ensure_ascii=False), flush=True)
    assert json.loads(raw.getvalue().decode(encoding)) == text


def test_what_is_no_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    print_anything()
    print("é")
    assert isinstance(sys.stdout, io.StringIO)
    assert sys.stdout.getvalue() == "é\n"
