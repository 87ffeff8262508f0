"""Whatever holds rows gives the same numbers as NumPy sees in it, in memory that is shared where it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from mbgd.data.dataset import DatasetSource
from mbgd.data.given import as_source
from mbgd.data.source import ArraySource, inputs_of
from mbgd.data.tensors import as_tensor, weights
from mbgd.errors import DataError

N = 7
X = np.arange(N * 2, dtype=np.float64).reshape(N, 2)
Y = np.arange(N) % 3

TYPES: dict[str, torch.dtype] = {  # of the array -> of the tensor: the same numbers, exactly
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "longdouble": torch.float64,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.int64,  # torch has them and can neither compare nor index them
    "uint32": torch.int64,
    "uint64": torch.int64,
    "bool": torch.bool,
}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("name", TYPES)
def test_every_numeric_array_becomes_a_tensor_of_the_same_numbers(name: str, endian: str, order: Any) -> None:
    array = np.asarray(X % 2 if name == "bool" else X, dtype=np.dtype(name).newbyteorder(endian), order=order)
    tensor = as_tensor(array, "X")
    assert tensor.dtype == TYPES[name]
    assert tensor.is_contiguous()
    assert tensor.tolist() == array.tolist()


@given(st.lists(st.sampled_from([slice(None), slice(None, None, -1), slice(1, None, 2)]), max_size=3))
def test_any_view_of_an_array_becomes_its_numbers(cuts: list[slice]) -> None:
    view = X
    for cut in cuts:
        view = view[cut] if len(view[cut]) else view
    assert as_tensor(view, "X").tolist() == view.tolist()
    assert as_tensor(view.T, "X").tolist() == view.T.tolist()


def test_memory_is_shared_where_it_can_be_and_never_written_where_it_may_not() -> None:
    assert as_tensor(X, "X").data_ptr() == X.ctypes.data
    tensor = torch.zeros(3, 2)
    assert as_tensor(tensor, "X").data_ptr() == tensor.data_ptr()
    fixed = X.copy()
    fixed.flags.writeable = False
    assert as_tensor(fixed, "X").data_ptr() != fixed.ctypes.data
    grown = torch.zeros(3, 2, requires_grad=True)
    assert not as_tensor(grown, "X").requires_grad  # or the first backward of training would reach into the data


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return X[row], int(Y[row])


class Doubled(TensorDataset):
    """A TensorDataset that reads its rows in a way of its own."""

    def __getitem__(self, row: Any) -> Any:
        x, y = super().__getitem__(row)
        return 2 * x, y


class Backwards(Subset[Any]):
    def __getitem__(self, row: Any) -> Any:
        return super().__getitem__(N - 1 - row)

    def __getitems__(self, rows: list[int]) -> list[Any]:
        return [self[row] for row in rows]


TENSORS = TensorDataset(torch.tensor(X), torch.tensor(Y))


@pytest.mark.parametrize(
    ("data", "taken_apart", "x"),
    [
        (TENSORS, True, X),
        (Subset(TENSORS, [3, 1, 1]), True, X[[3, 1, 1]]),
        (Subset(Subset(TENSORS, [5, 3, 1]), (2, 0)), True, X[[1, 5]]),
        (Subset(TENSORS, np.array([6, 2])), True, X[[6, 2]]),
        (DataLoader(TENSORS, batch_size=3, shuffle=True), True, X),
        (Doubled(torch.tensor(X), torch.tensor(Y)), False, 2 * X),
        (Subset(Doubled(torch.tensor(X), torch.tensor(Y)), [4, 0]), False, 2 * X[[4, 0]]),
        (Backwards(TENSORS, range(N)), False, X[::-1]),
        (Pairs(), False, X),
        (DataLoader(Pairs(), batch_size=2), False, X),
    ],
    ids=lambda part: type(part).__name__ if not isinstance(part, bool) else str(part),
)
def test_what_is_taken_apart_and_what_is_read_row_by_row(data: Any, taken_apart: bool, x: Any) -> None:
    source = as_source(data)
    assert isinstance(source, ArraySource if taken_apart else DatasetSource)
    assert inputs_of(source.read(np.arange(source.n_rows)).x)[0].tolist() == np.asarray(x).tolist()


def collate(items: list[Any]) -> Any:
    x, y = zip(*items, strict=True)
    return torch.tensor(np.stack(x)) * 10, torch.tensor(y)


def test_a_loaders_own_collate_function_is_kept_for_tensors_too() -> None:
    for held in (Pairs(), TensorDataset(torch.tensor(X), torch.tensor(Y))):
        read = as_source(DataLoader(held, batch_size=3, collate_fn=collate)).read(slice(0, N))
        assert inputs_of(read.x)[0].tolist() == (10 * X).tolist()


FRAMES: dict[str, Any] = {
    "pandas": lambda: (pd.DataFrame(X, columns=["a", "b"]), pd.Series(Y)),
    "polars": lambda: (pl.DataFrame({"a": X[:, 0], "b": X[:, 1]}), pl.Series(Y)),
    "a frame as the target": lambda: (X, pd.DataFrame({"y": Y})),
    "pandas with missing numbers": lambda: (pd.DataFrame({"a": [1.0, None], "b": [2.0, 3.0]}), [0, 1]),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_numbers_are_arrays(name: str) -> None:
    x, y = FRAMES[name]()
    read = as_source((x, y)).read(slice(0, N))
    np.testing.assert_array_equal(
        inputs_of(read.x)[0].numpy(), np.asarray(x.to_numpy() if hasattr(x, "to_numpy") else x)
    )
    assert isinstance(read.y, Tensor)
    assert read.y.flatten().tolist() == np.asarray(y).flatten().tolist()


def test_the_target_of_a_dict_stands_under_either_of_its_names() -> None:
    for name in ("label", "labels"):
        read = as_source({"a": X, name: Y, "b": X[:, 0]}).read(slice(0, N))
        assert isinstance(read.x, dict)
        assert list(read.x) == ["a", "b"]
        assert read.y is not None
        assert read.y.tolist() == Y.tolist()
    with pytest.raises(DataError, match="without a target"):
        as_source({"a": X, "target": Y})


WRONG: dict[str, tuple[Any, str]] = {
    "complex64": (X.astype(np.complex64), "X must hold real numbers, got complex64; pass its real and imaginary parts"),
    "objects": (X.astype(object), "X must hold numbers, got dtype object; convert it, or give the table to fit_table"),
    "text": (X.astype(str), "X must hold numbers, got dtype <U32; convert it"),
    "bytes": (X.astype("S3"), r"X must hold numbers, got dtype \|S3"),
    "durations": (X.astype("timedelta64[s]"), "X must hold numbers, got dtype timedelta64"),
    "records": (np.zeros(N, [("a", "f4")]), "X must hold numbers, got dtype"),
    "a number": (np.float64(3), "X must have one entry a row, got a single number"),
    "a tensor of one number": (torch.tensor(3.0), "X must have one entry a row, got a single number"),
    "text columns": (pd.DataFrame({"a": ["x"] * N}), r"X\['a'\] must hold numbers, got dtype"),
    "complex tensor": (
        torch.zeros(N, 2, dtype=torch.complex64),
        "X must hold real numbers, got complex64; pass its real",
    ),
    "one of a tuple": ((X, np.array(["a"] * N)), r"X\[1\] must hold numbers"),
    "one of a dict": ({"a": X, "b": np.array([None] * N)}, r"X\['b'\] must hold numbers, got dtype object"),
    "too large for int64": (
        np.full((N, 1), 2**63, np.uint64),
        "X must fit 64-bit signed numbers, got 9223372036854775808",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_a_tensor_is_refused_by_name(name: str) -> None:
    x, said = WRONG[name]
    with pytest.raises(DataError, match=f"^{said}") as caught:
        as_source((x, Y))
    assert "\n" not in str(caught.value)


def test_sparse_matrices_are_refused_where_one_of_several_inputs_or_the_target() -> None:
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)
    for data, name in ((((sparse, X), Y), r"X\[0\]"), (({"a": sparse}, Y), r"X\['a'\]"), ((X, sparse), "y")):
        with pytest.raises(DataError, match=rf"^{name} must be dense, got a sparse csr_\w+; pass {name}.toarray\(\)$"):
            as_source(data)


@pytest.mark.parametrize("lengths", [(N, N - 1), (N, N, 3)])
def test_lengths_that_differ_are_refused_with_all_shapes(lengths: tuple[int, ...]) -> None:
    parts = [np.ones((n, 2)[: 1 + (i == 0)]) for i, n in enumerate(lengths)]
    shapes = ", ".join(str(part.shape) for part in parts)
    with pytest.raises(DataError) as caught:
        as_source(tuple(parts))
    assert str(caught.value) == (
        f"X, y and weight must have the same number of rows, got shapes {shapes}; their first dimensions must match"
    )


@pytest.mark.parametrize(
    ("given_weights", "said"),
    [
        ([1.0, -0.5], "weight must be finite and at least 0, got -0.5 in row 1; a weight of 0 leaves a row out"),
        ([np.inf, 1.0], "weight must be finite and at least 0, got inf in row 0; "),
        ([1.0, np.nan], "weight must be finite and at least 0, got nan in row 1; "),
        ([0, 0], "weight must be positive in at least one row, got only zeros"),
        ([[1.0], [1.0]], r"weight must have shape \(n,\), got \(2, 1\); give one number a row"),
        (["a", "b"], "weight must hold numbers, got dtype <U1"),
    ],
)
def test_wrong_weights_are_refused_by_row(given_weights: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"^{said}"):
        weights(given_weights)


def test_whole_weights_become_floats_and_others_keep_their_type() -> None:
    assert weights([1, 0, 2]).tolist() == [1.0, 0.0, 2.0]
    assert weights(np.array([True, False])).dtype == torch.get_default_dtype()
    assert weights(np.array([0.1, 1.0])).dtype == torch.float64
