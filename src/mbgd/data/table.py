"""A table with named columns from whatever holds rows: CSV, Parquet and Arrow files, folders, frames, mappings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from mbgd.data.cells import Cells
from mbgd.data.concat import RawColumns, concatenated, is_number, plain_type, unlike
from mbgd.data.files import Dialect, TableFile, find_files
from mbgd.data.folders import check_keys, keys_of, types_of
from mbgd.data.frames import FRAME, frame_to_arrow
from mbgd.data.header import reads_like_data, value_in_header
from mbgd.data.index import nameless, names_of_index, stored_index
from mbgd.data.order import IntArray
from mbgd.data.places import Part, Places
from mbgd.data.table_file import Columns, Reading, columns_of, read_streamed, read_whole, texts_of
from mbgd.data.text import is_text, read_text
from mbgd.errors import DataError, PlanError, did_you_mean, listed, option


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
    unused: Mapping[str, str] = field(default_factory=dict)  # column -> why it is no input unless asked for
    remarks: Mapping[str, str] = field(default_factory=dict)  # column -> what to know of it as an input
    notices: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        return int(self.arrow.num_rows)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.arrow.column_names)

    @cached_property
    def known(self) -> frozenset[str]:
        """Its names, to look one up among thousands."""
        return frozenset(self.names)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(part.path for part in self.parts if part.path is not None)

    @property
    def places(self) -> Places:
        """Where its rows came from, without the rows."""
        return Places(self.n_rows, self.parts, self.taken)

    @property
    def file_columns(self) -> tuple[str, ...]:
        """The columns that stand in its files: all but those that folders give."""
        given = keys_of(self.files[0]) if self.files else {}
        return tuple(name for name in self.names if name not in given)

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

    def only(self, names: Iterable[str]) -> Table:
        """The named columns alone, each of which must be there."""
        for name in (names := list(names)):
            check_column(self, name)
        return replace(self, arrow=self.arrow.select(names))


def open_table(
    data: Any,
    *,
    dialect: Dialect | None = None,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    schema_like: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
    cells: Cells = Cells(),
) -> Table:
    """All rows of a file, a folder, a glob, a list of them, a frame or a mapping of columns.

    `dialect` says how CSV files are written. Text is read as `cells` says and as the numbers, dates or truth values that a
    column of it holds; `numeric`, `categorical` and `schema_like` (by name) settle what a column of text is. `columns` reads
    these alone, in this order. Types of several files are brought together where numbers stay numbers. Raises DataError for
    what cannot be a table, StorageError where the disk refuses.
    """
    forced = _forced(numeric=numeric, categorical=categorical, schema_like=schema_like)
    if not _is_files(data):
        _check_columns(dialect, FRAME, ())
        table = _read(_of_frame(data, columns=columns), types=forced, cells=cells)
    else:
        files = find_files(data, dialect=dialect)
        _check_columns(dialect, str(files[0].path), files)
        files, found = _common_columns(files, columns=columns, forced=(*numeric, *categorical))
        reading = Reading(found.names, forced, types_of(files, forced=forced), cells.missing)
        name = str(data) if isinstance(data, str | Path) else str(files[0].path)
        raws = [(read_whole(file, reading), texts_of(file, reading)) for file in files]
        texts = dict.fromkeys(unlike(raws).difference(forced), pa.string())
        if texts and all(file.format == "csv" for file in files):  # what they hold is decided by the rows of all files
            raws = [(read_whole(file, replace(reading, types={**forced, **texts})), None) for file in files]
        table = _read(_joined(name, files, raws, cells=cells), types=forced, cells=cells)
        said = found.notices or (value_in_header(files[0], table.arrow) if table.parts[0].header_rows else ())
        table = replace(table, unused=found.unused, notices=said)
    if not table.n_rows:
        raise DataError(f"{table.name}: there are no rows; a table needs at least one")
    unused, remarks = nameless(table.arrow)
    return replace(table, unused={**unused, **table.unused}, remarks=remarks)


def read_batches(
    data: Any,
    *,
    dialect: Dialect | None = None,
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
    files = find_files(data, dialect=dialect)
    files, found = _common_columns(files, columns=columns, forced=(*numeric, *categorical))
    reading = Reading(found.names, forced, types_of(files, forced=forced), cells.missing)
    seen = 0
    for file in files:
        start, texts = 0, texts_of(file, reading)
        for batch in read_streamed(file, reading, rows=rows):
            part = _part(file, start=-start, rows=batch.num_rows)
            raw = _Raw(Table(str(file.path), pa.Table.from_batches([batch]), (part,)), texts)
            yield _read(raw, types=forced, cells=cells)
            start += batch.num_rows
        seen += start
    if not seen:
        raise DataError(f"{files[0].path}: there are no rows; a table needs at least one")


def column_names(data: Any, *, dialect: Dialect | None = None) -> tuple[str, ...]:
    """The columns of a file, of the first of several, or of a frame; no row of a file is read but the first ones."""
    if not _is_files(data):
        return tuple(frame_to_arrow(data).column_names)
    return tuple(columns_of(find_files(data, dialect=dialect)[0]).names)


def check_column(table: Table, name: str) -> None:
    """Raises DataError, with the nearest name, where the table has no such column."""
    if name not in table.known:
        raise _absent(table.name, name, table.names, is_csv=any(part.header_rows for part in table.parts))


def _absent(where: str, name: str, known: Sequence[str], *, is_csv: bool = False) -> DataError:
    near = did_you_mean(name, known)
    data = ""
    if is_csv and reads_like_data(known):
        data = f"; its header reads like a row of values; if the file has no header: {option('header', 'False')}"
    return DataError(f"{where}: there is no column {name!r}{near or f'; it has {listed(known)}'}{data}")


def _is_files(data: Any) -> bool:
    return isinstance(data, str | Path) or (
        isinstance(data, list | tuple) and all(isinstance(d, str | Path) for d in data)
    )


def _check_columns(dialect: Dialect | None, name: str, files: Sequence[TableFile]) -> None:
    """Raises PlanError where cells are named that have their names already."""
    if dialect is not None and dialect.columns and not any(file.format == "csv" for file in files):
        raise PlanError(
            f"columns name the cells of a CSV file without a header, got {listed(dialect.columns)} for {name}; leave them out"
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


def _of_frame(data: Any, *, columns: Sequence[str] | None) -> _Raw:
    if type(data).__module__.partition(".")[0] == "narwhals":
        data = data.to_native()
    arrow = frame_to_arrow(data)
    known = {*arrow.column_names}
    for name in columns or ():
        if name not in known:
            raise _absent(FRAME, name, arrow.column_names)
    arrow = arrow.select(list(columns)) if columns is not None else arrow
    texts = frozenset(field.name for field in arrow.schema if is_text(field.type))
    notices = tuple(
        f"the index {name!r} of {FRAME} is no input; reset_index() makes it one" for name in names_of_index(data)
    )
    part = Part(FRAME, 0, arrow.num_rows)
    table = Table(FRAME, _contiguous(arrow), (part,), unused=stored_index(arrow.schema), notices=notices)
    return _Raw(table, texts)


def _forced(
    *, numeric: Sequence[str], categorical: Sequence[str], schema_like: pa.Schema | None
) -> dict[str, pa.DataType]:
    if both := sorted(set(numeric) & set(categorical)):
        raise PlanError(f"numeric and categorical must name different columns, got {both[0]!r} in both; keep one")
    like = {field.name: field.type for field in schema_like} if schema_like is not None else {}
    return {**like, **dict.fromkeys(numeric, pa.float64()), **dict.fromkeys(categorical, pa.string())}


def _common_columns(
    files: Sequence[TableFile], *, columns: Sequence[str] | None, forced: Sequence[str]
) -> tuple[tuple[TableFile, ...], Columns]:
    """The columns to read: those asked for, or the first file's; every file must have the same ones. With the files, of which
    is known now whether they have a header."""
    check_keys(files)
    each = [columns_of(file) for file in files]
    first = each[0].names
    in_first, wanted = {*first}, first if columns is None else list(columns)
    for file, found in zip(files, each, strict=True):
        here = {*found.names}
        for name in columns or ():
            if name not in here and name not in (in_first if file is not files[0] else ()):
                raise _absent(str(file.path), name, found.names, is_csv=file.format == "csv")
        for name in (*wanted, *(found.names if columns is None else ())):
            if (name in here) != (name in in_first):
                has, lacks = (files[0], file) if name in in_first else (file, files[0])
                raise DataError(
                    f"{lacks.path}: column {name!r} is missing, {has.path} has it; all files of one table need the same"
                )
    for name in forced:
        if name not in in_first:
            raise _absent(str(files[0].path), name, first, is_csv=files[0].format == "csv")
    among = {*wanted}
    unused = {name: why for found in each for name, why in found.unused.items() if name in among}
    headed = tuple(replace(file, header=found.has_header) for file, found in zip(files, each, strict=True))
    return headed, Columns(wanted, unused, tuple(dict.fromkeys(said for found in each for said in found.notices)))


def _part(file: TableFile, *, start: int, rows: int) -> Part:
    return Part(str(file.path), start, rows, int(file.format == "csv" and file.header), file.path)


def _joined(name: str, files: Sequence[TableFile], raws: list[RawColumns], *, cells: Cells) -> _Raw:
    parts, start = [], 0
    for file, (arrow, _) in zip(files, raws, strict=True):
        parts.append(_part(file, start=start, rows=arrow.num_rows))
        start += arrow.num_rows
    arrow, texts = concatenated(files, raws, cells=cells)
    return _Raw(Table(name, _contiguous(arrow), tuple(parts)), texts)


def _contiguous(arrow: pa.Table) -> pa.Table:
    dictionaries = any(pa.types.is_dictionary(field.type) for field in arrow.schema)
    return (arrow.unify_dictionaries() if dictionaries else arrow).combine_chunks()
