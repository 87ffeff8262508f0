"""Baselines: the optimum of scikit-learn's Ridge and LogisticRegression on the same columns, and means and majorities."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder

from mbgd.measure import baselines
from mbgd.measure.baselines import dumb, linear
from mbgd.measure.metrics import scorer

N, CARDINALITIES = 600, (5, 9)
KINDS = ("regression", "binary", "multiclass")


def table(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, codes, target and weights; the target depends on both."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(N, 3)).astype(np.float32)
    codes = np.stack([rng.integers(0, c, N) for c in CARDINALITIES], 1)
    signal = numbers @ [1.0, -2.0, 0.5] + np.array([0, 1, -1, 2, 0.5])[codes[:, 0]] + rng.normal(size=N)
    y = {"regression": signal, "binary": (signal > 1).astype(int), "multiclass": np.digitize(signal, [-1, 0, 2])}[kind]
    return numbers, codes, y, rng.gamma(1.0, size=N)


def columns(numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
    one_hot = OneHotEncoder(categories=[np.arange(c) for c in CARDINALITIES], sparse_output=False).fit_transform(codes)
    return np.hstack([numbers, one_hot])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_linear_predictions_are_those_of_scikit_learn(kind: str, weighted: bool) -> None:
    numbers, codes, y, w = table(kind)
    training, others = np.arange(0, N, 2), np.arange(1, N, 2)
    predict = linear(
        kind,
        y,
        numbers=numbers,
        codes=codes,
        cardinalities=CARDINALITIES,
        training_rows=training,
        w=w if weighted else None,
    )
    x, mean_one = columns(numbers, codes), w[training] / w[training].mean() if weighted else None
    if kind == "regression":
        expected = Ridge(alpha=1.0).fit(x[training], y[training], sample_weight=mean_one).predict(x[others])
    else:
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(
            x[training], y[training], sample_weight=mean_one
        )
        expected = model.predict_proba(x[others])
        expected = expected[:, 1] if kind == "binary" else expected
    # ours stops at a change of 1e-7 in the mean loss: about the root of it in a probability, times a curvature
    np.testing.assert_allclose(predict(others), expected, rtol=0, atol=2e-3 if kind != "regression" else 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_only_training_rows_are_looked_at(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ONE_HOT", 4)  # so that how often a value is seen matters
    monkeypatch.setattr(baselines, "MAX_NUMBERS", 2)
    numbers, codes, y, w = table(kind)
    training, others = np.arange(0, N, 2), np.arange(1, N, 2)
    first = linear(
        kind, y, numbers=numbers, codes=codes, cardinalities=CARDINALITIES, training_rows=training, w=w, n_classes=4
    )
    spoilt = y.copy()
    spoilt[others] = 0
    other_w = w.copy()
    other_w[others] = 9
    changed = numbers.copy()
    changed[others] *= np.float32([0, 1, 50])
    other_codes = codes.copy()
    other_codes[others] = 4
    second = linear(
        kind,
        spoilt,
        numbers=changed,
        codes=other_codes,
        cardinalities=CARDINALITIES,
        training_rows=training,
        w=other_w,
        n_classes=4,
    )
    assert np.array_equal(first(training), second(training))
    a, b = (dumb(kind, t, w=v, training_rows=training, n_classes=4)(others) for t, v in ((y, w), (spoilt, other_w)))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_both_can_be_scored_and_the_linear_one_is_better(kind: str) -> None:
    numbers, codes, y, w = table(kind)
    training, others = np.arange(0, N, 2), np.arange(1, N, 2)
    found = []
    for predict in (
        dumb(kind, y, w=w, training_rows=training),
        linear(kind, y, numbers=numbers, codes=codes, cardinalities=CARDINALITIES, training_rows=training, w=w),
    ):
        scores = scorer(kind, 4 if kind == "multiclass" else 2)
        scores.add(predict(others), y[others], w[others])
        found.append(scores.result())
    best = "rmse" if kind == "regression" else "log_loss"
    assert found[1][best] < 0.8 * found[0][best]
    if kind != "regression":
        majority = DummyClassifier(strategy="most_frequent").fit(
            np.zeros((300, 1)), y[training], sample_weight=w[training]
        )
        assert found[0]["accuracy"] == pytest.approx(
            majority.score(np.zeros((300, 1)), y[others], sample_weight=w[others])
        )


def test_the_dumb_one_is_the_weighted_mean_or_share() -> None:
    training = np.array([0, 1, 3])
    y, w = np.array([1.0, 2.0, 99.0, 4.0]), np.array([1.0, 1.0, 5.0, 2.0])
    assert dumb("regression", y, w=w, training_rows=training)(np.arange(2)).tolist() == [2.75, 2.75]
    assert dumb("binary", [0, 1, 1, 1], w=w, training_rows=training)(np.arange(1)).tolist() == [0.75]
    assert dumb("multiclass", [0, 1, 1, 2], training_rows=training, n_classes=4)(np.arange(1)) == pytest.approx(
        np.array([[1, 1, 1, 0]]) / 3
    )


def test_a_target_far_from_zero_is_met_in_its_own_units() -> None:
    numbers, codes, y, _ = table("regression")
    everything = np.arange(N)
    plain, far = (
        linear("regression", t, numbers=numbers, codes=codes, cardinalities=CARDINALITIES, training_rows=everything)(
            everything
        )
        for t in (y, 1e6 + 1e3 * y)
    )
    # float32 products: 1e-6 of terms of some 1e3; in float32 throughout, a digit of 1e6 would be 0.06
    np.testing.assert_allclose(far, 1e6 + 1e3 * plain, rtol=0, atol=0.02)


def test_several_targets_at_once() -> None:
    numbers, codes, y, _ = table("regression")
    everything = np.arange(N)
    both = np.stack([y, -2 * y], 1)
    found = linear(
        "regression", both, numbers=numbers, codes=codes, cardinalities=CARDINALITIES, training_rows=everything
    )(everything)
    np.testing.assert_allclose(found[:, 1], -2 * found[:, 0], rtol=0, atol=1e-4)  # float32 products
    assert dumb("regression", both, training_rows=everything)(np.arange(3)).shape == (3, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["numbers", "codes", "nothing"])
def test_tables_of_numbers_alone_codes_alone_or_nothing_that_helps(what: str, kind: str) -> None:
    numbers, codes, y, _ = table(kind)
    numbers = numbers if what == "numbers" else numbers[:, :0]
    codes, cardinalities = (codes, CARDINALITIES) if what == "codes" else (codes[:, :0], ())
    everything = np.arange(N)
    found = linear(kind, y, numbers=numbers, codes=codes, cardinalities=cardinalities, training_rows=everything)(
        everything
    )
    assert np.isfinite(found).all()
    if what == "nothing":  # the free intercept alone: the mean
        np.testing.assert_allclose(found, dumb(kind, y, training_rows=everything)(everything), rtol=0, atol=1e-3)


def test_wide_and_many_valued_tables_are_cut_to_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 200)
    monkeypatch.setattr(baselines, "MAX_ONE_HOT", 6)
    monkeypatch.setattr(baselines, "MAX_NUMBERS", 2)
    numbers, codes, y, _ = table("regression")
    codes[:500, 1] = 7  # values that are seen often get the columns
    found = linear(
        "regression",
        y,
        numbers=numbers * np.float32([0.1, 1, 2]),
        codes=codes,
        cardinalities=CARDINALITIES,
        training_rows=np.arange(N),
    )
    x = columns(numbers, codes)[:, [1, 2, *range(3, 8), 8 + 7]] * np.r_[1, 2, np.ones(6)]
    expected = Ridge(alpha=1.0).fit(x[::3], y[::3]).predict(x)
    np.testing.assert_allclose(found(np.arange(N)), expected, rtol=0, atol=1e-4)  # float32 products


def test_copies_of_huge_columns_do_not_break_the_factorisation() -> None:
    numbers, codes, y, _ = table("binary")
    huge = np.repeat(numbers * np.float32(1e7), 2, axis=1)
    for kind in ("regression", "binary"):
        found = linear(kind, y, numbers=huge, codes=codes, cardinalities=CARDINALITIES, training_rows=np.arange(N))(
            np.arange(N)
        )
        assert np.isfinite(found).all()
