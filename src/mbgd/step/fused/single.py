"""A chunk of batches of one row each in, plain updates of a linear model with one output made in one call.

What `run_linear` does, to the last bit, with all that can be kept in registers between a row's sum and its update: each
row waits for the one before it, so that every detour through memory counts.
"""

from __future__ import annotations

from mbgd.compiled.elementary import plus, plus_times, times
from mbgd.compiled.kernel import at, call, kernel
from mbgd.compiled.vectors import add_padded, ask_for_picked, dot_padded
from mbgd.step.fused.layout import BIAS, INPUTS, SETTINGS, Batches, Data, Memory, Moves, Net, W
from mbgd.step.fused.linear import BYTES_AHEAD, BYTES_OF_A_ROW, ROWS_AHEAD


@kernel
def run_single(net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves) -> None:
    """theta -= rate * gradient, row by row; `moves` must be bare."""
    a, w, bias = net.layers[0, INPUTS], at(memory.theta, net.layers[0, W]), net.layers[0, BIAS]
    x, y, picked, number = at(data.x, 0), at(data.y, 0), at(data.picked, 0), memory.theta.dtype.type
    out, label, delta = at(memory.outputs, 0), at(memory.pull, 0), at(memory.deltas, 0)
    n, weighted, most = len(data.picked), len(data.w) > 0, BYTES_OF_A_ROW // data.x.itemsize
    ahead = max(1, min(ROWS_AHEAD, BYTES_AHEAD // (a * data.x.itemsize)))
    for j in range(len(batches.sizes)):
        i = batches.starts[j]
        if i + ahead < n:
            ask_for_picked(x, picked, i + ahead, a, most)
            ask_for_picked(y, picked, i + ahead, 1, 1)
            if weighted:
                ask_for_picked(at(data.w, 0), picked, i + ahead, 1, 1)
        row, factor, pull = data.picked[i], batches.factors[j], number(batches.scales[j])
        memory.pull[0] = data.y[row]
        shift = memory.theta[bias] if bias >= 0 else number(0)
        memory.outputs[0] = plus(dot_padded(at(data.x, row * a), w, a), shift)
        call(net.loss, (net.loss_setting, out, label, delta, at(batches.losses, j), 1))
        each = times(memory.deltas[0], times(pull, data.w[row]) if weighted else pull)
        add_padded(at(data.x, row * a), times(each, number(-moves.settings[0] * factor)), w, a)
        if bias >= 0:
            memory.theta[bias] = plus_times(memory.theta[bias], number(-moves.settings[SETTINGS] * factor), each)
    for t in range(len(moves.counts)):
        moves.counts[t] += len(batches.sizes)
