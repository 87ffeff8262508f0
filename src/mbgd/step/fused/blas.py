"""Matrix products as kernels call them: scipy's BLAS by address, with output buffers and accumulation, no Python between.

Everything here is in BLAS's own order, column by column. A matrix of R rows and b columns kept row by row is, to BLAS,
one of b rows and R columns.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mbgd.step.fused.scipy_blas import cython_blas

PLAIN, TURNED = ord("N"), ord("T")


def address_of_gemm(dtype: np.dtype[Any]) -> int:
    """Where scipy keeps sgemm or dgemm."""
    capsule = cython_blas().__pyx_capi__["sgemm" if dtype == np.float32 else "dgemm"]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address: int = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    return address


@intrinsic
def gemm(
    typing_context: Any,
    address: Any,
    turn_a: Any,
    turn_b: Any,
    m: Any,
    n: Any,
    k: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    beta: Any,
    c: Any,
    ldc: Any,
) -> Any:
    """C (m, n) = op(A) op(B) + beta C by pointers to their corners; k is the length of the sums."""
    whole, number = types.int64, a.dtype
    signature = types.void(whole, whole, whole, whole, whole, whole, a, whole, b, whole, number, c, whole)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, turn_a, turn_b, m, n, k, a, lda, b, ldb, beta, c, ldc = arguments

        def kept(value: Any) -> Any:  # Fortran takes everything by address
            slot = cgutils.alloca_once(builder, value.type)
            builder.store(value, slot)
            return slot

        def small(value: Any, bits: int) -> Any:
            return kept(builder.trunc(value, ir.IntType(bits)))

        words = [small(turn_a, 8), small(turn_b, 8), small(m, 32), small(n, 32), small(k, 32)]
        words += [kept(ir.Constant(beta.type, 1.0)), a, small(lda, 32), b, small(ldb, 32), kept(beta), c]
        words += [small(ldc, 32)]
        kind = ir.FunctionType(ir.VoidType(), [word.type for word in words])
        builder.call(builder.inttoptr(address, kind.as_pointer()), words)
        return context.get_dummy_value()

    return signature, lower


@intrinsic
def turn_tile(typing_context: Any, source: Any, stride: Any, target: Any, step: Any) -> Any:
    """target[j step + i] = source[i stride + j] for i, j in 0..7: eight rows become eight columns."""
    whole = types.int64
    signature = types.void(source, whole, target, whole)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, stride, target, step = arguments
        number = source.type.pointee
        vector = ir.VectorType(number, 8)
        size = 4 if isinstance(number, ir.FloatType) else 8

        def place(base: Any, each: Any, i: int) -> Any:
            offset = builder.mul(each, ir.Constant(each.type, i))
            return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

        rows = [builder.load(place(source, stride, i), align=size) for i in range(8)]
        for width in (1, 2, 4):  # exchange blocks of 1, then 2, then 4: log2(8) rounds
            rows = _exchanged(builder, rows, width)
        for j, row in enumerate(rows):
            builder.store(row, place(target, step, j), align=size)
        return context.get_dummy_value()

    return signature, lower


def _exchanged(builder: Any, rows: list[Any], width: int) -> list[Any]:
    """One round: of rows i and i + width the blocks off the diagonal change places."""
    upper = [j if not j & width else 8 + j - width for j in range(8)]
    lower = [j + width if not j & width else 8 + j for j in range(8)]
    masks = [ir.Constant(ir.VectorType(ir.IntType(32), 8), which) for which in (upper, lower)]
    fresh = list(rows)
    for i in range(8):
        if not i & width:
            a, b = rows[i], rows[i + width]
            fresh[i], fresh[i + width] = (builder.shuffle_vector(a, b, mask) for mask in masks)
    return fresh
