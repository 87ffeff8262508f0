"""A chunk of batches of sparse rows in, the plain updates of a network whose first layer is their product made in one call.

What is above the first layer goes block by block as for dense rows. The gradient at its units is kept for all rows of the
batch; then each entry moves the weights of its column, to all H units side by side. Decay is kept apart, as in
`sparse_linear`.
"""

from __future__ import annotations

import numpy as np

from mbgd.compiled.instructions import flush_subnormals, restore_subnormals
from mbgd.compiled.kernel import kernel, part
from mbgd.step.fused.backward import backward
from mbgd.step.fused.forward import forward, loss
from mbgd.step.fused.layout import DECAY, OUTPUTS, SETTINGS, W_TENSOR, Batches, Calls, Data, Memory, Moves, Net, Sparse
from mbgd.step.fused.moves import begin, finish
from mbgd.step.fused.sparse_linear import column_of, decay_all, entries_of, look_ahead


@kernel
def run_sparse_net(
    calls: Calls, net: Net, memory: Memory, data: Data, sparse: Sparse, batches: Batches, moves: Moves
) -> None:
    mode, done, w_tensor, h = flush_subnormals(), 0, net.layers[0, W_TENSOR], net.layers[0, OUTPUTS]
    for j in range(len(batches.sizes)):
        m, factor = batches.sizes[j], batches.factors[j]
        n_blocks = max(1, (m + net.block - 1) // net.block)
        block, at_once = max(1, (m + n_blocks - 1) // n_blocks), n_blocks == 1
        begin(moves, batches.decays[j])
        for place in range(0, m, block):
            rows, start, fresh = min(block, m - place), batches.starts[j] + place, place == 0
            _multiply(memory, sparse, start, rows, h)
            forward(calls, net, memory, data, start, rows, place, fresh, m, batches.first_step + j, batches.fades[j])
            loss(calls, net, memory, data, batches, start, rows, done + place, batches.scales[j])
            here = backward(calls, net, memory, data, moves, start, rows, fresh, m, at_once, factor)
            for i in range(rows * h):
                sparse.kept[place * h + i] = memory.deltas[here + i]
        finish(calls, net, memory, data, batches, j, moves, factor, at_once)
        rate, decay = moves.settings[SETTINGS * w_tensor] * factor, moves.settings[SETTINGS * w_tensor + DECAY]
        decay_all(sparse, rate, decay)
        _learn(sparse, batches.starts[j], m, h, -rate / sparse.scale[0])
        done += m
    restore_subnormals(mode)


@part
def _multiply(memory: Memory, sparse: Sparse, start: int, rows: int, h: int) -> None:
    """The first layer's products, left where the layers above look for them."""
    number, last = memory.theta.dtype.type, np.uint64(len(sparse.weights) // h - 1)
    s = number(sparse.scale[0])
    for r in range(rows):
        look_ahead(sparse, start + r)
        row, out = np.uint64(sparse.picked[start + r]), memory.outputs[r * h : (r + 1) * h]
        for u in range(h):
            out[u] = number(0)
        of_row, end = entries_of(sparse, row)
        for e in range(of_row, end):
            value, first = sparse.values[np.uint64(e)], np.int64(column_of(sparse, e, last)) * h
            weights = sparse.weights[first : first + h]
            for u in range(h):
                out[u] += value * weights[u]
        for u in range(h):
            out[u] *= s


@part
def _learn(sparse: Sparse, start: int, m: int, h: int, step: float) -> None:
    """weights += step * value * gradient at the units, entry by entry."""
    each, last = sparse.weights.dtype.type(step), np.uint64(len(sparse.weights) // h - 1)
    for r in range(m):
        row, delta = np.uint64(sparse.picked[start + r]), sparse.kept[r * h : (r + 1) * h]
        of_row, end = entries_of(sparse, row)
        for e in range(of_row, end):
            pull, first = each * sparse.values[np.uint64(e)], np.int64(column_of(sparse, e, last)) * h
            weights = sparse.weights[first : first + h]
            for u in range(h):
                weights[u] += pull * delta[u]
