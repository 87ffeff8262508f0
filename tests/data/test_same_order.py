"""Law: the order of rows is a function of seed and epoch alone: not of who reads them, how far ahead, or in what batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import mbgd

N, EPOCHS = 150, 2


class Ids(Dataset[Any]):
    """Each row is its number."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return torch.tensor([float(row)]), row


def order(data: Any, **how: Any) -> list[list[int]]:
    """The numbers of the rows as they come, epoch by epoch."""
    loop = mbgd.batches(data, seed=7, **how)
    return [[int(row) for _, y in loop for row in y] for _ in range(EPOCHS)]


ALONE = order(TensorDataset(torch.arange(N)[:, None], torch.arange(N)), batch_size=N // 2)


def test_it_is_a_shuffle_of_its_own_each_epoch() -> None:
    """Compared unsorted below: so it must not be sorted, nor the same twice."""
    for rows in ALONE:
        assert sorted(rows) == list(range(N))
        assert rows != sorted(rows)
    assert ALONE[0] != ALONE[1]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")  # more than this machine has cores
@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("prefetch", [1, 8])
@pytest.mark.parametrize("workers", [0, 1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_whoever_reads_them_rows_come_in_one_order(workers: int, prefetch: int, batch_size: int) -> None:
    """Ids are compared as they come."""
    assert order(Ids(), workers=workers, prefetch=prefetch, batch_size=batch_size) == ALONE


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_whoever_trains_on_them_too(batch_size: int) -> None:
    """The rows of a training, seen by its loss, are those of the loop."""
    seen: list[int] = []

    def loss(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.extend(int(row) for row in y[:, 0])
        return (output - y).square().mean(1)

    x = np.arange(N, dtype=np.float32)[:, None]
    how: Any = {"loss": loss, "batch_size": batch_size, "seed": 7, "learning_rate": 1e-9, "engine": "autograd"}
    mbgd.fit(torch.nn.Linear(1, 1), (x, x), epochs=EPOCHS, **how)
    assert seen[-EPOCHS * N :] == [row for rows in ALONE for row in rows]
