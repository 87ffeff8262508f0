"""The gradient at the outputs in, every tensor's left in the arena, or learnt at once: the way down through a program."""

from __future__ import annotations

from typing import Any

from mbgd.compiled.kernel import at, call, part
from mbgd.step.fused.forward import ROWS
from mbgd.step.fused.layout import (
    BELOW,
    BIAS,
    BIAS_TENSOR,
    COLUMNS,
    COPIES,
    CURVE,
    DENSE,
    FRONT,
    HEADS,
    INPUTS,
    KIND,
    LENGTH,
    OUTPUT,
    OUTPUTS,
    RECTIFIED,
    SCALE,
    SKIP,
    SLOPE,
    SPARSE,
    STRIP,
    W_TENSOR,
    WIDE,
    Calls,
    Data,
    Memory,
    Moves,
    Net,
    W,
)
from mbgd.step.fused.moves import move, move_rows, move_tensor
from mbgd.step.fused.products import is_by_blas

Pointer = Any
LONG = 64  # inputs that are worth a loop of their own for each output


@part
def backward(
    calls: Calls,
    net: Net,
    memory: Memory,
    data: Data,
    moves: Moves,
    start: int,
    rows: int,
    fresh: bool,
    m: int,
    at_once: bool,
    factor: float,
) -> int:
    """The gradient at the outputs lies in the first half of `deltas`; the halves take turns on the way down. Where the lowest
    one has been left."""
    half, upper = len(memory.deltas) // 2, True
    last = len(net.layers) - 1
    for s in range(0, rows if net.layers[last, KIND] != HEADS else 0, ROWS):
        _unbend(calls, net, memory, last, 0, s, min(ROWS, rows - s), fresh)
    for i in range(last, -1, -1):
        here, below = (0, half) if upper else (half, 0)
        if net.layers[i, KIND] == COLUMNS:
            codes, front, skip = at(data.codes, start * net.n_codes), at(net.front, 0), net.layers[i, SKIP]
            delta, grad, b = at(memory.deltas, here), at(memory.grad, 0), net.layers[i, OUTPUTS]
            n_columns = len(net.front) // FRONT
            call(calls.to_tables, (delta, codes, front, grad, rows, b - skip, net.n_codes, n_columns, skip))
            if net.n_bent:
                bins, shares, steps = at(memory.bins, 0), at(memory.shares, 0), at(memory.steps, 0)
                call(
                    calls.to_bins,
                    (delta, front, bins, shares, grad, steps, rows, b - skip, n_columns, net.n_bent, skip),
                )
            return here
        if net.layers[i, KIND] == SCALE:
            _unscale(calls, net, memory, data, moves, i, here, start, rows, fresh, at_once, factor)
        copies = net.layers[i, COPIES]
        n = rows * copies
        if net.layers[i, BELOW]:
            _to_inputs(calls, net, memory, i, here, below, n, fresh, copies * m)
        if net.layers[i, KIND] == DENSE or net.layers[i, KIND] == HEADS:
            _learn(calls, net, memory, data, moves, i, here, start, n, fresh, copies * m, at_once, factor)
            upper = not upper
        if net.layers[i, KIND] == SPARSE and at_once:
            move_tensor(memory, moves, net.layers[i, BIAS_TENSOR], factor, 1.0)
        if not net.layers[i, BELOW]:
            return here
    return 0


@part
def _unscale(
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
    """The gradient of the scales, and at what they multiply, in place; where nothing else is waited for, their update."""
    b, w, t = net.layers[i, OUTPUTS], net.layers[i, W], net.layers[i, W_TENSOR]
    u = at(data.x, start * b) if i == 0 else at(memory.outputs, net.layers[i - 1, OUTPUT] * net.block)
    delta, members = at(memory.deltas, here), net.layers[i, COPIES]
    if t >= 0:
        call(calls.to_scale, (delta, u, at(memory.grad, w), rows, b, members, int(fresh)))
    if net.layers[i, BELOW]:
        call(calls.unscale, (delta, at(memory.theta, w), rows, b, members))
    if at_once:
        move_tensor(memory, moves, t, factor, 1.0)


@part
def _to_inputs(
    calls: Calls, net: Net, memory: Memory, i: int, here: int, below: int, rows: int, fresh: bool, m: int
) -> None:
    """The gradient at the inputs of layer i from that at its products, on through what bent them, strip by strip."""
    a, b, skip = net.layers[i, INPUTS], net.layers[i, OUTPUTS], net.layers[i, SKIP]
    by_blas = is_by_blas(m, net.layers[i, WIDE])
    strip, gemm = (rows, calls.gemm) if by_blas else (ROWS, 0)
    if net.layers[i, KIND] == HEADS:
        members, w = net.layers[i, COPIES], at(memory.theta, net.layers[i, W])
        delta, under = at(memory.deltas, here), at(memory.deltas, below)
        call(calls.heads_to_inputs, (calls.multiply, delta, w, under, rows // members, a, b, members))
    for s in range(0, rows, strip):
        some, target = min(strip, rows - s), below if net.layers[i, KIND] == HEADS else here
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
    m: int,
    at_once: bool,
    factor: float,
) -> None:
    """The gradient of the weights of a layer i, the last one of members or a dense one; where nothing else has to be known
    before, their update as well."""
    a, b, t = net.layers[i, INPUTS], net.layers[i, OUTPUTS], net.layers[i, W_TENSOR]
    by_blas = is_by_blas(m, net.layers[i, WIDE])
    h = at(data.x, start * a) if i == 0 else at(memory.outputs, net.layers[i - 1, OUTPUT] * net.block)
    heads, members = net.layers[i, KIND] == HEADS, net.layers[i, COPIES]
    learns = t >= 0 and at_once and not by_blas and not heads and moves.tensors[t, LENGTH] > 0
    if learns and rows == 1 and a >= LONG:
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
        if heads:
            call(calls.heads_to_weights, (calls.multiply, delta, h, grad, rows // members, a, b, members, int(fresh)))
        else:
            call(calls.to_weights, (calls.multiply, delta, h, grad, rows, a, b, b, int(fresh), gemm))
        if at_once:
            move_tensor(memory, moves, t, factor, 1.0)
    if heads and net.layers[i, BIAS_TENSOR] >= 0:
        delta, grad = at(memory.deltas, here), at(memory.grad, net.layers[i, BIAS])
        call(calls.heads_to_bias, (delta, grad, rows // members, b, members, int(fresh)))
    if at_once:
        move_tensor(memory, moves, net.layers[i, BIAS_TENSOR], factor, 1.0)
