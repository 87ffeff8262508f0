"""Learn the encoder of a table from its training rows; it turns any table of the same columns into numbers and codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.cells import NA_WORDS, Cells, saved_words
from mbgd.data.encode.categories import CategoryColumn, learn_category, plain_name
from mbgd.data.encode.dates import DateColumn, learn_date
from mbgd.data.encode.later import tells_time
from mbgd.data.encode.numbers import NumberColumn, as_floats, learn_number
from mbgd.data.encode.saved import LEFT_OUT, VERSION
from mbgd.data.encode.times import TIMES, as_times
from mbgd.data.order import IntArray
from mbgd.data.table import Table, check_column
from mbgd.data.text import is_text
from mbgd.errors import DataError, PlanError, argument, did_you_mean, listed, option

AS_TIME = "it is the time in other words, and later rows lie beyond all that was seen"
Part = NumberColumn | DateColumn | CategoryColumn
_LEARNED: dict[str, type[NumberColumn] | type[DateColumn] | type[CategoryColumn]] = {
    "number": NumberColumn,
    "date": DateColumn,
    "category": CategoryColumn,
}


@dataclass(frozen=True)
class ColumnFacts:
    """One input column as `inspect` shows it."""

    name: str
    type: str
    kind: str  # number, category, date or "left out"
    missing: int  # cells of the whole table, for a person who looks for its gaps; nothing is learned from it
    distinct: int  # values among the training rows
    why: str


_OF_FACTS = tuple(entry.name for entry in fields(ColumnFacts))


@dataclass(frozen=True)
class Encoded:
    """Rows as a model takes them: numbers float32 (N, F), codes int64 (N, C)."""

    numbers: NDArray[np.float32]
    codes: IntArray


@dataclass(frozen=True)
class Encoder:
    """Everything that was learned about the inputs, each column by a part of its own."""

    numbers: tuple[NumberColumn | DateColumn, ...]
    categories: tuple[CategoryColumn, ...]
    facts: tuple[ColumnFacts, ...]
    missing: tuple[str, ...] = NA_WORDS

    @property
    def cells(self) -> Cells:
        """How the text of rows to predict is read."""
        return Cells(missing=self.missing, door="model")

    @property
    def columns(self) -> dict[str, str]:
        """The input columns that a table must have, each with its kind."""
        return {fact.name: fact.kind for fact in self.facts if fact.kind != LEFT_OUT}

    @property
    def number_names(self) -> tuple[str, ...]:
        return tuple(name for part in self.numbers for name in part.outputs)

    @property
    def edges(self) -> tuple[tuple[float, ...], ...]:
        """Of each number, where a model may bend: none for what has two values or is a wave of a date."""
        each = []
        for part in self.numbers:
            own = part.edges if isinstance(part, NumberColumn) and len(part.edges) > 2 else ()
            each += [own if name == part.name else () for name in part.outputs]
        return tuple(each)

    @property
    def dates(self) -> tuple[DateColumn, ...]:
        return tuple(part for part in self.numbers if isinstance(part, DateColumn))

    @property
    def code_names(self) -> tuple[str, ...]:
        """Of the categories, then of the dates."""
        of_dates = (f"{date.name}:{part}" for date in self.dates for part, _ in date.codes)
        return (*(part.name for part in self.categories), *of_dates)

    @property
    def code_columns(self) -> tuple[str, ...]:
        """The column that each code is made of."""
        return (*(part.name for part in self.categories), *(date.name for date in self.dates for _ in date.codes))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each of them, 0 (missing or unseen) included."""
        of_dates = (len(values) + 1 for date in self.dates for _, values in date.codes)
        return (*(part.cardinality for part in self.categories), *of_dates)

    @property
    def notices(self) -> tuple[str, ...]:
        """A sentence for each column that is not used as it stands."""
        said = {True: " is left out: ", False: ": "}
        return tuple(f"column {f.name!r}{said[f.kind == LEFT_OUT]}{f.why}" for f in self.facts if f.why)

    @property
    def schema(self) -> pa.Schema:
        """Types to force on the needed columns of a CSV file, so that every block is read as the encoder needs it."""
        kinds = {f.name: f.type for f in self.facts}
        fields = [pa.field(part.name, pa.string()) for part in self.categories]
        for part in self.numbers:
            timed = isinstance(part, DateColumn) or kinds[part.name].startswith(TIMES)
            fields.append(pa.field(part.name, pa.string() if timed else pa.float64()))
        return pa.schema(fields)

    def encode(self, table: Table) -> Encoded:
        """Numbers and codes of every row; columns are found by name, others are ignored.

        Raises DataError for an absent column, and with the row for a value that cannot be what the column was.
        """
        for name in self.columns:
            if name not in table.known:
                raise _absent(table, name)
        table = self._timed(table)
        numbers = np.empty((table.n_rows, len(self.number_names)), dtype=np.float32)
        codes = np.empty((table.n_rows, len(self.code_names)), dtype=np.int64)
        each_number = (values for part in self.numbers for values in part.encode(table))
        each_code = chain(
            (part.encode(table) for part in self.categories),
            (values for date in self.dates for values in date.encode_codes(table)),
        )
        for column, values in enumerate(each_number):
            numbers[:, column] = values
        for column, of_rows in enumerate(each_code):
            codes[:, column] = of_rows
        return Encoded(numbers, codes)

    def _timed(self, table: Table) -> Table:
        """Columns of numbers that were times in training as such, in its unit: text, and times of another one."""
        kinds = {fact.name: fact.type for fact in self.facts}
        timed = [
            part.name for part in self.numbers if isinstance(part, NumberColumn) and kinds[part.name].startswith(TIMES)
        ]
        if not timed:
            return table
        columns = dict(zip(table.names, table.arrow.columns, strict=True))
        columns |= {name: as_times(table.column(name), kinds[name]) for name in timed}
        return replace(table, arrow=pa.table(columns))

    def describe(self) -> list[dict[str, Any]]:
        """name, type, kind, missing, distinct and why of each input column, in the table's order."""
        return [asdict(fact) for fact in self.facts]

    def to_json(self) -> dict[str, Any]:
        kinds = {kind: name for name, kind in _LEARNED.items()}
        parts = [{"kind": kinds[type(p)], **p.to_json()} for p in (*self.numbers, *self.categories)]
        return {"version": VERSION, "parts": parts, "facts": self.describe(), "missing": list(self.missing)}

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Encoder:
        """`to_json` undone, of what `check_encoder` has let pass."""
        parts: list[Part] = [_LEARNED[part["kind"]].from_json(part) for part in saved["parts"]]
        categories = tuple(part for part in parts if isinstance(part, CategoryColumn))
        return Encoder(
            tuple(part for part in parts if not isinstance(part, CategoryColumn)),
            categories,
            tuple(ColumnFacts(**{name: one[name] for name in _OF_FACTS}) for one in saved["facts"]),
            saved_words(saved.get("missing"), (label for part in categories for label in part.labels)),
        )


