"""Elementary functions for kernels, of one float and without a branch, so that a loop over them is vectorised.

Numba from pip has no vector maths library, and a call of libm an element costs ten times the arithmetic.
At most 2 units in the last place from the true value in float32, 4 in float64; NaN, infinities, signed zeros and
subnormal results as IEEE 754 has them. Right inside a kernel with any of the flags nsz, arcp, contract, reassoc.
Every polynomial is our own (coefficients.py); the reductions are Cody and Waite's (Software Manual for the Elementary
Functions, 1980), with the exponent read off the bits of a sum, and sums kept short by fused multiply-adds.
"""

from __future__ import annotations

from math import log as _log
from math import sqrt
from typing import Any

from mbgd.compiled import coefficients as table
from mbgd.compiled.cache import always_njit
from mbgd.compiled.instructions import (
    constant,
    copysign,
    exponent,
    fma,
    four_over_power,
    magic,
    mantissa,
    polynomial,
    power_of_two,
    select,
)

# no fast-math: instructions inlined into a kernel keep the flags they were made with
inlined = always_njit(forceinline=True, fastmath=False, error_model="numpy", nogil=True)

_exp_tail = polynomial(table.EXP_32, table.EXP_64)
_log_tail = polynomial(table.LOG_32, table.LOG_64)
_tanh_tail = polynomial(table.TANH_32, table.TANH_64)
_erf_tail = polynomial(table.ERF_32, table.ERF_64)
_log_erfc = polynomial(table.ERFC_32, table.ERFC_64)
_ln2_high = constant(table.LN2_32[0], table.LN2_64[0])
_ln2_low = constant(table.LN2_32[1], table.LN2_64[1])
_log2_e = constant(1 / _log(2.0))
_half_log2_e = constant(0.5 / _log(2.0))
_magic = constant(magic(32), magic(64))

_zero, _quarter, _half, _one, _two = constant(0.0), constant(0.25), constant(0.5), constant(1.0), constant(2.0)
_infinity, _nan = constant(float("inf")), constant(float("nan"))
_tiny = constant(2.0**-24, 2.0**-53)  # below it f(x) = x to rounding, for every f here with f'(0) = 1
_five_eighths = constant(0.625)
_root_two = constant(sqrt(2.0))
_least_normal, _lift = constant(2.0**-126, 2.0**-1022), constant(2.0**24, 2.0**54)
_lifted = constant(24.0, 54.0)
# where the result has become what it is at infinity
_exp_low, _exp_high = constant(-104.0, -746.0), constant(89.0, 710.0)
_expm1_low = constant(-20.0, -40.0)
_tanh_high, _erf_high, _mish_high = constant(9.2, 19.2), constant(3.93, 5.95), constant(20.0, 40.0)


@inlined
def plus(a: Any, b: Any) -> Any:
    """a + b, rounded where it stands, whatever the kernel around it allows."""
    return a + b


@inlined
def times(a: Any, b: Any) -> Any:
    """a * b, likewise."""
    return a * b


@inlined
def plus_times(a: Any, b: Any, c: Any) -> Any:
    """a + b * c, likewise; in one rounding where the processor has it."""
    return fma(b, c, a)


@inlined
def _at_most(x: Any, high: Any) -> Any:
    """The smaller; NaN stays."""
    return select(x > high, high, x)


@inlined
def _at_least(x: Any, low: Any) -> Any:
    return select(x < low, low, x)


@inlined
def _reduced(x: Any) -> tuple[Any, Any, Any]:
    """(e^r - 1, magic + n, n) for x = n ln 2 + r, |r| <= ln 2 / 2."""
    whole = fma(x, _log2_e(x), _magic(x))
    n = whole - _magic(x)
    r = fma(n, -_ln2_low(x), fma(n, -_ln2_high(x), x))
    return fma(r * r, _exp_tail(r), r), whole, n


@inlined
def exp(x: Any) -> Any:
    """e^x; subnormal results are rounded once, by the second of two factors of 2^n."""
    x = _at_most(_at_least(x, _exp_low(x)), _exp_high(x))
    q, _, n = _reduced(x)
    first = fma(x, _half_log2_e(x), _magic(x))
    second = (n - (first - _magic(x))) + _magic(x)
    return (_one(x) + q) * power_of_two(first) * power_of_two(second)


