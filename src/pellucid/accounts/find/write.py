"""Behaviours as the text of accounts: one file each, with the tables and classes that they use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pellucid.accounts.find.choose import Board, FoundRule
from pellucid.accounts.find.features import Guard, Vocabulary
from pellucid.accounts.find.program import Behaviour, ReturnBlock, meet
from pellucid.accounts.find.spelling import FreeNames, Spelled
from pellucid.accounts.find.variables import quoted
from pellucid.accounts.language import COLUMNS, SHARED, TABLES

WIDE = 112
MARKS = (".", "?", "!")
TWO = 2
"""Answers of a table that is written as a condition: whether the key is of a class."""
FEWEST_KEYS = 8
"""Keys of such a table, at least."""


Branch = tuple[tuple[Guard, ...], str]
"""Conditions, and what is said where they hold."""


@dataclass(frozen=True)
class Body:
    """The rules of an account as text, and by name the functions of the variables that they ask for."""

    rules: str
    functions: dict[str, str]


def _imports(module: str, names: Sequence[str]) -> list[str]:
    """The statement that imports names, on as many lines as it takes."""
    if not names:
        return []
    if len(line := f"from .{module} import {', '.join(names)}") <= WIDE:
        return [line]
    return [f"from .{module} import (", *(f"    {name}," for name in names), ")"]


def _parted(said: Sequence[Branch]) -> tuple[list[Guard], list[Branch], list[Branch]]:
    """The first condition of the first branch, the branches on which it holds, and those on which it fails."""
    guard = said[0][0][0]
    holds = [(guards[1:], answer) for guards, answer in said if guards[0] == guard]
    return [guard], holds, [(guards[1:], answer) for guards, answer in said if guards[0] != guard]


def _said_by(block: ReturnBlock) -> tuple[object, ...]:
    """What tells whether blocks say the same thing."""
    rule = block.rules[0]
    return rule.variable, rule.label, rule.table


def _tested(word: str, conditions: Sequence[str]) -> list[str]:
    """A test behind an indented `word` such as `if`: a line, or where it gets long one for each condition."""
    if len(line := f"{word} {' and '.join(conditions)}:") <= WIDE or len(conditions) == 1:
        return [line]
    gap = " " * (len(word) - len(word.lstrip()))
    first, *others = conditions
    return [f"{word} (", f"{gap}    {first}", *(f"{gap}    and {other}" for other in others), f"{gap}):"]


@dataclass
class AccountFiles:
    """Files by name: accounts, tables, classes; what accounts share; and for each table which one it was found as."""

    accounts: dict[str, str] = field(default_factory=dict)
    shared: str = ""
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)
    found_as: dict[str, int] = field(default_factory=dict)

    def add_last(
        self, title: str, head: Sequence[str], body: Sequence[str], tables: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Set one more account behind all others: the lines above and within its function, and its tables by name."""
        before = max(self.accounts, default="0_").partition("_")[0]
        text = "\n".join([*head, "", "", "@account", "def next_token(text):", *body, ""])
        self.accounts[f"{int(before) + 1:0{len(before)}d}_{title}.py"] = text
        for name, lines in tables.items():
            self.tables[f"{name}.tsv"] = [COLUMNS, *([key, said] for key, said in sorted(lines.items()))]

    def texts(self) -> dict[str, str]:
        """All files by their names in the folder of accounts."""
        found = self.accounts | ({SHARED: self.shared} if self.shared else {})
        for name, rows in self.tables.items():
            found[f"{TABLES}/{name}"] = "".join("\t".join(row) + "\n" for row in rows)
        for name, members in self.classes.items():
            found[f"{TABLES}/{name}"] = "".join(f"{member}\n" for member in members)
        return found


