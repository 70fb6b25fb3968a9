"""Runs a program: imports the package that a project directory holds, always from its text as it is now."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import count
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Integer

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError, ProjectError, SourceError, closest
from pellucid.base.memory import kept_until_release
from pellucid.family.blocks import Decoder
from pellucid.listing.edits import PAGE as EDITS
from pellucid.listing.edits import parse_edits, read_edits
from pellucid.listing.parse import Listing, read_program

_NUMBERS = count()
_LOCK = RLock()


class LoadedSources:
    """The functions of a program that was just imported as `package`, each of which can be called alone."""

    def __init__(self, directory: Path, package: ModuleType) -> None:
        names = ("model", "parts", "prelude", "vocabulary")
        model, parts, prelude, vocabulary = (importlib.import_module(f".{n}", package.__name__) for n in names)
        self.directory = directory
        self.vocabulary: Any = vocabulary.Vocabulary()
        self._view, self._probe, self._config = prelude.View, parts.probe, model.CONFIG
        self._sources = {key: parts.Source(s) for key, s in prelude.STATEMENTS.items() if s.function}

    def has(self, key: str) -> bool:
        """Whether the part `key` has a source."""
        return key in self._sources

    def check(self, key: str) -> None:
        """Call the source of `key` once on a short text. Raises `SourceError` naming the part if it is broken."""
        with _errors(self.directory):
            self._probe([self._source(key)], self._config, self.vocabulary)

    def source_output(
        self, key: str, ids: Integer[np.ndarray, "batch pos"], shape: tuple[int, ...]
    ) -> Float32[np.ndarray, "*_"]:
        """What the source of `key` says about the texts `ids`: scores (QK) or pre-activations (IN).

        `shape` is [batch, query, key] or [batch, pos]; the batch axis may be left out for a single text. Raises
        `SourceError` for a source that raises or returns something else, and for a key without such a source.
        """
        with _errors(self.directory):
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
        with _errors(self.directory):
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


class Program:
    """An emitted program in memory: a predictor, as the subject is.

    Everything that goes wrong inside it becomes a `SourceError` naming file, line and part.
    """

    def __init__(self, directory: Path, model: Any, sources: LoadedSources, decoder: Decoder) -> None:
        self.directory = directory
        self.model = model
        self.decoder = decoder
        self.sources = sources
        self.n_ctx: int = model.n_ctx
        self.n_vocab: int = model.n_vocab
        self.modules: dict[str, ModuleType] = {}

    def edited(self) -> None:
        """Take over `edits.py` as it is now, without reading the other pages again.

        Edits of sources by hand need the program to be loaded anew. Raises `SourceError` for a page that is broken.
        """
        read_edits(self.directory / "program")
        name = next(iter(self.modules)).partition(".")[0]
        with _errors(self.directory), _installed(name, self.directory / "program", self.modules):
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
        with _errors(self.directory), _installed(name, self.directory / "program", self.modules):
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

    def extend(
        self, ids: Integer[np.ndarray, "batch new"], cache: Any = None, last_only: bool = False
    ) -> tuple[Float32[np.ndarray, "batch out vocab"], Any]:
        """The logits after each of `ids` (or after the last only), which follow what `cache` holds; and the new cache.

        Raises `PellucidError` beyond `n_ctx` positions.
        """
        with _errors(self.directory):
            logits, grown = self.model.extend(np.asarray(ids, np.int64), cache, last_only)
        return logits, grown

    def logits(self, ids: Integer[np.ndarray, "batch pos"]) -> Float32[np.ndarray, "batch pos vocab"]:
        """The logits after each token of whole rows."""
        return self.extend(ids)[0]

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`. Raises `SourceError` for a word that the vocabulary lacks."""
        with _errors(self.directory):
            return list(self.model.vocabulary.opened(text))

    def check(self) -> None:
        """Call every source once on a short text. Raises `SourceError` naming the part that is broken."""
        with _errors(self.directory):
            self.model.plan.check(self.model.vocabulary)

    def lifted(self, key: str) -> tuple[Any, Float32[np.ndarray, " model"]]:
        """What a lifted head runs that has no residual (`read`, `write`, `bias`), and its mean write."""
        with _errors(self.directory):
            plan, (layer, head, _) = self.model.plan, key.split(".")
            return plan.runs(key), plan.mean(f"{layer}.OV")[int(head[1:])]

    def reading(self, key: str) -> Any:
        """What a lifted QK or IN runs that has no residual: `read_q`, `read_k` and `bias`, or `weight` and `bias`."""
        with _errors(self.directory):
            plan, (layer, part, kind) = self.model.plan, key.split(".")
            return plan.runs(key) if kind == "QK" else dict(plan.neurons(int(layer[1:]), kind))[int(part[1:])]

    def source_output(
        self, key: str, ids: Integer[np.ndarray, "batch pos"], shape: tuple[int, ...]
    ) -> Float32[np.ndarray, "*_"]:
        """What the source of one part says, see `Sources.source_output`.

        What reads named values says it by the patterns of this program; its residual must be dropped.
        """
        if key in self._reading:
            with _errors(self.directory):
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
    with _errors(directory), _package(directory / "program", listing.texts) as package:
        model = importlib.import_module(".model", package.__name__).Model(source_only)
        program = Program(directory, model, LoadedSources(directory, package), listing.decoder)
        program.modules = {
            name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == package.__name__
        }
    program.check()
    return program


