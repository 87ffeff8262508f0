"""Defaults by the number of rows: ends and what lies between, and words that are given stay."""

from __future__ import annotations

import pytest

from mbgd.desk.table_defaults import default_decay, default_dropout, default_rate


def test_few_rows_are_held_back_and_many_are_not() -> None:
    assert [default_dropout(n) for n in (1, 30_000, 200_000, 10**9)] == [0.15, 0.15, 0.0, 0.0]
    assert [default_decay(n) for n in (1, 30_000, 200_000, 10**9)] == [0.02, 0.02, 0.0, 0.0]
    falling = [default_dropout(n) for n in range(30_000, 200_000, 10_000)]
    assert falling == sorted(falling, reverse=True)


def test_rates_of_the_optimizers() -> None:
    assert default_rate("adamw", 500, classes=False) == default_rate("adamw", 10**6, classes=True) == 2e-3
    assert default_rate("tabular", 500, classes=True) == 0.04
    assert default_rate("tabular", 500, classes=False) == 0.2
    assert default_rate("tabular", 10**6, classes=False) == pytest.approx(0.05)
    assert default_rate("sgd", 500, classes=False) is None
