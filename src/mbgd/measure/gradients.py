"""An engine and some rows in, the gradient of the mean loss over each group of them out; nothing is trained by it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mbgd.data.chunk import Chunk, Stretch, gather
from mbgd.data.order import Cursor, IntArray
from mbgd.data.source import Source
from mbgd.errors import PlanError
from mbgd.step.autograd import Engine

ROWS_AT_ONCE = 8192  # large enough to hide Python, small enough that a hidden layer's outputs stay near the caches


def group_gradients(
    engine: Engine, source: Source, *, rows: IntArray, groups: int, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[NDArray[np.float64]]:
    """Yield, for each of K groups of b neighbouring `rows`, the gradient of its mean loss, shape (P,) in float64.

        g_k = (1/b) * sum over the group of (w_i / wbar) grad l_i

    at the parameters of now, in the order of `model.parameters()` with zeros for those not trained, before clipping and
    weight decay, in evaluation mode (no dropout). Sizes are those of `numpy.array_split`. No update is made: parameters,
    optimizer and averages stay as they are, bit for bit. A large group is read `rows_at_once` rows at a time.
    """
    if not 1 <= groups <= len(rows):
        raise PlanError(f"groups must be at least 1 and at most the {len(rows)} rows, got {groups}; 32 is usual")
    for group in np.array_split(rows, groups):
        yield _gradient(engine, source, group, rows_at_once=rows_at_once)


def _gradient(engine: Engine, source: Source, group: IntArray, *, rows_at_once: int) -> NDArray[np.float64]:
    total: NDArray[np.float64] | float = 0.0
    for start in range(0, len(group), rows_at_once):
        part = _one_batch(engine, source, group[start : start + rows_at_once], divisor=len(group))
        total = total + engine.gradient(part, 0).double().cpu().numpy()
    assert not isinstance(total, float)  # a group has at least one row
    return total


def _one_batch(engine: Engine, source: Source, rows: IntArray, *, divisor: int) -> Chunk:
    """Rows as a batch whose gradient is their share of the mean over `divisor` rows."""
    sizes = np.array([len(rows)])
    data, starts = gather(source, rows, sizes, tight=engine.packs_tightly)
    device = next(engine.updater.model.parameters()).device
    return Chunk(
        data=data.map(lambda leaf: leaf.to(device)),
        rows=rows,
        starts=starts,
        sizes=sizes,
        divisors=np.array([float(divisor)]),
        stretches=(Stretch(1, Cursor(0, 0), Cursor(0, 0)),),
    )
