"""Scores of numbers whose squares no float holds: those of exact arithmetic, however the rows are cut into chunks."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from mbgd.data.encode.target import Target
from mbgd.data.powers import deviation
from mbgd.measure.baselines import linear
from mbgd.measure.conformal import conformal
from mbgd.measure.metrics import scorer
from mbgd.measure.one_column import binned, variance_explained
from mbgd.measure.quantiles import Quantiles

N = 40
ROUNDING = 1e-12  # relative: sums of 40 terms in float64


def root(square: Fraction) -> float:
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 50, 10**6, -(10**6)
        return float((Decimal(square.numerator) / Decimal(square.denominator)).sqrt())


def exact(y: np.ndarray, prediction: np.ndarray, w: np.ndarray) -> dict[str, float]:
    """By fractions of whole numbers, which have no range; NaN in place of an R2 without spread."""
    ys, ps, ws = ([Fraction(float(v)) for v in part] for part in (y, prediction, w))
    total = sum(ws)
    mean = sum(a * b for a, b in zip(ws, ys, strict=True)) / total
    spread = sum(a * (b - mean) ** 2 for a, b in zip(ws, ys, strict=True))
    errors = [b - c for b, c in zip(ys, ps, strict=True)]
    squares = sum(a * e**2 for a, e in zip(ws, errors, strict=True))
    mae = sum(a * abs(e) for a, e in zip(ws, errors, strict=True)) / total
    return {"rmse": root(squares / total), "mae": float(mae), "r2": float(1 - squares / spread) if spread else math.nan}


def rows(size: float, apart: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.standard_normal(N) * size
    return y, y + rng.standard_normal(N) * apart


CASES = {  # -> about how large targets are, and errors
    "usual": (1.0, 0.5),
    "tiny": (1e-200, 1e-201),
    "tiny, met exactly": (1e-200, 0.0),
    "tiny, all but met": (1e-150, 1e-165),
    "tiny, missed by far": (1e-100, 1.0),
    "subnormal": (3e-310, 1e-311),
    "the least there are": (2e-323, 1e-323),
    "huge": (1e200, 1e199),
    "huge, all but met": (1e200, 1e190),
    "the largest there are": (4e307, 4e307),
    "around the power that is scaled": (2.0**200, 2.0**-200),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cuts", [[], [1, 2, 20]])
@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_exact_arithmetic(case: str, cuts: list[int], weighted: bool) -> None:
    y, prediction = rows(*CASES[case])
    w = np.random.default_rng(1).integers(0, 4, N) * 0.7 if weighted else np.ones(N)
    found = scorer("regression")
    for start, end in zip([0, *cuts], [*cuts, N], strict=True):
        found.add(prediction[start:end], y[start:end], w[start:end] if weighted else None)
    wanted = exact(y, prediction, w)
    for name, value in found.result().items():
        assert value == pytest.approx(wanted[name], rel=ROUNDING, abs=5e-324), name


def test_chunks_of_other_sizes_and_targets_of_other_sizes_are_one_score() -> None:
    parts = [rows(*CASES[case]) for case in ("tiny", "usual", "huge", "tiny, met exactly")]
    zeros = (np.zeros(N), np.zeros(N))
    for order in ([0, 1], [1, 0], [2, 0, 1], [0, 2], [3, 0]):
        y, prediction = (np.concatenate([zeros[i], *(parts[k][i] for k in order)]) for i in (0, 1))
        found = scorer("regression")
        for start in range(0, len(y), N):
            found.add(prediction[start : start + N], y[start : start + N])
        assert found.result() == pytest.approx(exact(y, prediction, np.ones(len(y))), rel=ROUNDING, abs=0)
    side_by_side = scorer("regression", names=("a", "b", "c"))
    side_by_side.add(*(np.stack([part[i] for part in parts[:3]], axis=1) for i in (1, 0)))
    scores = side_by_side.result()
    for name, (y, prediction) in zip("abc", parts[:3], strict=True):
        wanted = exact(y, prediction, np.ones(N))
        assert {score: scores[f"{score}_{name}"] for score in wanted} == pytest.approx(wanted, rel=ROUNDING, abs=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-200, 5e-324, 1e200, -1.7e308])
@pytest.mark.parametrize("cuts", [[], [3, 5]])
def test_targets_of_one_value_have_an_r2_of_1_where_met_and_else_of_0(value: float, cuts: list[int]) -> None:
    for prediction, r2 in ((value, 1.0), (value / 2 + 1.0, 0.0)):
        found = scorer("regression")
        for start, end in zip([0, *cuts], [*cuts, 9], strict=True):
            found.add(np.full(end - start, prediction), np.full(end - start, value))
        assert found.result()["r2"] == r2


def test_rows_of_no_weight_have_no_say_whatever_they_hold() -> None:
    y, prediction = rows(*CASES["tiny"])
    w = np.where(np.arange(N) % 3 == 0, 0.0, 1.0)
    wild = np.where(w == 0, 1e300, y)
    for other in (wild, np.where(w == 0, np.nan, y)):
        scores = []
        for own in (y, other):
            found = scorer("regression")
            found.add(prediction, own, w)
            scores.append(found.result())
        assert scores[0] == scores[1]


def test_usual_numbers_have_the_bits_of_the_plain_sums() -> None:
    y, prediction = rows(1.0, 0.5)
    found = scorer("regression")
    found.add(prediction, y)
    ones = np.ones(N)
    mean = ones @ y / N
    squares, spread = ones @ np.square(y - prediction), ones @ np.square(y - mean)
    assert found.result() == {
        "rmse": float(np.sqrt(squares / N)),
        "r2": float(1 - squares / spread),
        "mae": float(ones @ np.abs(y - prediction) / N),
    }


@pytest.mark.parametrize("size", [1.0, 1e-200, 1e-310, 1e150])
def test_a_target_is_scaled_by_its_own_deviation(size: float) -> None:
    y = rows(size, 0.0)[0]
    values = [Fraction(float(v)) for v in y]
    mean = sum(values) / N
    wanted = root(sum((v - mean) ** 2 for v in values) / N)
    assert deviation(y) == pytest.approx(wanted, rel=ROUNDING, abs=0)
    target = Target("y", "regression").fit_scale(y, np.arange(N))
    z = target.standardise(y)
    assert (float(z.std()), float(z.mean())) == pytest.approx((1.0, 0.0), abs=1e-5)
    assert target.restore(z) == pytest.approx(y, rel=1e-5, abs=1e-6 * size)  # of float32


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-45, 1e30, 1e45, 1e150])
def test_the_linear_baseline_knows_no_unit(size: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 2)).astype(np.float32)
    y = (
        np.rint((x[:, 0] - 2 * x[:, 1] + 0.1 * rng.standard_normal(200)) * 64) / 64
    )  # exact in any unit that is a power of two
    unit = math.ldexp(1.0, round(math.log2(size)))
    how = {"numbers": x, "codes": np.zeros((200, 0), np.int64), "cardinalities": (), "training_rows": np.arange(100)}
    held = np.arange(100, 200)
    usual, other = (linear("regression", of, **how)(held) for of in (y, y * unit))  # type: ignore[arg-type]
    assert other == pytest.approx(usual * unit, rel=0.1 if size < 1e-300 else 1e-5, abs=5e-323 if size < 1e-300 else 0)


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e150])
def test_quantiles_their_widening_and_the_worth_of_a_column_know_no_unit(size: float) -> None:
    y, middle = rows(1.0, 0.5)
    y, middle = (np.rint(part * 16) / 16 for part in (y, middle))
    unit = math.ldexp(1.0, round(math.log2(size)))
    levels, scores, widths, shares = (0.1, 0.5, 0.9), [], [], []
    for scale in (1.0, unit):
        q = np.stack([middle - 1, middle, middle + 1], axis=1) * scale
        found = Quantiles(levels)
        found.add(q, y * scale)
        one = found.result()
        scores.append([one["pinball"] / scale, one["coverage"], one["mean_width"] / scale])
        (pair,) = conformal(levels, q, y * scale).pairs
        assert pair.by is not None
        widths.append(pair.by / scale)
        shares.append(variance_explained(binned(middle), y * scale, x_N=middle * scale))
    assert scores[1] == pytest.approx(
        scores[0], rel=0.02 if size < 1e-300 else 1e-9, abs=0
    )  # 16 subnormal steps a unit
    assert widths[1] == pytest.approx(widths[0], rel=0.02 if size < 1e-300 else 1e-9, abs=0)
    assert shares[1] == pytest.approx(shares[0], rel=1e-6)
