"""Hints: what looks too good, too rare or in order is said in one line each; by training rows alone, and quickly."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from command import table
from mbgd.desk import hints
from mbgd.desk import table as module
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan

N = 2000


def notices(data: pd.DataFrame, target: str, **words: Any) -> list[str]:
    """But for the first, which is always there: the task and its reason."""
    task, *others = read_rows(data, table_plan({"target": target, **words})).notices
    assert task.startswith((f"the task for {target} is regression: ", f"the task for {target} is classification: "))
    return others


def plain(n: int = N) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": chance.normal(size=n),
            "c": chance.choice(["u", "v", "w"], n),
            "when": pd.to_datetime("2024-01-01") + pd.to_timedelta(chance.permutation(n), "h"),
            "y": chance.normal(size=n),
        }
    )


def test_a_plain_table_has_no_hints() -> None:
    assert notices(plain(), "y") == []
    assert notices(plain(), "c") == []
    assert notices(plain(20), "y") == []


def test_a_column_that_explains_the_target_alone_is_named() -> None:
    data = plain()
    late = data.assign(departure=data["y"] * 3 + 0.3 * np.random.default_rng(1).normal(size=N))
    said = notices(late, "y")
    assert len(said) == 1
    # y of variance 9 against noise of variance 0.09: 99 %
    assert said[0] == "column departure alone explains 99 % of y: is it known when you predict?"
    answer = data.assign(grade=data["c"].map({"u": "one", "v": "two", "w": "three"}))
    # each grade counts one row more, of all classes: not quite the whole
    assert notices(answer, "c") == ["column grade alone explains 99.7 % of c: is it known when you predict?"]
    many = answer.assign(**{f"copy{i}": answer["grade"] for i in range(5)})
    assert len(notices(many, "c")) == 3
    assert notices(late, "y", drop=("departure",)) == []


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.83, "83 %"), (0.994, "99 %"), (0.9949, "99 %"), (0.995, "99.5 %"), (0.997, "99.7 %"), (0.9991, "99.9 %"),
        (0.9996, "more than 99.9 %"), (1 - 1e-9, "more than 99.9 %"), (1 - 1e-16, "100 %"), (1.0, "100 %"),
    ],
)  # fmt: skip
def test_a_share_is_the_whole_only_where_it_is(monkeypatch: pytest.MonkeyPatch, share: float, said: str) -> None:
    monkeypatch.setattr(hints, "variance_explained", lambda *columns, **words: share)
    assert notices(plain()[["x", "y"]], "y") == [f"column x alone explains {said} of y: is it known when you predict?"]


def test_only_training_rows_are_looked_at() -> None:
    data = plain()
    sets = read_rows(data, table_plan({"target": "y"})).sets
    leak = np.where(np.isin(np.arange(N), sets.training), data["x"], data["y"])
    assert notices(data.assign(x=leak), "y") == []
    leak = np.where(np.isin(np.arange(N), sets.training), data["y"], 1e9 * data["x"])
    assert len(notices(data.assign(x=leak), "y")) == 1


ORDER = "when orders the rows: a random split may flatter; try split='time:when'"


def test_a_time_that_orders_the_rows_is_named_where_rows_are_held_out_at_random() -> None:
    data = plain().sort_values("when", ignore_index=True)
    assert notices(data, "y") == [ORDER]
    assert notices(data[::-1].reset_index(drop=True), "y") == [ORDER]
    assert notices(data.assign(when=data["when"].dt.date), "y") == [ORDER]
    gaps = data.assign(when=data["when"].where(data.index % 5 != 0))
    assert notices(gaps, "y") == [ORDER]
    assert ORDER not in notices(data, "y", split="time:when")
    assert notices(data, "y", test="none") == []
    assert notices(data, "y", drop=("when",)) == [ORDER]  # it orders them all the same


@pytest.mark.parametrize(("rare", "said"), [(0.004, True), (0.05, False)])
def test_a_rare_class_is_counted(rare: float, said: bool) -> None:
    data = plain(5000)
    data["ill"] = np.where(np.arange(5000) < 5000 * rare, "yes", "no")
    found = [notice for notice in notices(data, "ill") if "accuracy" in notice]
    expected = (
        "ill is 'yes' in 14 of 3,600 training rows: accuracy says little of so rare a class; go by log_loss and roc_auc, "
        "and try threshold_for='f1'"
    )
    assert found == ([expected] if said else [])
    asked = [notice for notice in notices(data, "ill", threshold_for="f1") if "accuracy" in notice]
    assert asked == ([expected.removesuffix(", and try threshold_for='f1'")] if said else [])


def test_odd_columns_hint_nothing_and_fail_nothing() -> None:
    data = table().drop(columns="when").assign(  # whose text is a time that orders the rows
        huge=np.where(np.arange(400) % 2, 1.7e308, -1.7e308), tiny=5e-324, empty=None, late=pd.NaT,
        stamp=pd.to_datetime("2024-01-01"), spans=pd.to_timedelta(np.arange(400) % 7, "s"),
        zoned=np.random.default_rng(0).permutation(pd.date_range("2024-01-01", periods=400, tz="Europe/Berlin")),
        kind=pd.Categorical(np.arange(400) % 3),
    )  # fmt: skip
    for target in ("y", "label", "c", "kind"):
        drop = tuple({"y", "label"} - {target})
        assert [
            notice for notice in notices(data, target, drop=drop) if "explains" in notice or "orders" in notice
        ] == []


def test_hints_of_a_large_table_take_less_than_a_fifth_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """300,000 rows of 12 numbers, 5 categories and a time; the shortest of three, since other work disturbs the clock."""
    chance, n = np.random.default_rng(0), 300_000
    data = pd.DataFrame(chance.normal(size=(n, 12)), columns=[f"n{i}" for i in range(12)])
    for i in range(5):
        data[f"c{i}"] = pd.Categorical.from_codes(chance.integers(0, 100, n), [f"v{k}" for k in range(100)])
    data["when"], data["y"] = pd.date_range("2000-01-01", periods=n, freq="min"), chance.normal(size=n)
    seconds: list[float] = []
    original = module.hints

    def timed(*args: Any, **kwargs: Any) -> tuple[str, ...]:
        for _ in range(3):
            start = time.perf_counter()
            said = original(*args, **kwargs)
            seconds.append(time.perf_counter() - start)
        return said

    monkeypatch.setattr(module, "hints", timed)
    assert notices(data, "y") == [ORDER]
    assert min(seconds) < 0.2


def test_a_class_of_a_single_row_is_asked_about() -> None:
    data = plain()
    data["d"] = np.where(data["x"] > 0.5, "yes", "no")
    assert notices(data, "d", drop=("x",)) == []
    for row in (0, 7, 100):  # wherever it comes to stand: in training, validation or test
        data.loc[row, "d"] = "yess"
        assert "class 'yess' of d stands in 1 row only: a slip?" in notices(data, "d", drop=("x",))
        data.loc[row, "d"] = "no"
    data.loc[[3, 4], "d"], data.loc[5, "d"] = "Yes", "n"
    said = [notice for notice in notices(data, "d", drop=("x",)) if "slip" in notice]
    assert said == [
        "class 'Yes' of d stands in 2 rows only: a slip?",
        "class 'n' of d stands in 1 row only: a slip?",
    ]
    data.loc[10:30, "d"] = [f"new {k}" for k in range(21)]
    assert len([notice for notice in notices(data, "d", drop=("x",)) if "slip" in notice]) == 3


def test_small_classes_among_small_ones_are_none() -> None:
    data = plain(40)
    data["d"] = np.array(["a"] * 20 + ["b"] * 9 + ["c"] * 8 + ["d"] * 3)
    assert not any("slip" in notice for notice in notices(data, "d", test="none", validation="none"))


def test_weights_leave_coverage_without_bounds_and_that_is_said() -> None:
    data, said = plain().assign(w=1.0), "column w weighs rows: no bounds are given for the coverage of intervals"
    words = {"quantiles": (0.1, 0.5, 0.9), "weight": "w"}
    assert any(notice.startswith(said) for notice in notices(data, "y", **words))
    for fewer in ({"weight": None}, {"quantiles": ()}, {"test": "none"}):
        assert not any(notice.startswith(said) for notice in notices(data, "y", **{**words, **fewer}))
