"""Batches of a DataLoader are those of the DataLoader itself: the oracle is torch's own iteration over it."""

from __future__ import annotations

import warnings
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

import mbgd
from mbgd import DataError, PlanError

N = 23
X = torch.arange(2.0 * N).view(N, 2)
ROWS = torch.arange(N)
Named = namedtuple("Named", ["x", "y"])


class Made(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return self.make(row)


class Together(Made):
    def __getitems__(self, rows: list[int]) -> list[Any]:
        return [self.make(row) for row in rows]


def padded(items: list[Any]) -> Any:
    x, y = zip(*items, strict=True)
    return pad_sequence(list(x), batch_first=True), torch.tensor(y)


def dropped(items: list[Any]) -> Any:
    """Without the rows that have nothing to say: a pattern of loops by hand."""
    return default_collate([item for item in items if item[1] % 3] or items)


def ragged(row: int) -> tuple[Tensor, int]:
    return torch.full((1 + row % 5,), float(row)), row


PAIRS = [(X[i], int(i)) for i in range(N)]
DATA: dict[str, tuple[Any, Any]] = {  # dataset, its own collate function or None
    "one tensor": (TensorDataset(X), None),
    "two tensors": (TensorDataset(X, ROWS), None),
    "three tensors": (TensorDataset(X, ROWS, X[:, 0]), None),
    "a subset": (Subset(TensorDataset(X, ROWS), [3, 1, 4, 1, 5]), None),
    "a concatenation": (ConcatDataset([TensorDataset(X, ROWS), TensorDataset(-X, ROWS)]), None),
    "tensors": (Made(lambda i: (X[i], ROWS[i])), None),
    "arrays and numbers": (Made(lambda i: (X[i].numpy(), float(i))), None),
    "one number": (Made(lambda i: i), None),
    "dicts": (Made(lambda i: {"a": X[i], "labels": i}), None),
    "nested": (Together(lambda i: ({"a": (X[i], i)}, [i, (i,)])), None),
    "named": (Made(lambda i: Named(X[i], i)), None),
    "text": (Made(lambda i: (f"row {i}", X[i])), None),
    "pairs in a list": (PAIRS, None),
    "two pairs in a list": (PAIRS[:2], None),
    "three pairs in a list": (PAIRS[:3], None),
    "pairs of numbers": ([(1.0, 10.0), (2.0, 20.0)], None),
    "padded to the longest": (Made(ragged), padded),
    "fewer rows than items": (Made(lambda i: (X[i], i)), dropped),
    "anything": (Made(ragged), lambda items: {"items": len(items), "names": [str(y) for _, y in items]}),
    "tensors, collated by hand": (TensorDataset(X, ROWS), lambda items: torch.stack([x * y for x, y in items])),
}


NUMBERS: Dataset[Any] = Made(lambda i: i)


def rows_of(loader: Any) -> list[list[int]]:
    return [(batch[0] if isinstance(batch, list | tuple) else batch).tolist() for batch in loader]


def same(ours: Any, theirs: Any) -> bool:
    """The same values, types and structure; a tuple is as good as torch's list."""
    if isinstance(theirs, Tensor):
        return isinstance(ours, Tensor) and ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    return bool(ours == theirs)


@settings(max_examples=120)
@given(st.sampled_from(sorted(DATA)), st.integers(1, 30), st.booleans())
def test_batches_in_order_are_those_of_torch(name: str, size: int, drop: bool) -> None:
    dataset, collate = DATA[name]
    loader = DataLoader(dataset, batch_size=size, drop_last=drop, collate_fn=collate)
    ours, theirs = mbgd.batches(loader), list(loader)
    for _ in range(2):
        found = list(ours)
        assert len(found) == len(theirs) == len(ours)
        assert all(same(a, b) for a, b in zip(found, theirs, strict=True))
    assert ours.dataset is dataset
    assert ours.batch_size == size


@settings(max_examples=40)
@given(st.integers(1, N), st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_shuffled_batches_have_the_rows_of_torchs_each_once(n: int, size: int, seed: int, tensors: bool) -> None:
    held: Dataset[Any] = TensorDataset(ROWS[:n]) if tensors else Subset(NUMBERS, range(n))
    loader = DataLoader(held, batch_size=size, shuffle=True)
    ours, theirs = rows_of(mbgd.batches(loader, seed=seed)), rows_of(loader)
    assert [len(batch) for batch in ours] == [len(batch) for batch in theirs]
    assert Counter(sum(ours, [])) == Counter(sum(theirs, [])) == Counter(range(n))


class EvenThenOdd(Sampler[list[int]]):
    """Batches of one's own, of several sizes."""

    def __iter__(self) -> Iterator[list[int]]:
        yield [0, 2, 4]
        yield [1, 3]
        yield [2, 2]

    def __len__(self) -> int:
        return 3


class Shuffled(BatchSampler):
    """Whole batches in a random order, by torch's global generator."""

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(super().__iter__())
        yield from (batches[i] for i in torch.randperm(len(batches)).tolist())


SAMPLED: dict[str, Callable[[], DataLoader[Any]]] = {
    "weighted": lambda: DataLoader(NUMBERS, 4, sampler=WeightedRandomSampler([1.0] * 5 + [0.0] * (N - 5), 50)),
    "weighted, of tensors": lambda: DataLoader(
        TensorDataset(ROWS), 4, sampler=WeightedRandomSampler([1.0] * 5 + [0.0] * (N - 5), 50)
    ),
    "with replacement": lambda: DataLoader(NUMBERS, 4, sampler=RandomSampler(ROWS, replacement=True)),
    "seven of them": lambda: DataLoader(NUMBERS, 4, sampler=RandomSampler(ROWS, num_samples=7)),
    "more than there are": lambda: DataLoader(NUMBERS, 4, sampler=RandomSampler(ROWS, num_samples=2 * N)),
    "a subset": lambda: DataLoader(NUMBERS, 2, sampler=SubsetRandomSampler([1, 2, 5]), drop_last=True),
    "a subset, by its generator": lambda: DataLoader(
        NUMBERS, 2, sampler=SubsetRandomSampler([1, 2, 5], generator=torch.Generator().manual_seed(3))
    ),
    "the first six": lambda: DataLoader(NUMBERS, 4, sampler=SequentialSampler(range(6))),
    "a list": lambda: DataLoader(NUMBERS, 4, sampler=[7, 7, 1]),
    "one rank of two": lambda: DataLoader(NUMBERS, 4, sampler=DistributedSampler(ROWS, 2, 1)),
    "batches of one's own": lambda: DataLoader(NUMBERS, batch_sampler=EvenThenOdd()),
    "batches in a list": lambda: DataLoader(TensorDataset(ROWS), batch_sampler=[[1], [2, 3]]),
    "shuffled batches": lambda: DataLoader(NUMBERS, batch_sampler=Shuffled(SequentialSampler(ROWS), 5, True)),
    "batches of a sampler": lambda: DataLoader(NUMBERS, batch_sampler=BatchSampler(RandomSampler(ROWS), 5, True)),
}


def of_epoch(loader: DataLoader[Any], number: int) -> DataLoader[Any]:
    """As torch's documentation asks every loop to do by hand."""
    if isinstance(loader.sampler, DistributedSampler):
        loader.sampler.set_epoch(number)
    return loader


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sampler_of_ones_own_draws_the_rows_and_no_others(name: str) -> None:
    torch.manual_seed(0)
    theirs = [rows_of(of_epoch(SAMPLED[name](), number)) for number in range(40)]
    ours = mbgd.batches(SAMPLED[name]())
    found = [rows_of(ours) for _ in range(40)]
    for epoch in found:
        assert [len(batch) for batch in epoch] in [[len(batch) for batch in other] for other in theirs]
        assert len(epoch) == len(ours)
    assert {row for epoch in found for batch in epoch for row in batch} == {
        row for epoch in theirs for batch in epoch for row in batch
    }
    fixed = all(epoch == theirs[0] for epoch in theirs)
    if fixed and "generator" not in name:
        assert found[0] == theirs[0]
    elif not fixed:
        assert any(epoch != found[0] for epoch in found)


@pytest.mark.parametrize("name", SAMPLED)
def test_what_a_sampler_draws_is_a_function_of_seed_and_epoch(name: str) -> None:
    """So that a broken-off loop goes on with the same batches, whatever else drew from the global generators."""
    whole = mbgd.batches(SAMPLED[name](), seed=4)
    wanted = [batch for _ in range(2) for batch in rows_of(whole)]
    first, done = mbgd.batches(SAMPLED[name](), seed=4), 0
    state = torch.get_rng_state()
    for _ in range(2):
        for _ in first:
            done += 1
            torch.rand(3)
            second = mbgd.batches(SAMPLED[name](), seed=4)
            second.load_state_dict(first.state_dict())
            rest = [batch for _ in range(2) for batch in rows_of(second)]
            assert rest[: len(wanted) - done] == wanted[done:]
    torch.set_rng_state(state)
    assert done == len(wanted)


def test_a_generator_of_the_loader_is_a_seed() -> None:
    def loader(seed: int) -> DataLoader[Any]:
        return DataLoader(NUMBERS, 4, shuffle=True, generator=torch.Generator().manual_seed(seed))

    assert rows_of(mbgd.batches(loader(5))) == rows_of(mbgd.batches(loader(5))) != rows_of(mbgd.batches(loader(6)))
    assert rows_of(mbgd.batches(loader(5))) == rows_of(mbgd.batches(NUMBERS, batch_size=4, seed=5))


@pytest.mark.parametrize("name", ["padded to the longest", "dicts", "two tensors", "tensors, collated by hand"])
def test_a_collate_function_gets_the_items_of_one_batch(name: str) -> None:
    dataset, collate = DATA[name]
    seen: list[int] = []

    def counted(items: list[Any]) -> Any:
        seen.append(len(items))
        return (collate or default_collate)(items)

    for _ in mbgd.batches(DataLoader(dataset, batch_size=5, collate_fn=counted)):
        pass
    assert seen == [5, 5, 5, 5, 3]


def begin(worker: int) -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_of_a_loader_bring_the_same_batches(persistent: bool) -> None:
    how: Any = {"num_workers": 1, "persistent_workers": persistent, "timeout": 60, "worker_init_fn": begin}
    ours = mbgd.batches(DataLoader(Made(ragged), batch_size=5, collate_fn=padded, **how))
    theirs = list(DataLoader(Made(ragged), batch_size=5, collate_fn=padded))
    for _ in range(2):
        assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    for _ in ours:
        break  # the next pass begins anew, with workers that have read on
    assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))


