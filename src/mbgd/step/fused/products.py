"""The products of a dense layer: by tiles, from a transposed copy of W or from W as it lies; by BLAS where the weights are too
many for the caches and the rows are many.

R rows · a inputs · b outputs. W is (b, a), row by row as torch keeps it; `turned` is its transpose (a, b).
"""

from __future__ import annotations

from typing import Any

from numba import carray

from mbgd.compiled.kernel import call, leaf, moved, part
from mbgd.compiled.vectors import dots
from mbgd.step.fused.blas import PLAIN, TURNED, gemm, turn_tile

Pointer = Any
FEW_ROWS, SOME_ROWS, MANY_ROWS = 8, 32, 128  # below the first, to turn W costs more than it saves
SHORT, CACHED = 64, 1 << 15  # inputs that are too few for dots; weights that are turned within the first caches
TILE, LINE = 8, 16
DEEP = 64  # rows of a product with a transposed matrix at a time, so that they stay in the first-level cache


@part
def is_by_blas(m: int, wide: int) -> bool:
    """Whether the products of a batch of m rows are BLAS's, which copies the weights of a wide layer into order first."""
    return wide != 0 and m >= MANY_ROWS


@part
def is_turned(m: int, a: int, b: int, by_blas: int) -> bool:
    """Whether a batch of m rows is worth a transposed copy of W: the more it has to be, the more weights there are."""
    if m < FEW_ROWS or b == 1 or by_blas:
        return False
    return a < SHORT or m >= MANY_ROWS or (m >= SOME_ROWS and a * b <= CACHED)


@leaf("ppii")
def turn(w_at: Pointer, turned_at: Pointer, b: int, a: int) -> None:
    """turned (a, b) = W', in squares of whole cache lines on both sides; the last ones overlap those before them."""
    if a < LINE or b < LINE:
        w, turned = carray(w_at, a * b), carray(turned_at, a * b)
        for i in range(b):
            for j in range(a):
                turned[j * b + i] = w[i * a + j]
        return
    for row in range(0, b, LINE):
        i = min(row, b - LINE)
        for column in range(0, a, LINE):
            j = min(column, a - LINE)
            for s in range(0, LINE, TILE):
                for t in range(0, LINE, TILE):
                    turn_tile(moved(w_at, (i + s) * a + j + t), a, moved(turned_at, (j + t) * b + i + s), b)


@leaf("iippppiiiii")
def forward(
    multiply: int,
    multiply_rows: int,
    h_at: Pointer,
    w_at: Pointer,
    turned: Pointer,
    out_at: Pointer,
    rows: int,
    a: int,
    b: int,
    from_turned: int,
    gemm_at: int,
) -> None:
    """out (R, b) = h W', from the turned copy, by BLAS if `gemm_at` is given, or from W as it lies."""
    if from_turned:
        call(multiply, (h_at, a, 1, turned, b, out_at, b, rows, b, a, 1))
        return
    if b == 1:
        dots(h_at, w_at, out_at, rows, a)
        return
    if gemm_at:
        zero = carray(out_at, 1).dtype.type(0)
        gemm(gemm_at, TURNED, PLAIN, b, rows, a, w_at, a, h_at, a, zero, out_at, b)
        return
    if rows == 1:  # no tile to choose
        dots(w_at, h_at, out_at, b, a)
        return
    call(multiply_rows, (h_at, a, w_at, a, out_at, b, rows, b, a))


@leaf("ipppiiiii")
def to_inputs(
    multiply: int,
    delta_at: Pointer,
    w_at: Pointer,
    below_at: Pointer,
    rows: int,
    a: int,
    b: int,
    wide: int,
    gemm_at: int,
) -> None:
    """below (R, wide) = delta W, the gradient at the layer's last `wide` inputs; w begins at the first of these."""
    if gemm_at:
        zero = carray(below_at, 1).dtype.type(0)
        gemm(gemm_at, PLAIN, PLAIN, wide, rows, b, w_at, a, delta_at, b, zero, below_at, wide)
        return
    call(multiply, (delta_at, b, 1, w_at, a, below_at, wide, rows, wide, b, 1))


@leaf("ipppiiiiii")
def to_weights(
    multiply: int,
    delta_at: Pointer,
    h_at: Pointer,
    grad_at: Pointer,
    rows: int,
    a: int,
    b: int,
    some: int,
    fresh: int,
    gemm_at: int,
) -> None:
    """grad (some, a) = delta' h for some of the b outputs, added to what is there unless `fresh`; delta begins at the
    first of these."""
    if gemm_at:
        beta = carray(grad_at, 1).dtype.type(0 if fresh else 1)
        gemm(gemm_at, PLAIN, TURNED, a, some, rows, h_at, a, delta_at, b, beta, grad_at, a)
        return
    for r in range(0, rows, DEEP):
        delta, h, deep = moved(delta_at, r * b), moved(h_at, r * a), min(DEEP, rows - r)
        call(multiply, (delta, 1, b, h, a, grad_at, a, some, a, deep, int(fresh and r == 0)))
