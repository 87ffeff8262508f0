"""A program in, its tables and buffers out: where each tensor lies in memory, and how many rows are taken at once.

R rows of a block
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbgd.compiled.vectors import LANES
from mbgd.step.fused import layout
from mbgd.step.fused.activations import ACTIVATIONS
from mbgd.step.fused.codes import NONE, RELU
from mbgd.step.fused.layout import Floats, Ints
from mbgd.step.fused.program import Column, Layer, Program
from mbgd.step.fused.tiles import TALL, widest_tile

CACHE_LINE = 64  # bytes; tensors are filled up to whole vectors of LANES numbers, whole cache lines in any dtype
BLOCK_BYTES = 600_000  # what the activations of a block may take of the second-level cache
STRIP_NUMBERS = 4_096  # of a gradient that are learnt at once, so that they stay in the first-level cache
BLAS_WEIGHTS = 1 << 18  # a layer of so many goes through BLAS, which copies what no cache holds into order
NUMPY: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


@dataclass(frozen=True)
class Places:
    """Offset of each tensor of `Program.tensors()` in the flat buffers, each on a cache line; `total` numbers in all."""

    offsets: tuple[int, ...]
    total: int


def places_of(program: Program) -> Places:
    offsets, total = [], 0
    for tensor in program.tensors():
        offsets.append(total)
        total += -(-tensor.numel() // LANES) * LANES
    return Places(tuple(offsets), total)


def buffer(n: int, dtype: np.dtype[Any]) -> Floats:
    """n zeros from the start of a cache line on."""
    raw = np.zeros(n * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + n * dtype.itemsize].view(dtype)


def rows_of_a_block(program: Program) -> int:
    """Arithmetic on shapes: as many rows as fit the second-level cache with all that is kept of them."""
    kept = sum(layer.outputs * layer.copies * (1 + bends(layer)) for layer in program.layers) + program.n_numbers
    widest = widest_of(program)
    row = (kept + 2 * widest) * NUMPY[program.dtype].itemsize
    return int(min(1024, max(64, BLOCK_BYTES // row // 8 * 8)))


def widest_of(program: Program) -> int:
    """The most numbers that lie between two layers for a row of the data."""
    return max(max(layer.inputs, layer.outputs) * layer.copies for layer in program.layers)


def bends(layer: Layer) -> bool:
    """Whether the slopes of what follows the product are kept."""
    return layer.activation not in (NONE, RELU) or layer.dropout is not None


def strip_of(layer: Layer, dtype: np.dtype[Any]) -> int:
    """Outputs whose weights are learnt at once: whole tall tiles. 0 where there are too few inputs for a wide tile, so that
    the transposed gradient, which has enough columns, is the quicker one."""
    if layer.inputs <= widest_tile(dtype) // 2 < layer.outputs and layer.inputs * layer.outputs <= STRIP_NUMBERS:
        return 0
    return max(1, STRIP_NUMBERS // max(1, TALL * layer.inputs)) * TALL


def numbers_of_a_strip(program: Program) -> int:
    """The largest of them."""
    dtype = NUMPY[program.dtype]
    return max((strip_of(layer, dtype) or layer.outputs) * layer.inputs for layer in program.layers)


def layer_table(program: Program, places: Places, trained: dict[int, int]) -> Ints:
    """`layout.layers`; `trained` maps the id of a tensor to its row among the trained ones."""
    place = {id(t): at for t, at in zip(program.tensors(), places.offsets, strict=True)}
    table, dtype = np.zeros((len(program.layers), layout.LAYER_COLUMNS), np.int64), NUMPY[program.dtype]
    output = slope = turned = 0
    skip = _first_needed(program, trained)
    below = any(id(column.table) in trained for column in program.front)
    for i, layer in enumerate(program.layers):
        is_last = i == len(program.layers) - 1
        curved = bends(layer) or (is_last and layer.activation == RELU)  # a loss over several outputs uses up the last
        w, bias = layer.weight, layer.bias
        table[i] = [
            layer.kind,
            layer.inputs,
            layer.outputs,
            -1 if w is None else place[id(w)],
            -1 if bias is None else place[id(bias)],
            ACTIVATIONS[layer.activation.name].address(dtype) if curved else 0,
            layer.activation == RELU and not curved,
            output,
            slope if curved else -1,
            -1 if w is None else turned,
            _goes_by_blas(layer),
            strip_of(layer, dtype),
            trained.get(id(w), -1),
            trained.get(id(bias), -1),
            below,
            skip if i == 1 else 0,
            layer.copies,
        ]
        units = layer.outputs * layer.copies
        output, slope = output + units, slope + units * curved
        turned += 0 if w is None else w.numel()
        below = below or id(w) in trained or id(bias) in trained
    table[0, layout.SKIP] = skip
    return table


def uses_blas(program: Program) -> bool:
    """Whether some layer is so wide; its threads are BLAS's own."""
    return any(_goes_by_blas(layer) for layer in program.layers)


def _goes_by_blas(layer: Layer) -> bool:
    return layer.weight is not None and layer.kind == layout.DENSE and layer.weight.numel() >= BLAS_WEIGHTS


def _first_needed(program: Program, trained: dict[int, int]) -> int:
    """The first input column of the front whose gradient somebody needs: all are, where each has a scale."""
    if not program.front or program.layers[1].kind == layout.SCALE:
        return 0
    return min((c.place for c in program.front if id(c.table) in trained), default=0)


def front_table(program: Program, places: Places) -> Ints:
    """`layout.front`, flat."""
    place = {id(t): at for t, at in zip(program.tensors(), places.offsets, strict=True)}
    rows, edges, sums = [], 0, 0
    for c in program.front:
        kind = layout.HOT if c.table is None else layout.EMBEDDED if c.edges is None else layout.BENT
        bins = 0 if c.edges is None else c.edges.shape[1]
        table = -1 if c.table is None else place[id(c.table)] + c.entry
        rows.append((kind, c.code, c.place, c.width, table, bins, edges, sums))
        edges, sums = edges + 2 * bins, sums + (bins + 1) * c.width * (bins > 0)
    return np.array(rows, np.int64).reshape(-1)


def limits_of(program: Program) -> Ints:
    """How many codes each column of them has, (n_codes,)."""
    columns = sorted(
        (c.code, c.width + 1 if c.table is None else len(c.table)) for c in program.front if c.edges is None
    )
    return np.array([n_codes for _, n_codes in columns], np.int64)


def edges_of(program: Program) -> Floats:
    """Those of all embedded numbers, one column behind the other."""
    each = [c.edges.detach().reshape(-1).numpy() for c in program.front if c.edges is not None]
    return np.concatenate([*each, np.zeros(0, NUMPY[program.dtype])])


def bent_columns(program: Program) -> list[Column]:
    """The embedded numbers."""
    return [c for c in program.front if c.edges is not None]


def view(flat: Floats, like: Tensor, offset: int, *, turned: bool = False) -> Tensor:
    """A tensor of that shape on the buffer; a matrix that is `turned` lies column behind column."""
    numbers = torch.from_numpy(flat[offset : offset + like.numel()])
    return numbers.view(like.shape[::-1]).t() if turned else numbers.view(like.shape)
