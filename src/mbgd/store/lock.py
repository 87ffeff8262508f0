"""A run folder in, the right to write there out: one process at a time, and what dead ones left half-written is swept."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from pathlib import Path
from types import TracebackType

from mbgd.errors import StorageError
from mbgd.store.files import TEMPORARY
from mbgd.store.refusal import announced
from mbgd.store.sealed import json_bytes

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)  # a byte locked there may not be read, so not one of ours
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_BEYOND = 1 << 20
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}  # network file systems mounted without locks
_held: set[int] = set()  # descriptors of our locks


class FolderLock:
    """`with FolderLock(run):` one process at a time writes to a run folder; the system lets go when that process ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor = -1

    def __enter__(self) -> FolderLock:
        """Raises StorageError naming the process that holds the folder."""
        path = self.folder / ".lock"
        with announced(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._take(descriptor)
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, json_bytes({"pid": os.getpid(), "boot": _boot_id()}))
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        _held.add(descriptor)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._descriptor in _held:  # the file stays: removing it would let two processes lock two files of one name
            _held.discard(self._descriptor)
            os.close(self._descriptor)

    def _take(self, descriptor: int) -> None:
        try:
            _lock(descriptor)
        except OSError as error:
            holder, boot = _holder(descriptor)
            if error.errno in _NO_LOCKS:  # then a holder of this boot that lives is all that can be asked for
                if holder is None or boot != _boot_id() or not _is_alive(holder):
                    return
            elif error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            who = "another process" if holder is None else f"process {holder}"
            raise StorageError(
                f"run folder must have one writer, {self.folder} is in use by {who}; wait for it or end it"
            ) from None


def _holder(descriptor: int) -> tuple[int | None, str]:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        held = json.loads(os.read(descriptor, 4096))
        return int(held["pid"]), str(held["boot"])
    except (ValueError, KeyError, TypeError):
        return None, ""


def _boot_id() -> str:
    """Which start of the machine a process id belongs to; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _let_go_in_child() -> None:
    """A forked worker that outlives a killed parent must not keep the folder locked; closing a copy frees no lock."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def sweep(folder: Path) -> None:
    """Remove what processes that are gone left half-written in `folder`; to be called by the holder of its lock."""
    if not folder.is_dir():
        return
    with announced(folder, to="read"):
        for entry in sorted(folder.iterdir()):
            match = TEMPORARY.match(entry.name)
            if match and not _is_alive(int(match[1])):
                shutil.rmtree(entry, ignore_errors=True)
                with contextlib.suppress(OSError):
                    entry.unlink(missing_ok=True)
