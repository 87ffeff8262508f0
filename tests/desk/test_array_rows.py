"""Rows that a model of arrays cannot take are refused in one sentence by every door; columns of a frame are found by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import cross_val_score
from torch import nn

import mbgd
from mbgd import DataError, MBGDClassifier, MBGDEstimator, MBGDRegressor

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # scikit-learn's own, of arrays
X = np.random.default_rng(0).normal(size=(40, 4)) * [1, 10, 100, 1] + [0, 5, 0, -7]
Y = X[:, 0] + X[:, 1] / 10
FRAME = pd.DataFrame(X, columns=list("abcd"))
WORDS: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01}
SMALL = WORDS | {"hidden_layer_sizes": (4,)}


def with_one(value: Any) -> Any:
    rows = X.copy()
    rows[3, 2] = value
    return rows


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("m")
    fitted, named = MBGDRegressor(**SMALL).fit(X, Y), MBGDClassifier(**SMALL).fit(FRAME, Y > 0)
    fitted.save(place / "fitted")
    named.save(place / "named")
    Z = (X - X.mean(0)) / X.std(0)
    own, classes = nn.Sequential(nn.Linear(4, 1)).double(), nn.Sequential(nn.Linear(4, 3)).double()
    run = mbgd.fit(own, (Z, Y), loss="squared_error", **WORDS)
    return {
        "estimator": fitted.predict,
        "estimator of a frame": named.predict_proba,
        "module": MBGDEstimator(own, loss="squared_error", **WORDS).fit(Z, Y).predict,
        "loaded": mbgd.load(place / "fitted").predict,
        "loaded of a frame": mbgd.load(place / "named").predict_proba,
        "run of a module": run.predict,
        "run of classes": mbgd.fit(classes, (Z, Y > 0), loss="cross_entropy", **WORDS).predict,
        "run of mlp": mbgd.fit(mbgd.mlp(4).double(), (Z, Y), loss="squared_error", **WORDS).predict,
        "one row": mbgd.load(place / "fitted").predict_one,
        "light": mbgd.load_light(place / "fitted").predict_one,
        "light of a frame": mbgd.load_light(place / "named").predict_proba_one,
    }


WRONG: dict[str, Any] = {
    "a column less": X[:, :3],
    "a column more": np.c_[X, Y],
    "one row, flat": X[0],
    "a column, flat": X[:, 0],
    "a batch of rows": X[None],
    "rows of rows": X[:, None],
    "columns of one": X[..., None],
    "no rows": X[:0],
    "text": np.array([["a", "b", "c", "d"]]),
    "objects": np.array([[None, "a", 1, 2]], dtype=object),
    "NaN": with_one(np.nan),
    "infinity": with_one(-np.inf),
    "lists of other lengths": [[1.0, 2.0], [1.0]],
    "a number": 3.0,
    "nothing": None,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_rows_are_refused_in_a_sentence(wrong: str, doors: dict[str, Any]) -> None:
    for name, door in doors.items():
        rows = WRONG[wrong]
        one = name.startswith(("one row", "light"))
        if one and wrong in ("text", "objects", "NaN", "infinity"):
            rows = rows[0] if len(rows) == 1 else rows[3]
        if one and wrong == "one row, flat":
            continue  # which is what they take
        if name == "run of a module" and wrong in ("NaN", "infinity"):
            continue  # a module of one's own may take them; of classes, none is made of them
        with pytest.raises(ValueError, match=r"\w") as caught:
            door(rows)
        sklearns = not isinstance(caught.value, DataError)
        assert name.startswith(("estimator", "module")) or not sklearns, (name, caught.value)
        assert sklearns or "\n" not in str(caught.value)


def test_rows_in_the_right_shape_are_taken(doors: dict[str, Any]) -> None:
    for name, door in doors.items():
        found = door(X[0].tolist() if name.startswith(("one row", "light")) else X)
        assert np.isfinite(found).all()


# --- names ------------------------------------------------------------------------------------------------------------


def ways(frame: pd.DataFrame) -> dict[str, Any]:
    columns = {name: frame[name].tolist() for name in frame}
    return {"pandas": frame, "polars": pl.from_pandas(frame), "arrow": pa.Table.from_pandas(frame), "dict": columns}


def test_columns_are_found_by_name_by_what_is_loaded(tmp_path: Path) -> None:
    fitted = MBGDClassifier(**SMALL).fit(FRAME, Y > 0)
    expected = fitted.predict_proba(FRAME)
    file = fitted.save(tmp_path / "m")
    loaded, light = mbgd.load(file), mbgd.load_light(file)
    for one in (loaded, pickle.loads(pickle.dumps(loaded)), fitted.predictor_):
        for name, frame in ways(FRAME.assign(e=1.0)[list("dceba")]).items():
            assert_allclose(one.predict_proba(frame), expected, rtol=1e-12, err_msg=name)
        assert_allclose(one.predict_proba(X), expected, rtol=1e-12)
    for one in (loaded, light, pickle.loads(pickle.dumps(light))):
        for k, row in enumerate(FRAME[list("dcba")].to_dict("records")):
            assert_allclose(one.predict_proba_one(row), expected[k], rtol=1e-12)
    for lacking in (FRAME[["a", "b", "d"]], FRAME.rename(columns={"c": "C"})):
        with pytest.raises(DataError, match="there is no column 'c'"):
            loaded.predict(lacking)
        with pytest.raises(DataError, match="row has no column 'c', the model was trained with it"):
            light.predict_one(lacking.iloc[0].to_dict())
    nameless = mbgd.load_light(MBGDClassifier(**SMALL).fit(X, Y > 0).save(tmp_path / "n"))
    with pytest.raises(DataError, match="row must be a sequence of numbers, got a mapping"):
        nameless.predict_one(FRAME.iloc[0].to_dict())


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_gap_that_training_rows_did_not_have_is_the_mean_of_its_column_by_every_door(
    hidden: Any, tmp_path: Path
) -> None:
    fitted = MBGDRegressor(**SMALL | {"hidden_layer_sizes": hidden}).fit(FRAME, Y)
    gaps, filled = FRAME.iloc[:6].copy(), FRAME.iloc[:6].copy()
    for row, column in ((0, "a"), (1, "b"), (1, "c"), (5, "d")):
        gaps.loc[row, column], filled.loc[row, column] = np.nan, FRAME[column].mean()
    expected = fitted.predict(filled)
    file = fitted.save(tmp_path / "m")
    loaded, light = mbgd.load(file), mbgd.load_light(file)
    assert_allclose(fitted.predict(gaps), expected, rtol=1e-12)
    assert_allclose(fitted.predict(gaps.astype(object)), expected, rtol=1e-12)
    assert_allclose(fitted.predict(gaps.convert_dtypes()), expected, rtol=1e-12)
    for name, frame in ways(gaps).items():
        assert_allclose(loaded.predict(frame), expected, rtol=1e-12, err_msg=name)
    rows = [
        {name: None if np.isnan(value) else value for name, value in row.items()} for row in gaps.to_dict("records")
    ]
    assert_allclose([light.predict_one(row) for row in rows], expected, rtol=1e-12)
    assert_allclose([loaded.predict_one(row) for row in gaps.to_dict("records")], expected, rtol=1e-12)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run = onnxruntime.InferenceSession(mbgd.export(fitted, tmp_path / "m.onnx"), options)
    assert_allclose(run.run(None, {"x": gaps.to_numpy()})[0], expected, rtol=1e-9)
    fitted.partial_fit(gaps, Y[:6])
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.predict(gaps.to_numpy())


@pytest.mark.parametrize("where", [0, 17, 39])
def test_one_gap_in_some_fold_fails_none(where: int) -> None:
    frame = FRAME.copy()
    frame.loc[where, "b"] = np.nan
    for model, y in ((MBGDRegressor(**SMALL), Y), (MBGDClassifier(**SMALL), Y > 0)):
        assert np.isfinite(cross_val_score(model, frame, y, cv=4, error_score="raise")).all()
    fitted = MBGDRegressor(**SMALL).fit(FRAME, Y, validation=(frame, Y))
    assert_array_equal(fitted.predict(FRAME), fitted.predict(FRAME))


def test_large_predictions_take_blocks_of_memory_alone() -> None:
    """The rows in the model's scales lie in new memory: of some thousand at once, whatever there are in all."""
    fitted, seen = MBGDRegressor(**SMALL).fit(X, Y), []
    inner = fitted.network_.module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return inner(x)

    rows = np.tile(X, (600, 1))
    expected = fitted.predict(X)
    fitted.network_.module.forward = forward
    assert_allclose(fitted.predict(rows), np.tile(expected, 600), rtol=1e-9)
    assert sum(seen) == len(rows)
    assert max(seen) <= 8192
