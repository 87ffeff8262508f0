"""What is not finite in inputs, targets and validation rows: named by row, never a silent score, left to modules that take it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mbgd
from mbgd import DataError, DivergenceError, PlanError
from problems import arrays, mlp

N, WIDTH = 60, 4
X, Y, _ = (torch.tensor(part, dtype=torch.float32) for part in arrays(N, WIDTH))
NAN, INF = float("nan"), float("inf")
WORDS: dict[str, Any] = {"loss": "squared_error", "learning_rate": 0.01, "batch_size": 8, "epochs": 3}


def net() -> nn.Module:
    return mlp(WIDTH, dtype=torch.float32)


def spoilt(*rows: int, value: float = NAN) -> Tensor:
    x = X.clone()
    for row in rows:
        x[row, row % WIDTH] = value
    return x


class Rows(torch.utils.data.Dataset[Any]):
    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return self.x[row], Y[row]


class Dicts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = self.inner(a + b)
        return out


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("batch_size", [1, 8, "full"])
def test_the_row_of_x_is_named(value: float, engine: str, batch_size: Any) -> None:
    words = {**WORDS, "batch_size": batch_size, "engine": engine}
    with pytest.raises(DivergenceError, match=r"; X is not finite in row 37: fill those values or leave the rows out"):
        mbgd.fit(net(), (spoilt(37, value=value), Y), **words)


def test_by_every_door() -> None:
    x = spoilt(5, 37, value=INF)
    doors = {
        "tensors": lambda: mbgd.fit(net(), TensorDataset(x, Y), **WORDS | {"batch_size": "full"}),
        "a dataset": lambda: mbgd.fit(net(), Rows(x), **WORDS | {"batch_size": "full"}),
        "several inputs": lambda: mbgd.fit(Dicts(), ({"a": X, "b": x}, Y), **WORDS | {"batch_size": "full"}),
        "steps": lambda: list(mbgd.steps(net(), (x, Y), **WORDS | {"batch_size": "full"})),
        "sparse": lambda: mbgd.fit(net(), (sp.csr_array(x.numpy()), Y), **WORDS | {"batch_size": "full"}),
        "sparse as they lie": lambda: mbgd.fit(
            nn.Linear(WIDTH, 1),
            (sp.csr_array(x.numpy()), Y),
            **WORDS | {"batch_size": N - 1, "tail": "drop", "seed": 1},
        ),
    }
    for name, door in doors.items():
        with pytest.raises(DivergenceError) as said:
            door()  # type: ignore[no-untyped-call]
        assert re.search(r"X is not finite in rows (5, 37|37, 5): fill those values", str(said.value)), name


def test_where_x_is_finite_the_sentence_is_the_old_one() -> None:
    with pytest.raises(DivergenceError, match="lower learning_rate, set clip_norm, or look at those rows"):
        mbgd.fit(net(), (X, Y), **WORDS | {"learning_rate": 1e30})


class Filling(nn.Module):
    """A module that takes missing values itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(torch.nan_to_num(x))
        return out


def test_a_module_may_take_missing_values_itself() -> None:
    x = spoilt(5, 37)
    run = mbgd.fit(Filling(), (x, Y), **WORDS, validation=(x, Y))
    assert np.isfinite(run.history["validation_rmse"]).all()
    assert np.isfinite(run.predict(x)).all()


@pytest.mark.parametrize("value", [NAN, INF])
def test_validation_rows_that_cannot_be_scored_are_named(value: float, tmp_path: Path) -> None:
    x, mask = spoilt(11, 12, value=value), np.zeros(N, dtype=bool)
    mask[[3, 11, 12]] = True
    of_own = (
        "validation rows must have a finite loss, got none in rows 11, 12 of validation=(X, y), whose X is not finite"
    )
    with pytest.raises(DataError, match=re.escape(of_own)):
        mbgd.fit(nn.Linear(WIDTH, 1), (X, Y), **WORDS, validation=(x, Y), patience=2)
    with pytest.raises(
        DataError, match=r"in rows 11, 12 of data, held out for validation, whose X is not finite; fill"
    ):
        mbgd.fit(nn.Linear(WIDTH, 1), (x, Y), **WORDS, validation=mask, out=tmp_path / "run")
    assert (tmp_path / "run" / "plan.json").exists()


class Odd(nn.Module):
    """NaN for some rows whose inputs are finite."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out if self.training else torch.where(x[:, :1] > 1.5, NAN, out)


def test_and_so_are_rows_of_which_the_model_makes_no_number() -> None:
    row = int(np.flatnonzero(X[:, 0].numpy() > 1.5)[0])
    with pytest.raises(DataError, match=rf"in rows? {row}\b.*though X is finite"):
        mbgd.fit(Odd(), (X, Y), **WORDS, validation=(X, Y))


@pytest.mark.parametrize(
    ("y", "where", "words"),
    [
        (NAN, "training", r"^y must be finite in float32, got nan in row 9;"),
        (INF, "training", r"^y must be finite in float32, got inf in row 9;"),
        (NAN, "validation", r"^y of validation must be finite in float32, got nan in row 9;"),
    ],
)
def test_targets_are_named_before_training(y: float, where: str, words: str) -> None:
    bad = Y.clone()
    bad[9] = y
    with pytest.raises(DataError, match=words):
        mbgd.fit(net(), (X, bad if where == "training" else Y), **WORDS, validation=(X, bad))


def test_a_metric_without_a_value_is_refused_and_not_waited_for() -> None:
    labels = (Y > 0).float()
    held = (X[labels == 1], labels[labels == 1])
    words = WORDS | {"loss": "log_loss", "validation": held, "patience": 2}
    with pytest.raises(
        PlanError, match=r"metric must be defined for the validation rows, got 'roc_auc', which is no number"
    ):
        mbgd.fit(net(), (X, labels), **words, metric="roc_auc")
    assert np.isnan(mbgd.fit(net(), (X, labels), **words).scores["validation"]["roc_auc"])  # where it decides nothing
    weight = np.ones(N)
    weight[:5] = 0
    with pytest.raises(DataError, match="validation rows must weigh something"):
        mbgd.fit(net(), (X, Y, weight), **WORDS, validation=np.arange(N) < 5)


def test_an_infinite_loss_of_finite_rows_is_a_bad_score_and_no_fault() -> None:
    """e^o of a far row overflows float32 at first; it is merely worse than any number."""
    x = X.clone()
    x[4] = 60.0
    model = nn.Linear(WIDTH, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
    counts = torch.zeros(N)
    run = mbgd.fit(model, (X, counts), **WORDS | {"loss": "poisson"}, validation=(x, counts), metric="loss")
    assert run.history["validation_loss"][0] is None  # infinity, as JSON has it
