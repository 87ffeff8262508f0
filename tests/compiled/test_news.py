from __future__ import annotations

import sys

import pytest

from mbgd.compiled.news import tell_of_compiling, told_of_compiling


def test_whoever_asked_is_told_while_they_listen() -> None:
    first: list[str] = []
    second: list[str] = []
    with told_of_compiling(first.append):
        tell_of_compiling("float32")
        with pytest.raises(KeyError), told_of_compiling(second.append):
            tell_of_compiling("")
            raise KeyError
        tell_of_compiling("float64")
    tell_of_compiling("float32")
    assert (first, second) == (["float32", "", "float64"], [""])


def test_to_listen_loads_no_compiler() -> None:
    import subprocess

    code = "import mbgd.compiled.news, sys; print({'numba', 'llvmlite', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
