"""Two simple predictors of a target, a constant and a linear model, so that every score has something to stand beside.

N rows of the table · B some of them · F numbers · C categorical columns · D columns of the design · K outputs
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mbgd.data.order import IntArray
from mbgd.data.powers import Powers, powers, scaled

Array = NDArray[np.float64]
Predictor = Callable[[IntArray], Array]
"""Row numbers -> what a `Scorer` of that kind takes: means (B,), probabilities of class 1 (B,), or of all (B, classes)."""

MAX_ROWS = 100_000
MAX_CELLS = 20_000_000  # rows x columns that a fit looks at: 80 MB, about a second
MAX_ONE_HOT = 512
MAX_NUMBERS = 1024
BLOCK = 8192  # rows encoded at once
FLOAT32 = 60  # the power of two from which on sums of products with targets may leave float32


def dumb(
    kind: str, y: ArrayLike, *, training_rows: IntArray, w: ArrayLike | None = None, n_classes: int | None = None
) -> Predictor:
    """The weighted mean of y, or the share of each class, whatever the row: its accuracy is that of the majority."""
    y_N = np.asarray(y)
    targets = _one_hot(y_N, n_classes)[training_rows] if kind == "multiclass" else y_N[training_rows]
    constant = np.average(
        targets.astype(np.float64), axis=0, weights=None if w is None else np.asarray(w)[training_rows]
    )
    return lambda rows: np.broadcast_to(constant, (len(rows), *np.shape(constant)))


def linear(
    kind: str,
    y: ArrayLike,
    *,
    numbers: NDArray[np.float32],
    codes: IntArray,
    cardinalities: tuple[int, ...],
    training_rows: IntArray,
    w: ArrayLike | None = None,
    n_classes: int | None = None,
) -> Predictor:
    """Ridge or logistic regression on the encoded columns, categories one-hot; penalty 1/2 |theta|^2 against a sum over rows.

    numbers (N, F), codes (N, C). At most 100,000 training rows, by stride, and 512 category values, the most frequent;
    fewer rows where columns are many. In size and optimum scikit-learn's Ridge(alpha=1) and LogisticRegression(C=1).
    """
    y_N = np.asarray(y)
    design = _design(numbers, codes, cardinalities, training_rows)
    rows = training_rows[:: _stride(len(training_rows), design.width)]
    w_B = torch.from_numpy(np.ones(len(rows)) if w is None else np.asarray(w, np.float64)[rows])
    w_B = w_B / w_B.mean()  # so that the penalty means the same whatever the unit of the weights
    x_BD = torch.from_numpy(design.of(rows))
    mean_D = (w_B.float() @ x_BD / w_B.sum()).float()
    x_BD -= mean_D
    power = (
        powers(y_N[rows] - y_N[rows].mean(axis=0), beyond=FLOAT32) if kind == "regression" else np.zeros((), np.int64)
    )
    if kind == "regression":
        theta, intercept = _ridge(x_BD, torch.from_numpy(scaled(y_N[rows], -power)), w_B)
    else:
        targets = _one_hot(y_N, n_classes)[rows] if kind == "multiclass" else y_N[rows, None].astype(np.float64)
        theta, intercept = _logistic(x_BD, torch.from_numpy(targets), w_B)
    shift = intercept - mean_D.double() @ theta
    return _predictor(kind, design, theta, shift, power=power)


def _predictor(kind: str, design: _Design, theta: Tensor, shift: Tensor, *, power: Powers) -> Predictor:
    def predict(rows: IntArray) -> Array:
        blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)] or [rows]
        output = torch.cat([_times(torch.from_numpy(design.of(block)), theta) for block in blocks]) + shift
        if kind == "multiclass":
            output = torch.softmax(output, 1)
        elif kind == "binary":
            output = torch.sigmoid(output)
        return scaled((output[:, 0] if output.shape[1] == 1 else output).numpy(), power)

    return predict


@dataclass(frozen=True)
class _Design:
    """Numbers as they are, and a column for each of the most frequent category values."""

    numbers: NDArray[np.float32]
    codes: IntArray
    chosen: IntArray  # which numbers
    place: IntArray  # column of the design of every value of every categorical column; `width` where it has none
    offsets: IntArray  # (C,) where each categorical column's values begin in `place`
    width: int

    def of(self, rows: IntArray) -> NDArray[np.float32]:
        """The design of some rows, shape (B, D)."""
        x = np.zeros(
            (len(rows), self.width + 1), np.float32
        )  # the last column takes the values without one of their own
        numbers = self.numbers[rows]
        x[:, : len(self.chosen)] = numbers if len(self.chosen) == numbers.shape[1] else numbers[:, self.chosen]
        places = (
            self.place[self.codes[rows] + self.offsets] if len(self.offsets) else np.zeros((len(rows), 0), np.int64)
        )
        x[np.arange(len(rows))[:, None], places] = 1
        return x[:, :-1]


def _design(numbers: NDArray[np.float32], codes: IntArray, cardinalities: tuple[int, ...], rows: IntArray) -> _Design:
    sample = rows[:: _stride(len(rows), 1)]
    n_numbers = numbers.shape[1]
    chosen = np.arange(n_numbers) if n_numbers <= MAX_NUMBERS else _most_varied(numbers[sample[:BLOCK]])
    offsets = np.cumsum([0, *cardinalities])
    counts = np.zeros(int(offsets[-1]), np.int64)
    for c, n_values in enumerate(cardinalities):
        counts[offsets[c] : offsets[c + 1]] = np.bincount(codes[sample, c], minlength=n_values)
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MAX_ONE_HOT])
    frequent = frequent[counts[frequent] > 0]
    width = len(chosen) + len(frequent)
    place = np.full(len(counts), width, np.int64)
    place[frequent] = len(chosen) + np.arange(len(frequent))
    return _Design(numbers, codes, chosen, place, offsets[:-1], width)


def _most_varied(numbers: NDArray[np.float32]) -> IntArray:
    return np.sort(np.argsort(-numbers.var(0), kind="stable")[:MAX_NUMBERS])


def _stride(n_rows: int, width: int) -> int:
    return max(1, -(-n_rows // min(MAX_ROWS, max(1, MAX_CELLS // max(1, width)))))


def _one_hot(y_N: NDArray[Any], n_classes: int | None) -> Array:
    return np.eye(n_classes or int(y_N.max()) + 1)[y_N.astype(np.int64)]


def _gram(x_BD: Tensor, w_B: Tensor) -> Tensor:
    """X' W X in float64, block by block: in float32 its rounding would drown the penalty."""
    total = torch.zeros(x_BD.shape[1], x_BD.shape[1], dtype=torch.float64)
    for at in range(0, len(x_BD), BLOCK):
        weighted = x_BD[at : at + BLOCK].double() * w_B[at : at + BLOCK, None].sqrt()
        total.addmm_(weighted.T, weighted)
    return total