def learn_encoder(
    table: Table,
    *,
    training_rows: IntArray,
    drop: Sequence[str] = (),
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    times: IntArray | None = None,
) -> Encoder:
    """Learns every column but those of `drop` from the training rows; no other row is looked at.

    `times` (n_rows,) are given where later rows are to be predicted: numbers that tell the time and little else are then
    left out, unless they are named in `numeric`.

    Raises DataError for a name that the table lacks, a nested column, an infinite number, and where no column is left.
    """
    for name in (*drop, *numeric, *categorical):
        check_column(table, name)
    left_out, as_numbers, as_labels = {*drop}, {*numeric}, {*categorical}
    if both := sorted(as_numbers & as_labels):
        raise PlanError(f"numeric and categorical must name different columns, got {both[0]!r} in both; keep one")
    if not len(training_rows):
        raise DataError(f"{table.name}: the encoder needs at least one training row, got none; hold out fewer rows")
    parts: list[Part] = []
    facts: list[ColumnFacts] = []
    for name in (name for name in table.names if name not in left_out):
        kind = _kind(table, name, numeric=as_numbers, categorical=as_labels)
        named = name in as_numbers or name in as_labels
        part, fact = _learn(table, name, kind=kind, training_rows=training_rows, keep=named, times=times)
        parts += [part] if part is not None else []
        facts.append(fact)
    if not parts:
        reasons = "; ".join(f"{f.name!r}: {f.why}" for f in facts[:5]) or f"there is none besides {listed(drop)}"
        raise DataError(
            f"{table.name}: no input column is left to learn from ({reasons}); give at least one that varies"
        )
    return Encoder(
        tuple(part for part in parts if not isinstance(part, CategoryColumn)),
        tuple(part for part in parts if isinstance(part, CategoryColumn)),
        tuple(facts),
        table.cells.missing,
    )


def _learn(
    table: Table, name: str, *, kind: str, training_rows: IntArray, keep: bool, times: IntArray | None
) -> tuple[Part | None, ColumnFacts]:
    learned = (
        learn_number(table, name, training_rows=training_rows)
        if kind == "number"
        else learn_date(table, name, training_rows=training_rows, later=times is not None)
        if kind == "date"
        else learn_category(table, name, training_rows=training_rows, keep=keep)
    )
    if times is not None and isinstance(learned.part, NumberColumn) and not keep:
        seen = as_floats(table, name)[training_rows]
        if tells_time(seen, times[training_rows]):
            learned = replace(learned, part=None, why=f"{AS_TIME}; {argument('numeric', name)} keeps it")
    if name in table.unused and not keep:
        learned = replace(learned, part=None, why=table.unused[name])
    why = learned.why or table.remarks.get(name, "")
    shown = kind if learned.part is not None else LEFT_OUT
    type_name = plain_name(table.column(name).type)
    return learned.part, ColumnFacts(name, type_name, shown, _missing(table, name), learned.distinct, why)


def _missing(table: Table, name: str) -> int:
    """Cells of all rows without a value."""
    column = table.column(name)
    if not pa.types.is_floating(column.type) or isfinite(
        pc.sum(column).as_py() or 0.0
    ):  # one NaN would make the sum NaN
        return int(column.null_count)
    return int(column.null_count) + int(pc.sum(pc.is_nan(column)).as_py() or 0)


def _kind(table: Table, name: str, *, numeric: Set[str], categorical: Set[str]) -> str:
    kind = table.column(name).type
    if pa.types.is_nested(kind) and not pa.types.is_dictionary(kind):
        raise DataError(
            f"{table.name}, column {name!r}: nested values ({kind}) are no table column; leave it out: "
            f"{option('drop', name)}"
        )
    if name in categorical:
        return "category"
    if name in numeric:
        return "number"
    if pa.types.is_dictionary(kind) or is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return "category"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "date"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return "number" if pa.types.is_time(kind) or pa.types.is_duration(kind) else "category"


def _absent(table: Table, name: str) -> DataError:
    near = did_you_mean(name, table.names)
    hint = f"{near[:-1]}, then rename it" if near else "; add it (it may be empty)"
    return DataError(f"{table.name}: column {name!r} is missing, the model was trained with it{hint}")
