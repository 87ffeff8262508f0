"""scipy's OpenBLAS, found once, and how many threads it uses while our kernels run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from mbgd.step.fused.scipy_blas import cython_blas


@cache
def _library() -> Any:
    """threadpoolctl's handle of the OpenBLAS that scipy brings, None where scipy is built on another BLAS."""
    from threadpoolctl import ThreadpoolController

    cython_blas()  # loads it
    found = [
        library
        for library in ThreadpoolController().lib_controllers
        if library.internal_api == "openblas" and "numpy.libs" not in (library.filepath or "")
    ]
    ours = [library for library in found if "scipy" in (library.filepath or "")]
    return (ours or found or [None])[0]


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """So many threads inside, as many as before afterwards."""
    library = _library()
    before = None if library is None else library.get_num_threads()
    if library is None or before == count:
        yield
        return
    library.set_num_threads(count)
    try:
        yield
    finally:
        library.set_num_threads(before)
