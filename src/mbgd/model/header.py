"""Read the header of a safetensors file: where each tensor lies, checked against the file's size before anything is read.

It is the only reader of headers here, so that what was checked is what is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mbgd.errors import SavedFileError
from mbgd.store import announced, file_size, parse_json
from mbgd.store.schema import Entries, Items, Named, Row, Text, Whole, Word

BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1, "U16": 2, "I16": 2,
    "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Of one number of each type."""
METADATA = "__metadata__"
_LARGEST = 100_000_000  # bytes, the format's own bound
_TENSOR = Entries(
    {"dtype": Word(tuple(BYTES)), "shape": Items(Whole(), most=32), "data_offsets": Row((Whole(), Whole()))}
)
_SCHEMA = Named(_TENSOR)
_OF_METADATA = Named(Text())
_HEADS = {b"PK\x03\x04": "a zip archive, as torch.save writes", b"PAR1": "a Parquet file", b"\x89HDF": "an HDF5 file"}


@dataclass(frozen=True)
class Place:
    """A tensor of the file: its first byte, counted from the file's own first, and how many it has."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    bytes: int


@dataclass(frozen=True)
class Header:
    """`text` is the header as it stands in the file, `metadata` what it says besides tensors, these in the order they lie."""

    path: Path
    text: bytes
    metadata: Mapping[str, str]
    tensors: Mapping[str, Place]


def read_header(path: Path) -> Header:
    """The header of the file at `path`. Raises SavedFileError, saying what the file is where that is easy to tell, for a header
    that is no JSON, and for tensors that overlap, leave room between them, or have more or fewer bytes than their shapes."""
    with announced(path, to="read"):
        size = file_size(path)
    text = _text(path, size)
    try:
        said = parse_json(text, file_size=size)
        metadata = said.pop(METADATA, {}) if isinstance(said, dict) else {}
        if found := _OF_METADATA.fault(metadata, METADATA) or _SCHEMA.fault(said, "header"):
            raise ValueError(found)
        return Header(path, text, metadata, _places(said, 8 + len(text), size))
    except ValueError as error:
        raise not_tensors(path, "it has no readable header" if text[:1] != b"{" else str(error)) from None


@contextmanager
def reading(header: Header) -> Iterator[IO[bytes]]:
    """The file, open to read tensors from. Raises StorageError, and SavedFileError where it is shorter than it was."""
    with announced(header.path, to="read"), header.path.open("rb", buffering=0) as file:
        yield file


def fill(memory: NDArray[np.uint8], place: Place, file: IO[bytes]) -> None:
    """Read a tensor's bytes into memory of that size."""
    file.seek(place.start)
    done = 0
    while done < len(memory):  # one read gives 2 GB at most
        n = file.readinto(memory[done:])  # type: ignore[attr-defined]  # an unbuffered file has it
        if not n:
            raise SavedFileError(
                f"{file.name} is shorter than it was a moment ago; let it be written to its end, then read it"
            )
        done += n
    if place.dtype == "BOOL" and (memory > 1).any():
        raise SavedFileError(
            f"{file.name} is damaged: a tensor of truth values has others than 0 and 1; take another copy"
        )


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


def _text(path: Path, size: int) -> bytes:
    """The JSON at the start of the file; never more than the file itself."""
    with announced(path, to="read"), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise not_tensors(path, f"it has {size} bytes, fewer than its header says")
        if length > _LARGEST:
            raise not_tensors(path, f"its header has {length:,} bytes, at most {_LARGEST:,} are one")
        return file.read(length)


def _places(said: Mapping[str, Any], first: int, size: int) -> dict[str, Place]:
    """Where each tensor lies, one right behind the other up to the file's end. Raises ValueError."""
    end, found = 0, {}
    for name, one in sorted(said.items(), key=lambda entry: entry[1]["data_offsets"]):
        begins, ends = one["data_offsets"]
        shape, width = tuple(one["shape"]), BYTES[one["dtype"]]
        if begins != end or ends < begins:
            raise ValueError(
                f"tensor {name[:80]!r} begins at byte {begins} of the tensors, the one before it ends at {end}"
            )
        if math.prod(shape) * width != ends - begins or math.prod(max(n, 1) for n in shape) * width > 1 << 62:
            raise ValueError(f"tensor {name[:80]!r} has {ends - begins} bytes, not those of its shape and type")
        found[name] = Place(one["dtype"], shape, first + begins, ends - begins)
        end = ends
    if first + end != size:
        raise ValueError(f"its tensors have {end} bytes, {size - first} follow its header")
    return found
