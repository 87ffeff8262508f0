"""A chunk of batches in, its updates of a linear model with one output made in one call.

The general program spends a dozen calls a batch where this has one sum and one update a row: with few rows a batch that is
most of the time.

a columns · m rows of a batch
"""

from __future__ import annotations

from typing import Any

from mbgd.compiled.kernel import at, call, kernel, part
from mbgd.compiled.vectors import combine, combine_padded, dot_padded
from mbgd.step.fused.layout import BIAS, INPUTS, SETTINGS, Batches, Calls, Data, Memory, Moves, Net, W
from mbgd.step.fused.run import finish


@kernel
def run_linear(calls: Calls, net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves) -> None:
    a, w, bias = net.layers[0, INPUTS], net.layers[0, W], net.layers[0, BIAS]
    delta, done = at(memory.deltas, 0), 0
    for j in range(len(batches.sizes)):
        m, factor = batches.sizes[j], batches.factors[j]
        for t in range(len(moves.counts)):
            moves.counts[t] += 1
        for place in range(0, m, net.block):
            rows, start = min(net.block, m - place), batches.starts[j] + place
            total = _pull(net, memory, data, batches, start, rows, done + place, batches.scales[j])
            x = at(data.x, start * a)
            if moves.bare and rows == m:  # theta -= rate * gradient at once: the gradient is never written
                rate = memory.theta.dtype.type(moves.settings[0] * factor)
                for r in range(rows):
                    memory.deltas[r] *= -rate
                combine_padded(x, delta, at(memory.theta, w), rows, a, a, 0)
                if bias >= 0:
                    memory.theta[bias] -= memory.theta.dtype.type(moves.settings[SETTINGS] * factor) * total
                continue
            combine(x, delta, at(memory.grad, w), rows, a, a, int(place == 0))
            if bias >= 0:
                memory.grad[bias] = total if place == 0 else memory.grad[bias] + total
        if not (moves.bare and m <= net.block):
            finish(calls, memory, moves, factor, False)
        done += m


@part
def _pull(
    net: Net, memory: Memory, data: Data, batches: Batches, start: int, rows: int, done: int, scale: float
) -> Any:
    """deltas = weight / divisor * d loss / d output of some rows; their sum. Their losses are written."""
    a, bias = net.layers[0, INPUTS], net.layers[0, BIAS]
    number = memory.theta.dtype.type
    w, shift = at(memory.theta, net.layers[0, W]), memory.theta[bias] if bias >= 0 else number(0)
    for r in range(rows):
        memory.outputs[r] = dot_padded(at(data.x, (start + r) * a), w, a) + shift
    out, delta, losses = at(memory.outputs, 0), at(memory.deltas, 0), at(batches.losses, done)
    call(net.loss, (net.loss_setting, out, at(data.y, start), delta, losses, rows))
    total, pull, weighted = number(0), number(scale), len(data.w) > 0
    for r in range(rows):
        memory.deltas[r] *= pull * data.w[start + r] if weighted else pull
        total += memory.deltas[r]
    return total
