"""scipy's OpenBLAS, found once: which kernels it has, and how many threads it uses while ours run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

SMALL_KERNELS = ("skylakex", "cooperlake", "sapphirerapids")  # AVX-512: small products without packing


@cache
def _library() -> Any:
    """threadpoolctl's handle of the OpenBLAS that scipy brings, None where scipy is built on another BLAS."""
    from scipy.linalg import cython_blas  # noqa: F401  # loads it
    from threadpoolctl import ThreadpoolController

    found = [
        library
        for library in ThreadpoolController().lib_controllers
        if library.internal_api == "openblas" and "numpy.libs" not in (library.filepath or "")
    ]
    ours = [library for library in found if "scipy" in (library.filepath or "")]
    return (ours or found or [None])[0]


def has_small_kernels() -> bool:
    """Whether products of small matrices run without packing: then many small ones are quicker than one large."""
    library = _library()
    return library is not None and str(getattr(library, "architecture", "")).lower() in SMALL_KERNELS


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
