"""Encode a column of labels as codes: 1..K by frequency, 0 for missing or unseen; rarer ones
of very many labels share codes behind K, and so do unseen ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbgd.data.bad_cells import are_dates_otherwise, are_measures
from mbgd.data.cells import without_point
from mbgd.data.encode.shared import shared_codes
from mbgd.data.encode.spelling import Spelling, are_numbers
from mbgd.data.order import IntArray
from mbgd.data.table import Table
from mbgd.data.text import is_text
from mbgd.errors import DataError, argument, option

MOST_LABELS = 10_000  # that have a code of their own: the embedding would outgrow the model
KEY_LIKE = 50  # distinct values from which "more than half of the rows differ" says key, and not small table


@dataclass(frozen=True)
class CategoryColumn:
    """Code k is labels[k - 1]; a label is the value as text. `type` is the column's type when it was learned. Where there
    are `shared` codes, they come last: one of them, by a hash of its text, has each label that is not among `labels`."""

    name: str
    labels: tuple[str, ...]
    type: str
    shared: int = 0

    @property
    def cardinality(self) -> int:
        """Number of codes, 0 included."""
        return len(self.labels) + 1 + self.shared

    @cached_property
    def spelling(self) -> Spelling:
        """Which code a text has."""
        return Spelling(self.labels, truth=self.type == "bool", shared=self.shared)

    def encode(self, table: Table) -> IntArray:
        """Codes (n_rows,); a missing value is 0, and so is a label that was not learned, unless such share codes."""
        column = as_texts(table, self.name)
        return self._code_of(column, self.spelling.code)[_indices(column)]

    def unseen(self, table: Table) -> Unseen:
        """How many cells hold labels that were not learned, and the first of these."""
        column = as_texts(table, self.name)
        code_of, rows = (
            self._code_of(column, self.spelling.known),
            np.bincount(_indices(column), minlength=len(column.dictionary) + 1),
        )
        new = np.flatnonzero((code_of[:-1] == 0) & (rows[:-1] > 0))
        first = column.dictionary[int(new[0])].as_py() if len(new) else None
        return Unseen(int(rows[new].sum()), int(rows[:-1].sum()), first)

    def _code_of(self, column: pa.DictionaryArray, code: Callable[[str], int]) -> IntArray:
        """The code of each of the column's texts, and 0 for none of them behind these."""
        found = pc.index_in(column.dictionary, value_set=pa.array(self.labels, column.dictionary.type))
        code_of = np.append(found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1, 0)
        others = np.flatnonzero(code_of[:-1] == 0)
        code_of[others] = [code(text) for text in column.dictionary.take(pa.array(others)).to_pylist()]
        return code_of

    def texts(self, table: Table) -> tuple[str | None, ...]:
        """What stands in each row; None where it is missing, or a label never seen that has no code."""
        codes, column, labels = self.encode(table), as_texts(table, self.name), (None, *self.labels)
        there = column.to_pylist() if self.shared else []
        return tuple(labels[code] if code < len(labels) else there[row] for row, code in enumerate(codes.tolist()))

    def to_json(self) -> dict[str, Any]:
        shared = {"shared": self.shared} if self.shared else {}
        return {"name": self.name, "labels": list(self.labels), "type": self.type, **shared}

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> CategoryColumn:
        return CategoryColumn(saved["name"], tuple(saved["labels"]), saved["type"], saved.get("shared", 0))


@dataclass(frozen=True)
class Unseen:
    """`cells` of `of` that are not missing hold labels that training did not know, as `first` is one."""

    cells: int
    of: int
    first: str | None


@dataclass(frozen=True)
class CategorySummary:
    """What the training rows say of a column of labels: the part or None, exact counts, and a reason for the user."""

    part: CategoryColumn | None
    missing: int
    distinct: int
    why: str = ""


