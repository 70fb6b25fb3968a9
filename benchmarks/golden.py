"""Golden programs: what decompiling subjects of the zoo writes, byte for byte, as hashes in `tests/golden/`.

Two sets. *brief* is what `make test` makes again: the algorithmic models whole, and the village with little text and
without training. *quick* is what `pellucid decompile --quick --seed 0` writes of four subjects, by every route.
Of every directory all files of the program are hashed, `parts.toml`, `symbols.tsv`, the tensors beside the program, the
evidence and the figures of the report; dates, versions, paths and times are left out. Accounts are not made. The same
bytes come out on one kind of machine alone, which stands beside the hashes.

    python benchmarks/golden.py [--brief] [--write] [NAME ...]

Without `--write` what differs from the hashes is printed, and the exit code is 1 if anything does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
HASHES = ROOT / "tests" / "golden"
STORIES = 300
"""So many stories are the text of a brief decompilation."""
COMMON = ("--quick", "--seed", "0", "--no-accounts")
SUBJECTS = ("sort", "modular-addition", "village", "village-sparse")
BRIEF = {"sort": (), "modular-addition": (), "village": ("--minutes", "0", "--corpus", "stories.txt")}
"""The subjects that are decompiled briefly, and with which options."""
VOLATILE = {"created", "command", "state", "pellucid", "torch", "seconds", "paths", "fit_paths"}
"""Keys of reports and manifests whose values are dates, versions, paths or times, or depend on them."""
READ = {"brief": 4.5e-3, "quick": 1e-6}
"""Seconds that reading a token is taken to need: a clock would say how many contexts are measured."""


def machine() -> dict[str, str]:
    """What the last bits of floats depend on."""
    cores = Path("/proc/cpuinfo")
    said = cores.read_text(encoding="utf-8").splitlines() if cores.is_file() else []
    maker = next((line.split(":")[1].strip() for line in said if line.startswith("vendor_id")), platform.processor())
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "processor": f"{platform.machine()} {maker} {torch.backends.cpu.get_cpu_capability()}",
    }


def made(name: str, how: str, root: Path) -> Path:
    """Decompile a subject of the zoo into a directory below `root`, in a process of its own with one thread."""
    directory, arguments = root / name, ["decompile", f"zoo:{name}", "-o", name, *COMMON]
    if how == "brief":
        arguments += BRIEF[name]
    run = [sys.executable, __file__, "--child", how, *arguments]
    ended = subprocess.run(run, cwd=root, env=surroundings(root / "state"), capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 3):
        raise RuntimeError(f"{name}: decompile ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return directory


def surroundings(state: Path) -> dict[str, str]:
    """What a process is started with: this checkout's package, one thread, no hub, and a `state` of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return os.environ | threads | {"PYTHONPATH": str(ROOT / "src"), "XDG_STATE_HOME": str(state), "HF_HUB_OFFLINE": "1"}


def child(how: str, arguments: list[str]) -> None:
    """Run the command line, with little of everything if `how` is brief, and without asking a clock how much."""
    from pellucid.base.effort import Effort
    from pellucid.measure import pace
    from pellucid.zoo.village import Village

    torch.set_num_threads(1)
    pace._time = lambda *_: pace.Pace(READ[how], 1e-6)
    if how == "brief":
        few = replace(
            Effort.quick(),
            contexts=24,
            mean_tokens=1000,
            vector_tokens=1000,
            fit_tokens=6000,
            tune_tokens=2000,
            linked_fit_tokens=3000,
            lifted_tokens=1000,
            proof_tokens=1000,
            context_tokens=512,
        )
        Effort.quick = staticmethod(lambda: few)
        stories = (story.text for story in Village().stories("train", count=STORIES))
        Path("stories.txt").write_text("<|endoftext|>".join(stories), encoding="utf-8")
    from pellucid.cli import app

    app(arguments)


def hashes(directory: Path) -> dict[str, str]:
    """Hashes of everything in a directory that `decompile` wrote, by what it is."""
    files = [p for p in sorted((directory / "program").rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    texts = [*files, *(directory / name for name in ("parts.toml", "symbols.tsv"))]
    found = {str(path.relative_to(directory)): _hash(path.read_bytes()) for path in texts if path.is_file()}
    for name in ("weights.safetensors", "tuned.safetensors"):
        if (directory / name).is_file():
            found[name] = _hash((directory / name).read_bytes())
    for name in ("report.json", "weightless.json"):
        if (directory / name).is_file():
            found[name] = _figures(json.loads((directory / name).read_text(encoding="utf-8")))
    if (directory / "pellucid.toml").is_file():
        found["pellucid.toml"] = _figures(tomllib.loads((directory / "pellucid.toml").read_text(encoding="utf-8")))
        found["evidence.sqlite"] = _hash("\n".join(_evidence(directory / "evidence.sqlite")).encode())
    return found


def _evidence(path: Path) -> Iterator[str]:
    """Every measurement, and the names of the stages; states are hashes of paths and versions too."""
    with sqlite3.connect(path) as store:
        columns = "part, kind, metric, split, domain, value, low, high, n, note"
        yield from (repr(row) for row in store.execute(f"SELECT {columns} FROM measurement ORDER BY id"))
        yield from (repr(row) for row in store.execute("SELECT name FROM stage ORDER BY rowid"))
    store.close()


def _figures(data: Any) -> str:
    return _hash(json.dumps(_lasting(data), sort_keys=True).encode())


def _lasting(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _lasting(value) for key, value in data.items() if key not in VOLATILE}
    return [_lasting(value) for value in data] if isinstance(data, list) else data


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()[:20]


def stored(how: str) -> dict[str, Any]:
    """The hashes in the repository, and the machine that they were made on."""
    path = HASHES / f"{how}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"machine": {}, "subjects": {}}


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is there once only, or differs."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def main() -> None:
    """Make the subjects again and compare them, or write their hashes."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brief", action="store_true", help="the brief set, which the tests make")
    parser.add_argument("names", nargs="*", metavar="NAME", help="subjects of the zoo; all if none is named")
    parser.add_argument("--write", action="store_true", help="write the hashes instead of comparing them")
    asked = parser.parse_args()
    how = "brief" if asked.brief else "quick"
    subjects, kept, ends = tuple(BRIEF) if asked.brief else SUBJECTS, stored(how), 0
    if unknown := set(asked.names) - set(subjects):
        parser.error(f"no {how} hashes are kept of {', '.join(sorted(unknown))}; expected {', '.join(subjects)}")
    if not asked.write and kept["machine"] != machine():
        print(f"the hashes are from another kind of machine: {kept['machine']}, here {machine()}")
    for name in asked.names or subjects:
        with tempfile.TemporaryDirectory() as root:
            found = hashes(made(name, how, Path(root)))
        other = differences(kept["subjects"].get(name, {}), found)
        ends |= bool(other)
        print(f"{name}: {len(found)} files, " + (f"other than before: {', '.join(other)}" if other else "as before"))
        kept["subjects"][name] = found
    if asked.write:
        text = json.dumps(kept | {"machine": machine()}, indent=1, sort_keys=True)
        (HASHES / f"{how}.json").write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if asked.write else ends)


if __name__ == "__main__":
    main()
