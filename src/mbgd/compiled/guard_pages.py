"""Lend a kernel arrays that lie between pages that nothing may touch: one access outside ends the process.

For tests alone, where the environment variable MBGD_CHECK_BOUNDS is 1; Linux and macOS. Numba's own bounds checks, which are
compiled in then, see what is read by an index; what goes by a pointer, as in leaves, vectors and BLAS, the processor sees here.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

IS_CHECKED: Final = os.environ.get("MBGD_CHECK_BOUNDS") == "1"  # as this process was started
GAP = 1 << 26  # bytes between two arrays; they take addresses and no memory
PAGE = mmap.PAGESIZE
_NOTHING, _PRIVATE, _FAILED = 0, 0x02, ctypes.c_void_p(-1).value
Array = NDArray[Any]


class Guarded:
    """`compiled`, called twice for each call: on copies that begin where the pages before them end, whose results are dropped,
    and on copies that end where the pages behind them begin, whose results are written back."""

    def __init__(self, compiled: Callable[..., Any]) -> None:
        self.compiled: Final = compiled

    def __call__(self, *arguments: Any) -> Any:
        groups = _groups(list(_arrays(arguments)))
        with _copies(groups, at_end=False) as places:
            self.compiled(*(_moved(argument, places) for argument in arguments))
        with _copies(groups, at_end=True) as places:
            found = self.compiled(*(_moved(argument, places) for argument in arguments))
            for start, size in groups:
                ctypes.memmove(start, places[start], size)
        return found


Group = tuple[int, int]  # address and bytes of arrays that lie over each other


def _arrays(value: Any) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _arrays(part)


def _span(array: Array) -> Group:
    ends = ((n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True))
    return array.ctypes.data, sum(ends) + array.itemsize  # kernels are lent no array that runs backwards


def _groups(arrays: list[Array]) -> list[Group]:
    """Arrays that share memory share their copy, or what a kernel writes to one of them would not be seen in the other."""
    groups: list[Group] = []
    for start, size in sorted({_span(array) for array in arrays if array.size}):
        if groups and start < sum(groups[-1]):
            first, before = groups[-1]
            groups[-1] = first, max(before, start + size - first)
        else:
            groups.append((start, size))
    return groups


@contextmanager
def _copies(groups: list[Group], *, at_end: bool) -> Iterator[dict[int, int]]:
    """Address of each group -> address of its copy; 0 -> an address where nothing may be read, for arrays without entries."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype, libc.mmap.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long],
    )
    rooms = [-(-size // PAGE) * PAGE for _, size in groups]
    whole = GAP + sum(room + GAP for room in rooms)
    flags = _PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    base = libc.mmap(None, whole, _NOTHING, flags, -1, 0)
    if base == _FAILED:
        raise MemoryError(os.strerror(ctypes.get_errno()))
    try:
        places, here = {0: base}, base + GAP
        for (start, size), room in zip(groups, rooms, strict=True):
            libc.mprotect(ctypes.c_void_p(here), ctypes.c_size_t(room), mmap.PROT_READ | mmap.PROT_WRITE)
            places[start] = here + (room - size if at_end else 0)
            ctypes.memmove(places[start], start, size)
            here += room + GAP
        yield places
    finally:
        libc.munmap(ctypes.c_void_p(base), ctypes.c_size_t(whole))


def _moved(value: Any, places: dict[int, int]) -> Any:
    """The same value with every array replaced by a view of its copy."""
    if isinstance(value, tuple):
        parts = [_moved(part, places) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if not isinstance(value, np.ndarray):
        return value
    own = value.ctypes.data if value.size else 0
    group = max(start for start in places if start <= own)
    buffer: Any = (ctypes.c_char * max(1, value.nbytes)).from_address(places[group] + own - group)
    view: Array = np.ndarray(value.shape, value.dtype, buffer, 0, value.strides if value.size else None)
    view.flags.writeable = value.flags.writeable
    return view