def learn_category(table: Table, name: str, *, training_rows: IntArray, keep: bool = False) -> CategorySummary:
    """Labels of the training rows by falling count, then by name; `keep` also keeps what looks like a key. Where all are
    numbers '3.0' is the label '3'."""
    column = as_texts(table, name)
    texts = column.dictionary.to_pylist()
    counts = np.bincount(_indices(column)[training_rows], minlength=len(texts) + 1)
    missing, n_rows = int(counts[-1]), len(training_rows)
    of_text = _merged({text: int(c) for c, text in zip(counts[:-1].tolist(), texts, strict=True) if c})
    seen = sorted((-count, text) for text, count in of_text.items())
    distinct = len(seen)
    if not distinct:
        return CategorySummary(None, missing, 0, "every value is missing")
    if distinct == 1 and not missing:
        return CategorySummary(None, 0, 1, "one value only")
    if not keep and distinct > KEY_LIKE and distinct > (n_rows - missing) / 2:
        if are_dates_otherwise([text for _, text in seen]):
            kept = f"{argument('categorical', name)} keeps them as labels"
            why = f"its values look like dates; write them as 2020-01-31, or {kept}"
        elif are_measures([text for _, text in seen]):
            kept = f"{argument('categorical', name)} keeps them as labels"
            why = f"its values look like numbers with units, such as {seen[0][1]!r}; write the numbers alone, or {kept}"
        else:
            many = f"{distinct:,} different values in {n_rows - missing:,} rows"
            why = f"{many} look like a key; {argument('categorical', name)} keeps it"
        return CategorySummary(None, missing, distinct, why)
    labels, rarer = tuple(text for _, text in seen[:MOST_LABELS]), [-count for count, _ in seen[MOST_LABELS:]]
    part = CategoryColumn(name, labels, plain_name(table.column(name).type), shared_codes(rarer))
    kept = f"of {distinct:,} different values the {len(labels):,} most frequent "
    others = (
        f"have a code each, the others share {part.shared:,}"
        if part.shared
        else "are kept, the others stand once or so"
    )
    return CategorySummary(part, missing, distinct, kept + others if rarer else "")


def _merged(counts: dict[str, int]) -> dict[str, int]:
    """The rows of each label, two spellings of a whole number being one."""
    if not any(text.endswith(("0", ".")) and "." in text for text in counts) or not are_numbers([*counts]):
        return counts
    merged: dict[str, int] = {}
    for text, count in counts.items():
        merged[without_point(text)] = merged.get(without_point(text), 0) + count
    return merged


def as_texts(table: Table, name: str) -> pa.DictionaryArray:
    """The column as a dictionary of distinct non-null texts; NaN is missing, a whole number reads '7' in any type."""
    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        try:
            column = column.dictionary_encode()
        except pa.ArrowNotImplementedError:  # lists, and types that an extension of Arrow brings
            raise _no_text(table, name, column.type) from None
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):  # no chunk at all
        array = pa.array([], pa.string()).dictionary_encode()
    values = _text(array.dictionary, table=table, name=name)
    if values.null_count or len(values.unique()) != len(values):  # two values of one text, or a null among the values
        again = values.dictionary_encode()
        indices = pc.take(again.indices, array.indices)
        return pa.DictionaryArray.from_arrays(indices, again.dictionary)
    return pa.DictionaryArray.from_arrays(array.indices, values)


def plain_name(kind: pa.DataType) -> str:
    """The name of a type as users meet it: a dictionary is what it holds, text is 'string' in any layout."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return "string" if is_text(kind) else str(kind)


def _text(values: pa.Array, *, table: Table, name: str) -> pa.Array:
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        return values.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # Arrow knows no text for the type, lists for example
        raise _no_text(table, name, values.type) from None


def _no_text(table: Table, name: str, kind: pa.DataType) -> DataError:
    return DataError(
        f"{table.name}, column {name!r}: values of type {kind} cannot be read as text; leave it out: "
        f"{option('drop', name)}"
    )


def _indices(column: pa.DictionaryArray) -> IntArray:
    indices = column.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(len(column.dictionary))
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)
