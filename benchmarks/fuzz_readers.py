"""The readers of files that fuzzing is about: a valid file of each, how it is changed, and what is done with it."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import sqlite3
import struct
import tomllib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import tomlkit
import torch
from rich.console import Console

import pellucid
from fuzz_mutations import changed, gguf_file, json_file, json_lines, mostly, table, text
from pellucid.base.address import Address
from pellucid.base.trusted import PARTS
from pellucid.corpus.corpus import read_corpus, split_corpus
from pellucid.engine.tasks import MinimalPair, MinimalPairs, read_blimp, read_task
from pellucid.exact.model import Model
from pellucid.forms.codec import load_forms
from pellucid.forms.effect import Calibration
from pellucid.forms.forms import Distance, Fires, Looks, Offset
from pellucid.forms.worst_places import load_contexts
from pellucid.program import vocabulary
from pellucid.project.evidence import Evidence, Measurement
from pellucid.project.manifest import MANIFEST, Manifest
from pellucid.project.parts_file import read_dropped
from pellucid.project.project import REPORT, Project
from pellucid.project.report_file import read_report
from pellucid.project.symbols import Symbol, read_symbols, write_symbols
from pellucid.rewrite.edit import Record, read_records, write_record
from pellucid.rewrite.show import list_lines
from pellucid.stages.first.sources import FirstSources, dump, load
from pellucid.study.circuit_files import attribution_graph, read_attribution_graph, read_mib, save_mib
from pellucid.study.circuits import Circuit
from pellucid.study.wiring import Wiring
from pellucid.subject.load import load_subject
from pellucid.verify.check import worse_figures
from pellucid.view.report import render
from pellucid.view.scoreboard import scoreboard
from pellucid.weightless import task as weightless

Change = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Reader:
    """A kind of file: what a valid one holds, how it is changed, and what reads it and uses what it read."""

    name: str
    valid: tuple[bytes, ...]
    change: Change
    use: Callable[[bytes], Any]


def readers(made: Path, subject: Path, folder: Path) -> list[Reader]:
    """All readers, with the project `made` and its `subject` to be about; files are written to `folder`."""
    project = pellucid.open(made)
    model = Model(pellucid.load(subject).subject)
    return [
        *_of_projects(project, folder),
        *_of_stages(project, folder),
        *_of_circuits(model, folder),
        *_of_tasks(model, folder),
        *_of_texts(folder),
        *_of_gguf(folder),
    ]


def put(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, with the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- project directories ----------------------------------------------------------------------------------------------


def _of_projects(project: Project, folder: Path) -> list[Reader]:
    directory, shape = project.directory, project.listing().decoder.addresses
    write_symbols(folder / "symbols.tsv", project.symbols() | {"L00.H00.QK": Symbol("L00.H00.QK", "a", "QK", "user")})
    located = [{"part": "L00.H00.QK", "estimate": 0.5, "effect": 0.4}]
    record = Record(1, "rule", "what", "why", "2026-11-30", ("L00.MLP.B",), text="x", located=located, measurement={})
    write_record(folder / "valid", record)
    old = read_report(directory / REPORT)

    def report(data: bytes) -> None:
        found = read_report(put(folder / REPORT, data))
        Console(file=io.StringIO(), width=116).print(scoreboard(found))
        render(found)
        list(worse_figures(found, old))

    def manifest(data: bytes) -> None:
        found = Manifest.read(put(folder / MANIFEST, data).parent)
        found.write(folder / "again")
        assert Manifest.read(folder / "again") == found

    def symbols(data: bytes) -> None:
        found = read_symbols(put(folder / "symbols.tsv", data))
        write_symbols(folder / "symbols.tsv", found)
        assert read_symbols(folder / "symbols.tsv") == found

    def edits(data: bytes) -> None:
        put(folder / "edits" / "0001.json", data)
        found = read_records(folder)
        list(list_lines(found))
        write_record(folder / "again", found[0])

    return [
        Reader("report.json", ((directory / REPORT).read_bytes(),), json_file, report),
        Reader("pellucid.toml", ((directory / MANIFEST).read_bytes(),), toml_file, manifest),
        Reader(
            "parts.toml",
            ((directory / PARTS).read_bytes(),),
            toml_file,
            lambda data: read_dropped(put(folder / PARTS, data), shape),
        ),
        Reader("symbols.tsv", ((folder / "symbols.tsv").read_bytes(),), table, symbols),
        Reader("edits/*.json", ((folder / "valid" / "edits" / "0001.json").read_bytes(),), json_file, edits),
        Reader("program/vocabulary.json", _vocabularies(directory), json_file, lambda data: _tokens(folder, data)),
    ]


def toml_file(data: bytes, draw: random.Random) -> bytes:
    """A file of TOML, changed; what TOML cannot write is damaged instead."""

    def gentle() -> bytes:
        try:
            return tomlkit.dumps(changed(tomllib.loads(data.decode()), draw)).encode("utf-8", "surrogatepass")
        except (TypeError, ValueError, AttributeError, RecursionError):  # None, and what is no table
            return data.replace(draw.choice((b'"', b"=", b"[", b"0")), draw.choice((b"", b"'", b"[[")), 1)

    return mostly(gentle, data, draw)


def _vocabularies(directory: Path) -> tuple[bytes, ...]:
    words = (directory / "program" / "vocabulary.json").read_bytes()
    pairs = {"kind": "bpe", "pieces": [*"abc", "ab", None], "merges": ["a b"], "special": [["<|x|>", 4]], "end": 4}
    pairs |= {
        "opens": True,
        "ends": [4],
        "opening": [4],
        "spaced": False,
        "strips": {"<|x|>": [True, False]},
        "late": [],
    }
    return words, json.dumps(pairs).encode()


def _tokens(folder: Path, data: bytes) -> None:
    """Text to tokens and back with a program's own vocabulary."""
    kept, vocabulary.__file__ = vocabulary.__file__, str(put(folder / "vocabulary.json", data).with_suffix(".py"))
    try:
        found = vocabulary.Vocabulary()
        ids = found.opened("w1 w2" if found.is_words else "abc <|x|> abab")
        found.decode([*ids, 0, 10**6])
        found.members(("w1" if found.is_words else "a",))
    finally:
        vocabulary.__file__ = kept


