"""A chunk of batches in, its updates of a linear model with one output made in one call.

The general program spends a dozen calls a batch where this has one sum and one update a row: with few rows a batch that is
most of the time. Rows are read where they lie, by their numbers: to copy them would take longer than to train on them.

Products and sums are rounded as they stand here, since `run_single` has to come to the same bits.
a columns · m rows of a batch
"""

from __future__ import annotations

from typing import Any

from mbgd.compiled.elementary import plus, plus_times, times
from mbgd.compiled.instructions import flush_subnormals, restore_subnormals
from mbgd.compiled.kernel import at, call, kernel, part
from mbgd.compiled.prefetch import ask_for_picked
from mbgd.compiled.vectors import combine_picked, dots_picked
from mbgd.step.fused.layout import BIAS, INPUTS, SETTINGS, Batches, Calls, Data, Memory, Moves, Net, W
from mbgd.step.fused.moves import begin, finish

ROWS_AHEAD, BYTES_AHEAD = 16, 1 << 14  # how far ahead rows are asked for: memory answers some ten rows later
BYTES_OF_A_ROW = 512  # that are asked for; a processor sees by itself that more of it will be needed
PIECE = 8  # rows between two looks ahead


@kernel
def run_linear(calls: Calls, net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves) -> None:
    mode = flush_subnormals()
    a, w, bias = net.layers[0, INPUTS], net.layers[0, W], net.layers[0, BIAS]
    x, delta, done, number = at(data.x, 0), at(memory.deltas, 0), 0, memory.theta.dtype.type
    ahead = max(1, min(ROWS_AHEAD, BYTES_AHEAD // (a * data.x.itemsize)))
    for i in range(min(ahead, len(data.picked))):
        ask_for_picked(x, at(data.picked, 0), i, a, BYTES_OF_A_ROW // data.x.itemsize)
    for j in range(len(batches.sizes)):
        m, factor = batches.sizes[j], batches.factors[j]
        begin(moves, batches.decays[j])
        at_once = moves.bare and m <= net.block  # theta -= rate * gradient: the gradient is never written
        rate = number(-moves.settings[0] * factor) if at_once else number(1)
        for place in range(0, m, net.block):
            rows, start = min(net.block, m - place), batches.starts[j] + place
            total = _pull(net, memory, data, batches, start, rows, done + place, batches.scales[j], rate, ahead)
            picked = at(data.picked, start)
            if at_once:
                combine_picked(x, picked, delta, at(memory.theta, w), rows, a, 0)
                if bias >= 0:
                    memory.theta[bias] = plus_times(
                        memory.theta[bias], number(-moves.settings[SETTINGS] * factor), total
                    )
                continue
            combine_picked(x, picked, delta, at(memory.grad, w), rows, a, int(place == 0))
            if bias >= 0:
                memory.grad[bias] = total if place == 0 else memory.grad[bias] + total
        if not at_once:
            finish(calls, net, memory, data, batches, j, moves, factor, False)
        done += m
    restore_subnormals(mode)


@part
def _pull(
    net: Net,
    memory: Memory,
    data: Data,
    batches: Batches,
    start: int,
    rows: int,
    done: int,
    scale: float,
    rate: Any,
    ahead: int,
) -> Any:
    """The sum over some rows of weight / divisor * d loss / d output; deltas are that times `rate`. Losses are written."""
    a, bias = net.layers[0, INPUTS], net.layers[0, BIAS]
    number, weighted = memory.theta.dtype.type, len(data.w) > 0
    x, w, shift = at(data.x, 0), at(memory.theta, net.layers[0, W]), memory.theta[bias] if bias >= 0 else number(0)
    for p in range(0, rows, PIECE):
        some = min(PIECE, rows - p)
        for i in range(start + p + ahead, min(start + p + ahead + some, len(data.picked))):
            ask_for_picked(x, at(data.picked, 0), i, a, BYTES_OF_A_ROW // data.x.itemsize)
            ask_for_picked(at(data.y, 0), at(data.picked, 0), i, 1, 1)
            if weighted:
                ask_for_picked(at(data.w, 0), at(data.picked, 0), i, 1, 1)
        dots_picked(x, at(data.picked, start + p), w, at(memory.outputs, p), some, a)
    for r in range(rows):
        memory.outputs[r] = plus(memory.outputs[r], shift)
        memory.pull[r] = data.y[data.picked[start + r]]
    out, y, delta, losses = at(memory.outputs, 0), at(memory.pull, 0), at(memory.deltas, 0), at(batches.losses, done)
    call(net.loss, (net.loss_setting, out, y, delta, losses, rows))
    total, pull = number(0), number(scale)
    for r in range(rows):
        each = times(memory.deltas[r], times(pull, data.w[data.picked[start + r]]) if weighted else pull)
        memory.deltas[r] = times(each, rate)
        total += each
    return total
