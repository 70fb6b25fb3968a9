"""Small models run on one thread, whatever the process is set to, and the process gets its own number back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from models import majority
from threadpoolctl import threadpool_info

from pellucid.weightless import decompile
from pellucid.weightless.threads import one_thread


@pytest.fixture(autouse=True)
def many() -> Iterator[None]:
    """A process with three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_all_libraries_get_one_thread_and_torch_its_own_back() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        assert {library["num_threads"] for library in threadpool_info()} == {1}
    assert torch.get_num_threads() == 3


def test_a_program_is_searched_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def split(_: object) -> None:
        seen.append(torch.get_num_threads())
        raise ArithmeticError

    monkeypatch.setattr(decompile, "split", split)
    with pytest.raises(ArithmeticError):
        decompile.decompiled(majority(tmp_path / "model"))
    assert seen == [1]
    assert torch.get_num_threads() == 3
