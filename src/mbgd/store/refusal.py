"""Say in one sentence what the system refused to read or write: the path, what happened and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from mbgd.errors import PlanError, StorageError, plain

FULL = {errno.ENOSPC, errno.EDQUOT}
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, of the usual file systems and of Linux
_SHOWN = 60  # characters of a name that is too long to be shown


def check_name(path: Path, what: str) -> None:
    """Raises PlanError for a path that no file can have: of a name too long, or with a zero in it."""
    try:
        whole = os.fsencode(path)
    except UnicodeEncodeError:
        raise PlanError(f"{what} must be a name that a file can have, got {path!s:.200}; choose another") from None
    longest = max(whole.split(b"/"), key=len)
    if b"\0" in whole:
        raise PlanError(f"{what} must be a name without zero bytes, got {plain(str(path))[:_SHOWN]}; choose another")
    if len(longest) > LONGEST_NAME or len(whole) > LONGEST_PATH:
        size, most = (len(longest), LONGEST_NAME) if len(longest) > LONGEST_NAME else (len(whole), LONGEST_PATH)
        raise PlanError(
            f"{what} must have a {'name' if most == LONGEST_NAME else 'path'} of at most {most:,} bytes, "
            f"got {size:,} in {str(path)[:_SHOWN]}...; choose a shorter one"
        )


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
    if error.errno == errno.ENAMETOOLONG:
        return f"name of {str(path)[:_SHOWN]}... must be one that the file system takes, it is too long; choose a shorter one"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
        return f"{path} must be free to {to}, something of another kind is there; choose another name"
    return f"the system failed to {to} {path}: {error.strerror or error}; check the disk and try again"
