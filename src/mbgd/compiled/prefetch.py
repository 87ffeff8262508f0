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
        row, last = row_address(builder, x, picked, r, n), ir.Constant(_INT, -1)
        length = builder.select(builder.icmp_signed("<", n, most), n, most)
        per_line = ir.Constant(_INT, LINE // bytes_of(vector_kind(x)))
        lines = builder.udiv(builder.add(length, builder.add(per_line, last)), per_line)
        with cgutils.for_range(builder, lines, intp=_INT) as loop:
            _ask_for(builder, builder.gep(row, [builder.mul(loop.index, per_line)]))
        _ask_for(builder, builder.gep(row, [builder.add(length, last)]))  # a row may begin within a line
        return context.get_dummy_value()

    return types.void(x, picked, whole, whole, whole), lower


def _ask_for(builder: Any, address: Any) -> None:
    """Nothing is read, so that any address will do."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _SHORT, _SHORT, _SHORT])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    to_read, keep, data = (ir.Constant(_SHORT, word) for word in (0, 3, 1))
    builder.call(function, [builder.bitcast(address, byte), to_read, keep, data])
