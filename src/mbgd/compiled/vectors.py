"""Sums over a row of any length in whole vectors: what is left over at its end is loaded under a mask, not one by one.

A row of 28 numbers is too short for the vector loops that LLVM makes of a plain loop: it would take 28 single steps.
n numbers of a row · R rows
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANE_BITS = 4
LANES = 1 << LANE_BITS
ROWS_AT_ONCE = 4  # a power of two
_INT, _SHORT, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
_LANES = ir.VectorType(_SHORT, LANES)
_FAST = ("nsz", "contract", "reassoc")


def vector_kind(pointer: Any) -> Any:
    """A vector of what lies there."""
    return ir.VectorType(pointer.type.pointee, LANES)


def _zeros(kind: Any) -> Any:
    return ir.Constant(kind, [0.0] * LANES)


def _address(builder: Any, base: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(base, [place]), vector_kind(base).as_pointer())


def _masked(builder: Any, name: str, kind: Any, result: Any) -> Any:
    """LLVM's masked load or store of this kind of vector; both end with (address, alignment, mask, ...)."""
    number = "f32" if isinstance(kind.element, ir.FloatType) else "f64"
    mask = ir.VectorType(_BIT, LANES)
    arguments = {
        "load": [kind.as_pointer(), _SHORT, mask, kind],
        "store": [kind, kind.as_pointer(), _SHORT, mask],
    }
    function = ir.FunctionType(result, arguments[name])
    return cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.{name}.v{LANES}{number}.p0")


def _load(builder: Any, base: Any, place: Any, mask: Any) -> Any:
    """LANES numbers from base[place] on; 0 where the mask is off."""
    kind = vector_kind(base)
    address = _address(builder, base, place)
    if mask is None:
        return builder.load(address, align=bytes_of(kind))
    align = ir.Constant(_SHORT, bytes_of(kind))
    return builder.call(_masked(builder, "load", kind, kind), [address, align, mask, _zeros(kind)])


def _store(builder: Any, vector: Any, base: Any, place: Any, mask: Any) -> None:
    """base[place + i] = vector[i] where the mask is on."""
    kind = vector.type
    address = _address(builder, base, place)
    if mask is None:
        builder.store(vector, address, align=bytes_of(kind))
        return
    align = ir.Constant(_SHORT, bytes_of(kind))
    builder.call(_masked(builder, "store", kind, ir.VoidType()), [vector, address, align, mask])


def bytes_of(kind: Any) -> int:
    """Of a number in a vector of this kind."""
    return 4 if isinstance(kind.element, ir.FloatType) else 8


def _spread(builder: Any, value: Any) -> Any:
    kind = ir.VectorType(value.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_SHORT, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(_LANES, [0] * LANES))


def _mask(builder: Any, left: Any) -> Any:
    """Lane i is on where i < left."""
    lanes = ir.Constant(_LANES, list(range(LANES)))
    return builder.icmp_signed("<", lanes, _spread(builder, builder.trunc(left, _SHORT)))


def _by_vectors(builder: Any, n: Any, body: Callable[[Any, Any], None]) -> None:
    """body(place, None) for each whole vector of n, then body(place, mask) for what is left over."""
    whole = builder.and_(n, ir.Constant(_INT, -LANES))
    with cgutils.for_range(builder, builder.lshr(n, ir.Constant(_INT, LANE_BITS)), intp=_INT) as loop:
        body(builder.shl(loop.index, ir.Constant(_INT, LANE_BITS)), None)
    left = builder.sub(n, whole)
    with builder.if_then(builder.icmp_signed(">", left, ir.Constant(_INT, 0))):
        body(whole, _mask(builder, left))


def _sums(builder: Any, vectors: list[Any]) -> Any:
    """The sum over the lanes of each of the vectors, by halves, side by side: two vectors share each step while there are
    two, so that four sums cost little more than one."""
    parts = 1  # of a vector, one for each of those that it came from
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors, parts = [_halved(builder, first, second, parts) for first, second in pairs], 2 * parts
    (vector,) = vectors
    while vector.type.count > parts:
        vector = _halved(builder, vector, None, parts)
    return vector


