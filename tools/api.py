"""The reference of the Python API, `docs/api.md`, made of signatures and docstrings.

    python tools/api.py            # writes docs/api.md anew
    python tools/api.py --check    # ends with 1 if it would change

Docstrings have a sentence or more, then what goes in (`Args:`), what comes out (`Returns:`) and what is raised
(`Raises:`), one by one. Arguments are shown with their types, shapes and defaults as the source says them.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pellucid

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
GROUPS = {
    "Models and programs": ("load", "open", "open_subject", "generate", "chat"),
    "Recording and replacing": ("trace", "replace", "ablate", "means", "patch", "steer"),
    "Patching and attribution": (
        *("logit_difference", "sweep", "path_patch", "estimate", "edge_attribution", "completeness", "agreement"),
    ),
    "Circuits": ("read_task", "score_edges", "find_circuit", "faithfulness_curve", "judge"),
    "Reading what a model does": ("why", "logit_lens", "direct_effects", "head_scores", "probe", "table"),
    "Pictures": ("picture", "attention", "graph"),
}
"""The functions of the package, by what they are for."""
METHODS = {
    "What `load` gives": ("pellucid.exact.model.Model", ("ids", "logits", "forward", "generate", "writes")),
    "What `open` gives": (
        "pellucid.opened.OpenedProject",
        ("report", "listing", "program", "generate", "next", "scratch", "check", "export", "accounts"),
    ),
}
"""Classes of what the package gives, with the methods that are told of."""
RESULTS = (
    *("pellucid.exact.model.ForwardRun", "pellucid.engine.generate.Generated", "pellucid.engine.trace.Trace"),
    *("pellucid.engine.intervene.Change", "pellucid.engine.intervene.Means"),
    *("pellucid.engine.metrics.LogitDifference", "pellucid.engine.sweep.Sweep", "pellucid.engine.paths.PathEffect"),
    *(f"pellucid.study.attribute.{name}" for name in ("EdgeScores", "Completeness", "Agreement")),
    "pellucid.engine.tasks.MinimalPairs",
    *(f"pellucid.study.circuits.{name}" for name in ("Circuit", "Curve", "Judgement")),
    *("pellucid.study.why.Why", "pellucid.study.why.Cause", "pellucid.study.readout.Lens"),
    *("pellucid.study.readout.DirectEffects", "pellucid.study.heads.HeadScores", "pellucid.study.probes.Probe"),
    *("pellucid.accounts.table.AskedTable", "pellucid.accounts.table.TableLine", "pellucid.view.pictures.Picture"),
    *("pellucid.verify.next.Suggestion", "pellucid.verify.scratch.Scratch", "pellucid.verify.scratch.Closeness"),
    *("pellucid.verify.check.Check", "pellucid.rewrite.export.Exported"),
)
"""Classes of what functions give, with their fields, properties and methods."""
TYPES = (
    *("pellucid.engine.subjects.Subject", "pellucid.exact.model.Text", "pellucid.engine.metrics.Metric"),
    *("pellucid.engine.metrics.Answers", "pellucid.engine.intervene.Recorded", "pellucid.subject.chat.Messages"),
    "pellucid.accounts.wordings.Lines",
)
"""What arguments are called by, where that is a name."""
HEAD = """# The Python API

