"""What Python has no word for in a kernel: select, fused multiply-add, the bits of a float; each a Numba intrinsic.

None carries a fast-math flag, whatever the kernel around it allows, since flags belong to instructions: a function made of
these, inlined into a kernel with "reassoc", keeps its order of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _typed_intrinsic

_WIDTH = {types.float32: 32, types.float64: 64}
_MANTISSA = {32: 23, 64: 52}  # bits
_BIAS = {32: 127, 64: 1023}
_ROOT_HALF = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}  # bits of sqrt(1/2)
INT = {32: ir.IntType(32), 64: ir.IntType(64)}
FLOAT = {32: ir.FloatType(), 64: ir.DoubleType()}
Emit = Callable[[Any, int, Any], Any]
intrinsic: Callable[[Any], Any] = _typed_intrinsic  # its stub counts the typing context as an argument


def magic(width: int) -> float:
    """1.5 * 2^mantissa: a small number added to it is rounded to whole, which its low bits then hold."""
    return 1.5 * 2.0 ** _MANTISSA[width]


def constant(float32: float, float64: float | None = None) -> Any:
    """An intrinsic c(x): the constant in the type of x."""
    value = {32: float32, 64: float32 if float64 is None else float64}

    @intrinsic
    def c(context: Any, x: Any) -> Any:
        if x not in _WIDTH:
            return None

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(FLOAT[_WIDTH[x]], value[_WIDTH[x]])

        return x(x), emit

    return c


def polynomial(float32: Sequence[float], float64: Sequence[float]) -> Any:
    """An intrinsic p(x) = c0 + c1 x + ... by Horner's rule, in the type of x; the coefficients of each type lowest power first."""
    coefficients = {32: float32, 64: float64}

    @intrinsic
    def p(context: Any, x: Any) -> Any:
        if x not in _WIDTH:
            return None

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = FLOAT[_WIDTH[x]]
            *rest, total = (ir.Constant(kind, c) for c in coefficients[_WIDTH[x]])
            for c in reversed(rest):
                total = _fused(context, builder, total, arguments[0], c)
            return total

        return x(x), emit

    return p


