"""Read Parquet and Arrow files: their schema, record batches or one Arrow table; a damaged file is one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mbgd.data.files import TableFile, read_failure
from mbgd.data.text import is_text
from mbgd.errors import DataError, MBGDError

_BROKEN = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError, EOFError)


def schema_of(file: TableFile) -> pa.Schema:
    """Names and types of the columns, read from the file's footer alone."""
    with _announced(file.path, file.format):
        schema = _parquet(file).schema_arrow if file.format == "parquet" else _arrow(file).schema
    if double := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise DataError(f"{file.path}: the column {double[0]!r} stands twice in the file; rename one of them")
    return schema


def text_columns(file: TableFile) -> frozenset[str]:
    """The columns of text; those of categories, which are dictionaries in the file, are not among them."""
    with _announced(file.path, file.format):
        schema = pq.read_schema(file.path) if file.format == "parquet" else _arrow(file).schema
    return frozenset(field.name for field in schema if is_text(field.type))


def read_columns(file: TableFile, *, columns: Sequence[str]) -> pa.Table:
    """The named columns of the whole file, in that order; text comes as dictionaries."""
    with _announced(file.path, file.format):
        if file.format == "parquet":
            return _parquet(file).read(columns=list(columns)).select(list(columns))
        opened = _arrow(file, columns=columns)
        return pa.Table.from_batches([_valid(b) for b in _arrow_batches(opened)], opened.schema).select(list(columns))


def stream_columns(file: TableFile, *, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The named columns, at most `rows` rows at a time, in the file's order."""
    with _announced(file.path, file.format):
        if file.format == "parquet":
            batches = _parquet(file).iter_batches(batch_size=rows, columns=list(columns))
        else:
            batches = (_valid(b) for b in _arrow_batches(_arrow(file, columns=columns)))
        for batch in batches:
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows).select(list(columns))


def _parquet(file: TableFile) -> pq.ParquetFile:
    _check_ends(file.path)
    opened = pq.ParquetFile(file.path)
    texts = [field.name for field in opened.schema_arrow if is_text(field.type)]
    # as dictionaries text is never spelt out row by row: 3x faster to read, and encoded already
    return pq.ParquetFile(
        file.path, metadata=opened.metadata, read_dictionary=texts, page_checksum_verification=True, pre_buffer=False
    )


def _arrow(file: TableFile, *, columns: Sequence[str] | None = None) -> pa.ipc.RecordBatchFileReader:
    source = pa.OSFile(str(file.path))
    head = source.read(8)
    source.seek(0)
    if head[:4] == b"FEA1":
        raise DataError(
            f"{file.path}: Feather version 1 is not read; write it again with pyarrow.feather or as Parquet"
        )
    if head[:6] != b"ARROW1":
        if head[:4] != b"\xff" * 4 or int.from_bytes(head[4:], "little") > source.size():
            raise DataError(
                f"{file.path}: not an Arrow file (it does not begin with ARROW1); rename it to its true format"
            )
        return pa.ipc.open_stream(source)
    opened = pa.ipc.open_file(source)
    if columns is None:
        return opened
    fields = [opened.schema.get_field_index(name) for name in columns]
    source.seek(0)
    return pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=sorted(fields)))


def _arrow_batches(opened: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    if isinstance(opened, pa.ipc.RecordBatchStreamReader):
        yield from opened
        return
    for number in range(opened.num_record_batches):
        yield opened.get_batch(number)


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    batch.validate(full=True)  # Arrow trusts the offsets in a file: a flipped bit would be read past the end
    return batch


def _check_ends(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - 4))
        tail = file.read(4)
    if head not in (b"PAR1", b"PARE"):
        raise DataError(f"{path}: not a Parquet file (it does not begin with PAR1); rename it to its true format")
    if size < 12 or tail not in (b"PAR1", b"PARE"):
        raise DataError(f"{path}: the Parquet file is cut off after {size:,} bytes (its end is missing); copy it again")


@contextmanager
def _announced(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except MBGDError:
        raise
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, pa.ArrowException):
            raise read_failure(error, path) from None
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: the {kind.capitalize()} file is damaged ({said}); copy or write it again") from None
