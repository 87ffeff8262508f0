from __future__ import annotations

import platform
import re
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy import special

from mbgd.compiled import coefficients, elementary

INF, NAN = float("inf"), float("nan")
KERNEL_FLAGS = frozenset({"nsz", "arcp", "contract", "reassoc"})  # what a kernel allows itself around these functions
# name -> the same in float64 by another library, the same at any precision, most units in the last place
LAWS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], float]] = {
    "exp": (np.exp, mpmath.exp, 2),
    "expm1": (np.expm1, mpmath.expm1, 2),
    "log": (np.log, mpmath.log, 2),
    "log1p": (np.log1p, mpmath.log1p, 2),
    "tanh": (np.tanh, mpmath.tanh, 2),
    "sigmoid": (special.expit, lambda x: 1 / (1 + mpmath.exp(-x)), 2),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: mpmath.log1p(mpmath.exp(x)), 2),
    "erf": (special.erf, mpmath.erf, 2),
    "tanh_softplus": (lambda x: np.tanh(np.logaddexp(0, x)), lambda x: mpmath.tanh(mpmath.log1p(mpmath.exp(x))), 4),
}


@cache
def loop(name: str, flags: frozenset[str]) -> Any:
    """out[i] = f(x[i]) as a kernel has it."""
    f = getattr(elementary, name)

    @njit(error_model="numpy", fastmath=set(flags))
    def each(x: Any, out: Any) -> None:
        for i in range(x.shape[0]):
            out[i] = f(x[i])

    return each


def values(name: str, x: NDArray[Any], flags: frozenset[str] = KERNEL_FLAGS) -> NDArray[Any]:
    out = np.empty_like(x)
    loop(name, flags)(x, out)
    return out


def patterns(stride: int) -> NDArray[np.float32]:
    """Floats of every sign, exponent and kind, a fixed number of representable ones apart."""
    return np.arange(0, 1 << 32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)


