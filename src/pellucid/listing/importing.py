"""Imports the package that a project directory holds, always from its text as it is now.

Bytecode beside a program is neither read nor written: it may be older than an edit, and a stranger could have put it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import count
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from pellucid.base.files import atomic_path, read_bytes, remove_oldest
from pellucid.base.memory import kept_until_release
from pellucid.base.trusted import state_folder

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

COMPILED, KEPT_COMPILED = "compiled", 400
"""Where bytecode is kept in the state folder, and how many files of it."""
_NUMBERS = count()
_LOCK = RLock()


class _Loader(SourceFileLoader):
    """Compiles a module from its text; neither reads nor writes bytecode, which may be older than an edit."""

    def __init__(self, fullname: str, path: str, text: str | None) -> None:
        super().__init__(fullname, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return _compiled(self.get_data(path) if self.text is None else self.text, path)


class _CompiledLoader(SourceFileLoader):
    """Compiles a module from its text once: bytecode is kept in the state folder of the account, by what was compiled.

    There it is as safe as what says that the program may run; beside the program a stranger could have put it.
    """

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self.data = text.encode("utf-8")
        self.kept = state_folder() / COMPILED / f"{sha256(self.data).hexdigest()}.{sys.implementation.cache_tag}"

    def path_stats(self, path: str) -> dict[str, int]:  # noqa: ARG002
        return {"mtime": 0, "size": len(self.data)}

    def get_data(self, path: str) -> bytes:
        return self.data if path == self.path else read_bytes(self.kept)

    def set_data(self, path: str, data: ReadableBuffer, *, _mode: int = 0o600) -> None:  # noqa: ARG002
        with suppress(OSError):
            remove_oldest(self.kept.parent, KEPT_COMPILED)
            with atomic_path(self.kept) as passing:
                passing.write_bytes(data)


@kept_until_release(256)
def _compiled(text: bytes | str, path: str) -> CodeType:
    """The code of a module; kept, since a program that is measured is imported several times."""
    return compile(text, path, "exec", dont_inherit=True)


class _Finder:
    """Finds the modules of one program; those whose `texts` are known by the names of their files are not read."""

    def __init__(self, name: str, program: Path, texts: Mapping[str, str], *, keeps: bool = False) -> None:
        self.name, self.program, self.texts, self.keeps = name, program, texts, keeps

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
        text = self.texts.get(file.name)
        loader: SourceFileLoader = _Loader(fullname, str(file), text)
        if self.keeps and text is not None:
            loader = _CompiledLoader(fullname, str(file), text)
        return importlib.util.spec_from_file_location(
            fullname, file, loader=loader, submodule_search_locations=locations
        )


@contextmanager
def installed(name: str, program: Path, modules: dict[str, ModuleType]) -> Iterator[None]:
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
def package(program: Path, texts: Mapping[str, str], *, keeps: bool = False) -> Iterator[ModuleType]:
    """Import `program` under a name of its own, and forget its modules afterwards; what they made lives on.

    With `keeps` what modules are compiled to is kept for the next time.
    """
    name = f"_pellucid_program_{next(_NUMBERS)}"
    finder = _Finder(name, program, texts, keeps=keeps)
    with _LOCK:
        sys.meta_path.insert(0, finder)
        try:
            yield importlib.import_module(name)
        finally:
            sys.meta_path.remove(finder)
            for module in [module for module in sys.modules if module.partition(".")[0] == name]:
                del sys.modules[module]
