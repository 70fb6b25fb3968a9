"""The engine beside Hugging Face, TransformerLens 4 and nnsight 0.8: same weights, same inputs, results compared.

A random model of the size of GPT-2 small, or with `--model` one of those of `real.py`, dequantised; 1 and 8 prompts of
32 tokens. Each contender is a process in an environment of its own, and measurements take turns. The engine patches all
heads (layers × heads × 32 pieces) and the residual stream (layers × 32) exhaustively; the peers run a random sample of
the same pieces, one patched forward pass each as their documentation shows, and are scaled to all of them (every pass
costs them the same). Whatever several of them computed must agree to 1e-4. *states* records the stream before every
layer and all shares of attention, *record* everything that has a name. Times are processor seconds of one thread,
which other work on the machine changes little, and the clock's, medians of all rounds. Memory is the most that a
process held (resident, weights and libraries included) during one measurement: what was free was given back to the
system and the high-water mark was reset before each. Ratios are of processor seconds. Edge attribution is held against
two forward passes and one backward of Hugging Face. The effect of all neurons (GPT-2 alone) is the second-order
estimate on 4,096 tokens; 200 of them are also ablated exactly on 128 of the tokens, and compared with an estimate on
the same 128 (32 draws) and with the one on all.

    python benchmarks/engine.py [--model smollm2] [--folder DIR] [--sample 24] [--repeats 5] [--quick] [--json]
                                [--lens PYTHON] [--nnsight PYTHON]

`--lens` and `--nnsight` name Python interpreters in which `transformer_lens>=4` and `nnsight>=0.8` are installed;
without them, two throw-away environments are made with pip.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

POSITIONS, ANSWER, INSTEAD = 32, 3, 5
ROUNDS = {"heads": 1, "neurons": 1, "stream": 3}
"""How often at most what takes long is run."""
PACKAGES = {"lens": "transformer_lens>=4,<5", "nnsight": "nnsight>=0.8,<0.9"}


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--lens", help="a Python with transformer_lens 4")
    parser.add_argument("--nnsight", help="a Python with nnsight 0.8")
    parser.add_argument("--model", help="a model of real.py in place of the random one: smollm2, gemma3")
    parser.add_argument("--folder", type=Path, help="where real.py installs it")
    parser.add_argument("--sample", type=int, default=24, help="pieces that each peer patches (24)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="runs whose median counts (5); stream at most 3, heads and neurons 1"
    )
    parser.add_argument("--quick", action="store_true", help="one prompt only, no neurons")
    parser.add_argument("--only", nargs="+", help="measure only these, such as stream heads")
    parser.add_argument("--prompts", type=int, nargs="+", help="measure only these numbers of prompts (1 8 128)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.root)
        return
    with tempfile.TemporaryDirectory(prefix="engine-") as name:
        root = Path(name)
        found = compare(root, options)
    print(json.dumps(found, indent=1) if options.json else table(found))


def compare(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run all measurements, contenders taking turns."""
    layers, heads, size, vocabulary = made(root / "model", options.model, options.folder)
    draw = random.Random(0)
    rows = [[[draw.randrange(vocabulary) for _ in range(POSITIONS)] for _ in range(8)] for _ in range(2)]
    pieces = [(draw.randrange(layers), draw.randrange(heads), draw.randrange(POSITIONS)) for _ in range(options.sample)]
    inputs = {"base": rows[0], "source": rows[1], "pieces": pieces, "layers": layers, "heads": heads, "head size": size}
    (root / "inputs.json").write_text(json.dumps(inputs))
    pythons = {"engine": sys.executable, "hugging face": sys.executable}
    pythons |= {name: getattr(options, name) or environment(root, name) for name in PACKAGES}
    contenders = {name: Worker(name, python, root) for name, python in pythons.items()}
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    found |= {"sample": options.sample, "repeats": options.repeats, "measurements": {}}
    for what, prompts, who in plan():
        if what == "neurons" and options.model:
            continue
        left_out = prompts != 1 if options.quick else options.prompts and prompts not in options.prompts
        if left_out or (options.only and what not in options.only):
            continue
        rounds = min(options.repeats, ROUNDS.get(what, options.repeats))
        answers = [{name: contenders[name].ask(what, prompts) for name in who} for _ in range(rounds)]
        for answer in answers:
            check(what, {name: answer[name].pop("values", None) for name in who})
        found["measurements"][f"{what}, {prompts}"] = {
            name: answers[-1][name]
            | {key: statistics.median(answer[name][key] for answer in answers) for key in ("seconds", "wall")}
            | {"peak_gib": max(answer[name]["peak_gib"] for answer in answers), "rounds": rounds}
            for name in who
        }
        print(f"{what}, {prompts}: {found['measurements'][f'{what}, {prompts}']}", file=sys.stderr, flush=True)
    found["versions"] = {name: worker.ask("version", 1)["version"] for name, worker in contenders.items()}
    for worker in contenders.values():
        worker.close()
    return found


