"""Rows by number, whatever holds them: read rows equal indexed rows; wrong data is refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from mbgd.data.dataset import DatasetSource
from mbgd.data.given import as_source
from mbgd.data.order import Order
from mbgd.data.source import ArraySource, MappedSource, Rows, WeightedSource, call, inputs_of, row_bytes
from mbgd.data.stream import ChunkEnds
from mbgd.errors import DataError
from problems import ONE_BY_ONE, Training, flat, mlp

N = 12
X = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
Y = np.arange(N) % 2
W = np.linspace(0.0, 1.0, N)
PICK = np.array([5, 0, 11, 5], dtype=np.int64)


class Pairs(Dataset[Any]):
    """A map-style dataset, read one row at a time."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return torch.tensor(X[row]), int(Y[row])


class Inputs(Pairs):
    def __getitem__(self, row: int) -> Any:
        return {"a": X[row, 0], "b": torch.tensor(X[row, 1:])}, float(Y[row]), float(W[row])


class Together(Pairs):
    asked: list[list[int]] = []  # noqa: RUF012  # looked at by the test below

    def __getitems__(self, rows: list[int]) -> list[Any]:
        self.asked.append(rows)
        return [self[row] for row in rows]


TX, TY = torch.tensor(X), torch.tensor(Y)
HOLDERS: dict[str, Any] = {
    "arrays": (X, Y),
    "a list of pairs": list(zip(TX, TY, strict=True)),
    "lists of numbers": (X.tolist(), Y.tolist()),
    "tensors": (TX, TY),
    "a frame and a series": (pd.DataFrame(X, columns=list("abc")), pd.Series(Y)),
    "a TensorDataset": TensorDataset(TX, TY),
    "a Subset of it": Subset(TensorDataset(TX.repeat(2, 1), TY.repeat(2)), range(N)),
    "a DataLoader": DataLoader(TensorDataset(TX, TY), batch_size=4),
    "a dataset": Pairs(),
    "a DataLoader of a dataset": DataLoader(Pairs(), batch_size=5),
    "a dataset read in groups": Together(),
    "columns in another order of bytes": (X.astype(">f4"), Y.astype(">i8")),
    "a transposed array": (np.asfortranarray(X), Y),
    "a read-only array": (np.broadcast_to(X, X.shape), Y),
    "a source": ArraySource(Rows(TX, TY, None)),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_rows_read_are_the_rows_asked_for(name: str) -> None:
    source = as_source(HOLDERS[name])
    assert source.n_rows == N
    for rows in (PICK, np.arange(N), slice(2, 7)):
        read = source.read(rows)
        assert isinstance(read.x, torch.Tensor)
        assert read.y is not None
        np.testing.assert_array_equal(read.x.numpy(), X[rows])
        np.testing.assert_array_equal(read.y.numpy(), Y[rows])
        assert read.w is None


def test_a_dataset_that_reads_many_rows_at_once_is_asked_once() -> None:
    Together.asked.clear()
    as_source(Together()).read(PICK)
    assert Together.asked == [PICK.tolist()]


def test_a_tensor_dataset_is_taken_apart_and_shares_memory() -> None:
    source = as_source(TensorDataset(TX, TX[:, :1], TY))
    assert isinstance(source, ArraySource)
    first, second = inputs_of(source.data.x)
    assert first.data_ptr() == TX.data_ptr()
    assert second.shape == (N, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_several_inputs_and_weights_of_a_dataset(workers: int) -> None:
    source = DatasetSource(Inputs(), workers=workers, rows_per_task=3)
    for rows in (PICK, np.arange(N), slice(0, 2)):  # a second pass uses the workers of the first
        read = source.read(rows)
        assert isinstance(read.x, dict)
        assert read.y is not None
        assert read.w is not None
        np.testing.assert_array_equal(read.x["a"].numpy(), X[rows, 0])
        np.testing.assert_array_equal(read.x["b"].numpy(), X[rows, 1:])
        np.testing.assert_array_equal(read.y.numpy(), Y[rows])
        np.testing.assert_array_equal(read.w.numpy(), W[rows])


@pytest.mark.parametrize("x", [(X, X[:, :1]), {"a": X, "b": X[:, 0]}])
def test_tuples_and_dicts_of_inputs_keep_their_structure(x: Any) -> None:
    read = as_source((x, Y)).read(PICK)
    assert type(read.x) is type(x)
    for part, whole in zip(inputs_of(read.x), x.values() if isinstance(x, dict) else x, strict=True):
        np.testing.assert_array_equal(part.numpy(), whole[PICK])


def test_how_a_model_is_called() -> None:
    def model(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    one = torch.zeros(1)
    assert call(model, one) == ((one,), {})
    assert call(model, (one, one)) == ((one, one), {})
    assert call(model, {"a": one}) == ((), {"a": one})


def test_weights_given_apart_take_the_place_of_the_datas_own() -> None:
    for data in ((X, Y), (X, Y, W), Pairs(), Inputs()):
        read = as_source(data, sample_weight=W * 2).read(PICK)
        assert read.w is not None
        np.testing.assert_allclose(read.w.numpy(), W[PICK] * 2)
    kept = as_source((X, Y, W)).read(PICK).w
    assert kept is not None
    np.testing.assert_array_equal(kept.numpy(), W[PICK])


def test_wrapped_sources() -> None:
    inner = as_source((X, Y))
    weighted = WeightedSource(inner, torch.tensor(W))
    doubled = MappedSource(weighted, lambda rows: rows.map(lambda t: t * 2))
    assert weighted.n_rows == doubled.n_rows == N
    for rows in (PICK, slice(3, 5)):
        read = doubled.read(rows)
        np.testing.assert_array_equal(inputs_of(read.x)[0].numpy(), X[rows] * 2)
        assert read.w is not None
        np.testing.assert_allclose(read.w.numpy(), W[rows] * 2)
    assert row_bytes(weighted) == 3 * 4 + 8 + 8


def test_a_run_over_a_dataset_equals_a_run_over_its_arrays() -> None:
    def end(data: Any) -> torch.Tensor:
        source = MappedSource(as_source(data), lambda rows: rows.map(lambda t: t.double()))
        return flat(Training(mlp(3), source, Order(N, seed=0), 5, options={"learning_rate": 1e-3}).run(9).model)

    assert torch.equal(end(Pairs()), end((X, Y)))


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield 1, 2


WRONG: dict[str, tuple[Any, str]] = {
    "no target": (X, "without a target"),
    "one of a tuple": ((X,), r"\(X, y\)"),
    "four": ((X, Y, W, W), "of 4"),
    "lengths": ((X, Y[:5]), r"\(12, 3\), \(5,\)"),
    "text": ((np.array([["a"]] * N), Y), "fit_table"),
    "objects": ((np.array([[None]] * N), Y), "dtype object"),
    "dates": ((X.astype("datetime64[s]"), Y), "datetime64"),
    "complex": ((X.astype(complex), Y), "complex"),
    "nothing": ((X[:0], Y[:0]), "at least 1 row, got 0"),
    "a number": ((X, 3.0), "a single number"),
    "an iterable dataset": (Endless(), "no order"),
    "negative weight": ((X, Y, -W), "row 1"),
    "nan weight": ((X, Y, np.full(N, np.nan)), "got nan in row 0"),
    "no weight at all": ((X, Y, np.zeros(N)), "only zeros"),
    "weights in columns": ((X, Y, W[:, None]), r"\(12, 1\)"),
    "something else": (object(), "object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_is_refused_in_one_sentence(name: str) -> None:
    data, said = WRONG[name]
    with pytest.raises(DataError, match=said) as caught:
        as_source(data)
    assert "\n" not in str(caught.value)
    assert "must" in str(caught.value)


def test_sample_weight_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="got 5 for 12 rows"):
        as_source((X, Y), sample_weight=W[:5] + 1)


def test_items_of_four_parts_are_refused() -> None:
    class Four(Pairs):
        def __getitem__(self, row: int) -> Any:
            return 1, 2, 3, 4

    with pytest.raises(DataError, match="got 4 parts"):
        as_source(Four()).read(PICK)


def test_data_without_targets_where_none_is_needed() -> None:
    for data in (X, TX, (X,), pd.DataFrame(X), TensorDataset(TX), {"a": X}):
        read = as_source(data, need_target=False).read(PICK)
        np.testing.assert_array_equal(inputs_of(read.x)[0].numpy(), X[PICK])
        assert read.y is None


def test_prefetch_over_workers_hands_out_the_same_rows() -> None:
    def losses(workers: int, depth: int) -> list[float]:
        source = MappedSource(DatasetSource(Pairs(), workers=workers), lambda rows: rows.map(lambda t: t.double()))
        training = Training(mlp(3), source, Order(N, seed=0), 5, options={"learning_rate": 1e-3})
        return training.run(12, ends=ChunkEnds(max_batches=4), depth=depth).losses

    plain = losses(0, 0)
    assert losses(2, 2) == plain
    assert ONE_BY_ONE.max_batches == 1
