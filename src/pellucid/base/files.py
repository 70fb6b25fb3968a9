"""Reading and writing files: bounded reads of regular files alone, atomic writes, hashes.

A crash leaves either the old file or the new one, never a part of one under its name. What a killed process was writing
lies beside it as `.NAME.PROCESS.….partial`, until `remove_left` finds that the process has ended.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pellucid.base.errors import ProjectError

MOST_BYTES = 1 << 26
"""The largest text that is read from a project directory (64 MiB)."""
MOST_OF_PAGE = 1 << 23
"""The largest page of a program (8 MiB): Python takes up to 500 bytes of memory to parse one of text."""
PARTIAL = ".partial"
"""How the names of files end that are being written."""
_passing: set[Path] = set()
"""Files and folders that exist only while something is being done."""


# --- reading ----------------------------------------------------------------------------------------------------------


def read_text(path: Path, most: int = MOST_BYTES, *, lenient: bool = False) -> str:
    """The text (UTF-8) of the file at `path`, which may come from anybody.

    Raises `ProjectError` for a device, a pipe or a folder, for more than `most` bytes, and for other bytes than UTF-8
    unless `lenient`, and `FileNotFoundError` where there is none.
    """
    data = read_bytes(path, most)
    try:
        return data.decode("utf-8", "replace" if lenient else "strict").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path} is not text in UTF-8: byte {error.start} is {data[error.start]:#04x}") from None


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of the file at `path`. Raises `ProjectError` for a device, a pipe or a folder, and for too many."""
    require_regular(path, most)
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    _require_small(path, len(data), most)
    return data


def require_regular(path: Path, most: int = MOST_BYTES) -> None:
    """Raise `ProjectError` where `path` is no regular file, or one of more than `most` bytes; nothing is opened."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ProjectError(f"{path} is {_kind(found.st_mode)}, expected a regular file")
    _require_small(path, found.st_size, most)


def _require_small(path: Path, size: int, most: int) -> None:
    if size > most:
        raise ProjectError(f"{path} holds {size:,} bytes; at most {most:,} are read")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


# --- writing ----------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it replaces `target`, on failure it is removed.

    An `OSError` that names no file is about `target`: a full disk, most often.
    """
    import tempfile

    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.{os.getpid()}.", suffix=PARTIAL, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    _passing.add(temporary)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is not None and error.filename in (None, name):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
        _passing.discard(temporary)


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target` (UTF-8, line ends as they are) atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


@contextmanager
def passing_folder(parent: Path | None = None, prefix: str = "pellucid-") -> Iterator[Path]:
    """A folder for a while, in `parent` or where the system keeps such; gone afterwards, with all that is in it."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}.", suffix=PARTIAL, dir=parent))
    _passing.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _passing.discard(folder)


def remove_passing() -> None:
    """Remove what exists only for a while, at once; for a process that is about to end without unwinding."""
    for path in list(_passing):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_left(directory: Path) -> None:
    """Remove what processes that have ended were writing in `directory` and below it when they were killed."""
    for path in list(directory.rglob(f".*{PARTIAL}")):
        writer = path.name.removesuffix(PARTIAL).split(".")[-2]
        if not (writer.isdigit() and _runs(int(writer))):
            _remove(path)


def remove_oldest(directory: Path, most: int) -> None:
    """Leave room for one more file where `directory` holds `most`: those that were written first go."""
    if directory.is_dir():
        files = sorted((path for path in directory.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) - most + 1)]:
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process may still be running; where that cannot be asked without harm, it may."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


# --- hashes -----------------------------------------------------------------------------------------------------------


Stamps = tuple[tuple[str, int, int, int], ...]


def stamps_of(*paths: Path) -> Stamps:
    """What tells whether files, or those directly in folders, have changed: names, inodes, times, sizes.

    Cheaper than reading them; what is not there has no stamp.
    """
    found: list[tuple[str, int, int, int]] = []
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            with suppress(OSError):
                told = file.stat()
                found.append((str(file), told.st_ino, told.st_mtime_ns, told.st_size))
    return tuple(found)


def sha256_text(text: str) -> str:
    """SHA-256 of `text` in UTF-8, in hexadecimal; halves of characters, as in some names of files, count too."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_files(paths: list[Path]) -> str:
    """SHA-256 over the contents of `paths` in the given order, in hexadecimal; one file gives its plain digest."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
