"""Every check that scikit-learn has for estimators, on networks and linear models, by mini-batches and by full batches."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from mbgd import MBGDClassifier, MBGDEstimator, MBGDRegressor

BY_BATCHES = "batches are drawn by chance: a row of weight 2 is not in the batches that two rows of weight 1 are in"
SMALL: dict[str, Any] = {"hidden_layer_sizes": (16,), "epochs": 20, "learning_rate": 0.01}


def net(n_features: int, n_outputs: int) -> nn.Module:
    """A network of the user's own, in float64 as scikit-learn's checks compute."""
    return nn.Sequential(nn.Linear(n_features, 16), nn.Tanh(), nn.Linear(16, n_outputs)).double()


OWN: dict[str, Any] = {"batch_size": 8, "epochs": 20, "optimizer": "adamw", "learning_rate": 0.02}
BY_ONE, BY_ALL = {"batch_size": 8}, {"batch_size": "full", "learning_rate": 0.03}
LINEAR: dict[str, Any] = {"hidden_layer_sizes": (), "epochs": 30, "learning_rate": 0.05}
ESTIMATORS = [
    MBGDClassifier(**SMALL | BY_ONE),
    MBGDRegressor(**SMALL | BY_ONE),
    MBGDEstimator(net, loss="log_loss", **OWN),
]
MORE = [
    MBGDClassifier(),
    MBGDRegressor(),
    MBGDClassifier(**SMALL | BY_ALL),
    MBGDRegressor(**SMALL | BY_ALL),
    MBGDClassifier(**LINEAR),
    MBGDRegressor(**LINEAR),
    MBGDEstimator(net, loss="squared_error", **OWN),
    MBGDEstimator(net, loss=nn.CrossEntropyLoss(), **OWN | {"batch_size": "full", "learning_rate": 0.1}),
]


def unavoidable(estimator: Any) -> dict[str, str]:
    """Checks that cannot hold, each with its reason; none where a batch is all rows."""
    if estimator.batch_size in ("full", "auto"):  # auto is at least 64, more than the rows of that check
        return {}
    return {f"check_sample_weight_equivalence_on_{kind}_data": BY_BATCHES for kind in ("dense", "sparse")}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=unavoidable)
def test_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(MORE, expected_failed_checks=unavoidable)
def test_check_of_more(estimator: Any, check: Any) -> None:
    check(estimator)