# --- what stages store ------------------------------------------------------------------------------------------------


def _of_stages(project: Project, folder: Path) -> list[Reader]:
    head, neuron = Address("QK", 0, 0), Address("IN", 0, 3)
    looks = Looks(head, ((Offset(1), 2.0), (Distance(3), -0.5)))
    fires = Fires(neuron, 0.25, (("token", (1, 2), 0.5), ("previous", (3,), -1.0)))
    forms: dict[Address, Looks | Fires] = {head: looks, neuron: fires}
    numbers = {head: 0.5, neuron: 0.1}
    sources = dump(FirstSources(forms, numbers, numbers, Calibration(0.9, 0.8, None, 20, ()))).encode()
    place = {"tokens": ["a", " b"], "weights": [0.5, 1.0], "at": 1, "raw": 1.0, "source": 0.5, "difference": -0.5}
    contexts = json.dumps({str(head): [place | {"domain": "held-out"}], str(neuron): []}).encode()
    report = project.report()

    def decoded(data: bytes) -> str:
        return data.decode("utf-8", "replace")

    def worst(data: bytes) -> None:
        found = load_contexts(decoded(data), "contexts")
        render(report | {"details": [{"contexts": of_part} for of_part in found.values()]})

    def change_sources(data: bytes, draw: random.Random) -> bytes:
        """The forms are JSON within JSON."""
        outer = json.loads(data)
        inner = json_file(outer["forms"].encode(), draw).decode("utf-8", "replace")
        return json.dumps(outer | {"forms": inner}).encode() if draw.random() < 0.5 else json_file(data, draw)

    return [
        Reader("stage of sources", (sources,), change_sources, lambda data: load(decoded(data))),
        Reader("stage of forms", (json.loads(sources)["forms"].encode(),), json_file, lambda d: load_forms(decoded(d))),
        Reader("stage of contexts", (contexts,), json_file, worst),
        Reader("evidence.sqlite", _rows(), json_file, lambda data: _evidence(folder, data)),
    ]


def _rows() -> tuple[bytes, ...]:
    row = Measurement("L00.H00.QK", "full", "kl", "state", "heldout", "corpus", "overall", 0.5, 0.4, 0.6, 100)
    return (json.dumps(vars(row)).encode(),)


