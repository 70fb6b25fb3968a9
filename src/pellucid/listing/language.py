"""The closed language of `embedding.py` and the layer files: what their text may contain, checked without running it.

A file holds statements about addresses, helper functions and named constants, in terms of the prelude and a few
builtins. Everything else is refused: other imports, attributes that reach into Python or NumPy, text operations,
defaults and annotations. It keeps sources readable, and it leaves no place to hide a table where it is not counted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from pellucid.base.errors import SourceError
from pellucid.base.memory import kept_until_release
from pellucid.program import prelude, wires
from pellucid.program.values import norm_of, read_fired, read_seen

STATEMENTS = frozenset(
    {"raw", "source", "fires", "constants", "linear", "lifted", "channels", "mean", "means", "about"}
    | {"value", "kind", "edit", "base"}
)
RESERVED = STATEMENTS - {"fires", "about"}
"""Those that name nothing else; the others may be names of arguments, tokens, and functions of pages without them."""
CALLED = (STATEMENTS - {"source", "value", "kind", "edit", "base"}) | (frozenset(wires.__all__) - {"coordinates"})
"""Those that are calls at the top of a page."""
OWN: dict[str, str] = {}
"""The words that forms bring, by the module of a program that they are imported from; see `word.py`."""
WORDS = frozenset(prelude.__all__) - STATEMENTS
"""What the prelude gives to sources."""
BUILTINS = frozenset({"abs", "all", "any", "enumerate", "float", "len", "max", "min", "range", "round", "sum", "zip"})
PLACES = frozenset({"token", "previous", "position", "before", "one_of", "ids"})
ARRAYS = frozenset({"all", "any", "argmax", "argmin", "clip", "cumsum", "max", "mean", "min", "shape", "sum"})
ASKED = frozenset({"query", "key", "here", "seen", "fired", "fires", "pattern"})
"""What sources and values ask for by the names of their arguments."""
METHODS = (PLACES | ARRAYS) - {"token", "previous", "position", "ids", "shape"}

_OPERATIONS = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.IfExp)
_OPERATORS = (ast.operator, ast.boolop, ast.unaryop, ast.cmpop, ast.expr_context)
_COLLECTIONS = (ast.Tuple, ast.List, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_OTHERS = (ast.comprehension, ast.keyword, ast.Starred, ast.Subscript, ast.Slice)
_BODY = (ast.Assign, ast.AugAssign, ast.Return, ast.If, ast.For, ast.Pass)
_PLAIN = (*_OPERATIONS, *_OPERATORS, *_COLLECTIONS, *_OTHERS, *_BODY)


def check(
    tree: ast.Module,
    file: str,
    kinds: Collection[str] | None = None,
    decorators: frozenset[str] = frozenset({"source"}),
) -> None:
    """Raise `SourceError` naming file and line of everything in a page that is not in the language.

    `kinds` are those that `words.py` defines; None leaves open which they are. `decorators` may stand above functions.
    """
    refuse(list(_Checker(tree, kinds, decorators, beside_of(file)).page()), file)


def beside_of(file: str) -> str:
    """The module of the layer that a page describes, which it may import named values from; empty for others."""
    layer = re.fullmatch(rf"{prelude.DESCRIBED}(\d+)\.py", file)
    return f"layer_{layer[1]}" if layer else ""


def refuse(wrong: Sequence[tuple[int, str]], file: str) -> None:
    """Raise `SourceError` naming the first few of the lines and reasons `wrong`, if there are any."""
    if wrong:
        said = "; ".join(f"line {line}: {reason}" for line, reason in wrong[:3])
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise SourceError(f"{file}:{wrong[0][0]}: not in the language of sources: {said}{more}")


def definitions(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.Assign]:
    """The helper functions, sources and named constants of a page."""
    found: dict[str, ast.FunctionDef | ast.Assign] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def is_value(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    """Whether a statement defines a named value."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(isinstance(decorator, ast.Name) and decorator.id == "value" for decorator in decorators)


