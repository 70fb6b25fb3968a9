"""Time and memory of every pass of a decompilation on random models, and how they grow.

    python benchmarks/passes.py                 a model of the size of GPT-2 small, 50,000 tokens, 200 steps
    python benchmarks/passes.py --growth        small models: tokens, layers and width, at three sizes each
    python benchmarks/passes.py --steps 10      fewer steps of tuning and training; 200 are then reckoned from these
    python benchmarks/passes.py --understanding      the passes of `--understand` alone

Reckoned is what was measured, and as many more steps and looks at tune text as 200 have, each as long as these were.

Model and text are random (see gpt2_small.py), so nothing is downloaded. Candidates are fixed and nothing ends early:
every part is proposed for, every part that can be lifted is tuned, whatever it costs, so that random weights take the
time that real ones would. Each model runs in a process of its own; the mark of peak memory is reset before each pass.
CPU seconds are those of all threads; beside other work they say more than seconds do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from gpt2_small import CONFIG, make_checkpoint, make_text
from pellucid.base.effort import Effort
from pellucid.base.memory import keeping
from pellucid.corpus.packing import packed_rows
from pellucid.forms.twin import Twin
from pellucid.pipeline.program import write_program
from pellucid.pipeline.request import Request, begin
from pellucid.project.project import Project
from pellucid.project.rows import rows_for
from pellucid.stages.first.sources import FirstSources, find_sources, write_sources
from pellucid.stages.lift.lifted import LiftedParts, find_lifted
from pellucid.stages.lift.means import Extras
from pellucid.stages.link.linking import PROMISED, rollouts
from pellucid.stages.link.rollouts import slips
from pellucid.stages.tune import tune as tuning
from pellucid.stages.tune.rounds import tunes
from pellucid.stages.understand import train as training
from pellucid.stages.understand.plan import Plan, plan_for
from pellucid.stages.understand.run import token_numbers
from pellucid.stages.understand.train import Training
from pellucid.subject.load import load_subject

STEPS = 200
TOKENS = 50_000
TOKENS_A_WORD = 2
"""Random words take at least so many tokens, of pairs of bytes."""
CONTEXTS = 100
SMALL = {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 128, "tokens": 20_000}
GROWTH = {"tokens": (10_000, 20_000, 40_000), "n_layer": (2, 4, 8), "n_embd": (64, 128, 256)}


@dataclass(frozen=True)
class Pass:
    """What one pass took."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_gib: float


def main() -> None:
    """Run one model, or those of the growth table, each in a child process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--growth", action="store_true", help="small models, three sizes of tokens, layers and width")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="tokens of text (50,000)")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of tuning and training (200); at least 4")
    parser.add_argument("--understanding", action="store_true", help="no first sources, lifting, linking or tuning")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(run(json.loads(options.child))))
        return
    if options.growth:
        sizes = [SMALL | {name: value} for name, values in GROWTH.items() for value in values]
    else:
        sizes = [{name: CONFIG[name] for name in SMALL if name in CONFIG} | {"tokens": options.tokens}]
    distinct = {str(size): size for size in sizes}
    how = {"steps": options.steps, "explain": not options.understanding}
    once = {key: child(size | how) for key, size in distinct.items()}
    found = [{"size": size, "passes": once[str(size)]} for size in sizes]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(growth_table(found) if options.growth else table(found[0]))


def child(size: dict[str, Any]) -> list[dict[str, Any]]:
    """What the passes take on a model of a size, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="passes-") as name:
        command = [sys.executable, __file__, "--child", json.dumps(size | {"root": name})]
        made = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"XDG_STATE_HOME": name}
        )
    result: list[dict[str, Any]] = json.loads(made.stdout)
    return result


