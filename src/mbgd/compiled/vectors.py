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
_INT, _SHORT, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
_LANES = ir.VectorType(_SHORT, LANES)
_FAST = ("nsz", "contract", "reassoc")


def _kind(pointer: Any) -> Any:
    return ir.VectorType(pointer.type.pointee, LANES)


def _zeros(kind: Any) -> Any:
    return ir.Constant(kind, [0.0] * LANES)


def _address(builder: Any, base: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(base, [place]), _kind(base).as_pointer())


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
    kind = _kind(base)
    address = _address(builder, base, place)
    if mask is None:
        return builder.load(address, align=_size(kind))
    align = ir.Constant(_SHORT, _size(kind))
    return builder.call(_masked(builder, "load", kind, kind), [address, align, mask, _zeros(kind)])


def _store(builder: Any, vector: Any, base: Any, place: Any, mask: Any) -> None:
    """base[place + i] = vector[i] where the mask is on."""
    kind = vector.type
    address = _address(builder, base, place)
    if mask is None:
        builder.store(vector, address, align=_size(kind))
        return
    align = ir.Constant(_SHORT, _size(kind))
    builder.call(_masked(builder, "store", kind, ir.VoidType()), [vector, address, align, mask])


def _size(kind: Any) -> int:
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


def _sum(builder: Any, vector: Any) -> Any:
    """Of all lanes, by halves."""
    width = LANES
    while width > 1:
        width //= 2
        low, high = (
            builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_SHORT, width), list(range(s, s + width))))
            for s in (0, width)
        )
        vector = builder.fadd(low, high, flags=_FAST)
    return builder.extract_element(vector, ir.Constant(_SHORT, 0))


@intrinsic
def dot(typing_context: Any, x: Any, w: Any, n: Any) -> Any:
    """sum over i < n of x[i] w[i]."""
    return x.dtype(x, w, types.int64), _dot(padded=False)


@intrinsic
def dot_padded(typing_context: Any, x: Any, w: Any, n: Any) -> Any:
    """The same where w goes on with zeros to the end of its last vector: it is read whole, as `combine_padded` wrote it, for
    a processor hands a number on from a store to a load quickly only if both are of one width."""
    return x.dtype(x, w, types.int64), _dot(padded=True)


def _dot(*, padded: bool) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, w, n = arguments
        total = cgutils.alloca_once(builder, _kind(x))
        builder.store(_zeros(_kind(x)), total)

        def add(place: Any, mask: Any) -> None:
            weights = _load(builder, w, place, None if padded else mask)
            product = builder.fmul(_load(builder, x, place, mask), weights, flags=_FAST)
            builder.store(builder.fadd(builder.load(total), product, flags=_FAST), total)

        _by_vectors(builder, n, add)
        return _sum(builder, builder.load(total))

    return lower


@intrinsic
def combine(typing_context: Any, x: Any, delta: Any, out: Any, rows: Any, n: Any, step: Any, fresh: Any) -> Any:
    """out[i] = sum over r < rows of delta[r] x[r step + i], i < n, added to what is there unless `fresh`."""
    whole = types.int64
    return types.void(x, delta, out, whole, whole, whole, whole), _combine(padded=False)


@intrinsic
def combine_padded(typing_context: Any, x: Any, delta: Any, out: Any, rows: Any, n: Any, step: Any, fresh: Any) -> Any:
    """The same where `out` goes on with zeros to the end of its last vector, which stay."""
    whole = types.int64
    return types.void(x, delta, out, whole, whole, whole, whole), _combine(padded=True)


def _combine(*, padded: bool) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, delta, out, rows, n, stride, fresh = arguments
        begins_at_0 = builder.icmp_signed("!=", fresh, ir.Constant(_INT, 0))
        total = cgutils.alloca_once(builder, _kind(x))

        def add(place: Any, mask: Any) -> None:
            mask_out = None if padded else mask
            builder.store(builder.select(begins_at_0, _zeros(_kind(x)), _load(builder, out, place, mask_out)), total)
            with cgutils.for_range(builder, rows, intp=_INT) as loop:
                at = builder.add(builder.mul(loop.index, stride), place)
                pull = _spread(builder, builder.load(builder.gep(delta, [loop.index])))
                product = builder.fmul(_load(builder, x, at, mask), pull, flags=_FAST)
                builder.store(builder.fadd(builder.load(total), product, flags=_FAST), total)
            _store(builder, builder.load(total), out, place, mask_out)

        _by_vectors(builder, n, add)
        return context.get_dummy_value()

    return lower