def made(target: Path, name: str | None, folder: Path | None) -> tuple[int, int, int, int]:
    """Write the model there as Transformers writes it; layers, heads, size of a head, tokens."""
    import pellucid

    if name is None:
        from gpt2_small import make_checkpoint

        make_checkpoint(target)
    else:
        from pellucid.subject.gguf_tokenizer import tokenizer_files
        from pellucid.subject.gguf_weights import read_gguf
        from real import FOLDER, MODELS, reading_gguf, transformers_model

        folder = (folder or FOLDER).resolve()
        reading_gguf(folder)
        place = MODELS[name](folder)
        transformers_model(pellucid.load(place), "eager").save_pretrained(target)
        for file, fields in tokenizer_files(read_gguf(place).values).items():
            (target / file).write_text(json.dumps(fields), encoding="utf-8")
    decoder = pellucid.load(target, ids=name is None).decoder
    return decoder.layers, decoder.sizes.head, decoder.sizes.dim, decoder.sizes.vocab


def plan() -> list[tuple[str, int, tuple[str, ...]]]:
    """What is measured, on how many prompts, by whom."""
    everybody = ("engine", "hugging face", "lens", "nnsight")
    patchers = ("engine", "lens", "nnsight")
    listed, late = [], []
    for prompts in (1, 8):
        listed += [("forward", prompts, everybody), ("sdpa", prompts, ("hugging face",))]
        listed += [("states", prompts, ("engine", "hugging face"))]
        listed += [("record", prompts, ("engine", "lens")), ("edges", prompts, ("engine", "hugging face"))]
        listed += [("stream", prompts, patchers)]
        late.append(("heads", prompts, patchers))
    return [*listed, late[0], ("neurons", 128, ("engine",)), late[1]]


def check(what: str, values: dict[str, Any]) -> None:
    """Raise unless everybody computed the same, to 1e-4 of the largest."""
    known = {name: value for name, value in values.items() if value}
    first = next(iter(known.values()), None)
    for name, value in known.items():
        assert first is not None
        largest = max(map(abs, first))
        gap = max(abs(a - b) for a, b in zip(first, value, strict=True))
        assert gap <= 1e-4 * max(1.0, largest), f"{what}: {name} differs by {gap:.3g} from {next(iter(known))}"


def environment(root: Path, name: str) -> str:
    """A throw-away environment with the package `name`; the path of its Python."""
    import torch

    home = root / name
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    python = str(home / "bin" / "python")
    wanted = f"torch=={torch.__version__.partition('+')[0]}"
    subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGES[name], wanted], check=True)
    return python


