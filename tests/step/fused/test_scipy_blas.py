from __future__ import annotations

import subprocess
import sys

ALONE_FIRST = """
import sys
from mbgd.step.fused.scipy_blas import cython_blas

ours = cython_blas()
assert "scipy.linalg" not in sys.modules
import numpy as np
import scipy.linalg
from scipy.linalg import cython_blas as theirs

assert theirs is scipy.linalg.cython_blas is sys.modules["scipy.linalg.cython_blas"]
assert set(ours.__pyx_capi__) == set(theirs.__pyx_capi__)
assert str(ours.__pyx_capi__["dgemm"]) == str(theirs.__pyx_capi__["dgemm"])
a = np.array([[4.0, 1.0], [1.0, 3.0]])
x = scipy.linalg.solve(a, [1.0, 2.0], assume_a="pos")
assert np.allclose(a @ x, [1, 2])
print("right")
"""
AFTER_SCIPY = """
from scipy.linalg import cython_blas as theirs
from mbgd.step.fused.scipy_blas import cython_blas

print("right" if cython_blas() is theirs else "another")
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_who_imports_scipy_later_gets_it_whole_with_the_same_functions() -> None:
    assert run(ALONE_FIRST) == "right\n"


def test_where_scipy_is_loaded_it_is_the_module_there() -> None:
    assert run(AFTER_SCIPY) == "right\n"
