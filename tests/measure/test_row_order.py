"""Rows in an order of time are known, whole, backwards, or file by file; rows of chance are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mbgd.measure.row_order import sortedness

N = 3000
UP = np.arange(N) // 7


def test_times_that_never_fall_or_never_rise_are_in_order() -> None:
    assert sortedness(UP) == sortedness(UP[::-1]) == sortedness(np.repeat([0, 1], [1, 99])) == 1
    assert sortedness(np.zeros(N, np.int64)) == 0  # one time orders nothing
    assert sortedness(np.array([5])) == sortedness(np.zeros(0, np.int64)) == 0


def test_few_rows_out_of_place_do_not_hide_the_order() -> None:
    times = UP.copy()
    times[::300] = 0
    assert sortedness(times) > 0.98
    assert sortedness(times) == pytest.approx(stats.spearmanr(times, np.arange(N)).statistic, rel=1e-9)


def test_sorted_files_in_any_order_are_in_order() -> None:
    files = np.random.default_rng(0).permutation(np.arange(12))
    times = np.concatenate([1000 * file + np.arange(250) for file in files])
    assert abs(stats.spearmanr(times, np.arange(N)).statistic) < 0.9
    assert sortedness(times) > 0.99


def test_rows_of_chance_are_in_no_order() -> None:
    times = np.random.default_rng(0).permutation(UP)
    assert sortedness(times) < 0.1  # sd of either correlation: 1 / sqrt(3000)
    assert sortedness(np.tile(np.arange(50), 60)) < 0.95  # the same times again and again: one per group
