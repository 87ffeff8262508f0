"""Defaults by the number of rows: ends and what lies between, and words that are given stay."""

from __future__ import annotations

import pytest

from mbgd.desk.table_defaults import default_decay, default_dropout, default_epochs, default_rate
from mbgd.desk.table_plan import table_plan


def test_few_rows_are_held_back_and_many_are_not() -> None:
    assert [default_dropout(n) for n in (1, 30_000, 200_000, 10**9)] == [0.15, 0.15, 0.0, 0.0]
    assert [default_decay(n) for n in (1, 30_000, 200_000, 10**9)] == [0.02, 0.02, 0.0, 0.0]
    falling = [default_dropout(n) for n in range(30_000, 200_000, 10_000)]
    assert falling == sorted(falling, reverse=True)


def test_rates_of_the_optimizers() -> None:
    assert default_rate("adamw", 500, 64, classes=False) == default_rate("adam", 10**6, 64, classes=True) == 4e-3
    assert [default_rate("adamw", 10**6, m, classes=True) for m in (4, 256, 4096)] == pytest.approx([1e-3, 8e-3, 8e-3])
    assert default_rate("tabular", 500, 64, classes=True) == 0.04
    assert default_rate("tabular", 500, 64, classes=False) == 0.2
    assert default_rate("tabular", 10**6, 256, classes=False) == pytest.approx(0.05)
    assert default_rate("sgd", 500, 64, classes=False) is None


def test_where_later_rows_are_to_be_predicted_the_network_is_held_back() -> None:
    assert [default_dropout(n, later=True) for n in (1, 10**9)] == [0.15, 0.15]
    assert default_epochs(60_000, 256) == 48
    assert [default_epochs(n, 256, later=True) for n in (60_000, 10**6)] == [13, 4]


def test_a_split_by_time_is_trained_once_more_with_the_latest_rows_unless_told_otherwise() -> None:
    assert table_plan({"target": "y", "split": "time:t"}).refit
    assert not table_plan({"target": "y", "split": "time:t", "refit": False}).refit
    assert not table_plan({"target": "y", "split": "time:t", "validation": "none"}).refit
    assert not table_plan({"target": "y", "split": "time:t"}, plain=True).refit
    assert not table_plan({"target": "y"}).refit
