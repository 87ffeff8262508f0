"""A chunk of batches in, its updates made in one call: forward, loss, backward and update, block of rows by block.

A batch is cut into blocks whose activations stay in the second-level cache; their gradients are added in order. Within a
block a product is made strip by strip, and what follows it is done while the strip is in the first: bias, activation and
dropout of some rows; the way back through them; the update of some weights, whose gradient is then never kept. Nothing is
allocated, and what a batch does depends on that batch alone: not on the chunk it comes in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mbgd.compiled.instructions import flush_subnormals, restore_subnormals
from mbgd.compiled.kernel import at, call, kernel, part
from mbgd.step.fused.chance import mask_key
from mbgd.step.fused.gate import GIVE_UP
from mbgd.step.fused.layout import (
    BELOW,
    BIAS,
    BIAS_TENSOR,
    BLAS,
    COLUMNS,
    CURVE,
    DENSE,
    FRONT,
    INPUTS,
    KIND,
    LENGTH,
    OUTPUT,
    OUTPUTS,
    RECTIFIED,
    SKIP,
    SLOPE,
    STRIP,
    TURNED,
    W_TENSOR,
    Batches,
    Calls,
    Data,
    Memory,
    Moves,
    Net,
    Team,
    W,
)
from mbgd.step.fused.moves import finish, finish_together, move, move_rows, move_tensor
from mbgd.step.fused.products import is_turned

Pointer = Any
ROWS = 24  # of a strip: four tall tiles
WIDE = 64  # inputs that are worth a loop of their own for each output


@kernel
def run_chunk(calls: Calls, net: Net, memory: Memory, data: Data, batches: Batches, moves: Moves, team: Team) -> None:
    """Several threads run it side by side, each on its rows of every batch: they meet where all gradients are there, and
    where all parameters have been moved."""
    done, mode = 0, flush_subnormals()
    for j in range(len(batches.sizes)):
        m, factor = batches.sizes[j], batches.factors[j]
        first, end = m * team.rank // team.size, m * (team.rank + 1) // team.size
        n_blocks = max(1, (end - first + net.block - 1) // net.block)
        block = max(1, (end - first + n_blocks - 1) // n_blocks)  # even: a last one of a few rows would be slow
        at_once = n_blocks == 1 and moves.clip == 0 and team.size == 1
        for t in range(len(moves.counts) if team.rank == 0 else 0):
            moves.counts[t] += 1
        for place in range(first, end, block):
            rows, start, fresh = min(block, end - place), batches.starts[j] + place, place == first
            _forward(calls, net, memory, data, start, rows, place, fresh, m, batches.first_step + j)
            _loss(calls, net, memory, data, batches, start, rows, done + place, batches.scales[j])
            _backward(calls, net, memory, data, moves, start, rows, fresh, at_once, factor)
        if team.size == 1:
            finish(calls, memory, moves, factor, at_once)
        else:
            for i in range(len(memory.grad) if first == end else 0):
                memory.grad[i] = 0
            finish_together(calls, memory, moves, factor, team)
            if team.gate[GIVE_UP]:
                break
        done += m
    restore_subnormals(mode)


@part
def _forward(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    start: int,
    rows: int,
    place: int,
    fresh: bool,
    m: int,
    step: int,
) -> None:
    h = at(data.x, start * net.n_numbers)
    for i in range(len(net.layers)):
        out = at(memory.outputs, net.layers[i, OUTPUT] * net.block)
        if net.layers[i, KIND] == DENSE:
            _product(calls, net, memory, data, i, start, rows, place, fresh, m, step)
        else:
            if net.layers[i, KIND] == COLUMNS:
                codes, front, theta = at(data.codes, start * net.n_codes), at(net.front, 0), at(memory.theta, 0)
                n_columns, b = len(net.front) // FRONT, net.layers[i, OUTPUTS]
                call(calls.lay_out, (h, codes, front, theta, out, rows, b, net.n_numbers, net.n_codes, n_columns))
            else:
                call(calls.copy, (h, out, rows * net.layers[i, OUTPUTS]))
            _bend(calls, net, memory, i, 0, rows, place, step)
        h = out


@part
def _product(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    i: int,
    start: int,
    rows: int,
    place: int,
    fresh: bool,
    m: int,
    step: int,
) -> None:
    """The outputs of a dense layer i, strip by strip."""
    a, b, by_blas = net.layers[i, INPUTS], net.layers[i, OUTPUTS], net.layers[i, BLAS]
    w, turned = at(memory.theta, net.layers[i, W]), at(memory.turned, net.layers[i, TURNED])
    from_turned = int(is_turned(m, b, by_blas))
    if from_turned and fresh:
        call(calls.turn, (w, turned, b, a))
    strip, gemm = (rows, calls.gemm) if by_blas else (ROWS, 0)
    for s in range(0, rows, strip):
        some = min(strip, rows - s)
        h = at(data.x, (start + s) * a) if i == 0 else at(memory.outputs, net.layers[i - 1, OUTPUT] * net.block + s * a)
        out = at(memory.outputs, net.layers[i, OUTPUT] * net.block + s * b)
        call(calls.forward, (calls.multiply, h, w, turned, out, some, a, b, from_turned, gemm))
        _bend(calls, net, memory, i, s, some, place + s, step)


@part
def _bend(calls: Calls, net: Net, memory: Memory, i: int, s: int, rows: int, place: int, step: int) -> None:
    """Bias, activation and dropout on some rows of the outputs of layer i, from row s of the block on, in place; `place`
    is that row's in the batch."""
    b = net.layers[i, OUTPUTS]
    n = rows * b
    out, rectified = at(memory.outputs, net.layers[i, OUTPUT] * net.block + s * b), net.layers[i, RECTIFIED]
    if net.layers[i, BIAS] >= 0:
        call(calls.add_bias, (out, at(memory.theta, net.layers[i, BIAS]), rows, b, rectified))
    elif rectified:
        call(calls.rectify, (out, n))
    if net.layers[i, CURVE]:
        slope = at(memory.slopes, net.layers[i, SLOPE] * net.block + s * b)
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
    half, upper = len(memory.deltas) // 2, True
    last = len(net.layers) - 1
    for s in range(0, rows, ROWS):
        _unbend(calls, net, memory, last, 0, s, min(ROWS, rows - s), fresh)
    for i in range(last, -1, -1):
        here, below = (0, half) if upper else (half, 0)
        if net.layers[i, KIND] == COLUMNS:
            codes, front, skip = at(data.codes, start * net.n_codes), at(net.front, 0), net.layers[i, SKIP]
            delta, grad, b = at(memory.deltas, here), at(memory.grad, 0), net.layers[i, OUTPUTS]
            n_columns = len(net.front) // FRONT
            call(calls.to_tables, (delta, codes, front, grad, rows, b - skip, net.n_codes, n_columns, skip))
            return
        if net.layers[i, BELOW]:
            _to_inputs(calls, net, memory, i, here, below, rows, fresh)
        if net.layers[i, KIND] == DENSE:
            _learn(calls, net, memory, data, moves, i, here, start, rows, fresh, at_once, factor)
            upper = not upper
        if not net.layers[i, BELOW]:
            return


