"""Splits: every row in one set, shares as asked for, membership a function of the row alone; each wrong split one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbgd.data.table import Table, open_table
from mbgd.desk.plan import Plan
from mbgd.desk.sets import Sets, _name_hash, split, split_column
from mbgd.desk.table_plan import table_plan
from mbgd.errors import DataError, PlanError

WORDS = {"target": "y"}


def rows(n: int, **columns: Any) -> Table:
    return open_table({"y": np.arange(n, dtype=np.float64), **columns})


def plan(**words: Any) -> Plan:
    return table_plan({**WORDS, **words})


def everything(sets: Sets) -> list[int]:
    return sorted([*sets.training.tolist(), *sets.validation.tolist(), *sets.test.tolist()])


@settings(max_examples=60)
@given(
    n=st.integers(4, 300), test=st.floats(0.01, 0.9), validation=st.floats(0.01, 0.9), seed=st.integers(0, 9),
    kind=st.sampled_from(["random", "time:t", "group:g"]), classes=st.booleans(),
)  # fmt: skip
def test_every_row_is_in_exactly_one_set(
    *, n: int, test: float, validation: float, seed: int, kind: str, classes: bool
) -> None:
    chance = np.random.default_rng(n)
    table = rows(n, t=chance.permutation(n), g=np.arange(n) % max(4, n // 3))
    labels = chance.integers(0, 2, n) if classes and kind == "random" else None
    try:
        sets = split(table, plan(test=test, validation=validation, seed=seed, split=kind), labels=labels)
    except (DataError, PlanError) as error:
        assert "split" in str(error) or "hold out less" in str(error)  # noqa: PT017  too few are left to be cut again
        return
    assert everything(sets) == list(range(n))
    assert len(sets.training) > 0
    for part in (sets.training, sets.validation, sets.test):
        assert (np.diff(part) > 0).all()
    again = split(table, plan(test=test, validation=validation, seed=seed, split=kind), labels=labels)
    assert everything(again) == everything(sets)
    assert again.test.tolist() == sets.test.tolist()


@pytest.mark.parametrize("n", [10, 99, 1000])
def test_random_shares_are_met_to_a_row(n: int) -> None:
    sets = split(rows(n), plan(), labels=None)
    assert abs(len(sets.test) - n / 5) <= 0.5
    assert abs(len(sets.validation) - (n - len(sets.test)) / 10) <= 0.5


def test_within_each_class_the_shares_are_the_same() -> None:
    labels = np.repeat([0, 1, 2], [500, 100, 5])
    sets = split(rows(605), plan(), labels=labels)
    counts = np.bincount(labels[sets.test], minlength=3), np.bincount(labels[sets.validation], minlength=3)
    assert [c.tolist() for c in counts] == [[100, 20, 1], [40, 8, 0]]
    lone = split(rows(101), plan(test=0.5), labels=np.repeat([0, 1], [100, 1]))
    assert 100 in lone.training  # the only row of a class is never held out: nobody would learn it


def test_another_seed_draws_other_rows_and_no_share_none() -> None:
    table = rows(400)
    first, second = (split(table, plan(seed=seed), labels=None) for seed in (0, 1))
    shared = len(set(first.test) & set(second.test))
    assert 4 <= shared <= 28  # 80 of 400 twice: 16 expected, standard deviation 3.2; all within 3.75 of them
    none = split(table, plan(test="none", validation=None), labels=None)
    assert (len(none.training), len(none.validation), len(none.test)) == (400, 0, 0)


def test_validation_rows_do_not_move_with_the_test_share_of_a_group() -> None:
    """Whether a group is held out is told by its name and the seed; in which order rows come does not matter."""
    groups = np.array([f"g{k % 30}" for k in range(300)])
    table, turned = rows(300, g=groups), rows(300, g=groups[::-1].copy())
    how = plan(split="group:g")
    held = {groups[row] for row in split(table, how, labels=None).test}
    assert held == {groups[::-1][row] for row in split(turned, how, labels=None).test}


@pytest.mark.parametrize(
    ("name", "fnv"), [("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)]
)
def test_the_number_of_a_group_is_the_same_in_every_process(name: str, fnv: int) -> None:
    """FNV-1a with 64 bits, by the test vectors of its authors; the lowest bit is dropped for the sign's sake."""
    assert _name_hash(name) == fnv >> 1


def test_times_of_every_kind_hold_out_the_latest() -> None:
    days = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
    order = np.random.default_rng(0).permutation(100)
    for values in (
        pa.array(days[order]),
        pa.array(days[order].astype("datetime64[ns]")),
        pa.array([str(day) for day in days[order]]),
        pa.array(order * 1.5),
        pa.array(order.astype(np.int32)),
    ):
        sets = split(rows(100, t=values), plan(split="time:t"), labels=None)
        assert sorted(order[sets.test].tolist()) == list(range(80, 100))
        assert sorted(order[sets.validation].tolist()) == list(range(72, 80))


MARKS = ["train", "Training ", "VAL", "valid", "validation", "test"]


def test_a_column_of_marks() -> None:
    sets = split(rows(6, m=MARKS), plan(split="column:m"), labels=None)
    assert [part.tolist() for part in (sets.training, sets.validation, sets.test)] == [[0, 1], [2, 3, 4], [5]]


@pytest.mark.parametrize(
    ("columns", "word", "message"),
    [
        ({"m": ["train", "later"]}, "column:m",
         "the data frame: row 2, column 'm': a set must be train, validation or test, got 'later'; correct it"),
        ({"m": ["test", "test"]}, "column:m",
         "the data frame, column 'm': at least one row must say train, got none; mark the training rows"),
        ({"m": ["train", None]}, "column:m",
         "the data frame: row 2, column 'm': a set must be train, validation or test, got 'none'; correct it"),
        ({"t": [None, 1.0]}, "time:t",
         "the data frame: row 1, column 't': a split by time needs a time in every row, got none; fill it"),
        ({"t": ["2024-01-01", "later"]}, "time:t",
         "the data frame: row 2, column 't': a split by time needs times or numbers, got 'later'; "
         "write it as 2024-01-31 23:59"),
        ({"t": [True, False]}, "time:t", "the data frame, column 't': a split by time needs times or numbers, got bool"),
        ({"t": [1, 2]}, "time:u", "the data frame: there is no column 'u'; it has y, t"),
    ],
)  # fmt: skip
def test_columns_that_cannot_split(columns: dict[str, Any], word: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        split(rows(2, **columns), plan(split=word), labels=None)
    assert str(caught.value) == message


def test_one_group_or_one_time_cannot_be_split() -> None:
    with pytest.raises(PlanError, match="split by group needs at least two groups, got 1; split at random instead"):
        split(rows(9, g=["a"] * 9), plan(split="group:g"), labels=None)
    with pytest.raises(PlanError, match="split by time needs at least two different times among the rows, got one"):
        split(rows(9, t=[3] * 9), plan(split="time:t"), labels=None)


@pytest.mark.parametrize("word", ["tiem:x", "random:x", "time", "time:", "group", "column:"])
def test_words_that_are_no_split(word: str) -> None:
    with pytest.raises(PlanError, match="split must be random, time:COLUMN, group:COLUMN or column:COLUMN, got "):
        split_column(plan(split=word))
    assert split_column(plan(split="time:a:b")) == "a:b"