def off(got: NDArray[np.float32], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in units of the last place of the true value; what is infinite or no number must be so in both."""
    with np.errstate(over="ignore"):
        nearest = true.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(true))
    whole = ~np.isfinite(nearest)
    np.testing.assert_array_equal(got[whole & ~np.isnan(true)], nearest[whole & ~np.isnan(true)])
    exponent = np.clip(np.frexp(true)[1] - 1, -126, 127)
    return np.abs(got[~whole] - true[~whole]) / np.ldexp(1.0, exponent[~whole] - 23)


def float32_error(name: str, x: NDArray[np.float32]) -> float:
    with np.errstate(all="ignore"):
        true = LAWS[name][0](x.astype(np.float64))
    return float(off(values(name, x), true).max(initial=0.0))  # a stretch may hold no finite result


@pytest.mark.parametrize("name", LAWS)
def test_float32_is_right_to_two_units_of_the_last_place(name: str) -> None:
    assert float32_error(name, patterns(4093)) <= LAWS[name][2]


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_float32_is_right_at_every_sixteenth_number(name: str) -> None:
    everything = patterns(16)
    assert max(float32_error(name, part) for part in np.array_split(everything, 128) if len(part)) <= LAWS[name][2]


@pytest.mark.parametrize("name", LAWS)
def test_float64_is_right_to_four_units_of_the_last_place(name: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-2, 2, 300), rng.uniform(-20, 20, 150), rng.uniform(-708, 708, 100)])
    x = np.concatenate([x, np.exp(rng.uniform(-740, 4, 100)), -np.exp(rng.uniform(-740, 4, 100))])
    x = {"log": abs(x), "log1p": np.concatenate([x[x > -1], np.expm1(-rng.uniform(0, 36, 100))])}.get(name, x)
    with mpmath.workprec(1200):  # 1 + e^-700 keeps its last bits
        for argument, got in zip(x, values(name, x), strict=True):
            true = LAWS[name][1](mpmath.mpf(float(argument)))
            exponent = max(mpmath.frexp(true)[1] - 1, -1022)
            assert abs(mpmath.mpf(float(got)) - true) <= 4 * mpmath.mpf(2) ** (exponent - 52), argument


EDGES = {  # by hand: limits, signs of zero, the first argument past which a type holds the result no more
    "exp": [(-INF, 0.0), (INF, INF), (0.0, 1.0), (-0.0, 1.0)],
    "expm1": [(-INF, -1.0), (INF, INF), (0.0, 0.0), (-0.0, -0.0), (-100.0, -1.0)],
    "log": [(-INF, NAN), (INF, INF), (0.0, -INF), (-0.0, -INF), (-1.0, NAN), (1.0, 0.0)],
    "log1p": [(-INF, NAN), (INF, INF), (0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN)],
    "tanh": [(-INF, -1.0), (INF, 1.0), (0.0, 0.0), (-0.0, -0.0), (25.0, 1.0)],
    "sigmoid": [(-INF, 0.0), (INF, 1.0), (0.0, 0.5), (-0.0, 0.5), (50.0, 1.0)],
    "softplus": [(-INF, 0.0), (INF, INF), (100.0, 100.0)],
    "erf": [(-INF, -1.0), (INF, 1.0), (0.0, 0.0), (-0.0, -0.0), (7.0, 1.0)],
    "tanh_softplus": [(-INF, 0.0), (INF, 1.0), (50.0, 1.0), (0.0, 0.6)],  # ((1 + 1)^2 - 1) / ((1 + 1)^2 + 1)
}
RANGE = {  # e^x is finite, infinite, the least number, nothing: on either side of ln 2^128 and ln 2^-150, ln 2^1024 and ln 2^-1075
    np.float32: (88.7228, 88.7229, -103.972, -103.973),  # 88.72284 and -103.97208
    np.float64: (709.782712, 709.782713, -745.133219, -745.133220),  # 709.7827129 and -745.1332191
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAWS)
def test_edges(name: str, dtype: Any) -> None:
    x, expected = np.array([*EDGES[name], (NAN, NAN)] * 40, dtype).T.copy()  # enough for vectors and a rest
    got = values(name, x)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got[expected == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_overflows_and_underflows_where_the_type_does(dtype: Any) -> None:
    fine, over, least, under = values("exp", np.array(RANGE[dtype], dtype))
    assert np.isfinite(fine)
    assert fine > np.finfo(dtype).max * dtype(0.999)
    assert over == INF
    assert least == np.finfo(dtype).smallest_subnormal
    assert under == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "erf"])
def test_subnormal_numbers_are_kept(name: str, dtype: Any) -> None:
    least = np.finfo(dtype).smallest_subnormal
    x = least * np.array([1, -3, 5, 1 << 20], dtype)
    slope = dtype(2 / np.sqrt(np.pi)) if name == "erf" else dtype(1)  # f(x) = f'(0) x to far more than the last bit
    np.testing.assert_allclose(values(name, x), x * slope, rtol=0, atol=least)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd_functions_are_odd_to_the_bit(name: str, dtype: Any) -> None:
    x = np.linspace(0, 12, 5001).astype(dtype)
    np.testing.assert_array_equal(values(name, -x), -values(name, x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAWS)
def test_the_flags_of_the_kernel_around_it_and_the_place_in_a_vector_change_no_bit(name: str, dtype: Any) -> None:
    """A kernel may reassociate its own sums; reaching in here, that would break the reductions (e^88.5 would be infinite)."""
    x = np.concatenate([np.linspace(-104, 89, 3001), np.linspace(-1, 1, 1000)]).astype(dtype)
    whole = values(name, x)
    assert np.array_equal(whole, values(name, x, frozenset()), equal_nan=True)
    for start in (1, 2, 3, 7):
        part = np.concatenate([values(name, x[i : i + 3].copy()) for i in range(start, 900, 3)])
        assert np.array_equal(whole[start : start + len(part)], part, equal_nan=True)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAWS)
def test_a_loop_over_it_is_vectorised(name: str, dtype: Any) -> None:
    values(name, np.ones(3, dtype))
    kind = "float32" if dtype is np.float32 else "float64"
    (signature,) = [s for s in loop(name, KERNEL_FLAGS).signatures if str(s[0].dtype) == kind]
    assembly = loop(name, KERNEL_FLAGS).inspect_asm(signature)
    packed = re.findall(r"\bv?(?:mul|fmadd\d+|fnmadd\d+)p[sd]\b", assembly)
    assert len(packed) >= 8  # a polynomial's worth of products
    assert not re.search(r"\b(?:expf?|expm1f?|logf?|log1pf?|tanhf?|erff?|fmaf?)\b", assembly)  # a call of libm


@pytest.mark.slow
def test_the_coefficients_are_those_the_script_derives() -> None:
    script = Path(__file__).parents[2] / "scripts" / "elementary_coefficients.py"
    written = runpy.run_path(str(script))["written"]()
    assert written == Path(coefficients.__file__).read_text(encoding="utf-8")
