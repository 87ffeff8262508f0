"""Concatenate the rows of several files: numbers widen to numbers, and text is read by the rows of all files."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mbgd.data.cells import Cells
from mbgd.data.files import TableFile
from mbgd.data.text import is_text, read_text
from mbgd.errors import DataError, option

RawColumns = tuple[pa.Table, frozenset[str] | None]
"""A file as it stands, and which of its columns are text: these names, or all (None) that are no categories."""


def concatenated(files: Sequence[TableFile], raws: Sequence[RawColumns], *, cells: Cells) -> RawColumns:
    """All rows. Where one file has a column as text and another as numbers, dates or the like, that text is read first."""
    tables = [_read_alone(file, raw, raws, cells=cells) for file, raw in zip(files, raws, strict=True)]
    schema = tables[0].schema
    for file, table in zip(files[1:], tables[1:], strict=True):
        schema = pa.schema([_common_type(f, table.schema.field(f.name), files[0], file) for f in schema])
    arrow = pa.concat_tables([table.cast(schema) for table in tables]) if len(tables) > 1 else tables[0]
    named = [texts for _, texts in raws if texts is not None]
    return arrow, frozenset().union(*named) if named else None


def unlike(raws: Sequence[RawColumns]) -> set[str]:
    """The columns that hold values of different kinds in several files, but no text: numbers of any type are of one kind."""
    found: set[str] = set()
    for field in raws[0][0].schema:
        kinds = {plain_type(table.schema.field(field.name).type) for table, _ in raws}
        kinds = {kind for kind in kinds if not pa.types.is_null(kind)}
        if len(kinds) > 1 and not all(is_number(kind) for kind in kinds) and not any(is_text(kind) for kind in kinds):
            found.add(field.name)
    return found


def is_number(kind: pa.DataType) -> bool:
    """Is it a number, whole, floating or decimal?"""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary, and one type for text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.large_string() if is_text(kind) else kind


def _read_alone(file: TableFile, raw: RawColumns, raws: Sequence[RawColumns], *, cells: Cells) -> pa.Table:
    table, texts = raw
    alone = [f.name for f in table.schema if _is_text_alone(f, [other.schema for other, _ in raws])]
    alone = [name for name in alone if texts is None or name in texts]
    header = int(file.format == "csv")
    read = read_text(
        table.select(alone),
        texts=frozenset(alone),
        types={},
        cells=cells,
        where=lambda row: f"{file.path}: row {row + 1 + header}",
    )
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return pa.table({**columns, **{name: read.arrow.column(name) for name in alone}})


def _is_text_alone(one: pa.Field, others: Sequence[pa.Schema]) -> bool:
    """Whether it is text, and in another file neither text nor nothing at all."""
    kinds = [plain_type(schema.field(one.name).type) for schema in others]
    return is_text(plain_type(one.type)) and any(not is_text(kind) and not pa.types.is_null(kind) for kind in kinds)


def _common_type(a: pa.Field, b: pa.Field, first: TableFile, other: TableFile) -> pa.Field:
    """Numbers widen to numbers, nothing to anything, text stays text; any other pair is refused with both files."""
    left, right = plain_type(a.type), plain_type(b.type)
    if a.type.equals(b.type):
        return pa.field(a.name, a.type)
    if any(pa.types.is_floating(t) for t in (left, right)) and all(is_number(t) for t in (left, right)):
        return pa.field(a.name, pa.float64())
    try:
        pair = [pa.schema([pa.field(a.name, left)]), pa.schema([pa.field(a.name, right)])]
        return pa.unify_schemas(pair, promote_options="permissive").field(0)
    except pa.ArrowException:
        raise DataError(
            f"{other.path}: column {a.name!r} is {right}, in {first.path} it is {left}; "
            f"give both the same type, or drop the column: {option('drop', a.name)}"
        ) from None
