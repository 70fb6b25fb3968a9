"""An account written by hand, for a tiny subject of the words w1 to w10."""

from __future__ import annotations

from cli_support import Workshop, own_work

ACCOUNT = '''"""What stands behind w1."""

from .language import account, one_of, table, variable

NEXT = table("next.tsv")
LATE = one_of("w9", "w10")


@variable(tie="L00.H01 @ here", moved=0.75)
def said_last(text):
    """The last of the keys."""
    return text.last(NEXT)


@account
def next_token(text):
    if text.last(LATE):
        return None
    if text.ends(" w1"):  # by its table
        return NEXT[said_last(text)]
    if not text.has("w2") and len(text) > -1 + 3:
        return "w2"
'''
NEXT = "key\tanswer\tagreement\nw1\tw3 w4\t1.00\nw5\tw6\t0.50\n"


def write_account(workshop: Workshop, account: str = ACCOUNT, table: str = NEXT) -> None:
    """Write an account into the program of `workshop`, as its owner."""
    with own_work(workshop.made):
        folder = workshop.made / "program" / "accounts"
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        (folder / "next.py").write_text(account, encoding="utf-8")
        (folder / "tables" / "next.tsv").write_text(table, encoding="utf-8")