def run(size: dict[str, Any]) -> list[dict[str, Any]]:
    """All passes on one model."""
    root, steps = Path(size["root"]), size["steps"]
    shape = {name: size[name] for name in ("n_layer", "n_head", "n_embd", "n_positions")}
    make_checkpoint(root / "model", **shape)
    words = size["tokens"] // TOKENS_A_WORD
    make_text(root / "fit.txt", 2 * words, seed=0)
    make_text(root / "heldout.txt", words, seed=1)
    torch.manual_seed(0)
    return [entry.__dict__ for entry in passes(root, size["tokens"], steps, explain=size["explain"])]


def passes(root: Path, tokens: int, steps: int, *, explain: bool) -> Iterator[Pass]:
    """Every pass of a decompilation, in its order; those from first sources to tuning where they are to `explain`."""
    subject = load_subject(root / "model")
    request = Request(
        subject=str(root / "model"),
        directory=root / "made",
        corpus=(root / "heldout.txt",),
        fit_corpus=(root / "fit.txt",),
        effort=Effort.quick(),
    )
    project = begin(request, subject)
    held: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any], reckoned: Callable[[Tensor], Tensor] = torch.clone) -> Pass:
        Path("/proc/self/clear_refs").write_text("5")
        start = now()
        held[name] = work()
        seconds, cpu = reckoned(now() - start).tolist()
        found = Pass(name, round(seconds, 1), round(cpu, 1), round(peak(), 2))
        print(f"{name}: {seconds:.1f} s, {cpu:.1f} s of CPU, {found.peak_gib:.2f} GiB", file=sys.stderr, flush=True)
        return found

    yield timed("pack the text", lambda: pack(project, tokens))
    yield timed("averages and vectors, emit", lambda: write_program(project, Effort.quick()))
    if explain:
        extras: Extras = held["averages and vectors, emit"]
        yield timed("first sources", lambda: find_sources(project, extras.means, Effort.quick()))
        sources: FirstSources = held["first sources"]
        yield timed("write sources", lambda: (write_sources(project, sources), project.print_program()))
        yield timed("lifted forms", lambda: find_lifted(project, extras.vectors, PROMISED["both"], Effort.quick()))
        lifted: LiftedParts = held["lifted forms"]
        yield timed("one trial of linking", lambda: trial(project, sources, lifted))
        took = Clock(tuning, "_descend", "loss_on", 1 + STEPS // tuning.CHECK_STEPS)
        yield timed("tuning", lambda: tune_all(project, lifted, steps), took.reckoned)
    yield timed("understanding: first values", lambda: first_values(project, tokens))
    begun: Training = held["understanding: first values"]
    took = Clock(training, "advance", "kl_of", looks_of(STEPS))
    yield timed("understanding: training", lambda: understand(project, tokens, begun, steps), took.reckoned)
    yield timed("source-only program", lambda: project.program("code").logits(held["pack the text"][:1].numpy()))


def now() -> Tensor:
    """Seconds, and seconds of CPU."""
    return torch.tensor([perf_counter(), process_time()], dtype=torch.float64)


class Clock:
    """How long each step of a training took, and each of its looks at tune text, of which there are `looks` in 200."""

    def __init__(self, module: ModuleType, step: str, look: str, looks: int) -> None:
        self.looks = looks
        self.took: dict[str, list[Tensor]] = {step: [], look: []}
        for name in self.took:
            setattr(module, name, self._timed(name, getattr(module, name)))

    def _timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            start = now()
            found = work(*given)
            self.took[name].append(now() - start)
            return found

        return run

    def reckoned(self, seconds: Tensor) -> Tensor:
        """The seconds of 200 steps, of which some were taken in so many."""
        for wanted, took in zip((STEPS, self.looks), self.took.values(), strict=True):
            seconds = seconds + (wanted - len(took)) * torch.stack(took).mean(0)
        return seconds


def looks_of(steps: int) -> int:
    """How often a training of so many steps looks at tune text."""
    plan = Plan(1, 1, 1, 1, steps, 1)
    return sum((steps - step) % plan.judge_every == 0 for step in range(plan.levelled_at + 1, steps + 1))


def pack(project: Project, tokens: int) -> torch.Tensor:
    """Rows of fit text, which every pass finds packed."""
    count = max(2, tokens // project.model.n_ctx)
    rows = packed_rows(project.texts.fit, project.model, count, 0)
    for wanted in (tokens, 40_000, 20_000, 10_000):
        project.packed["fit", max(2, wanted // project.model.n_ctx)] = rows
    return rows


@keeping()
def trial(project: Project, sources: FirstSources, lifted: LiftedParts) -> None:
    """What linking does once for each trial: continue texts by the twin that runs every part without its residual."""
    spoken = rollouts(project, CONTEXTS)
    slips(Twin(project.model, [*{**sources.forms, **lifted.forms}.values()]), spoken)


def tune_all(project: Project, lifted: LiftedParts, steps: int) -> None:
    """Tune every lifted part together, whatever it costs, on however little text."""
    tuning.PATIENCE, tuning.TRIES, tuning.TOKENS_PER_NUMBER = 1 << 30, 1 << 30, 0.0
    forms = {address: form for address, form in lifted.forms.items() if tunes(form)}
    check = rows_for(project, "tune", project.model.n_ctx)
    fit = rows_for(project, "fit", TOKENS)
    tuning.tune(tuning.Tunable.of(project.model, forms), fit, check, 0.0, project.directory / "tuning", steps=steps)


def first_values(project: Project, tokens: int) -> Training:
    """Where training of 200 steps begins, in as many numbers as so little text is enough for."""
    fit = rows_for(project, "fit", tokens)
    plan = plan_for(project.model.decoder, fit.numel() // 2, STEPS, fit.numel())
    return training.begin(project.model, plan, fit, 0)


def understand(project: Project, tokens: int, begun: Training, steps: int) -> None:
    """Train sources over kinds and values from where they `begun`, for so many steps."""
    begun.student.plan = replace(begun.student.plan, steps=steps)
    fit, tune = rows_for(project, "fit", tokens), rows_for(project, "tune", 4_000)
    training.begin = lambda *_: begun
    training.train(
        project.model, begun.student.plan, fit, tune, token_numbers(project), project.directory / "understanding"
    )


def peak() -> float:
    """The most memory that this process has held since the mark was reset, in GiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 2**20


def table(found: dict[str, Any]) -> str:
    """What one model took, as a Markdown table."""
    said, passes = ", ".join(f"{name} {value:,}" for name, value in found["size"].items()), found["passes"]
    whole = {name: sum(entry[name] for entry in passes) for name in ("seconds", "cpu_seconds")}
    rows = [*passes, {"name": "all", **whole, "peak_gib": max(entry["peak_gib"] for entry in passes)}]
    lines = [said, "", "| pass | seconds | CPU seconds | peak memory, GiB |", "|---|---:|---:|---:|"]
    lines += ["| {name} | {seconds:.1f} | {cpu_seconds:.1f} | {peak_gib:.2f} |".format(**row) for row in rows]
    return "\n".join(lines)


def growth_table(found: list[dict[str, Any]]) -> str:
    """CPU seconds and peak memory of every pass, a column for each model."""
    columns = [(name, size) for name, sizes in GROWTH.items() for size in sizes]
    lines = ["| CPU seconds; all: and GiB | " + " | ".join(f"{name} {size:,}" for name, size in columns) + " |"]
    lines += ["|---|" + "---:|" * len(columns)]
    for number, entry in enumerate(found[0]["passes"]):
        cells = [f"{model['passes'][number]['cpu_seconds']:.1f}" for model in found]
        lines.append(f"| {entry['name']} | " + " | ".join(cells) + " |")
    whole = [sum(entry["cpu_seconds"] for entry in model["passes"]) for model in found]
    most = [max(entry["peak_gib"] for entry in model["passes"]) for model in found]
    cells = [f"{seconds:.0f}, {gib:.1f}" for seconds, gib in zip(whole, most, strict=True)]
    return "\n".join([*lines, "| all | " + " | ".join(cells) + " |"])


if __name__ == "__main__":
    main()
