"""Read a CSV file: numbers, dates and truth values typed as the whole file has them, all else as the text that it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv

from mbgd.data.cells import NA_WORDS
from mbgd.data.csv_errors import BadToken, announced, bad_token, explain, open_bytes, records
from mbgd.data.files import TableFile
from mbgd.data.header import read_header
from mbgd.data.lent import lent
from mbgd.errors import DataError

BLOCK = 1 << 22  # bytes: what is looked at first, and the most that one row may take
Types = Mapping[str, pa.DataType]


@dataclass(frozen=True)
class CsvStream:
    """The types of the first block, and the blocks one after the other."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def stream_csv(
    file: TableFile, *, types: Types, columns: Sequence[str] | None = None, missing: Sequence[str] = NA_WORDS
) -> CsvStream:
    """The blocks of a file; `types` are forced, all others fixed by the first block. Where a cell is not of a forced type,
    its column is text from that block on.

    Raises DataError, here or at a later block, with the row of the first cell that breaks the shape, or a type not forced.
    """
    header = read_header(file)
    file, names = header.file, list(header.names)
    how = _Conversion(dict(types), columns, tuple(missing))
    try:
        first = _stream(file, names=names, how=how)
    except _Unfit as unfit:
        how = how.as_text(unfit.name)
        return stream_csv(file, types=how.types, columns=columns, missing=missing)
    return CsvStream(first.schema, _resumed(file, first, names=names, how=how))


def _resumed(file: TableFile, stream: CsvStream, *, names: list[str], how: _Conversion) -> Iterator[pa.RecordBatch]:
    """The blocks; after a cell that is not of a forced type the file is read again, from there on with that column as text."""
    done, skipped = 0, 0
    while True:
        try:
            for batch in stream.batches:
                rest = batch.slice(max(0, done - skipped))
                skipped += batch.num_rows
                if rest.num_rows:
                    done += rest.num_rows
                    yield rest
            return
        except _Unfit as unfit:
            if unfit.name not in how.types:
                raise unfit.explained(file, names) from None
            how, skipped = how.as_text(unfit.name), 0
            stream = _stream(file, names=names, how=how)


def read_csv(
    file: TableFile, *, types: Types, columns: Sequence[str] | None = None, missing: Sequence[str] = NA_WORDS
) -> pa.Table:
    """The whole file, each column as the first of whole numbers, truth values, dates, times and numbers that all its cells
    are, in whatever order its rows stand; a column that is none of these, or not of a forced type, as text."""
    header = read_header(file)
    file, names = header.file, list(header.names)
    how = _Conversion(dict(types), columns, tuple(missing))
    while True:
        try:
            stream = _stream(file, names=names, how=how)
            return pa.Table.from_batches(list(stream.batches), stream.schema)
        except _Unfit as unfit:
            if unfit.name in how.types:
                how = how.as_text(unfit.name)
                continue
        try:  # the first block's type was too narrow
            return _read_whole(file, names=names, how=how)
        except _Unfit as unfit:
            how = how.as_text(unfit.name)


@dataclass(frozen=True)
class _Conversion:
    """How cells become values: types by column, the columns to read, the words for missing numbers, dates and the like."""

    types: Types
    columns: Sequence[str] | None
    missing: tuple[str, ...]

    def as_text(self, name: str) -> _Conversion:
        """With one column as text."""
        return replace(self, types={**self.types, name: pa.string()})


class _Unfit(Exception):  # noqa: N818  not an error: says that a column is not of the type that was tried
    def __init__(self, name: str, kind: str, token: str) -> None:
        super().__init__(name)
        self.name, self.kind, self.token = name, kind, token

    def explained(self, file: TableFile, names: list[str]) -> DataError:
        return explain(
            file, reason="types differ", names=names, bad=BadToken(names.index(self.name), self.kind, self.token)
        )


class _Watched:
    """Bytes on their way to the parser, with a note of what it would swallow in silence: NUL bytes, an odd quote."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw, self.quotes, self.nul, self.closed = raw, 0, False, False

    def read(self, size: int = -1) -> bytes:
        block = self.raw.read(size)
        if block and len(block) < size and block[-1:] not in b"\r\n":
            block += (
                self.raw.read(size - len(block)) or b"\n"
            )  # a header without an end of line is a header all the same
        self.quotes += block.count(b'"')
        self.nul = self.nul or b"\0" in block
        return block

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.raw.close()
        self.closed = True


def _stream(file: TableFile, *, names: list[str], how: _Conversion) -> CsvStream:
    with announced(file):
        watched, reader = _Watched(open_bytes(file)), None
        try:
            with _explained(file, names=names):
                reader = csv.open_csv(lent(watched), **_options(file, how))
            _check_text(file, schema=reader.schema, watched=watched, names=names)
        except BaseException:
            reader = None  # a traceback keeps this frame, and with it what Arrow reads through
            watched.close()
            raise
    return CsvStream(reader.schema, _blocks(file, reader=reader, watched=watched, names=names))


def _blocks(
    file: TableFile, *, reader: csv.CSVStreamingReader, watched: _Watched, names: list[str]
) -> Iterator[pa.RecordBatch]:
    try:
        with announced(file), _explained(file, names=names):
            for batch in reader:
                _check_text(file, schema=reader.schema, watched=watched, names=names)
                if batch.num_rows:
                    yield batch
    finally:
        del reader
        watched.close()
    _check_quotes(file, watched)


def _read_whole(file: TableFile, *, names: list[str], how: _Conversion) -> pa.Table:
    with announced(file), _explained(file, names=names), closing(_Watched(open_bytes(file))) as watched:
        table = csv.read_csv(lent(watched), **_options(file, how))
    _check_text(file, schema=table.schema, watched=watched, names=names)
    _check_quotes(file, watched)
    return table


def _options(file: TableFile, how: _Conversion) -> dict[str, object]:
    return {
        "read_options": csv.ReadOptions(
            block_size=BLOCK, column_names=list(file.columns) or None, skip_rows=file.lines
        ),
        "parse_options": csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            null_values=list(how.missing),
            strings_can_be_null=False,  # text is read with the words in it, as a frame's is
            column_types=dict(how.types),
            include_columns=list(how.columns) if how.columns is not None else None,
        ),
    }


def _check_text(file: TableFile, *, schema: pa.Schema, watched: _Watched, names: list[str]) -> None:
    if watched.nul or any(pa.types.is_binary(field.type) for field in schema):
        raise explain(file, reason="not UTF-8 text", names=names)


def _check_quotes(file: TableFile, watched: _Watched) -> None:
    if watched.quotes % 2:  # only a hint: an inch sign inside a cell is legal, and the slow reader finds all well
        for _ in records(file):
            pass


@contextmanager
def _explained(file: TableFile, *, names: list[str]) -> Iterator[None]:
    """Turns the fast reader's refusal into a sentence with a row, or says which column is not of the type that was tried."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        bad = bad_token(str(error))
        if bad is not None and bad.type != "string":
            raise _Unfit(names[bad.column], bad.type, bad.token) from None
        raise explain(file, reason=str(error).splitlines()[0], names=names, bad=bad) from None
