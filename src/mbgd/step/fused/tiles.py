"""Products of small matrices, tile by tile: a corner of each matrix in, a few rows of the product held in vector registers.

C (m, n) = A B. A tile is up to 6 rows and some vectors of columns of C; each of its numbers is one sum over k, taken in
order, whatever tile it falls into: so a row of the product has the same bits however many rows are taken at once. A may
stand in any order, by its two strides; B and C row by row.

The shape follows from the processor's registers: 6 rows and 4 vectors fill 24 of 32, beside 4 of B and one of A; with 16,
6 rows and 2 vectors (Goto and van de Geijn 2008, section 4).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from mbgd.compiled.instructions import intrinsic
from mbgd.compiled.kernel import leaf

Pointer = Any
HEIGHTS = (6, 4, 2, 1)  # rows of a tile, the tallest that fits first
TALL = HEIGHTS[0]
_WHOLE, _SHORT, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)


class Shape(NamedTuple):
    """Bits of a vector, and how many side by side make the widest tile."""

    bits: int
    vectors: int


def _shape() -> Shape:
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return Shape(512, 4)
    if features.get("avx"):
        return Shape(256, 2)
    return Shape(128, 4 if llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64")) else 2)


SHAPE = _shape()
WIDTHS = tuple(w for w in (8, 4, 2, 1) if w <= SHAPE.vectors)  # vectors of a tile
ROW = 2 * SHAPE.vectors  # a row by itself takes more, to keep as many sums going


def widest_tile(dtype: np.dtype[Any]) -> int:
    """Columns of the widest tile."""
    return SHAPE.vectors * SHAPE.bits // (8 * dtype.itemsize)


@leaf("piipipiiiii")
def multiply(
    a_at: Pointer,
    a_row: int,
    a_column: int,
    b_at: Pointer,
    b_row: int,
    c_at: Pointer,
    c_row: int,
    m: int,
    n: int,
    k: int,
    fresh: int,
) -> None:
    """C (m, n) = A (m, k) B (k, n), added to what is there unless `fresh`; k is at least 1. Neighbours along a row or
    column of A are `a_column` and `a_row` apart."""
    vector = lanes(a_at)
    wide = vector * (ROW if m == 1 else ROW // 2)
    for j in range(0, n, wide):
        left = min(wide, n - j)
        i = 0
        while i < m:
            rows = m - i
            tile(a_at, i * a_row, a_row, a_column, b_at, b_row, c_at, i * c_row, c_row, j, rows, left, k, fresh)
            i += TALL if rows >= TALL else (4 if rows >= 4 else (2 if rows >= 2 else 1))


@intrinsic
def lanes(typing_context: Any, pointer: Any) -> Any:
    """Numbers of this kind in a vector."""
    count = SHAPE.bits // pointer.dtype.bitwidth
    return types.int64(pointer), lambda context, builder, signature, arguments: ir.Constant(_WHOLE, count)


@intrinsic
def tile(
    typing_context: Any,
    a: Any,
    a_start: Any,
    a_row: Any,
    a_column: Any,
    b: Any,
    b_row: Any,
    c: Any,
    c_start: Any,
    c_row: Any,
    j: Any,
    rows: Any,
    left: Any,
    k: Any,
    fresh: Any,
) -> Any:
    """The tallest tile that `rows` allow, over `left` columns from j on."""
    w = types.int64
    return types.void(a, w, w, w, b, w, c, w, w, w, w, w, w, w), _lower_tile


def _lower_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    a, a_start, a_row, a_column, b, b_row, c, c_start, c_row, j, rows, left, k, fresh = arguments
    emit = _Tile(context, builder, a.type.pointee)
    a, b = builder.gep(a, [a_start]), builder.gep(b, [j])
    c = builder.gep(c, [builder.add(c_start, j)])
    shapes = [(height, width) for height in HEIGHTS for width in WIDTHS] + [(1, ROW)]
    done = builder.append_basic_block("done")
    for height, width in sorted(shapes, reverse=True):
        lowest = 0 if width == 1 else width // 2 * emit.lanes
        fits = builder.and_(
            builder.icmp_signed(">=", rows, _WHOLE(height)), builder.icmp_signed(">", left, _WHOLE(lowest))
        )
        with builder.if_then(fits):
            emit.tile(height, width, (a, a_row, a_column), (b, b_row), (c, c_row), left=left, k=k, fresh=fresh)
            builder.branch(done)
            builder.position_at_end(builder.append_basic_block("unreached"))
    builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


class _Tile:
    """Instructions of one tile for one kind of number."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        size = 4 if isinstance(number, ir.FloatType) else 8
        self.builder, self.size, self.lanes = builder, size, SHAPE.bits // (8 * size)
        self.kind = ir.VectorType(number, self.lanes)
        self.zeros = ir.Constant(self.kind, [0.0] * self.lanes)
        name = f"v{self.lanes}f{8 * size}"
        mask, pointer = ir.VectorType(_BIT, self.lanes), self.kind.as_pointer()
        self._load = self._declared(f"llvm.masked.load.{name}.p0", self.kind, [pointer, _SHORT, mask, self.kind])
        self._store = self._declared(f"llvm.masked.store.{name}.p0", ir.VoidType(), [self.kind, pointer, _SHORT, mask])
        triple, _, features = context.codegen().magic_tuple()
        has_fma = "+fma" in features.split(",") or triple.startswith(("aarch64", "arm64"))
        self._fma = self._declared(f"llvm.fma.{name}", self.kind, [self.kind] * 3) if has_fma else None

    def _declared(self, name: str, result: Any, arguments: list[Any]) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def tile(self, height: int, width: int, a: Any, b: Any, c: Any, *, left: Any, k: Any, fresh: Any) -> None:
        """C = A B over `height` rows and `width` vectors; those past the half of `width` are masked past `left` columns."""
        builder = self.builder
        places = [(r, v) for r in range(height) for v in range(width)]
        masks = [self._mask(left, v) if v >= width // 2 else None for v in range(width)]
        totals = self._sums(places, height, a, b, k=k, masks=masks)
        is_fresh = builder.icmp_signed("!=", fresh, _WHOLE(0))
        with builder.if_else(is_fresh) as (then, otherwise):
            for adds, branch in ((False, then), (True, otherwise)):
                with branch:
                    for (r, v), total in zip(places, totals, strict=True):
                        address = self._address(builder.gep(c[0], [builder.mul(c[1], _WHOLE(r))]), v)
                        value = builder.fadd(total, self._read(address, masks[v])) if adds else total
                        self._write(value, address, masks[v])

    def _sums(self, places: Any, height: int, a: Any, b: Any, *, k: Any, masks: list[Any]) -> list[Any]:
        """The loop over k: a row of B times a number of each row of A, added to the sums in registers."""
        builder, start = self.builder, self.builder.basic_block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        count, a_here, b_here = builder.phi(_WHOLE), builder.phi(a[0].type), builder.phi(b[0].type)
        sums = {place: builder.phi(self.kind) for place in places}
        row = [self._read(self._address(b_here, v), mask) for v, mask in enumerate(masks)]
        new = {}
        for r in range(height):
            each = self._spread(builder.load(builder.gep(a_here, [builder.mul(a[1], _WHOLE(r))])))
            for v in range(len(masks)):
                new[r, v] = self._multiply_add(each, row[v], sums[r, v])
        following = builder.add(count, _WHOLE(1))
        moves = [(count, _WHOLE(0), following)]
        moves += [(a_here, a[0], builder.gep(a_here, [a[2]])), (b_here, b[0], builder.gep(b_here, [b[1]]))]
        moves += [(sums[place], self.zeros, new[place]) for place in places]
        for phi, first, then in moves:
            phi.add_incoming(first, start)
            phi.add_incoming(then, loop)
        builder.cbranch(builder.icmp_signed("<", following, k), loop, after)
        builder.position_at_end(after)
        return [new[place] for place in places]

    def _multiply_add(self, x: Any, y: Any, total: Any) -> Any:
        if self._fma is None:
            return self.builder.fadd(self.builder.fmul(x, y), total)
        return self.builder.call(self._fma, [x, y, total])

    def _address(self, base: Any, vector: int) -> Any:
        return self.builder.bitcast(self.builder.gep(base, [_WHOLE(vector * self.lanes)]), self.kind.as_pointer())

    def _read(self, address: Any, mask: Any) -> Any:
        if mask is None:
            return self.builder.load(address, align=self.size)
        return self.builder.call(self._load, [address, _SHORT(self.size), mask, self.zeros])

    def _write(self, value: Any, address: Any, mask: Any) -> None:
        if mask is None:
            self.builder.store(value, address, align=self.size)
        else:
            self.builder.call(self._store, [value, address, _SHORT(self.size), mask])

    def _spread(self, value: Any) -> Any:
        kind = ir.VectorType(value.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, _SHORT(0))
        everywhere = ir.Constant(ir.VectorType(_SHORT, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), everywhere)

    def _mask(self, left: Any, vector: int) -> Any:
        """Lane i of a vector is on where its column comes before `left`."""
        first = vector * self.lanes
        columns = ir.Constant(ir.VectorType(_SHORT, self.lanes), list(range(first, first + self.lanes)))
        return self.builder.icmp_signed("<", columns, self._spread(self.builder.trunc(left, _SHORT)))
