"""A JSON description of a table's files, rows and bytes; two of them are compared, so that changed data is announced.

Every byte of a file is hashed: that takes a twentieth of the time that its rows take to be read from CSV.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mbgd.data.files import read_failure
from mbgd.data.folders import keys_of
from mbgd.data.table import Table
from mbgd.errors import DataError, SavedFileError, taken_at_its_word
from mbgd.store.schema import FILE_NAME, Absent, Demand, Entries, Items, Named, Text, Whole

VERSION = 1
EVERY_BYTE = "every byte"
ENDS = 1 << 20  # bytes at either end of a file, all that an older version hashed of one beyond 64 MiB
BOTH_ENDS = f"length, first and last {ENDS} bytes"
_OF_FILE = Entries({"name": FILE_NAME, "bytes": Whole(), "rows": Whole(), "sha256": Text(), "hashed": Text()})
_OF_TABLE: dict[str, Demand] = {
    "version": Whole(1),
    "n_rows": Whole(),
    "schema": Items(Entries({"name": Text(), "type": Text()})),
    "files": Items(_OF_FILE),
    "columns": Absent(Named(Text())),
}
_SCHEMA = Entries({**_OF_TABLE, "validation": Absent(Entries(_OF_TABLE)), "test": Absent(Entries(_OF_TABLE))})


def describe(table: Table, *, as_before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the data was: n_rows, schema, and for each file name, bytes, rows and a checksum that says what it covers.

    A frame in memory has no files; a SHA-256 of each column's values, independent of how Arrow cuts them, stands instead.
    `as_before` is an earlier description to compare with: where an older version hashed the ends of a file, so does this.
    """
    paths = [(part.path, part.rows) for part in table.parts if part.path is not None]
    hashed = _hashed(as_before, n_files=len(paths))
    files = [_file(path, rows=rows, hashed=how) for (path, rows), how in zip(paths, hashed, strict=True)]
    schema = [{"name": field.name, "type": _type_name(field.type)} for field in table.arrow.schema]
    said: dict[str, Any] = {"version": VERSION, "n_rows": table.n_rows, "schema": schema, "files": files}
    if not files:
        said["columns"] = {name: _column_hash(table.arrow.column(name)) for name in table.names}
    return said


