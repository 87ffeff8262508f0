"""A chunk of batches of one row each in, plain updates of a linear model with one output made in one call.

What `run_linear` does, to the last bit, with all that can be kept in registers between a row's sum and its update: each
row waits for the one before it, so that every detour counts.
"""

from __future__ import annotations

from mbgd.compiled.elementary import plus, plus_times, sigmoid, times
from mbgd.compiled.instructions import flush_subnormals, restore_subnormals
from mbgd.compiled.kernel import at, call, kernel
from mbgd.compiled.prefetch import ask_for_picked
from mbgd.compiled.vectors import add_padded, dot_padded
from mbgd.step.fused.layout import BIAS, INPUTS, SETTINGS, Batches, Data, Memory, Moves, Net, W
from mbgd.step.fused.linear import BYTES_AHEAD, BYTES_OF_A_ROW, ROWS_AHEAD


@kernel
def run_single(net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves, logistic: int) -> None:
    """theta -= rate * gradient, row by row; `moves` must be bare.

    `logistic` says that the loss is log_loss without smoothing: then its slope is computed here, and no row waits for its
    loss, which is left for all rows of a block at once.
    """
    mode = flush_subnormals()
    a, w, bias = net.layers[0, INPUTS], at(memory.theta, net.layers[0, W]), net.layers[0, BIAS]
    x, y, picked, number = at(data.x, 0), at(data.y, 0), at(data.picked, 0), memory.theta.dtype.type
    k, weighted, most = len(batches.sizes), len(data.w) > 0, BYTES_OF_A_ROW // data.x.itemsize
    ahead, rate, rate_of_bias = max(1, min(ROWS_AHEAD, BYTES_AHEAD // (a * data.x.itemsize))), -moves.settings[0], 0.0
    if bias >= 0:
        rate_of_bias = -moves.settings[SETTINGS]
    for first in range(0, k, net.block):
        rows = min(net.block, k - first)
        for r in range(rows):
            i = batches.starts[first + r]
            if i + ahead < len(data.picked):
                ask_for_picked(x, picked, i + ahead, a, most)
                ask_for_picked(y, picked, i + ahead, 1, 1)
                if weighted:
                    ask_for_picked(at(data.w, 0), picked, i + ahead, 1, 1)
            row, factor, pull = data.picked[i], batches.factors[first + r], number(batches.scales[first + r])
            shift, label = memory.theta[bias] if bias >= 0 else number(0), data.y[row]
            z = plus(dot_padded(at(data.x, row * a), w, a), shift)
            memory.outputs[r], memory.pull[r] = z, label
            if logistic:
                slope = plus(sigmoid(z), -label)
            else:
                out, target, delta = at(memory.outputs, r), at(memory.pull, r), at(memory.deltas, r)
                call(net.loss, (net.loss_setting, out, target, delta, at(batches.losses, first + r), 1))
                slope = memory.deltas[r]
            each = times(slope, times(pull, data.w[row]) if weighted else pull)
            add_padded(at(data.x, row * a), times(each, number(rate * factor)), w, a)
            if bias >= 0:
                memory.theta[bias] = plus_times(shift, number(rate_of_bias * factor), each)
        if logistic:
            out, target, delta = at(memory.outputs, 0), at(memory.pull, 0), at(memory.deltas, 0)
            call(net.loss, (net.loss_setting, out, target, delta, at(batches.losses, first), rows))
    for t in range(len(moves.counts)):
        moves.counts[t] += k
    restore_subnormals(mode)
