"""Numbers and category codes of R rows in, one row of inputs for the first product out; gradients of the embeddings back.

A one-hot column has one unit for each code but 0, which stands for missing; an embedding has a row for each code.
`front` is the table of `layout`, one row a category column.
"""

from __future__ import annotations

from typing import Any

from numba import carray

from mbgd.compiled.kernel import leaf, moved
from mbgd.step.fused.layout import BENT, CODE_COLUMN, EMBEDDED, FRONT, FRONT_KIND, HOT, PLACE, TABLE, WIDTH

Pointer = Any


@leaf("pllppiiiii")
def lay_out(
    x_at: Pointer,
    codes_at: Pointer,
    front_at: Pointer,
    theta: Pointer,
    out_at: Pointer,
    rows: int,
    width: int,
    n_numbers: int,
    n_codes: int,
    n_columns: int,
) -> None:
    """out (R, numbers + embeddings of numbers, which `look_up` writes + one-hot units + embeddings)."""
    front = carray(front_at, (n_columns, FRONT))
    for r in range(rows):
        row, here = carray(moved(out_at, r * width), width), carray(moved(codes_at, r * n_codes), n_codes)
        numbers = carray(moved(x_at, r * n_numbers), n_numbers)
        for i in range(n_numbers):
            row[i] = numbers[i]
        for c in range(n_columns):
            if front[c, FRONT_KIND] == BENT:
                continue
            place, wide, code = front[c, PLACE], front[c, WIDTH], here[front[c, CODE_COLUMN]]
            if front[c, FRONT_KIND] == HOT:
                for i in range(place, place + wide):
                    row[i] = 0
                if code > 0:
                    row[place + code - 1] = 1
            else:
                entry = carray(moved(theta, front[c, TABLE] + code * wide), wide)
                for i in range(wide):
                    row[place + i] = entry[i]


@leaf("pllpiiiii")
def to_tables(
    delta_at: Pointer,
    codes_at: Pointer,
    front_at: Pointer,
    grad: Pointer,
    rows: int,
    width: int,
    n_codes: int,
    n_columns: int,
    skip: int,
) -> None:
    """Add each row's gradient to its entries; delta (R, width) begins at input column `skip`."""
    front = carray(front_at, (n_columns, FRONT))
    for r in range(rows):
        here = carray(moved(codes_at, r * n_codes), n_codes)
        for c in range(n_columns):
            wide, place = front[c, WIDTH], front[c, PLACE] - skip
            if front[c, FRONT_KIND] == EMBEDDED and place >= 0:
                entry = carray(moved(grad, front[c, TABLE] + here[front[c, CODE_COLUMN]] * wide), wide)
                units = carray(moved(delta_at, r * width + place), wide)
                for i in range(wide):
                    entry[i] += units[i]


@leaf("ppi")
def copy(from_at: Pointer, to_at: Pointer, n: int) -> None:
    source, target = carray(from_at, n), carray(to_at, n)
    for i in range(n):
        target[i] = source[i]
