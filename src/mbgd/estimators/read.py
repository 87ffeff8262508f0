"""Check X as scikit-learn does: an array or CSR matrix of floats, or a table; the only place
that sees X."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, assert_all_finite, check_array, validate_data

from mbgd.data.encode.target import TOO_WIDE, too_wide
from mbgd.data.masked import refuse_gaps, unmasked
from mbgd.data.sparse import check_places, is_sparse
from mbgd.data.table import Table
from mbgd.data.tensors import as_tensor
from mbgd.errors import DataError
from mbgd.estimators.arrays import AsTheyAre, Numbers
from mbgd.estimators.frames import Columns, as_table, is_frame, is_plain, with_names

FLOATS = (np.float64, np.float32)
SPARSE = "csr"  # SciPy's sparse matrices of any format
Rows = Any  # an array (n, F), a CSR matrix or array, or a Table


def held(value: Any, name: str) -> Any:
    """The same numbers or labels as scikit-learn's own checks can read them: a masked array where nothing is masked, a tensor of
    any type, NumPy's texts. Raises DataError for masked entries, which those would take for numbers."""
    value = unmasked(value, name)
    if isinstance(value, torch.Tensor):
        tensor = as_tensor(value, name).cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(value, np.ndarray) and value.dtype.names:
        return as_tensor(value, name)  # which says how records become one array
    return value.astype(object) if isinstance(value, np.ndarray) and value.dtype.kind == "T" else value


def read_training(estimator: Any, X: Any) -> Rows:
    """X of a first `fit`: sets n_features_in_ and feature_names_in_. A frame of plain numbers is an array."""
    X = held(X, "X")
    if is_frame(X):
        table = as_table(X)
        if not is_plain(table):
            validate_data(estimator, X, skip_check_array=True)
            return table
    return _array(estimator, X, reset=True)


def read_more(estimator: Any, X: Any, road: Any) -> Rows:
    """X of whatever follows, checked against what the first had."""
    X = held(X, "X")
    if isinstance(road, AsTheyAre):
        return read_any_shape(estimator, X, reset=False)
    named = hasattr(estimator, "feature_names_in_")
    if (
        isinstance(road, Numbers) and named and is_frame(X)
    ):  # where training had none, a missing number is the column's mean
        rows = _array(estimator, X, reset=False, missing=True)
        return np.where(np.isnan(rows), road.center.astype(rows.dtype), rows)
    if not isinstance(road, Columns):
        return _array(estimator, X, reset=False)
    validate_data(estimator, X, skip_check_array=True, reset=False)
    return as_table(X if is_frame(X) else with_names(X, estimator.feature_names_in_), like=road)


def read_any_shape(estimator: Any, X: Any, *, reset: bool = True) -> Rows:
    """X for a module of the user's own: numbers of any type, (n, ...)."""
    _check_sparse(X)
    return validate_data(
        estimator, held(X, "X"), dtype="numeric", order="C", allow_nd=True, accept_sparse=SPARSE, reset=reset
    )


def _array(estimator: Any, X: Any, *, reset: bool, missing: bool = False) -> Rows:
    _check_sparse(X)
    finite = "allow-nan" if missing else True
    words: dict[str, Any] = {"dtype": FLOATS, "order": "C", "accept_sparse": SPARSE, "ensure_all_finite": finite}
    return validate_data(estimator, X, **words, reset=reset)


def _check_sparse(X: Any) -> None:
    """Before SciPy computes with it."""
    if is_sparse(X) and len(X.shape) == 2:
        check_places(X, "X")


def read_labels(y: Any) -> NDArray[Any]:
    """The target of a classifier as an array (n,) or (n, L), finite where it is numbers; nothing is said of its classes."""
    if y is None:
        raise ValueError("y must be given for a classifier, which requires y to be passed, but the target y is None")
    y = held(y, "y")
    array = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    if array.dtype.kind == "O":
        refuse_gaps(np.array([_is_gap(label) for label in array.ravel()], bool).reshape(array.shape), "y")
    if array.dtype.kind == "f":
        assert_all_finite(array, input_name="y")
    return array


def _is_gap(label: Any) -> bool:
    return label is None or type(label).__name__ == "NAType" or (isinstance(label, float) and bool(np.isnan(label)))


def read_numbers(y: Any) -> NDArray[np.float64]:
    """The target of a regression: float64 (n,) or (n, T), finite as are its squares; one column is taken as (n,)."""
    if y is None:
        raise ValueError("y must be given for a regressor, which requires y to be passed, but the target y is None")
    found: NDArray[np.float64] = check_array(
        held(y, "y"), dtype=np.float64, ensure_2d=False, allow_nd=False, input_name="y"
    )
    if (wide := too_wide(found)) is not None:
        raise DataError(f"row {wide[0]} of y: {found[wide]:g} {TOO_WIDE}")
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def read_weight(sample_weight: Any, rows: Rows) -> NDArray[np.float64] | None:
    """Row weights (n,), float64; None where there are none."""
    if sample_weight is None:
        return None
    like = np.empty((n_rows(rows), 1))
    weight: NDArray[np.float64] = _check_sample_weight(held(sample_weight, "sample_weight"), like, dtype=np.float64)
    return weight


def n_rows(rows: Rows) -> int:
    return rows.n_rows if isinstance(rows, Table) else int(rows.shape[0])
