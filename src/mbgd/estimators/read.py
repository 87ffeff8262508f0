"""X as users hold it in, checked as scikit-learn checks it out: an array or CSR matrix of floats, or a table; the only place
that sees X."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, assert_all_finite, check_array, validate_data

from mbgd.data.table import Table
from mbgd.estimators.arrays import AsTheyAre
from mbgd.estimators.frames import Columns, as_table, is_frame, is_plain, named

FLOATS = (np.float64, np.float32)
SPARSE = "csr"  # SciPy's sparse matrices of any format
Rows = Any  # an array (n, F), a CSR matrix or array, or a Table


def read_training(estimator: Any, X: Any) -> Rows:
    """X of a first `fit`: sets n_features_in_ and feature_names_in_. A frame of plain numbers is an array."""
    if is_frame(X):
        table = as_table(X)
        if not is_plain(table):
            validate_data(estimator, X, skip_check_array=True)
            return table
    return _array(estimator, X, reset=True)


def read_more(estimator: Any, X: Any, road: Any) -> Rows:
    """X of whatever follows, checked against what the first had."""
    if isinstance(road, AsTheyAre):
        return read_any_shape(estimator, X, reset=False)
    if not isinstance(road, Columns):
        return _array(estimator, X, reset=False)
    validate_data(estimator, X, skip_check_array=True, reset=False)
    return as_table(X if is_frame(X) else named(X, estimator.feature_names_in_), like=road)


def read_any_shape(estimator: Any, X: Any, *, reset: bool = True) -> Rows:
    """X for a module of the user's own: numbers of any type, (n, ...)."""
    return validate_data(estimator, X, dtype="numeric", order="C", allow_nd=True, accept_sparse=SPARSE, reset=reset)


def _array(estimator: Any, X: Any, *, reset: bool) -> Rows:
    return validate_data(estimator, X, dtype=FLOATS, order="C", accept_sparse=SPARSE, reset=reset)


def read_labels(y: Any) -> NDArray[Any]:
    """The target of a classifier as an array (n,) or (n, L), finite where it is numbers; nothing is said of its classes."""
    if y is None:
        raise ValueError("y must be given for a classifier, which requires y to be passed, but the target y is None")
    array = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    if array.dtype.kind == "f":
        assert_all_finite(array, input_name="y")
    return array


def read_numbers(y: Any) -> NDArray[np.float64]:
    """The target of a regression: finite, float64 (n,) or (n, T); one column is taken as (n,)."""
    if y is None:
        raise ValueError("y must be given for a regressor, which requires y to be passed, but the target y is None")
    found: NDArray[np.float64] = check_array(y, dtype=np.float64, ensure_2d=False, allow_nd=False, input_name="y")
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def read_weight(sample_weight: Any, rows: Rows) -> NDArray[np.float64] | None:
    """Row weights (n,), float64; None where there are none."""
    if sample_weight is None:
        return None
    like = np.empty((n_rows(rows), 1))
    weight: NDArray[np.float64] = _check_sample_weight(sample_weight, like, dtype=np.float64)
    return weight


def n_rows(rows: Rows) -> int:
    return rows.n_rows if isinstance(rows, Table) else int(rows.shape[0])
