"""Batches for a loop of one's own: every row once an epoch, the next epoch at each iter(), resumable after any batch."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import mbgd
from mbgd import DataError, PlanError
from mbgd.data.order import Order
from problems import arrays

N, WIDTH, M = 37, 3, 8  # four batches of 8 and one of 5
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
ROWS = torch.arange(N)


class Numbers(Dataset[Any]):
    """Its rows are their own numbers, so that order can be read off."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return row


def epoch(loader: mbgd.batches) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


@given(st.integers(1, 60), st.integers(1, 70), st.sampled_from(["short", "even", "drop"]), st.integers(0, 3))
def test_every_row_once_an_epoch_in_batches_of_m(n: int, m: int, tail: Any, seed: int) -> None:
    loader = mbgd.batches(torch.arange(n), batch_size=m, tail=tail, seed=seed)
    for _ in range(2):
        seen = epoch(loader)
        sizes = [len(batch) for batch in seen]
        rows = sorted(row for batch in seen for row in batch)
        assert len(seen) == len(loader)
        assert max(sizes) <= m
        if tail == "drop" and m <= n:
            assert set(sizes) == {m}
            assert n - m < len(set(rows)) == len(rows)
        else:
            assert rows == list(range(n))
        if tail == "short":
            assert set(sizes[:-1]) <= {m}
        if tail == "even":
            assert max(sizes) - min(sizes) <= 1


def test_each_iter_is_the_next_epoch_of_the_seeds_own_order() -> None:
    loader = mbgd.batches(ROWS, batch_size=M, seed=5)
    for number in range(4):
        assert sum(epoch(loader), []) == Order(N, seed=5).rows(number).tolist()
    assert sum(epoch(mbgd.batches(ROWS, batch_size=3, seed=5)), []) == Order(N, seed=5).rows(0).tolist()
    assert epoch(mbgd.batches(ROWS, batch_size=M, seed=6)) != epoch(mbgd.batches(ROWS, batch_size=M, seed=5))


def test_orders_other_than_a_shuffle() -> None:
    natural = mbgd.batches(ROWS, batch_size=M, sampling="natural")
    assert sum(epoch(natural), []) == sum(epoch(natural), []) == list(range(N))
    drawn = sum(epoch(mbgd.batches(ROWS, batch_size=M, sampling="iid")), [])
    assert len(drawn) == N > len(set(drawn))


@pytest.mark.parametrize("m", [N, N + 1, 10**9])
def test_one_batch_of_all_is_in_natural_order(m: int) -> None:
    loader = mbgd.batches(ROWS, batch_size=m)
    assert len(loader) == 1
    assert epoch(loader) == epoch(loader) == [list(range(N))]


def test_breaking_off_makes_the_next_iter_the_next_epoch() -> None:
    loader = mbgd.batches(ROWS, batch_size=M, seed=5)
    for batch, _ in zip(loader, range(3), strict=False):
        assert len(batch) == M
    assert sum(epoch(loader), []) == Order(N, seed=5).rows(1).tolist()


HOW: dict[str, Any] = {
    "arrays": (ROWS, {}),
    "prefetch": (ROWS, {"prefetch": 3}),
    "a dataset": (Numbers(), {}),
    "a dataset, prefetch": (Numbers(), {"prefetch": 2}),
    "workers": (Numbers(), {"workers": 1}),
    "two workers, no prefetch": (Numbers(), {"workers": 2, "prefetch": 0}),
    "even": (ROWS, {"tail": "even"}),
    "drop": (ROWS, {"tail": "drop"}),
    "iid": (ROWS, {"sampling": "iid"}),
    "one batch": (ROWS, {"batch_size": 99}),
}


@pytest.mark.parametrize("name", HOW)
def test_stopping_after_any_batch_and_going_on_elsewhere_changes_nothing(name: str) -> None:
    data, words = HOW[name]
    words = {"batch_size": M, "seed": 2, **words}
    whole = mbgd.batches(data, **words)
    expected = [batch for _ in range(3) for batch in epoch(whole)]
    first, cut = mbgd.batches(data, **words), 0
    for _ in range(2):
        for _ in first:
            cut += 1
            state = json.loads(json.dumps(first.state_dict()))
            second = mbgd.batches(data, **{**words, "workers": 0, "prefetch": 0})
            second.load_state_dict(state)
            rest = [batch for _ in range(3) for batch in epoch(second)]
            assert (expected[:cut] + rest)[: len(expected)] == expected, cut
    assert cut == 2 * len(whole)


