"""Rows a second of `mbgd.batches` against the DataLoader that everybody writes: the loader alone, no model."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import mbgd
from timing import PAIRS, Cell, alone, compare, in_fresh_processes, report

CELLS: list[
    tuple[int, int, int, float, int]
] = [  # rows, columns, batch size, goal, epochs of ours in a call (one is too short to time)
    (200_000, 28, 32, 15.0, 4),
    (200_000, 28, 256, 30.0, 8),
    (20_000, 784, 32, 5.0, 4),
    (20_000, 784, 256, 5.0, 4),
]


def measure(pairs: int, n_rows: int, n_columns: int, batch_size: int, goal: float, epochs: int) -> Cell:  # noqa: PLR0917
    X, y = data(n_rows, n_columns)
    ours = mbgd.batches((X, y), batch_size=batch_size, seed=0)
    theirs = DataLoader(TensorDataset(X, y), batch_size=batch_size, shuffle=True)
    assert all(sum(len(y) for _, y in side) == n_rows for side in (ours, theirs))
    return compare(
        lambda: walk(ours, epochs=epochs),
        lambda: walk(theirs),
        name=f"batches: m = {batch_size}, {n_columns} columns x {n_rows:,} rows",
        labels=("mbgd.batches", "DataLoader(TensorDataset)"),
        amount=(n_rows * epochs, n_rows),
        goal=goal,
        pairs=pairs,
    )


def data(n_rows: int, n_columns: int) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    return torch.randn(n_rows, n_columns, generator=chance), torch.randn(n_rows, generator=chance)


def walk(batches: Iterable[Any], *, epochs: int = 1) -> None:
    """Every batch in hand once an epoch."""
    for _ in range(epochs):
        for _x, _y in batches:
            pass


def main() -> None:
    alone()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of runs (default: %(default)s)")
    pairs = parser.parse_args().pairs
    report(in_fresh_processes(measure, [(pairs, *cell) for cell in CELLS]))


if __name__ == "__main__":
    main()
