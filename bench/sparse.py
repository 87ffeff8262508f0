"""Rows a second of `mbgd.fit` on sparse rows, hashed words as they are, against scikit-learn's SGDClassifier."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier
from torch import nn

import mbgd
from timing import PAIRS, Cell, alone, compare, in_fresh_processes, report

N_ROWS, WIDTH, WORDS = 200_000, 1 << 18, 80
EPOCHS = 3  # of each in a call: a third of a second and more
CELLS = [(1, 0.1, 0.0, None), (32, 1.0, 0.0, 2.0), (32, 1.0, 1e-6, None), (256, 4.0, 0.0, None)]
"""batch size, learning rate, weight decay, the goal; SGDClassifier goes row by row at the first of these rates."""


def measure(pairs: int, n_rows: int, batch_size: int, learning_rate: float, decay: float, goal: float | None) -> Cell:  # noqa: PLR0917
    X, y = data(n_rows)
    losses: dict[str, float] = {}

    def ours() -> None:
        torch.manual_seed(0)
        model = nn.Linear(WIDTH, 1)
        run = mbgd.fit(
            model,
            (X, y),
            loss="log_loss",
            optimizer="sgd",
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=decay,
            epochs=EPOCHS,
            threads=1,
            engine="fused",
        )
        assert "made dense" not in run.engine_reason
        weight, bias = (part.detach().numpy() for part in (model.weight[0], model.bias))
        losses["ours"] = loss_of(X @ weight + bias[0], y)

    def theirs() -> None:
        model = SGDClassifier(
            loss="log_loss",
            penalty="l2" if decay else None,
            alpha=decay,
            learning_rate="constant",
            eta0=CELLS[0][1],
            max_iter=EPOCHS,
            tol=None,
            random_state=0,
        )
        losses["theirs"] = loss_of(model.fit(X, y).decision_function(X), y)

    cell = compare(
        ours,
        theirs,
        name=f"sparse: m = {batch_size}, weight decay {decay:g}, {n_rows:,} rows x {WIDTH:,}",
        labels=("mbgd.fit", "SGDClassifier"),
        amount=(n_rows * EPOCHS, n_rows * EPOCHS),
        goal=goal,
        pairs=pairs,
    )
    none = loss_of(np.zeros(n_rows), y)
    assert max(losses.values()) < 0.97 * none, f"both must learn, got losses {losses}"
    assert losses["ours"] < losses["theirs"] + 0.1 * none, f"both must learn alike, got losses {losses}"
    return cell


def data(n_rows: int) -> tuple[Any, NDArray[np.int64]]:
    """Rows of 80 words, the k-th word as frequent as 1/k, hashed to columns; counts brought to length 1, labels by a line."""
    chance = np.random.default_rng(0)
    share = np.cumsum(1 / np.arange(1, WIDTH + 1))
    word = np.searchsorted(share / share[-1], chance.random(n_rows * WORDS)).clip(0, WIDTH - 1)
    columns = chance.permutation(WIDTH)[word].astype(np.int32)
    starts = np.arange(0, n_rows * WORDS + 1, WORDS, dtype=np.int32)
    X = sp.csr_matrix((np.ones(n_rows * WORDS, np.float32), columns, starts), shape=(n_rows, WIDTH))
    X.sum_duplicates()
    lengths = np.sqrt(np.asarray(X.multiply(X).sum(axis=1))[:, 0])
    X.data /= np.repeat(lengths, np.diff(X.indptr)).astype(np.float32)
    score = 4 * (X @ chance.standard_normal(WIDTH))
    return X, (chance.random(n_rows) < 1 / (1 + np.exp(-score))).astype(np.int64)


def loss_of(scores: NDArray[Any], y: NDArray[np.int64]) -> float:
    return float(np.mean(np.logaddexp(0, scores) - scores * y))


def main() -> None:
    alone()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of runs (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=N_ROWS, help="rows of the matrix (default: %(default)s)")
    parser.add_argument("--cells", type=int, nargs="*", default=range(len(CELLS)), help="numbers of cells, from 0 on")
    given = parser.parse_args()
    report(in_fresh_processes(measure, [(given.pairs, given.rows, *CELLS[cell]) for cell in given.cells]))


if __name__ == "__main__":
    main()
