"""Read a model file: what it says of itself and its arrays, every byte checked first; nothing here needs torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.errors import SavedFileError
from mbgd.model.header import Header, fill, read_header, reading
from mbgd.model.outline import check_tensors
from mbgd.store import announced, parse_json
from mbgd.store.schema import Entries, Maybe, Named, Text, Whole

FORMAT, OF_ONE = 2, 1  # the first holds several models, and is written where there are several
FILE_NAME = "model.safetensors"
BLANK = "0" * 64  # stands for the digest while the digest is taken
_BLOCK = 1 << 20
_MARK = Entries({"sha256": Text("[0-9a-f]{64}", "64 digits of base 16"), "format": Whole(1)})
_SCHEMA = Entries({"versions": Named(Text()), "architecture": Maybe(Entries({})), "facts": Entries({})})
_NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "U32": "<u4", "I32": "<i4",
    "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8", "C64": "<c8",
}  # fmt: skip


@dataclass(frozen=True)
class Described:
    """What a model file says: `architecture` is None where the weights are those of a user's own module."""

    path: Path
    facts: dict[str, Any]
    architecture: dict[str, Any] | None
    versions: dict[str, str]
    header: Header


def describe(path: Path) -> Described:
    """What stands in the header of the model at `path`, a file or a folder that holds model.safetensors.

    Every byte is checked against the SHA-256 in the file, and the tensors against the architecture; nothing in it is executed or
    built. Raises SavedFileError.
    """
    path = path / FILE_NAME if path.is_dir() else path
    if not path.exists():
        raise SavedFileError(f"model file must exist, got {path}; check the path")
    header = read_header(path)
    try:
        written = parse_json(header.metadata["mbgd"].encode(), file_size=path.stat().st_size)
    except (ValueError, KeyError):
        raise _foreign(path) from None
    if _MARK.fault(written, ""):
        raise _foreign(path)
    if _digest(header, blank=written["sha256"]) != written["sha256"]:
        raise SavedFileError(f"{path} is damaged: its SHA-256 is not the one in it; take another copy or train again")
    if written["format"] > FORMAT:
        raise _newer(path, written)
    if found := _SCHEMA.fault(written, ""):
        raise damaged(path, found)
    if (architecture := written["architecture"]) is not None:
        _check_tensors(header, architecture)
    return Described(path, written["facts"], architecture, written["versions"], header)


def damaged(path: Path, what: str) -> SavedFileError:
    """The error for a file whose bytes are those that were written, and which says what no such file says."""
    return SavedFileError(f"{path} is damaged: {what}; take another copy")


def read_arrays(header: Header) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file as arrays; they take as much memory as they have bytes in it.

    Raises SavedFileError, also for a type that NumPy lacks, and StorageError.
    """
    found: dict[str, NDArray[Any]] = {}
    with reading(header) as file:
        for name, place in header.tensors.items():
            if place.dtype not in _NUMPY:
                raise SavedFileError(
                    f"{header.path} holds numbers of type {place.dtype}, which NumPy lacks; predict with mbgd.load, which has torch"
                )
            found[name] = np.empty(place.shape, _NUMPY[place.dtype])
            fill(found[name].reshape(-1).view(np.uint8), place, file)
    return found


def _check_tensors(header: Header, architecture: dict[str, Any]) -> None:
    held = {name: place.shape for name, place in header.tensors.items()}
    types = {name: place.dtype for name, place in header.tensors.items()}
    try:
        check_tensors(architecture, held, types)
    except ValueError as error:
        raise damaged(header.path, str(error)) from None


def _newer(path: Path, written: dict[str, Any]) -> SavedFileError:
    versions = written.get("versions")
    wrote = versions.get("mbgd") if isinstance(versions, dict) else None
    remedy = f"install mbgd {wrote} or later" if Text(r"[\w.+]{1,40}").accepts(wrote) else "install a later mbgd"
    return SavedFileError(f"{path} has format {written['format']}, this MBGD reads {FORMAT}; {remedy}")


def _foreign(path: Path) -> SavedFileError:
    return SavedFileError(
        f"{path} must be a model file of MBGD, its header does not say so; it is damaged or another program's"
    )


def _digest(header: Header, *, blank: str) -> str:
    """SHA-256 of the whole file, its own digest read as zeros, in memory of fixed size."""
    running = hashlib.sha256()
    with announced(header.path, to="read"), header.path.open("rb") as file:
        running.update(file.read(8))
        running.update(header.text.replace(blank.encode(), BLANK.encode(), 1))
        file.seek(8 + len(header.text))
        while block := file.read(_BLOCK):
            running.update(block)
    return running.hexdigest()
