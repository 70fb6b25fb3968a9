"""A program in memory whose statements are known, and the functions of its sources, each to be called alone."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Integer

from pellucid.base.address import Address
from pellucid.base.errors import SourceError, closest
from pellucid.family.blocks import Decoder
from pellucid.listing.edits import PAGE as EDITS
from pellucid.listing.edits import parse_edits, read_edits
from pellucid.listing.importing import installed, package
from pellucid.listing.parse import Listing, read_program
from pellucid.listing.running import RunningProgram, errors


class LoadedSources:
    """The functions of a program that was just imported, each of which can be called alone."""

    def __init__(self, directory: Path, imported: ModuleType) -> None:
        names = ("model", "parts", "prelude", "vocabulary")
        model, parts, prelude, vocabulary = (importlib.import_module(f".{n}", imported.__name__) for n in names)
        self.directory = directory
        self.vocabulary: Any = vocabulary.Vocabulary()
        self._view, self._probe, self._config = prelude.View, parts.probe, model.CONFIG
        self._sources = {key: parts.Source(s) for key, s in prelude.STATEMENTS.items() if s.function}

    def has(self, key: str) -> bool:
        """Whether the part `key` has a source."""
        return key in self._sources

    def check(self, key: str) -> None:
        """Call the source of `key` once on a short text. Raises `SourceError` naming the part if it is broken."""
        with errors(self.directory):
            self._probe([self._source(key)], self._config, self.vocabulary)

    def source_output(
        self, key: str, ids: Integer[np.ndarray, "batch pos"], shape: tuple[int, ...]
    ) -> Float32[np.ndarray, "*_"]:
        """What the source of `key` says about the texts `ids`: scores (QK) or pre-activations (IN).

        `shape` is [batch, query, key] or [batch, pos]; the batch axis may be left out for a single text. Raises
        `SourceError` for a source that raises or returns something else, and for a key without such a source.
        """
        with errors(self.directory):
            source = self._source(key)
            if source.values:
                raise SourceError(
                    f"{key} reads named values ({source.values[0]}, …), which only a whole program can tell"
                )
            view = self._view(np.asarray(ids, np.int64), 0, self.vocabulary)
            batch, pos = ids.shape
            whole = (batch, pos, pos) if source.kind == "QK" else (batch, pos)
            said = source(whole, here=view.here, query=view.query(0, pos), key=view.key(pos))
            return np.broadcast_to(said, whole).reshape(shape).copy()

    def say(
        self, key: str, text: Integer[np.ndarray, "batch pos"], past: int, shape: tuple[int, ...], **given: Any
    ) -> Float32[np.ndarray, "*_"]:
        """What the source of `key` says, broadcast to `shape`, about the positions of `text` behind the first `past`.

        `given` has what it may ask for beside places: `pattern`, `fires`. Raises `SourceError` as `source_output`.
        """
        with errors(self.directory):
            view = self._view(np.asarray(text, np.int64), past, self.vocabulary)
            end = text.shape[1]
            places = {"here": view.here, "query": view.query(0, end - past), "key": view.key(end)}
            return np.broadcast_to(self._sources[key](shape, **places, **given), shape).copy()

    def view(self, ids: Integer[np.ndarray, "batch pos"]) -> Any:
        """Whole rows of text as sources see them."""
        return self._view(ids, 0, self.vocabulary)

    def _source(self, key: str) -> Any:
        source = self._sources.get(key)
        if source is None or source.kind not in ("QK", "IN"):
            known = [key for key, found in self._sources.items() if found.kind in ("QK", "IN")]
            raise SourceError(f"{key} has no source of scores or pre-activations to call{closest(key, known)}")
        return source


class Program(RunningProgram):
    """An emitted program in memory, whose statements are known."""

    def __init__(self, directory: Path, model: Any, sources: LoadedSources, decoder: Decoder) -> None:
        super().__init__(directory, model)
        self.decoder = decoder
        self.sources = sources
        self.modules: dict[str, ModuleType] = {}

    def edited(self) -> None:
        """Take over `edits.py` as it is now, without reading the other pages again.

        Edits of sources by hand need the program to be loaded anew. Raises `SourceError` for a page that is broken.
        """
        read_edits(self.directory / "program")
        name = next(iter(self.modules)).partition(".")[0]
        with errors(self.directory), installed(name, self.directory / "program", self.modules):
            registry = self.modules[f"{name}.prelude"]
            held = list(registry.CHANGES), dict(registry.BASES)
            registry.CHANGES.clear()
            registry.BASES.clear()
            try:
                if (self.directory / "program" / EDITS).is_file():
                    importlib.import_module(f"{name}.edits")
                self.model.plan.changes.collect()
                self.model.plan.try_changes(self.model.vocabulary)
            except BaseException:
                registry.CHANGES[:] = held[0]
                self.model.plan.changes.collect()
                raise
            finally:
                registry.BASES.clear()
                registry.BASES.update(held[1])

    def tried(self, text: str) -> list[Any]:
        """The edits of a page `text`, ready to be called, without the program taking them over.

        Raises `SourceError` for a page that is broken.
        """
        parse_edits(self.directory / "program" / EDITS, text)
        name = next(iter(self.modules)).partition(".")[0]
        registry, changes = self.modules[f"{name}.prelude"], self.model.plan.changes
        held, based = list(registry.CHANGES), dict(registry.BASES)
        with errors(self.directory), installed(name, self.directory / "program", self.modules):
            try:
                registry.CHANGES.clear()
                exec(
                    compile(text, EDITS, "exec", dont_inherit=True), {"__package__": name, "__name__": f"{name}.edits"}
                )
                return list(changes.made(registry.CHANGES))
            finally:
                registry.CHANGES[:] = held
                registry.BASES.clear()
                registry.BASES.update(based)

    def logits(self, ids: Integer[np.ndarray, "batch pos"]) -> Float32[np.ndarray, "batch pos vocab"]:
        """The logits after each token of whole rows."""
        return self.extend(ids)[0]

    def check(self) -> None:
        """Call every source once on a short text. Raises `SourceError` naming the part that is broken."""
        with errors(self.directory):
            self.model.plan.check(self.model.vocabulary)

    def lifted(self, key: str) -> tuple[Any, Float32[np.ndarray, " model"]]:
        """What a lifted head runs that has no residual (`read`, `write`, `bias`), and its mean write."""
        with errors(self.directory):
            plan, (layer, head, _) = self.model.plan, key.split(".")
            return plan.runs(key), plan.mean(f"{layer}.OV")[int(head[1:])]

    def reading(self, key: str) -> Any:
        """What a lifted QK or IN runs that has no residual: `read_q`, `read_k` and `bias`, or `weight` and `bias`."""
        with errors(self.directory):
            plan, (layer, part, kind) = self.model.plan, key.split(".")
            return plan.runs(key) if kind == "QK" else dict(plan.neurons(int(layer[1:]), kind))[int(part[1:])]

    def source_output(
        self, key: str, ids: Integer[np.ndarray, "batch pos"], shape: tuple[int, ...]
    ) -> Float32[np.ndarray, "*_"]:
        """What the source of one part says, see `Sources.source_output`.

        What reads named values says it by the patterns of this program; its residual must be dropped.
        """
        if key in self._reading:
            with errors(self.directory):
                return self._read(key, np.asarray(ids, np.int64)).reshape(shape).copy()
        return self.sources.source_output(key, ids, shape)

    @property
    def _reading(self) -> list[str]:
        """The neurons and heads that read named values and run."""
        found = []
        for layer, (attention, mlp) in enumerate(self.model.layers):
            found += [f"L{layer:02d}.H{head:02d}.QK" for head, source in attention.looks if source.values]
            found += [f"L{layer:02d}.N{neuron:04d}.IN" for neuron in mlp.sums.neurons]
        return found

    def _read(self, key: str, ids: Integer[np.ndarray, "batch pos"]) -> Float32[np.ndarray, "batch pos *key"]:
        """The pre-activations of the neuron `key` on whole rows, or the scores of the head, by the program."""
        address = Address.parse(key)
        view = self.sources.view(ids)
        stream = self.model.embed(view)
        sizes, block = self.decoder.sizes, self.decoder.blocks[address.layer]
        held = np.empty((*stream.shape[:2], 2 * sizes.group * sizes.dim), np.float32)
        for attention, mlp in self.model.layers[: address.layer]:
            moved = attention(attention.norm(stream, view), view, held)
            read = stream if block.parallel else stream + moved
            stream = stream + moved + mlp(mlp.norm(read, view), view)
        attention, mlp = self.model.layers[address.layer]
        if address.kind == "QK":
            return np.asarray(attention.scores(address.index, view))
        moved = attention(attention.norm(stream, view), view, held)
        normed = mlp.norm(stream if block.parallel else stream + moved, view)
        said = mlp.products(normed, view) if block.mlp.gate else mlp.pre_activations(normed, view)
        return np.asarray(said[..., address.index])


def load_program(
    directory: Path, source_only: Literal["code", "all"] | None = None, listing: Listing | None = None
) -> Program:
    """Import the program in `directory`, check its statements and call every source once.

    Where its `listing` was read already, its pages are not read again. This runs the program's code: ask first whether
    it may. Raises `SourceError` naming file, line and part.
    """
    directory = directory.resolve()
    listing = listing or read_program(directory)
    with errors(directory), package(directory / "program", listing.texts) as imported:
        model = importlib.import_module(".model", imported.__name__).Model(source_only)
        program = Program(directory, model, LoadedSources(directory, imported), listing.decoder)
        program.modules = {
            name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == imported.__name__
        }
    program.check()
    return program


def load_sources(directory: Path, page: str) -> LoadedSources:
    """Import one page (`layer_00.py`) of the program in `directory`: its sources alone, without the weights.

    This runs the page's code: ask first whether it may. Raises `SourceError` naming file, line and part.
    """
    directory = directory.resolve()
    texts = read_program(directory).texts
    with errors(directory), package(directory / "program", texts) as imported:
        importlib.import_module(f".{page.removesuffix('.py')}", imported.__name__)
        return LoadedSources(directory, imported)