def _evidence(folder: Path, data: bytes) -> None:
    """A row whose cells are what JSON says, in a store that is then read. What SQLite cannot hold is no row."""
    path = folder / "evidence.sqlite"
    path.unlink(missing_ok=True)
    Evidence(path).add([Measurement("p", "k", "m", "s", "x", "c", "overall", None, None, None, 0)])
    try:
        cells = json.loads(data)
        with closing(sqlite3.connect(path)) as connection, connection:
            for column, cell in cells.items():
                if column.isidentifier():
                    connection.execute(f"UPDATE measurement SET {column} = ?", (cell,))
    except (ValueError, AttributeError, RecursionError, OverflowError, sqlite3.Error):
        pass
    for _, row in Evidence(path).find():
        json.dumps(vars(row), allow_nan=False)


# --- circuits ---------------------------------------------------------------------------------------------------------


def _of_circuits(model: Model, folder: Path) -> list[Reader]:
    config, wiring = model.decoder, Wiring.of(model.decoder)
    edges = wiring.real & (torch.rand(wiring.real.shape, generator=torch.Generator().manual_seed(0)) < 0.3)
    circuit = Circuit(wiring, edges, torch.where(edges, 0.5, 0.0), "task")
    save_mib(circuit, config, folder / "mib.json")
    attribution_graph(circuit, "slug", "w1 w2", ["w1", "w2"]).save(folder / "graph.json")
    features = {
        "metadata": {"slug": "s", "scan": "gemma", "prompt": "p", "prompt_tokens": ["p"], "node_threshold": 0.8},
        "qParams": {},
        "nodes": [{"node_id": f"{n}_17_3", "layer": str(n), "clerp": "x", "activation": None} for n in range(3)],
        "links": [{"source": "0_17_3", "target": "1_17_3", "weight": 0.5}],
    }

    def mib(data: bytes) -> None:
        save_mib(read_mib(put(folder / "mib.json", data), config), config, folder / "again.json")

    def graph(data: bytes) -> None:
        found = read_attribution_graph(put(folder / "graph.json", data))
        found.save(folder / "again.json")
        if found.links and all(link.get("edges") for link in found.links):
            found.circuit(config)

    graphs = ((folder / "graph.json").read_bytes(), json.dumps(features).encode())
    return [
        Reader("circuit of MIB", ((folder / "mib.json").read_bytes(),), json_file, mib),
        Reader("graph of circuit-tracer", graphs, json_file, graph),
    ]


# --- tasks ------------------------------------------------------------------------------------------------------------


def _of_tasks(model: Model, folder: Path) -> list[Reader]:
    pairs = tuple(MinimalPair(f"w{n} w1", f"w{n + 1} w1", ("w3",), ("w4", "w5"), ((0, 2),)) for n in range(1, 5))
    MinimalPairs("pairs", pairs).save(folder / "pairs.jsonl")
    keys = ("one_prefix_prefix", "one_prefix_word_good", "one_prefix_word_bad", "sentence_good", "sentence_bad")
    lines = [(f"w{n} w1", "w2", "w3", f"w{n} w1 w2 w4", f"w{n} w1 w3 w4") for n in range(1, 5)]
    blimp = "\n".join(json.dumps(dict(zip(keys, line, strict=True)) | {"UID": "x"}) for line in lines)
    about = {"name": "t", "task": "copy", "vocab": ["a", "b", "<bos>", "<eos>"], "bos": "<bos>", "sep": None}
    about |= {"output": "set: above 0", "lengths": "0-50", "accuracy_of_the_model_on_its_task": {"0-50": 1.0}}
    rows = "\n".join(json.dumps({"band": "0-50", "ids": [2, n % 2, 1], "scored": [1, 2]}) for n in range(5))

    def task(data: bytes) -> None:
        found = read_task(put(folder / "pairs.jsonl", data))
        found.fitting(model).save(folder / "again.jsonl")

    def vocabulary_of_task(data: bytes) -> None:
        weightless.read_task(put(folder / "bare" / weightless.TASK, data).parent)

    def inputs(data: bytes) -> None:
        weightless.by_band(weightless.read_rows(put(folder / weightless.INPUTS, data), 4))

    return [
        Reader("pairs", ((folder / "pairs.jsonl").read_bytes(),), json_lines, task),
        Reader("BLiMP", (blimp.encode(),), json_lines, lambda data: read_blimp(model, put(folder / "b.jsonl", data))),
        Reader("task.json", (json.dumps(about).encode(),), json_file, vocabulary_of_task),
        Reader("inputs.jsonl.gz", (rows.encode(),), packed(json_lines, gzip.compress), inputs),
    ]


