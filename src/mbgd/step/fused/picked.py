"""A block of a chunk's rows in, by their numbers; the same rows one behind the other out, in memory that stays in the cache.

To gather a whole chunk before its updates would write it to memory and read it back. Rows lie all over memory, which answers
late, so that those some way ahead are asked for while these are copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mbgd.compiled.kernel import at, part
from mbgd.compiled.prefetch import ask_for_picked
from mbgd.step.fused.layout import Data, Net

ROWS_AHEAD = 16
BYTES_OF_A_ROW = 512  # that are asked for; a processor sees by itself that more of it will be needed


@part
def lay_out_picked(net: Net, into: Data, data: Data, start: int, rows: int) -> None:
    """Rows data.picked[start : start + rows] into the first places of `into`, whose weights stay 1 where there are none."""
    n_rows = len(data.x) // net.n_numbers if net.n_numbers else len(data.codes) // max(1, net.n_codes)
    targets = len(data.y) // n_rows
    for r in range(rows):
        i = start + r
        if i + ROWS_AHEAD < len(data.picked):
            _ask(net, data, i + ROWS_AHEAD, targets)
        row = data.picked[i]
        _copy(data.x, into.x, row, r, net.n_numbers)
        for c in range(net.n_codes):
            into.codes[r * net.n_codes + c] = known(data.codes[row * net.n_codes + c], net.limits[c])
        _copy(data.y, into.y, row, r, targets)
        if len(data.labels):
            into.labels[r] = data.labels[row]
        if len(data.w):
            into.w[r] = data.w[row]


@part
def known(code: int, limit: int) -> int:
    """The code, or 0 (unknown) where the model has no such code: `BoundsCheck` refuses those at the start, and whoever owns
    the rows may write others there later."""
    return code if np.uint64(code) < np.uint64(limit) else 0


@part
def _ask(net: Net, data: Data, i: int, targets: int) -> None:
    picked, most = at(data.picked, 0), BYTES_OF_A_ROW // 8
    if net.n_numbers:
        ask_for_picked(at(data.x, 0), picked, i, net.n_numbers, most)
    if net.n_codes:
        ask_for_picked(at(data.codes, 0), picked, i, net.n_codes, most)
    if targets:
        ask_for_picked(at(data.y, 0), picked, i, targets, most)


@part
def _copy(source: Any, into: Any, row: int, r: int, width: int) -> None:
    of, to = at(source, row * width), at(into, r * width)
    for k in range(width):
        to[k] = of[k]