def _fused(context: Any, builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once where the processor can; elsewhere libm would do it a hundred times slower, so twice."""
    triple, _, features = context.codegen().magic_tuple()
    if "+fma" in features.split(",") or triple.startswith(("aarch64", "arm64")):
        return builder.fma(a, b, c)
    return builder.fadd(builder.fmul(a, b), c)


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, in one rounding where the processor has it."""
    if a not in _WIDTH or not a == b == c:
        return None
    return a(a, b, c), lambda context, builder, signature, arguments: _fused(context, builder, *arguments)


@intrinsic
def select(context: Any, condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b; both are computed, so that no branch stands in the loop."""
    if condition != types.boolean or a != b:
        return None
    return a(condition, a, b), lambda context, builder, signature, arguments: builder.select(*arguments)


@intrinsic
def copysign(context: Any, size: Any, sign: Any) -> Any:
    """|size| with the sign of the second."""
    if size not in _WIDTH or size != sign:
        return None

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, arguments)

    return size(size, sign), emit


def _of_bits(make: Emit) -> Any:
    """An intrinsic f(x) in the type of x from a maker of instructions (builder, width of x, bits of x) -> float."""

    @intrinsic
    def f(context: Any, x: Any) -> Any:
        if x not in _WIDTH:
            return None
        width = _WIDTH[x]

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            made = make(builder, width, builder.bitcast(arguments[0], INT[width]))
            return builder.bitcast(made, FLOAT[width]) if made.type == INT[width] else made

        return x(x), emit

    return f


def _power_of_two(builder: Any, width: int, bits: Any) -> Any:
    whole = builder.shl(bits, ir.Constant(INT[width], _MANTISSA[width]))
    return builder.add(whole, ir.Constant(INT[width], _BIAS[width] << _MANTISSA[width]))


def _exponent_bits(builder: Any, width: int, bits: Any) -> Any:
    """k << mantissa, for the k that brings x * 2^-k between sqrt(1/2) and sqrt(2)."""
    above = builder.sub(bits, ir.Constant(INT[width], _ROOT_HALF[width]))
    return builder.and_(above, ir.Constant(INT[width], -(1 << _MANTISSA[width])))


def _exponent(builder: Any, width: int, bits: Any) -> Any:
    """k as a float, by way of 2^mantissa + k + bias: vector units before AVX-512 turn no 64-bit integer into a float."""
    kind, mantissa = INT[width], _MANTISSA[width]
    above = builder.sub(bits, ir.Constant(kind, _ROOT_HALF[width] - (_BIAS[width] << mantissa)))
    biased = builder.lshr(above, ir.Constant(kind, mantissa))
    one_and_k = builder.or_(biased, ir.Constant(kind, (_BIAS[width] + mantissa) << mantissa))
    return builder.fsub(
        builder.bitcast(one_and_k, FLOAT[width]), ir.Constant(FLOAT[width], 2.0**mantissa + _BIAS[width])
    )


def _mantissa(builder: Any, width: int, bits: Any) -> Any:
    return builder.sub(bits, _exponent_bits(builder, width, bits))


def _four_over_power(builder: Any, width: int, bits: Any) -> Any:
    four = ir.Constant(INT[width], (_BIAS[width] + 2) << _MANTISSA[width])
    return builder.sub(four, _exponent_bits(builder, width, bits))


power_of_two = _of_bits(_power_of_two)  # 2^n for x = magic + n
exponent = _of_bits(_exponent)  # k of a positive normal x = m * 2^k, m from sqrt(1/2) to sqrt(2)
mantissa = _of_bits(_mantissa)  # m
four_over_power = _of_bits(_four_over_power)  # 4 * 2^-k; 2^-k itself would not be normal for the largest x


_FLUSH = 0x8040  # of MXCSR: results and operands below the smallest normal number count as 0


@intrinsic
def flush_subnormals(context: Any) -> Any:
    """Count subnormal numbers as 0 from here on, in this thread; what `restore_subnormals` takes out. A processor needs a
    hundred times as long for them, and the momentum of a unit that learns nothing ends among them. Nothing changes where
    they cost nothing, as on ARM."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        if not _has_mxcsr(context):
            return word(0)
        before = _mxcsr(builder, "st", word(0))
        _mxcsr(builder, "ld", builder.or_(before, word(_FLUSH)))
        return before

    return types.uint32(), emit


@intrinsic
def restore_subnormals(context: Any, before: Any) -> Any:
    """The thread's mode as it was before `flush_subnormals`."""
    if before != types.uint32:
        return None

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _has_mxcsr(context):
            _mxcsr(builder, "ld", arguments[0])
        return context.get_dummy_value()

    return types.void(before), emit


def _has_mxcsr(context: Any) -> bool:
    triple: str = context.codegen().magic_tuple()[0]
    return triple.startswith(("x86_64", "i386", "i686"))


def _mxcsr(builder: Any, way: str, value: Any) -> Any:
    """Store (st) the control word into memory, or load (ld) it from there; its value."""
    word = ir.IntType(32)
    slot = builder.alloca(word)
    builder.store(value, slot)
    kind = ir.FunctionType(ir.VoidType(), [word.as_pointer()])
    name = f"llvm.x86.sse.{way}mxcsr"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    builder.call(function, [slot])
    return builder.load(slot)


@intrinsic
def add_atomically(context: Any, pointer: Any, number: Any) -> Any:
    """*pointer += number, whatever other threads do to it; what was there before."""
    signature = pointer.dtype(pointer, pointer.dtype)
    return signature, lambda context, builder, signature, arguments: builder.atomic_rmw("add", *arguments, "seq_cst")


@intrinsic
def read_atomically(context: Any, pointer: Any) -> Any:
    """What other threads have left there by now."""
    signature = pointer.dtype(pointer)
    return signature, lambda context, builder, signature, arguments: builder.load_atomic(*arguments, "seq_cst", 8)


@intrinsic
def pause(context: Any) -> Any:
    """Tell the processor that this thread only waits, where it has a word for it."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _has_mxcsr(context):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def call_idle(context: Any, address: Any) -> Any:
    """Call a C function without arguments by its address."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), emit
