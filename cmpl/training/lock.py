"""One writer a run: a lock on its folder, held by a process and freed by its end, however it ends."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import InputError

NAME = ".lock"
_FLOCK = "hhqqi4x"
"""Linux's struct flock: type, whence, start, length, process."""
_held: set[Path] = set()
"""Folders that this process holds. POSIX locks are of a process: it would be given its own again."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[str | None]:
    """Holds the folder for the block; yields None, or why its file system cannot lock.

    A byte-range lock (lockf), which network file systems know too. Raises InputError where another process holds it,
    with its machine, its number and since when.
    """
    key = folder.resolve()
    if key in _held:
        raise InputError(f"{folder}: this process trains here already; accepted: one training a folder")
    handle, problem = _acquired(folder / NAME)
    _held.add(key)
    try:
        yield problem
    finally:
        _held.discard(key)
        with contextlib.suppress(OSError):  # the lock ends with the handle; its file may be left
            (folder / NAME).unlink()
        os.close(handle)


def holder_of(folder: Path) -> dict[str, Any] | None:
    """Returns {"host", "pid", "since"} of the process that holds the folder, {} where that cannot be read; else None.

    Nothing is locked by asking.
    """
    if folder.resolve() in _held:  # opening the file here, and closing it, would free it
        return {"host": socket.gethostname(), "pid": os.getpid()}
    try:
        with (folder / NAME).open() as file:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, *_ = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
            if kind == fcntl.F_UNLCK:
                return None
            return dict(json.loads(file.read(4096)))
    except OSError:
        return None
    except (ValueError, TypeError):
        return {}


def _acquired(file: Path) -> tuple[int, str | None]:
    """An open handle on the locked file, and why it is not locked where the file system has no locks."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(file) and os.path.samestat(os.fstat(handle), os.stat(file)):
                os.ftruncate(handle, 0)
                os.pwrite(handle, _holder().encode(), 0)
                return handle, None
            os.close(handle)  # the holder before us removed the file while we waited for nothing
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return handle, error.strerror
            holder = os.pread(handle, 4096, 0).decode(errors="replace")
            os.close(handle)
            raise InputError(f"{file.parent}: {_in_words(holder)}; accepted: one training a folder") from error
        except BaseException:
            os.close(handle)
            raise


def _holder() -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now}) + "\n"


def _in_words(holder: str) -> str:
    try:
        known = json.loads(holder)
        return f"process {known['pid']} on {known['host']} trains here since {known['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process trains here"
