"""Read a table's file of any format, the columns that its folders give included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mbgd.data.columnar import read_columns, schema_of, stream_columns, text_columns
from mbgd.data.csv_file import read_csv, stream_csv
from mbgd.data.files import TableFile
from mbgd.data.folders import column_of, keys_of
from mbgd.data.header import read_header
from mbgd.data.index import stored_index
from mbgd.data.text import is_text
from mbgd.errors import DataError


@dataclass(frozen=True)
class Columns:
    """The columns of a file, those of its folders last; `unused` says why some are no inputs unless asked for. `has_header`
    may differ from what was said of a file whose first row holds names that are known."""

    names: list[str]
    unused: Mapping[str, str]
    notices: tuple[str, ...] = ()
    has_header: bool = True


@dataclass(frozen=True)
class Reading:
    """Which columns to read, the types to force on those of a CSV file, and the types of those that folders give."""

    columns: Sequence[str]
    types: Mapping[str, pa.DataType]
    folders: Mapping[str, pa.DataType]
    missing: Sequence[str]  # words of a CSV file for a missing number, date or the like

    @property
    def inside(self) -> list[str]:
        """The columns that stand in the files themselves."""
        return [name for name in self.columns if name not in self.folders]


def columns_of(file: TableFile) -> Columns:
    """Read from the first rows or the footer alone. Raises DataError for a column that a folder gives as well."""
    if file.format == "csv":
        header = read_header(file)
        names, unused, notices, has_header = list(header.names), {**header.unused}, header.notices, header.file.header
    else:
        schema = schema_of(file)
        names, unused, notices, has_header = list(schema.names), stored_index(schema), (), True
    keys = keys_of(file.path)
    if both := [name for name in keys if name in names]:
        raise DataError(
            f"{file.path}: the column {both[0]!r} stands in the file and in the name of a folder above it; rename one of them"
        )
    stored = stored_index(pa.schema(dict.fromkeys(names, pa.null())))
    return Columns([*names, *keys], {**unused, **stored}, notices, has_header)


def read_whole(file: TableFile, reading: Reading) -> pa.Table:
    """The columns of all rows, in the order asked for."""
    inside = _of_rows(file, reading)
    if file.format == "csv":
        table = read_csv(file, types=_types(reading, inside), columns=inside, missing=reading.missing)
    else:
        table = read_columns(file, columns=inside)
    return pa.table(_with_folders(file, table, reading)) if reading.folders else table


def read_streamed(file: TableFile, reading: Reading, *, rows: int) -> Iterator[pa.RecordBatch]:
    """The same, at most `rows` rows at a time."""
    inside = _of_rows(file, reading)
    if file.format == "csv":
        blocks = stream_csv(file, types=_types(reading, inside), columns=inside, missing=reading.missing).batches
        batches = (block.slice(start, rows) for block in blocks for start in range(0, block.num_rows, rows))
    else:
        batches = (batch for batch in stream_columns(file, columns=inside, rows=rows))
    for batch in batches:
        yield pa.record_batch(_with_folders(file, batch, reading)) if reading.folders else batch


def texts_of(file: TableFile, reading: Reading) -> frozenset[str] | None:
    """The columns of text, which are read as what they say: of a CSV file all that are (None); of others not the labels."""
    if file.format == "csv":
        return None
    return text_columns(file).union(name for name, kind in reading.folders.items() if is_text(kind))


def _of_rows(file: TableFile, reading: Reading) -> list[str]:
    """The columns inside the file, or any one where none is asked for: it says how many rows there are."""
    return reading.inside or columns_of(file).names[:1]


def _types(reading: Reading, columns: Sequence[str]) -> dict[str, pa.DataType]:
    there = {*columns}
    return {name: kind for name, kind in reading.types.items() if name in there}


def _with_folders(file: TableFile, rows: pa.Table | pa.RecordBatch, reading: Reading) -> dict[str, pa.Array]:
    wanted = {*reading.columns}
    given = {
        name: column_of(file, name, kind=kind, rows=rows.num_rows)
        for name, kind in reading.folders.items()
        if name in wanted
    }
    return {name: given[name] if name in given else rows.column(name) for name in reading.columns}
