"""The text of a program: one function a look, one that answers, no weights."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pellucid.base.nulls import nulled
from pellucid.listing.numbers import numbers
from pellucid.weightless.branches import WIDTH, Branches, if_lines
from pellucid.weightless.language import Alphabet, Look, Walk, WeightlessProgram

QUOTES = '"""'
_PRELUDE = Path(__file__).with_name("prelude.py")


def plain(text: str) -> str:
    """`text` without what could end a string or a docstring."""
    return "".join(c if c.isprintable() and c not in '\\"' else "?" for c in text)


def number_text(value: float) -> str:
    """A number with the digits it needs: four."""
    text = f"{value:.4g}"
    return repr(float(text)) if "e" in text else text


def program_text(program: WeightlessProgram, title: str) -> str:
    """`program.py`."""
    body = "\n\n".join([*(_look(look, program) for look in program.looks), *_state(program), *_answer(program)])
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    ids = {name: at for at, name in enumerate(program.alphabet.names) if name in used}
    constants = "\n".join(f"{name} = {id}" for name, id in ids.items())
    constants += "".join(f"\n{name} = {_table(values)}" for name, values in program.tables.items())
    looks = ", ".join(f'"{name}": {name}' for name in _values(program))
    imports = "from .prelude import attend" if program.looks else "from .prelude import follow" if program.walk else ""
    calls = [name for name in ("log", "maximum", "minimum") if re.search(rf"\b{name}\(", body)]
    numpy = f"from numpy import {', '.join(calls)}" if calls else ""
    head = "\n".join(line for line in (numpy, imports) if line)
    about = ["\n".join(textwrap.wrap(line, WIDTH)) for line in program.notes.get("", "").split("\n")]
    parts = [f'"""{plain(title)}', *about, '"""', "", head, "", constants, "", ""]
    text = "\n".join(parts) + "\n" + body + f"\n\n\nLOOKS = {{{looks}}}\n"
    return re.sub(r"\n{4,}", "\n\n\n", text)


def _values(program: WeightlessProgram) -> list[str]:
    return [look.name for look in program.looks] + (["state"] if program.walk else [])


def _state(program: WeightlessProgram) -> list[str]:
    """The table of an automaton, and the function that follows it."""
    if program.walk is None:
        return []
    rows = [f"    {program.alphabet.names[token]}: {_states(after)}," for token, after in program.walk.after.items()]
    lines = ["AFTER = {", *rows, "}", "", "", "def state(query, key, values):", *_docstring("state", program)]
    return ["\n".join([*lines, '    return follow(values["token"], AFTER)']) + "\n"]


def _states(states: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, states)) + ("," if len(states) == 1 else "") + ")"


def _table(values: tuple[float, ...]) -> str:
    text = ", ".join(number_text(value) for value in values) + ","
    return f"({text})" if len(text) < 100 else "(\n    " + "\n    ".join(textwrap.wrap(text, WIDTH - 4)) + "\n)"


def _look(look: Look, program: WeightlessProgram) -> str:
    numbers = ", ".join(f'"{name}": {text}' for name, text in look.numbers)
    lines = [f"def {look.name}(query, key, values):", *_docstring(look.name, program)]
    if any("distance" in text for text in [t.text for t in look.terms] + [text for _, text in look.numbers]):
        lines.append("    distance = query.position - key.position")
    if look.terms:
        lines += [
            "    scores = (",
            *(f"        {_term(t.text, t.weight, at)}" for at, t in enumerate(look.terms)),
            "    )",
        ]
    else:
        lines.append("    scores = 0")
    lines.append(f"    return attend(scores, values, {len(program.alphabet.texts)}, {{{numbers}}})")
    return "\n".join(lines) + "\n"


def _docstring(name: str, program: WeightlessProgram) -> list[str]:
    note = program.notes.get(name, "")
    wrapped = [piece for line in note.split("\n") for piece in (textwrap.wrap(line, WIDTH - 8) or [""])]
    if not note:
        return []
    first, *rest = (f"    {piece}".rstrip() for piece in wrapped)
    closing = ['    """'] if rest else []
    return [f'    """{first.strip()}{"" if rest else QUOTES}', *rest, *closing]


def _term(text: str, weight: float, at: int) -> str:
    sign = "-" if weight < 0 else "+" if at else ""
    factor = f"({text})" if re.search(r" [=<>&+-]{1,2} ", text) else text
    size = number_text(abs(weight))
    product = factor if size == "1" else f"{size} * {factor}"
    return f"{sign} {product}".strip()