def _halved(builder: Any, first: Any, second: Any, parts: int) -> Any:
    """Of each part of one or two vectors its lower half plus its upper one."""
    half = first.type.count // parts // 2
    starts = range(0, first.type.count * (1 if second is None else 2), 2 * half)
    other = first if second is None else second
    lower = [start + lane for start in starts for lane in range(half)]
    low, high = (
        builder.shuffle_vector(first, other, ir.Constant(ir.VectorType(_SHORT, len(lower)), [i + up for i in lower]))
        for up in (0, half)
    )
    return builder.fadd(low, high, flags=_FAST)


@intrinsic
def dot(typing_context: Any, x: Any, w: Any, n: Any) -> Any:
    """sum over i < n of x[i] w[i]."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, w, n = arguments
        return builder.extract_element(_dots(builder, [x], [w], n, padded=False)[0], ir.Constant(_SHORT, 0))

    return x.dtype(x, w, types.int64), lower


@intrinsic
def dots(typing_context: Any, x: Any, w: Any, out: Any, rows: Any, n: Any) -> Any:
    """out[r] = sum over i < n of x[r n + i] w[i]. Four rows share what is read of w."""
    whole = types.int64

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, w, out, rows, n = arguments

        def several(first: Any, count: int) -> None:
            each = [builder.add(first, ir.Constant(_INT, k)) for k in range(count)]
            starts = [builder.gep(x, [builder.mul(r, n)]) for r in each]
            dot_grid(builder, starts, [w], [builder.gep(out, [first])], n)

        _by_rows(builder, rows, several)
        return context.get_dummy_value()

    return types.void(x, w, out, whole, whole), lower


@intrinsic
def dots_picked(typing_context: Any, x: Any, picked: Any, w: Any, out: Any, rows: Any, n: Any) -> Any:
    """out[r] = sum over i < n of x[picked[r] n + i] w[i]; w goes on with zeros to the end of its last vector.

    It is read whole, as `combine_picked` wrote it, for a processor hands a number on from a store to a load quickly only if
    both are of one width. Four rows share what is read of it.
    """
    whole = types.int64
    signature = types.void(x, picked, w, out, whole, whole)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, picked, w, out, rows, n = arguments

        def several(first: Any, count: int) -> None:
            each = [builder.add(first, ir.Constant(_INT, k)) for k in range(count)]
            starts = [row_address(builder, x, picked, r, n) for r in each]
            dot_grid(builder, starts, [w], [builder.gep(out, [first])], n, padded=True)

        _by_rows(builder, rows, several)
        return context.get_dummy_value()

    return signature, lower


@intrinsic
def dot_padded(typing_context: Any, x: Any, w: Any, n: Any) -> Any:
    """As `dot`, where w goes on with zeros to the end of its last vector."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, w, n = arguments
        return builder.extract_element(_dots(builder, [x], [w], n, padded=True)[0], ir.Constant(_SHORT, 0))

    return x.dtype(x, w, types.int64), lower


def dot_grid(
    builder: Any, rows: list[Any], others: list[Any], outs: list[Any], n: Any, *, padded: bool = False
) -> None:
    """outs[j][i] = the dot of rows[i] and others[j], n numbers each; there are a power of two of `rows`. Where `padded`, the
    others go on with zeros to the end of their last vector."""
    for sums, out in zip(_dots(builder, rows, others, n, padded=padded), outs, strict=True):
        address = builder.bitcast(out, sums.type.as_pointer())
        builder.store(sums, address, align=bytes_of(sums.type))


def _dots(builder: Any, rows: list[Any], others: list[Any], n: Any, *, padded: bool) -> list[Any]:
    """For each of the others a vector of its sums with all rows; in the same order for any grid."""
    kind = vector_kind(rows[0])
    totals = [[cgutils.alloca_once(builder, kind) for _ in rows] for _ in others]
    for total in (total for each in totals for total in each):
        builder.store(_zeros(kind), total)

    def add(place: Any, mask: Any) -> None:
        shared = [_load(builder, row, place, mask) for row in rows]
        for other, each in zip(others, totals, strict=True):
            weights = _load(builder, other, place, None if padded else mask)
            for numbers, total in zip(shared, each, strict=True):
                product = builder.fmul(numbers, weights, flags=_FAST)
                builder.store(builder.fadd(builder.load(total), product, flags=_FAST), total)

    _by_vectors(builder, n, add)
    return [_sums(builder, [builder.load(total) for total in each]) for each in totals]


