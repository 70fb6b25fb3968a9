"""The house in numbers: where the package's lines are, who knows a family of models by name, and what is read again.

    python benchmarks/house.py [--json] [--no-runs] [--on DIR]

Files and lines of every folder, the share of the largest, modules outside `family/` that name a family's tensors,
config fields or classes, circles of imports between folders, `isinstance` tests over forms, functions that take a flag
`quick`, names that several classes share; and, unless `--no-runs` is given, how often a brief decompilation of
`zoo:village` opens a page of its own program to read or hash it, in all and in one stage (about a minute), and the
processor seconds of `pellucid --version`, the least of five. With `--on DIR` also those of `run`, `python -m program`
and `show` there, side by side.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import golden

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "pellucid"
FAMILY = re.compile(
    r"\b(c_attn|c_proj|c_fc|ln_[12f]|wte|wpe|lm_head"
    r"|n_layer|n_head|n_embd|n_inner|n_positions|vocab_size|layer_norm_epsilon|activation_function|architectures"
    r"|scale_attn_weights|scale_attn_by_inverse_layer_idx|tie_word_embeddings|model_type"
    r"|num_hidden_layers|num_attention_heads|num_key_value_heads|hidden_size|intermediate_size|rms_norm_eps"
    r"|[qkvo]_proj|gate_proj|up_proj|down_proj|embed_tokens|query_key_value|dense_4h_to_h|dense_h_to_4h|embed_in"
    r"|GPT2\w*|gpt2|GPTNeoX\w*|Llama\w*)\b"
)
"""A family's tensors, the fields of its config and its classes."""
NOT_COUNTED = ("family/", "zoo/")
"""Where families may be named: in their own folder, and where models are made."""
FORMS = {"Form", "Written", "StoredForm", "Looks", "Fires", "Lifted", "Still", "Compares", "Channel"}
"""The classes of what a part can run as, and those that they are made of."""


def modules() -> dict[str, str]:
    """The text of every module, by its path in the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def folder_of(module: str) -> str:
    """The folder of the first level that a module lies in; of modules beside the folders their own name."""
    return module.split("/")[0].removesuffix(".py")


def folders(texts: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Of every folder of the first level the number of files and of lines."""
    inside = [(folder_of(module), text.count("\n")) for module, text in texts.items() if "/" in module]
    files, lines = Counter(folder for folder, _ in inside), Counter[str]()
    for folder, count in inside:
        lines[folder] += count
    return {folder: (files[folder], lines[folder]) for folder in sorted(files, key=lambda name: -lines[name])}


def largest_share(texts: Mapping[str, str]) -> tuple[str, float]:
    """The largest folder, and its share of the package's lines in percent."""
    name, (_, lines) = next(iter(folders(texts).items()))
    return name, 100 * lines / sum(text.count("\n") for text in texts.values())


def naming_a_family(texts: Mapping[str, str]) -> list[str]:
    """The modules outside `family/` whose code or strings name a family; comments and docstrings may."""
    return [module for module, text in texts.items() if not module.startswith(NOT_COUNTED) and _names(text)]


def _names(text: str) -> bool:
    """Whether an identifier or a string that is no docstring names a family."""
    tree = ast.parse(text)
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return any(FAMILY.search(said) for node in ast.walk(tree) if id(node) not in told for said in _said(node))


def _said(node: ast.AST) -> Iterator[str]:
    fields = (getattr(node, name, None) for name in ("id", "attr", "arg", "name", "module", "value"))
    yield from (field for field in fields if isinstance(field, str))


