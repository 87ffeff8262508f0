"""What the estimators promise, each against scikit-learn, a closed form, or the desk itself."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import mbgd
from mbgd import DataError, MBGDClassifier, MBGDEstimator, MBGDRegressor, Plan, PlanError
from mbgd.errors import SavedFileError
from mbgd.estimators import arrays, fitting
from mbgd.estimators.arrays import learn_numbers
from mbgd.estimators.labels import Labels
from mbgd.estimators.save import predictor_of
from problems import flat

IRIS, CANCER, DIABETES = (load(return_X_y=True) for load in (load_iris, load_breast_cancer, load_diabetes))
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "epochs": 5}
LINEAR: dict[str, Any] = {"hidden_layer_sizes": (), "batch_size": "full", "optimizer": "sgd", "schedule": "constant"}
# parameters whose default is not that of Plan, or that Plan has not
TRAINED_AS_TABLES = {"optimizer", "learning_rate", "batch_size", "epochs", "schedule"}  # as fit_table does
SKLEARNS = {"random_state", "class_weight", "warm_start", "verbose", "n_jobs", "callback"}
OF_THE_NETWORK = {"activation", "module"}


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MBGDClassifier, MBGDRegressor, MBGDEstimator])
def test_defaults_are_those_of_plan(kind: Any) -> None:
    plan = {knob.name: knob.default for knob in fields(Plan)}
    others = SKLEARNS | OF_THE_NETWORK | (set() if kind is MBGDEstimator else TRAINED_AS_TABLES)
    given = inspect.signature(kind).parameters
    assert others - {"class_weight"} - OF_THE_NETWORK <= set(given)
    for name, parameter in given.items():
        if name not in others:
            assert parameter.default == plan[name], name
    assert given["random_state"].default == plan["seed"]


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("max_iter", "epochs"),
        ("learning_rate_init", "learning_rate"),
        ("alpha", "weight_decay"),
        ("eta0", "learning_rate"),
        ("n_estimators", "epochs"),
        ("seed", "random_state"),
        ("num_leaves", "hidden_layer_sizes"),
        ("epoch", "did you mean 'epochs'"),
    ],
)
def test_a_foreign_word_is_answered_with_ours(word: str, ours: str) -> None:
    for kind in (MBGDClassifier, MBGDRegressor):
        for use in (lambda kind=kind: kind(**{word: 1}), lambda kind=kind: kind().set_params(**{word: 1})):
            with pytest.raises(PlanError, match=ours):
                use()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"epochs": -1}, "epochs must be"),
        ({"learning_rate": "adaptive"}, "learning_rate must be"),
        ({"loss": "squared_error"}, "loss must be 'log_loss' or 'hinge'"),
        ({"class_weight": "even"}, "class_weight must be"),
        ({"n_jobs": 0}, "n_jobs must be"),
        ({"patience": 3}, "patience needs validation"),
        ({"dropout": "auto"}, "dropout must be"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
    ],
)
def test_a_wrong_value_is_refused_at_fit(words: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        MBGDClassifier(**SMALL | words).fit(*IRIS)


def test_without_scikit_learn_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("mbgd.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"need scikit-learn.*pip install 'mbgd\[sklearn\]'"):
        mbgd.MBGDClassifier  # noqa: B018


def test_scikit_learn_is_imported_where_an_estimator_is_asked_for_alone() -> None:
    code = "import sys, mbgd; from mbgd import *; fit; assert 'sklearn' not in sys.modules; mbgd.MBGDRegressor"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- against closed forms ---------------------------------------------------------------------------------------------


def test_a_linear_model_comes_to_least_squares_in_the_units_of_x() -> None:
    X, y = DIABETES
    X = X[:, [0, 1, 2, 3, 8]] * [1, 1000, 1e-3, 1, 10] + [0, 5, -3, 1e6, 0]  # without columns that are nearly one
    ours = MBGDRegressor(**LINEAR, epochs=400, learning_rate=0.3, weight_decay=0).fit(X, y)
    scaler = StandardScaler()  # by itself LinearRegression takes some of these columns for rounding
    exact = LinearRegression().fit(scaler.fit_transform(X), y)
    assert_allclose(ours.coef_, exact.coef_ / scaler.scale_, rtol=1e-6)
    assert_allclose(ours.predict(X), exact.predict(scaler.transform(X)), rtol=1e-6)
    assert_allclose(X @ ours.coef_ + ours.intercept_, ours.predict(X), rtol=1e-6)


def test_a_linear_model_comes_to_weighted_least_squares_of_several_targets() -> None:
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(60, 3)), rng.integers(0, 4, size=60)
    y = X @ rng.normal(size=(3, 2)) + rng.normal(size=(60, 2)) * [1, 100]
    ours = MBGDRegressor(**LINEAR, epochs=400, learning_rate=0.3, weight_decay=0).fit(X, y, sample_weight=w)
    exact = LinearRegression().fit(X, y, sample_weight=w)
    assert_allclose(ours.coef_, exact.coef_, rtol=1e-6)
    assert_allclose(ours.intercept_, exact.intercept_, rtol=1e-6)


@pytest.mark.parametrize("data", [IRIS, (IRIS[0][:100, :2], IRIS[1][:100])], ids=["multiclass", "binary"])
def test_a_linear_classifier_comes_to_logistic_regression(data: Any) -> None:
    """Its decay acts on biases as well: for scikit-learn they are the weights of a column of ones, and C is 1 / (n decay)."""
    X, y = data
    Z, decay = np.c_[StandardScaler().fit_transform(X), np.ones(len(X))], 0.02
    ours = MBGDClassifier(**LINEAR, epochs=1500, learning_rate=0.5, weight_decay=decay).fit(X, y)
    theirs = LogisticRegression(C=1 / (len(X) * decay), fit_intercept=False, tol=1e-8).fit(Z, y)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(Z), atol=1e-5)
    scores = ours.decision_function(X)
    assert_allclose(X @ ours.coef_.T + ours.intercept_, scores if scores.ndim == 2 else scores[:, None], atol=1e-9)


def test_labels_of_their_own_are_logistic_regressions_side_by_side() -> None:
    X = CANCER[0][:200, :3]
    Y = np.stack([CANCER[1][:200], X[:, 0] > 14], axis=1).astype(int)
    words: dict[str, Any] = {**LINEAR, "epochs": 300, "learning_rate": 0.5}
    both = MBGDClassifier(**words).fit(X, Y)
    assert both.predict_proba(X).shape == both.predict(X).shape == Y.shape
    # the mean over two labels halves each one's gradient: twice the rate is each by itself
    apart = [MBGDClassifier(**words | {"learning_rate": 0.25}).fit(X, Y[:, k]) for k in range(2)]
    start_apart = max(
        abs(one.decision_function(X) - both.decision_function(X)[:, k]).max() for k, one in enumerate(apart)
    )
    assert start_apart < 0.3  # their start values are other random numbers, which 300 steps have nearly forgotten


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_numbers_are_standardised_and_zeros_and_ones_left_in_peace() -> None:
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(5, 3, 1000), rng.integers(0, 2, 1000), np.full(1000, 7.0), rng.integers(0, 3, 1000)], 1)
    numbers = learn_numbers(X, weight=None, bounded=True)
    z = numbers.inputs(X, X.dtype)
    theirs = StandardScaler().fit_transform(X)
    assert_allclose(z[:, [0, 3]], theirs[:, [0, 3]], rtol=1e-12)
    assert_array_equal(z[:, 1], X[:, 1])
    assert_array_equal(z[:, 2], np.zeros(1000))


def test_a_network_sees_as_far_as_the_training_rows_were_and_ten_deviations_at_the_least() -> None:
    X = np.random.default_rng(0).normal(5, 3, (1000, 3))
    X[0, 0], X[1, 1], X[:, 2] = 2e3, -5e3, X[:, 2] > 5
    numbers = learn_numbers(X, weight=None, bounded=True)
    assert_allclose(numbers.inputs(X, X.dtype)[:, :2], StandardScaler().fit_transform(X[:, :2]), rtol=1e-9)
    beyond = numbers.inputs(np.full((1, 3), 1e9), X.dtype)[0]
    assert_allclose(beyond[:2], abs(StandardScaler().fit_transform(X[:, :2])).max(axis=0), rtol=1e-9)
    assert beyond[2] == 10
    assert_array_equal(numbers.inputs(np.full((1, 3), -1e9), X.dtype)[0], -beyond)
    without = learn_numbers(X, weight=(np.arange(1000) > 1).astype(float), bounded=True)  # rows of weight 0 are no rows
    assert_array_equal(without.inputs(np.full((1, 3), 1e9), X.dtype)[0], [10, 10, 10])
    unbounded = learn_numbers(X, weight=None, bounded=False).inputs(np.full((1, 3), 1e9), X.dtype)
    assert (unbounded > 1e5).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_rows_are_scaled_by_kernels_to_the_same_numbers(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).normal(50, 3, (600, 7)).astype(dtype)
    X[:, 2], X[:, 3] = 7.1, X[:, 3] > 50
    X[5, 4] = 1e4
    plain = learn_numbers(X, weight=None, bounded=True)
    monkeypatch.setattr(arrays, "MANY", 1)
    by_kernels = learn_numbers(X, weight=None, bounded=True)
    assert_allclose(by_kernels.center, plain.center, rtol=1e-14)
    assert_allclose(by_kernels.scale, plain.scale, rtol=1e-13)
    beyond = 2 * X
    assert_array_equal(plain.inputs(beyond, X.dtype, kernels=True), plain.inputs(beyond, X.dtype))


def test_weights_of_rows_are_rows_repeated() -> None:
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    weighted = learn_numbers(X, weight=w.astype(float), bounded=False)
    repeated = learn_numbers(np.repeat(X, w, axis=0), weight=None, bounded=False)
    assert_allclose(weighted.center, repeated.center, rtol=1e-12, atol=1e-15)
    assert_allclose(weighted.scale, repeated.scale, rtol=1e-12)


def test_a_far_away_mean_loses_no_digits_in_float32() -> None:
    X = (1e6 + np.random.default_rng(0).integers(0, 50, (300, 2))).astype(np.float32)
    near = learn_numbers(X, weight=None, bounded=False).inputs(X, X.dtype)
    exact = StandardScaler().fit_transform(X.astype(np.float64))
    assert near.dtype == np.float32
    assert_allclose(near, exact, atol=1e-6)


def test_the_type_of_x_is_the_type_of_what_comes_back() -> None:
    for dtype in (np.float32, np.float64):
        X = IRIS[0].astype(dtype)
        classes = MBGDClassifier(**SMALL).fit(X, IRIS[1])
        assert classes.predict_proba(X).dtype == classes.decision_function(X).dtype == dtype
        assert next(classes.network_.module.parameters()).dtype == getattr(torch, np.dtype(dtype).name)
        assert MBGDRegressor(**SMALL).fit(X, IRIS[1]).predict(X).dtype == dtype


def frame(n: int = 120) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    kind, size = rng.choice(["a", "b", "c"], n), rng.normal(size=n)
    y = (kind == "a") ^ (size > 0)
    size[::7] = np.nan
    return pd.DataFrame({"kind": kind, "size": size, "day": pd.date_range("2026-01-01", periods=n)}), y


def test_frames_with_categories_and_missing_values_need_no_pipeline() -> None:
    X, y = frame()
    fitted = MBGDClassifier(hidden_layer_sizes=(32,), epochs=60).fit(X, y)
    assert fitted.score(X, y) > 0.85  # six rows in seven can be known
    assert fitted.feature_names_in_.tolist() == ["kind", "size", "day"]
    assert_array_equal(fitted.predict_proba(pl.from_pandas(X)), fitted.predict_proba(X))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(X.rename(columns={"size": "length"}))


def test_a_frame_of_plain_numbers_is_an_array_with_names() -> None:
    X = pd.DataFrame(IRIS[0], columns=list("abcd"))
    named, bare = (MBGDClassifier(**SMALL).fit(x, IRIS[1]) for x in (X, IRIS[0]))
    assert_array_equal(named.predict_proba(X), bare.predict_proba(IRIS[0]))


# --- sparse rows --------------------------------------------------------------------------------------------------------


def words_of_rows(n: int = 150, width: int = 40, dtype: Any = np.float64) -> tuple[Any, np.ndarray[Any, Any]]:
    """Rows with an entry in some six columns of 40, and a label that a few of the columns tell."""
    rng = np.random.default_rng(0)
    X = sp.random_array((n, width), density=0.15, format="csr", rng=rng, dtype=dtype)
    return X, (X[:, :9].sum(axis=1) > X[:, 9:18].sum(axis=1)).astype(int)


SPARSE: dict[str, Any] = {"batch_size": 8, "epochs": 3, "learning_rate": 0.3, "optimizer": "sgd"}


@pytest.mark.parametrize("hidden", [(), (6,)], ids=["linear", "network"])
@pytest.mark.parametrize("kind", [MBGDClassifier, MBGDRegressor])
def test_sparse_rows_train_the_model_that_mbgd_fit_trains_on_them(kind: Any, hidden: tuple[int, ...]) -> None:
    X, y = words_of_rows()
    y = y if kind is MBGDClassifier else 3.0 * y - 1
    loss = "log_loss" if kind is MBGDClassifier else "squared_error"
    fitted = kind(hidden_layer_sizes=hidden, **SPARSE, schedule="constant", random_state=4).fit(X, y)
    center, scale = (0.0, 1.0) if kind is MBGDClassifier else (y.mean(), y.std())
    model, Z = mbgd.mlp(X.shape[1], hidden_layer_sizes=hidden, seed=4).double(), X.toarray()
    Z /= np.linalg.norm(Z) / len(Z) ** 0.5
    run = mbgd.fit(model, (Z, (y - center) / scale), loss=loss, seed=4, **SPARSE, tail="short")
    assert "made dense" not in fitted.engine_reason_
    assert_allclose(flat(fitted.network_.module).numpy(), flat(model).numpy(), rtol=1e-9, atol=1e-12)
    answers = fitted.predict_proba(X)[:, 1] if kind is MBGDClassifier else (fitted.predict(X) - center) / scale
    assert_allclose(answers, run.predict_proba(Z)[:, 1] if loss == "log_loss" else run.predict(Z), rtol=1e-9)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil"])
def test_any_format_of_sparse_rows_is_dense_rows_to_predictions(form: str) -> None:
    X, y = words_of_rows()
    fitted = MBGDClassifier(hidden_layer_sizes=(6,), **SPARSE).fit(X.asformat(form), y)
    assert_allclose(fitted.predict_proba(X.asformat(form)), fitted.predict_proba(X.toarray()), rtol=1e-12)
    by_dense = MBGDClassifier(hidden_layer_sizes=(6,), **SPARSE).fit(X.toarray(), y)
    assert_allclose(by_dense.predict_proba(X.asformat(form)), by_dense.predict_proba(X.toarray()), rtol=1e-12)


def test_with_no_option_sparse_rows_of_any_length_are_learned_by_sgd_without_being_made_dense() -> None:
    X, y = words_of_rows(600)
    for times in (0.01, 1.0, 100.0):
        fitted = MBGDClassifier(hidden_layer_sizes=(), epochs=40).fit(times * X, y)
        assert "made dense" not in fitted.engine_reason_
        assert fitted.score(times * X, y) > 0.85
        regressor = MBGDRegressor(hidden_layer_sizes=(), epochs=40).fit(times * X, X @ np.arange(40.0))
        assert regressor.score(times * X, X @ np.arange(40.0)) > 0.9
    adam = MBGDClassifier(hidden_layer_sizes=(), epochs=1, optimizer="adamw").fit(X, y)
    assert "made dense" in adam.engine_reason_
    assert "AdamW moves every weight" in adam.engine_reason_


def test_coefficients_weights_validation_and_files_of_sparse_rows(tmp_path: Path) -> None:
    X, y = words_of_rows()
    weight = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    held = np.arange(len(y)) % 5 == 0
    fitted = MBGDClassifier(hidden_layer_sizes=(), **SPARSE, class_weight="balanced")
    fitted.fit(X, y, sample_weight=weight, validation=held)
    assert_allclose(X @ fitted.coef_[0] + fitted.intercept_, fitted.decision_function(X), rtol=1e-9, atol=1e-12)
    assert len(fitted.validation_curve_) == fitted.n_epochs_ == 3
    pair = (
        clone(fitted)
        .set_params(class_weight=None)
        .fit(X[~held], y[~held], weight[~held], validation=(X[held], y[held]))
    )
    assert len(pair.validation_curve_) == 3
    saved = mbgd.load(fitted.save(tmp_path / "m.safetensors"))
    assert_allclose(saved.predict_proba(X), fitted.predict_proba(X), rtol=1e-9)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    online = MBGDClassifier(hidden_layer_sizes=(), **SPARSE)
    for _ in range(3):
        online.partial_fit(X, y, classes=[0, 1])
    whole = MBGDClassifier(hidden_layer_sizes=(), **SPARSE, schedule="constant").fit(X, y)
    assert_allclose(online.coef_, whole.coef_, rtol=1e-12)


def test_a_pipeline_of_text_and_a_search_over_it() -> None:
    good, bad = ["fine wine", "great fine day", "great wine"], ["poor wine", "poor dull day", "dull"]
    texts, labels = (good + bad) * 10, ([1] * 3 + [0] * 3) * 10
    pipeline = make_pipeline(TfidfVectorizer(), MBGDClassifier(hidden_layer_sizes=(), epochs=20))
    search = GridSearchCV(pipeline, {"mbgdclassifier__weight_decay": [0.0, 1e-4]}, cv=3).fit(texts, labels)
    assert search.best_score_ == 1.0
    assert search.predict(["a great day", "a poor day"]).tolist() == [1, 0]


def test_a_module_of_your_own_on_sparse_rows() -> None:
    X, y = words_of_rows()

    def net(n_features: int, n_outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(n_features, 4), nn.ReLU(), nn.Linear(4, n_outputs)).double()

    fitted = MBGDEstimator(net, loss="log_loss", learning_rate=0.3, epochs=3, batch_size=8).fit(X, y)
    assert_allclose(fitted.predict_proba(X), fitted.predict_proba(X.toarray()), rtol=1e-12)
    dense = MBGDEstimator(net, loss="log_loss", learning_rate=0.3, epochs=3, batch_size=8).fit(X.toarray(), y)
    assert_allclose(fitted.predict_proba(X), dense.predict_proba(X), rtol=1e-9)


# --- one training loop, the desk's --------------------------------------------------------------------------------------


def test_fit_makes_the_very_steps_of_mbgd_fit() -> None:
    X, y = CANCER
    words: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01, "batch_size": 16, "epochs": 3}
    words |= {"schedule": "cosine", "loss": "log_loss"}
    ours = MBGDClassifier(hidden_layer_sizes=(8,), random_state=7, **words).fit(X, y)
    z = learn_numbers(X, weight=None, bounded=True).inputs(X, X.dtype)
    model = mbgd.mlp(X.shape[1], hidden_layer_sizes=(8,), seed=7).double()
    run = mbgd.fit(model, (z, y), seed=7, **words)
    assert torch.equal(flat(ours.network_.module), flat(model))
    assert ours.n_epochs_ == len(ours.loss_curve_) == 3
    assert_allclose(ours.loss_curve_[-1], run.history["loss"][-1], rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_passes_one_by_one_are_a_fit_of_so_many_epochs(optimizer: str) -> None:
    X, y = IRIS
    words: dict[str, Any] = {
        "optimizer": optimizer,
        "schedule": "constant",
        "hidden_layer_sizes": (8,),
        "batch_size": 16,
    }
    words |= {"learning_rate": 0.05, "dropout": 0.1, "momentum": 0.9 if optimizer == "sgd" else 0.0}
    whole = MBGDClassifier(**words, epochs=4).fit(X, y)
    passes = MBGDClassifier(**words)
    for _ in range(4):
        passes.partial_fit(X, y, classes=[0, 1, 2])
    assert torch.equal(flat(passes.network_.module), flat(whole.network_.module))
    assert_allclose(passes.loss_curve_, whole.loss_curve_, rtol=1e-12)
    again = pickle.loads(pickle.dumps(passes)).partial_fit(X, y)  # optimizer and position are pickled along
    assert torch.equal(flat(again.network_.module), flat(passes.partial_fit(X, y).network_.module))


def test_partial_fit_knows_the_classes_of_the_first_call() -> None:
    X, y = IRIS
    model = MBGDClassifier(**SMALL).partial_fit(X[:60], y[:60], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (150, 3)
    model.partial_fit(X[60:], y[60:])
    with pytest.raises(ValueError, match="name all classes at the first call"):
        model.partial_fit(X, y + 1)


def test_averaged_weights_belong_to_fit() -> None:
    model = MBGDClassifier(**SMALL, ema_decay=0.9)
    assert model.fit(*IRIS).n_epochs_ == 5
    with pytest.raises(PlanError, match="ema_decay belongs to fit"):
        clone(model).partial_fit(*IRIS, classes=[0, 1, 2])


def test_a_warm_start_goes_on_from_the_weights() -> None:
    X, y = DIABETES
    model = MBGDRegressor(**SMALL, warm_start=True).fit(X, y)
    first = model.loss_curve_
    assert model.fit(X, y).loss_curve_[0] < first[0]
    with pytest.raises(PlanError, match="hidden_layer_sizes must stay"):
        model.set_params(hidden_layer_sizes=(4,)).fit(X, y)


def test_validation_rows_stop_and_teach_nothing() -> None:
    X, y = CANCER
    words: dict[str, Any] = {"hidden_layer_sizes": (16,), "epochs": 40, "patience": 3, "learning_rate": 0.03}
    held = np.arange(len(y)) % 5 == 0
    masked = MBGDClassifier(**words).fit(X, y, validation=held)
    apart = MBGDClassifier(**words).fit(X[~held], y[~held], eval_set=[(X[held], y[held])])
    assert masked.n_epochs_ < 40
    assert len(masked.validation_curve_) == masked.n_epochs_
    assert_array_equal(masked.predict_proba(X), apart.predict_proba(X))
    changed = X.copy()
    changed[held] *= 100  # other scales, were they among the rows that teach
    other = MBGDClassifier(**words | {"patience": None, "restore_best": False, "validation": None, "epochs": 2})
    assert_array_equal(
        clone(other).fit(X, y, validation=held).predict_proba(X),
        clone(other).fit(changed, y, validation=held).predict_proba(X),
    )
    assert MBGDClassifier(**words, validation=0.2).fit(X, y).validation_curve_


def test_a_callback_sees_each_epoch_and_may_end_it() -> None:
    seen: list[dict[str, Any]] = []

    def look(record: dict[str, Any]) -> bool:
        seen.append(record)
        return record["epoch"] == 3

    model = MBGDClassifier(**SMALL | {"epochs": 9}, callback=look).fit(*IRIS)
    assert [record["epoch"] for record in seen] == [1, 2, 3]
    assert_allclose([record["loss"] for record in seen], model.loss_curve_, rtol=1e-12)
    assert model.n_epochs_ == 3
    assert "asked" in model.ending_
    never = MBGDClassifier(**SMALL | {"epochs": 9}, callback=lambda record: None).fit(*IRIS)
    assert_array_equal(
        never.predict_proba(IRIS[0]), MBGDClassifier(**SMALL | {"epochs": 9}).fit(*IRIS).predict_proba(IRIS[0])
    )


def test_verbose_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    MBGDClassifier(**SMALL, verbose=True).fit(*IRIS)
    assert capsys.readouterr().out.count("\n") == 5


def test_class_weights_are_row_weights() -> None:
    X, y = CANCER
    words: dict[str, Any] = {"hidden_layer_sizes": (), "epochs": 5}
    n0, n1 = np.bincount(y)
    by_hand = np.where(y == 0, len(y) / (2 * n0), len(y) / (2 * n1))
    balanced = MBGDClassifier(**words, class_weight="balanced").fit(X, y)
    rows = MBGDClassifier(**words).fit(X, y, sample_weight=by_hand)
    assert_allclose(
        balanced.decision_function(X), rows.decision_function(X), atol=0.2
    )  # the scales of X count the rows
    assert_allclose(
        MBGDClassifier(**words, class_weight={0: 1, 1: 1}).fit(X, y).decision_function(X),
        MBGDClassifier(**words).fit(X, y).decision_function(X),
    )


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "poisson", "gamma"])
def test_every_loss_of_numbers_learns(loss: str) -> None:
    X, y = DIABETES
    model = MBGDRegressor(hidden_layer_sizes=(16,), epochs=40, loss=loss).fit(X, y)
    assert model.score(X, y) > 0.3
    assert model.predict(X).min() > 0 or loss not in ("poisson", "gamma")


# --- scikit-learn's machinery -------------------------------------------------------------------------------------------


def test_pipeline_grid_search_calibration_and_routing() -> None:
    X, y = frame()
    X = X.assign(size=X["size"].fillna(0)).drop(columns="day")
    encoded = make_column_transformer((OneHotEncoder(), ["kind"]), (StandardScaler(), ["size"]))
    pipeline = make_pipeline(encoded, MBGDClassifier(**SMALL))
    search = GridSearchCV(pipeline, {"mbgdclassifier__learning_rate": [0.001, 0.05]}, cv=2).fit(X, y)
    assert search.best_params_ == {"mbgdclassifier__learning_rate": 0.05}
    calibrated = CalibratedClassifierCV(MBGDClassifier(**SMALL), cv=2).fit(*IRIS)
    assert_allclose(calibrated.predict_proba(IRIS[0]).sum(axis=1), 1)
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        routed = MBGDClassifier(**SMALL).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        GridSearchCV(routed, {"epochs": [1, 2]}, cv=2).fit(*IRIS, sample_weight=np.ones(150))


def test_pickle_and_joblib_keep_every_bit(tmp_path: Any) -> None:
    for model, X in (
        (MBGDClassifier(**SMALL).fit(*IRIS), IRIS[0]),
        (MBGDClassifier(**SMALL).fit(*frame()), frame()[0]),
    ):
        joblib.dump(model, tmp_path / "m.joblib")
        for again in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "m.joblib")):
            assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_one_thread_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def name_of_the_process() -> str:  # sent by value: the worker imports nothing of ours
        import multiprocessing

        return multiprocessing.current_process().name

    assert fitting.threads_of(None) == "auto"
    names = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(name_of_the_process)() for _ in range(2))
    assert "MainProcess" not in names
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(fitting.threads_of, None).result() == 1
    monkeypatch.setattr(fitting.multiprocessing.current_process(), "_name", names[0])
    assert fitting.threads_of(None) == 1
    assert fitting.threads_of(3) == 3


def test_save_refuses_what_the_file_cannot_hold(tmp_path: Any) -> None:
    network = MBGDClassifier(**SMALL).fit(*CANCER).network_
    odd = Labels("binary", np.array([0.5, 1.5]))
    for changed, message in (({"loss": "own:mine"}, "a loss by name"), ({"target": odd}, "classes that are")):
        with pytest.raises(PlanError, match=f"a model file needs {message}"):
            predictor_of(replace(network, **changed))
    assert not (tmp_path / "m").exists()


# --- a module of one's own ------------------------------------------------------------------------------------------------


def test_a_module_is_copied_and_trained_as_mbgd_fit_trains_it() -> None:
    X = torch.from_numpy(CANCER[0]).float()
    X, y = ((X - X.mean(0)) / X.std(0)).numpy(), CANCER[1]
    module = nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 1))
    before = flat(module)
    ours = MBGDEstimator(module, loss="log_loss", learning_rate=0.1, epochs=3).fit(X, y)
    assert torch.equal(flat(module), before)  # a parameter of an estimator stays as it is
    mbgd.fit(module, (X, y), loss="log_loss", learning_rate=0.1, epochs=3)
    assert torch.equal(flat(module), flat(ours.network_.module))
    assert ours.score(X, y) > 0.9


def test_its_weights_are_saved_and_loaded_into_an_instance_of_it(tmp_path: Path) -> None:
    X, names = (IRIS[0] - IRIS[0].mean(0)).astype(np.float32), np.array(["setosa", "versicolor", "virginica"])[IRIS[1]]
    cases: list[tuple[Any, int, Any, Any]] = [
        ("log_loss", 3, names, "predict_proba"),
        (nn.CrossEntropyLoss(), 2, names == "setosa", "predict_proba"),
        ("log_loss", 1, (IRIS[1] > 0).astype(int), "predict_proba"),
        ("squared_error", 1, IRIS[1] * 2.0, "predict"),
        (nn.L1Loss(), 2, IRIS[0][:, :2], "predict"),
    ]
    for loss, outputs, y, how in cases:
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs))
        fitted = MBGDEstimator(net, loss=loss, epochs=2).fit(X, y)
        path = fitted.save(tmp_path / "own.safetensors")
        loaded = mbgd.load(path, nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs)))
        assert_allclose(getattr(loaded, how)(X), getattr(fitted, how)(X), rtol=1e-6)
        assert_array_equal(loaded.predict(X), fitted.predict(X))
        with pytest.raises(SavedFileError, match="give an instance of it"):
            mbgd.load(path)


def test_images_embeddings_and_two_outputs() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 1, 4, 4)).astype(np.float32)
    labels = np.array(["no", "yes"])[(images.mean((1, 2, 3)) > 0).astype(int)]
    made = MBGDEstimator(lambda n_features: nn.Sequential(nn.Flatten(), nn.Linear(n_features, 2)), loss="log_loss")
    made.set_params(epochs=30).fit(images, labels)
    assert made.score(images, labels) > 0.9
    assert made.decision_function(images).shape == (60,)
    assert_array_equal(made.predict(images) == "yes", made.decision_function(images) > 0)
    words = rng.integers(0, 9, size=(60, 2))
    bag = nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 1))
    numbers = MBGDEstimator(bag, loss=nn.MSELoss(), epochs=2).fit(words, words.sum(1))
    assert numbers.predict(words).shape == (60,)
    with pytest.raises(PlanError, match="loss must be given"):
        MBGDEstimator(bag).fit(words, words.sum(1))
    assert not hasattr(numbers, "predict_proba")


def test_a_module_of_several_tensors_is_refused_in_a_sentence() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> Any:
            return self.layer(x), x

    with pytest.raises(PlanError, match=r"module must return one tensor, got a tuple; mbgd\.fit takes several"):
        MBGDEstimator(Two(), loss="squared_error").fit(np.zeros((5, 2)), np.arange(5.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_targets_beyond_the_square_root_of_a_float_are_refused_and_others_are_met(dtype: type) -> None:
    """As `fit_table` has it: 1e150 is the last whose square is a number."""
    x = np.random.default_rng(0).normal(size=(65, 2)).astype(dtype)
    for y in (x[:, 0] * np.float64(1e300), np.stack([x[:, 0], x[:, 1].astype(np.float64) * 1e200], axis=1)):
        row, column = (int(place[0]) for place in np.nonzero(np.abs(y.reshape(65, -1)) > 1e150))
        shown = f"{y.reshape(65, -1)[row, column]:g}"
        with pytest.raises(DataError, match=re.escape(f"row {row} of y: {shown} is too large for a target; give it")):
            MBGDRegressor(hidden_layer_sizes=(4,), epochs=1).fit(x, y)
    wide = x[:, 0].astype(np.float64) * 1e100  # beyond float32's range, which is that of x
    found = MBGDRegressor(hidden_layer_sizes=(), epochs=200, learning_rate=0.05).fit(x, wide).predict(x)
    np.testing.assert_allclose(
        found / 1e100, x[:, 0], atol=0.05
    )  # a linear target: what is left is how far it was trained
