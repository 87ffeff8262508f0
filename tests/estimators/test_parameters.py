"""Parameters as they come out of NumPy, by grids and samplers, are the parameters of Python: the model has the same bits."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mbgd
from mbgd import MBGDClassifier, MBGDEstimator, MBGDRegressor, PlanError
from problems import flat

X = np.random.default_rng(0).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
VALUES: dict[str, Any] = {  # of each parameter one that may be given beside the others of OTHERS
    "hidden_layer_sizes": (4, 3),
    "activation": "tanh",
    "dropout": 0.25,
    "dropout_fades": True,
    "loss": "log_loss",
    "optimizer": "sgd",
    "learning_rate": 0.125,
    "momentum": 0.5,
    "nesterov": True,
    "weight_decay": 0.125,
    "weight_decay_fades": True,
    "batch_size": 8,
    "epochs": 2,
    "steps": 3,
    "time_limit": 100.0,
    "target_loss": 0.0,
    "patience": 2,
    "min_delta": 0.125,
    "metric": "log_loss",
    "restore_best": False,
    "validation": 0.25,
    "schedule": "cosine",
    "warmup": 0.25,
    "sampling": "natural",
    "tail": "drop",
    "clip_norm": 1.0,
    "ema_decay": 0.5,
    "label_smoothing": 0.125,
    "quantile": 0.25,
    "huber_delta": 0.5,
    "micro_batch": 4,
    "allow_batch_norm": True,
    "precision": "float32",
    "compile": False,
    "device": "cpu",
    "engine": "autograd",
    "random_state": 3,
    "class_weight": {0: 2.0, 1: 0.5},
    "warm_start": False,
    "verbose": False,
    "n_jobs": 1,
}
OBJECTS = {"callback", "module", "schedule_every"}  # the last goes with a scheduler of torch
NEEDS: dict[str, dict[str, Any]] = {
    "nesterov": {"momentum": 0.5, "optimizer": "sgd"},
    "momentum": {"optimizer": "sgd"},
    "weight_decay_fades": {"weight_decay": 0.1},
    "dropout_fades": {"dropout": 0.1},
    "patience": {"validation": 0.25},
    "metric": {"validation": 0.25},
    "min_delta": {"validation": 0.25, "patience": 2},
    "steps": {"epochs": None},
    "quantile": {"loss": "quantile"},
    "huber_delta": {"loss": "huber"},
    "warmup": {"schedule": "constant"},
}
OTHERS: dict[str, Any] = {"hidden_layer_sizes": (4,), "epochs": 1, "batch_size": 16, "learning_rate": 0.1}


def of_numpy(value: Any) -> Any:
    if isinstance(value, dict):
        return {np.int64(key): np.float32(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return np.array(value)
    kinds: dict[type, Any] = {bool: np.bool_, int: np.int32, float: np.float32, str: np.str_}
    return kinds[type(value)](value)


def trained(kind: Any, words: dict[str, Any]) -> torch.Tensor:
    if kind is MBGDEstimator:
        net = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.1))
        with torch.no_grad():
            net[0].weight.fill_(0.1), net[0].bias.zero_()
        words = {"module": net, "loss": "log_loss", **words}
        words = {name: value for name, value in words.items() if name in inspect.signature(kind).parameters}
    return flat(kind(**words).fit(X, Y).network_.module)


@pytest.mark.parametrize("kind", [MBGDClassifier, MBGDRegressor, MBGDEstimator])
def test_every_parameter_may_be_numpys(kind: Any) -> None:
    names = set(inspect.signature(kind).parameters) - OBJECTS
    assert names <= set(VALUES)
    for name in sorted(names):
        value = "squared_error" if name == "loss" and kind is MBGDRegressor else VALUES[name]
        value = "rmse" if name == "metric" and kind is MBGDRegressor else value
        words = OTHERS | NEEDS.get(name, {})
        ours, theirs = (trained(kind, words | {name: given}) for given in (value, of_numpy(value)))
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize(
    "sizes", [4, [4, 3], (), [np.int64(4)], np.array(4), np.array([4, 3]), np.array([], dtype=int)]
)
def test_sizes_of_layers_in_any_form(sizes: Any) -> None:
    fitted = MBGDClassifier(**OTHERS | {"hidden_layer_sizes": sizes}).fit(X, Y)
    assert fitted.network_.module.hidden_layer_sizes == tuple(int(size) for size in np.atleast_1d(sizes))
    assert fitted.get_params()["hidden_layer_sizes"] is sizes  # as given: scikit-learn's clone asks for that


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_jobs": np.float64(1.5)}, "n_jobs must be a whole number of threads"),
        ({"hidden_layer_sizes": np.array([4.5])}, "hidden_layer_sizes must"),
        ({"epochs": np.array([1, 2])}, "epochs must be"),
        ({"batch_size": np.int64(0)}, "batch_size must be"),
    ],
)
def test_a_wrong_value_of_numpys_is_refused_as_pythons(words: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        MBGDClassifier(**OTHERS | words).fit(X, Y)


def test_balanced_classes_are_no_word_of_partial_fit() -> None:
    for kind in (MBGDClassifier(class_weight="balanced"), MBGDEstimator(nn.Linear(3, 1), loss="log_loss")):
        kind.set_params(class_weight="balanced")
        with pytest.raises(PlanError, match="class_weight must be a dict of class -> weight in partial_fit"):
            kind.partial_fit(X, Y, classes=[0, 1])
    weighed = MBGDClassifier(**OTHERS, class_weight={0: 3.0, 1: 1.0}).partial_fit(X, Y, classes=[0, 1])
    rows = MBGDClassifier(**OTHERS).partial_fit(X, Y, classes=[0, 1], sample_weight=np.where(Y == 0, 3.0, 1.0))
    assert torch.equal(flat(weighed.network_.module), flat(rows.network_.module))


@pytest.mark.parametrize("kind", ["classifier", "module"])
def test_several_labels_a_row_are_named_by_their_columns(kind: str) -> None:
    labels = (X > 0).astype(int)

    def model() -> Any:
        return (
            MBGDClassifier(**OTHERS) if kind == "classifier" else MBGDEstimator(mbgd.mlp(3, 3, seed=1), loss="log_loss")
        )

    named, unnamed = model(), model()
    for _ in range(2):
        named.partial_fit(X, labels, classes=range(3))
        unnamed.partial_fit(X, labels)
    assert torch.equal(flat(named.network_.module), flat(unnamed.network_.module))
    assert named.predict(X).shape == (60, 3)
    assert named.classes_.tolist() == [0, 1, 2]
    for wrong in ([0, 1], [0, 1, 2, 3], ["a", "b", "c"], [1, 2, 3]):
        with pytest.raises(ValueError, match="classes must be the numbers of the 3 columns of y"):
            model().partial_fit(X, labels, classes=wrong)
    column = model().partial_fit(X, Y, classes=[0, 1]) if kind == "classifier" else None
    assert column is None or column.predict(X).shape == (60,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"random_state": -1}, "random_state must be a whole number of at least 0, got -1"),
        ({"class_weight": {0: -1.0, 1: 1.0}}, "class_weight must hold numbers of at least 0, got -1.0 for class 0"),
        ({"callback": 3}, "callback must be a function of what was seen in an epoch, got int"),
        ({"class_weight": {0: "much"}}, "class_weight must hold numbers of at least 0, got 'much' for class 0"),
    ],
)
def test_what_is_wrong_is_called_by_its_name_here(words: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        MBGDClassifier(**OTHERS | words).fit(X, Y)


def test_a_function_that_makes_a_module_is_told_what_it_gets() -> None:
    with pytest.raises(PlanError, match="made from n_features and n_outputs, got one that needs width; rename"):
        MBGDEstimator(lambda width, n_outputs: nn.Linear(width, n_outputs), loss="log_loss").fit(X, Y)


def test_a_share_of_validation_may_be_an_array_of_no_dimensions() -> None:
    shares = [MBGDClassifier(**OTHERS, validation=share).fit(X, Y) for share in (0.2, np.array(0.2))]
    assert torch.equal(*(flat(model.network_.module) for model in shares))


def test_partial_fit_takes_what_belongs_to_fit_alone() -> None:
    words: dict[str, Any] = {"validation": 0.2, "patience": 3, "min_delta": 0.1, "metric": "accuracy", "warmup": 0.1}
    models = [MBGDClassifier(**OTHERS | more).partial_fit(X, Y, classes=[0, 1]) for more in ({}, words)]
    assert torch.equal(*(flat(model.network_.module) for model in models))


def test_weights_of_classes_where_a_batch_has_some_of_them() -> None:
    kinds = [{1: 3.0}, {0: 1.0, 1: 3.0}]  # a class that is not named has weight 1
    models = [MBGDClassifier(**OTHERS, class_weight=given) for given in kinds]
    for row in range(8):
        for model in models:
            model.partial_fit(X[row : row + 1], Y[row : row + 1], classes=[0, 1])
    assert len(np.unique(Y[:8])) == 2
    assert torch.equal(*(flat(model.network_.module) for model in models))
    with pytest.raises(ValueError, match="not in class_weight"):
        MBGDClassifier(**OTHERS, class_weight={7: 1.0}).partial_fit(X, Y, classes=[0, 1])


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_refused_target_is_shown_in_its_own_units(call: str) -> None:
    y = np.where(np.arange(60) == 7, -2.5, 3.0)
    with pytest.raises(mbgd.DataError, match=r"y must be at least 0 for loss='poisson', got -2\.5 in row 7"):
        getattr(mbgd.MBGDRegressor(**OTHERS, loss="poisson"), call)(X, y)
    with pytest.raises(
        mbgd.DataError, match=r"y must hold labels of the classes \(0, 1\), got 5 in row 0; leave such rows out"
    ):
        MBGDClassifier(**OTHERS).fit(X, Y, eval_set=[(X[:2], [5, 1])])