def test_what_was_fetched_ahead_does_not_count() -> None:
    loader = mbgd.batches(ROWS, batch_size=M, prefetch=4)
    assert loader.state_dict() == {"epoch": 0, "row": 0, "seed": 0, "n_rows": N}
    flow = iter(loader)
    next(flow)
    assert loader.state_dict() == {"epoch": 0, "row": M, "seed": 0, "n_rows": N}
    flow.close()  # type: ignore[attr-defined]  # a generator
    assert not [thread for thread in threading.enumerate() if thread.name == "mbgd-ahead"]
    assert loader.state_dict()["row"] == M


def test_a_state_of_other_data_or_another_seed_is_refused() -> None:
    state = mbgd.batches(ROWS, batch_size=M, seed=1).state_dict()
    with pytest.raises(
        PlanError, match=r"^seed must be that of the saved loop, 1, got 2; give the same data and seed$"
    ):
        mbgd.batches(ROWS, seed=2).load_state_dict(state)
    with pytest.raises(PlanError, match=r"^n_rows must be that of the saved loop, 37, got 36; give the same data and"):
        mbgd.batches(ROWS[1:], seed=1).load_state_dict(state)
    for broken in ({}, {"epoch": 0}, [1], {**state, "row": N + 1}, {**state, "epoch": -1}, {**state, "row": "x"}):
        with pytest.raises(PlanError, match=r"^state must be what state_dict\(\) gave") as caught:
            mbgd.batches(ROWS, seed=1).load_state_dict(broken)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_the_scale_makes_each_row_pull_equally() -> None:
    """Summed over an epoch at fixed weights, mean losses times the scale are n/m times the mean over all rows."""
    model = nn.Linear(WIDTH, 1).double()
    for tail in ("short", "even"):
        model.zero_grad()
        for x, y, scale in mbgd.batches((X, Y), batch_size=M, with_scale=True, tail=tail):  # type: ignore[arg-type]
            assert scale == len(y) / M
            (nn.functional.mse_loss(model(x)[:, 0], y) * scale).backward()
        ours = model.weight.grad
        model.zero_grad()
        (nn.functional.mse_loss(model(X)[:, 0], Y) * N / M).backward()
        assert ours is not None
        torch.testing.assert_close(ours, model.weight.grad, rtol=1e-12, atol=1e-12)  # sums of 37 in another order


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return X[row], Y[row]


KINDS: dict[str, Any] = {
    "arrays": (X.numpy(), Y.numpy()),
    "tensors": (X, Y),
    "a TensorDataset": TensorDataset(X, Y),
    "a Subset": Subset(TensorDataset(X, Y), range(N)),
    "a DataLoader": DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True),
    "a dataset": Pairs(),
    "a loader of a dataset": DataLoader(Pairs(), batch_size=5, shuffle=True),
    "a list of pairs": list(zip(X, Y, strict=True)),
    "other bytes": (X.numpy().astype(">f8"), Y.numpy()),
    "Fortran order": (np.asfortranarray(X.numpy()), Y.numpy()),
}


@pytest.mark.parametrize("name", KINDS)
def test_however_rows_are_held_the_batches_are_rows_by_their_numbers(name: str) -> None:
    order = Order(N, seed=4).rows(0)
    at = 0
    for x, y in mbgd.batches(KINDS[name], batch_size=M, seed=4):
        rows = order[at : at + M]
        assert torch.equal(x, X[rows])
        assert torch.equal(y, Y[rows])
        at += len(y)
    assert at == N


