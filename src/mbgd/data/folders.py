"""Columns that folders named KEY=VALUE give to the files in them, as Hive and Spark write them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from mbgd.data.files import TableFile
from mbgd.errors import DataError

MISSING = "__HIVE_DEFAULT_PARTITION__"  # what stands in a folder's name for a missing value
_WHOLE = re.compile(r"[+-]?\d{1,18}")  # what 64 bits hold for certain
Keys = Mapping[str, str | None]


def keys_of(path: Path) -> Keys:
    """Key and value of each folder named KEY=VALUE above the file, percent-decoded; None for a missing value.

    Raises DataError where a key stands twice.
    """
    keys: dict[str, str | None] = {}
    for part in Path(os.path.abspath(path)).parent.parts:
        key, equals, text = part.partition("=")
        if not (key and equals):
            continue
        name, value = unquote(key), unquote(text)
        if name in keys:
            raise DataError(f"{path}: {name!r} is the key of two folders above the file; rename one of them")
        keys[name] = None if value in (MISSING, "") else value
    return keys


def check_keys(files: Sequence[TableFile]) -> None:
    """Raises DataError, naming both files, where folders give columns to one file that they do not give to another."""
    first = files[0]
    has = keys_of(first.path)
    for file in files[1:]:
        here = keys_of(file.path)
        for name in (*has, *here):
            if (name in has) != (name in here):
                with_it, without = (first, file) if name in has else (file, first)
                raise DataError(
                    f"{without.path}: no folder above it is named {name}=VALUE, as one above {with_it.path} is; "
                    "all files of one table need folders of the same keys"
                )


def types_of(files: Sequence[TableFile], *, forced: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """The type of each column that folders give: as `forced`, whole numbers where each value is one, else text."""
    each = [keys_of(file.path) for file in files]
    found: dict[str, pa.DataType] = {}
    for name in each[0]:
        values = {keys[name] for keys in each} - {None}
        whole = all(_WHOLE.fullmatch(str(value)) for value in values)
        found[name] = forced.get(name) or (pa.null() if not values else pa.int64() if whole else pa.string())
    return found


def column_of(file: TableFile, name: str, *, kind: pa.DataType, rows: int) -> pa.Array:
    """The value that a folder of that key gives to each of the file's rows. Raises DataError where it is not of the type."""
    value = keys_of(file.path)[name]
    if value is None:
        return pa.nulls(rows, kind)
    if pa.types.is_string(kind):
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([value]))
    try:
        return pa.repeat(pa.scalar(value).cast(kind), rows)
    except pa.ArrowInvalid:
        raise DataError(
            f"{file.path}: the folder {name}={value} gives {value!r}, which is no {kind}; correct its name"
        ) from None
