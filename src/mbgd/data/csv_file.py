"""A CSV file in, record batches or one Arrow table out, typed by its first block; a later bad cell is an error with its row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv

from mbgd.data.csv_errors import BadToken, announced, bad_token, explain, open_bytes, records
from mbgd.data.files import TableFile
from mbgd.data.header import read_header
from mbgd.data.lent import lent
from mbgd.data.slips import first_slip, is_number

BLOCK = 1 << 22  # bytes: what decides the types, and the most that one row may take
NA_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "?", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
Types = Mapping[str, pa.DataType]


@dataclass(frozen=True)
class CsvStream:
    """The types that the first block fixed, and the blocks one after the other."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def stream_csv(file: TableFile, *, types: Types, columns: Sequence[str] | None = None) -> CsvStream:
    """The blocks of a file; `types` are forced, all others fixed by the first block.

    Raises DataError, here or at a later block, with the row of the first cell that breaks the types or the shape.
    """
    header = read_header(file)
    file, names = header.file, list(header.names)
    return _stream(file, names=names, types=types, columns=columns)


def read_csv(file: TableFile, *, types: Types, columns: Sequence[str] | None = None) -> pa.Table:
    """The whole file; whole numbers in the first block may be followed by fractions, an empty first block by anything."""
    header = read_header(file)
    file, names = header.file, list(header.names)
    stream = _stream(file, names=names, types=types, columns=columns, may_widen=True)
    open_ended = {f.name for f in stream.schema if f.name not in types and _may_widen(f.type)}
    try:
        table = pa.Table.from_batches(list(stream.batches), stream.schema)
    except _Narrow:
        fixed = {f.name: f.type for f in stream.schema if f.name not in open_ended}
        table = _read_wide(file, names=names, types=fixed, first=stream.schema, columns=columns)
    for field in table.schema:
        if pa.types.is_string(field.type) and field.name not in types:
            _check_text_column(file, column=table.column(field.name), names=names, name=field.name)
    return table


class _Narrow(Exception):  # noqa: N818  not an error: says that the first block's type was too narrow
    pass


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


def _stream(
    file: TableFile, *, names: list[str], types: Types, columns: Sequence[str] | None, may_widen: bool = False
) -> CsvStream:
    with announced(file):
        watched, reader = _Watched(open_bytes(file)), None
        try:
            with _explained(file, names=names, types=types, may_widen=False):
                reader = csv.open_csv(lent(watched), **_options(file, types=types, columns=columns))
            _check_text(file, schema=reader.schema, watched=watched, names=names)
        except BaseException:
            reader = None  # a traceback keeps this frame, and with it what Arrow reads through
            watched.close()
            raise
    blocks = _blocks(file, reader=reader, watched=watched, names=names, types=types, may_widen=may_widen)
    return CsvStream(reader.schema, blocks)


def _blocks(
    file: TableFile,
    *,
    reader: csv.CSVStreamingReader,
    watched: _Watched,
    names: list[str],
    types: Types,
    may_widen: bool,
) -> Iterator[pa.RecordBatch]:
    try:
        with announced(file), _explained(file, names=names, types=types, may_widen=may_widen):
            for batch in reader:
                _check_text(file, schema=reader.schema, watched=watched, names=names)
                if batch.num_rows:
                    yield batch
    finally:
        del reader
        watched.close()
    _check_quotes(file, watched)


def _read_wide(
    file: TableFile, *, names: list[str], types: Types, first: pa.Schema, columns: Sequence[str] | None
) -> pa.Table:
    with (
        announced(file),
        _explained(file, names=names, types=types, may_widen=False),
        closing(_Watched(open_bytes(file))) as watched,
    ):
        table = csv.read_csv(lent(watched), **_options(file, types=types, columns=columns))
    _check_text(file, schema=table.schema, watched=watched, names=names)
    _check_quotes(file, watched)
    for field in first:
        found = table.schema.field(field.name).type
        if pa.types.is_integer(field.type) and not (pa.types.is_integer(found) or pa.types.is_floating(found)):
            number = names.index(field.name)
            token = _first_non_number(table.column(field.name))
            raise explain(file, reason="types differ", names=names, bad=BadToken(number, str(field.type), token))
    return table


def _check_text_column(file: TableFile, *, column: pa.ChunkedArray, names: list[str], name: str) -> None:
    """Text that was meant to be numbers or dates is a slip of the pen, not a category."""
    if slip := first_slip(column):
        bad = BadToken(names.index(name), slip.kind, slip.token)
        raise explain(file, reason="text among numbers", names=names, bad=bad)


def _first_non_number(column: pa.ChunkedArray) -> str:
    texts: list[str] = column.cast(pa.string()).drop_null().unique().to_pylist()
    return next(text for text in texts if not is_number(text))


def _options(file: TableFile, *, types: Types, columns: Sequence[str] | None) -> dict[str, object]:
    return {
        "read_options": csv.ReadOptions(
            block_size=BLOCK, column_names=list(file.columns) or None, skip_rows=file.lines
        ),
        "parse_options": csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            null_values=list(NA_WORDS),
            strings_can_be_null=True,
            column_types=dict(types),
            include_columns=list(columns) if columns is not None else None,
        ),
    }


def _may_widen(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_null(kind))


def _check_text(file: TableFile, *, schema: pa.Schema, watched: _Watched, names: list[str]) -> None:
    if watched.nul or any(pa.types.is_binary(field.type) for field in schema):
        raise explain(file, reason="not UTF-8 text", names=names)


def _check_quotes(file: TableFile, watched: _Watched) -> None:
    if watched.quotes % 2:  # only a hint: an inch sign inside a cell is legal, and the slow reader finds all well
        for _ in records(file):
            pass


@contextmanager
def _explained(file: TableFile, *, names: list[str], types: Types, may_widen: bool) -> Iterator[None]:
    """Turns the fast reader's refusal into a sentence with a row."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        bad = bad_token(str(error))
        if may_widen and bad and names[bad.column] not in types and bad.type in ("int64", "null"):
            raise _Narrow from None
        raise explain(file, reason=str(error).splitlines()[0], names=names, bad=bad) from None