def packed(change: Change, pack: Callable[[bytes], bytes]) -> Change:
    """Change what is within an archive, or now and then the archive."""
    return lambda data, draw: mostly(lambda: pack(change(data, draw)), pack(data), draw)


# --- text -------------------------------------------------------------------------------------------------------------


def _of_texts(folder: Path) -> list[Reader]:
    draw = random.Random(0)
    words = [" ".join(f"w{draw.randrange(1000)}" for _ in range(draw.randrange(5, 900))) for _ in range(60)]
    valid = "<|endoftext|>".join(words).encode()

    def corpus(name: str) -> Callable[[bytes], None]:
        def use(data: bytes) -> None:
            splits = split_corpus(read_corpus([put(folder / name, data)]))
            assert splits.heldout.n_words

        return use

    return [
        Reader("text", (valid,), text, corpus("text.txt")),
        Reader("text.gz", (valid,), packed(text, gzip.compress), corpus("text.txt.gz")),
        Reader("text.xz", (valid,), packed(text, lambda data: lzma.compress(data, preset=0)), corpus("text.xz")),
    ]


# --- GGUF -------------------------------------------------------------------------------------------------------------


def _of_gguf(folder: Path) -> list[Reader]:
    """A tiny Llama with a tokenizer of four tokens, written by hand: nothing of a package is needed to make one."""
    if find_spec("gguf") is None:
        return []

    def use(data: bytes) -> None:
        model = Model(load_subject(put(folder / "tiny.gguf", data)))
        model.tokenizer.decode(model.tokenizer.encode("ab" if model.tokenizer.kind == "bpe" else "1 2"))
        model.logits(torch.tensor([[0]]))

    return [Reader("GGUF", (_llama_file(),), gguf_file, use)]


def _llama_file() -> bytes:
    def string(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def listed(values: tuple[str, ...]) -> bytes:
        return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(string, values))

    sizes = {"block_count": 1, "context_length": 16, "embedding_length": 8, "feed_forward_length": 8, "vocab_size": 4}
    sizes |= {"attention.head_count": 2, "attention.head_count_kv": 1, "rope.dimension_count": 4}
    values = {f"llama.{key}": struct.pack("<II", 4, size) for key, size in sizes.items()}
    values |= {
        f"llama.{key}": struct.pack("<If", 6, number)
        for key, number in {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e4}.items()
    }
    texts = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2"}
    values |= {key: struct.pack("<I", 8) + string(value) for key, value in texts.items()}
    lists = {"tokens": ("a", "b", "ab", "<e>"), "merges": ("a b",)}
    values |= {f"tokenizer.ggml.{key}": listed(found) for key, found in lists.items()}
    values |= {"tokenizer.ggml.token_type": struct.pack("<IIQ4i", 9, 5, 4, 1, 1, 1, 3)}
    values |= {"tokenizer.ggml.eos_token_id": struct.pack("<II", 4, 3)}
    within = {"attn_q": (8, 8), "attn_k": (8, 4), "attn_v": (8, 4), "attn_output": (8, 8)}
    within |= {"ffn_gate": (8, 8), "ffn_up": (8, 8), "ffn_down": (8, 8), "attn_norm": (8,), "ffn_norm": (8,)}
    shapes = {"token_embd.weight": (8, 4), "output_norm.weight": (8,)}
    shapes |= {f"blk.0.{name}.weight": shape for name, shape in within.items()}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(values))
    head += b"".join(string(key) + value for key, value in values.items())
    body = b""
    for number, (name, shape) in enumerate(shapes.items()):
        head += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(body))
        own = torch.randn(prod(shape), generator=torch.Generator().manual_seed(number)) * 0.3
        body += own.numpy().tobytes()
        body += bytes(-len(body) % 32)
    return head + bytes(-len(head) % 32) + body