def _penalised(gram_DD: Tensor) -> Tensor:
    """Plus the identity; more where columns are so large that it would be lost in rounding, and the matrix singular."""
    largest = float(gram_DD.diagonal().max()) if len(gram_DD) else 0.0
    return gram_DD + max(1.0, 1e-11 * largest) * torch.eye(len(gram_DD), dtype=torch.float64)


def _ridge(x_BD: Tensor, y: Tensor, w_B: Tensor) -> tuple[Tensor, Tensor]:
    """(X' W X + I) theta = X' W y around the means: the penalty leaves the intercept alone."""
    mean = w_B @ y / w_B.sum()
    pull_BK = (y - mean).reshape(len(y), -1) * w_B[:, None]
    factor = torch.linalg.cholesky(_penalised(_gram(x_BD, w_B)))
    return torch.cholesky_solve(_transposed_times(x_BD, pull_BK), factor), mean.reshape(-1)


def _logistic(x_BD: Tensor, target_BK: Tensor, w_B: Tensor) -> tuple[Tensor, Tensor]:
    """L-BFGS on the penalised log loss, in coordinates in which X' W X / 4 + I, a bound of the Hessian (Bohning and
    Lindsay 1988), is the identity: about fifteen steps whatever the columns. Intercept free, in the row after the last.
    """
    n_columns, n_outputs = x_BD.shape[1], target_BK.shape[1]
    bound = torch.zeros(n_columns + 1, n_columns + 1, dtype=torch.float64)
    bound[:-1, :-1] = _penalised(_gram(x_BD, w_B) / 4)
    bound[-1, -1] = w_B.sum() / 4
    back = torch.linalg.inv(torch.linalg.cholesky(bound)).T.contiguous()  # coordinates -> (theta, intercept)
    place = torch.zeros(n_columns + 1, n_outputs, dtype=torch.float64, requires_grad=True)
    enough = 1e-7 * len(x_BD)  # a change of 1e-7 in the mean loss moves no digit that is shown
    solver = torch.optim.LBFGS([place], max_iter=30, tolerance_change=enough, line_search_fn="strong_wolfe")

    def value() -> float:  # leaves the gradient where the solver looks for it
        both = back @ place.detach()
        theta, intercept = both[:-1], both[-1]
        output_BK = _times(x_BD, theta) + intercept
        loss_B, residual_BK = _log_loss(output_BK, target_BK)
        residual_BK *= w_B[:, None]
        pull = torch.cat([_transposed_times(x_BD, residual_BK) + theta, residual_BK.sum(0, keepdim=True)])
        place.grad = back.T @ pull
        return float(w_B @ loss_B + theta.square().sum() / 2)

    solver.step(value)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    both = back @ place.detach()
    return both[:-1], both[-1]


# A product with few columns is four times as fast where those columns lie one behind the other in memory.


def _times(x_BD: Tensor, theta_DK: Tensor) -> Tensor:
    return (x_BD @ theta_DK.T.float().contiguous().T).double()


def _transposed_times(x_BD: Tensor, right_BK: Tensor) -> Tensor:
    return (right_BK.T.float().contiguous() @ x_BD).T.double()


def _log_loss(output_BK: Tensor, target_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of each row and its derivative by the outputs: logistic for one output, cross-entropy for several."""
    if output_BK.shape[1] == 1:
        softplus_B = torch.nn.functional.softplus(output_BK[:, 0])
        return softplus_B - target_BK[:, 0] * output_BK[:, 0], torch.sigmoid(output_BK) - target_BK
    log_p_BK = torch.log_softmax(output_BK, 1)
    return -(target_BK * log_p_BK).sum(1), log_p_BK.exp() - target_BK
