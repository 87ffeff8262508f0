"""Numbers embedded piecewise linearly: a look-up between two entries of a running sum; its gradient, bin by bin, back.

e(x) = sum over j of clip((x - left_j) per_bin_j, 0, 1) V_j is P_j + f (P_j+1 - P_j), with j the bin of x, f the share of it
that lies below x, and P the running sums of V: two rows of a few numbers in place of a product with all of V.

`front` is the table of `layout`. E numbers are embedded · edges of a column: all its left ends, then all its 1 / widths
"""

from __future__ import annotations

from typing import Any

from numba import carray

from mbgd.compiled.kernel import leaf, moved
from mbgd.step.fused.layout import BENT, BINS, CODE_COLUMN, EDGES, FRONT, FRONT_KIND, PLACE, SUMS, TABLE, WIDTH

Pointer = Any


@leaf("lppi")
def add_up(front_at: Pointer, theta: Pointer, sums: Pointer, n_columns: int) -> None:
    """The running sums P of V, from 0 on, for each embedded number."""
    front = carray(front_at, (n_columns, FRONT))
    for c in range(n_columns):
        if front[c, FRONT_KIND] == BENT:
            wide, bins = front[c, WIDTH], front[c, BINS]
            v, p = (
                carray(moved(theta, front[c, TABLE]), bins * wide),
                carray(moved(sums, front[c, SUMS]), (bins + 1) * wide),
            )
            for k in range(wide):
                p[k] = 0
            for i in range(bins * wide):
                p[i + wide] = p[i] + v[i]


@leaf("plppplpiiiii")
def look_up(
    x_at: Pointer,
    front_at: Pointer,
    edges: Pointer,
    sums: Pointer,
    out_at: Pointer,
    bins_at: Pointer,
    shares_at: Pointer,
    rows: int,
    width: int,
    n_numbers: int,
    n_columns: int,
    n_bent: int,
) -> None:
    """Into out (R, width) at each column's place; bins and shares (R, E) are kept for the way back."""
    front = carray(front_at, (n_columns, FRONT))
    bin_of, share_of = carray(bins_at, rows * n_bent), carray(shares_at, rows * n_bent)
    x, out = carray(x_at, rows * n_numbers), carray(out_at, rows * width)
    e = 0
    for c in range(n_columns):
        if front[c, FRONT_KIND] != BENT:
            continue
        wide, bins, place, source = front[c, WIDTH], front[c, BINS], front[c, PLACE], front[c, CODE_COLUMN]
        left, per_bin = carray(moved(edges, front[c, EDGES]), bins), carray(moved(edges, front[c, EDGES] + bins), bins)
        p = carray(moved(sums, front[c, SUMS]), (bins + 1) * wide)
        zero, one = left.dtype.type(0), left.dtype.type(1)
        for r in range(rows):
            value, low, span = x[r * n_numbers + source], 0, bins
            while span > 1:  # the last bin that begins at or before the value; without a branch that depends on it
                half = span // 2
                low += half if left[low + half] <= value else 0
                span -= half
            share = (value - left[low]) * per_bin[low]
            share = zero if share < zero else (one if share > one else share)
            bin_of[r * n_bent + e], share_of[r * n_bent + e] = low, share
            for k in range(wide):
                here = p[low * wide + k]
                out[r * width + place + k] = here + share * (p[(low + 1) * wide + k] - here)
        e += 1


@leaf("pllpppiiiii")
def to_bins(
    delta_at: Pointer,
    front_at: Pointer,
    bins_at: Pointer,
    shares_at: Pointer,
    grad: Pointer,
    steps: Pointer,
    rows: int,
    width: int,
    n_columns: int,
    n_bent: int,
    skip: int,
) -> None:
    """Add each row's gradient, times its share, to its bin, and whole to what `spread` gives to all bins below."""
    front = carray(front_at, (n_columns, FRONT))
    bin_of, share_of = carray(bins_at, rows * n_bent), carray(shares_at, rows * n_bent)
    delta = carray(delta_at, rows * width)
    e = 0
    for c in range(n_columns):
        if front[c, FRONT_KIND] != BENT:
            continue
        wide, bins, place = front[c, WIDTH], front[c, BINS], front[c, PLACE] - skip
        own = carray(moved(grad, front[c, TABLE]), bins * wide)
        below = carray(moved(steps, front[c, SUMS]), (bins + 1) * wide)
        for r in range(rows if place >= 0 else 0):
            at, share = bin_of[r * n_bent + e] * wide, share_of[r * n_bent + e]
            for k in range(wide):
                pull = delta[r * width + place + k]
                own[at + k] += share * pull
                below[at + k] += pull
        e += 1


@leaf("lppi")
def spread(front_at: Pointer, steps: Pointer, grad: Pointer, n_columns: int) -> None:
    """Give every bin the gradient of all rows above it; `steps` is zero again afterwards."""
    front = carray(front_at, (n_columns, FRONT))
    for c in range(n_columns):
        if front[c, FRONT_KIND] == BENT:
            wide, bins = front[c, WIDTH], front[c, BINS]
            own = carray(moved(grad, front[c, TABLE]), bins * wide)
            below = carray(moved(steps, front[c, SUMS]), (bins + 1) * wide)
            for k in range(wide):
                above = own.dtype.type(0)
                for j in range(bins - 1, -1, -1):
                    own[j * wide + k] += above
                    above += below[j * wide + k]
                    below[j * wide + k] = 0
