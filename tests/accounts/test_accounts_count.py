"""The size of accounts, counted by hand."""

from __future__ import annotations

from accounts_by_hand import write_account
from cli_support import Workshop
from pellucid.accounts.count import budget_numbers, symbols
from pellucid.accounts.folder import Folder
from pellucid.match.project import Project

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