class Worker:
    """A contender: a process that measures on demand."""

    def __init__(self, name: str, python: str, root: Path) -> None:
        command = [python, __file__, "--worker", name, "--root", str(root)]
        self.name = name
        quiet = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        quiet |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet)

    def ask(self, what: str, prompts: int) -> dict[str, Any]:
        """Have something measured."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([what, prompts]), file=self.process.stdin, flush=True)
        while line := self.process.stdout.readline():
            if line.startswith("ANSWER "):
                answer: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
                return answer
        raise RuntimeError(f"{self.name} ended while measuring {what}")

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


# --- in the workers ---------------------------------------------------------------------------------------------------


def work(name: str, root: Path) -> None:
    """Answer requests until there are no more."""
    contender = {"engine": Engine, "hugging face": HuggingFace, "lens": Lens, "nnsight": NNsight}[name](root)
    for line in sys.stdin:
        what, prompts = json.loads(line)
        if what != "version":
            getattr(contender, what)(prompts, warm=True)
        settle()
        start = now()
        answer = getattr(contender, what)(prompts) or {}
        answer = since(start) | answer
        print("ANSWER " + json.dumps(answer | {"peak_gib": round(peak(), 3)}), flush=True)


def now() -> tuple[float, float]:
    """The processor's time and the clock's."""
    return process_time(), perf_counter()


def since(start: tuple[float, float], share: float = 1.0) -> dict[str, float]:
    """What went by, scaled up from the `share` of the work that was done."""
    return {"seconds": (process_time() - start[0]) / share, "wall": (perf_counter() - start[1]) / share}


def settle() -> None:
    """Give memory that is free back to the system, and forget how much was held before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The most memory that this process has held since it settled, in GiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 2**20


class Contender:
    """The inputs, and which pieces are patched."""

    def __init__(self, root: Path) -> None:
        import torch

        self.root, self.torch = root, torch
        inputs = json.loads((root / "inputs.json").read_text())
        self.base, self.source = (torch.tensor(inputs[name]) for name in ("base", "source"))
        self.pieces = [tuple(piece) for piece in inputs["pieces"]]
        self.layers, self.size = inputs["layers"], inputs["head size"]
        self.all = {"stream": self.layers * POSITIONS, "heads": self.layers * inputs["heads"] * POSITIONS}

    def sampled(self, what: str, warm: bool, patched: Any) -> dict[str, Any]:
        """Time one patched pass a piece; the values are means over prompts of the difference of logits."""
        pieces = self.pieces[:1] if warm else self.pieces
        start = now()
        values = []
        for layer, head, position in pieces:
            last = patched(layer, head, position)
            values.append(float((last[:, ANSWER] - last[:, INSTEAD]).mean()))
        return since(start, len(pieces) / self.all[what]) | {"sampled": len(pieces), "values": values}


