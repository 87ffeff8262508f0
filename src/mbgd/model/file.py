"""A model file in, what it says of itself and its arrays out, every byte checked first; nothing here needs torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from mbgd.errors import SavedFileError, taken_at_its_word
from mbgd.store import announced, file_size

FORMAT, OF_ONE = 2, 1  # the first holds several models, and is written where there are several
FILE_NAME = "model.safetensors"
BLANK = "0" * 64  # stands for the digest while the digest is taken
_BLOCK = 1 << 20
_LARGEST_HEADER = 100_000_000  # bytes, the format's own bound: JSON takes several times as many when it is read
_HEADS = {b"PK\x03\x04": "a zip archive, as torch.save writes", b"PAR1": "a Parquet file", b"\x89HDF": "an HDF5 file"}


@dataclass(frozen=True)
class Described:
    """What a model file says: `architecture` is None where the weights are those of a user's own module."""

    path: Path
    facts: dict[str, Any]
    architecture: dict[str, Any] | None
    versions: dict[str, str]


def describe(path: Path) -> Described:
    """What stands in the header of the model at `path`, a file or a folder that holds model.safetensors.

    Every byte is checked against the SHA-256 in the file; nothing in it is executed. Raises SavedFileError.
    """
    path = path / FILE_NAME if path.is_dir() else path
    if not path.exists():
        raise SavedFileError(f"model file must exist, got {path}; check the path")
    header = _header(path)
    try:
        written = json.loads(json.loads(header)["__metadata__"]["mbgd"])
        digest, number = str(written["sha256"]), int(written["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise _foreign(path, header) from None
    if _digest(path, header, blank=digest) != digest:
        raise SavedFileError(f"{path} is damaged: its SHA-256 is not the one in it; take another copy or train again")
    if number > FORMAT:
        with taken_at_its_word(path):
            wrote = written["versions"]["mbgd"]
        raise SavedFileError(f"{path} has format {number}, this MBGD reads {FORMAT}; install mbgd {wrote} or later")
    with taken_at_its_word(path):
        facts, architecture, versions = (dict(written[name] or {}) for name in ("facts", "architecture", "versions"))
    return Described(path, facts, architecture or None, versions)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file as arrays. Raises SavedFileError, also for a dtype that NumPy lacks."""
    try:
        with announced(path, to="read"):
            return dict(safetensors.numpy.load_file(path))
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise not_tensors(path, str(error)) from None


def not_tensors(path: Path, reason: str) -> SavedFileError:
    """The error for a file that is no safetensors file, or no longer."""
    with announced(path, to="read"), path.open("rb") as file:
        head = file.read(4)
    kind = _HEADS.get(head) or ("a pickle" if head[:1] == b"\x80" and head[1:2] <= b"\x05" else None)
    if kind is None:
        return SavedFileError(f"{path} is damaged or no safetensors file ({reason}); take another copy or train again")
    return SavedFileError(
        f"{path} must be a safetensors file, got {kind}; MBGD loads nothing that could run code: save it again by run.save"
    )


def _header(path: Path) -> bytes:
    """The JSON at the start of the file; never more than the file itself."""
    with announced(path, to="read"):
        size = file_size(path)
    with announced(path, to="read"), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise not_tensors(path, f"it has {size} bytes, fewer than its header says")
        if length > _LARGEST_HEADER:
            raise not_tensors(path, f"its header has {length:,} bytes, at most {_LARGEST_HEADER:,} are one")
        return file.read(length)


def _foreign(path: Path, header: bytes) -> SavedFileError:
    if header[:1] != b"{":
        return not_tensors(path, "it has no readable header")
    return SavedFileError(
        f"{path} must be a model file of MBGD, its header does not say so; it is damaged or another program's"
    )


def _digest(path: Path, header: bytes, *, blank: str) -> str:
    """SHA-256 of the whole file, its own digest read as zeros, in memory of fixed size."""
    running = hashlib.sha256()
    with announced(path, to="read"), path.open("rb") as file:
        running.update(file.read(8))
        running.update(header.replace(blank.encode(), BLANK.encode(), 1))
        file.seek(8 + len(header))
        while block := file.read(_BLOCK):
            running.update(block)
    return running.hexdigest()