Everything that `import pellucid` offers, made of the source by `python tools/api.py`. A way in stands in
[all of pellucid](all-of-pellucid.md#from-python), examples in [the engine](engine.md) and in
[the tutorial](tutorial.ipynb).

Shapes are written as in the source: `Float[Tensor, "batch pos vocab"]` has three axes of these names. Effects and
margins are in nats where nothing else is said, shares go from 0 to 1; positions, layers, heads and neurons count from
0. Where a source is named (arXiv), the method is its.

Errors are of `pellucid.PellucidError`; its kinds are in `pellucid.base.errors`: `SubjectError` (a checkpoint),
`CorpusError` (a text), `ProjectError` (a project directory) and `SourceError` (a program's source). Their message
quotes the input and says what was expected.
"""


@dataclass(frozen=True)
class Told:
    """A docstring: its prose, and the entries of its sections by name."""

    prose: str
    sections: dict[str, dict[str, str]]

    @staticmethod
    def of(made: object) -> Told:
        """What the docstring of `made` says."""
        prose, *rest = re.split(r"^(Args|Returns|Raises):\n", inspect.getdoc(made) or "", flags=re.M)
        sections = {name: _entries(name, body) for name, body in zip(rest[::2], rest[1::2], strict=True)}
        return Told(prose.strip(), sections)


def _entries(section: str, body: str) -> dict[str, str]:
    """The entries of a section by name; of `Returns` one without."""
    lines = [line[4:] for line in body.rstrip().split("\n")]
    if section == "Returns":
        return {"": " ".join(map(str.strip, lines))}
    found: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(" "):
            name, _, said = line.partition(":")
            found[name] = said.strip()
        elif found:
            found[name] += f" {line.strip()}"
    return found


def functions() -> dict[str, Callable[..., Any]]:
    """Every function that the package offers, by name."""
    offered = (name for name in pellucid.__all__ if name not in ("__version__", "PellucidError"))
    return {name: getattr(pellucid, name) for name in offered}


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, without `self`."""
    return [found for name, found in inspect.signature(function).parameters.items() if name != "self"]


def signature(name: str, function: Callable[..., Any]) -> str:
    """A function's signature as it is written, on several lines where it is long."""
    found = parameters(function)
    shown = list(_shown(found))
    gives = inspect.signature(function).return_annotation
    end = "" if gives is inspect.Signature.empty else f" -> {_type(gives)}"
    line = f"{name}({', '.join(shown)}){end}"
    return line if len(line) <= 110 else "\n".join([f"{name}(", *(f"    {one}," for one in shown), f"){end}"])


def _shown(found: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for one in found:
        if one.kind is one.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        default = "" if one.default is one.empty else f" = {one.default!r}"
        yield f"{stars}{one.name}{'' if one.annotation is one.empty else f': {_type(one.annotation)}'}{default}"


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def entry(name: str, function: Callable[..., Any]) -> Iterator[str]:
    """The lines of the page about one function."""
    told = Told.of(function)
    yield from (f"### `{name}`", "", "```python", signature(name, function), "```", "", told.prose, "")
    for section, title in (("Args", "Arguments"), ("Returns", "Returns"), ("Raises", "Raises")):
        if found := told.sections.get(section):
            yield from (f"**{title}**", "")
            yield from (f"- `{one}`: {said}" if one and said else f"- {one}{said}" for one, said in found.items())
            yield ""


def class_of(name: str) -> type:
    """The class at a dotted name."""
    module, _, own = name.rpartition(".")
    found: type = getattr(import_module(module), own)
    return found


def attributes(path: str) -> Iterator[tuple[str, str, str]]:
    """The public fields, properties and methods of a class, in their order: name, type or arguments, first sentence.

    A field that nothing is written below is told of in the docstring of its class.
    """
    made = class_of(path)
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(made))).body
    assert isinstance(node, ast.ClassDef)
    for own, below in zip(node.body, [*node.body[1:], None], strict=True):
        match own, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                yield name, ast.unparse(own.annotation), " ".join(said.split())
            case ast.AnnAssign(target=ast.Name(id=name)), _ if not name.startswith("_"):
                yield name, ast.unparse(own.annotation), ""
            case ast.FunctionDef(name=name), _ if not name.startswith("_"):
                said = " ".join(Told.of(getattr(made, name)).prose.split("\n\n")[0].split())
                plain = any(isinstance(mark, ast.Name) and "property" in mark.id for mark in own.decorator_list)
                if plain:
                    yield name, ast.unparse(own.returns) if own.returns else "", said
                else:
                    function = getattr(made, name)
                    yield (
                        re.sub(r"\s+", " ", signature(name, function)).replace("( ", "(").replace(", )", ")"),
                        "",
                        said,
                    )


def meaning(path: str) -> tuple[str, str]:
    """What a name of a type stands for, and what is written below it."""
    module, _, own = path.rpartition(".")
    body = ast.parse(inspect.getsource(import_module(module))).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        named = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
        if isinstance(node, ast.ClassDef) and node.name == own:
            return "", (ast.get_docstring(node) or "").split("\n\n")[0]
        if isinstance(node, ast.Assign) and named == [own]:
            said = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            return ast.unparse(node.value), str(said)
    raise ValueError(f"{path} is not defined there")


def results() -> Iterator[str]:
    """The lines of the page about what functions give, and about the names of types."""
    yield from (
        "## What functions give",
        "",
        "Fields are read, not written; `table` is a list of plain dictionaries.",
        "",
    )
    for path in RESULTS:
        yield from (f"### `{path.rpartition('.')[2]}`", "", f"`{path}`: {Told.of(class_of(path)).prose}", "")
        for name, kind, said in attributes(path):
            yield f"- `{name}`" + (f" (`{kind}`)" if kind else "") + (f": {said}" if said else "")
        yield ""
    yield from ("## Names of types", "")
    for path in TYPES:
        stands, said = meaning(path)
        yield f"- `{path.rpartition('.')[2]}`" + (f" (`{stands}`)" if stands else "") + f": {' '.join(said.split())}"
    yield ""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    known = functions()
    for title, names in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += entry(name, known[name])
    for title, (path, names) in METHODS.items():
        made = class_of(path)
        lines += [f"## {title}", "", f"`{path}`: {Told.of(made).prose}", ""]
        for name in names:
            lines += entry(name, getattr(made, name))
    lines += results()
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is up to date."""
    made = page()
    if arguments == ["--check"]:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != made)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
