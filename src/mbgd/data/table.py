"""Whatever holds rows (CSV, Parquet, Arrow, folders, frames, columns) in, one named Arrow table or a stream of them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mbgd.data.cells import Cells
from mbgd.data.columnar import read_columns, schema_of, stream_columns, text_columns
from mbgd.data.csv_file import read_csv, read_header, stream_csv
from mbgd.data.files import TableFile, find_files
from mbgd.data.frames import FRAME, frame_to_arrow
from mbgd.data.order import IntArray
from mbgd.data.places import Part, Places
from mbgd.data.text import is_text, read_text
from mbgd.data.united import RawColumns, is_number, plain_type, united
from mbgd.errors import DataError, PlanError, did_you_mean, listed


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in memory, one contiguous array a column, with the memory of the file and row that each came from."""

    name: str
    arrow: pa.Table
    parts: tuple[Part, ...]
    taken: IntArray | None = None  # the original row numbers, where some rows were picked
    cells: Cells = field(default_factory=Cells)  # how its text was read
    texts: frozenset[str] = frozenset()  # columns that held text, whatever was read there
    words: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # for missing, in rows of each of these

    @property
    def n_rows(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.arrow.column_names)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(part.path for part in self.parts if part.path is not None)

    @property
    def places(self) -> Places:
        """Where its rows came from, without the rows."""
        return Places(self.n_rows, self.parts, self.taken)

    def column(self, name: str) -> pa.ChunkedArray:
        """The column, or a DataError with the nearest name."""
        check_column(self, name)
        return self.arrow.column(name)

    def where(self, row: int) -> str:
        """'FILE: row R' for an error: rows are records and count from 1, in a CSV file with the header as row 1."""
        label, number = self.places.of(row)
        return f"{label}: row {number}"

    def kinds(self, *, besides: Sequence[str] = ()) -> pa.Schema:
        """Types to force on a CSV file of the same columns: text stays text and numbers numbers; others speak for themselves."""
        plain = ((field.name, plain_type(field.type)) for field in self.arrow.schema if field.name not in besides)
        text = [pa.field(name, pa.string()) for name, kind in plain if pa.types.is_large_string(kind)]
        fields = (field for field in self.arrow.schema if field.name not in besides and is_number(field.type))
        return pa.schema([*text, *(pa.field(field.name, pa.float64()) for field in fields)])

    def take(self, rows: IntArray) -> Table:
        """The rows asked for, in that order; `where` still gives their place in the file."""
        numbers = rows if self.taken is None else self.taken[rows]
        return replace(self, arrow=self.arrow.take(pa.array(rows)), taken=numbers)

    def drop(self, names: Iterable[str]) -> Table:
        """Without the named columns, each of which must be there."""
        for name in (names := list(names)):
            check_column(self, name)
        return replace(self, arrow=self.arrow.drop_columns(names))


def open_table(
    data: Any,
    *,
    delimiter: str | None = None,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    schema_like: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
    cells: Cells = Cells(),
) -> Table:
    """All rows of a file, a folder, a glob, a list of them, a frame or a mapping of columns.

    Text is read as `cells` says and as the numbers, dates or truth values that a column of it holds; `numeric`,
    `categorical` and `schema_like` (by name) settle what a column of text is. `columns` reads these alone, in this order.
    Types of several files are brought together where numbers stay numbers. Raises DataError for what cannot be a table,
    StorageError where the disk refuses.
    """
    forced = _forced(numeric=numeric, categorical=categorical, schema_like=schema_like)
    if not _is_files(data):
        table = _read(_of_frame(data, columns=columns), types=forced, cells=cells)
    else:
        files = find_files(data, delimiter=delimiter)
        wanted = _common_columns(files, columns=columns, forced=(*numeric, *categorical))
        name = str(data) if isinstance(data, str | Path) else str(files[0].path)
        raws = [_whole(file, columns=wanted, types=forced, cells=cells) for file in files]
        table = _read(_joined(name, files, raws, cells=cells), types=forced, cells=cells)
    if not table.n_rows:
        raise DataError(f"{table.name}: there are no rows; a table needs at least one")
    return table


def read_batches(
    data: Any,
    *,
    delimiter: str | None = None,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    schema_like: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
    rows: int = 65536,
    cells: Cells = Cells(),
) -> Iterator[Table]:
    """The same rows in their order, at most `rows` at a time and in bounded memory.

    Types come from `numeric`, `categorical` and `schema_like` (by name), and else from the first block of each CSV file.
    """
    forced = _forced(numeric=numeric, categorical=categorical, schema_like=schema_like)
    if not _is_files(data):
        whole = _read(_of_frame(data, columns=columns), types=forced, cells=cells)
        for start in range(0, whole.n_rows, rows):
            part = replace(whole.parts[0], start=-start)
            yield replace(whole, arrow=whole.arrow.slice(start, rows), parts=(part,))
        return
    files = find_files(data, delimiter=delimiter)
    wanted = _common_columns(files, columns=columns, forced=(*numeric, *categorical))
    seen = 0
    for file in files:
        start, texts = 0, _texts_of(file)
        for batch in _streamed(file, columns=wanted, types=forced, rows=rows, cells=cells):
            part = _part(file, start=-start, rows=batch.num_rows)
            raw = _Raw(Table(str(file.path), pa.Table.from_batches([batch]), (part,)), texts)
            yield _read(raw, types=forced, cells=cells)
            start += batch.num_rows
        seen += start
    if not seen:
        raise DataError(f"{files[0].path}: there are no rows; a table needs at least one")


