"""Sentences about a table that looks too good: a column that explains the target, a class of few rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mbgd.data.encode.encoder import Encoded, Encoder
from mbgd.data.encode.numbers import as_floats
from mbgd.data.encode.target import Target
from mbgd.data.order import IntArray
from mbgd.data.table import Table
from mbgd.desk.plan import Plan
from mbgd.errors import argument
from mbgd.measure.one_column import binned, entropy_explained, variance_explained
from mbgd.measure.row_order import sortedness
from mbgd.seeds import Purpose, hash_rows

MOST_ROWS, MOST_CELLS = 20_000, 2_000_000  # looked at: under 0.2 s
FEWEST_ROWS = 50  # below, chance alone explains much
EXPLAINED = 0.8  # share of the target from which one column alone is suspect
EXACT = 1e-12  # from the whole: no more than the rounding of sums over the rows
MOST_COLUMNS = 3  # that are named
ORDERED = 0.99  # correlation of ranks
RARE = 0.01
SLIPS, FAR_RARER = 3, 10  # rows of a class that may be a slip, where every other class has so many times as many
MOST_SLIPS = 3  # that are named


def hints(
    table: Table, plan: Plan, *, target: Target, encoder: Encoder, encoded: Encoded, y: IntArray, training: IntArray
) -> tuple[str, ...]:
    """One sentence each: weights of classes, labels that look like slips, a rare class, columns that explain the target
    alone, a time that orders the rows of a random split, rows whose weights leave coverage without bounds.

    Only training rows are looked at, but for slips, of which any row may be one; encoded and y hold rows by their numbers.
    """
    n_rows = min(MOST_ROWS, MOST_CELLS // max(1, len(encoder.columns)))
    rows = _sample(training, n_rows, seed=plan.seed)
    said = [*_weighed(target, plan), *_unbounded(plan), *_slips(target, y)]
    said += _rare(target, y[training], cut=plan.threshold_for is not None)
    if len(rows) >= FEWEST_ROWS:
        said += _alone(table, target, encoder=encoder, codes=encoded.codes[rows], y=y[rows], rows=rows)
        held_out_at_random = plan.split == "random" and isinstance(plan.test, float)
        said += _ordered(table, np.sort(rows), target=target) if held_out_at_random else ()
    return tuple(said)


def _sample(training: IntArray, n_rows: int, *, seed: int) -> IntArray:
    """At most so many rows, those of lowest hash, in the order of their hashes: an order of chance."""
    hashed = hash_rows(training, seed=seed, purpose=Purpose.SAMPLE)
    if len(training) > n_rows:
        lowest = np.argpartition(hashed, n_rows)[:n_rows]
        training, hashed = training[lowest], hashed[lowest]
    return training[np.argsort(hashed)]


def _weighed(target: Target, plan: Plan) -> Iterator[str]:
    """A temperature cannot take back what a shift of all outputs has done."""
    if plan.class_weight is not None:
        yield (
            f"class_weight trains as if the classes of {target.name} were equally frequent: probabilities of rare ones come "
            "out too high; scores count rows as they are"
        )


def _unbounded(plan: Plan) -> Iterator[str]:
    if plan.weight is not None and plan.quantiles and plan.test != "none":
        yield (
            f"column {plan.weight} weighs rows: no bounds are given for the coverage of intervals, which would be those of "
            "rows that weigh the same"
        )


def _slips(target: Target, y: IntArray) -> Iterator[str]:
    """Classes of very few rows where each of the others has far more."""
    if not target.classes:
        return
    counts = np.bincount(y, minlength=len(target.classes))
    few = [code for code, count in enumerate(counts) if 0 < count <= SLIPS]
    others = [count for count in counts if count > SLIPS]
    for code in few[:MOST_SLIPS]:
        if others and counts[code] * FAR_RARER <= min(others):
            rows = "1 row" if counts[code] == 1 else f"{counts[code]} rows"
            yield f"class {target.classes[code]!r} of {target.name} stands in {rows} only: a slip?"


def _rare(target: Target, y: IntArray, *, cut: bool) -> Iterator[str]:
    if len(target.classes) != 2:
        return
    counts = np.bincount(y, minlength=2)
    rare = int(counts.argmin())
    if counts[rare] < RARE * len(y):
        advice = "" if cut else f", and try {argument('threshold_for', 'f1')}"
        yield (
            f"{target.name} is {target.classes[rare]!r} in {counts[rare]:,} of {len(y):,} training rows: accuracy says "
            f"little of so rare a class; go by log_loss and roc_auc{advice}"
        )


def _alone(
    table: Table,
    target: Target,
    *,
    encoder: Encoder,
    codes: IntArray,
    y: NDArray[Any],
    rows: IntArray,
) -> list[str]:
    numbers = [name for name, kind in encoder.columns.items() if kind == "number"]
    seen = table.only(numbers).take(rows)
    shares = {name: _of_number(as_floats(seen, name), y, target) for name in numbers}
    for column, name in enumerate(part.name for part in encoder.categories):
        explained = entropy_explained if target.classes else variance_explained
        shares[name] = explained(codes[:, column], y)
    suspects = sorted((name for name, share in shares.items() if share >= EXPLAINED), key=lambda name: -shares[name])
    return [
        f"column {name} alone explains {_percent(shares[name])} of {target.name}: is it known when you predict?"
        for name in suspects[:MOST_COLUMNS]
    ]


def _percent(share: float) -> str:
    """Rounded, and yet 100 % of nothing but the whole."""
    if 1 - share < EXACT:
        return "100 %"
    digits = 0 if share < 0.995 else 1
    return f"{100 * share:.{digits}f} %" if share < 0.9995 else "more than 99.9 %"


def _of_number(x: NDArray[np.float64], y: NDArray[Any], target: Target) -> float:
    if target.classes:
        return entropy_explained(binned(x), y)
    return variance_explained(binned(x), y, x_N=x)


def _ordered(table: Table, rows: IntArray, *, target: Target) -> Iterator[str]:
    """The first column of times in whose order the rows come."""
    for field in table.arrow.schema:
        if field.name == target.name or not (pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)):
            continue
        times = table.column(field.name).take(pa.array(rows)).drop_null()
        whole = pa.int32() if pa.types.is_date32(field.type) else pa.int64()
        ticks = times.cast(whole).to_numpy().astype(np.int64)
        if len(ticks) >= FEWEST_ROWS and sortedness(ticks) > ORDERED:
            by_time = argument("split", f"time:{field.name}")
            yield f"{field.name} orders the rows: a random split may flatter; try {by_time}"
            return