@intrinsic
def combine_picked(
    typing_context: Any, x: Any, picked: Any, delta: Any, out: Any, rows: Any, n: Any, fresh: Any
) -> Any:
    """out[i] = sum over r < rows of delta[r] x[picked[r] n + i], i < n, added to what is there unless `fresh`.

    `out` goes on with zeros to the end of its last vector, which stay. Four sums take turns, since each addition waits for
    the one before it in its sum.
    """
    whole = types.int64

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, picked, delta, out, rows, n, fresh = arguments
        begins_at_0 = builder.icmp_signed("!=", fresh, ir.Constant(_INT, 0))
        first, *others = totals = [cgutils.alloca_once(builder, vector_kind(x)) for _ in range(ROWS_AT_ONCE)]

        def add(place: Any, mask: Any) -> None:
            builder.store(builder.select(begins_at_0, _zeros(vector_kind(x)), _load(builder, out, place, None)), first)
            for total in others:
                builder.store(_zeros(vector_kind(x)), total)

            def several(start: Any, count: int) -> None:
                for k, total in enumerate(totals[:count]):
                    r = builder.add(start, ir.Constant(_INT, k))
                    _add_product(
                        builder, total, _load(builder, row_address(builder, x, picked, r, n), place, mask), delta, r
                    )

            _by_rows(builder, rows, several)
            with builder.if_then(builder.icmp_signed(">=", rows, ir.Constant(_INT, ROWS_AT_ONCE))):
                for total in others:
                    builder.store(builder.fadd(builder.load(first), builder.load(total), flags=_FAST), first)
            _store(builder, builder.load(first), out, place, None)

        _by_vectors(builder, n, add)
        return context.get_dummy_value()

    return types.void(x, picked, delta, out, whole, whole, whole), lower


@intrinsic
def add_padded(typing_context: Any, x: Any, pull: Any, out: Any, n: Any) -> Any:
    """out[i] += pull x[i], i < n, where `out` goes on with zeros to the end of its last vector: one row of `combine_picked`."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, pull, out, n = arguments
        each = _spread(builder, pull)

        def add(place: Any, mask: Any) -> None:
            product = builder.fmul(_load(builder, x, place, mask), each, flags=_FAST)
            _store(builder, builder.fadd(_load(builder, out, place, None), product, flags=_FAST), out, place, None)

        _by_vectors(builder, n, add)
        return context.get_dummy_value()

    return types.void(x, x.dtype, out, types.int64), lower


def _add_product(builder: Any, total: Any, numbers: Any, delta: Any, r: Any) -> None:
    """total += delta[r] numbers."""
    pull = _spread(builder, builder.load(builder.gep(delta, [r])))
    product = builder.fmul(numbers, pull, flags=_FAST)
    builder.store(builder.fadd(builder.load(total), product, flags=_FAST), total)


def row_address(builder: Any, x: Any, picked: Any, r: Any, n: Any) -> Any:
    """Where row number picked[r] begins."""
    return builder.gep(x, [builder.mul(builder.load(builder.gep(picked, [r])), n)])


def _by_rows(builder: Any, rows: Any, body: Callable[[Any, int], None]) -> None:
    """body(first row, ROWS_AT_ONCE) for as many as there are, then body(row, 1) for each left over."""
    bits = ROWS_AT_ONCE.bit_length() - 1
    with cgutils.for_range(builder, builder.lshr(rows, ir.Constant(_INT, bits)), intp=_INT) as loop:
        body(builder.shl(loop.index, ir.Constant(_INT, bits)), ROWS_AT_ONCE)
    whole = builder.and_(rows, ir.Constant(_INT, -ROWS_AT_ONCE))
    with cgutils.for_range(builder, builder.sub(rows, whole), intp=_INT) as loop:
        body(builder.add(whole, loop.index), 1)