def check(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises DataError, naming the first thing that changed, unless the two descriptions are of the same data."""
    if found := _SCHEMA.fault(then, ""):
        raise SavedFileError(f"the data manifest of the run says what none says: {found}; restore it from a copy")
    if then["version"] > VERSION:
        raise SavedFileError(
            f"the data manifest of the run has format {then['version']}, this mbgd reads {VERSION}; install a newer mbgd"
        )
    for name, word in (("", "data"), ("validation", "validation file"), ("test", "test file")):
        before, after = (then, now) if not name else (then.get(name), now.get(name))
        with taken_at_its_word("the data manifest of the run"):
            what = _difference(before, after or {"schema": [], "files": []}) if before else ""
        if what:
            raise DataError(
                f"the {word} is not what it was when the run began: {what}; bring it back, or start a new run"
            )


def _difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before, after = _types(then), _types(now)
    for name in before:
        if name not in after:
            return f"column {name!r} is gone"
        if before[name] != after[name]:
            return f"column {name!r} was {before[name]}, now it is {after[name]}"
    if extra := [name for name in after if name not in before]:
        return f"column {extra[0]!r} is new"
    if len(then["files"]) != len(now["files"]):
        return f"it had {len(then['files'])} files, now it has {len(now['files'])}"
    for old, new in zip(then["files"], now["files"], strict=True):
        if old["name"] != new["name"]:
            return f"the file {old['name']} is now {new['name']}"
        for key, word in (("rows", "rows"), ("bytes", "bytes")):
            if old[key] != new[key]:
                return f"{new['name']} had {old[key]:,} {word}, now it has {new[key]:,}"
        if (old["sha256"], old["hashed"]) != (new["sha256"], new["hashed"]):
            return f"the bytes of {new['name']} changed"
    if then["n_rows"] != now["n_rows"]:
        return f"it had {then['n_rows']:,} rows, now it has {now['n_rows']:,}"
    old_columns, new_columns = then.get("columns", {}), now.get("columns", {})
    changed = [name for name in old_columns if old_columns[name] != new_columns.get(name)]
    if changed:
        return f"values of column {changed[0]!r} changed"
    return "" if list(before) == list(after) else "the columns stand in another order"


def covered(said: Mapping[str, Any]) -> str:
    """What two equal descriptions, those of validation and test files among them, say that the data has in common."""
    each = [said, *(said[name] for name in ("validation", "test") if said.get(name))]
    files = [file for one in each for file in one["files"]]
    whole = [file for file in files if file["hashed"] == EVERY_BYTE]
    parts = []
    if len(each) > sum(bool(one["files"]) for one in each):
        parts.append("every value of the frame")
    if whole:
        where = whole[0]["name"] if len(whole) == 1 else f"{len(whole):,} files"
        parts.append(f"every byte of {where} ({sum(file['bytes'] for file in whole):,} bytes)")
    ends = [file for file in files if file["hashed"] != EVERY_BYTE]
    if ends:
        where = ends[0]["name"] if len(ends) == 1 else f"{len(ends):,} files"
        parts.append(
            f"of {where} the length and the first and last MiB, more was not recorded by the version that began it"
        )
    return "; ".join(parts)


def _hashed(as_before: Mapping[str, Any] | None, *, n_files: int) -> list[str]:
    """What the checksum of each file covers; all of it where no earlier description knows better."""
    files = as_before.get("files") if isinstance(as_before, Mapping) else None
    then = [file.get("hashed") for file in files if isinstance(file, Mapping)] if isinstance(files, list) else []
    return [BOTH_ENDS if how == BOTH_ENDS else EVERY_BYTE for how in [*then, *[EVERY_BYTE] * n_files][:n_files]]


def _types(said: Mapping[str, Any]) -> dict[str, str]:
    return {field["name"]: field["type"] for field in said["schema"]}


def _file(path: Path, *, rows: int, hashed: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if hashed == EVERY_BYTE:
                while block := file.read(ENDS):
                    digest.update(block)
            else:
                digest.update(size.to_bytes(8, "little") + file.read(ENDS))
                file.seek(max(0, size - ENDS))
                digest.update(file.read(ENDS))
    except OSError as error:
        raise read_failure(error, path) from None
    name = "/".join([*(f"{key}={value}" for key, value in keys_of(path).items()), path.name])
    return {"name": name, "bytes": size, "rows": rows, "sha256": digest.hexdigest(), "hashed": hashed}


def _type_name(kind: pa.DataType) -> str:
    return _type_name(kind.value_type) if pa.types.is_dictionary(kind) else str(kind)


def _column_hash(column: pa.ChunkedArray) -> str:
    """SHA-256 of which values are missing and of the others' bytes: the same however the column is cut or padded."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    digest = hashlib.sha256(np.packbits(np.asarray(column.is_null().to_numpy(), dtype=bool)).tobytes())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary(column.type):
        column = column.cast(pa.large_binary())
    elif pa.types.is_nested(column.type):
        column = pa.chunked_array([pa.array([repr(v) for v in column.to_pylist()], pa.large_string())])
    lengths, values = hashlib.sha256(), hashlib.sha256()
    for chunk in column.drop_null().chunks:
        _feed(chunk, lengths=lengths, values=values)
    digest.update(lengths.digest() + values.digest())
    return digest.hexdigest()


def _feed(chunk: pa.Array, *, lengths: Any, values: Any) -> None:
    if pa.types.is_null(chunk.type) or not len(chunk):
        return
    first, last = chunk.offset, chunk.offset + len(chunk)
    if pa.types.is_large_string(chunk.type) or pa.types.is_large_binary(chunk.type):
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int64)[first : last + 1]
        lengths.update(np.diff(ends).tobytes())
        values.update(memoryview(data)[ends[0] : ends[-1]] if data is not None else b"")
        return
    width = chunk.type.bit_width // 8
    values.update(memoryview(chunk.buffers()[1])[first * width : last * width])
