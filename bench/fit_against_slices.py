"""Rows a second of `mbgd.fit` by autograd against the quickest loop by hand: slices of a tensor shuffled once an epoch."""

from __future__ import annotations

import argparse
from copy import deepcopy

import torch
from torch import Tensor, nn

import mbgd
from timing import PAIRS, Cell, alone, compare, in_fresh_processes, report

LEARNING_RATE, MOMENTUM = 0.01, 0.9
CELLS = [  # batch size, torch's fused SGD in the loop by hand, the share of its speed to keep
    (32, False, 0.90),
    (256, False, None),
    (32, True, None),
    (256, True, None),
]
N_ROWS = 30_000  # a third of a second a call at m = 32: short enough for a pair to drift together


def measure(n_rows: int, pairs: int, batch_size: int, fused: bool, goal: float | None) -> Cell:
    X, y, first = problem(n_rows)
    losses: dict[str, float] = {}

    def ours() -> None:
        model = deepcopy(first)
        mbgd.fit(
            model,
            (X, y),
            loss="squared_error",
            optimizer="sgd",
            momentum=MOMENTUM,
            batch_size=batch_size,
            learning_rate=LEARNING_RATE,
            epochs=1,
            threads=1,
            engine="autograd",  # the same torch calls: what the desk around them costs
        )
        losses["ours"] = loss_of(model, X, y)

    def theirs() -> None:
        model = deepcopy(first)
        train_by_slices(model, X, y, batch_size=batch_size, fused=fused)
        losses["theirs"] = loss_of(model, X, y)

    cell = compare(
        ours,
        theirs,
        name=f"fit: m = {batch_size}, 28-128-128-1, {n_rows:,} rows",
        labels=("mbgd.fit, autograd", "slices by hand, SGD(fused=True)" if fused else "slices by hand"),
        amount=(n_rows, n_rows),
        goal=goal,
        pairs=pairs,
    )
    assert same_work(**losses, before=loss_of(first, X, y)), f"both must learn alike, got losses {losses}"
    return cell


def problem(n_rows: int) -> tuple[Tensor, Tensor, nn.Module]:
    """A target that the network can learn, and its first weights."""
    torch.manual_seed(0)
    X = torch.randn(n_rows, 28)
    y = torch.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    return X, y, nn.Sequential(nn.Linear(28, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))


def train_by_slices(model: nn.Module, X: Tensor, y: Tensor, *, batch_size: int, fused: bool) -> None:
    """One epoch: shuffle all rows at once, cut, forward, loss, zero_grad, backward, step."""
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=fused or None)
    order = torch.randperm(len(X))
    shuffled_X, shuffled_y = X[order], y[order]
    for start in range(0, len(X), batch_size):
        output = model(shuffled_X[start : start + batch_size])[:, 0]
        loss = criterion(output, shuffled_y[start : start + batch_size])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.inference_mode()
def loss_of(model: nn.Module, X: Tensor, y: Tensor) -> float:
    """A sample says enough; it costs both sides the same."""
    return float(nn.functional.mse_loss(model(X[:1000])[:, 0], y[:1000]))


def same_work(ours: float, theirs: float, *, before: float) -> bool:
    """Other orders of the rows, so not the same weights; but as much of the loss gone, to a tenth of what it was."""
    return max(ours, theirs) < before and abs(ours - theirs) < 0.1 * before


def main() -> None:
    alone()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=N_ROWS, help="rows of the data set (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of runs (default: %(default)s)")
    given = parser.parse_args()
    report(in_fresh_processes(measure, [(given.rows, given.pairs, *cell) for cell in CELLS]))


if __name__ == "__main__":
    main()
