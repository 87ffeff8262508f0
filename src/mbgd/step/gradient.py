"""One batch in, the gradient of its update out, in `.grad` with the losses or as a value; the only place that divides.

B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mbgd.data.chunk import Batch
from mbgd.data.source import Rows, call, mapped

LossPerRow = Callable[[Any, Any], Tensor]  # what the model returns and the targets of a batch in, (B,) out
Forward = Callable[..., Any]


@dataclass(frozen=True)
class GradientRule:
    """How a batch becomes a gradient. `mean_weight` is the mean row weight of all training rows, 1 without weights."""

    loss: LossPerRow
    mean_weight: float = 1.0
    micro_batch: int | None = None
    bf16: bool = False


def accumulate(forward: Forward, batch: Batch, rule: GradientRule) -> Tensor:
    """Add the batch's gradient to `.grad`; return the loss of each row, shape (B,), detached and unweighted.

    g = (1 / (m wbar)) * sum over the batch of w_i grad l_i, with m the batch size (of a short last batch too) and wbar
    the mean row weight: each row pulls equally wherever it falls, and a split into micro-batches adds up to the same
    sum. The division is in the vector that backpropagation starts from, so no mean is ever taken of means.
    """
    divisor = batch.divisor * rule.mean_weight  # fixed before any backward, so a short last part stays exact
    if rule.micro_batch is None:
        return _backward(forward, batch.data, rule, divisor)
    return torch.cat([_backward(forward, part, rule, divisor) for part in _split(batch.data, rule.micro_batch)])


def gradient_of(forward: Forward, batch: Batch, rule: GradientRule, trained: Sequence[Tensor]) -> list[Tensor]:
    """The same gradient as values, one a trained tensor, and no `.grad` touched; zeros where no loss depends on it."""
    divisor = batch.divisor * rule.mean_weight
    parts = [batch.data] if rule.micro_batch is None else _split(batch.data, rule.micro_batch)
    total = [torch.zeros_like(tensor) for tensor in trained]
    for part in parts:
        loss_B, pull_B = _pulled(forward, part, rule, divisor)
        for so_far, found in zip(total, torch.autograd.grad(loss_B, trained, pull_B, allow_unused=True), strict=True):
            if found is not None:
                so_far.add_(found)  # of an embedding it may be sparse, which adds as well
    return total


def _backward(forward: Forward, rows: Rows, rule: GradientRule, divisor: float) -> Tensor:
    loss_B, pull_B = _pulled(forward, rows, rule, divisor)
    loss_B.backward(pull_B)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return loss_B.detach()


def _pulled(forward: Forward, rows: Rows, rule: GradientRule, divisor: float) -> tuple[Tensor, Tensor]:
    """(loss, what its gradient is multiplied with) of each row, shape (B,)."""
    assert rows.y is not None  # the desk refuses data without targets
    with _precision(rows, rule):
        output = call(forward, rows.x)
    loss_B = rule.loss(mapped(output, _as_float) if rule.bf16 else output, rows.y)
    return loss_B, torch.full_like(loss_B, 1.0 / divisor) if rows.w is None else rows.w.to(loss_B.dtype) / divisor


def _as_float(output: Tensor) -> Tensor:
    return output.float() if output.is_floating_point() else output


def _split(rows: Rows, size: int) -> Iterator[Rows]:
    for leaves in zip(*(torch.split(leaf, size) for leaf in rows.leaves()), strict=True):
        yield rows.filled(leaves)


def _precision(rows: Rows, rule: GradientRule) -> AbstractContextManager[Any]:
    if not rule.bf16:
        return nullcontext()
    return torch.autocast(rows.leaves()[0].device.type, dtype=torch.bfloat16)
