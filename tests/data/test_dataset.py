"""A map-style dataset reads as its items stacked by hand, with workers or without; what cannot be stacked is one sentence."""

from __future__ import annotations

import threading
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from mbgd.data.dataset import DatasetSource, length
from mbgd.data.items import split_target
from mbgd.data.source import inputs_of
from mbgd.errors import DataError

N = 23
X = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
Point = namedtuple("Point", ["x", "y"])

ITEMS: dict[str, Any] = {  # what one item may be -> (inputs, target, weight) of row i by hand
    "tensors": (lambda i: (torch.tensor(X[i]), torch.tensor(i)), lambda i: ([X[i]], i, None)),
    "arrays and a number": (lambda i: (X[i], float(i)), lambda i: ([X[i]], float(i), None)),
    "with a weight": (lambda i: (X[i], i, 0.5 * i), lambda i: ([X[i]], i, 0.5 * i)),
    "a list": (lambda i: [X[i], i], lambda i: ([X[i]], i, None)),
    "two inputs in a tuple": (lambda i: ((X[i], X[i, 0]), i), lambda i: ([X[i], X[i, 0]], i, None)),
    "two inputs in a dict": (lambda i: ({"b": X[i], "a": i}, i), lambda i: ([X[i], i], i, None)),
    "one dict": (lambda i: {"b": X[i], "labels": i, "a": i}, lambda i: ([X[i], i], i, None)),
    "inputs alone": (lambda i: X[i], lambda i: ([X[i]], None, None)),
    "one number": (lambda i: i, lambda i: ([i], None, None)),
    "a named pair": (lambda i: Point(X[i], i), lambda i: ([X[i]], i, None)),
}


class Made(Dataset[Any]):
    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return self.make(row)


def check(source: DatasetSource, by_hand: Any, rows: Any) -> None:
    read, wanted = source.read(rows), [by_hand(int(i)) for i in np.arange(N)[rows]]
    for place, leaf in enumerate(inputs_of(read.x)):
        np.testing.assert_array_equal(leaf.numpy(), np.stack([inputs[place] for inputs, _, _ in wanted]))
    for leaf, column in ((read.y, 1), (read.w, 2)):
        expected = [row[column] for row in wanted]
        assert (leaf is None) == (expected[0] is None)
        assert leaf is None or leaf.tolist() == expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ITEMS)
def test_rows_are_the_items_stacked(name: str, workers: int) -> None:
    make, by_hand = ITEMS[name]
    source = DatasetSource(Made(make), workers=workers, rows_per_task=5)
    for rows in (np.array([3, 3, 22, 0]), slice(0, N), slice(20, N), np.array([7])):
        check(source, by_hand, rows)


def test_a_plain_list_a_subset_and_a_concatenation_are_datasets() -> None:
    pairs = [(X[i], i) for i in range(N)]
    whole = Made(pairs.__getitem__)
    for held in (
        pairs,
        Subset(Made(pairs.__getitem__), range(N)),
        ConcatDataset([Subset(whole, range(9)), Subset(whole, range(9, N))]),
    ):
        check(DatasetSource(held), ITEMS["arrays and a number"][1], np.array([22, 0, 9]))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 1])
def test_two_threads_may_read_at_once(workers: int) -> None:
    """As validation does while the next chunk is fetched: the tasks of the one must not end up with the other."""
    make, by_hand = ITEMS["tensors"]
    source, errors = DatasetSource(Made(make), workers=workers, rows_per_task=2), []

    def work(rows: Any) -> None:
        try:
            for _ in range(10):
                check(source, by_hand, rows)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (slice(0, 9), np.array([22, 1, 5]), slice(4, N))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def ragged(i: int) -> Any:
    return X[i, : 1 + i % 2], i


def broken(i: int) -> Any:
    if i == 9:
        raise OSError("row 9 is gone")
    return X[i], i


WRONG: dict[str, tuple[Any, str]] = {
    "ragged": (
        ragged,
        "items of a dataset must be tensors, arrays or numbers of equal shapes, got what cannot be stacked: ",
    ),
    "objects": (lambda i: (object(), i), "items of a dataset must be tensors, arrays or numbers of equal shapes"),
    "none": (lambda i: (X[i], None), "items of a dataset must be tensors, arrays or numbers of equal shapes"),
    "text": (
        lambda i: ("abc", i),
        "items of a dataset must hold tensors, arrays or numbers, got text or other objects; ",
    ),
    "text in a dict": (
        lambda i: {"a": X[i], "name": "abc", "label": i},
        "got text or other objects under 'name'; leave",
    ),
    "four parts": (
        lambda i: (i, i, i, i),
        r"an item of a dataset must be \(x, y\) or \(x, y, weight\), got 4 parts; wrap",
    ),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", WRONG)
def test_items_that_cannot_be_rows_are_refused_in_one_sentence(name: str, workers: int) -> None:
    make, said = WRONG[name]
    with pytest.raises(DataError, match=said) as caught:
        DatasetSource(Made(make), workers=workers).read(slice(0, 6))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_dataset_itself_stays_what_it_is_and_the_next_read_works(workers: int) -> None:
    source = DatasetSource(Made(broken), workers=workers, rows_per_task=4)
    with pytest.raises(OSError, match="row 9 is gone"):
        source.read(slice(0, N))
    check(source, ITEMS["tensors"][1], slice(0, 9))
    check(source, ITEMS["tensors"][1], slice(10, N))


class Endless(Dataset[Any]):
    def __getitem__(self, row: int) -> Any:
        return X[0], 0


def test_what_has_no_length_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^data must have a length and rows by number, got Endless; an iterable dataset"
    ):
        length(Endless())
    assert length(Made(ragged)) == N


def test_the_target_of_a_dict() -> None:
    assert split_target({"a": 1, "labels": 2}) == ({"a": 1}, 2)
    assert split_target({"a": 1, "label": 3, "labels": 2}) == ({"a": 1, "label": 3}, 2)
    assert split_target({"a": 1}) == ({"a": 1}, None)


class Cast:
    """A collate function of one's own, which workers get as well."""

    def __call__(self, items: list[Any]) -> Any:
        return torch.tensor(np.stack([x for x, _ in items])).double() * 3, torch.tensor([y for _, y in items])


@pytest.mark.parametrize("workers", [0, 2])
def test_ones_own_collate_function(workers: int) -> None:
    x = DatasetSource(Made(lambda i: (X[i], i)), workers=workers, collate=Cast(), rows_per_task=4).read(slice(0, N)).x
    assert isinstance(x, Tensor)
    assert x.dtype == torch.float64
    np.testing.assert_array_equal(x.numpy(), X.astype(np.float64) * 3)
