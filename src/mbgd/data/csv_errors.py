"""Say why a CSV file cannot be read: the row, the column and what stands there."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import pyarrow as pa

from mbgd.data.comments import without_comments
from mbgd.data.files import TableFile, dialect_option, read_failure
from mbgd.errors import DataError, option

LONGEST = 1 << 24  # characters of one line or cell: beyond it a quote was lost, or the file is no table
_END = (
    "\x01" * 8
)  # fed after the last line, and no delimiter: where it comes back inside a cell, a quote was never closed
_CONVERSION = (  # a time with a zone where no other has one is no `invalid value` to Arrow, and neither is the reverse
    r"CSV column #(\d+):.*?conversion error to (.+?): (?:invalid value|expected (?:no|a) zone offset in) "
    r"'(.*)'"
)
_ODD = re.compile("[\0\udc80-\udcff]")  # NUL, and bytes that are no UTF-8 as `surrogateescape` shows them
_KINDS = {"decimal": "a number written like -1234.5, without separators",
          "int": "a number", "double": "a number", "float": "a number", "bool": "true or false", "date": "a date",
          "timestamp": "a date and time", "time": "a time of day", "string": "text"}  # fmt: skip


@dataclass(frozen=True)
class BadToken:
    """What the fast reader said: a cell of `column` holds `token`, which is no `type`."""

    column: int
    type: str
    token: str


def open_bytes(file: TableFile) -> BinaryIO:
    """The bytes of a CSV file, unpacked where it is gzipped, from the header or first row on, without comments."""
    raw = _unpacked(file)
    raw.read(file.skipped)
    return raw if file.comment is None else without_comments(raw, comment=file.comment, delimiter=file.delimiter)


def _unpacked(file: TableFile) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file.path, "rb") if file.gzipped else file.path.open("rb"))


def bad_token(message: str) -> BadToken | None:
    """What a conversion error of the fast reader names, None for any other error."""
    found = re.search(_CONVERSION, message, re.DOTALL)
    return BadToken(int(found[1]), found[2], found[3]) if found else None


def records(file: TableFile) -> Iterator[tuple[int, list[str]]]:
    """(row, cells) of each record, the header being row 1; blank lines are no records. Slow, and forgiving of any bytes.

    Raises DataError for a quote that is never closed and for a line that no table has.
    """
    row, before = 0, csv.field_size_limit(LONGEST)
    try:
        with io.TextIOWrapper(open_bytes(file), "utf-8-sig", "surrogateescape", newline="") as text:
            for cells in csv.reader(_lines(text, file), delimiter=file.delimiter):
                if not cells:
                    continue
                row += 1
                if cells[-1].endswith(_END):
                    if cells != [_END]:
                        raise DataError(f'{file.path}: row {row}: a quote (") opens here and is never closed; close it')
                    return
                yield row, cells
    except csv.Error:
        raise DataError(
            f'{file.path}: row {row + 1}: a cell is longer than {LONGEST:,} characters; is a quote (") never closed?'
        ) from None
    finally:
        csv.field_size_limit(before)


def explain(file: TableFile, *, reason: str, names: list[str], bad: BadToken | None = None) -> DataError:
    """The error for a file that the fast reader refused (`reason`), with the row found by reading it again slowly."""
    try:
        for row, cells in records(file):
            if said := _complaint(file, row=row, cells=cells, names=names, bad=bad):
                return DataError(f"{file.path}: row {row}{said}")
    except DataError as error:
        return error
    return DataError(f"{file.path}: no CSV file that can be read ({reason}); open it in an editor or convert it")


def encoding_error(file: TableFile, head: bytes) -> DataError | None:
    """The error for a file whose first bytes show that it is no UTF-8 text, else None."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return DataError(f"{file.path}: the text is UTF-16, it must be UTF-8; {_convert(file, 'UTF-16')}")
    return None


def _lines(text: io.TextIOWrapper, file: TableFile) -> Iterator[str]:
    line = "\n"
    for number in range(1, sys.maxsize):
        following = text.readline(LONGEST)
        if not following:
            break
        line = following
        if len(line) == LONGEST:
            raise DataError(f"{file.path}: line {number} is longer than {LONGEST:,} characters; is it a CSV file?")
        yield line if line.endswith(("\n", "\r")) else line + "\n"
    yield _END


def _complaint(file: TableFile, *, row: int, cells: list[str], names: list[str], bad: BadToken | None) -> str:
    if _ODD.search("".join(cells)):
        number = next(number for number, cell in enumerate(cells) if _ODD.search(cell))
        column = f", column {names[number]!r}" if number < len(names) and row > 1 else f", column {number + 1}"
        if "\0" in cells[number]:
            return f"{column}: a NUL byte stands here; remove it, or convert the file to UTF-8 text"
        return f"{column}: the bytes are not UTF-8 text; {_convert(file, 'ISO-8859-1')}"
    if row == 1 and file.header:
        return ""
    if len(cells) != len(names):
        count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
        names_of = "the header has" if file.header else "the first row has"
        return f": {count}, {names_of} {len(names)}; {_remedy(file, names, cells)}"
    if bad and (token := cells[bad.column].strip()) == bad.token.strip():
        kind = next((said for key, said in _KINDS.items() if bad.type.startswith(key)), None)
        name = names[bad.column]
        what = f"is not {kind}" if kind else "stands in a column whose first rows are all empty"
        text = option("categorical", name)
        return f", column {name!r}: {token!r} {what}; correct the cell, or read the column as text: {text}"
    return ""


def _remedy(file: TableFile, names: list[str], cells: list[str]) -> str:
    if file.comment is None and cells[0].lstrip().startswith("#"):
        return f"is it a comment? {dialect_option('comment', '#', known=file.known)}"
    joined = file.delimiter.join(names)
    other = max((c for c in ",;\t|" if c != file.delimiter), key=joined.count)
    if joined.count(other) >= len(names):
        return f"is the delimiter {other!r}? {dialect_option('delimiter', other, known=file.known)}"
    return "quote a cell that holds the delimiter, or correct the row"


def _convert(file: TableFile, encoding: str) -> str:
    return f"convert it, for example: iconv -f {encoding} -t UTF-8 {file.path.name}"


@contextmanager
def announced(file: TableFile) -> Iterator[None]:
    """Turns what the operating system and gzip say into an announced failure."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file.path}: the gzip data is damaged or cut off ({error}); copy the file again") from None
    except OSError as error:
        if isinstance(error, pa.ArrowException) or error.errno is None:
            raise
        raise read_failure(error, file.path) from None