def column_names(data: Any, *, delimiter: str | None = None) -> tuple[str, ...]:
    """The columns of a file, of the first of several, or of a frame; no row of a file is read."""
    if not _is_files(data):
        return tuple(frame_to_arrow(data).column_names)
    return tuple(_names_of(find_files(data, delimiter=delimiter)[0]))


def _names_of(file: TableFile) -> list[str]:
    return read_header(file) if file.format == "csv" else list(schema_of(file).names)


def check_column(table: Table, name: str) -> None:
    """Raises DataError, with the nearest name, where the table has no such column."""
    if name not in table.names:
        raise _absent(table.name, name, table.names)


def _absent(where: str, name: str, known: Sequence[str]) -> DataError:
    near = did_you_mean(name, known)
    return DataError(f"{where}: there is no column {name!r}{near or f'; it has {listed(known)}'}")


def _is_files(data: Any) -> bool:
    return isinstance(data, str | Path) or (
        isinstance(data, list | tuple) and all(isinstance(d, str | Path) for d in data)
    )


@dataclass(frozen=True)
class _Raw:
    """A table as its file or frame has it, and the columns of text in it: all (None), or those of these names. Other text
    is that of categories, which are labels whatever they look like."""

    table: Table
    texts: frozenset[str] | None


def _read(raw: _Raw, *, types: Mapping[str, pa.DataType], cells: Cells) -> Table:
    """The table with its text read."""
    table, texts = raw.table, raw.texts if raw.texts is not None else frozenset(raw.table.names)
    found = read_text(table.arrow, texts=texts, types=types, cells=cells, where=table.where)
    return replace(table, arrow=found.arrow, cells=cells, texts=found.texts, words=found.words)


def _texts_of(file: TableFile) -> frozenset[str] | None:
    return None if file.format == "csv" else text_columns(file)


def _of_frame(data: Any, *, columns: Sequence[str] | None) -> _Raw:
    arrow = frame_to_arrow(data)
    for name in columns or ():
        if name not in arrow.column_names:
            raise _absent(FRAME, name, arrow.column_names)
    arrow = arrow.select(list(columns)) if columns is not None else arrow
    texts = frozenset(field.name for field in arrow.schema if is_text(field.type))
    return _Raw(Table(FRAME, _contiguous(arrow), (Part(FRAME, 0, arrow.num_rows),)), texts)


def _forced(
    *, numeric: Sequence[str], categorical: Sequence[str], schema_like: pa.Schema | None
) -> dict[str, pa.DataType]:
    if both := sorted(set(numeric) & set(categorical)):
        raise PlanError(f"numeric and categorical must name different columns, got {both[0]!r} in both; keep one")
    like = {field.name: field.type for field in schema_like} if schema_like is not None else {}
    return {**like, **dict.fromkeys(numeric, pa.float64()), **dict.fromkeys(categorical, pa.string())}


def _common_columns(files: Sequence[TableFile], *, columns: Sequence[str] | None, forced: Sequence[str]) -> list[str]:
    """The columns to read: those asked for, or the first file's; every file must have the same ones."""
    first: list[str] = []
    for file in files:
        names = _names_of(file)
        for name in columns or ():
            if name not in names and not (first and name in first):
                raise _absent(str(file.path), name, names)
        first = first or names
        wanted = first if columns is None else list(columns)
        for name in (*wanted, *(names if columns is None else ())):
            if (name in names) != (name in first):
                has, lacks = (files[0], file) if name in first else (file, files[0])
                raise DataError(
                    f"{lacks.path}: column {name!r} is missing, {has.path} has it; all files of one table need the same"
                )
    for name in forced:
        if name not in first:
            raise _absent(str(files[0].path), name, first)
    return first if columns is None else list(columns)


def _whole(file: TableFile, *, columns: list[str], types: Mapping[str, pa.DataType], cells: Cells) -> RawColumns:
    if file.format != "csv":
        return read_columns(file, columns=columns), _texts_of(file)
    forced = {name: kind for name, kind in types.items() if name in columns}
    return read_csv(file, types=forced, columns=columns, missing=cells.missing), None


def _streamed(
    file: TableFile, *, columns: list[str], types: Mapping[str, pa.DataType], rows: int, cells: Cells
) -> Iterator[pa.RecordBatch]:
    if file.format != "csv":
        yield from stream_columns(file, columns=columns, rows=rows)
        return
    forced = {name: kind for name, kind in types.items() if name in columns}
    for block in stream_csv(file, types=forced, columns=columns, missing=cells.missing).batches:
        for start in range(0, block.num_rows, rows):
            yield block.slice(start, rows)


def _part(file: TableFile, *, start: int, rows: int) -> Part:
    return Part(str(file.path), start, rows, int(file.format == "csv"), file.path)


def _joined(name: str, files: Sequence[TableFile], raws: list[RawColumns], *, cells: Cells) -> _Raw:
    parts, start = [], 0
    for file, (arrow, _) in zip(files, raws, strict=True):
        parts.append(_part(file, start=start, rows=arrow.num_rows))
        start += arrow.num_rows
    arrow, texts = united(files, raws, cells=cells)
    return _Raw(Table(name, _contiguous(arrow), tuple(parts)), texts)


def _contiguous(arrow: pa.Table) -> pa.Table:
    dictionaries = any(pa.types.is_dictionary(field.type) for field in arrow.schema)
    return (arrow.unify_dictionaries() if dictionaries else arrow).combine_chunks()
