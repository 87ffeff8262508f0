"""The right to write to a run folder, which one process has at a time, and the right to read it while nobody writes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from mbgd.errors import SavedFileError, StorageError
from mbgd.store.own_file import own_file
from mbgd.store.refusal import announced
from mbgd.store.sealed import json_bytes
from mbgd.store.temporary import boot_id, is_alive

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, shared: bool) -> None:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)  # a byte locked there may not be read, so not one of ours
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


_BEYOND = 1 << 20
_LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}  # network file systems mounted without locks
_MOST_BYTES = 4096
_held: set[int] = set()  # descriptors of our locks


class InUseError(StorageError):
    """Another process has the folder, or took it first."""


class FolderLock:
    """`with FolderLock(run):` one process at a time writes to a run folder; the system lets go when that process ends."""

    def __init__(self, folder: Path, *, signed: bool = True) -> None:
        """Where it is not `signed`, the file stays as it was until `sign`."""
        self.folder, self._signed = folder, signed
        self._descriptor = -1

    def __enter__(self) -> FolderLock:
        """Raises InUseError naming the process that holds the folder, SavedFileError where `.lock` is no file of a run."""
        with announced(self.folder / _LOCK):
            self._descriptor = _locked(self.folder, os.O_RDWR | os.O_CREAT)
        _held.add(self._descriptor)
        if self._signed:
            self.sign()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._let_go()  # the file stays: removing it would let two processes lock two files of one name

    def sign(self) -> None:
        """Say in the file who holds it, and which file it is: a copy says that of another. On disk when this returns."""
        with announced(self.folder / _LOCK), self._let_go_on_failure():
            said = {"pid": os.getpid(), "boot": boot_id(), "inode": os.fstat(self._descriptor).st_ino}
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, json_bytes(said))
            os.fsync(self._descriptor)

    def _let_go(self) -> None:
        if self._descriptor in _held:
            _held.discard(self._descriptor)
            os.close(self._descriptor)

    @contextlib.contextmanager
    def _let_go_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._let_go()
            raise


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Nobody writes to the folder meanwhile, others may read; nothing in it is changed. Raises as `FolderLock` does.

    A folder without a lock, as one that was copied to be read alone, is read as it is.
    """
    if not os.path.lexists(folder / _LOCK):
        yield
        return
    with announced(folder / _LOCK, to="read"):
        descriptor = _locked(folder, os.O_RDONLY)
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def was_made_here(folder: Path) -> bool:
    """Whether the lock of a folder is the file that a process of ours made in it, no copy: only such a folder is known to
    be the one in which a training was begun. Raises OSError."""
    path = folder / _LOCK
    try:
        descriptor = own_file(path, os.O_RDONLY)
    except (FileNotFoundError, SavedFileError):
        return False
    try:
        found = os.fstat(descriptor)
        return found.st_nlink == 1 and _said(descriptor).get("inode") == found.st_ino
    finally:
        os.close(descriptor)


def _locked(folder: Path, flags: int) -> int:
    """A descriptor of the locked file that has the name now: whoever had it before may have removed it with its folder."""
    path, shared = folder / _LOCK, not flags & os.O_RDWR
    while True:
        descriptor = own_file(path, flags)
        try:
            _take(descriptor, folder, shared=shared)
            if _is_still(path, descriptor):
                _check_ours(path, descriptor)
                if shared or os.fstat(descriptor).st_nlink == 1:
                    return descriptor
                os.unlink(path)  # it is the lock of a copy by hard links as well: this folder gets one of its own
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _take(descriptor: int, folder: Path, *, shared: bool) -> None:
    try:
        _lock(descriptor, shared=shared)
    except OSError as error:
        said = _said(descriptor)
        pid = said.get("pid")
        lives = type(pid) is int and said.get("boot") == boot_id() and is_alive(pid)
        if error.errno in _NO_LOCKS:  # then a holder of this boot that lives is all that can be asked for
            if not lives:
                return
        elif error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        who = f"process {pid}" if lives else "another process"
        raise InUseError(
            f"run folder must have one writer, {folder} is in use by {who}; wait for it or end it"
        ) from None


def _said(descriptor: int) -> dict[str, Any]:
    """What stands in a lock's file; nothing where that is no JSON object."""
    try:
        said = json.loads(_content(descriptor))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _content(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, _MOST_BYTES)


def _check_ours(path: Path, descriptor: int) -> None:
    """A file that holds anything else, by a hard link maybe, is not written over; a power loss leaves zeros of ours, or a
    part."""
    there, ours = _content(descriptor).rstrip(b"\0"), json_bytes({"boot": ""})[:-4]
    is_part = there.startswith(ours) or ours.startswith(there)
    if there and not is_part and not {"pid", "boot"} <= set(_said(descriptor)):
        raise SavedFileError(f"{path} must be the lock of a run folder, it holds something else; take it away")


def _let_go_in_child() -> None:
    """A forked worker that outlives a killed parent must not keep the folder locked; closing a copy frees no lock."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
