"""Outputs and targets of R rows in; the loss of each row and the gradient at the outputs out.

n numbers · R rows · C outputs. pull_R is what a row's gradient is multiplied by: its weight over the batch's divisor.
`setting` is delta, quantile or smoothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mbgd.compiled.elementary import exp, log, sigmoid, softplus
from mbgd.compiled.kernel import leaf, moved

Pointer = Any


@leaf("ppppii")
def share(each_at: Pointer, delta_at: Pointer, loss_at: Pointer, pull_at: Pointer, rows: int, width: int) -> None:
    """delta (R, C) times pull; with several outputs the mean of their losses `each` is the row's."""
    pull_R = carray(pull_at, rows)
    if width == 1:
        delta = carray(delta_at, rows)
        for r in range(rows):
            delta[r] *= pull_R[r]
        return
    loss_R = carray(loss_at, rows)
    for r in range(rows):
        row, of_each = carray(moved(delta_at, r * width), width), carray(moved(each_at, r * width), width)
        part, total = row.dtype.type(1.0 / width), row.dtype.type(0)
        for c in range(width):
            total += of_each[c]
            row[c] *= pull_R[r] * part
        loss_R[r] = total * part


@leaf("ppiii")
def add_share(each_at: Pointer, loss_at: Pointer, rows: int, members: int, fresh: int) -> None:
    """A member's share of the mean over members, added to what is there unless `fresh`."""
    of_each, loss_R = carray(each_at, rows), carray(loss_at, rows)
    part = of_each.dtype.type(1.0 / members)
    for r in range(rows):
        loss_R[r] = of_each[r] * part if fresh else loss_R[r] + of_each[r] * part


# Element by element: each leaves its loss in `loss`, which may be `out` itself, and its derivative in `slope`.


