"""Encode a column of numbers: scaled by median and quartile range, softened by asinh, with a flag for missing ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.cells import TRUTH, number
from mbgd.data.concat import is_number
from mbgd.data.encode.saved import FURTHEST
from mbgd.data.order import IntArray
from mbgd.data.table import Table
from mbgd.data.text import is_text
from mbgd.errors import DataError, option

FloatArray = NDArray[np.float64]
BINS = 32
"""Between the edges of a column, at most."""
NEARLY = 1e-5  # that a number of float32 may lie beside a whole one
FAR = 20.0  # an edge beyond which no 0 or 1 lies
_BASE_16 = "^0[xX][0-9a-fA-F]{1,16}$"  # which Arrow takes for whole numbers where it is asked what a column holds
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_WIDEST = float(np.finfo(np.float64).max)
ASINH_OF_WIDEST = np.float32(FURTHEST)  # a ratio that overflows is cut here, not infinite


@dataclass(frozen=True)
class NumberColumn:
    """z = asinh((x - median) / scale), 0 where x is missing; scale 0 leaves the value out and keeps the flag alone.

    z stays within the range of the training rows, from the first to the last of its `edges`: what lies beyond has never
    been seen, and a straight line through it may go anywhere. The edges are quantiles of z, for models that bend there.
    """

    name: str
    median: float
    scale: float
    flag: bool  # missing values were seen among the training rows
    edges: tuple[float, ...] = ()  # rising, exact in float32; none: z is unbounded

    @property
    def outputs(self) -> tuple[str, ...]:
        return ((self.name,) if self.scale else ()) + ((f"{self.name}:missing",) if self.flag else ())

    @property
    def is_truth(self) -> bool:
        """Whether all its training values were 0 or 1, so that a text of true or false is one of them."""
        return is_truth(self.median, self.scale, self.edges)

    def encode(self, table: Table) -> list[NDArray[np.float32]]:
        """One array (n_rows,) for each of `outputs`; DataError with the row where a value is infinite."""
        x = as_floats(table, self.name, truth=self.is_truth)
        columns = []
        if self.scale:
            with np.errstate(over="ignore", invalid="ignore"):  # of a signalling NaN, which damaged bytes may spell
                z = np.arcsinh((x - self.median) / self.scale)
            if np.isinf(z).any():
                check_finite(x, table=table, name=self.name)
            low, high = (self.edges[0], self.edges[-1]) if self.edges else (-ASINH_OF_WIDEST, ASINH_OF_WIDEST)
            columns.append(np.clip(z, low, high).astype(np.float32))
        if self.flag or np.isnan(x).any():
            missing = np.isnan(x)
            columns = [np.where(missing, np.float32(0), z32) for z32 in columns]
            if self.flag:
                columns.append(missing.astype(np.float32))
        return columns

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> NumberColumn:
        median, scale, edges = float(saved["median"]), float(saved["scale"]), map(float, saved.get("edges", ()))
        return NumberColumn(saved["name"], median, scale, bool(saved["flag"]), tuple(edges))


@dataclass(frozen=True)
class NumberSummary:
    """What the training rows say of a column of numbers: the part, or None with the reason; exact counts."""

    part: NumberColumn | None
    missing: int
    distinct: int
    why: str = ""


def learn_number(table: Table, name: str, *, training_rows: IntArray) -> NumberSummary:
    """Median and quartile range (linear between order statistics, as numpy.quantile) of all training rows; no sampling.

    Where the quartiles are one value, half of max - min takes the place of their range (Holzmueller et al. 2024, RealMLP).
    """
    x = as_floats(table, name)[training_rows]
    ordered = np.sort(x)  # NaN last; one sort gives quantiles, extremes and the count of distinct values
    ordered = ordered[: int(np.searchsorted(ordered, np.nan))]
    missing = len(x) - len(ordered)
    if not len(ordered):
        return NumberSummary(None, missing, 0, "every value is missing")
    if np.isinf(ordered[0]) or np.isinf(ordered[-1]):
        check_finite(as_floats(table, name), table=table, name=name, rows=training_rows)
    distinct = 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    if distinct == 1 and not missing:
        return NumberSummary(None, 0, 1, "one value only")
    low, median, high = (_quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    scale = min(high - low, _WIDEST) or float(ordered[-1] / 2 - ordered[0] / 2)
    if not scale and not missing:
        return NumberSummary(None, missing, distinct, "its values differ by less than a float can tell")
    edges = _edges(ordered, distinct, median, scale) if scale else ()
    return NumberSummary(NumberColumn(name, median, scale, missing > 0, edges), missing, distinct)


def _edges(ordered: FloatArray, distinct: int, median: float, scale: float) -> tuple[float, ...]:
    """Each value where they are few, else quantiles, of z; least and greatest among them."""
    few = distinct <= BINS + 1
    values = np.unique(ordered) if few else np.array([_quantile(ordered, j / BINS) for j in range(BINS + 1)])
    with np.errstate(over="ignore"):
        z = np.arcsinh((values - median) / scale)
    return tuple(np.unique(np.clip(z, -ASINH_OF_WIDEST, ASINH_OF_WIDEST).astype(np.float32)).tolist())


def as_floats(table: Table, name: str, *, truth: bool = False) -> FloatArray:
    """The column as float64 with NaN for missing; times of day and durations in seconds, text parsed, with `truth` also true
    and false.

    Raises DataError, with the row, for text that is no number; and for values that cannot be numbers, as lists.
    """
    column = table.column(name)
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind, column = kind.value_type, column.cast(kind.value_type)
    if is_text(kind):
        return _parsed(table, name, column, truth=truth)
    if pa.types.is_null(kind):
        return np.full(table.n_rows, np.nan)
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        unit = _SECONDS[kind.unit]
        whole = pa.int32() if kind.bit_width == 32 else pa.int64()
        return _to_numpy(column.cast(whole)) * unit
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):  # NaT as a float would be a number
        column = column.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    elif not is_number(kind):
        raise DataError(
            f"{table.name}, column {name!r}: values of type {kind} are no numbers; convert them, or leave it out: "
            f"{option('drop', name)}"
        )
    return _to_numpy(column)


def check_finite(values: FloatArray, *, table: Table, name: str, rows: IntArray | None = None) -> None:
    """Raises DataError for the first infinite value (among `rows` if given), with its file and row."""
    among = np.arange(len(values)) if rows is None else np.sort(rows)
    infinite = among[np.isinf(values[among])]
    if len(infinite):
        raise DataError(
            f"{table.where(infinite[0])}, column {name!r}: {values[infinite[0]]} is not finite; {_instead(table, name)}"
        )


def _instead(table: Table, name: str) -> str:
    if table.cells.door == "training" and name not in table.cells.targets:
        return f"correct it, leave the cell empty, or drop the column: {option('drop', name)}"
    return "correct it, or leave the cell empty"


def _to_numpy(column: pa.ChunkedArray) -> FloatArray:
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _quantile(ordered: FloatArray, share: float) -> float:
    at = share * (len(ordered) - 1)
    below, part = int(at), at - int(at)
    if not part:
        return float(ordered[below])
    return float(ordered[below] * (1 - part) + ordered[below + 1] * part)  # two products: a difference may overflow


def _parsed(table: Table, name: str, column: pa.ChunkedArray, *, truth: bool) -> FloatArray:
    """Each text as the number that it is; what is missing was found when the table was opened."""
    text = column.cast(pa.large_string())
    if truth:
        low = pc.utf8_lower(text)
        text = pc.if_else(pc.equal(low, "true"), "1", pc.if_else(pc.equal(low, "false"), "0", text))
    of_base_16 = pc.match_substring_regex(text, _BASE_16)
    if pc.any(of_base_16).as_py():
        whole = pc.if_else(of_base_16, text, "0").cast(pa.int64())
        text = pc.if_else(of_base_16, whole.cast(pa.large_string()), text)
    try:
        return _to_numpy(text.cast(pa.float64()))
    except pa.ArrowInvalid:
        row, token = next((r, t) for r, t in enumerate(text.to_pylist()) if t is not None and not _is_float(t))
        raise DataError(
            f"{table.where(row)}, column {name!r}: {token!r} is not a number; {table.cells.instead(name)}"
        ) from None


def _is_float(token: str) -> bool:
    return number(token) is not None or token.lower().lstrip("+-") in ("inf", "infinity", "nan")


def is_truth(median: float, scale: float, edges: Sequence[float]) -> bool:
    """Whether a column of numbers held nothing but 0 and 1 in training: its edges are its values where these are few."""
    if not scale:
        return True  # one value only, which is not used
    return (
        0 < len(edges) <= len(TRUTH)
        and max(map(abs, edges)) < FAR
        and all(
            abs(value - round(value)) < NEARLY and round(value) in TRUTH.values()
            for value in (median + scale * math.sinh(edge) for edge in edges)
        )
    )
