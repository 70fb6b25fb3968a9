"""Locks between processes, held by the operating system: a process that is killed holds nothing any more."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident

from pellucid.base.errors import ProjectError
from pellucid.base.files import remove_left

LOCK = ".lock"
"""The file in a project directory by which its writers exclude each other; it is there only while one writes."""
_UNABLE = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
"""What file systems without locks say."""
_INTERVAL = 0.02
_held: dict[Path, int] = {}
"""The directories that this process is writing, with the thread that does."""

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a byte behind the text, which others may read

    def _taken(handle: int) -> bool:
        """Take the lock on an open file; False where somebody else has it."""
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _taken(handle: int) -> bool:
        """Take the lock on an open file; False where somebody else has it. True where there are no locks to take."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _UNABLE
        return True


def _open(path: Path) -> int:
    """Open the file of a lock, which is made if it is not there; links and devices are refused."""
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | careful, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            raise ProjectError(f"{path} is no lock of ours; remove it") from None
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(handle)
        raise ProjectError(f"{path} is no lock of ours; remove it")
    return handle


def _acquire(path: Path) -> int | None:
    """The open file of a lock that this process has from now on, None where another has it.

    Whoever gives a lock back removes its file: one that was taken meanwhile counts only if it still lies there.
    """
    while True:
        handle = _open(path)
        if not _taken(handle):
            os.close(handle)
            return None
        if path.exists() and os.path.samestat(os.fstat(handle), path.lstat()):
            return handle
        os.close(handle)


def _release(path: Path, handle: int) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there
        os.close(handle)
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            return
    else:
        path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, and wait until others have given it back; for what takes moments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while (handle := _acquire(path)) is None:
        time.sleep(_INTERVAL)
    try:
        yield
    finally:
        _release(path, handle)


@contextmanager
def writing(directory: Path, *, make: bool = False) -> Iterator[None]:
    """Be the only one who writes to the project `directory`; again within that is allowed.

    What killed writers left half written is removed. With `make` the folder is made where there is none, and is gone
    again if nothing was written to it. Raises `ProjectError` saying who writes there already.
    """
    key = directory.resolve()
    if _held.get(key) == get_ident():
        yield
        return
    made = [folder for folder in (key, *key.parents) if make and not folder.exists()]
    if make:
        key.mkdir(parents=True, exist_ok=True)
    path = key / LOCK
    handle = _acquire(path)
    if handle is None:
        raise ProjectError(f"{directory} is being written by {_holder(path)}; wait until it has ended, or end it")
    try:
        _held[key] = get_ident()
        os.ftruncate(handle, 0)
        os.write(handle, _me().encode("utf-8", "replace"))
        remove_left(key)
        yield
    finally:
        _held.pop(key, None)
        _release(path, handle)
        with suppress(OSError):  # of those that hold something
            for folder in made:
                folder.rmdir()


def _me() -> str:
    """This process as a lock names it."""
    import socket
    from datetime import datetime

    name = Path(sys.argv[0]).name if sys.argv else "python"
    command = " ".join(["pellucid" if name == "__main__.py" else name, *sys.argv[1:2]])
    return f"process {os.getpid()} on {socket.gethostname()} (`{command}`, since {datetime.now():%H:%M})"


def _holder(path: Path) -> str:
    """Who holds the lock at `path`, as it said itself."""
    try:
        with path.open("rb") as stream:
            said = stream.read(300).decode("utf-8", "replace").strip()
    except OSError:
        said = ""
    return said or "another command"
