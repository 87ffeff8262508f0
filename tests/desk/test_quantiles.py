"""`fit_table(quantiles=...)`: ordered and widened by the validation rows alone, recorded in the model, in the scores said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mbgd
from command import table
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.errors import PlanError

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
HOW: dict[str, Any] = {
    "target": "y", "drop": ("label", "key", "when", "group", "part", "two"), "quantiles": LEVELS, "epochs": 6,
    "batch_size": 32, "hidden_layer_sizes": (16,), "validation": 0.25, "learning_rate": 0.02,
}  # fmt: skip


def widths(run: mbgd.Run) -> list[float | None]:
    assert run.widening is not None
    return [pair.by for pair in run.widening.pairs]


def test_scores_are_those_of_the_widened_quantiles(tmp_path: Path) -> None:
    data = table()
    rows, run = read_rows(data, table_plan(HOW)), mbgd.fit_table(data, **HOW)
    assert run.engine == "fused"
    q, y = run.predict_quantiles(data), data["y"].to_numpy()
    assert q.shape == (400, 5)
    assert (np.diff(q, axis=1) >= 0).all()
    assert run.predict(data).tolist() == q[:, 2].tolist()
    test = rows.sets.test
    held = np.mean((q[test, 0] <= y[test]) & (y[test] <= q[test, 4]))
    assert run.scores["test"]["coverage"] == pytest.approx(held, abs=1e-12)
    # float32: 400 rows at once and 80 may differ in their last digits
    assert run.scores["test"]["mean_width"] == pytest.approx((q[test, 4] - q[test, 0]).mean(), rel=1e-5)
    assert [(pair.share, pair.rows, pair.nominal) for pair in run.coverage] == [
        (run.scores["test"]["coverage"], 80, 0.8), (run.scores["test"]["coverage_0.25_0.75"], 80, 0.5)
    ]  # fmt: skip
    assert json.loads(json.dumps(run.summary()))["coverage"][0]["rows"] == 80
    assert run.scores["test"]["pinball"] < run.baselines["constant"]["pinball"]
    constant = np.quantile(y[rows.sets.training], 0.9, method="inverted_cdf") - np.quantile(
        y[rows.sets.training], 0.1, method="inverted_cdf"
    )
    assert run.baselines["constant"]["mean_width"] == pytest.approx(constant)
    assert set(run.baselines) == {"constant", "linear"}


def test_the_widths_are_in_the_file_and_applied_after_a_load(tmp_path: Path) -> None:
    data, run = table(), mbgd.fit_table(table(), **HOW)
    assert None not in widths(run)
    again = mbgd.load(run.save(tmp_path / "m.safetensors"))
    assert again.widening == run.widening
    assert again.loss.levels == LEVELS
    assert again.predict_quantiles(data).tolist() == run.predict_quantiles(data).tolist()
    assert again.predict(data).tolist() == run.predict(data).tolist()


def test_on_validation_rows_each_interval_holds_the_share_it_was_widened_for() -> None:
    """ceil(0.8 * 81) = 65 and ceil(0.5 * 81) = 41 of the 80 validation rows at least."""
    data = table()
    held, run = read_rows(data, table_plan(HOW)).sets.validation, mbgd.fit_table(data, **HOW)
    q, y = run.predict_quantiles(data)[held], data["y"].to_numpy()[held]
    slack = 1e-5  # float32: the row at the very end of an interval may fall out by a rounding
    assert len(held) == 80
    assert ((q[:, 0] - slack <= y) & (y <= q[:, 4] + slack)).sum() >= 65
    assert ((q[:, 1] - slack <= y) & (y <= q[:, 3] + slack)).sum() >= 41


def test_validation_rows_alone_say_how_wide() -> None:
    """Other targets in test rows change no width; in validation rows they do, and no weight."""
    data, how = table(), {**HOW, "restore_best": False}
    sets, first = read_rows(data, table_plan(how)).sets, mbgd.fit_table(data, **how)
    for held, same in ((sets.test, True), (sets.validation, False)):
        other = data.copy()
        other.loc[held, "y"] = np.random.default_rng(0).normal(size=len(held)) * 3
        second = mbgd.fit_table(other, **how)
        assert (widths(second) == widths(first)) == same
        assert weights(second) == weights(first)


def weights(run: mbgd.Run) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in run.model.parameters())


def test_coverage_of_new_rows_is_what_was_asked_for() -> None:
    """12 seeds, 200 new rows each, 49 rows to widen by, weights not picked by them: the mean of 12 coverages about 0.8 has the
    deviation sqrt(0.16 (1/200 + 1/51) / 12) = 0.018; no more than 3 of them below."""
    shares = []
    for seed in range(12):
        chance = np.random.default_rng(seed)
        x = chance.uniform(-1, 1, 500)
        data = pd.DataFrame({"x": x, "y": x + (0.2 + np.abs(x)) * chance.standard_t(3, 500)})
        data["set"] = ["train"] * 251 + ["validation"] * 49 + ["test"] * 200
        how: dict[str, Any] = {"split": "column:set", "epochs": 3, "hidden_layer_sizes": (8,), "restore_best": False}
        run = mbgd.fit_table(data, "y", quantiles=(0.1, 0.9), **how)
        shares.append(run.scores["test"]["coverage"])
    assert np.mean(shares) >= 0.8 - 3 * 0.018


def test_too_few_validation_rows_or_none_say_so_and_widen_nothing() -> None:
    how = {**HOW, "quantiles": (0.005, 0.25, 0.5, 0.75, 0.995)}
    run = mbgd.fit_table(table(), **how)
    assert widths(run)[0] is None
    assert widths(run)[1] is not None
    assert run.notices[-1] == (
        "80 validation rows are too few to widen 0.005 to 0.995, which takes 99: that interval is as the network has it"
    )
    run = mbgd.fit_table(table(), **{**HOW, "validation": "none"})
    assert run.widening is None
    assert run.notices[-1] == "without validation rows no interval is widened: each is as the network has it"
    assert (np.diff(run.predict_quantiles(table()), axis=1) >= 0).all()


def test_a_model_trained_once_more_keeps_its_widths_and_one_taken_over_its_levels(tmp_path: Path) -> None:
    first = mbgd.fit_table(table(), out=tmp_path / "r", **HOW)
    assert widths(mbgd.fit_table(table(), refit=True, **HOW)) == widths(first)
    assert mbgd.fit_table(table(), init=tmp_path / "r", **{**HOW, "epochs": 1}).predictor.loss.levels == LEVELS
    with pytest.raises(PlanError, match=r"init must be a model of the quantiles none, got .*r, whose are \(0.1, 0.25"):
        mbgd.fit_table(table(), init=tmp_path / "r", **{**HOW, "quantiles": ()})


def test_row_weights_weigh_scores_and_rows_without_any_widen_nothing() -> None:
    data = table().assign(w=1.0)
    plain = mbgd.fit_table(data, **{**HOW, "drop": (*HOW["drop"], "w")})
    weighted = mbgd.fit_table(data, weight="w", **HOW)
    assert widths(weighted) == widths(plain)
    assert weighted.coverage == ()  # a binomial interval is of rows that count the same
    held = read_rows(data, table_plan({**HOW, "weight": "w"})).sets.validation
    data.loc[held[:70], "w"] = 0.0
    few = mbgd.fit_table(data, weight="w", **{**HOW, "restore_best": False}).widening
    assert few is not None
    assert [pair.rows for pair in few.pairs] == [10, 10]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"loss": "huber"}, "quantiles have a loss of their own, got loss='huber' as well; leave the loss out"),
        ({"quantile": 0.9}, "quantiles and quantile exclude each other, got quantile=0.9 as well; leave it out"),
        ({"target": "label", "drop": ()}, "quantiles need a target of numbers, got the classes of 'label'; leave"),
        ({"quantiles": (0.9,)}, r"quantiles must be at least two rising levels above 0 and below 1, got \(0.9,\)"),
        ({"metric": "r2"}, "metric must be one of loss, pinball for quantiles losses, got 'r2'"),
    ],
)
def test_what_does_not_go_with_quantiles_is_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=f"^{said}"):
        mbgd.fit_table(table(), **{**HOW, **words})


def test_quantiles_of_another_model_are_refused_and_a_module_of_ones_own_has_none() -> None:
    run = mbgd.fit_table(table(), **{**HOW, "quantiles": (), "epochs": 1})
    with pytest.raises(PlanError, match="predict_quantiles needs a model of quantiles, got another"):
        run.predict_quantiles(table())
    with pytest.raises(
        PlanError, match="quantiles belongs to fit_table, got it with a module of your own; loss='quant"
    ):
        mbgd.fit(run.model, (np.zeros((3, 2)), np.zeros(3)), loss="quantile", quantiles=(0.1, 0.9))  # type: ignore[call-arg]
