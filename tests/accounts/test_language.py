"""The language of accounts: what a text is asked, tables, answers of several tokens, and which rule speaks."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import indent

import pytest

from pellucid.accounts.language import (
    AccountError,
    Accounts,
    AccountText,
    Slots,
    Spelling,
    Text,
    needed_ends,
    one_of,
    spans,
    spelling_of,
    table,
)

WORDS = ["<end>", "Ada", " Ada", " Ann", "a", " lives", " in", " Pine", " Lane", " Oak", ".", " the", " x", " (", " )"]
WORDS += [" Jo", '"', " on", " is"]
END = WORDS.index("<end>")


def encode(text: str) -> list[int]:
    """Token by token, the longest first."""
    ids = []
    while text:
        piece = max((word for word in WORDS if text.startswith(word)), key=len)
        ids.append(WORDS.index(piece))
        text = text[len(piece) :]
    return ids


SPELLING = Spelling(WORDS, encode, frozenset({END}))


def text_of(text: str) -> Text:
    pieces = [WORDS[token] for token in encode(text)]
    return Text(AccountText(pieces, spaced=True), 0, len(pieces))


def written(folder: Path, **files: str) -> Path:
    """A folder of accounts; names that end in _tsv or _txt are tables and classes."""
    (folder / "tables").mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / "tables" / re.sub(r"_(tsv|txt)$", r".\1", name) if name[-4:] in ("_tsv", "_txt") else None
        (path or folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


HOMES = '''"""Where people live."""

from .language import account, table, variable

HOME = table("home.tsv")


@variable(tie="L02.H00 @ here", moved=0.986)
def last_name(text):
    return text.last(HOME)


@account
def next_token(text):
    if text.ends(" lives in", " lives on"):
        return HOME[last_name(text)]
    if text.ends(" Pine Lane", " Oak"):
        return "."
'''
HOME = "key\tanswer\tagreement\nAda\tPine Lane\t1.00\nAnn\tOak\t0.97\n"


def test_what_a_text_has_are_whole_words() -> None:
    text = text_of("Ada lives in the Pine Lane")
    assert text.has(" in")
    assert text.has("Ada", "nothing")
    assert text.has("lives in the")
    assert not text.has(" li")
    assert not text.has("ives")
    assert not text.has(" Pin")


def test_the_last_sentences_are_one_text() -> None:
    text = text_of("Ada is in. Ann lives on. Ada is")
    assert str(text.lately()) == " Ada is"
    assert str(text.lately(2)) == " Ann lives on. Ada is"
    assert str(text.lately(9)) == str(text)
    assert str(text_of("Ada is in. Ann lives on.").lately()) == " Ann lives on."


def test_a_text_is_asked_for_its_ends_and_marks() -> None:
    text = text_of("Ada lives ( in the. Ada is")
    assert text.ends(" is", " in")
    assert not text.ends(" lives")
    assert text.begins("Ada")
    assert text.has("the.")
    assert text.count("Ada") == 2
    assert text.open("(", ")")
    assert not text_of("Ada ( in )").open("(", ")")
    assert text_of('Ada"').open('"')
    assert not text_of('Ada" in"').open('"')
    assert (text.token(), text.token(2), text.token(99)) == (" is", " Ada", None)
    assert (text.word(), text.word(3), text.word(99)) == ("is", ".", None)


def test_stretches_begin_behind_marks() -> None:
    text = text_of("Ada lives. Ann is. Ada")
    assert str(text.since(".")) == " Ada"
    assert str(text.since("(")) == "Ada lives. Ann is. Ada"
    assert [str(part) for part in text.split(".")] == ["Ada lives.", " Ann is.", " Ada"]
    assert [str(part) for part in text_of("Ada lives.").split(".")] == ["Ada lives."]
    assert str(text_of("Ada lives.").since(".")) == ""


def test_spans_are_whole_words_and_the_longest() -> None:
    names = one_of("Ada", "Ann", "Pine", "Pine Lane", "a")
    text = text_of("Ada lives in Pine Lane. Ann is on Pine")
    assert text.all(names) == ["Ada", "Pine Lane", "Ann", "Pine"]
    assert (text.first(names), text.last(names), text.nth(names, 2), text.nth(names, -2)) == (
        "Ada",
        "Pine",
        "Pine Lane",
        "Ann",
    )
    assert text.nth(names, 9) is text.nth(names, 0) is None
    assert text_of("Ada Anna is").all(names) == ["Ada"]  # " Ann" + "a" is a longer word
    assert text_of("Ada Ann").all(names) == ["Ada", "Ann"]


def test_what_followed_the_same_before() -> None:
    assert text_of("Ada lives in. Ada").after() is None  # "Ada" and " Ada" are two tokens
    assert text_of("Ada x lives. the x").after() == " lives"
    assert text_of("Ada lives in. the lives in").after(2) == "."
    assert text_of("Ada").after(5) is None


def test_the_rule_that_speaks_is_told_with_what_it_asked(tmp_path: Path) -> None:
    accounts = Accounts(written(tmp_path, homes=HOMES, home_tsv=HOME), SPELLING)
    said = accounts.said(encode("Ada lives in Pine Lane. Ann lives in"))
    spoken = [answer and WORDS[answer.token] for answer in said]
    assert spoken == [None, None, " Pine", " Lane", ".", None, None, None, " Oak"]
    last = said[-1]
    assert last is not None
    assert str(accounts.rules[last.rule]) == "homes.py:16"
    assert accounts.rules[last.rule].text == "return HOME[last_name(text)]"
    assert last.values == {"last_name": "Ann"}
    assert accounts.ties["last_name"] == ("L02.H00 @ here", 0.986)
    assert (said[3] and said[3].begun, said[3] and said[3].answer) == (1, "Pine Lane")


def test_an_answer_is_gone_on_with_only_where_it_has_begun(tmp_path: Path) -> None:
    accounts = Accounts(written(tmp_path, homes=HOMES, home_tsv=HOME), SPELLING)
    said = accounts.said(encode("Ada lives in the Pine"))
    assert [answer and WORDS[answer.token] for answer in said] == [None, None, " Pine", None, None]


def test_a_text_begins_behind_an_end(tmp_path: Path) -> None:
    accounts = Accounts(written(tmp_path, homes=HOMES, home_tsv=HOME), SPELLING)
    assert accounts.said(encode("Ada lives<end> lives in"))[-1] is None
    assert accounts.said(encode("Ada lives lives in"))[-1] is not None


def test_later_files_override(tmp_path: Path) -> None:
    general = '@account\ndef next_token(text):\n    return " the"\n'
    folder = written(tmp_path, homes=HOMES, a_general=general, home_tsv=HOME)
    accounts = Accounts(folder, SPELLING)
    said = accounts.said(encode("Ada lives in"))
    assert [answer and WORDS[answer.token] for answer in said] == [" the", " the", " Pine"]
    assert [answer and accounts.rules[answer.rule].file for answer in said] == ["a_general.py"] * 2 + ["homes.py"]


def test_blanks_are_set_where_words_begin(tmp_path: Path) -> None:
    body = 'if text.ends("Ann"):\n        return joined("a")\n    return "Ann" if text.ends("(") else "."\n'
    accounts = Accounts(written(tmp_path, a=f"@account\ndef next_token(text):\n    {body}"), SPELLING)
    said = accounts.said(encode("Ada ( Ann"))
    assert [answer and WORDS[answer.token] for answer in said] == [".", " Ann", "a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("key answer\nAda\tx\n", "t.tsv:1: expected the columns"),
        ("key\tanswer\nAda\tx\ty\n", "t.tsv:2: 3 cells, expected 2"),
        ("key\tanswer\nAda\tx\nAnn\ty\nAda\tz\n", "t.tsv:4: 'Ada' stands in line 2 already"),
        ('key\tanswer\nAda\t"x"\n', "t.tsv:2: '\"x\"': texts stand here without quotes"),
        ("key\tanswer\nAda\t x\n", "t.tsv:2: ' x': a cell is a text with no blanks around it"),
        ("key\tanswer\n\tx\n", "t.tsv:2: ''"),
        ("key\tanswer\nAda\tx\x1by\n", "t.tsv:2: .* is not a printed character"),
        ("key\tanswer\nAda\tx\n\n", "t.tsv:3: 1 cells"),
    ],
)
def test_a_table_that_is_none_is_refused_by_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(AccountError, match=reason):
        table("t.tsv", written(tmp_path, t_tsv=text))


def test_markup_in_a_cell_is_text(tmp_path: Path) -> None:
    found = table("t.tsv", written(tmp_path, t_tsv='key\tanswer\nA[b]\t<i>"x</i>\n'))
    assert found["A[b]"] == '<i>"x</i>'
    assert found["nobody"] is found[None] is None
    assert "A[b]" in found


@pytest.mark.parametrize("name", ["nobody.tsv", "../homes.py", ""])
def test_tables_lie_in_their_folder(tmp_path: Path, name: str) -> None:
    written(tmp_path, homes=HOMES)
    with pytest.raises(AccountError, match="is not there"):
        table(name, tmp_path)


IMPORTED = HOMES.replace("account, table, variable", "account, variable").replace(
    'HOME = table("home.tsv")', "from .tables import HOME"
)
LINES = "key\tanswer\nAda\tPine Lane\n"


def test_a_table_is_imported_by_the_name_of_its_file(tmp_path: Path) -> None:
    accounts = Accounts(written(tmp_path, homes=IMPORTED, home_tsv=LINES), SPELLING)
    (*_, said) = accounts.said(encode("Ada lives in"))
    assert said is not None
    assert (said.answer, said.lines) == ("Pine Lane", (("home.tsv", "Ada"),))
    assert accounts.ties == {"last_name": ("L02.H00 @ here", 0.986)}


def test_a_class_is_imported_by_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    text = "from .tables import HOME\n\n@account\ndef next_token(text):\n    return text.last(HOME)\n"
    (said,) = Accounts(written(tmp_path / "some", homes=text, home_txt="Ada\n"), SPELLING).said(encode("Ada"))
    assert said is not None
    assert said.answer == "Ada"


def test_a_name_that_no_file_or_two_have_is_not_imported(tmp_path: Path) -> None:
    with pytest.raises(AccountError, match=r"homes.py:5: there is no HOME to import: tables/ has neither home.txt nor"):
        Accounts(written(tmp_path, homes=IMPORTED), SPELLING)
    both = written(tmp_path, homes=IMPORTED, home_tsv=LINES, home_txt="Ada\n")
    with pytest.raises(AccountError, match=r'has both home.txt and home.tsv: say spans\("home.txt"\) or table\('):
        Accounts(both, SPELLING)


def needed(body: str) -> tuple[str, ...] | None:
    (function,) = ast.parse(f"@account\ndef next_token(text):\n{indent(body, '    ')}\n").body
    assert isinstance(function, ast.FunctionDef)
    return needed_ends(function)


@pytest.mark.parametrize(
    ("body", "ends"),
    [
        (
            'if text.ends(" in"):\n    return "x"\nif who(text) and text.ends(" on", "a"):\n    return "y"',
            (" in", " on", "a"),
        ),
        ('"""Said."""\nif text.ends(" in") or text.ends("a"):\n    return "x"', (" in", "a")),
        ('if text.ends(" in"):\n    return "x"\nelif text.ends("a"):\n    return "y"', (" in", "a")),
        ('if text.ends(" in"):\n    return "x"\nelse:\n    return "y"', None),
        ('if text.ends(" in") or len(text) < 2:\n    return "x"', None),
        ('if not text.ends(" in"):\n    return "x"', None),
        ('if text.sentence().ends(" in"):\n    return "x"', None),
        ('if text.ends(one):\n    return "x"', None),
        ('if text.ends(" in"):\n    return "x"\nreturn "y"', None),
    ],
)
def test_what_a_text_ends_in_wherever_an_account_speaks(body: str, ends: tuple[str, ...] | None) -> None:
    assert needed(body) == ends


@pytest.mark.parametrize(
    ("pattern", "piece", "may"),
    [
        (" lives in", " in", True),  # the token is within the pattern
        ("n", " in", True),  # and the pattern within the token
        (" Ada", "Ada", True),  # a blank may be missing at the beginning
        (" {home}", " Lane", True),
        (" {home}", "ne", True),
        (" {home}", " Oak", False),
        (" lives in", " on", False),
        ("", " on", True),
    ],
)
def test_the_last_token_tells_what_a_text_may_end_in(tmp_path: Path, pattern: str, piece: str, may: bool) -> None:
    slots = Slots(written(tmp_path, home_txt="Pine Lane\n"))
    assert slots.compiled((pattern,)).may_end(piece) is may


def test_a_class_has_each_line_once(tmp_path: Path) -> None:
    folder = written(tmp_path, names_txt="Ada\nPine Lane\n", twice_txt="Ada\nAda\n")
    assert spans("names.txt", folder).members == {"Ada", "Pine Lane"}
    with pytest.raises(AccountError, match=r"twice.txt:2: 'Ada' stands in line 1"):
        spans("twice.txt", folder)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 1", "a.py:3: 1 is no text"),
        ('return ""', "a.py:3: '' is no text"),
        ("return text + 1", "a.py:3: TypeError"),
        ('return table("none.tsv")[None]', "a.py:3: tables/none.tsv is not there"),
        ("return [", "a.py cannot be read"),
    ],
)
def test_an_error_says_its_line(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(AccountError, match=reason):
        Accounts(written(tmp_path, a=f"@account\ndef next_token(text):\n    {body}\n"), SPELLING).said(encode("Ada"))


def test_the_vocabulary_of_an_older_program_has_one_end() -> None:
    class Older:
        end = END

        def encode(self, text: str) -> list[int]:
            return encode(text)

        def decode(self, ids: list[int]) -> str:
            return "".join(WORDS[token] for token in ids)

    spelling = spelling_of(Older(), len(WORDS), False)
    assert (list(spelling.pieces), spelling.ends) == (WORDS, {END})
