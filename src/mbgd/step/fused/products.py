"""The products of a dense layer, each in the orientation that runs fastest; a batch of few rows goes without BLAS.

R rows · a inputs · b outputs. W is (b, a), row by row as torch keeps it; `turned` is its transpose (a, b).
"""

from __future__ import annotations

from typing import Any

from numba import carray

from mbgd.step.fused.blas import PLAIN, TURNED, gemm, turn_tile
from mbgd.step.fused.compiled import kernel, leaf, moved
from mbgd.step.fused.vectors import combine, dot

Pointer = Any
FEW_ROWS = 4  # below, a call of BLAS costs more than it saves
TILE, LINE = 8, 16


@kernel
def is_turned(m: int, a: int, b: int, piece: int) -> bool:
    """Whether a batch of m rows is worth a transposed copy of W: BLAS's small products with one turned operand run at
    half speed or less, except for the smallest."""
    return piece > 0 and b > 1 and m >= FEW_ROWS and (m * b > 1200 or a < 32)


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


@leaf("ippppiiii")
def forward(
    gemm_at: int, h_at: Pointer, w_at: Pointer, turned: Pointer, out_at: Pointer, rows: int, a: int, b: int, piece: int
) -> None:
    """out (R, b) = h W'. With `piece` > 0 from the turned copy, so many rows at once; else from W itself."""
    if b > 1 and rows >= FEW_ROWS:
        out = carray(out_at, 1)
        zero = out.dtype.type(0)
        if piece == 0:
            gemm(gemm_at, TURNED, PLAIN, b, rows, a, w_at, a, h_at, a, zero, out_at, b)
            return
        for r in range(0, rows, piece):
            some = min(piece, rows - r)
            gemm(gemm_at, PLAIN, PLAIN, b, some, a, turned, b, moved(h_at, r * a), a, zero, moved(out_at, r * b), b)
        return
    out = carray(out_at, rows * b)
    for r in range(rows):
        for i in range(b):
            out[r * b + i] = dot(moved(w_at, i * a), moved(h_at, r * a), a)


@leaf("ipppiiiii")
def to_inputs(
    gemm_at: int, delta_at: Pointer, w_at: Pointer, below_at: Pointer, rows: int, a: int, b: int, wide: int, piece: int
) -> None:
    """below (R, wide) = delta W, the gradient at the layer's last `wide` inputs; w begins at the first of these."""
    if b > 1 and rows >= FEW_ROWS:
        zero = carray(below_at, 1).dtype.type(0)
        if piece == 0:
            piece = rows
        for r in range(0, rows, piece):
            some = min(piece, rows - r)
            delta, below = moved(delta_at, r * b), moved(below_at, r * wide)
            gemm(gemm_at, PLAIN, PLAIN, wide, some, b, w_at, a, delta, b, zero, below, wide)
        return
    for r in range(rows):
        combine(w_at, moved(delta_at, r * b), moved(below_at, r * wide), b, wide, a, 1)


@leaf("ipppiiii")
def to_weights(
    gemm_at: int, delta_at: Pointer, h_at: Pointer, grad_at: Pointer, rows: int, a: int, b: int, fresh: int
) -> None:
    """grad (b, a) = delta' h, added to what is there unless `fresh`."""
    grad = carray(grad_at, a * b)
    if b > 1 and rows >= FEW_ROWS:
        beta = grad.dtype.type(0 if fresh else 1)
        gemm(gemm_at, PLAIN, TURNED, a, b, rows, h_at, a, delta_at, b, beta, grad_at, a)
        return
    for i in range(b):
        for r in range(rows):
            one = moved(delta_at, r * b + i)
            combine(moved(h_at, r * a), one, moved(grad_at, i * a), 1, a, a, int(fresh and r == 0))
