"""Read columns of text as numbers, truth values, dates, times of day or labels, the same from any file or frame.

U different texts of n cells
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from mbgd.data.bad_cells import MOSTLY, NOT_A_NUMBER, NOT_AS_WRITTEN, PLAIN, WRITTEN, first_bad_cell
from mbgd.data.cells import BLANKS, QUESTIONABLE, Cells
from mbgd.data.clocks import read_clocks
from mbgd.data.order import IntArray
from mbgd.data.timestamps import read_timestamps
from mbgd.errors import DataError

# what may be anything but labels, told by its first signs: true, inf, 5, -5, $5, EUR 5, 2024-01-31, 12:30
_NO_LABEL = r"(?i)^(?:true|false|[+-]?inf(?:inity)?|nan|(?:[a-z]{1,3}\.?[\s\pS]*)?[^\pL]*[0-9].*)$"
_MORE = re.compile(
    r"[0-9]|^(?:true|false|[+-]?inf(?:inity)?|nan)$", re.IGNORECASE
)  # one of these is in whatever that finds
_FEW = 512  # texts that Python looks through sooner than Arrow has made that pattern
_TYPED = csv.ConvertOptions(null_values=[], strings_can_be_null=False)
_WIDE = 1 << 30  # bytes of text, beyond which Arrow's short offsets could run out


@dataclass(frozen=True)
class Read:
    """A table whose text was read, the columns that held text, and the words for missing there: in how many rows of each."""

    arrow: pa.Table
    texts: frozenset[str] = frozenset()
    words: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def read_text(
    arrow: pa.Table,
    *,
    texts: Collection[str],
    types: Mapping[str, pa.DataType],
    cells: Cells,
    where: Callable[[int], str],
) -> Read:
    """Every text without blanks around it, and none where it is a word for missing; then the columns named in `texts` as
    the numbers, truth values, dates or times that all their cells are, and as labels else. `types` (by name) are settled:
    text stays text, and what is to be numbers is. Labels of categories are labels.

    Raises DataError for the first cell, by `where`, that keeps a column from being the numbers or dates of the others; for
    a trained model the column stays text then, and whoever needs it says what is wrong.
    """
    columns: list[pa.ChunkedArray] = []
    words: dict[str, Mapping[str, int]] = {}
    for name, column in zip(arrow.column_names, arrow.columns, strict=True):
        if name in cells.carried:
            columns.append(column)
            continue
        if not _holds_text(column.type):
            columns.append(_without_missing_numbers(column, cells))
            continue
        cleaned, found = _cleaned(_encoded(column), cells)
        if found:
            words[name] = found
        if name in texts or name in types:
            wanted = types.get(name)
            cleaned = _read_column(cleaned, name, wanted=wanted, cells=cells, where=where)
        columns.append(_without_missing_numbers(pa.chunked_array([cleaned]), cells))
    held = frozenset(field.name for field in arrow.schema if _holds_text(field.type))
    return Read(pa.table(columns, names=arrow.column_names), held, words)


def is_text(kind: pa.DataType) -> bool:
    """Is it text, in any of Arrow's layouts?"""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _holds_text(kind: pa.DataType) -> bool:
    return is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    if pa.types.is_string_view(column.type) or (pa.types.is_string(column.type) and column.nbytes > _WIDE):
        column = column.cast(pa.large_string())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if column.num_chunks == 1:
        return column.chunk(0)
    together = column.unify_dictionaries().combine_chunks()
    if isinstance(together, pa.ChunkedArray):
        return together.chunk(0) if together.num_chunks else pa.array([], column.type)
    return together


def _cleaned(column: pa.DictionaryArray, cells: Cells) -> tuple[pa.DictionaryArray, dict[str, int]]:
    """Distinct texts without blanks around them, none of them a word for missing; and the words that were."""
    values = column.dictionary
    trimmed = pc.utf8_trim(values, BLANKS)
    words = pc.is_in(trimmed, pa.array(cells.missing, values.type))
    if not pc.any(words).as_py() and pc.all(pc.equal(trimmed, values)).as_py() is not False and not values.null_count:
        return column, {}
    counts: dict[str, int] = {}
    asked = pc.is_in(trimmed, pa.array(sorted(QUESTIONABLE.intersection(cells.missing)), values.type))
    if pc.any(asked).as_py():
        rows = _rows_of(column)
        for code in np.flatnonzero(asked.to_numpy(zero_copy_only=False)).tolist():
            counts[trimmed[code].as_py()] = counts.get(trimmed[code].as_py(), 0) + int(rows[code])
    again = pc.if_else(words, None, trimmed).dictionary_encode()
    return pa.DictionaryArray.from_arrays(pc.take(again.indices, column.indices), again.dictionary), counts


