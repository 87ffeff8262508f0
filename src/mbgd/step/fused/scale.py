"""A number for each input, or one for each member and input: rows times it, and the gradients of it.

R rows · M members, whose rows lie side by side
"""

from __future__ import annotations

from typing import Any

from numba import carray

from mbgd.compiled.kernel import leaf, moved

Pointer = Any


@leaf("pppiii")
def scale(from_at: Pointer, scale_at: Pointer, to_at: Pointer, rows: int, width: int, members: int) -> None:
    """to (R, M, width) = from (R, 1, width) * scale (M, width)."""
    for r in range(rows):
        source = carray(moved(from_at, r * width), width)
        for k in range(members):
            each, target = (
                carray(moved(scale_at, k * width), width),
                carray(moved(to_at, (r * members + k) * width), width),
            )
            for i in range(width):
                target[i] = source[i] * each[i]


@leaf("ppiii")
def unscale(delta_at: Pointer, scale_at: Pointer, rows: int, width: int, members: int) -> None:
    """delta (R, M, width) becomes its sum over members, each times its scale, (R, width) in the same place: that of a row is
    never behind the row's own."""
    for r in range(rows):
        target = carray(moved(delta_at, r * width), width)
        for k in range(members):
            each, source = (
                carray(moved(scale_at, k * width), width),
                carray(moved(delta_at, (r * members + k) * width), width),
            )
            if k == 0:
                for i in range(width):
                    target[i] = source[i] * each[i]
            else:
                for i in range(width):
                    target[i] += source[i] * each[i]


@leaf("pppiiii")
def to_scale(
    delta_at: Pointer, u_at: Pointer, grad_at: Pointer, rows: int, width: int, members: int, fresh: int
) -> None:
    """grad (M, width) = sum over the rows of delta (R, M, width) * u (R, 1, width), added to what is there unless `fresh`."""
    of_all = carray(grad_at, members * width)
    for i in range(members * width if fresh else 0):
        of_all[i] = 0
    for r in range(rows):
        u = carray(moved(u_at, r * width), width)
        for k in range(members):
            grad, delta = (
                carray(moved(grad_at, k * width), width),
                carray(moved(delta_at, (r * members + k) * width), width),
            )
            for i in range(width):
                grad[i] += delta[i] * u[i]
