"""The epoch of a source under a plan: how many rows, and how they are cut into batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mbgd.data.iterable import iterable_of
from mbgd.data.loader import Draws
from mbgd.data.order import IntArray, Tail, steps_per_epoch
from mbgd.data.source import Source
from mbgd.desk.batch_norm import check_batch_norm, chosen_tail
from mbgd.desk.plan import Plan


@dataclass(frozen=True)
class Epoch:
    """`n_rows` are those trained on; `steps` is None for an iterable dataset, of which nobody knows either."""

    n_rows: int
    batch_size: int
    tail: Tail
    steps: int | None


def epoch_of(
    model: nn.Module,
    source: Source,
    *,
    plan: Plan,
    chosen: IntArray | None,
    draws: Draws | None,
    device: torch.device,
) -> Epoch:
    """Raises PlanError and DataError where a batch has too few rows for BatchNorm."""
    n_rows = source.n_rows if chosen is None else len(chosen)
    n_rows = n_rows if draws is None else len(draws)
    batch_size = (
        n_rows if plan.batch_size == "full" else min(plan.batch_size if plan.batch_size != "auto" else 32, n_rows)
    )
    stream = iterable_of(source)
    tail = chosen_tail(plan, model, n_rows, batch_size) if stream is None else stream.tail
    known = n_rows if stream is None else batch_size  # a stream has whole batches, if no other
    check_batch_norm(model, plan, source, n_rows=known, batch_size=batch_size, tail=tail, device=device)
    steps = steps_per_epoch(n_rows, batch_size=batch_size, tail=tail) if stream is None else None
    return Epoch(n_rows, batch_size, tail, steps)
