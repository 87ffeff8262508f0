"""The same-shape ceiling: the matrix products of one step alone, over and over, through the BLAS that comes with scipy.

Buffers are kept, nothing is gathered, nothing element-wise is done, nothing is learnt. Weights stand as torch keeps them,
(outputs, inputs), or transposed: for each product whichever was quicker at the start. Below some tens of rows a batch a
call of BLAS costs more than its arithmetic, and loops of one's own may be quicker than this.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  loads the library that the address below points into
from numba import njit
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

from peer import Job
from problems import Array

# B rows of a batch · I inputs and O outputs of a layer
SGEMM = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(
    get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
)
LETTERS = {letter: np.frombuffer(letter.encode(), np.uint8).copy() for letter in "NT"}
ZERO, UNIT = np.zeros(1, np.float32), np.ones(1, np.float32)
Product = tuple[Any, ...]


@njit(nogil=True)  # type: ignore[untyped-decorator]
def multiply(product: Product) -> None:
    """c := a b, each as Fortran sees it; sizes = (rows of c, columns of c, inner, leading size of a, of b, of c)."""
    a_form, b_form, a, b, c, sizes = product
    SGEMM(
        a_form.ctypes,
        b_form.ctypes,
        sizes[0:].ctypes,
        sizes[1:].ctypes,
        sizes[2:].ctypes,
        UNIT.ctypes,
        a.ctypes,
        sizes[3:].ctypes,
        b.ctypes,
        sizes[4:].ctypes,
        ZERO.ctypes,
        c.ctypes,
        sizes[5:].ctypes,
    )


@njit(nogil=True)  # type: ignore[untyped-decorator]
def multiply_all(products: list[Product], steps: int) -> None:
    for _ in range(steps):
        for product in products:
            multiply(product)


def step_of(widths: tuple[int, ...], batch_size: int, *, turned: bool) -> list[Product]:
    """Every product of forward and backward, in order. Row-major (B, O) is (O, B) to Fortran."""
    B, pairs = batch_size, list(pairwise(widths))
    chance = np.random.default_rng(0)
    values = [chance.standard_normal((B, width), dtype=np.float32) for width in widths]
    deltas = [np.zeros_like(value) for value in values]
    weights = [chance.standard_normal(pair, dtype=np.float32) / 16 for pair in pairs]
    gradients = [np.zeros_like(weight) for weight in weights]
    forward = [
        _product("N" if turned else "T", "N", (W, x, out), (O, B, I, O if turned else I, I, O))
        for (I, O), W, x, out in zip(pairs, weights, values, values[1:], strict=False)  # noqa: E741
    ]
    backward = []
    for layer, (I, O) in reversed(list(enumerate(pairs))):  # noqa: E741
        x, d, W, g = values[layer], deltas[layer + 1], weights[layer], gradients[layer]
        sides, sizes = ((d, x, g), (O, I, B, O, I, O)) if turned else ((x, d, g), (I, O, B, I, O, I))
        backward.append(_product("N", "T", sides, sizes))
        if layer > 0:  # nobody needs the gradient by the inputs
            form, leading = ("T", O) if turned else ("N", I)
            backward.append(_product(form, "N", (W, d, deltas[layer]), (I, B, O, leading, O, I)))
    return forward + backward


def _product(a_form: str, b_form: str, sides: tuple[Array, ...], sizes: tuple[int, ...]) -> Product:
    return LETTERS[a_form], LETTERS[b_form], *(side.reshape(-1) for side in sides), np.array(sizes, np.int32)


class Ceiling:
    def __init__(self, job: Job) -> None:
        self.batch_size = job.batch_size
        ways = [step_of(job.problem.widths, job.batch_size, turned=turned) for turned in (False, True)]
        self.products = [min(pair, key=best_seconds(job.batch_size)) for pair in zip(*ways, strict=True)]

    def train(self, n_rows: int, epochs: int) -> int:
        steps = n_rows * epochs // self.batch_size
        multiply_all(self.products, steps)
        return steps * self.batch_size

    def outputs(self, inputs: list[Array]) -> NDArray[np.float32] | None:
        return None

    def facts(self) -> dict[str, Any]:
        return {}


def best_seconds(batch_size: int) -> Callable[[Product], float]:
    """The time of one product on the CPU, which other processes at their start do not lengthen; the best of five."""
    times = 10 + 8_192 // batch_size

    def measured(product: Product) -> float:
        multiply_all([product], times)
        return min(_cpu_seconds(product, times) for _ in range(5))

    return measured


def _cpu_seconds(product: Product, times: int) -> float:
    start = time.process_time()
    multiply_all([product], times)
    return time.process_time() - start


def make(job: Job) -> Ceiling:
    return Ceiling(job)