@inlined
def expm1(x: Any) -> Any:
    """e^x - 1 = 2 (2^(n-1) q + (2^(n-1) - 1/2)), q = e^r - 1: the last bracket is exact, and nothing overflows too soon."""
    z = _at_most(_at_least(x, _expm1_low(x)), _exp_high(x))
    q, whole, _ = _reduced(z)
    half_power = power_of_two(whole - _one(x))
    y = fma(half_power, q, half_power - _half(x))
    return select(abs(x) < _tiny(x), x, y + y)


@inlined
def log(x: Any) -> Any:
    """ln x = k ln 2 + ln(1 + f), x = 2^k (1 + f)."""
    small = x < _least_normal(x)
    z = select(small, x * _lift(x), x)
    f = mantissa(z) - _one(x)
    y = _log_of_parts(exponent(z) - select(small, _lifted(x), _zero(x)), f)
    return _log_edges(x, y)


@inlined
def log1p(x: Any) -> Any:
    """ln(1 + x) = k ln 2 + ln(1 + f), k the exponent of u = 1 + x and f = 2^-k x + (2^-k - 1), which misses no bit of x."""
    u = _one(x) + x
    four = four_over_power(u)
    f = fma(four, _quarter(x) * x, fma(four, _quarter(x), -_one(x)))
    y = _log_edges(u, _log_of_parts(exponent(u), f))
    return select(abs(x) < _tiny(x), x, y)


@inlined
def _log_of_parts(k: Any, f: Any) -> Any:
    """k ln 2 + ln(1 + f)."""
    tail = fma(f * f, _log_tail(f), k * _ln2_low(f))
    return fma(k, _ln2_high(f), f + tail)


@inlined
def _log_edges(x: Any, y: Any) -> Any:
    """y where 0 < x < infinity, else ln x: infinity of its sign at infinity and 0, NaN below 0 and at NaN."""
    outside = select(x == _zero(x), -_infinity(x), select(x > _zero(x), x, _nan(x)))
    return select((x > _zero(x)) & (x < _infinity(x)), y, outside)


@inlined
def tanh(x: Any) -> Any:
    """For a = |x|: a + a^3 P(a^2) to 5/8, beyond it 1 - 2 / (e^2a + 1), which is never below 1/2; the sign of x."""
    a = _at_most(abs(x), _tanh_high(x))
    q, whole, _ = _reduced(a + a)
    power = power_of_two(whole)
    far = _one(x) - _two(x) / fma(power, q, power + _one(x))
    square = a * a
    near = fma(a * square, _tanh_tail(square), a)
    return copysign(select(a < _five_eighths(x), near, far), x)


@inlined
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x), by e = e^-|x| on either side, so that far below 0 it is e^x to the last subnormal.

    With t = e / (1 + e): 1 - t above 0, t below, and e - e t for small e, where the rounding of 1 + e would count double.
    """
    e = exp(-abs(x))
    t = e / (_one(x) + e)
    return select(x >= _zero(x), _one(x) - t, select(e < _half(x), fma(-e, t, e), t))


@inlined
def softplus(x: Any) -> Any:
    """ln(1 + e^x) = max(x, 0) + ln(1 + e), e = e^-|x|; with sigmoid of the same x the compiler computes e once."""
    e = exp(-abs(x))
    above = _one(x) + e > _root_two(x)
    f = select(above, fma(_half(x), e, -_half(x)), e)
    return select(x > _zero(x), x, _zero(x)) + _log_of_parts(select(above, _one(x), _zero(x)), f)


@inlined
def tanh_softplus(x: Any) -> Any:
    """tanh(ln(1 + e^x)) = n / (n + 2), n = e^x (e^x + 2): Mish is x times this. At most 4 units in the last place."""
    e = exp(_at_most(x, _mish_high(x)))
    n = e * (e + _two(x))
    return n / (n + _two(x))


@inlined
def erf(x: Any) -> Any:
    """x + x P(x^2) to |x| = 1, beyond it 1 - e^Q(|x|) with Q = ln erfc, to where it rounds to 1."""
    a = abs(x)
    q, whole, _ = _reduced(_log_erfc(_at_most(a, _erf_high(x))))
    power = power_of_two(whole)
    far = _one(x) - fma(power, q, power)
    return select(a < _one(x), fma(x, _erf_tail(x * x), x), copysign(far, x))
