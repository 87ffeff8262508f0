"""Plain SGD updates of a linear model with one output, for a chunk of sparse rows, in one call.

A step reads and moves the weights of the columns that its rows have, and no others. Decay takes from all of them at every
step, so it is kept apart, as one factor s: theta = s v, with

    s' = s (1 - rate decay),   v' = v - (rate / s') g,   hence   theta' = s' v' = (1 - rate decay) theta - rate g

which is torch's SGD, whatever the rates. Where s has become small it goes into v, a pass over all of them.
m rows of a batch
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mbgd.compiled.instructions import flush_subnormals, restore_subnormals
from mbgd.compiled.kernel import at, call, kernel, part
from mbgd.compiled.prefetch import ask_for
from mbgd.step.fused.layout import (
    BIAS,
    BIAS_TENSOR,
    DECAY,
    SETTINGS,
    W_TENSOR,
    Batches,
    Data,
    Memory,
    Moves,
    Net,
    Sparse,
)
from mbgd.step.fused.moves import begin

STARTS_AHEAD, ROWS_AHEAD = 32, 16  # how many rows ahead it is asked where a row lies, and for its entries
BYTES_OF_A_ROW = 1024  # of columns and of values that are asked for
SMALL = 2.0**-16  # a factor under it goes into the weights


@kernel
def run_sparse_linear(net: Net, memory: Memory, data: Data, sparse: Sparse, batches: Batches, moves: Moves) -> None:
    mode = flush_subnormals()
    bias, w_tensor = net.layers[0, BIAS], net.layers[0, W_TENSOR]
    bias_tensor, number, done = net.layers[0, BIAS_TENSOR], memory.theta.dtype.type, 0
    last = np.uint64(len(sparse.weights) - 1)
    for j in range(len(batches.sizes)):
        m, factor, start = batches.sizes[j], batches.factors[j], batches.starts[j]
        begin(moves, batches.decays[j])
        rate, decay = moves.settings[SETTINGS * w_tensor] * factor, moves.settings[SETTINGS * w_tensor + DECAY]
        shift, s = memory.theta[bias] if bias >= 0 else number(0), number(sparse.scale[0])
        for r in range(m):
            look_ahead(sparse, start + r)
            sparse.outputs[r] = _sum_of_row(sparse, sparse.picked[start + r], last) * s + shift
        out, y, slope = at(sparse.outputs, 0), at(data.y, start), at(sparse.kept, 0)
        call(net.loss, (net.loss_setting, out, y, slope, at(batches.losses, done), m))
        decay_all(sparse, rate, decay)
        step, pull, total = number(-rate / sparse.scale[0]), number(batches.scales[j]), number(0)
        for r in range(m):
            row = np.uint64(sparse.picked[start + r])
            each = sparse.kept[r] * (pull * data.w[start + r] if len(data.w) else pull)
            total += each
            each *= step
            first, end = entries_of(sparse, row)
            for e in range(first, end):
                sparse.weights[column_of(sparse, e, last)] += each * sparse.values[np.uint64(e)]
        if bias >= 0:
            rate, decay = (
                moves.settings[SETTINGS * bias_tensor] * factor,
                moves.settings[SETTINGS * bias_tensor + DECAY],
            )
            memory.theta[bias] -= number(rate) * total + number(rate * decay) * shift
        done += m
    restore_subnormals(mode)


@part
def entries_of(sparse: Sparse, row: Any) -> tuple[Any, Any]:
    """Where the entries of a row begin and end: among those that there are, whatever its owner has written there since the
    matrix was looked at. A number below 0 is a very large one."""
    n = np.uint64(len(sparse.columns))
    first, end = np.uint64(sparse.starts[row]), np.uint64(sparse.starts[row + np.uint64(1)])
    return np.int64(min(first, n)), np.int64(min(end, n))


@part
def column_of(sparse: Sparse, e: Any, last: Any) -> Any:
    """The column of an entry, the last one in place of one that is not there: a check of its own would be a pass more."""
    return min(np.uint64(sparse.columns[np.uint64(e)]), last)


@part
def _sum_of_row(sparse: Sparse, i: Any, last: Any) -> Any:
    """sum over the entries of row i of value times weight. Four sums take turns, since each addition waits for the one
    before it in its sum."""
    e, end = entries_of(sparse, np.uint64(i))
    zero = sparse.weights.dtype.type(0)
    a, b, c, d = zero, zero, zero, zero
    while e + 4 <= end:
        a += _product(sparse, e, last)
        b += _product(sparse, e + 1, last)
        c += _product(sparse, e + 2, last)
        d += _product(sparse, e + 3, last)
        e += 4
    while e < end:
        a += _product(sparse, e, last)
        e += 1
    return (a + b) + (c + d)


@part
def _product(sparse: Sparse, e: Any, last: Any) -> Any:
    return sparse.values[np.uint64(e)] * sparse.weights[column_of(sparse, e, last)]


@part
def look_ahead(sparse: Sparse, i: Any) -> None:
    """Ask for what will be needed some rows after the i-th of the chunk."""
    if i + STARTS_AHEAD < len(sparse.picked):
        ask_for(at(sparse.starts, sparse.picked[i + STARTS_AHEAD]), 2, 2)
    if i + ROWS_AHEAD < len(sparse.picked):
        first, end = entries_of(sparse, np.uint64(sparse.picked[i + ROWS_AHEAD]))
        n = max(end - first, 0)
        ask_for(at(sparse.columns, first), n, BYTES_OF_A_ROW // sparse.columns.itemsize)
        ask_for(at(sparse.values, first), n, BYTES_OF_A_ROW // sparse.values.itemsize)


@part
def decay_all(sparse: Sparse, rate: float, decay: float) -> None:
    """What the decay of a step takes from every weight, in one factor."""
    if decay != 0:
        scale = sparse.scale[0] * (1 - rate * decay)
        if abs(scale) < SMALL:  # 0 too, by which nothing could be divided
            for i in range(len(sparse.weights)):
                sparse.weights[i] *= sparse.weights.dtype.type(scale)
            scale = 1.0
        sparse.scale[0] = scale


@kernel
def is_same(theta: Any, sparse: Sparse) -> bool:
    """Whether the weights are still what the factor makes of those without decay."""
    s, same = theta.dtype.type(sparse.scale[0]), True
    for i in range(len(theta)):
        same = same and theta[i] == s * sparse.weights[i]
    return same


@kernel
def write_out(theta: Any, sparse: Sparse) -> None:
    """Let everybody see the weights as they are."""
    s = theta.dtype.type(sparse.scale[0])
    for i in range(len(theta)):
        theta[i] = s * sparse.weights[i]
