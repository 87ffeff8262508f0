"""The last layers of members that share a body: rows of all of them in, each one's product out; gradients back.

R rows · M members · a inputs · b outputs. The rows of the members lie side by side, h (R, M, a), as the layers below have
them; what they make of them lies member by member, out (M, R, b), so that a loss takes those of each at once. W is (M, b, a).
"""

from __future__ import annotations

from typing import Any

from numba import carray

from mbgd.compiled.kernel import call, leaf, moved

Pointer = Any


@leaf("iiipppppiiiiii")
def forward_heads(
    multiply: int,
    multiply_rows: int,
    turn: int,
    h_at: Pointer,
    w_at: Pointer,
    bias_at: Pointer,
    turned_at: Pointer,
    out_at: Pointer,
    rows: int,
    a: int,
    b: int,
    members: int,
    from_turned: int,
    fresh: int,
) -> None:
    """out = h W' + bias, from copies of W that are turned anew where `fresh`, or from W as it lies."""
    for k in range(members):
        h, w, out = moved(h_at, k * a), moved(w_at, k * a * b), moved(out_at, k * rows * b)
        if from_turned:
            turned = moved(turned_at, k * a * b)
            if fresh:
                call(turn, (w, turned, b, a))
            call(multiply, (h, members * a, 1, turned, b, out, b, rows, b, a, 1))
        else:
            call(multiply_rows, (h, members * a, w, a, out, b, rows, b, a))
        bias, numbers = carray(moved(bias_at, k * b), b), carray(out, rows * b)
        for r in range(rows):
            for o in range(b):
                numbers[r * b + o] += bias[o]


@leaf("ipppiiii")
def heads_to_inputs(
    multiply: int, delta_at: Pointer, w_at: Pointer, below_at: Pointer, rows: int, a: int, b: int, members: int
) -> None:
    """below (R, M, a) = delta W."""
    for k in range(members):
        delta, w, below = moved(delta_at, k * rows * b), moved(w_at, k * a * b), moved(below_at, k * a)
        call(multiply, (delta, b, 1, w, a, below, members * a, rows, a, b, 1))


@leaf("ipppiiiii")
def heads_to_weights(
    multiply: int,
    delta_at: Pointer,
    h_at: Pointer,
    grad_at: Pointer,
    rows: int,
    a: int,
    b: int,
    members: int,
    fresh: int,
) -> None:
    """grad (M, b, a) = delta' h, added to what is there unless `fresh`."""
    for k in range(members):
        delta, h, grad = moved(delta_at, k * rows * b), moved(h_at, k * a), moved(grad_at, k * a * b)
        call(multiply, (delta, 1, b, h, members * a, grad, a, b, a, rows, fresh))


@leaf("ppiiii")
def heads_to_bias(delta_at: Pointer, grad_at: Pointer, rows: int, b: int, members: int, fresh: int) -> None:
    """grad (M, b), the sum of delta over the rows, added to what is there unless `fresh`."""
    for k in range(members):
        grad = carray(moved(grad_at, k * b), b)
        for o in range(b if fresh else 0):
            grad[o] = 0
        for r in range(rows):
            delta = carray(moved(delta_at, (k * rows + r) * b), b)
            for o in range(b):
                grad[o] += delta[o]
