"""A chunk of batches in, its updates made in one call: forward, loss, backward and update, block of rows by block.

A batch is cut into blocks whose activations stay in the cache; their gradients are added in order. Nothing is allocated,
and what a batch does depends on that batch alone: not on the chunk it comes in.
"""

from __future__ import annotations

import math

import numpy as np

from mbgd.step.fused.chance import mask_key
from mbgd.step.fused.compiled import at, call, kernel, part
from mbgd.step.fused.layout import (
    BELOW,
    BIAS,
    BIAS_TENSOR,
    COLUMNS,
    CURVE,
    DENSE,
    FRONT,
    INPUTS,
    KIND,
    LAYER,
    LENGTH,
    OUTPUT,
    OUTPUTS,
    PIECE,
    RECTIFIED,
    RULE,
    SETTINGS,
    SKIP,
    SLOPE,
    START,
    TURNED,
    W_TENSOR,
    Batches,
    Calls,
    Data,
    Memory,
    Moves,
    Net,
    W,
)
from mbgd.step.fused.products import is_turned


@kernel
def run_chunk(calls: Calls, net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves) -> None:
    done = 0
    for j in range(len(batches.sizes)):
        m, factor = batches.sizes[j], batches.factors[j]
        n_blocks = (m + net.block - 1) // net.block
        block = (m + n_blocks - 1) // n_blocks  # even blocks: a last one of a few rows would be slow
        at_once = n_blocks == 1 and moves.clip == 0
        for t in range(len(moves.counts)):
            moves.counts[t] += 1
        for place in range(0, m, block):
            rows, start = min(block, m - place), batches.starts[j] + place
            _forward(calls, net, memory, data, start, rows, place, m, batches.first_step + j)
            _loss(calls, net, memory, data, batches, start, rows, done + place, batches.scales[j])
            _backward(calls, net, memory, data, moves, start, rows, place == 0, at_once, factor)
        finish(calls, memory, moves, factor, at_once)
        done += m


@part
def _forward(
    calls: Calls, net: Net, memory: Memory, data: Data, start: int, rows: int, place: int, m: int, step: int
) -> None:
    h = at(data.x, start * net.n_numbers)
    for i in range(len(net.layers)):
        a, b = net.layers[i, INPUTS], net.layers[i, OUTPUTS]
        out = at(memory.outputs, net.layers[i, OUTPUT] * net.block)
        if net.layers[i, KIND] == DENSE:
            w, turned = at(memory.theta, net.layers[i, W]), at(memory.turned, net.layers[i, TURNED])
            piece = net.layers[i, PIECE]
            if not is_turned(m, a, b, piece):
                piece = 0
            elif place == 0:
                call(calls.turn, (w, turned, b, a))
            call(calls.forward, (calls.gemm, h, w, turned, out, rows, a, b, piece))
        elif net.layers[i, KIND] == COLUMNS:
            codes, front, theta = at(data.codes, start * net.n_codes), at(net.front, 0), at(memory.theta, 0)
            n_columns = len(net.front) // FRONT
            call(calls.lay_out, (h, codes, front, theta, out, rows, b, net.n_numbers, net.n_codes, n_columns))
        else:
            call(calls.copy, (h, out, rows * b))
        _bend(calls, net, memory, i, rows, place, step)
        h = out


@part
def _bend(calls: Calls, net: Net, memory: Memory, i: int, rows: int, place: int, step: int) -> None:
    """Bias, activation and dropout on the outputs of layer i, in place."""
    b, n = net.layers[i, OUTPUTS], rows * net.layers[i, OUTPUTS]
    out, rectified = at(memory.outputs, net.layers[i, OUTPUT] * net.block), net.layers[i, RECTIFIED]
    if net.layers[i, BIAS] >= 0:
        call(calls.add_bias, (out, at(memory.theta, net.layers[i, BIAS]), rows, b, rectified))
    elif rectified:
        call(calls.rectify, (out, n))
    if net.layers[i, CURVE]:
        slope = at(memory.slopes, net.layers[i, SLOPE] * net.block)
        call(net.layers[i, CURVE], (net.settings[i], out, slope, n))
        if net.dropout[i] > 0:
            key = np.int64(mask_key(net.seed, step, i))
            call(calls.drop, (out, slope, n, net.dropout[i], key, place * b))


