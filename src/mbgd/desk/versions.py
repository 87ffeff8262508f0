"""What the bits of a training depend on besides its plan and data: versions, and which code of theirs this processor runs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import torch

_OF_KERNELS = ("numba", "llvmlite", "scipy")  # what compiles our kernels, and whose matrix products they call


def versions() -> dict[str, str]:
    """What bit-identity depends on. Compilers are asked for the processor's name, which takes some milliseconds."""
    return {
        "mbgd": version("mbgd"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **{name: version(name) for name in _OF_KERNELS},
        "processor": _processor(),
        "blas": _blas(),
    }


def changed_versions(saved: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each version that differs: the resumed run is then exact in order, not in bits."""
    now = versions()
    return tuple(
        f"{name} is {now[name]}, the run was begun with {then}: the same rows in the same order, bits may differ"
        for name, then in saved.items()
        if name != "mbgd" and name in now and now[name] != then
    )


def _processor() -> str:
    """As LLVM names it, for which kernels are compiled."""
    import llvmlite.binding

    name: str = os.environ.get("NUMBA_CPU_NAME") or llvmlite.binding.get_host_cpu_name()
    return name


def _blas() -> str:
    """NumPy's library of matrix products and the kind of processor whose code it runs: SciPy's and NumPy's choose alike, by the
    processor and OPENBLAS_CORETYPE."""
    from threadpoolctl import ThreadpoolController

    found = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
    of_numpy = [library for library in found if "numpy" in (library.filepath or "")]
    for library in of_numpy or found:
        words = (library.internal_api, library.version, getattr(library, "architecture", None))
        return " ".join(str(word) for word in words if word)
    return "unknown"
