"""Texts that a spreadsheet would take for formulas, quoted, in the columns of a table and in their names."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from mbgd.data.cells import BLANKS, number

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four are what some read as the first


def quoted(text: str) -> str:
    """With ' in front where a spreadsheet would compute it; a number stays as it is."""
    inner = text.lstrip(BLANKS)
    computed = text.startswith(STARTS) or inner.startswith(STARTS)
    return f"'{text}" if computed and number(text.strip(BLANKS)) is None else text


def without_formulas(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables with `quoted` texts, columns of labels among them, and names; all other columns are as they were."""
    for table in tables:
        yield pa.table(
            [_column(column) for column in table.columns], names=[quoted(name) for name in table.column_names]
        )


def _column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return column
    texts = column.cast(kind).to_pylist()
    return pa.chunked_array([pa.array([None if text is None else quoted(text) for text in texts], kind)])
