"""Write files and folders whole or not at all: the old one or the new one, whatever fails on the way."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mbgd import signals
from mbgd.errors import PlanError, SavedFileError
from mbgd.store.own_file import own_file
from mbgd.store.refusal import FULL, announced
from mbgd.store.sealed import Digest, finite, json_bytes, opened, seal_meaning
from mbgd.store.strict_json import parse_json
from mbgd.store.temporary import discard, temporary

LARGEST_JSON = 1 << 26
"""Bytes of a JSON file, at most: what it is read into takes several times as many, and no plan or manifest comes near."""


@contextlib.contextmanager
def writing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """A temporary file in the same folder, renamed to `path` when the block ends well and removed when it does not.

    A reader sees the old file or the whole new one, after a crash or power loss as well. The new one has `mode`, without
    it the mode of the old one, and its owner where this process may give it away. A link of that name is replaced, not
    followed. Raises StorageError.
    """
    with temporary(path) as place, signals.undo_if_ended(lambda: place.unlink(missing_ok=True)):
        try:
            with announced(path):
                mode = _begin(place, like=path) if mode is None else _begin_with(place, mode)
                yield place
                _sync(place)
                if mode is not None:
                    place.chmod(mode)
                os.replace(place, path)
                _sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path`, re-read before it takes the place of what was there. Raises StorageError."""
    with writing(path) as place:
        _write_new(place, data)
        _sync(place)
        if place.read_bytes() != data:
            raise OSError(errno.EIO, "what was read back differs from what was written")


def write_json(path: Path, value: object) -> None:
    """Put a value at `path` as JSON for readers of any language: a float that is not finite becomes null."""
    write_bytes(path, json_bytes(finite(value)))


def read_json(path: Path) -> Any:
    """The value at `path`. Raises SavedFileError where it is missing or no JSON, StorageError where it cannot be read."""
    try:
        return parse_json(read_bytes(path, most=LARGEST_JSON))
    except ValueError:
        raise SavedFileError(f"{path} must hold JSON, got something else; it is damaged or not MBGD's") from None


def write_sealed(path: Path, value: Mapping[str, object]) -> None:
    """`write_json` with a checksum inside."""
    write_bytes(path, seal_meaning(value))


def read_sealed(path: Path, *, remedy: str = "restore it from a copy") -> Any:
    """The value that `write_sealed` put at `path`, or the JSON of a version that sealed nothing. Raises SavedFileError where
    it says something else than it did, and as `read_json` does."""
    said, whole = opened(read_json(path))
    if whole is False:
        raise SavedFileError(f"{path} must say what was written, its SHA-256 shows that it was changed; {remedy}")
    return said


def read_bytes(path: Path, *, most: int | None = None) -> bytes:
    """All of a small file, never more than its size says. Raises SavedFileError where it is missing, no file, or larger
    than `most`."""
    with announced(path, to="read"), _missing(path):
        size = file_size(path)
        if most is not None and size > most:
            raise SavedFileError(
                f"{path} must have at most {most:,} bytes, it has {size:,}; it is damaged or not MBGD's"
            )
        with path.open("rb") as file:
            return file.read(size)


def file_size(path: Path) -> int:
    """In bytes. Raises SavedFileError for a pipe or device, which may never end, OSError for a folder and what is absent."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise SavedFileError(f"{path} must be a file, got a pipe or device; copy what it gives to a file first")
    return found.st_size


def append_line(path: Path, text: str) -> None:
    """Add one line, as `append_bytes` does, so that the next stands alone."""
    append_bytes(path, text.encode() + b"\n")


def append_bytes(path: Path, data: bytes) -> None:
    """Add to a file; what did not fit is taken back.

    It survives the end of this process at once, and a power loss after `sync`, which costs as much as many steps. Raises
    StorageError, and SavedFileError where a link, a pipe or a device has that name.
    """
    with announced(path), open(path, "ab", buffering=0, opener=own_file) as file:
        before = file.tell()
        try:
            _write_all(file, data)
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise


def sync(path: Path) -> None:
    """Put what was appended to a file on disk. Raises StorageError."""
    with announced(path):
        _sync(path)
        _sync_folder(path.parent)


def sha256(path: Path) -> str:
    """Of the file's bytes, in memory of fixed size. Raises SavedFileError where it is missing."""
    with announced(path, to="read"), _missing(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: Path) -> Digest:
    """Of a file as it is. Raises SavedFileError where it is missing."""
    with announced(path, to="read"), _missing(path):
        return Digest(file_size(path), sha256(path))


