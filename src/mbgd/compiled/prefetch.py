"""Cache lines asked for before they are needed: rows by their numbers lie all over memory, which answers late."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mbgd.compiled.vectors import bytes_of, row_address, vector_kind

LINE = 64  # bytes of a cache line
_INT, _SHORT = ir.IntType(64), ir.IntType(32)


@intrinsic
def ask_for_picked(typing_context: Any, x: Any, picked: Any, r: Any, n: Any, most: Any) -> Any:
    """Ask for the cache lines of row number picked[r], n numbers, up to `most` of them, before they are needed."""
    whole = types.int64

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, picked, r, n, most = arguments
        row = row_address(builder, x, picked, r, n)
        length = builder.select(builder.icmp_signed("<", n, most), n, most)
        _ask_for_lines(builder, row, length, LINE // bytes_of(vector_kind(x)))
        return context.get_dummy_value()

    return types.void(x, picked, whole, whole, whole), lower


@intrinsic
def ask_for(typing_context: Any, x: Any, n: Any, most: Any) -> Any:
    """Ask for the cache lines of n numbers from x on, up to `most` of them, before they are needed."""
    whole = types.int64

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, n, most = arguments
        size = context.get_abi_sizeof(x.type.pointee)
        length = builder.select(builder.icmp_signed("<", n, most), n, most)
        _ask_for_lines(builder, x, length, LINE // size)
        return context.get_dummy_value()

    return types.void(x, whole, whole), lower


def _ask_for_lines(builder: Any, start: Any, length: Any, per_line: int) -> None:
    """Every line of `length` numbers, of which a line holds so many."""
    each, last = ir.Constant(_INT, per_line), ir.Constant(_INT, -1)
    lines = builder.udiv(builder.add(length, builder.add(each, last)), each)
    with cgutils.for_range(builder, lines, intp=_INT) as loop:
        _ask_for(builder, builder.gep(start, [builder.mul(loop.index, each)]))
    _ask_for(builder, builder.gep(start, [builder.add(length, last)]))  # it may begin within a line


def _ask_for(builder: Any, address: Any) -> None:
    """Nothing is read, so that any address will do."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _SHORT, _SHORT, _SHORT])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    to_read, keep, data = (ir.Constant(_SHORT, word) for word in (0, 3, 1))
    builder.call(function, [builder.bitcast(address, byte), to_read, keep, data])
