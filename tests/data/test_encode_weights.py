"""Weights: a column as it stands or refused with its row; balanced classes against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from mbgd.data.encode.weights import class_weights, row_weights
from mbgd.data.table import open_table
from mbgd.errors import DataError, PlanError


def test_a_column_of_weights_is_taken_as_it_stands() -> None:
    weights = row_weights(open_table({"w": [0, 2, 1]}), "w")
    assert weights.tolist() == [0.0, 2.0, 1.0]
    assert weights.dtype == np.float64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -0.5], "the data frame: row 2, column 'w': a weight must be 0 or more, got -0.5; 0 leaves the row out"),
        ([1.0, None], "the data frame: row 2, column 'w': a weight must be 0 or more, got none; 0 leaves the row out"),
        ([1.0, np.inf], "the data frame: row 2, column 'w': inf is not finite; correct it, leave the cell empty, "
                        "or drop the column: drop=['w']"),
        ([0.0, 0.0], "the data frame, column 'w': the weights sum to 0; give at least one row a weight above 0"),
        (["1", "heavy"], "the data frame: row 2, column 'w': 'heavy' is not a number; correct the cell, "
                         "or read the column as text: categorical=['w']"),
    ],
)  # fmt: skip
def test_a_bad_weight_is_named(values: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        row_weights(open_table({"w": values}), "w")
    assert str(caught.value) == message


@given(codes=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_balanced_classes_weigh_what_scikit_learn_says(codes: list[int]) -> None:
    expected = compute_sample_weight("balanced", codes)
    np.testing.assert_allclose(
        class_weights(np.array(codes)), expected, rtol=1e-15
    )  # one quotient, rounded once or twice


def test_only_training_rows_are_counted_and_rows_without_label_weigh_nothing() -> None:
    codes = np.array([0, 0, 0, 1, 1, 2, -1])
    weights = class_weights(codes, training_rows=np.array([0, 1, 3, 6]))
    assert weights.tolist() == [
        0.75,
        0.75,
        0.75,
        1.5,
        1.5,
        0.0,
        0.0,
    ]  # 3 / (2 * 2), 3 / (2 * 1), no training row, no label
    with pytest.raises(PlanError, match="class_weight must be 'balanced', got 'even'"):
        class_weights(codes, "even")