def told(node: ast.FunctionDef) -> frozenset[str]:
    """The named values that a function asks for which says where a head looks; none for any other function."""
    calls = [decorator for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    addresses = [arg.value for call in calls for arg in call.args if isinstance(arg, ast.Constant)]
    looks = any(isinstance(address, str) and address.endswith(".QK") for address in addresses)
    return frozenset(arg.arg for arg in node.args.args) - ASKED if looks else frozenset()


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a text alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def reachable(name: str, defined: Mapping[str, ast.FunctionDef | ast.Assign]) -> list[str]:
    """The definitions that `name` uses, directly or through others, itself first."""
    found = [name]
    for current in found:
        used = inside(defined[current]).names
        found += [o for o in used if o in defined and o not in found and not is_value(defined[o])]  # an argument
    return found


@dataclass(frozen=True)
class Inside:
    """What stands in what counts of a definition."""

    names: dict[str, None]
    """All names, in their order."""
    stored: frozenset[str]
    """Those that are bound there."""
    calls: list[ast.Call]
    """The calls by a name."""
    nodes: int
    """How much syntax it is."""


@kept_until_release(4096)
def inside(node: ast.FunctionDef | ast.Assign) -> Inside:
    """What stands in a definition; kept, for walking is slow."""
    parts = [part for one in contents(node) for part in ast.walk(one)]
    names = [part for part in parts if isinstance(part, ast.Name)]
    stored = frozenset(name.id for name in names if isinstance(name.ctx, ast.Store))
    calls = [part for part in parts if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)]
    return Inside(dict.fromkeys(name.id for name in names), stored, calls, len(parts))


def contents(node: ast.FunctionDef | ast.Assign) -> list[ast.AST]:
    """What counts of a definition: a constant's value, a function's body without its docstring."""
    if isinstance(node, ast.Assign):
        return [node.value]
    return [*node.body[1:]] if is_docstring(node.body[0]) else [*node.body]


Wrong = tuple[int, str]


