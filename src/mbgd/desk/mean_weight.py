"""Rows of a source in, the mean of their weights out."""

from __future__ import annotations

import torch

from mbgd.data.chance import drawing
from mbgd.data.iterable import iterable_of
from mbgd.data.order import IntArray
from mbgd.data.source import ArraySource, Rows, Source, batch_rows, first_row
from mbgd.data.sparse import SparseSource
from mbgd.data.stream import rows_of_a_chunk
from mbgd.errors import DataError
from mbgd.seeds import step_seed

OUTSIDE_OF_STEPS = 1 << 62  # in place of a step's number, where a read belongs to none


def mean_weight(source: Source, chosen: IntArray | None, *, seed: int) -> float:
    """wbar: the mean row weight of the training rows, 1 where rows have none; also of an iterable dataset, whose chunks divide
    by the mean so far."""
    if first_row(source).w is None or iterable_of(source) is not None:
        return 1.0
    if isinstance(source, SparseSource):  # a weight needs no dense row
        source = ArraySource(Rows(source.data.leaves()[-1], None, source.data.w))
    n, total = source.n_rows if chosen is None else len(chosen), 0.0
    step = batch_rows(source) or rows_of_a_chunk(source)
    with drawing(step_seed(seed, OUTSIDE_OF_STEPS)):  # weights that are drawn at random have this mean at a resume, too
        for at in range(0, n, step):
            rows = source.read(slice(at, at + step) if chosen is None else chosen[at : at + step])
            assert rows.w is not None
            total += float(rows.w.sum(dtype=torch.float64))
    if total <= 0:
        raise DataError(
            "weight must be positive in at least one training row, got only zeros; leave weights out for equal rows"
        )
    return total / n