def test_what_a_batch_looks_like() -> None:
    def first(data: Any, **how: Any) -> Any:
        return next(iter(mbgd.batches(data, batch_size=M, sampling="natural", **how)))

    x, y, w = first((X, Y, W))
    assert [part.shape for part in (x, y, w)] == [(M, WIDTH), (M,), (M,)]
    x, y = first(((X, ROWS), Y))
    assert isinstance(x, tuple)
    assert torch.equal(x[1], ROWS[:M])
    named = first({"a": X, "b": ROWS, "labels": Y})
    assert list(named) == ["a", "b", "labels"]
    assert torch.equal(named["labels"], Y[:M])
    assert set(first({"a": X, "b": ROWS})) == {"a", "b"}
    assert torch.equal(first(X), X[:M])
    x, scale = first(X, with_scale=True)
    assert (x.shape, scale) == ((M, WIDTH), 1.0)
    (a,) = first(TensorDataset(X))
    assert a.shape == (M, WIDTH)
    a, b, c = first(TensorDataset(X, ROWS, Y))
    assert [part.shape for part in (a, b, c)] == [(M, WIDTH), (M,), (M,)]
    (a, (b, named)), scale = first(((X, (ROWS, {"y": Y})), Y), with_scale=True)[0], 1.0
    assert (a.shape, b.shape, named["y"].shape, scale) == ((M, WIDTH), (M,), (M,), 1.0)
    for data in ((X, Y), TensorDataset(X, Y), Pairs()):
        x, y, w = first(data, sample_weight=W)
        assert torch.equal(x, X[:M])
        assert torch.equal(w, W[:M])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool])
def test_types_are_those_that_were_given(dtype: torch.dtype) -> None:
    (batch,) = mbgd.batches(torch.ones(4, 2, dtype=dtype), batch_size=9)
    assert batch.dtype == dtype


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "zero": (
        X,
        {"batch_size": 0},
        PlanError,
        "batch_size must be a whole number of at least 1 row, got 0; 32 is usual",
    ),
    "a float": (X, {"batch_size": 8.0}, PlanError, "batch_size must be a whole number of at least 1 row, got 8.0; 32"),
    "a truth": (X, {"batch_size": True}, PlanError, "batch_size must be a whole number of at least 1 row, got True; "),
    "a word": (
        X,
        {"batch_size": "auto"},
        PlanError,
        "batch_size must be a whole number of at least 1 row, got 'auto'; ",
    ),
    "a sampling": (
        X,
        {"sampling": "random"},
        PlanError,
        "sampling must be one of 'reshuffle', 'iid', 'natural', got 'ra",
    ),
    "a tail": (X, {"tail": "drop_last"}, PlanError, "tail must be one of 'short', 'even', 'drop', got 'drop_last'; "),
    "a seed": (X, {"seed": -1}, PlanError, "seed must be a whole number of at least 0, got -1; "),
    "no seed": (X, {"seed": None}, PlanError, "seed must be a whole number of at least 0, got None; "),
    "workers": (X, {"workers": -1}, PlanError, "workers must be a whole number of at least 0, got -1; "),
    "prefetch": (X, {"prefetch": 1.5}, PlanError, "prefetch must be a whole number of at least 0, got 1.5; "),
    "nothing": (X[:0], {}, DataError, "data must have at least 1 row, got 0; check the filter that made it"),
    "no data": (None, {}, DataError, "data must have a length and rows by number, got NoneType; "),
    "text": (np.array(["a"]), {}, DataError, "X must hold numbers, got dtype <U1; convert it, or give the table to"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_in_one_sentence(name: str) -> None:
    data, words, kind, said = WRONG[name]
    with pytest.raises(kind) as caught:
        mbgd.batches(data, **words)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "ours"), [("shuffle", "sampling"), ("num_workers", "workers"), ("drop_last", "tail"), ("bs", "batch_size")]
)
def test_words_of_a_loader_lead_to_ours(word: str, ours: str) -> None:
    with pytest.raises(PlanError, match=rf"^'{word}' is not an argument of MBGD; say {ours}"):
        mbgd.batches((X, Y), **{word: 1})


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    loader = mbgd.batches(ROWS, batch_size=np.int64(M), seed=np.int32(4))  # type: ignore[arg-type]
    assert epoch(loader) == epoch(mbgd.batches(ROWS, batch_size=M, seed=4))
    assert json.loads(json.dumps(loader.state_dict()))["seed"] == 4


def test_tensors_that_are_handed_out_do_not_change_when_later_ones_are_made() -> None:
    loader = mbgd.batches((X, Y), batch_size=M, prefetch=2)
    kept: list[tuple[Tensor, Tensor]] = []
    for _ in range(5):
        for x, _y in loader:
            kept.append((x, x.clone()))
    assert all(torch.equal(x, copy) for x, copy in kept)
