"""Numbers are spent where they save most, and never more of them than there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pellucid.base.address import Address
from pellucid.forms.forms import Fires
from pellucid.stages.first.budget import Option, spend

LADDERS = st.lists(st.tuples(st.integers(1, 20), st.floats(0, 1)), min_size=1, max_size=4)


def options(ladders: list[list[tuple[int, float]]]) -> dict[Address, list[Option]]:
    """Neurons with candidates that hold ever more numbers and leave ever less."""
    found = {}
    for neuron, ladder in enumerate(ladders):
        address, numbers, loss = Address("IN", 0, neuron), 0, 10.0
        found[address] = []
        for more, less in ladder:
            numbers, loss = numbers + more, loss - less
            found[address].append(Option(Fires(address, 1.0), numbers, loss))
    return found


@given(ladders=st.lists(LADDERS, min_size=1, max_size=20), budget=st.integers(0, 200))
def test_the_budget_holds(ladders: list[list[tuple[int, float]]], budget: int) -> None:
    chosen = spend(options(ladders), budget)
    assert sum(option.numbers for option in chosen.values()) <= budget


def test_the_best_saving_per_number_is_bought_first() -> None:
    ladders = [[(1, 0.0), (5, 0.5)], [(1, 0.0), (5, 2.0)]]
    chosen = spend(options(ladders), 7)
    assert [chosen[Address("IN", 0, n)].numbers for n in (0, 1)] == [1, 6]


def test_enough_budget_buys_all_that_saves() -> None:
    ladders = [[(1, 0.0), (5, 0.5), (3, 0.0)]]
    assert spend(options(ladders), 100)[Address("IN", 0, 0)].numbers == 6