class Engine(Contender):
    """pellucid."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        import pellucid

        self.pellucid, self.model = pellucid, pellucid.load(root / "model")
        self.metric = pellucid.logit_difference(self.model, ANSWER, INSTEAD)

    def version(self, _: int) -> dict[str, Any]:
        return {"version": self.pellucid.__version__}

    def forward(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        del warm
        with self.torch.no_grad():
            return {"values": self.model.logits(self.base[:prompts])[:, -1, :50].flatten().tolist()}

    def record(self, prompts: int, warm: bool = False) -> None:
        del warm
        with self.torch.no_grad():
            self.pellucid.trace(self.model, self.base[:prompts], ["*"])

    def states(self, prompts: int, warm: bool = False) -> None:
        """The stream before every layer and all shares of attention."""
        del warm
        with self.torch.no_grad():
            self.pellucid.trace(self.model, self.base[:prompts], ["*.resid_pre", "*.pattern"])

    def stream(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        return self._sweep(prompts, warm, "resid_pre")

    def heads(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        return self._sweep(prompts, warm, "z")

    def _sweep(self, prompts: int, warm: bool, kind: str) -> dict[str, Any]:
        some = {"positions": [31]} if warm else {}
        base, source = self.base[:prompts], self.source[:prompts]
        found = self.pellucid.sweep(self.model, base, source, self.metric, kind, **some)
        if warm:
            return {}
        values = found.values.mean(-1)
        return {"values": [float(values[x, y if kind == "z" else 0, z]) for x, y, z in self.pieces]}

    def edges(self, prompts: int, warm: bool = False) -> None:
        del warm
        base, source = self.base[:prompts], self.source[:prompts]
        self.pellucid.edge_attribution(self.model, base, source, self.metric, "gradient")

    def neurons(self, rows: int, warm: bool = False) -> dict[str, Any]:
        """The effect of every neuron (its mean in its place) on all tokens, and 200 exact ones on 128 of them."""
        from pellucid.base.address import Address
        from pellucid.forms.effect import calibrate, compare, estimate
        from pellucid.forms.forms import Fires

        if warm:
            return {}
        ids = self.torch.randint(50257, (rows, POSITIONS), generator=self.torch.Generator().manual_seed(1))
        names = [f"L{layer:02d}.pre" for layer in range(self.layers)]
        means = self.pellucid.means(self.model, ids[:16], names).activations
        forms = [
            Fires(Address("IN", layer, neuron), float(means[name][0, 0, neuron]))
            for layer, name in enumerate(names)
            for neuron in range(3072)
        ]
        start = now()
        effects = estimate(self.model, ids, forms)[0]
        taken, start = since(start), now()
        found = calibrate(self.model, ids[:4], forms, draws=32)
        figures = {
            "parts": len(forms),
            "tokens": ids.numel(),
            "exact": found.n,
            "exact_seconds": since(start)["seconds"],
        }
        whole = compare([(address, effects[address], true) for address, _, true in found.pairs])
        figures |= {"pearson_all": whole.pearson}
        return taken | figures | {"pearson": found.pearson, "spearman": found.spearman, "scale": found.scale}


class HuggingFace(Contender):
    """transformers, eager and sdpa."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        import transformers

        self.library = transformers.__version__
        load = transformers.AutoModelForCausalLM.from_pretrained
        self.model = load(root / "model", attn_implementation="eager").eval().requires_grad_(False)

    def version(self, _: int) -> dict[str, Any]:
        return {"version": self.library}

    def forward(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        del warm
        with self.torch.no_grad():
            return {"values": self.model(self.base[:prompts]).logits[:, -1, :50].flatten().tolist()}

    def sdpa(self, prompts: int, warm: bool = False) -> None:
        del warm
        self.model.set_attn_implementation("sdpa")
        with self.torch.no_grad():
            self.model(self.base[:prompts])
        self.model.set_attn_implementation("eager")

    def states(self, prompts: int, warm: bool = False) -> None:
        """The stream before every layer and all shares of attention."""
        del warm
        with self.torch.no_grad():
            self.model(self.base[:prompts], output_hidden_states=True, output_attentions=True)

    def edges(self, prompts: int, warm: bool = False) -> None:
        """Two forward passes and one backward (to the embeddings)."""
        del warm
        model = self.model
        with self.torch.no_grad():
            model(self.source[:prompts])
        embedded = model.get_input_embeddings()(self.base[:prompts]).requires_grad_()
        logits = model(inputs_embeds=embedded).logits[:, -1]
        self.torch.autograd.grad((logits[:, ANSWER] - logits[:, INSTEAD]).sum(), embedded)


class Lens(Contender):
    """TransformerLens, its bridge to the Hugging Face model; weights as they are."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        import transformers
        from transformer_lens.model_bridge import TransformerBridge

        load = transformers.AutoModelForCausalLM.from_pretrained
        hf = load(root / "model", attn_implementation="eager").eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(root / "model")
        self.model = TransformerBridge.boot_transformers(
            str(root / "model"), hf_model=hf, tokenizer=tokenizer, device="cpu"
        )

    def version(self, _: int) -> dict[str, Any]:
        from importlib.metadata import version

        return {"version": version("transformer_lens")}

    def forward(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        del warm
        with self.torch.no_grad():
            return {"values": self.model(self.base[:prompts])[:, -1, :50].flatten().tolist()}

    def record(self, prompts: int, warm: bool = False) -> None:
        del warm
        with self.torch.no_grad():
            self.model.run_with_cache(self.base[:prompts])

    def stream(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        return self._patched("stream", prompts, warm, "blocks.{}.hook_resid_pre", None)

    def heads(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        return self._patched("heads", prompts, warm, "blocks.{}.attn.hook_z", 2)

    def _patched(self, what: str, prompts: int, warm: bool, hook: str, axis: int | None) -> dict[str, Any]:
        base, source = self.base[:prompts], self.source[:prompts]
        with self.torch.no_grad():
            names = [hook.format(layer) for layer in range(self.layers)]
            _, cache = self.model.run_with_cache(source, names_filter=lambda name: name in names)

            def patched(layer: int, head: int, position: int) -> Any:
                name = hook.format(layer)

                def put(x: Any, hook: Any = None) -> Any:  # noqa: ARG001
                    if axis is None:
                        x[:, position] = cache[name][:, position]
                    elif x.ndim == 3:
                        own = slice(self.size * head, self.size * (head + 1))
                        x[:, position, own] = cache[name][:, position, own]
                    else:
                        x[:, position, head] = cache[name][:, position, head]
                    return x

                return self.model.run_with_hooks(base, fwd_hooks=[(name, put)])[:, -1]

            return self.sampled(what, warm, patched)


class NNsight(Contender):
    """nnsight around the Hugging Face model."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        import nnsight
        import transformers

        load = transformers.AutoModelForCausalLM.from_pretrained
        self.library = nnsight
        self.model = nnsight.NNsight(load(root / "model", attn_implementation="eager").eval())
        self.gpt2 = hasattr(self.model, "transformer")

    def version(self, _: int) -> dict[str, Any]:
        return {"version": self.library.__version__}

    def block(self, layer: int) -> Any:
        """A layer of the model."""
        return self.model.transformer.h[layer] if self.gpt2 else self.model.model.layers[layer]

    def mixed(self, layer: int) -> Any:
        """What reads the heads' mixed values."""
        return self.block(layer).attn.c_proj if self.gpt2 else self.block(layer).self_attn.o_proj

    def forward(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        del warm
        with self.torch.no_grad(), self.model.trace(self.base[:prompts]):
            logits = self.model.lm_head.output.save()
        return {"values": logits[:, -1, :50].flatten().tolist()}

    def stream(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        base, source, model = self.base[:prompts], self.source[:prompts], self.model
        with self.torch.no_grad():
            held = []
            for layer in range(self.layers):
                with model.trace(source):
                    value = self.block(layer).inputs[0][0].save()
                held.append(value)

            def patched(layer: int, _: int, position: int) -> Any:
                with model.trace(base):
                    self.block(layer).inputs[0][0][:, position] = held[layer][:, position]
                    last = model.lm_head.output[:, -1].save()
                return last  # noqa: RET504

            return self.sampled("stream", warm, patched)

    def heads(self, prompts: int, warm: bool = False) -> dict[str, Any]:
        base, source, model = self.base[:prompts], self.source[:prompts], self.model
        with self.torch.no_grad():
            held = []
            for layer in range(self.layers):
                with model.trace(source):
                    value = self.mixed(layer).input.save()
                held.append(value)

            def patched(layer: int, head: int, position: int) -> Any:
                own = slice(self.size * head, self.size * (head + 1))
                with model.trace(base):
                    self.mixed(layer).input[:, position, own] = held[layer][:, position, own]
                    last = model.lm_head.output[:, -1].save()
                return last  # noqa: RET504

            return self.sampled("heads", warm, patched)


def table(found: dict[str, Any]) -> str:
    """What was found, as a Markdown table."""
    names = ("engine", "hugging face", "lens", "nnsight")
    lines = [
        "| | " + " | ".join(names) + " | engine is faster by | memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for what, times in found["measurements"].items():
        cells = [cell(times[name]) if name in times else "–" for name in names]
        peers = [name for name in times if name != "engine"]
        ratios = "– | –"
        if peers and "engine" in times:
            faster = min(peers, key=lambda name: times[name]["seconds"])
            ratio, share = (times[faster][key] / times["engine"][key] for key in ("seconds", "peak_gib"))
            ratios = f"{ratio:.2f} × | {1 / share:.2f} ×"
        lines.append(f"| {what} | {' | '.join(cells)} | {ratios} |")
    for what, times in found["measurements"].items():
        if "pearson" in (told := times.get("engine", {})):
            lines.append(
                f"\n{what}: {told['parts']:,} parts on {told['tokens']:,} tokens; correlation of logarithms with "
                f"{told['exact']} exact ablations {told['pearson']:.3f}, of ranks {told['spearman']:.3f}, exact = "
                f"{told['scale']:.3f} · estimate; with the estimate on all tokens {told['pearson_all']:.3f}; "
                f"the exact ones took {told['exact_seconds']:.0f} s."
            )
    return "\n".join(lines)


def cell(told: dict[str, Any]) -> str:
    """Processor seconds, the clock's in brackets, and memory."""
    return f"{told['seconds']:.3g} s ({told['wall']:.3g}), {told['peak_gib']:.2f} GiB"


if __name__ == "__main__":
    main()
