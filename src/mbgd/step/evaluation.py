"""A model in, the same model in evaluation mode for a while; afterwards every submodule is in the mode it had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each submodule is in the mode in which it was, frozen ones too."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True  # not train(), which a user's module may override and which sets its children