@dataclass
class _Checker:
    """What is wrong with a page, as lines and reasons."""

    tree: ast.Module
    kinds: Collection[str] | None = None
    """What `words.py` defines, None where that is not known."""
    decorators: frozenset[str] = frozenset({"source"})
    beside: str = ""
    """The module that it may import named values from, if any."""
    known: set[str] = field(default_factory=set)
    """The functions and constants that a source may use."""
    imported: set[str] = field(default_factory=set)
    """The kinds that the page imports."""
    values: set[str] = field(default_factory=set)
    """The named values that the page defines."""
    asked: frozenset[str] = frozenset()
    """Of the function that is being checked, if it is a value: `seen` and `fired` where it asks for them."""
    others: frozenset[str] = frozenset()
    """The other values that it asks for."""
    told: frozenset[str] = frozenset()
    """Of a function that says where a head looks: the values that it asks for."""

    def page(self) -> Iterator[Wrong]:
        """Check all of it."""
        words = [node for node in self.tree.body if isinstance(node, ast.ImportFrom) and node.module == "words"]
        self.imported = {alias.name for node in words for alias in node.names}
        self.values = {node.name for node in self.tree.body if is_value(node)}
        imported = {alias.name for node in self.tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        defined: set[str] = set(self.imported)
        for node in self.tree.body:
            name = ""
            if isinstance(node, ast.FunctionDef):
                name = node.name
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
            if name:
                yield from self._binding(name, node.lineno)
                if name in defined | (imported & STATEMENTS):
                    yield node.lineno, f"{name} is defined twice"
                defined.add(name)
        self.known = (defined - self.values) | (imported & WORDS) | BUILTINS
        for number, node in enumerate(self.tree.body):
            if not (number == 0 and is_docstring(node)):
                yield from self._top(node)

    def _top(self, node: ast.stmt) -> Iterator[Wrong]:
        match node:
            case ast.ImportFrom(module="prelude", level=1):
                for alias in node.names:
                    if alias.name not in prelude.__all__ or alias.asname:
                        yield node.lineno, f"the prelude has no {ast.unparse(alias)} to import"
            case ast.ImportFrom(module="wires", level=1):
                for alias in node.names:
                    if alias.name not in wires.__all__ or alias.asname:
                        yield node.lineno, f"wires.py has no {ast.unparse(alias)} to import"
            case ast.ImportFrom(module="words", level=1):
                for alias in node.names:
                    if alias.asname or (self.kinds is not None and alias.name not in self.kinds):
                        yield node.lineno, f"words.py has no kind {ast.unparse(alias)} to import"
            case ast.ImportFrom(module=str(module), level=1) if module in OWN.values():
                for alias in node.names:
                    if alias.asname or OWN.get(alias.name) != module:
                        yield node.lineno, f"{module}.py has no {ast.unparse(alias)} to import"
            case ast.ImportFrom(module=str(module), level=1) if module == self.beside:
                for alias in node.names:
                    if alias.asname or not alias.name.isidentifier():
                        yield node.lineno, f"`{ast.unparse(alias)}`: a named value is imported by its name"
            case ast.ImportFrom(module="__future__", names=[ast.alias(name="annotations")]):
                return
            case ast.Import() | ast.ImportFrom():
                yield (
                    node.lineno,
                    f"`{ast.unparse(node)[:60]}`: only the prelude may be imported, or .wires and .words",
                )
            case ast.Expr(value=ast.Call(func=ast.Name(id=name))) if name in CALLED | OWN.keys() | (
                self.decorators & {"base"}
            ):
                return  # the reader of statements has checked it
            case ast.FunctionDef():
                yield from self._function(node)
            case ast.Assign(targets=[ast.Name()]):
                yield from self._tree(node.value, set())
            case _:
                yield node.lineno, f"`{ast.unparse(node)[:60]}` does not belong at the top of a file"

    def _function(self, node: ast.FunctionDef) -> Iterator[Wrong]:
        for decorator in node.decorator_list:
            called = ast.unparse(decorator.func) if isinstance(decorator, ast.Call) else ""
            if called not in self.decorators and not is_value(node):
                only = " or ".join(f"@{name}" for name in sorted(self.decorators))
                yield decorator.lineno, f"@{ast.unparse(decorator)[:60]}: the only decorator is {only}, or @value"
        if is_value(node) and len(node.decorator_list) > 1:
            yield node.lineno, f"{node.name} has several decorators; a value has @value alone"
        given = node.args
        plain = [arg.arg for arg in given.args]
        if ast.unparse(given) != ", ".join(plain):
            yield node.lineno, f"{node.name}({ast.unparse(given)[:60]}): arguments are plain names"
        if node.returns:
            yield node.lineno, f"{node.name} has an annotation"
        bound = set(inside(node).stored)
        for name in sorted(bound | set(plain)):
            yield from self._binding(name, node.lineno)
        local = bound | set(plain)
        given_names = frozenset(plain) - bound
        self.asked = given_names & {"seen", "fired"} if is_value(node) else frozenset()
        others = (name for name in given_names - ASKED if not norm_of(name))
        self.others = frozenset(others) if is_value(node) else frozenset()
        self.told = frozenset() if is_value(node) else told(node) - bound
        for number, statement in enumerate(node.body):
            if not (number == 0 and is_docstring(statement)):
                yield from self._tree(statement, local - self.asked - self.told)
        self.asked = self.others = self.told = frozenset()

    def _binding(self, name: str, line: int) -> Iterator[Wrong]:
        if name in WORDS | RESERVED | BUILTINS | OWN.keys() or name.startswith("__"):
            yield line, f"{name} is a word of the language and cannot be given another meaning"

    def _tree(self, node: ast.AST, local: set[str]) -> Iterator[Wrong]:
        """Check a statement or expression and all that is in it."""
        left = [node]
        while left:
            node = left.pop()
            line, asked = getattr(node, "lineno", 0), self._asks(node)
            if asked and isinstance(node, ast.Call):
                if reason := self._asked(asked, node, local):
                    yield line, reason
            elif reason := self._node(node, local):
                yield line, reason
            else:
                left.extend(reversed([*ast.iter_child_nodes(node)]))

    def _asks(self, node: ast.AST) -> str:
        """The value or question that a node calls; empty where it calls none."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
            return name if name in self.asked or name in self.told else ""
        return ""

    def _node(self, node: ast.AST, local: set[str]) -> str:
        """Why a node is not in the language; empty where it is."""
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store) or node.id in local or node.id in self.known:
                return ""
            if node.id in self.told:
                return f"{node.id} is a named value: ask for it at a place, {node.id}(query) or {node.id}(key)"
            if node.id in self.values:
                return f"{node.id} is a named value: only values, linear() and later heads can read it, by its name"
            return f"{node.id} is not known here" + (", import it from .prelude" if node.id in WORDS else "")
        if isinstance(node, ast.Attribute):
            known = node.attr in PLACES | ARRAYS and isinstance(node.ctx, ast.Load)
            return "" if known else f".{node.attr} is not an attribute that sources use"
        if isinstance(node, ast.Call):
            return self._call(node, local)
        if isinstance(node, ast.Constant):
            plain = isinstance(node.value, bool | int | float | str) or node.value in (None, ...)
            return "" if plain else f"{node.value!r:.40} is no number, text or truth value"
        if isinstance(node, ast.Assign | ast.AugAssign | ast.For | ast.comprehension):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [
                name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])
            ]
            if not all(isinstance(name, ast.Name) for name in names):
                return f"{ast.unparse(targets[0])[:40]} is not a name to assign to"
        if isinstance(node, ast.keyword) and node.arg is None:
            return "** is not used in sources"
        if isinstance(node, ast.Dict) and None in node.keys:
            return "** is not used in sources"
        return "" if isinstance(node, _PLAIN) else f"{type(node).__name__} is not used in sources"

    def _asked(self, name: str, node: ast.Call, local: set[str]) -> str:
        """Why a call of `seen`, `fired` or a value is not in the language: what is asked must stand in the text."""
        if name == "fired":
            expected = "fired(LAYER, {NEURON: NUMBER}) or fired(LAYER, {NUMBER: (NEURON, …)}), every neuron once"
            return "" if read_fired(node) else f"{ast.unparse(node)[:60]}: expected {expected}"
        if name != "seen":
            plain = ast.unparse(node) in (f"{name}(query)", f"{name}(key)")
            return "" if plain else f"{ast.unparse(node)[:60]}: expected {name}(query) or {name}(key)"
        asked = read_seen(node)
        if asked is None:
            expected = (
                "seen(LAYER, HEAD, KIND), seen(LAYER, HEAD, KIND, STEPS) or seen(LAYER, HEAD, {NUMBER: (KIND, …)})"
            )
            return f"{ast.unparse(node)[:60]}: expected {expected}"
        for _, _, what, steps in asked:
            if what not in (self.imported - local) | (set() if steps else self.others):
                return f"{what} is no kind that is imported from .words, and no value that is asked for"
        return ""

    def _call(self, node: ast.Call, local: set[str]) -> str:
        """Why a call is not in the language: only functions by their names, and methods of places and arrays."""
        if isinstance(node.func, ast.Attribute):
            return "" if node.func.attr in METHODS else f".{node.func.attr}() is not a method that sources use"
        if not isinstance(node.func, ast.Name):
            return f"{ast.unparse(node.func)[:40]} is not the name of a function"
        if node.func.id in local:
            return f"{node.func.id} is a value here, not a function"
        return ""
