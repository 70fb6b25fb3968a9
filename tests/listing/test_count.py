"""Numbers are counted wherever they hide, and where they could hide uncounted is not in the language."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.base.address import Address
from pellucid.base.errors import SourceError
from pellucid.listing.count import count_page
from pellucid.listing.language import check
from pellucid.listing.parse import read_page

HEAD = "from .prelude import constants, curve, raw, select, source, where\n"


def held(body: str, before: str = "") -> int:
    """The numbers in a source with the given body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    page = read_page(Path("layer_00.py"), {}, f'{HEAD}\n{before}\n@source("L00.H00.QK")\ndef f(query, key):\n{lines}\n')
    check(page.tree, "layer_00.py")
    return count_page(page)[Address.parse("L00.H00.QK")]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("return 0", 1),
        ('"""Free: 1, 2, 3."""\nreturn 6.2 * (key.position == query.position - 1)', 2),
        ("return -6.2", 1),
        ("return key.position[..., None]", 0),
        ('return key.token == "a"', 1),
        ('return key.token.one_of(" Ada", "it")', 3),
        ("return curve(key.position, [1, 2.5, -3])", 3),
        ("return curve(key.position, [x * x for x in [1, 2]])", 2),
        ("x = key.position\nreturn where(x == x, [x, x, x], (x, x))", 5),
        ("return [True, False, None]", 3),
        ("return {1: 2, 3: {4, 5}}", 5),
        ("return 65535", 1),
        ("return 65536", 2),
        (f"return {1 << 1000}", 63),
        ("return 0.123456789", 1),
        ("return 0.12345678901234567", 3),
        ("return sum([" + "1, " * 100 + "])", 100),
        ('return "0123456789" * 3', 6),
        ('return float("0.123456789")', 6),
        ('return "ab" "cd"', 2),
        ("return '" + "x" * 1000 + "'", 500),
        ("return '" + "語" * 10 + "'", 15),
        ("return '\\ud800\\ud801'", 3),
        ("return [[[c for c in word] for word in ['abcd', 'efgh']] for _ in range(3)]", 5),
        ("a, b = 1, 2\nreturn a if b else 3", 3),
    ],
)
def test_every_number_counts(body: str, wanted: int) -> None:
    assert held(body) == wanted


def test_constants_and_helpers_count_where_they_are_used() -> None:
    before = "TABLE = [1, 2, 3]\nUNUSED = [4, 5]\n\n\ndef helper(x):\n    return deeper(x) + 1\n\n\n"
    before += 'def deeper(x):\n    """Free, 9."""\n    return curve(x, TABLE) + 2\n\n'
    assert held("return helper(key.position)", before) == 5
    assert held("return 7", before) == 1


def test_what_is_shared_counts_once_a_file() -> None:
    text = f"{HEAD}TABLE = [1, 2, 3]\n"
    for head in (0, 1):
        text += f'\n@source("L00.H0{head}.QK")\ndef f{head}(query, key):\n    return curve(key.position, TABLE) + 4\n'
    text += 'constants("L00.IN", {3: 0.5, 70000: -1.0})\n'
    page = read_page(Path("layer_00.py"), {}, text)
    assert {str(address): numbers for address, numbers in count_page(page).items()} == {
        "L00.H00.QK": 4,
        "L00.H01.QK": 1,
        "L00.N0003.IN": 1,
        "L00.N70000.IN": 1,
    }


def test_operators_cannot_spell_a_table() -> None:
    digits = "".join(f"x = x + x{' + one' if bit == '1' else ''}\n" for bit in f"{12345678901234567890:b}")
    assert held(f"one = query.position == query.position\nx = one\n{digits}return x") >= 20


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return b'abc'", "is no number"),
        ("return 3j", "is no number"),
        ("return f'{key}'", "JoinedStr is not used"),
        ("return (lambda: 3)()", "is not the name of a function"),
        ("return f.__doc__", ".__doc__ is not an attribute"),
        ("return f.__code__.co_consts", "is not an attribute"),
        ("return int('123')", "int is not known here"),
        ("return open('x').read()", ".read() is not a method"),
        ("return eval('1')", "eval is not known here"),
        ("return getattr(key, 'x')", "getattr is not known here"),
        ("return __file__", "__file__ is not known here"),
        ("return 'a b'.split()", ".split() is not a method"),
        ("return ord('a')", "ord is not known here"),
        ("return hash('a')", "hash is not known here"),
        ("import os\nreturn 0", "Import is not used"),
        ("global x\nx = 1\nreturn x", "Global is not used"),
        ("def g():\n    return 1\nreturn g()", "FunctionDef is not used"),
        ("class A:\n    pass\nreturn 0", "ClassDef is not used"),
        ("while True:\n    pass", "While is not used"),
        ("try:\n    pass\nexcept Exception:\n    pass", "Try is not used"),
        ("with key:\n    pass", "With is not used"),
        ("key.token = 3\nreturn 0", "is not a name to assign to"),
        ("key[0] = 3\nreturn 0", "is not a name to assign to"),
        ("return (x := 3)", "NamedExpr is not used"),
        ("yield 3", "is not used"),
        ("x = 1\n'a text'\nreturn 0", "Expr is not used"),
        ("return where(**key)", "** is not used"),
        ("return {**key}", "** is not used"),
        ("where = 3\nreturn where", "where is a word of the language"),
        ("return query(3)", "query is a value here, not a function"),
        ("return nothing", "nothing is not known here"),
        ("return exp(3)", "exp is not known here, import it from .prelude"),
        ("return key.text", ".text is not an attribute"),
        ("return raw('L00.H00.QK')", "raw is not known here"),
        ("return [exec for exec in [1]][0].real", ".real is not an attribute"),
    ],
)
def test_what_is_not_in_the_language(code: str, said: str) -> None:
    with pytest.raises(SourceError) as error:
        held(code)
    assert said in str(error.value)
    assert str(error.value).startswith("layer_00.py:")


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ("import os", "only the prelude may be imported"),
        ("from numpy import load", "only the prelude may be imported"),
        ("from .layer_01 import TABLE", "only the prelude may be imported"),
        ("from .prelude import np", "the prelude has no np to import"),
        ("from .prelude import where as w", "the prelude has no where as w"),
        ("from .prelude import *", "the prelude has no *"),
        ("print(3)", "does not belong at the top of a file"),
        ("x: int = 3", "does not belong at the top of a file"),
        ("TABLE = open('x')", "open is not known here"),
        ("def f(query, key):\n    return 1", "f is defined twice"),
        ("def g(x=[1, 2, 3]):\n    return x", "arguments are plain names"),
        ("def g(*x):\n    return x", "arguments are plain names"),
        ("def g(x: 'table'):\n    return x", "arguments are plain names"),
        ("def g(x) -> 3:\n    return x", "g has an annotation"),
        ("@where(1)\ndef g(x):\n    return x", "the only decorator is @source"),
        ("def where(x):\n    return x", "where is a word of the language"),
        ("class A:\n    pass", "does not belong at the top of a file"),
        ("for x in range(3):\n    raw('L00.LN1')", "does not belong at the top of a file"),
    ],
)
def test_what_does_not_belong_at_the_top(top: str, said: str) -> None:
    with pytest.raises(SourceError) as error:
        held("return 0", f"{top}\n\n\n")
    assert said in str(error.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(SourceError, match=r"line 6: .*; line 7: .*; line 8: .*\(and 1 more\)"):
        held("a = open(1)\nb = eval(2)\nc = exec(3)\nreturn 4j")
