"""Law: folds part the rows, are as even as they can be, of each class too, and keep groups whole; which is whose is fixed."""

from __future__ import annotations

import numpy as np
import pytest

from mbgd.data.folds import folds_of_groups, folds_of_rows
from mbgd.errors import PlanError


@pytest.mark.parametrize("count", [2, 3, 7, 50])
def test_folds_of_rows_differ_by_one_row_at_most_and_by_one_of_each_class(count: int) -> None:
    chance = np.random.default_rng(count)
    rows = np.sort(chance.choice(1000, 50, replace=False))
    labels = chance.choice([0, 1, 2], 50, p=[0.7, 0.2, 0.1])
    for given in (None, labels):
        fold = folds_of_rows(rows, count, seed=3, labels=given)
        sizes = [int((fold == k).sum()) for k in range(count)]
        assert sum(sizes) == 50
        assert max(sizes) - min(sizes) <= 1
    for label in range(3):
        of_class = [int(((fold == k) & (labels == label)).sum()) for k in range(count)]
        assert max(of_class) - min(of_class) <= 1


def test_a_row_goes_where_its_hash_and_the_seed_say() -> None:
    rows = np.arange(200)
    first = folds_of_rows(rows, 4, seed=0)
    turned = folds_of_rows(rows[::-1].copy(), 4, seed=0)
    assert turned[::-1].tolist() == first.tolist()
    other = folds_of_rows(rows, 4, seed=1)
    assert 30 <= int((first == other).sum()) <= 70  # 50 expected by chance, standard deviation 6


def test_folds_of_groups_are_whole_and_even() -> None:
    chance = np.random.default_rng(0)
    groups = chance.choice(np.arange(40) * 7919, 900, p=np.arange(1, 41) / 820)
    fold = folds_of_groups(groups, 5, seed=2)
    assert all(len(set(fold[groups == group].tolist())) == 1 for group in set(groups.tolist()))
    sizes = [int((fold == k).sum()) for k in range(5)]
    assert sum(sizes) == 900
    assert max(sizes) - min(sizes) < 60  # no group has more rows: the last one placed went to the smallest fold
    again = chance.permutation(900)
    assert folds_of_groups(groups[again], 5, seed=2).tolist() == fold[again].tolist()


def test_more_folds_than_rows_or_groups_are_refused() -> None:
    with pytest.raises(
        PlanError, match="folds must be at most the number of rows besides the test rows, 3, got 4; give fewer"
    ):
        folds_of_rows(np.arange(3), 4, seed=0)
    with pytest.raises(
        PlanError,
        match="folds must be at most the number of groups besides those of the test rows, 2, got 3; give fewer",
    ):
        folds_of_groups(np.array([5, 5, 9]), 3, seed=0)
