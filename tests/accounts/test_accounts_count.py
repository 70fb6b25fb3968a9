"""The size of accounts, counted by hand."""

from __future__ import annotations

from accounts_by_hand import write_account
from cli_support import Workshop
from pellucid.accounts.count import budget_numbers, symbols
from pellucid.accounts.folder import Folder
from pellucid.project.project import Project

SMALL = '''"""About it."""
from .language import account, table
NEXT = table("next.tsv")

@account
def next_token(text):
    """What comes next."""
    if text.ends(" w1 w2"):  # both
        return NEXT["w1"]
'''


def test_symbols_are_names_operators_and_tokens_of_texts(workshop: Workshop) -> None:
    write_account(workshop, SMALL.replace('table("next.tsv")', 'table("w1")'), "key\tanswer\tmore\nw1\tw3 w4\t1.00\n")
    folder = Folder(Project.open(workshop.made))
    imports = len(["from", "language", "import", "account", "table"])
    top = len(["NEXT", "=", "table", "w1"]) + len(["@", "account", "def", "next_token", "text"])
    body = len(["if", "text", "ends"]) + len(("w1", "w2")) + len(["return", "NEXT", "w1"])
    assert symbols(folder) == imports + top + body + len(("w1", "w3", "w4"))
    assert budget_numbers(folder) == 1 + 3 + 1 + 1 + 3  # 16 bits are two letters


def test_a_slot_is_one_symbol_and_one_number(workshop: Workshop) -> None:
    slotted = SMALL.replace('" w1 w2"', '" w1 {next} w2", "{day} w3"')
    write_account(workshop, slotted, "key\tanswer\nw1\tw3 w4\n")
    folder = Folder(Project.open(workshop.made))
    without = len(["from", "language", "import", "account", "table", "NEXT", "=", "table", "next.tsv"])
    without += len(["@", "account", "def", "next_token", "text", "if", "text", "ends", "return", "NEXT", "w1"])
    asked = len(["w1", "next", "w2"]) + len(["{day}", "w3"])  # no file is called day
    assert symbols(folder) == without + asked + len(["w1", "w3", "w4"])
    patterns = 2 + 1 + 2 + 4  # " w1 ", the slot, " w2", and eight letters
    assert budget_numbers(folder) == 4 + patterns + 1 + 1 + 3