@part
def _loss(
    calls: Calls, net: Net, memory: Memory, data: Data, batches: Batches, start: int, rows: int, done: int, scale: float
) -> None:
    last = len(net.layers) - 1
    width = net.layers[last, OUTPUTS]
    for r in range(rows):
        memory.pull[r] = scale * data.w[start + r] if len(data.w) else scale
    out, delta, pull = (
        at(memory.outputs, net.layers[last, OUTPUT] * net.block),
        at(memory.deltas, 0),
        at(memory.pull, 0),
    )
    losses = at(batches.losses, done)
    if net.by_label:
        labels = at(data.labels, start)
        call(net.loss, (net.loss_setting, out, labels, delta, losses, pull, rows, width))
    else:
        each = losses if width == 1 else out
        call(net.loss, (net.loss_setting, out, at(data.y, start * width), delta, each, rows * width))
        call(calls.share, (each, delta, losses, pull, rows, width))


@part
def _backward(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    moves: Moves,
    start: int,
    rows: int,
    fresh: bool,
    at_once: bool,
    factor: float,
) -> None:
    """The gradient at the outputs lies in the first half of `deltas`; the halves take turns on the way down."""
    delta, below = at(memory.deltas, 0), at(memory.deltas, len(memory.deltas) // 2)
    for i in range(len(net.layers) - 1, -1, -1):
        a, b = net.layers[i, INPUTS], net.layers[i, OUTPUTS]
        if net.layers[i, KIND] == COLUMNS:
            codes, front, skip = at(data.codes, start * net.n_codes), at(net.front, 0), net.layers[i, SKIP]
            grad = at(memory.grad, 0)
            n_columns = len(net.front) // FRONT
            call(calls.to_tables, (delta, codes, front, grad, rows, b - skip, net.n_codes, n_columns, skip))
            return
        if net.layers[i, CURVE]:
            call(calls.back_through, (delta, at(memory.slopes, net.layers[i, SLOPE] * net.block), rows * b))
        elif net.layers[i, RECTIFIED]:
            call(calls.back_through_relu, (delta, at(memory.outputs, net.layers[i, OUTPUT] * net.block), rows * b))
        if net.layers[i, KIND] == DENSE:
            h = at(data.x, start * a) if i == 0 else at(memory.outputs, net.layers[i - 1, OUTPUT] * net.block)
            if net.layers[i, W_TENSOR] >= 0:
                grad = at(memory.grad, net.layers[i, W])
                call(calls.to_weights, (calls.gemm, delta, h, grad, rows, a, b, int(fresh)))
            if net.layers[i, BIAS_TENSOR] >= 0:
                call(calls.to_bias, (delta, at(memory.grad, net.layers[i, BIAS]), rows, b, int(fresh)))
            if net.layers[i, BELOW]:
                skip = net.layers[i, SKIP]
                w, piece = at(memory.theta, net.layers[i, W] + skip), net.layers[i, PIECE]
                call(calls.to_inputs, (calls.gemm, delta, w, below, rows, a, b, a - skip, piece))
                delta, below = below, delta
            if at_once:
                _move(memory, moves, net.layers[i, W_TENSOR], factor, 1.0)
                _move(memory, moves, net.layers[i, BIAS_TENSOR], factor, 1.0)
        if not net.layers[i, BELOW]:
            return


@part
def _move(memory: Memory, moves: Moves, t: int, factor: float, clip: float) -> None:
    """Update one tensor from its gradient."""
    if t >= 0 and moves.tensors[t, LENGTH]:
        start = moves.tensors[t, START]
        p, g = at(memory.theta, start), at(memory.grad, start)
        first, second = at(memory.first, start), at(memory.second, start)
        settings, count = at(moves.settings, SETTINGS * t), moves.counts[t]
        call(moves.tensors[t, RULE], (p, g, first, second, settings, factor, count, clip, moves.tensors[t, LENGTH]))


@part
def finish(calls: Calls, memory: Memory, moves: Moves, factor: float, at_once: bool) -> None:
    """The updates that had to wait for the whole gradient, and the average."""
    clip = 1.0
    if moves.clip > 0:
        moves.squares[0] = 0
        for t in range(len(moves.tensors)):
            squares = at(moves.squares, 0)
            call(calls.add_squares, (at(memory.grad, moves.tensors[t, START]), squares, moves.tensors[t, LENGTH]))
        clip = moves.clip / (math.sqrt(moves.squares[0]) + 1e-6)
        clip = 1.0 if clip > 1.0 else clip  # NaN stays
    for t in range(len(moves.tensors)):
        if not at_once or moves.tensors[t, LAYER] < 0:
            _move(memory, moves, t, factor, clip)
        if moves.tensors[t, LAYER] < 0:  # an embedding: its gradient is added up, never written over
            start = moves.tensors[t, START]
            for i in range(start, start + moves.tensors[t, LENGTH]):
                memory.grad[i] = 0
    if moves.follow > 0:
        call(calls.follow, (at(memory.average, 0), at(memory.theta, 0), moves.follow, len(memory.theta)))
