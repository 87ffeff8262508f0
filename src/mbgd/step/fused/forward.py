"""A block of rows in, outputs, losses and the gradient at the outputs left in the arena: the way up through a program."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbgd.compiled.kernel import at, call, part
from mbgd.step.fused.chance import mask_key
from mbgd.step.fused.layout import (
    BIAS,
    COLUMNS,
    COPIES,
    CURVE,
    DENSE,
    FRONT,
    HEADS,
    INPUTS,
    KIND,
    OUTPUT,
    OUTPUTS,
    RECTIFIED,
    SCALE,
    SLOPE,
    SPARSE,
    TURNED,
    WIDE,
    Batches,
    Calls,
    Data,
    Memory,
    Net,
    W,
)
from mbgd.step.fused.products import is_by_blas, is_turned

Pointer = Any
ROWS = 24  # of a strip: four tall tiles


@part
def forward(
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
    fade: float,
) -> None:
    h = at(data.x, start * net.n_numbers)
    for i in range(len(net.layers)):
        out, copies = at(memory.outputs, net.layers[i, OUTPUT] * net.block), net.layers[i, COPIES]
        if net.layers[i, KIND] == DENSE:
            _product(calls, net, memory, data, i, start, rows * copies, place * copies, fresh, m * copies, step, fade)
        elif net.layers[i, KIND] == HEADS:
            _heads(calls, net, memory, i, h, out, rows, fresh, m)
        else:
            if net.layers[i, KIND] == COLUMNS:
                _look_up(calls, net, memory, data, h, out, start, rows)
            elif net.layers[i, KIND] == SCALE:
                call(calls.scale, (h, at(memory.theta, net.layers[i, W]), out, rows, net.layers[i, OUTPUTS], copies))
            elif net.layers[i, KIND] != SPARSE:  # whose products are there already
                call(calls.copy, (h, out, rows * copies * net.layers[i, OUTPUTS]))
            _bend(calls, net, memory, i, 0, rows * copies, place * copies, step, fade)
        h = out


@part
def _look_up(
    calls: Calls, net: Net, memory: Memory, data: Data, x: Pointer, out: Pointer, start: int, rows: int
) -> None:
    """Numbers, their embeddings and what stands for the codes, side by side."""
    codes, front, theta = at(data.codes, start * net.n_codes), at(net.front, 0), at(memory.theta, 0)
    n_columns, b = len(net.front) // FRONT, net.layers[0, OUTPUTS]
    call(calls.lay_out, (x, codes, front, theta, out, rows, b, net.n_numbers, net.n_codes, n_columns))
    if net.n_bent:
        edges, sums, bins, shares = at(net.edges, 0), at(memory.sums, 0), at(memory.bins, 0), at(memory.shares, 0)
        call(
            calls.look_up,
            (x, front, edges, sums, out, bins, shares, rows, b, net.n_numbers, n_columns, net.n_bent),
        )


@part
def _heads(
    calls: Calls, net: Net, memory: Memory, i: int, h: Pointer, out: Pointer, rows: int, fresh: bool, m: int
) -> None:
    """The outputs of the last layers of members that share those below."""
    a, b, members = net.layers[i, INPUTS], net.layers[i, OUTPUTS], net.layers[i, COPIES]
    w, bias = at(memory.theta, net.layers[i, W]), at(memory.theta, net.layers[i, BIAS])
    turned, from_turned = at(memory.turned, net.layers[i, TURNED]), int(is_turned(m, a, b, 0))
    each = (calls.multiply, calls.multiply_rows, calls.turn)
    call(calls.forward_heads, (*each, h, w, bias, turned, out, rows, a, b, members, from_turned, int(fresh)))


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
    fade: float,
) -> None:
    """The outputs of a dense layer i, strip by strip."""
    a, b, by_blas = net.layers[i, INPUTS], net.layers[i, OUTPUTS], is_by_blas(m, net.layers[i, WIDE])
    w, turned = at(memory.theta, net.layers[i, W]), at(memory.turned, net.layers[i, TURNED])
    from_turned = int(is_turned(m, a, b, by_blas))
    if from_turned and fresh:
        call(calls.turn, (w, turned, b, a))
    strip, gemm = (rows, calls.gemm) if by_blas else (ROWS, 0)
    for s in range(0, rows, strip):
        some = min(strip, rows - s)
        h = at(data.x, (start + s) * a) if i == 0 else at(memory.outputs, net.layers[i - 1, OUTPUT] * net.block + s * a)
        out = at(memory.outputs, net.layers[i, OUTPUT] * net.block + s * b)
        call(calls.forward, (calls.multiply, calls.multiply_rows, h, w, turned, out, some, a, b, from_turned, gemm))
        _bend(calls, net, memory, i, s, some, place + s, step, fade)


@part
def _bend(
    calls: Calls, net: Net, memory: Memory, i: int, s: int, rows: int, place: int, step: int, fade: float
) -> None:
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
            call(calls.drop, (out, slope, n, net.dropout[i] * fade, key, place * b))


@part
def loss(
    calls: Calls, net: Net, memory: Memory, data: Data, batches: Batches, start: int, rows: int, done: int, scale: float
) -> None:
    """Of several members the mean of theirs; `scale` is that of each."""
    last = len(net.layers) - 1
    width, members = net.layers[last, OUTPUTS], net.layers[last, COPIES]
    for r in range(rows):
        memory.pull[r] = scale * data.w[start + r] if len(data.w) else scale
    pull = at(memory.pull, 0)
    for k in range(members):
        out = at(memory.outputs, net.layers[last, OUTPUT] * net.block + k * rows * width)
        delta = at(memory.deltas, k * rows * width)
        losses = at(batches.losses, done) if members == 1 else at(memory.each, 0)
        if net.by_label:
            labels = at(data.labels, start)
            call(net.loss, (net.loss_setting, out, labels, delta, losses, pull, rows, width))
        elif len(net.levels):
            level, y = at(net.levels, 0), at(data.y, start)
            call(net.loss, (level, out, y, delta, losses, pull, rows, width))
        else:
            each = losses if width == 1 else out
            call(net.loss, (net.loss_setting, out, at(data.y, start * width), delta, each, rows * width))
            call(calls.share, (each, delta, losses, pull, rows, width))
        if members > 1:
            call(calls.add_share, (losses, at(batches.losses, done), rows, members, int(k == 0)))