def imports(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """Which folders of the first level each folder imports from, anywhere in its modules."""
    own = {folder_of(module) for module in texts}
    found: dict[str, set[str]] = {folder: set() for folder in own}
    for module, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            there = {name.split(".")[1] for name in names if name.startswith("pellucid.")}
            found[folder_of(module)] |= (there & own) - {folder_of(module)}
    return found


def circles(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of folders each of which reaches the other by imports."""
    reach = imports(texts)
    for middle in reach:
        for folder in reach:
            if middle in reach[folder]:
                reach[folder] = reach[folder] | reach[middle]
    return sorted((a, b) for a in reach for b in reach[a] if a < b and a in reach[b])


def tests_of_forms(texts: Mapping[str, str]) -> int:
    """How often it is asked with `isinstance` which class a form has.

    Not in `program/`, which runs without pellucid: classes by such names there are its own.
    """
    own = [text for module, text in texts.items() if not module.startswith("program/")]
    calls = (node for text in own for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    asked = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "isinstance")
    named = ({node.id for node in ast.walk(call.args[1]) if isinstance(node, ast.Name)} for call in asked)
    return sum(bool(names & FORMS) for names in named)


def quick_parameters(texts: Mapping[str, str]) -> int:
    """How many functions take a flag `quick`, those behind commands apart, whose option it is."""
    inside = (text for module, text in texts.items() if not module.startswith("cli/"))
    nodes = (node for text in inside for node in ast.walk(ast.parse(text)))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return sum(any(arg.arg == "quick" for arg in (*f.args.args, *f.args.kwonlyargs)) for f in functions)


def pools(texts: Mapping[str, str]) -> list[str]:
    """The modules that make a pool of threads or processes; what an emitted program runs on stands alone."""
    own = (module for module, text in texts.items() if re.search(r"\b(Thread|Process)PoolExecutor\(", text))
    return [module for module in own if not module.startswith("program/")]


def named_twice(texts: Mapping[str, str]) -> list[str]:
    """Names of public classes that stand in several modules.

    Not counted: what an emitted program is written in, which has its own vocabulary, and `zoo/`, which makes models.
    """
    own = (
        text
        for module, text in texts.items()
        if not module.startswith(("program/", "zoo/")) and "prelude" not in module
    )
    names = Counter(node.name for text in own for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    return sorted(name for name, count in names.items() if count > 1 and not name.startswith("_"))


def openings() -> dict[str, dict[str, int]]:
    """How often each stage of a brief decompilation of `zoo:village` opens each page of its program to read it."""
    with tempfile.TemporaryDirectory() as root:
        run = [sys.executable, __file__, "--child"]
        subprocess.run(run, cwd=root, env=golden.surroundings(Path(root)), check=True, capture_output=True)
        found: dict[str, dict[str, int]] = json.loads((Path(root) / "opened.json").read_text(encoding="utf-8"))
    return found


def child() -> None:
    """Decompile briefly in the working directory, and count what is opened there."""
    from pellucid.pipeline.stage import Stage, StageRun

    opened, program, under_way = dict[str, Counter[str]](), str(Path("village/program").resolve()), ["before"]
    carry_out = Stage.carry_out

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(path := arguments[0], str) and path.endswith(".py"):
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            if os.path.abspath(path).startswith(program) and flags & os.O_ACCMODE == os.O_RDONLY:
                opened.setdefault(under_way[-1], Counter())[os.path.basename(path)] += 1

    def told(stage: Stage[object], run: StageRun) -> None:
        under_way.append(stage.name)
        carry_out(stage, run)
        under_way.append("after")

    Stage.carry_out = told  # type: ignore[method-assign]
    sys.addaudithook(hook)
    try:
        golden.child("brief", ["decompile", "zoo:village", "-o", "village", *golden.COMMON, *golden.BRIEF["village"]])
    finally:
        Path("opened.json").write_text(json.dumps(opened), encoding="utf-8")


def starting() -> float:
    """Processor seconds of `pellucid --version`, the least of five."""
    seconds, environment = [], golden.surroundings(Path())
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = [sys.executable, "-m", "pellucid", "--version"]
        subprocess.run(run, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def seconds(command: Sequence[str], directory: Path) -> float:
    """Processor seconds of a command, run in a directory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(directory: Path, prompt: str, part: str) -> dict[str, float]:
    """Processor seconds of commands on a decompiled directory, in turn, the least of five."""
    own = [sys.executable, "-m", "pellucid"]
    asked = {
        "run": [*own, "run", ".", prompt],
        "python -m program": [sys.executable, "-m", "program", prompt],
        "show of a part": [*own, "show", ".", part],
    }
    subprocess.run([*asked["run"], "--trust"], cwd=directory, check=True, capture_output=True)
    found = [{name: seconds(command, directory) for name, command in asked.items()} for _ in range(5)]
    return {name: round(min(one[name] for one in found), 2) for name in asked}


def main() -> None:
    """Print the numbers."""
    if sys.argv[1:] == ["--child"]:
        child()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-runs", action="store_true", help="only read the package; run nothing")
    parser.add_argument("--on", type=Path, metavar="DIR", help="a decompiled zoo:village: also time `run` and `show`")
    asked, texts = parser.parse_args(), modules()
    name, share = largest_share(texts)
    stages = {} if asked.no_runs else openings()
    pages: Counter[str] = sum((Counter(pages) for pages in stages.values()), Counter())
    layers = [count for pages in stages.values() for page, count in pages.items() if page.startswith("layer")]
    found = {
        "folders": {name: {"files": files, "lines": lines} for name, (files, lines) in folders(texts).items()},
        "largest": {"folder": name, "percent": round(share, 1)},
        "modules": len(texts),
        "naming a family": len(naming_a_family(texts)),
        "circles": len(circles(texts)),
        "isinstance over forms": tests_of_forms(texts),
        "parameters `quick`": quick_parameters(texts),
        "reads of a page": max((count for page, count in pages.items() if page.startswith("layer")), default=None),
        "the same in one stage": max(layers, default=None),
        "reads of all pages": sum(pages.values()) if pages else None,
        "modules with pools": len(pools(texts)),
        "names that classes share": len(named_twice(texts)),
        "seconds of --version": None if asked.no_runs else round(starting(), 2),
    }
    if asked.on:
        found |= {f"seconds of {name}": cost for name, cost in commands(asked.on, "Ada lives in", "L02.H00").items()}
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for folder, (files, lines) in folders(texts).items():
        print(f"{folder:12} {files:4} files {lines:7,} lines")
    for what, value in found.items():
        if what != "folders":
            print(f"{what:24} {f'{name}, {share:.1f} %' if what == 'largest' else value}")


if __name__ == "__main__":
    main()
