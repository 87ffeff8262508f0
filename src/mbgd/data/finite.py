"""Find the rows whose inputs are NaN or infinite, once a loss has been."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.data.chunk import Chunk
from mbgd.data.source import Rows, inputs_of
from mbgd.data.sparse import csr_of


def not_finite(rows: Rows) -> NDArray[np.bool_]:
    """True for each row with an input that is NaN or infinite, shape (B,)."""
    bad: NDArray[np.bool_] = np.any([_not_finite(leaf) for leaf in inputs_of(rows.x)], axis=0)
    return bad


def inputs_not_finite(chunk: Chunk, batch: int) -> list[int]:
    """The ids of the rows of a batch that have such an input."""
    size, first, start = int(chunk.sizes[batch]), int(chunk.sizes[:batch].sum()), int(chunk.starts[batch])
    wanted = np.arange(start, start + size) if chunk.places is None else chunk.places[first : first + size]
    bad = np.zeros(size, dtype=bool)
    for leaf in inputs_of(chunk.data.x):
        bad |= _not_finite(leaf)[wanted] if leaf.layout == torch.sparse_csr else _not_finite(leaf[wanted])
    found: list[int] = chunk.row_ids(batch)[bad].tolist()
    return found


def _not_finite(leaf: Tensor) -> NDArray[np.bool_]:
    if leaf.layout == torch.sparse_csr:
        csr = csr_of(leaf)
        rows = np.repeat(np.arange(len(csr.starts) - 1), np.diff(csr.starts))
        bad = np.zeros(len(csr.starts) - 1, dtype=bool)
        bad[rows[~np.isfinite(csr.values)]] = True
        return bad
    found: NDArray[np.bool_] = (~torch.isfinite(leaf)).reshape(len(leaf), -1).any(1).cpu().numpy()
    return found
