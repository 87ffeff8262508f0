"""A number for each input: rows times it, and the gradient of it."""

from __future__ import annotations

from typing import Any

from numba import carray

from mbgd.compiled.kernel import leaf, moved

Pointer = Any


@leaf("pppii")
def scale(from_at: Pointer, scale_at: Pointer, to_at: Pointer, rows: int, width: int) -> None:
    """to (R, width) = from * scale; both may be the same place."""
    each = carray(scale_at, width)
    for r in range(rows):
        source, target = carray(moved(from_at, r * width), width), carray(moved(to_at, r * width), width)
        for i in range(width):
            target[i] = source[i] * each[i]


@leaf("pppiii")
def to_scale(delta_at: Pointer, u_at: Pointer, grad_at: Pointer, rows: int, width: int, fresh: int) -> None:
    """grad = sum over the rows of delta * u, added to what is there unless `fresh`."""
    grad = carray(grad_at, width)
    for i in range(width if fresh else 0):
        grad[i] = 0
    for r in range(rows):
        delta, u = carray(moved(delta_at, r * width), width), carray(moved(u_at, r * width), width)
        for i in range(width):
            grad[i] += delta[i] * u[i]
