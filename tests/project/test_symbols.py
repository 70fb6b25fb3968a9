"""The symbol table keeps what people wrote and says where a broken line is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.base.errors import ProjectError
from pellucid.project.symbols import LADDER, Symbol, merge, read_symbols, write_symbols

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(name=TEXT, note=TEXT)
def test_any_text_survives_the_file(name: str, note: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("symbols") / "symbols.tsv"
    symbol = Symbol("L00.H00.QK", name, "QK", "user", note=note)
    write_symbols(path, {symbol.address: symbol})
    assert read_symbols(path) == {symbol.address: symbol}
    assert path.read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize("old", LADDER)
@pytest.mark.parametrize("new", LADDER)
def test_a_name_gives_way_only_to_an_equal_or_higher_rung(old: str, new: str) -> None:
    before = Symbol("L00.H00.QK", "old", "QK", old, note="mine")
    merged = merge({before.address: before}, {before.address: Symbol(before.address, "new", "QK", new)})[before.address]
    assert merged.name == ("new" if LADDER.index(new) >= LADDER.index(old) else "old")
    assert merged.note == "mine"


def test_lines_may_end_as_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "symbols.tsv"
    path.write_bytes(b"L00.H00.QK\tname\tQK\tuser\t\t\tmine\r\n")
    assert read_symbols(path)["L00.H00.QK"].note == "mine"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("L00.H00.QK\tname", "2 columns"),
        ("L00.H00.QK\tname\tQK\tguessed\t\t\t", "provenance is 'guessed'"),
        ("L00.H00.QK\tname\tQK\tuser\t\t\t\nL00.H00.QK\tother\tQK\tuser\t\t\t", "has a line already"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "symbols.tsv"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ProjectError, match=rf"symbols.tsv:\d: .*{reason}"):
        read_symbols(path)
