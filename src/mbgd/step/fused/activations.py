"""What follows a product, on the outputs in place: bias, activation and its slope, dropout; and the way back through them.

n numbers · R rows · b units. An activation other than none and ReLU leaves its derivative in `slope`, so that the
exponentials are computed once. `setting` is the slope or alpha of those that have one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray

from mbgd.compiled.elementary import erf, exp, expm1, sigmoid, tanh, tanh_softplus
from mbgd.compiled.kernel import leaf, moved
from mbgd.step.fused.chance import uniform_bits

Pointer = Any
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
_ROOT_HALF, _ROOT_2_OVER_PI, _PER_ROOT_TAU = math.sqrt(0.5), math.sqrt(2 / math.pi), 1 / math.sqrt(2 * math.pi)
_CUBIC = 0.044715  # of torch's approximate="tanh"


@leaf("ppiii")
def add_bias(out_at: Pointer, bias_at: Pointer, rows: int, b: int, rectified: int) -> None:
    """out (R, b) += bias, then ReLU where asked."""
    bias = carray(bias_at, b)
    for r in range(rows):
        row = carray(moved(out_at, r * b), b)
        if rectified:
            zero = row.dtype.type(0)
            for s in range(b):
                z = row[s] + bias[s]
                row[s] = zero if z < zero else z  # NaN stays
        else:
            for s in range(b):
                row[s] += bias[s]


@leaf("pi")
def rectify(out_at: Pointer, n: int) -> None:
    out = carray(out_at, n)
    zero = out.dtype.type(0)
    for i in range(n):
        out[i] = zero if out[i] < zero else out[i]


@leaf("ppi")
def back_through_relu(delta_at: Pointer, out_at: Pointer, n: int) -> None:
    delta, out = carray(delta_at, n), carray(out_at, n)
    zero = delta.dtype.type(0)
    for i in range(n):
        delta[i] = delta[i] if out[i] > zero else zero


@leaf("ppi")
def back_through(delta_at: Pointer, slope_at: Pointer, n: int) -> None:
    delta, slope = carray(delta_at, n), carray(slope_at, n)
    for i in range(n):
        delta[i] *= slope[i]


@leaf("ppifii")
def drop(out_at: Pointer, slope_at: Pointer, n: int, rate: float, key: int, place: int) -> None:
    """Leave each unit out with probability `rate`, by a hash of (key, its place); the kept ones grow by 1 / (1 - rate)."""
    out, slope = carray(out_at, n), carray(slope_at, n)
    zero, kept = out.dtype.type(0), out.dtype.type(1 / (1 - rate) if rate < 1 else 0.0)
    below = np.uint32(min(rate * 4294967296.0, 4294967295.0))
    word = np.uint64(key)
    for i in range(n):
        factor = zero if uniform_bits(word, place + i) < below else kept
        out[i] *= factor
        slope[i] *= factor


@leaf("fppi")
def none(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    slope = carray(slope_at, n)
    slope[:] = 1


@leaf("fppi")
def relu(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for i in range(n):
        slope[i] = one if out[i] > zero else zero
        out[i] = zero if out[i] < zero else out[i]


@leaf("fppi")
def leaky_relu(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    zero, one, gentle = out.dtype.type(0), out.dtype.type(1), out.dtype.type(setting)
    for i in range(n):
        slope[i] = one if out[i] > zero else gentle
        out[i] = out[i] * slope[i]


@leaf("fppi")
def elu(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    zero, one, alpha = out.dtype.type(0), out.dtype.type(1), out.dtype.type(setting)
    for i in range(n):
        z = out[i]
        low = alpha * expm1(zero if z > zero else z)
        out[i] = z if z > zero else low
        slope[i] = one if z > zero else low + alpha


@leaf("fppi")
def selu(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    zero, up, down = out.dtype.type(0), out.dtype.type(_SELU_SCALE), out.dtype.type(_SELU_SCALE * _SELU_ALPHA)
    for i in range(n):
        z = out[i]
        low = down * expm1(zero if z > zero else z)
        out[i] = up * z if z > zero else low
        slope[i] = up if z > zero else low + down


@leaf("fppi")
def gelu(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    """z P(z) with P the normal distribution; its slope is P(z) + z p(z)."""
    out, slope = carray(out_at, n), carray(slope_at, n)
    number = out.dtype.type
    half, one, root, density = number(0.5), number(1), number(_ROOT_HALF), number(_PER_ROOT_TAU)
    for i in range(n):
        z = out[i]
        below = half * (one + erf(z * root))
        out[i] = z * below
        slope[i] = below + z * density * exp(-half * z * z)


@leaf("fppi")
def gelu_tanh(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    number = out.dtype.type
    half, one, three, root, cubic = number(0.5), number(1), number(3), number(_ROOT_2_OVER_PI), number(_CUBIC)
    for i in range(n):
        z = out[i]
        t = tanh(root * (z + cubic * z * z * z))
        out[i] = half * z * (one + t)
        slope[i] = half * (one + t) + half * z * (one - t * t) * root * (one + three * cubic * z * z)


@leaf("fppi")
def silu(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    one = out.dtype.type(1)
    for i in range(n):
        z = out[i]
        p = sigmoid(z)
        out[i] = z * p
        slope[i] = p * (one + z * (one - p))


@leaf("fppi")
def mish(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    """z t with t = tanh(log(1 + e^z)); its slope is t + z sigmoid(z) (1 - t^2)."""
    out, slope = carray(out_at, n), carray(slope_at, n)
    one = out.dtype.type(1)
    for i in range(n):
        z = out[i]
        t = tanh_softplus(z)
        out[i] = z * t
        slope[i] = t + z * sigmoid(z) * (one - t * t)


@leaf("fppi")
def tanh_(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    one = out.dtype.type(1)
    for i in range(n):
        t = tanh(out[i])
        out[i] = t
        slope[i] = one - t * t


@leaf("fppi")
def sigmoid_(setting: float, out_at: Pointer, slope_at: Pointer, n: int) -> None:
    out, slope = carray(out_at, n), carray(slope_at, n)
    one = out.dtype.type(1)
    for i in range(n):
        p = sigmoid(out[i])
        out[i] = p
        slope[i] = p * (one - p)


ACTIVATIONS = {
    "none": none,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "mish": mish,
    "tanh": tanh_,
    "sigmoid": sigmoid_,
}