@part
def _to_inputs(calls: Calls, net: Net, memory: Memory, i: int, here: int, below: int, rows: int, fresh: bool) -> None:
    """The gradient at the inputs of layer i from that at its products, on through what bent them, strip by strip."""
    a, b, skip, by_blas = net.layers[i, INPUTS], net.layers[i, OUTPUTS], net.layers[i, SKIP], net.layers[i, BLAS]
    strip, gemm = (rows, calls.gemm) if by_blas else (ROWS, 0)
    for s in range(0, rows, strip):
        some, target = min(strip, rows - s), here
        if net.layers[i, KIND] == DENSE:
            target, w = below, at(memory.theta, net.layers[i, W] + skip)
            delta, under = at(memory.deltas, here + s * b), at(memory.deltas, below + s * (a - skip))
            call(calls.to_inputs, (calls.multiply, delta, w, under, some, a, b, a - skip, gemm))
        if i > 0:
            _unbend(calls, net, memory, i - 1, target, s, some, fresh)


@part
def _unbend(calls: Calls, net: Net, memory: Memory, i: int, here: int, s: int, rows: int, fresh: bool) -> None:
    """The gradient at the products of layer i from that at its outputs, some rows from row s of the block on, in place;
    and its sum over the rows, the bias's own."""
    b = net.layers[i, OUTPUTS]
    if net.layers[i, KIND] == COLUMNS:
        return
    delta = at(memory.deltas, here + s * b)
    if net.layers[i, CURVE]:
        call(calls.back_through, (delta, at(memory.slopes, net.layers[i, SLOPE] * net.block + s * b), rows * b))
    elif net.layers[i, RECTIFIED]:
        out = at(memory.outputs, net.layers[i, OUTPUT] * net.block + s * b)
        call(calls.back_through_relu, (delta, out, rows * b))
    if net.layers[i, BIAS_TENSOR] >= 0:
        unit, grad, is_first = at(memory.unit, 0), at(memory.grad, net.layers[i, BIAS]), int(fresh and s == 0)
        call(calls.multiply, (unit, 0, 0, delta, b, grad, b, 1, b, rows, is_first))  # a row of ones times delta


