"""Law: rows that come piece by piece are learned in the scales of all of them, whatever the pieces, and learned as well."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from mbgd import MBGDClassifier, MBGDRegressor
from mbgd.estimators import running_scales
from mbgd.estimators.arrays import learn_entries, learn_numbers

N = 240
rng = np.random.default_rng(0)
Z = rng.normal(size=(N, 5))
Z[:, 4] = Z[:, 0] > 0.3
X = Z * [1.0, 100.0, 1e3, 0.01, 1.0] + [0.0, 5e3, 1e5, 3.0, 0.0]
SIGNAL = Z @ [1.0, -2.0, 3.0, 0.5, 0.5]
LINEAR: dict[str, Any] = {"hidden_layer_sizes": ()}
NETWORK: dict[str, Any] = {"hidden_layer_sizes": (16,)}


def in_pieces(model: Any, sizes: Any, X: Any, y: Any, *, passes: int = 1, w: Any = None, **words: Any) -> Any:
    ends = np.cumsum(sizes)
    for _ in range(passes):
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            rows = slice(start, end)
            model.partial_fit(X[rows], y[rows], sample_weight=None if w is None else w[rows], **words)
    return model


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", [[1] * 20 + [N - 20], [1, 2, 3, 100, N - 106], [N // 2] * 2, [N]])
@pytest.mark.parametrize("few", [running_scales.FEW, 4])
def test_the_scales_are_those_of_all_rows(sizes: list[int], few: int, weighted: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(running_scales, "FEW", few)  # also where the weights go along
    w = np.where(np.arange(N) > N - 20, 0, 1.0 + np.arange(N) % 3) if weighted else None
    y = np.stack([SIGNAL * 1e4 + 1e6, Z[:, 1]], axis=1)
    road = in_pieces(MBGDRegressor(**NETWORK), sizes, X, y, w=w).network_
    once = learn_numbers(X, weight=w, bounded=True)
    for name in ("center", "scale", "bound"):
        assert_allclose(getattr(road.road, name), getattr(once, name), rtol=1e-9, atol=1e-12, err_msg=name)
    scaler = StandardScaler().fit(y, sample_weight=w)
    assert_allclose(road.target.center, scaler.mean_, rtol=1e-9)
    assert_allclose(road.target.scale, scaler.scale_, rtol=1e-9)


def test_rows_one_by_one_are_learned_as_rows_at_once() -> None:
    y = (SIGNAL > 0).astype(int)
    one_by_one = in_pieces(MBGDClassifier(**LINEAR), [1] * N, X, y, classes=[0, 1])
    assert one_by_one.score(X, y) > 0.9  # scales of the first row alone leave 0.5
    number = 1e6 + 1e5 * SIGNAL
    regressor = in_pieces(MBGDRegressor(**LINEAR, optimizer="sgd", learning_rate=0.03), [1] * 80 + [2] * 80, X, number)
    assert regressor.score(X, number) > 0.9


def test_classes_that_come_one_after_the_other_do_not_fix_the_scales() -> None:
    order = np.argsort(SIGNAL)
    y = (SIGNAL > 0).astype(int)
    model = in_pieces(MBGDClassifier(**NETWORK), [20] * 12, X[order], y[order], passes=8, classes=[0, 1])
    assert_allclose(model.network_.road.center[:4], X[:, :4].mean(0), rtol=1e-9)
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("kind", ["linear", "linear, two targets", "network", "counts", "classes", "sparse"])
def test_weights_that_know_something_keep_what_they_predict_in_new_scales(kind: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(running_scales, "FEW", 10)
    far = X * [2, 1, 3, 1, 1] + X.std(0)  # within the bounds of a network
    numbers = {"linear, two targets": np.stack([SIGNAL, Z[:, 0]], 1), "counts": np.exp(SIGNAL / 4)}.get(kind, SIGNAL)
    model: Any = MBGDRegressor(**NETWORK if kind == "network" else LINEAR)
    rows = (sp.csr_matrix(Z), sp.csr_matrix(3 * Z)) if kind == "sparse" else (X, far)
    if kind == "classes":
        model, numbers = MBGDClassifier(**NETWORK), (SIGNAL > 0).astype(int)
    model.set_params(learning_rate=0.01, loss="poisson" if kind == "counts" else None)
    model.partial_fit(rows[0], numbers, **({"classes": [0, 1]} if kind == "classes" else {}))
    answer = "predict_proba" if kind == "classes" else "predict"
    before, road = getattr(model, answer)(rows[0]), model.network_.road
    monkeypatch.setattr("mbgd.estimators.fitting.further", stopped)
    with pytest.raises(StopAsyncIteration):
        model.partial_fit(rows[1], numbers if kind == "classes" else 5 * numbers + (kind != "counts"))
    assert not np.allclose(model.network_.road.scale, road.scale)
    assert_allclose(getattr(model, answer)(rows[0]), before, rtol=1e-9)


def stopped(*args: Any, **words: Any) -> Any:
    """In place of training."""
    raise StopAsyncIteration


def test_sparse_rows_of_any_length() -> None:
    rows = sp.csr_matrix(np.where(abs(Z) > 1, Z, 0) * 50)
    model = in_pieces(MBGDClassifier(**LINEAR), [1] * 30 + [N - 30], rows, (SIGNAL > 0).astype(int), classes=[0, 1])
    assert_allclose(model.network_.road.scale, learn_entries(rows, None).scale, rtol=1e-9)


def test_a_column_that_held_zeros_and_ones_so_far() -> None:
    column = np.r_[np.zeros(5), np.ones(5), rng.normal(7, 2, 50)][:, None]
    model = MBGDRegressor(**LINEAR).partial_fit(column[:10], column[:10, 0])
    assert (model.network_.road.center, model.network_.road.scale) == (0, 1)
    model.partial_fit(column[10:], column[10:, 0])
    assert_allclose(model.network_.road.center, column.mean(0), rtol=1e-12)
    assert_allclose(model.network_.road.scale, column.std(0), rtol=1e-12)


def test_after_fit_the_scales_stay_and_a_pickle_goes_on_as_the_model_does() -> None:
    fitted = MBGDRegressor(**LINEAR, epochs=1).fit(X[:100], SIGNAL[:100])
    center = fitted.network_.road.center
    assert_array_equal(fitted.partial_fit(X[100:], SIGNAL[100:]).network_.road.center, center)
    model = in_pieces(MBGDRegressor(**LINEAR), [1] * 30, X, SIGNAL)
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.partial_fit(X[30:60], SIGNAL[30:60])
    assert_array_equal(again.coef_, model.coef_)


def test_an_unknown_label_moves_no_scale() -> None:
    model = MBGDClassifier(**LINEAR).partial_fit(X[:20], [0, 1] * 10, classes=[0, 1])
    before = model.network_
    with pytest.raises(ValueError, match="y must hold labels of the classes"):
        model.partial_fit(2 * X, np.full(N, 7))
    assert model.network_ is before
    fresh = MBGDClassifier(**LINEAR)
    with pytest.raises(ValueError, match="y must hold labels of the classes"):
        fresh.partial_fit(X, np.full(N, 7), classes=[0, 1])
    assert not hasattr(fresh, "network_")