def load_sources(directory: Path, page: str) -> LoadedSources:
    """Import one page (`layer_00.py`) of the program in `directory`: its sources alone, without the weights.

    This runs the page's code: ask first whether it may. Raises `SourceError` naming file, line and part.
    """
    directory = directory.resolve()
    texts = read_program(directory).texts
    with _errors(directory), _package(directory / "program", texts) as package:
        importlib.import_module(f".{page.removesuffix('.py')}", package.__name__)
        return LoadedSources(directory, package)


@contextmanager
def _errors(directory: Path) -> Iterator[None]:
    """Turn whatever a program raises into a `SourceError` with the place in its text."""
    try:
        yield
    except (PellucidError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        if type(error).__name__ == "ProgramError":
            missing = not (directory / "weights.safetensors").is_file()
            raise (ProjectError if missing else SourceError)(str(error)) from error
        program = str(directory / "program")
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(program)]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else program
        if isinstance(error, SyntaxError) and error.filename:
            place = f"{Path(error.filename).name}:{error.lineno}"
        raise SourceError(f"{place}: {type(error).__name__}: {error}") from error


class _Loader(SourceFileLoader):
    """Compiles a module from its text; neither reads nor writes bytecode, which may be older than an edit."""

    def __init__(self, fullname: str, path: str, text: str | None) -> None:
        super().__init__(fullname, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return _compiled(self.get_data(path) if self.text is None else self.text, path)


@kept_until_release(256)
def _compiled(text: bytes | str, path: str) -> CodeType:
    """The code of a module; kept, since a program that is measured is imported several times."""
    return compile(text, path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    """Finds the modules of one program; those whose `texts` are known by the names of their files are not read."""

    def __init__(self, name: str, program: Path, texts: Mapping[str, str]) -> None:
        self.name, self.program, self.texts = name, program, texts

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Where module `fullname` is to be read from, None for those of others."""
        parent, _, module = fullname.rpartition(".")
        if fullname != self.name and parent != self.name:
            return None
        whole = fullname == self.name
        file = self.program / ("__init__.py" if whole else f"{module}.py")
        locations = [str(self.program)] if whole else None
        loader = _Loader(fullname, str(file), self.texts.get(file.name))
        return importlib.util.spec_from_file_location(
            fullname, file, loader=loader, submodule_search_locations=locations
        )


@contextmanager
def _installed(name: str, program: Path, modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let the modules of a program that was loaded earlier be found again for a while, all but its edits."""
    finder = _Finder(name, program, {})
    with _LOCK:
        sys.meta_path.insert(0, finder)
        sys.modules.update({key: module for key, module in modules.items() if key != f"{name}.edits"})
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for module in [module for module in sys.modules if module.partition(".")[0] == name]:
                del sys.modules[module]


@contextmanager
def _package(program: Path, texts: Mapping[str, str]) -> Iterator[ModuleType]:
    """Import `program` under a name of its own, and forget its modules afterwards; what they made lives on."""
    name = f"_pellucid_program_{next(_NUMBERS)}"
    finder = _Finder(name, program, texts)
    with _LOCK:
        sys.meta_path.insert(0, finder)
        try:
            yield importlib.import_module(name)
        finally:
            sys.meta_path.remove(finder)
            for module in [module for module in sys.modules if module.partition(".")[0] == name]:
                del sys.modules[module]
