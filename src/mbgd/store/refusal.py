"""The system's refusal to read or write in, one sentence out: the path, what happened and what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from mbgd.errors import StorageError

FULL = {errno.ENOSPC, errno.EDQUOT}


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
    if error.errno in FULL:
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