def _answer(program: WeightlessProgram) -> list[str]:
    """The function that answers, and those that it calls."""
    arguments = ["token", "position", *_values(program)]
    branches = Branches(program.tree, program.questions, program.choices, arguments)
    decided = _by_state(program, program.walk) if program.walk else branches.body
    first = [f"def answer({', '.join(arguments)}):", *_docstring("answer", program), *decided]
    return ["\n".join(lines) + "\n" for lines in (first, *branches.functions)]


def _by_state(program: WeightlessProgram, walk: Walk) -> list[str]:
    """What is said in each state; what is said in most states comes last, without a question."""
    groups = {said: [state for state, other in enumerate(walk.says) if other == said] for said in walk.says}
    *first, last = sorted(groups, key=lambda said: (len(groups[said]), said))
    asked = [
        [*if_lines(f"state {_among(groups[said])}", 1), f"        return {program.choices[said]}"] for said in first
    ]
    return [*(line for pair in asked for line in pair), f"    return {program.choices[last]}"]


def _among(states: Sequence[int]) -> str:
    return f"== {states[0]}" if len(states) == 1 else f"in {_states(states)}"


def load(text: str) -> ModuleType:
    """The program as a module. Only text that was emitted here is run."""
    module = ModuleType("weightless_program")
    from pellucid.weightless import prelude

    code = re.sub(r"^from \.prelude import \w+$", "", text, flags=re.MULTILINE)
    scope: dict[str, Any] = vars(module)
    scope |= {"attend": prelude.attend, "follow": prelude.follow}
    exec(compile(code, "program.py", "exec"), scope)
    return module


def count(text: str) -> int:
    """How many numbers a program holds, counted as in every source: docstrings are free, named constants count."""
    tree = ast.parse(text)
    held = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LOOKS":
            continue
        held += numbers(node)
    return held


def lines(text: str) -> int:
    """Lines that are code: not empty, no docstring."""
    tree = ast.parse(text)
    kept: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            kept.add(node.lineno)
            if isinstance(node, ast.Assign | ast.Return):
                kept |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(kept)


def files(program: WeightlessProgram, text: str) -> dict[str, str]:
    """The files of the package that runs `text`, the program as printed."""
    return {
        "program/program.py": text,
        "program/prelude.py": _PRELUDE.read_text(encoding="utf-8"),
        "program/__main__.py": _MAIN,
        "program/__init__.py": '"""Read `program.py`; run it with `python -m program "…"`."""\n',
        "program/vocabulary.json": _vocabulary(program.alphabet, program.answer),
    }


def _vocabulary(alphabet: Alphabet, answer: str) -> str:
    data = {"tokens": list(alphabet.texts), "numbers": [int(n) for n in alphabet.number], "answer": answer}
    return json_text(data)


def json_text(data: Any, indent: int | None = None) -> str:
    """`data` as JSON that UTF-8 can hold: halves of characters are written as escapes."""
    text = json.dumps(nulled(data), indent=indent, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text) + "\n"


_MAIN = '''"""python -m program "<bos> a b": what comes next after every token of a row (blanks between)."""

import json
import sys
from pathlib import Path

import numpy as np

from . import prelude, program


def said(words):
    """Every word of a row with what comes next after it. Raises `ValueError` for what is no row of its tokens."""
    data = json.loads(Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8"))
    tokens = data["tokens"]
    unknown = [word for word in words if word not in tokens]
    if unknown or not words:
        reason = f"{unknown[0]!r} is not one of its tokens" if unknown else "give a row of tokens"
        raise ValueError(f'{reason}; they are {" ".join(tokens[:12])} …')
    row = np.array([tokens.index(word) for word in words])
    values = prelude.run(program.LOOKS, row, np.array(data["numbers"]))
    found = []
    for place, word in enumerate(words):
        answer = program.answer(**{name: values[name][place] for name in ("token", "position", *program.LOOKS)})
        ids = sorted(answer) if isinstance(answer, (set, tuple)) else [int(answer)]
        found.append((word, " ".join(tokens[id] for id in ids)))
    return found


def main():
    try:
        found = said(" ".join(sys.argv[1:]).split())
    except ValueError as error:
        sys.exit(f"program: {error}")
    for place, (word, answer) in enumerate(found):
        print(f"{place:4}  {word:8} -> {answer}")


if __name__ == "__main__":
    main()
'''