@leaf("fppppi")
def squared_error(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    for i in range(n):
        error = out[i] - y[i]
        loss[i], slope[i] = error * error, error + error


@leaf("fppppi")
def absolute_error(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for i in range(n):
        error = out[i] - y[i]
        loss[i] = abs(error)
        slope[i] = one if error > zero else (-one if error < zero else error)  # NaN stays


@leaf("fppppi")
def quantile(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    """At equality the mean of both slopes, as torch's maximum has it."""
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    number = out.dtype.type
    zero, low, high, middle = number(0), number(-setting), number(1 - setting), number(0.5 - setting)
    for i in range(n):
        error = out[i] - y[i]
        slope[i] = high if error > zero else (low if error < zero else middle)
        loss[i] = error * slope[i]


@leaf("fppppi")
def huber(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    zero, half, end = out.dtype.type(0), out.dtype.type(0.5), out.dtype.type(setting)
    for i in range(n):
        error = out[i] - y[i]
        size = abs(error)
        loss[i] = half * error * error if size < end else end * (size - half * end)
        slope[i] = error if size < end else (end if error > zero else -end)


@leaf("fppppi")
def log_loss(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    """log(1 + e^z) - z t, t the label moved towards 1/2; its slope is sigmoid(z) - t."""
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    kept, apart = out.dtype.type(1 - setting), out.dtype.type(setting / 2)
    for i in range(n):
        z, t = out[i], y[i] * kept + apart
        slope[i] = sigmoid(z) - t
        loss[i] = softplus(z) - z * t


@leaf("fppppi")
def hinge(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    zero, one, two = out.dtype.type(0), out.dtype.type(1), out.dtype.type(2)
    for i in range(n):
        side = two * y[i] - one
        short = one - side * out[i]
        slope[i] = -side if short > zero else zero
        loss[i] = zero if short < zero else short


@leaf("fppppi")
def poisson(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    for i in range(n):
        o, t = out[i], y[i]
        e = exp(o)
        loss[i], slope[i] = e - t * o, e - t


@leaf("fppppi")
def gamma(setting: float, out_at: Pointer, y_at: Pointer, slope_at: Pointer, loss_at: Pointer, n: int) -> None:
    out, y, slope, loss = carray(out_at, n), carray(y_at, n), carray(slope_at, n), carray(loss_at, n)
    one = out.dtype.type(1)
    for i in range(n):
        o, e = out[i], y[i] * exp(-out[i])
        loss[i], slope[i] = o + e, one - e


# For labels, and for several quantiles of one target: the whole row at once.


@leaf("fplpppii")
def cross_entropy(
    setting: float,
    out_at: Pointer,
    labels_at: Pointer,
    delta_at: Pointer,
    loss_at: Pointer,
    pull_at: Pointer,
    rows: int,
    width: int,
) -> None:
    """log sum e^o - sum_c t_c o_c, t the label with its share `setting` spread evenly; its slope is softmax(o) - t."""
    labels, loss_R, pull_R = carray(labels_at, rows), carray(loss_at, rows), carray(pull_at, rows)
    number = loss_R.dtype.type
    spread, own = number(setting / width), number(1 - setting)
    for r in range(rows):
        o, row = carray(moved(out_at, r * width), width), carray(moved(delta_at, r * width), width)
        top, total, plain = o[0], number(0), number(0)
        for c in range(width):
            top = o[c] if o[c] > top else top
            plain += o[c]
        for c in range(width):
            row[c] = exp(o[c] - top)
            total += row[c]
        loss_R[r] = top + log(total) - own * o[labels[r]] - spread * plain
        scale, pull = pull_R[r] / total, pull_R[r]
        for c in range(width):
            row[c] = row[c] * scale - spread * pull
        row[labels[r]] -= own * pull


@leaf("fplpppii")
def margin(
    setting: float,
    out_at: Pointer,
    labels_at: Pointer,
    delta_at: Pointer,
    loss_at: Pointer,
    pull_at: Pointer,
    rows: int,
    width: int,
) -> None:
    """max(0, 1 + largest other - own) (Crammer and Singer 2001); equal largest ones share the slope, as torch's amax."""
    labels, loss_R, pull_R = carray(labels_at, rows), carray(loss_at, rows), carray(pull_at, rows)
    number = loss_R.dtype.type
    zero, one = number(0), number(1)
    for r in range(rows):
        o, row, label = carray(moved(out_at, r * width), width), carray(moved(delta_at, r * width), width), labels[r]
        row[:] = 0
        top, ties = number(-np.inf), 0
        for c in range(width):
            if c != label:
                ties = 1 if o[c] > top else ties + (o[c] == top)
                top = o[c] if not o[c] <= top else top  # NaN stays
        short = one + top - o[label]
        loss_R[r] = zero if short < zero else short
        if short > zero:
            for c in range(width):
                if c != label and o[c] == top:
                    row[c] = pull_R[r] / number(ties)
            row[label] = -pull_R[r]


@leaf("dpppppii")
def pinballs(
    level_at: Pointer,
    out_at: Pointer,
    y_at: Pointer,
    delta_at: Pointer,
    loss_at: Pointer,
    pull_at: Pointer,
    rows: int,
    width: int,
) -> None:
    """The mean over the outputs of `quantile`, each at a level of its own, all of them of the row's one target."""
    level, y_R, loss_R, pull_R = (
        carray(level_at, width),
        carray(y_at, rows),
        carray(loss_at, rows),
        carray(pull_at, rows),
    )
    number = loss_R.dtype.type
    zero, part = number(0), number(1.0 / width)
    for r in range(rows):
        o, row = carray(moved(out_at, r * width), width), carray(moved(delta_at, r * width), width)
        total = zero
        for q in range(width):
            error = o[q] - y_R[r]
            low, high, middle = number(-level[q]), number(1 - level[q]), number(0.5 - level[q])
            slope = high if error > zero else (low if error < zero else middle)
            total += error * slope
            row[q] = slope * pull_R[r] * part
        loss_R[r] = total * part


BY_ELEMENT = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "quantile": quantile,
    "poisson": poisson,
    "gamma": gamma,
    "log_loss": log_loss,
    "hinge": hinge,
}
BY_LABEL = {"log_loss": cross_entropy, "hinge": margin}
