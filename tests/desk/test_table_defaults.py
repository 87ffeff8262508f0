"""Defaults by the number of rows: ends and what lies between, and words that are given stay."""

from __future__ import annotations

import pytest

from mbgd.desk.table_defaults import (
    default_average,
    default_decay,
    default_dropout,
    default_epochs,
    default_patience,
    default_rate,
)
from mbgd.desk.table_plan import table_plan


def test_few_rows_are_held_back_and_many_are_not() -> None:
    assert [default_dropout(n, classes=True) for n in (1, 30_000, 200_000, 10**9)] == [0.15, 0.15, 0.0, 0.0]
    assert [default_dropout(n, classes=False) for n in (1, 30_000, 200_000, 10**9)] == [0.0, 0.0, 0.0, 0.0]
    assert [default_decay(n) for n in (1, 30_000, 200_000, 10**9)] == [0.02, 0.02, 0.0, 0.0]
    falling = [default_dropout(n, classes=True) for n in range(30_000, 200_000, 10_000)]
    assert falling == sorted(falling, reverse=True)


def test_rates_of_the_optimizers() -> None:
    assert default_rate("adamw", 500, 64, classes=False) == default_rate("adam", 10**6, 64, classes=True) == 4e-3
    assert [default_rate("adamw", 10**6, m, classes=True) for m in (4, 256, 4096)] == pytest.approx([1e-3, 8e-3, 8e-3])
    assert default_rate("tabular", 500, 64, classes=True) == 0.04
    assert default_rate("tabular", 500, 64, classes=False) == 0.2
    assert default_rate("tabular", 10**6, 256, classes=False) == pytest.approx(0.05)
    assert default_rate("sgd", 500, 64, classes=False) is None


def test_patience_is_a_quarter_of_the_passes() -> None:
    assert [default_patience(epochs) for epochs in (1.5, 64.0, 66.0, 250.0)] == [16, 16, 17, 63]
    assert default_patience(None) is None


def test_weights_are_averaged_over_a_hundred_updates_or_a_tenth_of_fewer() -> None:
    assert default_average(None, None, 7) == 0.99
    assert default_average(10_000, 3.0, 1_000) == 0.99
    assert default_average(400, None, 7) == default_average(None, 40.0, 10) == pytest.approx(1 - 1 / 40)
    assert default_average(50, 100.0, 10) is default_average(None, 5.0, 10) is None


def test_where_later_rows_are_to_be_predicted_the_network_is_held_back() -> None:
    assert [default_dropout(n, classes=which, later=True) for n in (1, 10**9) for which in (True, False)] == [0.15] * 4
    assert default_epochs(60_000, 256) == 48
    assert [default_epochs(n, 256, later=True) for n in (60_000, 10**6)] == [13, 4]


def test_a_split_by_time_is_trained_once_more_with_the_latest_rows_unless_told_otherwise() -> None:
    assert table_plan({"target": "y", "split": "time:t"}).refit
    assert not table_plan({"target": "y", "split": "time:t", "refit": False}).refit
    assert not table_plan({"target": "y", "split": "time:t", "validation": "none"}).refit
    assert not table_plan({"target": "y", "split": "time:t"}, plain=True).refit
    assert not table_plan({"target": "y"}).refit