class Fewer(Made):
    def __getitems__(self, rows: list[int]) -> list[Any]:
        return [self.make(row) for row in rows[1:]]


SAID: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a list of X and y": (
        lambda: mbgd.batches([X, ROWS]),
        DataError,
        "data must say what its parts are, got a list of 2",
    ),
    "a row that is not there": (
        lambda: rows_of(mbgd.batches(DataLoader(TensorDataset(ROWS), sampler=[0, N]))),
        DataError,
        f"list must draw rows 0 to {N - 1}, got {N} in epoch 1",
    ),
    "a row before the first": (
        lambda: rows_of(mbgd.batches(DataLoader(NUMBERS, batch_sampler=[[-1]]))),
        DataError,
        f"list must draw rows 0 to {N - 1}, got -1 in epoch 1",
    ),
    "no row numbers": (
        lambda: rows_of(mbgd.batches(DataLoader(NUMBERS, sampler=["a"]))),
        DataError,
        "list must draw row numbers, got ['a'] in epoch 1",
    ),
    "fewer than asked": (
        lambda: rows_of(mbgd.batches(Fewer(lambda i: i), batch_size=4)),
        DataError,
        "__getitems__ must give one item for each of the 4 rows asked for, got 3 items",
    ),
    "sampling twice": (
        lambda: mbgd.batches(SAMPLED["weighted"](), sampling="natural"),
        PlanError,
        "sampling is what the loader's WeightedRandomSampler does, got 'natural' as well; leave one out",
    ),
    "sizes twice": (
        lambda: mbgd.batches(SAMPLED["batches of one's own"](), batch_size=4),
        PlanError,
        "batch_size is what the loader's EvenThenOdd does, got 4 as well; leave one out",
    ),
    "a scale of any size": (
        lambda: mbgd.batches(SAMPLED["batches of one's own"](), with_scale=True),
        PlanError,
        "with_scale needs one batch size, got batches of EvenThenOdd",
    ),
    "no batches": (
        lambda: mbgd.batches(DataLoader(NUMBERS, batch_size=None)),
        DataError,
        "data must be a DataLoader that makes batches, got batch_size=None",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_what_cannot_be_is_refused_by_name(name: str) -> None:
    call, kind, said = SAID[name]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(X, range(N), strict=False)


def test_an_iterable_dataset_is_one_pass_an_epoch_and_says_so() -> None:
    theirs = list(DataLoader(Stream(), batch_size=5))
    with pytest.warns(
        UserWarning, match=r"^an iterable dataset is gone through as it comes: its rows are not shuffled"
    ):
        ours = mbgd.batches(Stream(), batch_size=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = mbgd.batches(DataLoader(Stream(), batch_size=5, collate_fn=default_collate), sampling="natural")
    for stream in (ours, loaded):
        for _ in range(2):
            assert all(same(a, b) for a, b in zip(stream, theirs, strict=True))
        assert stream.batch_size == 5
        with pytest.raises(TypeError):
            len(stream)
        for call in (stream.state_dict, lambda: stream.load_state_dict({"epoch": 0, "row": 1, "seed": 0, "n_rows": 2})):  # noqa: B023
            with pytest.raises(PlanError, match=r"^state_dict needs rows by number, got an iterable dataset; give"):
                call()
    scaled = mbgd.batches(Stream(), batch_size=5, sampling="natural", with_scale=True)
    assert [scale for _, _, scale in scaled] == [1.0] * 4 + [0.6]
    for words in ({"sampling": "iid"}, {"tail": "even"}, {"batch_size": "full"}, {"sample_weight": [1.0]}):
        with pytest.raises(PlanError, match="iterable dataset"):
            mbgd.batches(Stream(), **words)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"^batch_size is what the loader of an iterable dataset does, got 4 as well"):
        mbgd.batches(DataLoader(Stream(), batch_size=5), batch_size=4)


def test_a_batch_of_everything() -> None:
    loader = mbgd.batches((X, ROWS), batch_size="full")
    assert (len(loader), loader.batch_size) == (1, N)
    assert all(same(batch, (X, ROWS)) for batch in loader)
    assert len(next(iter(mbgd.batches(DataLoader(NUMBERS, batch_size=3), batch_size="full")))) == N


def test_numpy_arrays_and_torch_tensors_alone() -> None:
    for held in (X, X.numpy(), np.asfortranarray(X.numpy())):
        (batch,) = mbgd.batches(held, batch_size="full")
        assert same(batch, X)
