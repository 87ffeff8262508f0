"""The target: task and classes by rule, labels and scale that survive JSON, every bad target named."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.encode.target import Target, has_target, learn_target
from mbgd.data.table import Table, open_table
from mbgd.errors import DataError, PlanError


def column(values: Any) -> Table:
    return open_table({"y": values})


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["no", "yes", "no"], "classification", ("no", "yes")),
        (pd.Categorical(["u", "v", "u"]), "classification", ("u", "v")),
        (pd.Categorical([3, 1, 3]), "classification", (1, 3)),
        ([True, False, True], "classification", (False, True)),
        ([2, 0, 1], "classification", (0, 1, 2)),
        (list(range(20)), "classification", tuple(range(20))),
        (list(range(21)), "regression", ()),
        ([0.0, 1.0, 0.0], "regression", ()),
        ([0.5, 1.5], "regression", ()),
    ],
)
def test_the_type_of_the_column_decides_the_task(values: Any, task: str, classes: tuple[Any, ...]) -> None:
    target = learn_target(column(values), "y")
    assert (target.task, target.classes, target.name) == (task, classes, "y")
    assert [type(c) for c in target.classes] == [type(c) for c in classes]
    again = Target.from_json(json.loads(json.dumps(target.to_json())))
    assert again == target
    assert [type(c) for c in again.classes] == [type(c) for c in classes]
    if classes:
        assert target.encode(column(values)).tolist() == [classes.index(v) for v in list(values)]


def test_the_user_decides_otherwise() -> None:
    assert learn_target(column([2, 0, 1]), "y", task="regression").encode(column([2, 0])).tolist() == [2.0, 0.0]
    assert learn_target(column([True, False]), "y", task="regression").encode(column([True])).tolist() == [1.0]
    whole = learn_target(column([1.0, 0.0, np.nan]), "y", task="classification")  # what pandas makes of 1, 0 and a gap
    assert whole.classes == (0, 1)
    assert whole.encode(column([1.0, np.nan, 0.0])).tolist() == [1, -1, 0]
    with pytest.raises(
        PlanError, match="task must be regression or classification, got 'regresion'; did you mean 'regression'"
    ):
        learn_target(column([1, 2]), "y", task="regresion")


def test_rows_without_target_are_seen_in_any_type() -> None:
    for values in ([1, None], [1.5, None], [1.5, float("nan")], ["a", None], [True, None], pd.Categorical(["a", None])):
        table = column(pa.array(values) if isinstance(values, list) else values)
        assert has_target(table, "y").tolist() == [True, False]
    assert np.isnan(learn_target(column([1.5, None, 2.0]), "y").encode(column([None, 1.0]))).tolist() == [True, False]
    assert learn_target(column(["a", None, "b"]), "y").encode(column(["b", None])).tolist() == [1, -1]


def test_labels_are_known_again_when_a_file_spells_them_as_text() -> None:
    assert learn_target(column([10, 7, 7]), "y").encode(column(["7", "10"])).tolist() == [0, 1]
    assert learn_target(column([True, False]), "y").encode(column(["False", "true"])).tolist() == [0, 1]


@given(y=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30), data=st.data())
def test_standardised_training_targets_have_mean_0_and_deviation_1_and_come_back(
    y: list[float], data: st.DataObject
) -> None:
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(y) - 1), min_size=1))))
    values = np.array(y)
    target = Target("y", "regression").fit_scale(values, rows)
    changed = values.copy()
    changed[np.setdiff1d(np.arange(len(y)), rows)] = 1e30
    assert target == Target("y", "regression").fit_scale(changed, rows)  # no other row is looked at
    z = target.standardise(values)
    assert z.dtype == np.float32
    if np.ptp(values[rows]) > 1e-3 * (1 + np.abs(values[rows]).max()):
        assert np.mean(z[rows], dtype=np.float64) == pytest.approx(0, abs=1e-5)  # float32 digits of up to 30 values
        assert np.std(z[rows], dtype=np.float64) == pytest.approx(1, abs=1e-5)
    back = target.restore(z)
    assert back.dtype == np.float64
    # a value outside of the training range comes back as the end on its side;
    # float32 keeps 2^-24 of z, which is worth that share of the distance from the centre
    inside = [min(max(value, min(values[rows])), max(values[rows])) for value in values]
    np.testing.assert_allclose(back, inside, rtol=1e-6, atol=1e-6 * (np.abs(values - target.center).max() + 1e-9))


@given(
    y=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9),
    outputs=st.lists(st.floats(allow_nan=False), min_size=1, max_size=9),
)
def test_no_output_is_restored_to_a_value_outside_of_the_training_targets(y: list[float], outputs: list[float]) -> None:
    target = Target("y", "regression").fit_scale(np.array(y), np.arange(len(y)))
    with np.errstate(over="ignore"):
        found = target.restore(np.array(outputs)).tolist()
    assert all(min(y) <= value <= max(y) for value in found)
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target


def test_a_target_is_widened_by_rows_trained_on_later_and_stays_unbounded_where_it_was() -> None:
    y = np.array([1.0, 5.0, -2.0, 7.0])
    target = Target("y", "regression").fit_scale(y, np.array([0, 1]))
    wider = target.widened(y, np.array([1, 3]))
    assert (wider.low, wider.high) == (1.0, 7.0)
    assert (wider.center, wider.scale) == (target.center, target.scale) == (3.0, 2.0)
    assert Target("y", "regression").widened(y, np.array([0])) == Target("y", "regression")


def test_a_class_target_has_no_scale() -> None:
    target = learn_target(column(["a", "b"]), "y")
    assert target.fit_scale(np.array([0.0, 5.0]), np.array([0, 1])) == target


BAD: list[tuple[Any, str | None, str]] = [
    ([1.5, np.inf], None, "the data frame: row 2, column 'y': inf is not finite; correct it, leave the cell empty, "
                          "or drop the column: drop=['y']"),
    (["a", "a", None], None, "the data frame, column 'y': classification needs at least two classes, got 'a' alone; "
                             "add rows of another class, or name another target"),
    (["a", "NA", "None", "NA"], None, "the data frame, column 'y': classification needs at least two classes, got 'a' alone; "
                                      "add rows of another class, or name another target; 'NA' stands in 2 rows and is read "
                                      "as missing: if it is a label, keep_default_na=False keeps it"),
    ([f"{k // 2}K" for k in range(60)], None, "the data frame, column 'y': its values look like numbers with units, such as "
        "'0K'; write the numbers alone, or predict labels: task='classification'"),
    ([None, None], None, "the data frame, column 'y': every target is missing; name another column as the target"),
    ([1.0, 0.5, 0.0], "classification", "the data frame: row 2, column 'y': a class label must be text, true or false, "
                                        "or a whole number, got 0.5 (double); task='regression' predicts numbers"),
    (["1", "2", "many"], "regression", "the data frame: row 3, column 'y': 'many' is not a number; correct the cell, "
                                       "or read the column as text: categorical=['y']"),
    ([datetime.date(2013, 1, 1)], None, "the data frame, column 'y': a target must be numbers or labels, got date32[day]; "
                                        "convert it first"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "task", "message"), BAD, ids=[m[-30:] for _, _, m in BAD])
def test_a_bad_target_is_one_sentence(values: Any, task: str | None, message: str) -> None:
    with pytest.raises(DataError) as caught:
        learn_target(column(values), "y", task=task)
    assert str(caught.value) == message


def test_an_absent_target_and_an_unseen_label_are_named() -> None:
    with pytest.raises(DataError, match="there is no column 'yy'; did you mean 'y'?"):
        learn_target(column([1, 2]), "yy")
    with pytest.raises(DataError) as caught:
        learn_target(column(["a", "b"]), "y").encode(column(["a", "c"]))
    assert str(caught.value) == (
        "the data frame: row 2, column 'y': the label 'c' is none of the classes ('a', 'b'); "
        "correct it, leave the cell empty, or train again with it"
    )
    with pytest.raises(DataError, match="row 1, column 'y': inf is not finite"):
        learn_target(column([1.5, 2.5]), "y").encode(column([np.inf]))
