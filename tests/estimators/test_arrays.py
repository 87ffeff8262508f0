"""Estimators read arrays of every make as `fit` does: the same numbers, or one sentence with the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from torch import nn

import mbgd
from mbgd import DataError

N = 40
A = np.arange(N) % 7 - 3.0
B = np.arange(N) % 2 == 0
X = np.column_stack([A, B])
Y = A + B
HELD: dict[str, Any] = {
    "masked, nothing is": np.ma.array(X, mask=False),
    "bfloat16": torch.tensor(X).bfloat16(),  # these numbers have few digits
    "float8": torch.tensor(X).to(torch.float8_e4m3fn),
    "a frame": pd.DataFrame({"a": A, "b": B}),
    "nullable": pd.DataFrame({"a": A, "b": B}).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame({"a": A, "b": B}),
    "Arrow": pa.table({"a": A, "b": B}),
    "lists": X.tolist(),
}


def regressors() -> list[Any]:
    torch.manual_seed(0)
    module = nn.Linear(2, 1)
    return [
        mbgd.MBGDRegressor(epochs=1, hidden_layer_sizes=()),
        mbgd.MBGDEstimator(module, loss="squared_error", epochs=1),
    ]


@pytest.mark.filterwarnings(
    "ignore:X does not have valid feature names"
)  # scikit-learn's: frames after an array have them
@pytest.mark.parametrize("name", HELD)
def test_the_same_numbers_give_the_same_model(name: str) -> None:
    for ours, theirs in zip(regressors(), regressors(), strict=True):
        found = ours.fit(HELD[name], Y).predict(HELD[name])
        np.testing.assert_allclose(
            found, theirs.fit(X, Y).predict(X), rtol=1e-5, atol=1e-5
        )  # float32 where it was narrow


MASK = np.arange(N) == 5


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_masked_is_never_learned_nor_predicted_for(which: int) -> None:
    estimator = regressors()[which]
    bad = np.ma.array(X, mask=np.column_stack([MASK, MASK]))
    said = r" must have a value in every row, got masked ones in row 5 \(1 of 40\); fill them, or leave those rows out$"
    for name, call in {
        "X": lambda: estimator.fit(bad, Y),
        "y": lambda: estimator.fit(X, np.ma.array(Y, mask=MASK)),
        "sample_weight": lambda: estimator.fit(X, Y, sample_weight=np.ma.array(np.ones(N), mask=MASK)),
    }.items():
        with pytest.raises(DataError, match=f"^{name}{said}"):
            call()
    with pytest.raises(DataError, match=f"^X{said}"):
        estimator.fit(X, Y).predict(bad)


def test_labels_of_every_make() -> None:
    labels = np.where(Y > 0, "p", "q")
    for held in (
        labels.astype(np.dtypes.StringDType()),
        pd.Series(labels, dtype="string"),
        pa.array(labels),
        pl.Series(labels),
    ):
        estimator = mbgd.MBGDClassifier(epochs=1, hidden_layer_sizes=()).fit(X, held)
        assert list(estimator.classes_) == ["p", "q"]
        assert set(estimator.predict(X)) <= {"p", "q"}
    gaps = np.where(MASK, None, labels)
    for held in (np.ma.array(labels, mask=MASK), gaps, gaps.astype(np.dtypes.StringDType(na_object=None))):
        with pytest.raises(
            DataError, match=r"^y must have a value in every row, got (none|masked ones) in row 5 \(1 of 40"
        ):
            mbgd.MBGDClassifier(epochs=1).fit(X, held)


def test_numbers_whose_squares_overflow_or_vanish() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    y = rows @ [1.0, 2.0, 3.0]
    linear: dict[str, Any] = {"hidden_layer_sizes": (), "epochs": 60}
    assert (
        mbgd.MBGDRegressor(**linear).fit(rows * 1e-300, y).score(rows * 1e-300, y) > 0.8
    )  # 0 of columns that count as one value
    for call in ("fit", "partial_fit"):
        with pytest.raises(DataError, match=r"X must hold numbers of at most 1e\+150, got .*e\+200 in column 1"):
            getattr(mbgd.MBGDRegressor(**linear), call)(rows * [1.0, 1e200, 1.0], y)
        with pytest.raises(DataError, match=r"X must hold numbers of at most 1e\+150, got .*e\+200; give"):
            getattr(mbgd.MBGDRegressor(**linear), call)(sparse.csr_matrix(rows * 1e200), y)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("columns", [1, 2])
def test_targets_whose_squares_vanish_are_learned_as_in_any_unit(call: str, columns: int) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    y = np.rint(rows @ np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])[:columns].T * 256) / 256
    y = y[:, 0] if columns == 1 else y
    unit = 2.0**-664  # about 1e-200
    found = []
    for scale in (1.0, unit):
        model = mbgd.MBGDRegressor(hidden_layer_sizes=(), epochs=60)
        for _ in range(1 if call == "fit" else 60):
            getattr(model, call)(rows, y * scale)
        found.append(model.predict(rows) / scale)
    for predicted in found:
        assert np.corrcoef(predicted.ravel(), y.ravel())[0, 1] > 0.9
    if call == "fit":  # in parts they are scaled by their range, where their variance is no number
        assert found[1] == pytest.approx(found[0], rel=1e-5)
