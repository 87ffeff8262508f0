"""A table in, those of its columns out that number or name its rows: an index that pandas or R stored with them."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa

from mbgd.errors import argument

_STORED = re.compile(r"__(index_level_\d+|null_dask_index)__")  # as pandas and Dask store an index without a name
_NAMELESS = re.compile(r"\s*|Unnamed: \d+(\.\d+)?|\.\.\.1")  # as text files, pandas and readr call a column without one
SHORTEST = 3  # rows, on average, that are counted before a count begins again: truth values are no count
AS_INDEX = "it is the index of a pandas frame; reset_index() before it is stored makes it an input"


def stored_index(schema: pa.Schema) -> dict[str, str]:
    """Column -> why it is no input, of the columns that hold the index of a pandas frame, by the schema's metadata or by name."""
    try:
        said = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        named = {level for level in said.get("index_columns", ()) if isinstance(level, str)}
    except (ValueError, AttributeError, TypeError):  # not as pandas writes it: then its names say all
        named = set()
    return {name: AS_INDEX for name in schema.names if name in named or _STORED.fullmatch(name)}


def names_of_index(frame: Any) -> list[str]:
    """The names of the levels of a pandas frame's index; none for any other frame, or levels without a name."""
    if type(frame).__module__.split(".")[0] != "pandas":
        return []
    return [str(name) for name in frame.index.names if name is not None]


def nameless(table: pa.Table) -> tuple[dict[str, str], dict[str, str]]:
    """(column -> why it is no input, column -> what to know of it) of the columns without a name in front of all others.

    One that counts the rows, from 0 or 1 and maybe again and again, or has another whole number in each of them, is an
    index. Any other is an input.
    """
    unused: dict[str, str] = {}
    remarks: dict[str, str] = {}
    for name in table.column_names:
        if not _NAMELESS.fullmatch(name):
            break
        column = table.column(name)
        if column.null_count == len(column):
            continue
        if _is_index(column):
            unused[name] = (
                f"it has no name and numbers the rows, as an index does; {argument('numeric', name)} keeps it"
            )
        else:
            remarks[name] = f"it has no name and is an input; if it is an index, {argument('drop', name)} leaves it out"
    return unused, remarks


def _is_index(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    values = np.asarray(column.to_numpy())
    again = values == values[0]
    counts = values[0] in (0, 1) and bool((again[1:] | (values[1:] == values[:-1] + 1)).all())
    if counts and SHORTEST * int(again.sum()) <= len(values):
        return True
    return bool(values.min() >= 0) and len(np.unique(values)) == len(values)
