"""Bytes, lines or JSON in, a file in place out: every write of the project is whole or absent, and a run folder has one writer."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mbgd.errors import PlanError, SavedFileError, StorageError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)  # a byte locked there may not be read, so not one of ours
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TEMPORARY = re.compile(r"\.tmp-(\d+)-[0-9a-f]{32}-")
_BEYOND = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}  # network file systems mounted without locks
_held: set[int] = set()  # descriptors of our locks


# --- one file ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block ends well and removed when it does not.

    A reader sees the old file or the whole new one, after a crash or power loss as well. Raises StorageError.
    """
    temporary = _temporary(path)
    try:
        with announced(path):
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path`, re-read before it takes the place of what was there. Raises StorageError."""
    with writing(path) as temporary:
        _write_new(temporary, data)
        _sync(temporary)
        if temporary.read_bytes() != data:
            raise OSError(errno.EIO, "what was read back differs from what was written")


def write_json(path: Path, value: object) -> None:
    """Put a value at `path` as JSON for readers of any language: a float that is not finite becomes null."""
    write_bytes(path, json_bytes(finite(value)))


def read_json(path: Path) -> Any:
    """The value at `path`. Raises SavedFileError where it is missing or no JSON, StorageError where it cannot be read."""
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError):
        raise SavedFileError(f"{path} must hold JSON, got something else; it is damaged or not MBGD's") from None


def read_bytes(path: Path) -> bytes:
    """All of a small file. Raises SavedFileError where it is missing."""
    with announced(path, to="read"), _missing(path):
        return path.read_bytes()


def append_line(path: Path, text: str) -> None:
    """Add one line, on disk when this returns; a line that did not fit is taken back, so that the next stands alone."""
    created = not path.exists()
    with announced(path), path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            _write_all(file, text.encode() + b"\n")
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise
        if created:
            _sync_folder(path.parent)


def sha256(path: Path) -> str:
    """Of the file's bytes, in memory of fixed size. Raises SavedFileError where it is missing."""
    with announced(path, to="read"), _missing(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- folders ----------------------------------------------------------------------------------------------------------


def new_folder(path: Path) -> None:
    """Make a folder, on disk when this returns; an empty one that is there will do.

    Raises PlanError where something else is there, StorageError.
    """
    with announced(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir() or any(path.iterdir()):
                remedy = f"go on with it by 'mbgd resume {path}'" if (path / "plan.json").exists() else "choose another"
                raise PlanError(f"out must name a new folder, {path} exists; {remedy}") from None
        _sync_folder(path.parent)


def write_folder(final: Path, files: Mapping[str, bytes], *, verify: Callable[[Path], object]) -> None:
    """Make a folder of files, whole or not at all: written under another name, synced, read by `verify`, then renamed.

    `verify` raises where the folder is not what was meant. Raises StorageError; nothing of a failed one stays.
    """
    temporary = _temporary(final)
    try:
        with announced(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            for name, data in files.items():
                _write_new(temporary / name, data)
                _sync(temporary / name)
            _sync_folder(temporary)
            verify(temporary)
            temporary.rename(final)
            _sync_folder(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Take a folder away: out of sight in one rename, so that what a crash leaves behind never looks whole."""
    hidden = _temporary(path)
    with announced(path, to="remove"):
        path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what processes that are gone left half-written in `folder`; to be called by the holder of its lock."""
    if not folder.is_dir():
        return
    with announced(folder, to="read"):
        for entry in sorted(folder.iterdir()):
            match = _TEMPORARY.match(entry.name)
            if match and not _is_alive(int(match[1])):
                shutil.rmtree(entry, ignore_errors=True)
                with contextlib.suppress(OSError):
                    entry.unlink(missing_ok=True)


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


# --- JSON that finds its own damage -----------------------------------------------------------------------------------


def json_bytes(value: object) -> bytes:
    """The one spelling of a value: sorted keys, one entry a line, numbers as Python's repr."""
    return json.dumps(value, indent=1, sort_keys=True, default=_plain, ensure_ascii=False).encode() + b"\n"


def seal(value: Mapping[str, object]) -> bytes:
    """A mapping as JSON with a digest of itself, `sha256`: of the JSON without that entry."""
    return json_bytes({**value, "sha256": hashlib.sha256(json_bytes(dict(value))).hexdigest()})


def unseal(data: bytes) -> dict[str, Any]:
    """The mapping that was sealed. Raises ValueError where any byte differs from what `seal` wrote, spaces included."""
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    digest = value.pop("sha256", None)
    if seal(value) != data:
        raise ValueError(f"its SHA-256 is not {digest}")
    return value


def finite(value: object) -> object:
    """The same value as JSON can say it: None for each float that is not finite, NumPy's and torch's scalars as Python's."""
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return finite(_plain(value)) if hasattr(value, "item") else value


def _plain(value: Any) -> Any:
    """NumPy's and torch's scalars as Python's."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON value")


# --- what the system is asked for ------------------------------------------------------------------------------------


@contextlib.contextmanager
def announced(path: Path, *, to: str = "write") -> Iterator[None]:
    """Turn the system's refusal into one sentence: StorageError with the path, what happened and what to do."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(_sentence(error, path, to)) from error


def _sentence(error: OSError, path: Path, to: str) -> str:
    if error.errno in _FULL:
        return f"disk must have room for {path}, it is full; free some space or choose a folder on another disk"
    if error.errno == errno.EROFS:
        return f"{path} must be on a disk that can be written, it is read-only; choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission is missing to {to} {path}; change its owner or mode, or choose another folder"
    if error.errno == errno.ENOENT:
        return f"the folder of {path} must exist to {to} it, it does not; make {path.parent}"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
        return f"{path} must be free to {to}, something of another kind is there; choose another name"
    return f"the system failed to {to} {path}: {error.strerror or error}; check the disk and try again"


@contextlib.contextmanager
def _missing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SavedFileError(f"{path} must exist, it does not; check the path") from None


def _temporary(path: Path) -> Path:
    return path.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}-{path.name}"


def _write_new(path: Path, data: bytes) -> None:
    """Room is reserved first: a full disk is known before the first byte."""
    with path.open("xb", buffering=0) as file:
        if data and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, len(data))
            except OSError as error:
                if error.errno in _FULL:
                    raise
        _write_all(file, data)


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]  # an unbuffered write may take a part only


def _sync(path: Path) -> None:
    """On disk when this returns; what is read next comes from there where the system can be asked for it."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sync_folder(path: Path) -> None:
    """A rename is on disk when its folder is."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
