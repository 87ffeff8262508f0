"""Optimizers are made inside without the second or more that torch spends, at the first of them, on loading its compiler."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_MARK = "__dynamo_disable"  # of torch/_compile.py; where torch calls it otherwise, making an optimizer is slow, no more


@contextmanager
def light_start() -> Iterator[None]:
    """torch marks `add_param_group` as not to be compiled when it is first called, and imports its whole compiler to make
    that mark. Where nobody has loaded the compiler, nothing is being compiled: inside, the method stands for its own mark.
    Afterwards it has none, so that torch makes the true one should it come to that."""
    method: Any = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if method is None or "torch._dynamo" in sys.modules or hasattr(method, _MARK):
        yield
        return
    setattr(method, _MARK, method)
    try:
        yield
    finally:
        delattr(method, _MARK)
