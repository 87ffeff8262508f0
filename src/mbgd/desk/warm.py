"""Compile every kernel of the fused engine ahead for given number types, and say where they are kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from mbgd.compiled.news import told_of_compiling
from mbgd.desk.run import fit
from mbgd.errors import PlanError, did_you_mean

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Warmth(NamedTuple):
    """Where kernels are kept, why not in the user's cache ("" where they are), how many were compiled now, and in what time."""

    folder: Path
    why_temporary: str
    compiled: int
    seconds: float


def warm(dtypes: Sequence[str] = tuple(DTYPES)) -> Warmth:
    """Compile what is not on disk yet. Raises PlanError for a type that has no kernels."""
    for name in dtypes:
        if name not in DTYPES:
            hint = did_you_mean(name, DTYPES) or f"; the types are {' and '.join(DTYPES)}"
            raise PlanError(f"dtype must be a type that has kernels, got {name!r}{hint}")
    from mbgd.compiled.cache import place

    started, here, compiled = time.perf_counter(), place(), list[str]()
    with told_of_compiling(compiled.append):
        for name in dtypes:
            _leaves(DTYPES[name])
            _loops(DTYPES[name])
    return Warmth(here.folder, here.why_temporary, len(compiled), time.perf_counter() - started)


def _leaves(dtype: torch.dtype) -> None:
    """Every leaf of every file that the engine has loaded: those of all activations, losses and optimizers."""
    from mbgd.compiled.kernel import Leaf
    from mbgd.step.fused import step
    from mbgd.step.fused.arena import NUMPY

    room = step.__name__.rpartition(".")[0] + "."
    files = [module for name, module in list(sys.modules.items()) if name.startswith(room)]
    for leaf in {leaf for module in files for leaf in vars(module).values() if isinstance(leaf, Leaf)}:
        leaf.address(NUMPY[dtype])


def _loops(dtype: torch.dtype) -> None:
    """The loops over batches are compiled by running them: through a network and a linear model, the latter also one row by
    one, on dense and sparse rows; the loop that predicts by validation rows, and the one that looks at labels by classes."""
    import numpy as np
    from scipy.sparse import csr_array

    from mbgd.data.columns import ends, mean_and_variance, scaled

    x = torch.linspace(-1, 1, 8, dtype=dtype).reshape(4, 2)
    own = x.numpy()
    ends(own)
    scaled(own, *mean_and_variance(own), bound=np.ones(2), dtype=own.dtype)
    with torch.random.fork_rng(devices=()):
        network, linear = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), nn.Linear(2, 1)
        for net, m in ((network, 2), (linear, 2), (linear, 1)):
            for rows in (x, csr_array(x.numpy())):
                made, data = net.to(dtype), (rows, x[:, 0])
                fit(made, data, loss="squared_error", epochs=1, batch_size=m, validation=0.25, engine="fused")
        classes = nn.Linear(2, 2).to(dtype)
        fit(classes, (x, torch.arange(4) % 2), loss="log_loss", epochs=1, batch_size=2, engine="fused")