@dataclass
class Writer:
    """Writes behaviours; the same table or class is written once."""

    board: Board
    known: Vocabulary
    spelled: Spelled
    names: FreeNames
    lines: Mapping[int, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """For tables that were filled by asking: answer and what else is known of it, by key."""
    shares: bool = True
    """Whether variables that several files ask for are written once, for all of them."""
    written: AccountFiles = field(default_factory=AccountFiles)
    _tables: dict[int, str] = field(default_factory=dict)
    _sides: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    _named: dict[str, str] = field(default_factory=dict)
    """The functions of the variables of the file that is being written."""

    def all(self, behaviours: Sequence[Behaviour]) -> AccountFiles:
        """The files of all behaviours, named so that the later one counts; two more may be set behind them."""
        width = len(str(len(behaviours) + 2))
        found = {number: body for number, one in enumerate(behaviours, start=1) if (body := self._body(one))}
        often = Counter(name for body in found.values() for name in body.functions)
        shared = {name for name, count in often.items() if count > 1} if self.shares else set()
        for number, body in found.items():
            behaviour = behaviours[number - 1]
            text = self._file(self._about(behaviour), body, shared)
            self.written.accounts[f"{number:0{width}d}_{self._title(behaviour)}.py"] = text
        if shared:
            functions = {name: text for body in found.values() for name, text in body.functions.items()}
            self.written.shared = self._sharing({name: functions[name] for name in functions if name in shared})
        return self.written

    def _title(self, behaviour: Behaviour) -> str:
        rule = behaviour.blocks[0].rules[0]
        kind = behaviour.key[0]
        if kind == "table" and rule.variable is not None and rule.variable.of is not None:
            return self.names.free(["about", self.spelled.names[rule.variable.of]], "about")
        if kind == "copy" and rule.variable is not None:
            return self.names.free(["copies", self._said(rule)], "copies")
        if kind == "guarded":
            return self.names.free(["behind", self.spelled.pattern(rule.pattern)], "behind_marks")
        return self.names.free([kind], kind)

    def _said(self, rule: FoundRule) -> str:
        assert rule.variable is not None
        return self.spelled.variable(rule.variable).replace("text.", "").replace("()", "")

    def _body(self, behaviour: Behaviour) -> Body | None:
        """The rules of a behaviour, and the variables that they ask for; None where nothing can be said."""
        self._named.clear()
        rules = list(self._tree(behaviour) if behaviour.key[0] == "guarded" else self._rules(behaviour))
        text = "\n".join(rules)
        return Body(text, self._named | self._functions(text)) if rules else None

    def _file(self, about: str, body: Body, shared: Collection[str]) -> str:
        own = {name: text for name, text in body.functions.items() if name not in shared}
        names = [name for name in body.functions if name in shared]
        account = ["@account", "def next_token(text):", body.rules, ""]
        return "\n".join([*self._head(about, body.rules, own, names), *account])

    def _sharing(self, functions: Mapping[str, str]) -> str:
        """The file of the variables that others import."""
        return "\n".join(self._head("Variables that several accounts ask for.", "", functions, [])).rstrip("\n") + "\n"

    def _rules(self, behaviour: Behaviour) -> Iterator[str]:
        for number, block in enumerate(behaviour.blocks, start=1):
            answer = self._answer(block.rules[0])
            yield from self._beside(block)
            if answer is not None:
                others = self._meets(block, behaviour.blocks[number:])
                yield self._block(block, answer[0], answer[1] if others else "")

    def _meets(self, block: ReturnBlock, others: Sequence[ReturnBlock]) -> bool:
        """Whether a text may end in patterns of a block and of one of the `others` that says something else."""
        differing = [rule for one in others for rule in one.rules if _said_by(one) != _said_by(block)]
        pairs = ((rule.pattern, other.pattern) for rule in block.rules for other in differing)
        return any(meet(mine, yours, self.known.classes) for mine, yours in pairs)

    def _beside(self, block: ReturnBlock) -> Iterator[str]:
        """The lines of a table that no table can hold, such as those about quotes, as conditions."""
        rule = block.rules[0]
        if rule.table < 0 or rule.variable is None or rule.table in self.lines or self._two(rule):
            return
        variable = self._variable(rule)
        for key, label in self.board.tables[rule.table].lines.items():
            said = self.spelled.answer(label)
            if said is not None and None in (self.spelled.cell(key), self.spelled.cell(label)):
                yield self._block(block, said, f"{variable} == {quoted(self.spelled.words.texts[key])}")

    def _tree(self, behaviour: Behaviour) -> Iterator[str]:
        """What a pattern is gone on with, by what else holds of the text."""
        rules = [rule for block in behaviour.blocks for rule in block.rules]
        said = [(rule.guards, answer[0]) for rule in rules if (answer := self._answer(rule)) is not None]
        if said:
            yield f"    if {self._patterns(ReturnBlock(rules[:1], 0), ', ')}:"
            yield from self._branches(said, 2)

    def _branches(self, said: Sequence[Branch], depth: int, joins: bool = False) -> Iterator[str]:
        """The conditions of a tree, by the first of what is left of each; `joins` what stands before in one chain."""
        gap = "    " * depth
        if not said[0][0]:
            yield from [f"{gap}else:"] * joins
            yield f"{gap}{'    ' * joins}return {said[0][1]}"
            return
        conditions, holds, fails = _parted(said)
        while not fails and holds[0][0] and not _parted(holds)[2]:
            more, holds, fails = _parted(holds)
            conditions += more
        if fails and len(fails) < len(holds):
            conditions, holds, fails = [conditions[0].other()], fails, holds
        yield from _tested(f"{gap}{'el' if joins else ''}if", [*map(self.spelled.guard, conditions)])
        yield from self._branches(holds, depth + 1)
        if fails:
            yield from self._branches(fails, depth, joins=True)

    def _block(self, block: ReturnBlock, answer: str, needs: str) -> str:
        if not any(rule.pattern for rule in block.rules):
            return f"    return {answer}"
        others = [*(self.spelled.guard(guard) for guard in block.rules[0].guards), needs]
        conditions = [self._patterns(block, ", "), *others]
        line = f"    if {' and '.join(part for part in conditions if part)}:"
        if len(line) > WIDE:
            conditions = [self._patterns(block, ",\n        "), *others]
            line = f"    if {' and '.join(part for part in conditions if part)}:"
        return f"{line}\n        return {answer}"

    def _patterns(self, block: ReturnBlock, between: str) -> str:
        ends = self.board.features.stream.words.spelling.ends
        pieces = {self.board.features.stream.words.numbers.get(self.spelled.words.spelling.pieces[end]) for end in ends}
        begins = [rule for rule in block.rules if rule.pattern and rule.pattern[-1] in pieces]
        texts = [
            self.spelled.pattern(rule.pattern)
            for rule in block.rules
            if rule.pattern and rule.pattern[-1] not in pieces
        ]
        parts = ["not len(text)"] if begins else []
        if texts:
            around = ("\n        ", ",\n    ") if "\n" in between else ("", "")
            parts.append(
                f"text.ends({around[0]}{between.join(map(quoted, sorted(dict.fromkeys(texts), key=len)))}{around[1]})"
            )
        joined = " or ".join(parts)
        return f"({joined})" if len(parts) > 1 and block.rules[0].guards else joined

    def _answer(self, rule: FoundRule) -> tuple[str, str] | None:
        """What a block returns, and what has to hold for it besides; None where the language cannot say it."""
        if rule.variable is None:
            said = self.spelled.answer(rule.label)
            return None if said is None else (said, "")
        variable = self._variable(rule)
        if rule.table < 0:
            return variable, ""
        if sides := self._two(rule):
            name, one, other = sides
            return f"{one} if {variable} in {name.upper()} else {other}", ""
        name = self.table(rule.table, rule).upper()
        return f"{name}[{variable}]", "" if self._is_whole(rule) else f"{variable} in {name}"

    def _is_whole(self, rule: FoundRule) -> bool:
        """Whether a table has a line for all that it might be asked for."""
        assert rule.variable is not None
        if rule.variable.of is None:
            return False
        members = self.known.classes[rule.variable.of].members
        if rule.table in self.lines:
            return all(self.spelled.words.texts[member] in self.lines[rule.table] for member in members)
        return self.board.tables[rule.table].lines.keys() >= set(members)

    def _variable(self, rule: FoundRule) -> str:
        """A variable as a rule asks for it: those of classes and of what stood elsewhere as functions of their own."""
        assert rule.variable is not None
        says = self.spelled.variable(rule.variable)
        if "(text)" in says or (rule.variable.of is None and rule.table >= 0):
            return says
        parts = re.findall(r"\w+", says.removeprefix("text."))
        name = "_".join(part.lower() for part in parts)
        name = name if name not in {*self.spelled.names, *self._tables.values()} else f"{name}_here"
        self._named[name] = "\n".join(
            ["@variable()", f"def {name}(text):", f'    """{_meaning(says)}"""', f"    return {says}"]
        )
        return f"{name}(text)"

    def _two(self, rule: FoundRule) -> tuple[str, str, str] | None:
        """A table of two answers as a class and both of them."""
        if rule.table in self._sides:
            return self._sides[rule.table]
        lines = self.board.tables[rule.table].lines
        groups: dict[int, list[int]] = {}
        for key, label in lines.items():
            groups.setdefault(label, []).append(key)
        if rule.variable is None or rule.variable.of is None:
            return None
        if len(groups) != TWO or len(lines) < FEWEST_KEYS or rule.table in self.lines:
            return None
        (one, keys), (other, _) = sorted(groups.items(), key=lambda entry: len(entry[1]))
        said = [self.spelled.answer(label) for label in (one, other)]
        if said[0] is None or said[1] is None:
            return None
        members = sorted(self.spelled.words.texts[key] for key in keys)
        name = next((name for name, known in self.written.classes.items() if known == members), None)
        if name is None:
            name = self.names.free(["says", said[0]], "class") + ".txt"
            self.written.classes[name] = members
        self._sides[rule.table] = (name.removesuffix(".txt"), said[0], said[1])
        return self._sides[rule.table]

    def table(self, number: int, rule: FoundRule) -> str:
        """The name of a table, which is written if it is not yet."""
        if number not in self._tables:
            texts = self.spelled.words.texts
            name = self.names.free([texts[element] if element >= 0 else "" for element in rule.pattern], "table")
            if name.startswith("table"):
                name = self.names.free([self.spelled.pattern(rule.pattern), "by", self._said(rule)], "table")
            self._tables[number] = name
            self.written.found_as[f"{name}.tsv"] = number
            self.written.tables[f"{name}.tsv"] = self._rows(number)
        return self._tables[number]

    def _rows(self, number: int) -> list[list[str]]:
        if number in self.lines:
            return [
                ["key", "answer", "agreement", "margin", "told"],
                *([key, *line] for key, line in self.lines[number].items()),
            ]
        rows = []
        for key, label in self.board.tables[number].lines.items():
            cells = self.spelled.cell(key), self.spelled.cell(label)
            if (cells[0] is not None and cells[1] is not None and label != key) or (
                cells[0] is not None and cells[1] is not None
            ):
                rows.append([cells[0], cells[1]])
        return [["key", "answer"], *sorted(rows)]

    def _head(self, about: str, body: str, functions: Mapping[str, str], shared: Sequence[str]) -> Iterator[str]:
        """Docstring, imports, and the tables, classes and functions that the rules name."""
        text = "\n".join([body, *functions.values()])
        self._slots(text)
        said = {"account": bool(body), "joined": "joined(" in text, "variable": bool(functions)}
        yield from (f'"""{about}"""', "", *_imports("language", [word for word, is_said in said.items() if is_said]))
        yield from _imports("tables", [*self._named_in(text)])
        yield from _imports(SHARED.removesuffix(".py"), shared)
        yield ""
        for function in functions.values():
            yield from ("", function, "")
        yield ""

    def _named_in(self, text: str) -> Iterator[str]:
        """The classes and tables that a text names; classes are kept to be written."""
        for name, group in zip(self.spelled.names, self.known.classes, strict=True):
            if re.search(rf"\b{name.upper()}[),]", text):
                members = [self.spelled.words.texts[member] for member in group.members]
                self.written.classes[f"{name}.txt"] = members
                yield name.upper()
        for name in self._tables.values():
            if re.search(rf"\b{name.upper()}\[", text):
                yield name.upper()
        for name in dict.fromkeys(name for name, _, _ in self._sides.values()):
            if re.search(rf"\bin {name.upper()} else", text):
                yield name.upper()

    def _slots(self, text: str) -> None:
        for name, group in zip(self.spelled.names, self.known.classes, strict=True):
            if f"{{{name}}}" in text:
                self.written.classes[f"{name}.txt"] = [self.spelled.words.texts[member] for member in group.members]

    def _about(self, behaviour: Behaviour) -> str:
        """What a file is about, in a sentence."""
        kind, rule = behaviour.key[0], behaviour.blocks[0].rules[0]
        number = sum(len(block.rules) for block in behaviour.blocks)
        behind = f"behind {number} {'pattern' if number == 1 else 'patterns'}"
        if kind == "table" and rule.variable is not None and rule.variable.of is not None:
            tables = {rule.table for block in behaviour.blocks for rule in block.rules}
            count = f"{len(tables)} {'table' if len(tables) == 1 else 'tables'}"
            return f"What goes with {self.spelled.names[rule.variable.of].upper()}: {count}, {behind}."
        if kind == "copy" and rule.variable is not None:
            return f"Says again {self._meant(rule)}: {behind}."
        if kind == "guarded":
            return f"What comes next behind {self.spelled.pattern(rule.pattern).strip()}, by what else the text has."
        return f"What always comes next: {behind}."

    def _meant(self, rule: FoundRule) -> str:
        """What a variable is, within a sentence."""
        assert rule.variable is not None
        says = self.spelled.variable(rule.variable)
        state = re.fullmatch(r"state_(\d+)\(text\)", says)
        if state is not None:
            return f"which {self.spelled.names[self.known.folds[int(state[1])].of]} the sentences so far leave"
        meaning = _meaning(says).rstrip(".")
        return f"{meaning[0].lower()}{meaning[1:]}"

    def _functions(self, body: str) -> dict[str, str]:
        """The states and counts that rules ask for."""
        states = {f"state_{number}": self._state(number) for number in range(len(self.known.folds))}
        counts = {
            f"counted_{number}": _counting(number, [quoted(self.spelled.plain(word)) for word in tally.without])
            for number, tally in enumerate(self.known.counters)
        }
        return {name: text for name, text in (states | counts).items() if f"{name}(text)" in body}

    def _state(self, number: int) -> str:
        fold = self.known.folds[number]
        name = self.spelled.names[fold.of]
        by: dict[int, list[str]] = {}
        for kind, member in fold.changes:
            by.setdefault(member, []).append(self.spelled.pattern(kind))
        changes = [
            line
            for member, patterns in sorted(by.items())
            for line in (
                f"        if s.ends({', '.join(map(quoted, patterns))}):",
                f"            found = s.nth({name.upper()}, {member + 1})",
            )
        ]
        head = ["@variable()", f"def state_{number}(text):", f'    """Which {name} the sentences so far leave."""']
        return "\n".join([*head, "    found = None", "    for s in text.sentences():", *changes, "    return found"])


_ORDER = {"-2": "last but one", "-3": "last but two"}


def _meaning(says: str) -> str:
    """What a variable is, in words."""
    where = "sentence" if ".sentence()" in says else "text"
    call = re.search(r"\.(\w+)\(([^()]*)\)$", says)
    assert call is not None
    method, given = call.group(1), call.group(2)
    name, _, number = given.partition(", ")
    return (
        {
            "last": f"The last of {name} in the {where}.",
            "first": f"The first of {name} in the {where}.",
            "second": f"The first of {name} in the {where} that is another than the very first.",
            "other": f"The last of {name} in the {where} that is another than the very last.",
            "nth": f"The {_ORDER.get(number, number)} of {name} in the {where}.",
            "again": f"The word that followed when the last {_words(given)} stood there before.",
            "behind": f"The word that stood behind {given}.",
            "word": f"The word {given} from the end.",
            "opened": "The mark that was opened and not closed.",
        }[method]
        .replace('"', "'")
        .replace("\\", "")
    )


def _words(number: str) -> str:
    """So many words, of which the last is one."""
    return "word" if number == "1" else f"{number} words"


def _counting(number: int, without: Sequence[str]) -> str:
    """A function that counts the sentences without some words."""
    condition = f"s.ends({', '.join(map(quoted, MARKS))})"
    ending = f" and not s.has({', '.join(without)})" if without else ""
    about = "How many sentences there are" + (", but for those with certain words" if without else "")
    lines = ["@variable()", f"def counted_{number}(text):", f'    """{about}."""', "    return sum("]
    return "\n".join(
        [*lines, "        1", "        for s in text.sentences()", f"        if {condition}{ending}", "    )"]
    )
