"""A gradient in, parameters and optimizer state moved in place: the formulas of torch.optim, one tensor a call.

`settings` holds (rate, decay, momentum or beta, beta 2, eps, 1 for decoupled decay), `factor` multiplies the rate,
`count` numbers the update from 1, `clip` multiplies the gradient.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray

from mbgd.compiled.kernel import leaf

Pointer = Any


@leaf("ppppdfffi")
def sgd(
    p_at: Pointer,
    g_at: Pointer,
    first: Pointer,
    second: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    n: int,
) -> None:
    p, g, setting = carray(p_at, n), carray(g_at, n), carray(settings, 6)
    rate, decay = setting[0] * factor, setting[1]
    eta, shrink = p.dtype.type(rate * clip), p.dtype.type(rate * decay)
    for i in range(n):
        p[i] -= eta * g[i] + shrink * p[i]


@leaf("ppppdfffi")
def momentum(
    p_at: Pointer,
    g_at: Pointer,
    v_at: Pointer,
    second: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    n: int,
) -> None:
    p, g, v, setting = carray(p_at, n), carray(g_at, n), carray(v_at, n), carray(settings, 6)
    number = p.dtype.type
    eta, fade, kept, share = number(setting[0] * factor), number(setting[1]), number(setting[2]), number(clip)
    for i in range(n):
        new = kept * v[i] + (share * g[i] + fade * p[i])
        v[i] = new
        p[i] -= eta * new


@leaf("ppppdfffi")
def nesterov(
    p_at: Pointer,
    g_at: Pointer,
    v_at: Pointer,
    second: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    n: int,
) -> None:
    p, g, v, setting = carray(p_at, n), carray(g_at, n), carray(v_at, n), carray(settings, 6)
    number = p.dtype.type
    eta, fade, kept, share = number(setting[0] * factor), number(setting[1]), number(setting[2]), number(clip)
    for i in range(n):
        pull = share * g[i] + fade * p[i]
        new = kept * v[i] + pull
        v[i] = new
        p[i] -= eta * (pull + kept * new)


@leaf("ppppdfffi")
def adam(
    p_at: Pointer,
    g_at: Pointer,
    a_at: Pointer,
    b_at: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    n: int,
) -> None:
    """p -= rate a' / (sqrt(b') + eps), a' and b' the moments corrected for their start at 0; decoupled decay shrinks p,
    the other is a part of the gradient."""
    p, g, a, b = carray(p_at, n), carray(g_at, n), carray(a_at, n), carray(b_at, n)
    setting = carray(settings, 6)
    number = p.dtype.type
    rate, decay, decoupled = setting[0] * factor, setting[1], setting[5] > 0
    one, share, fade = number(1), number(clip), number(0.0 if decoupled else decay)
    left, kept, kept_2 = number(1 - rate * decay if decoupled else 1.0), number(setting[2]), number(setting[3])
    eta = number(rate / (1 - setting[2] ** count))
    per_root, eps = number(1 / math.sqrt(1 - setting[3] ** count)), number(setting[4])
    for i in range(n):
        old = left * p[i]
        pull = share * g[i] + fade * old
        mean = a[i] + (one - kept) * (pull - a[i])
        square = kept_2 * b[i] + (one - kept_2) * pull * pull
        a[i], b[i] = mean, square
        p[i] = old - eta * mean / (np.sqrt(square) * per_root + eps)


UPDATES = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam}


@leaf("pdi")
def add_squares(g_at: Pointer, total_at: Pointer, n: int) -> None:
    """total[0] += sum of squares; not finite where the gradient is not."""
    g, total = carray(g_at, n), carray(total_at, 1)
    squares = g.dtype.type(0)
    for i in range(n):
        squares += g[i] * g[i]
    total[0] += squares


@leaf("ppfi")
def follow(average_at: Pointer, p_at: Pointer, part: float, n: int) -> None:
    """average += part * (p - average)."""
    average, p = carray(average_at, n), carray(p_at, n)
    step = p.dtype.type(part)
    for i in range(n):
        average[i] += step * (p[i] - average[i])