def _read_column(
    column: pa.DictionaryArray, name: str, *, wanted: pa.DataType | None, cells: Cells, where: Callable[[int], str]
) -> pa.Array:
    """The cleaned column as the type that is wanted, or else as what all its cells are."""
    if wanted is not None and (is_text(wanted) or pa.types.is_dictionary(wanted)):
        return column
    if wanted is not None and not pa.types.is_floating(wanted):
        return column
    texts = column.dictionary
    likely = _matches(texts, _NO_LABEL) if _may_be_more(texts) else np.zeros(len(texts), dtype=bool)
    if wanted is None and not likely.any():
        return column
    rows = _rows_of(column)
    if not rows.any():
        return column
    used = rows > 0
    if not used.all():  # what no row holds decides nothing
        place = np.cumsum(used) - 1
        kept = pa.array(np.where(used, place, 0)[_codes(column)], pa.int32(), mask=_missing(column))
        return _read_column(
            pa.DictionaryArray.from_arrays(kept, texts.filter(pa.array(used))),
            name,
            wanted=wanted,
            cells=cells,
            where=where,
        )
    if wanted is not None:
        return _as_numbers(column, name, cells=cells, where=where)
    if rows[likely].sum() < MOSTLY * rows.sum():
        return column
    if (typed := _typed(texts)) is not None:
        return typed.take(column.indices)
    bad = first_bad_cell(texts, rows=rows, first=_first_rows(column))
    if bad is None or cells.door == "model" or name in cells.labels:
        return column
    text, row = texts[bad.code].as_py(), int(_first_rows(column)[bad.code])
    raise DataError(f"{where(row)}, column {name!r}: {text!r} {bad.why}; {cells.instead(name)}")


def _typed(texts: pa.Array) -> pa.Array | None:
    """The texts as Arrow's reader of CSV files takes a column of them, else as times in any spelling; None: as labels."""
    lines = pa.table({"c": texts.cast(pa.large_string())})
    sink = pa.BufferOutputStream()
    csv.write_csv(lines, sink, csv.WriteOptions(quoting_style="all_valid"))
    block = csv.ReadOptions(block_size=max(1 << 20, sink.tell() + 1))  # one block, so that one guess is right for all
    found = csv.read_csv(
        pa.BufferReader(sink.getvalue()),
        read_options=block,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=_TYPED,
    ).column(0)
    if not is_text(found.type):
        return found.combine_chunks() if found.num_chunks != 1 else found.chunk(0)
    times = read_timestamps(texts)
    if times.known.all():
        return times.column()
    clocks = read_clocks(texts)
    # days alone, as in '30 days', are labels until something says how long a part of one is
    return clocks.column() if clocks.known.all() and not clocks.only_days.all() else None


def _as_numbers(column: pa.DictionaryArray, name: str, *, cells: Cells, where: Callable[[int], str]) -> pa.Array:
    """The column as float64; for a trained model as it is, where a cell is none."""
    texts = column.dictionary
    plain = _matches(texts, rf"{PLAIN}|(?i)^[+-]?(?:inf(?:inity)?|nan)$")
    if plain.all():
        return texts.cast(pa.float64()).take(column.indices)
    if cells.door == "model":
        return column
    first = np.where(plain, len(column), _first_rows(column))
    code = int(first.argmin())
    text = texts[code].as_py()
    why = NOT_AS_WRITTEN if _matches(texts.slice(code, 1), WRITTEN)[0] else NOT_A_NUMBER
    raise DataError(f"{where(int(first[code]))}, column {name!r}: {text!r} {why}; {cells.instead(name)}")


def _without_missing_numbers(column: pa.ChunkedArray, cells: Cells) -> pa.ChunkedArray:
    if not (numbers := cells.missing_numbers):
        return column
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return column
    found = pc.is_in(column.cast(pa.float64()), pa.array(sorted(numbers), pa.float64()))
    return pc.if_else(found, pa.scalar(None, kind), column)


def _rows_of(column: pa.DictionaryArray) -> IntArray:
    """(U,) how many cells hold each text."""
    codes = _codes(column) if not column.indices.null_count else _codes(column)[~_missing(column)]
    return np.bincount(codes, minlength=len(column.dictionary)).astype(np.int64)


def _first_rows(column: pa.DictionaryArray) -> IntArray:
    """(U,) the first cell that holds each text; n where none does."""
    first = np.full(len(column.dictionary), len(column), np.int64)
    there = np.flatnonzero(~_missing(column))[::-1]
    first[_codes(column)[there]] = there  # of several writes to one place the last stands: the first cell
    return first


def _codes(column: pa.DictionaryArray) -> IntArray:
    indices = column.indices.fill_null(0) if column.indices.null_count else column.indices
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _missing(column: pa.DictionaryArray) -> NDArray[np.bool_]:
    return np.asarray(column.indices.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _may_be_more(texts: pa.Array) -> bool:
    """Whether some text may be anything but a label."""
    return len(texts) > _FEW or any(text is not None and _MORE.search(text) for text in texts.to_pylist())


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    return np.asarray(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False), dtype=bool)
