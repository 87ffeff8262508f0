"""One compiled kernel in one file: read only if it is whole, this user's, and was written under this very name.

The file is a SHA-256 of 32 bytes, then the content. The SHA-256 is that of the folder's name, the file's name and the content,
so that neither a changed byte nor another kernel's file under this name passes. It keeps out damage, not another user: that is
for the owner of folder and file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mbgd.compiled.private_folder import is_private
from mbgd.errors import SavedFileError
from mbgd.store import own_file, writing

LARGEST = 1 << 26  # bytes; kernels have some hundred thousand
_DIGEST = hashlib.sha256().digest_size
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


def read_entry(path: Path) -> memoryview | None:
    """The content that was written to `path`; None where nothing is there, or something else."""
    try:
        with open(own_file(path, _READ), "rb") as file:
            found = os.fstat(file.fileno())
            if not is_private(found) or found.st_size > LARGEST:
                return None
            data = memoryview(file.read(found.st_size))
    except (OSError, SavedFileError):  # nothing, or a link, folder, pipe or device
        return None
    content = data[_DIGEST:]
    return content if bytes(data[:_DIGEST]) == _digest(path, content) else None


def write_entry(path: Path, content: bytes) -> None:
    """Put a content at `path`, for this user alone, in place of whatever file was there: whole, and on disk. Raises OSError."""
    with writing(path, mode=0o600) as temporary, temporary.open("wb") as file:
        file.write(_digest(path, content))
        file.write(content)


def _digest(path: Path, content: bytes | memoryview) -> bytes:
    known = hashlib.sha256(f"{path.parent.name}/{path.name}\n".encode())
    known.update(content)
    return known.digest()
