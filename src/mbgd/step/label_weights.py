"""The weight of each label of a batch: that of its class, or 0 where it is ignored.

B rows of a batch · * positions of a row, none where it has one label
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100  # torch's ignore_index where none is given


@dataclass(frozen=True)
class LabelWeights:
    """The weight of each class, 1 where None, and the label that counts for nothing.

    A row weighs the sum over its positions; its loss is their weighted mean. So the weighted mean over rows is torch's own
    mean over all their positions, and each position pulls alike in whichever batch it falls, however long that is.
    """

    of_class: Tensor | None = None
    ignore: int = IGNORED

    def ignored(self, y: Tensor) -> Tensor | None:
        """True where the label is ignored, shape of y; None where its type cannot hold that label."""
        if not y.is_floating_point() and y.dtype != torch.bool:
            ends = torch.iinfo(y.dtype)
            return y == self.ignore if ends.min <= self.ignore <= ends.max else None
        return y == self.ignore

    def differ(self, y: Tensor) -> bool:
        """Whether some label counts more than another."""
        ignored = self.ignored(y)
        return self.of_class is not None or (ignored is not None and bool(ignored.any()))

    def each(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        """Of every label, shape (B, *)."""
        ignored = self.ignored(y)
        if self.of_class is None:
            return torch.ones(y.shape, dtype=dtype, device=y.device) if ignored is None else (~ignored).to(dtype)
        found = self.of_class.to(y.device)[self.filled(y).long()]
        return found if ignored is None else found.masked_fill(ignored, 0)

    def of_rows(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        """Of every row, shape (B,)."""
        each = self.each(y, dtype)
        return each if each.ndim == 1 else each.flatten(1).sum(1)

    def filled(self, y: Tensor) -> Tensor:
        """The labels with class 0 where they are ignored."""
        ignored = self.ignored(y)
        return y if ignored is None else y.masked_fill(ignored, 0)

    def mean(self, each: Tensor, y: Tensor, *, weighted: bool) -> Tensor:
        """The weighted mean over a row's positions, shape (B,); 0 where they weigh nothing. `weighted`: each is already."""
        weight = self.each(y, each.dtype)
        total = each if weighted else each * weight
        of_row = weight.flatten(1).sum(1)
        return total.flatten(1).sum(1) / of_row.where(of_row > 0, 1)


def divisor_said(loss: str, mean_weight: float) -> str:
    """What an update divides by where labels weigh differently, in a sentence."""
    return (
        f"loss={loss}: a row weighs what its labels do together, each the weight of its class and 0 where it is ignored; an "
        f"update divides by batch_size times what a training row weighs on the average, {mean_weight:.4g}"
    )