def new_folder(path: Path) -> None:
    """Make a folder, on disk when this returns; an empty one that is there will do.

    Raises PlanError where something else is there, StorageError.
    """
    with announced(path):
        _make(path.parent)
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir() or any(path.iterdir()):
                remedy = f"go on with it by 'mbgd resume {path}'" if (path / "plan.json").exists() else "choose another"
                raise PlanError(f"out must name a new folder, {path} exists; {remedy}") from None
        _sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, on disk when this returns, unless it is there. Raises StorageError."""
    with announced(path):
        _make(path)


def write_folder(final: Path, files: Mapping[str, bytes], *, verify: Callable[[Path], object]) -> None:
    """Make a folder of files, whole or not at all: written under another name, synced, read by `verify`, then renamed.

    `verify` raises where the folder is not what was meant. Raises StorageError; nothing of a failed one stays.
    """
    with temporary(final) as place, signals.undo_if_ended(lambda: shutil.rmtree(place, ignore_errors=True)):
        try:
            with announced(final):
                _make(final.parent)
                place.mkdir()
                for name, data in files.items():
                    _write_new(place / name, data)
                    _sync(place / name)
                _sync_folder(place)
                verify(place)
                place.rename(final)
                _sync_folder(final.parent)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Take a folder away: out of sight in one rename, so that what a crash leaves behind never looks whole."""
    with (
        temporary(path) as hidden,
        signals.undo_if_ended(lambda: shutil.rmtree(hidden, ignore_errors=True)),
        announced(path, to="remove"),
    ):
        path.rename(hidden)
        discard(hidden)


def remove_from(folder: Path, files: Iterable[str], folders: Iterable[str], *, first: str | None = None) -> None:
    """Take files away, and then folders that are empty by then, each named as seen from `folder`, which stays.

    The file named `first` goes before all others, out of sight in one rename, and its bytes last: what a crash leaves
    says by that hidden name that it was being emptied. Raises StorageError.
    """
    names, inside = sorted(files), sorted(folders, reverse=True)  # those inside before those around them
    with contextlib.ExitStack() as kept, announced(folder, to="remove"):
        for name in inside:
            if not os.access(folder / name, os.W_OK | os.X_OK):  # said before anything is removed
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if first in names:
            names.remove(first)
            hidden = kept.enter_context(temporary(folder / first))
            (folder / first).rename(hidden)
            _sync_folder(folder)
            names.append(hidden.name)
        for name in names:
            (folder / name).unlink(missing_ok=True)
        for name in inside:
            with contextlib.suppress(OSError):  # more is in it by now: that is not ours
                (folder / name).rmdir()


def _make(folder: Path) -> None:
    """Make a folder and those above it that are missing, each on disk: what is in a folder is lost with its name."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


@contextlib.contextmanager
def _missing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SavedFileError(f"{path} must exist, it does not; check the path") from None


def _begin(place: Path, *, like: Path) -> int | None:
    """Make an empty file that nobody may read who may not read the old one; the mode it is to have, where there is one."""
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        old = os.lstat(like)
    except OSError:  # a new file: as the umask says
        return None
    if not stat.S_ISREG(old.st_mode):
        return None
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(place, old.st_uid, old.st_gid)
    mode = old.st_mode & 0o777
    place.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)
    return mode


def _begin_with(place: Path, mode: int) -> int:
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    return mode


def _write_new(path: Path, data: bytes) -> None:
    """Room is reserved first: a full disk is known before the first byte."""
    with path.open("wb", buffering=0) as file:
        if data and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, len(data))
            except OSError as error:
                if error.errno in FULL:
                    raise
        _write_all(file, data)


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]  # an unbuffered write may take a part only


def _sync(path: Path) -> None:
    """On disk when this returns; what is read next comes from there where the system can be asked for it."""
    with open(path, "rb+", opener=own_file) as file:
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
