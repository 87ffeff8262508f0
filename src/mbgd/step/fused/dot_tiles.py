"""Products with a transposed matrix as it lies, tile by tile: rows of both in, a corner of the product held in registers.

C (m, n) = A B'. A tile is some rows of A and of B, read along the rows a vector at a time; each of its numbers is summed over
k vector by vector, and then by halves over the lanes, whatever tile it falls into: so a row of the product has the same
bits however many rows are taken at once. No copy of B is made, as `multiply` of tiles.py would need; but the last step, over
the lanes, costs more the fewer numbers a row has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from mbgd.compiled.instructions import intrinsic
from mbgd.compiled.kernel import leaf
from mbgd.compiled.vectors import LANES, bytes_of, dot_grid, vector_kind
from mbgd.step.fused.tiles import SHAPE

Pointer = Any
_WHOLE = ir.IntType(64)
_TILES = ((6, 4), (4, 2), (2, 2), (2, 1))  # rows of A and of B
_REGISTERS = 32 if SHAPE.bits == 512 else 16


@leaf("pipipiiii")
def multiply_rows(
    a_at: Pointer, a_row: int, b_at: Pointer, b_row: int, c_at: Pointer, c_row: int, m: int, n: int, k: int
) -> None:
    """C (m, n) = A (m, k) B', B being (n, k). Neighbours along a column are `a_row`, `b_row` and `c_row` apart."""
    products(a_at, a_row, b_at, b_row, c_at, c_row, m, n, k)


@intrinsic
def products(
    typing_context: Any, a: Any, a_row: Any, b: Any, b_row: Any, c: Any, c_row: Any, m: Any, n: Any, k: Any
) -> Any:
    """The largest tiles first; rows and columns left over by smaller ones."""
    whole = types.int64

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, a_row, b, b_row, c, c_row, m, n, k = arguments
        tall, wide = _largest(vector_kind(a))

        def tile(i: Any, height: int, j: Any, width: int) -> None:
            ours, others = _rows(builder, a, a_row, i, height), _rows(builder, b, b_row, j, width)
            outs = [builder.gep(out, [j]) for out in _rows(builder, c, c_row, i, height)]
            dot_grid(builder, others, ours, outs, k)

        _in_pieces(builder, n, wide, lambda j, width: _in_pieces(builder, m, tall, lambda i, h: tile(i, h, j, width)))
        return context.get_dummy_value()

    return types.void(a, whole, b, whole, c, whole, whole, whole, whole), lower


def _largest(kind: Any) -> tuple[int, int]:
    """The first tile whose sums stay in registers, beside as many rows of B as it has and one of A."""
    each = max(1, LANES * 8 * bytes_of(kind) // SHAPE.bits)
    return next(((tall, wide) for tall, wide in _TILES if (tall * wide + wide + 1) * each <= _REGISTERS), (1, 1))


def _rows(builder: Any, matrix: Any, row: Any, first: Any, count: int) -> list[Any]:
    """Where each of `count` rows begins, from the first on."""
    return [builder.gep(matrix, [builder.mul(row, builder.add(first, _WHOLE(i)))]) for i in range(count)]


def _in_pieces(builder: Any, count: Any, most: int, body: Callable[[Any, int], None]) -> None:
    """body(first, some): `most` at a time, then what is left by halves of 8."""
    start: Any = _WHOLE(0)
    for some in (most, *(size for size in (4, 2, 1) if size < most)):
        end = builder.sub(count, builder.urem(builder.sub(count, start), _WHOLE(some)))
        with cgutils.for_range_slice(builder, start, end, _WHOLE(some), intp=_WHOLE) as (index, _):
            body(index, some)
        start = end