@part
def _learn(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    moves: Moves,
    i: int,
    here: int,
    start: int,
    rows: int,
    fresh: bool,
    at_once: bool,
    factor: float,
) -> None:
    """The gradient of the weights of a dense layer i; where nothing else has to be known before, their update as well."""
    a, b, t, by_blas = net.layers[i, INPUTS], net.layers[i, OUTPUTS], net.layers[i, W_TENSOR], net.layers[i, BLAS]
    h = at(data.x, start * a) if i == 0 else at(memory.outputs, net.layers[i - 1, OUTPUT] * net.block)
    learns = t >= 0 and at_once and not by_blas and moves.tensors[t, LENGTH] > 0
    if learns and rows == 1 and a >= WIDE:
        move_rows(memory, moves, t, factor, 1.0, h, at(memory.deltas, here), net.layers[i, W], b, a)
    elif learns and rows > 1 and net.layers[i, STRIP] == 0:
        delta, turned, grad = at(memory.deltas, here), at(memory.strip, 0), at(memory.grad, net.layers[i, W])
        call(calls.to_weights, (calls.multiply, h, delta, turned, rows, b, a, a, 1, 0))
        call(calls.turn, (turned, grad, a, b))
        move_tensor(memory, moves, t, factor, 1.0)
    elif learns:
        place, grad = net.layers[i, W], at(memory.strip, 0)
        strip = b if net.layers[i, STRIP] == 0 else net.layers[i, STRIP]
        for s in range(0, b, strip):
            some, delta = min(strip, b - s), at(memory.deltas, here + s)
            call(calls.to_weights, (calls.multiply, delta, h, grad, rows, a, b, some, 1, 0))
            move(memory, moves, t, factor, 1.0, grad, place + s * a, some * a)
    elif t >= 0:
        delta, grad, gemm = at(memory.deltas, here), at(memory.grad, net.layers[i, W]), calls.gemm if by_blas else 0
        call(calls.to_weights, (calls.multiply, delta, h, grad, rows, a, b, b, int(fresh), gemm))
        if at_once:
            move_tensor(memory, moves, t, factor, 1.0)
    if at_once:
        move_tensor(memory, moves, net.layers[i, BIAS_TENSOR], factor, 1.0)
