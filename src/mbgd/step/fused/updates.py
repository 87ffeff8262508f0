"""A gradient in, parameters and optimizer state moved in place: the formulas of torch.optim, one tensor a call.

The parameters are some rows of n numbers, and the gradient of row i is `pulls[i]` times g: the product of a batch of one row
is never written. Where the gradient itself is given there is one row, all of the tensor, and one pull, which is 1.

`settings` holds (rate, decay, momentum or beta, beta 2, eps, 1 for decoupled decay), `factor` multiplies the rate,
`count` numbers the update from 1, `clip` multiplies the gradient.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray

from mbgd.compiled.kernel import leaf, moved

Pointer = Any


@leaf("pppppdfffii")
def sgd(
    p_at: Pointer,
    g_at: Pointer,
    first: Pointer,
    second: Pointer,
    pulls: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    rows: int,
    n: int,
) -> None:
    g, pull, setting = carray(g_at, n), carray(pulls, rows), carray(settings, 6)
    rate, decay = setting[0] * factor, setting[1]
    eta, shrink = g.dtype.type(rate * clip), g.dtype.type(rate * decay)
    for row in range(rows):
        p, step = carray(moved(p_at, row * n), n), eta * pull[row]
        for i in range(n):
            p[i] -= step * g[i] + shrink * p[i]


@leaf("pppppdfffii")
def momentum(
    p_at: Pointer,
    g_at: Pointer,
    v_at: Pointer,
    second: Pointer,
    pulls: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    rows: int,
    n: int,
) -> None:
    g, pull, setting = carray(g_at, n), carray(pulls, rows), carray(settings, 6)
    number = g.dtype.type
    eta, fade, kept = number(setting[0] * factor), number(setting[1]), number(setting[2])
    for row in range(rows):
        p, v, share = carray(moved(p_at, row * n), n), carray(moved(v_at, row * n), n), number(clip) * pull[row]
        for i in range(n):
            new = kept * v[i] + (share * g[i] + fade * p[i])
            v[i] = new
            p[i] -= eta * new


@leaf("pppppdfffii")
def nesterov(
    p_at: Pointer,
    g_at: Pointer,
    v_at: Pointer,
    second: Pointer,
    pulls: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    rows: int,
    n: int,
) -> None:
    g, pull, setting = carray(g_at, n), carray(pulls, rows), carray(settings, 6)
    number = g.dtype.type
    eta, fade, kept = number(setting[0] * factor), number(setting[1]), number(setting[2])
    for row in range(rows):
        p, v, share = carray(moved(p_at, row * n), n), carray(moved(v_at, row * n), n), number(clip) * pull[row]
        for i in range(n):
            slope = share * g[i] + fade * p[i]
            new = kept * v[i] + slope
            v[i] = new
            p[i] -= eta * (slope + kept * new)


@leaf("pppppdfffii")
def adam(
    p_at: Pointer,
    g_at: Pointer,
    a_at: Pointer,
    b_at: Pointer,
    pulls: Pointer,
    settings: Pointer,
    factor: float,
    count: float,
    clip: float,
    rows: int,
    n: int,
) -> None:
    """p -= rate a' / (sqrt(b') + eps), a' and b' the moments corrected for their start at 0; decoupled decay shrinks p,
    the other is a part of the gradient."""
    g, pull, setting = carray(g_at, n), carray(pulls, rows), carray(settings, 6)
    number = g.dtype.type
    rate, decay, decoupled = setting[0] * factor, setting[1], setting[5] > 0
    one, fade = number(1), number(0.0 if decoupled else decay)
    left, kept, kept_2 = number(1 - rate * decay if decoupled else 1.0), number(setting[2]), number(setting[3])
    eta = number(rate / (1 - setting[2] ** count))
    per_root, eps = number(1 / math.sqrt(1 - setting[3] ** count)), number(setting[4])
    for row in range(rows):
        p, share = carray(moved(p_at, row * n), n), number(clip) * pull[row]
        a, b = carray(moved(a_at, row * n), n), carray(moved(b_at, row * n), n)
        for i in range(n):
            old = left * p[i]
            slope = share * g[i] + fade * old
            mean = a[i] + (one - kept) * (slope - a[i])
            square = kept_2 * b[i] + (one - kept_2) * slope * slope
            a[i], b[i] = mean, square
            p[i] = old - eta * mean / (np.sqrt(square) * per_root + eps)


UPDATES = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam}


@leaf("ppi")
def add(total_at: Pointer, g_at: Pointer, n: int) -> None:
    """total += g."""
    total, g = carray(total_at, n), carray(g_at, n)
    for i in range(n):
        total[i] += g[i]


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
