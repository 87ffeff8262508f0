"""A torch optimizer and large embeddings in, a step that moves only their rows that have a gradient out.

Torch's SparseAdam has the rule: a row without a gradient keeps its weights and its moments, while the count of steps, which
corrects the moments for their start at 0, is that of the whole table. Whatever else a step does to a row, as decay does, it
does to these rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from mbgd.model.table import TableModel, moves_by_rows

KINDS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # whose state has one number for each of a table's


def tables_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The embeddings whose rows move alone: none where the optimizer may keep something for a table as a whole."""
    if type(optimizer) not in KINDS:
        return []
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    models = [module for module in model.modules() if isinstance(module, TableModel)]
    return [t for one in models for t in one.embeddings if id(t) in held and moves_by_rows(t)]


def untouched(tables: Sequence[Tensor]) -> int:
    """How many of their numbers a row of data neither reads nor moves: all but one row of each."""
    return sum(table.numel() - table.shape[1] for table in tables)


@contextmanager
def rows_alone(optimizer: torch.optim.Optimizer, tables: Sequence[Tensor]) -> Iterator[None]:
    """Inside, each table that has a gradient is its rows with one that is not 0, and nothing else."""
    with ExitStack() as stack:
        for table in tables:
            if table.grad is not None:
                stack.enter_context(_rows_alone(optimizer, table))
        yield


@contextmanager
def _rows_alone(optimizer: torch.optim.Optimizer, table: Tensor) -> Iterator[None]:
    gradient, whole = table.grad, table.data
    assert gradient is not None
    rows = gradient.ne(0).any(dim=1).nonzero()[:, 0]  # what is not finite is not 0
    kept = {name: value for name, value in _of_rows(optimizer, table).items() if value.shape == whole.shape}
    _be(table, whole[rows], gradient[rows])
    if kept:
        optimizer.state[table].update({name: value[rows] for name, value in kept.items()})
    try:
        yield
    finally:
        whole[rows] = table.data
        for name, value in _of_rows(optimizer, table).items():
            if value.shape == table.shape:
                optimizer.state[table][name] = kept.get(name, torch.zeros_like(whole)).index_copy_(0, rows, value)
        _be(table, whole, None)


def _of_rows(optimizer: torch.optim.Optimizer, table: Tensor) -> dict[str, Tensor]:
    state = optimizer.state.get(table, {})
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _be(table: Tensor, data: Tensor, gradient: Tensor | None) -> None:
    table.grad = None  # its shape must be that of the numbers
    table.data = data
    table.grad = gradient
