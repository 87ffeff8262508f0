"""Memory for chunks: a shape in, a tensor out that lies where an earlier chunk lay, once nobody holds that any more.

Fresh memory costs a page fault every 4 KiB, which takes longer than gathering the rows into it.
"""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Block = NDArray[np.uint8]
CACHE_LINE = 64
KEPT = 8  # blocks that wait for their next use: x, y and weights of a few chunks


class Memory:
    """Blocks lent out, and taken back when the last view of the tensor that lies on them is gone."""

    def __init__(self) -> None:
        self._free: deque[Block] = deque(maxlen=KEPT)  # its single operations are safe between threads
        self._lent: dict[int, weakref.ref[Block]] = {}

    def empty(self, like: Tensor, *, rows: int) -> Tensor:
        """An uninitialised tensor, shape (rows, ...) with the dtype of `like`, at the start of a cache line."""
        n_bytes = rows * like[:1].numel() * like.element_size()
        block = self._take(n_bytes)
        lease = block[:n_bytes]  # an array of its own: torch keeps it for as long as any view of the tensor lives
        key = id(lease)

        def take_back(_: weakref.ref[Block]) -> None:
            del self._lent[key]
            self._free.append(block)

        self._lent[key] = weakref.ref(lease, take_back)
        return torch.from_numpy(lease).view(like.dtype).view(rows, *like.shape[1:])

    def _take(self, n_bytes: int) -> Block:
        for _ in range(len(self._free)):
            try:
                block = self._free.popleft()
            except IndexError:  # another thread was quicker
                break
            if n_bytes <= block.nbytes <= 2 * n_bytes:
                return block
            self._free.append(block)
        raw = np.empty(n_bytes + CACHE_LINE, np.uint8)
        start = -raw.ctypes.data % CACHE_LINE
        return raw[start : start + n_bytes]
