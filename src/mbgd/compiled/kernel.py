"""Compile functions of plain loops; leaves are compiled one by one and called by address.

NaN and infinity have to survive (the finite check looks for them), so of the fast flags only those are set that keep
them: signs of zero, reciprocals, contraction and reassociation. A kernel never touches a Python object and lets go of
the GIL. A leaf is compiled once for each dtype, when it is first asked for; whoever calls it knows its address alone, so
that nothing is compiled twice and a program uses what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mbgd.compiled.cache import always_njit, kept_cfunc, kept_njit
from mbgd.compiled.guard_pages import IS_CHECKED, Guarded

F = TypeVar("F", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"nsz", "arcp", "contract", "reassoc"},
    "boundscheck": IS_CHECKED,
}
LENT: dict[str, Any] = {**OPTIONS, "_nrt": False, "nogil": True}
"""Arrays are lent to a kernel, never kept: to count who holds each, at every piece of it, took a fifth of a step of one row."""


def kernel(function: F) -> F:
    """Compiled on its first call for each dtype, then kept on disk."""
    compiled: F = kept_njit(function, **LENT)
    return Guarded(compiled) if IS_CHECKED else compiled  # type: ignore[return-value]  # called alike


def as_compiled(function: F) -> F:
    """A kernel without its guard pages, for threads that have to see what the others write."""
    compiled: F = getattr(function, "compiled", function)
    return compiled


def part(function: F) -> F:
    """A piece of a kernel, laid into it: to call it would mean to hand over some hundred words of arrays each time."""
    inlined: F = always_njit(forceinline=True, **LENT)(function)
    return inlined


class Leaf:
    """A function of numbers and pointers, compiled for a dtype when its address is first asked for."""

    def __init__(self, function: Callable[..., None], kinds: str) -> None:
        self._function, self._kinds = function, kinds
        self._compiled: dict[np.dtype[Any], Any] = {}

    def address(self, dtype: np.dtype[Any]) -> int:
        """Where the compiled function lies; it stays there as long as the process lives."""
        if dtype not in self._compiled:
            number = types.float32 if dtype == np.float32 else types.float64
            known = {
                "f": types.float64,
                "i": types.int64,
                "p": types.CPointer(number),
                "l": types.CPointer(types.int64),
                "d": types.CPointer(types.float64),
            }
            signature = types.void(*(known[kind] for kind in self._kinds))
            self._compiled[dtype] = kept_cfunc(self._function, signature, **OPTIONS)
        found: int = self._compiled[dtype].address
        return found


def leaf(kinds: str) -> Callable[[Callable[..., None]], Leaf]:
    """Arguments by letter: f float64, i int64, p pointer to numbers, l to int64, d to float64."""
    return lambda function: Leaf(function, kinds)


@intrinsic
def call(typing_context: Any, address: Any, arguments: Any) -> Any:
    """Call a leaf: `call(address, (argument, ...))`. The types must be those of its letters."""
    signature = types.void(types.int64, arguments)

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address, packed = values
        each = [builder.extract_value(packed, i) for i in range(len(signature.args[1]))]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in each])
        builder.call(builder.inttoptr(address, kind.as_pointer()), each)
        return context.get_dummy_value()

    return signature, lower


@intrinsic
def at(typing_context: Any, array: Any, offset: Any) -> Any:
    """Pointer to an element of a one-dimensional array."""
    signature = types.CPointer(array.dtype)(array, types.int64)

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0]).data
        return builder.gep(data, [values[1]])

    return signature, lower


@intrinsic
def moved(typing_context: Any, pointer: Any, offset: Any) -> Any:
    """A pointer so many elements further on."""
    signature = pointer(pointer, types.int64)

    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.gep(values[0], [values[1]])

    return signature, lower
