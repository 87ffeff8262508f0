"""Batches cut by hand from each epoch's order are what comes, however they are grouped; chunks end where somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.chunk import Chunk
from mbgd.data.order import Cursor, Order
from mbgd.data.source import ArraySource, Rows
from mbgd.data.stream import CHUNK_BYTES, ChunkEnds, chunks, rows_of_a_chunk
from mbgd.errors import PlanError
from problems import source

By = tuple[int, int, list[int]]  # epoch, rows of it before the batch, its rows


def by_hand(order: Order, m: int, tail: str, count: int) -> list[By]:
    """The first batches as anybody would cut them: a list, its slices."""
    found: list[By] = []
    for epoch in range(count):
        rows = (order.rows(epoch) if m < order.n_rows or order.sampling == "iid" else order.natural()).tolist()
        n, at = len(rows), 0
        if tail == "drop":
            n -= n % min(m, n)
        k = -(-n // m)
        for j in range(k):
            size = n // k + (j < n % k) if tail == "even" else min(m, n - at)
            found.append((epoch, at, rows[at : at + size]))
            at += size
        if len(found) >= count:
            break
    return found[:count]


def taken(flow: Any, count: int) -> tuple[list[Chunk], list[By]]:
    """The chunks that make up at least so many batches, and those batches."""
    got: list[Chunk] = []
    cut: list[By] = []
    while len(cut) < count:
        chunk = next(flow)
        got.append(chunk)
        cursor = chunk.before
        for j in range(len(chunk)):
            cut.append((cursor.epoch, cursor.row, chunk.row_ids(j).tolist()))
            cursor = chunk.cursor_after(j)
        assert cursor == chunk.after
    return got, cut


SAMPLING = st.sampled_from(["reshuffle", "iid", "natural"])
TAILS = st.sampled_from(["short", "even", "drop"])
ENDS = st.builds(
    ChunkEnds,
    max_batches=st.integers(1, 9),
    max_rows=st.integers(1, 60),
    every_steps=st.lists(st.integers(1, 7), max_size=2).map(tuple),
    at_epoch_end=st.booleans(),
)


@given(st.integers(1, 20), st.integers(1, 24), SAMPLING, TAILS, ENDS)
def test_batches_are_the_slices_of_each_epochs_order(n: int, m: int, sampling: Any, tail: Any, ends: ChunkEnds) -> None:
    order, data = Order(n, seed=3, sampling=sampling), source(n, 2)
    got, cut = taken(chunks(data, order, batch_size=m, tail=tail, ends=ends), 15)
    assert cut[:15] == by_hand(order, m, tail, 15)
    steps = 0
    for before, after in pairwise(got):
        assert before.after == after.before
    for chunk in got:
        assert len(chunk) <= ends.max_batches
        assert int(chunk.sizes[:-1].sum()) < ends.max_rows  # only its last batch may reach beyond
        for every in ends.every_steps:
            assert steps // every == (steps + len(chunk) - 1) // every  # no look lies within
        steps += len(chunk)
        if ends.at_epoch_end:
            assert all(chunk.cursor_after(j).row > 0 for j in range(len(chunk) - 1))
        assert set(chunk.divisors) == {min(m, n)}
        for j, batch in enumerate(chunk.batches()):
            assert isinstance(batch.data.x, torch.Tensor)
            assert isinstance(data.data.x, torch.Tensor)
            assert torch.equal(batch.data.x, data.data.x[chunk.row_ids(j)])


@given(st.integers(1, 14), st.integers(1, 15), TAILS, st.integers(0, 12), ENDS)
def test_from_any_position_the_rest_is_the_same(n: int, m: int, tail: Any, cut_at: int, ends: ChunkEnds) -> None:
    order, data = Order(n, seed=3), source(n, 2)
    whole = by_hand(order, m, tail, 20)
    epoch, row, _ = whole[cut_at]
    flow = chunks(data, order, batch_size=m, tail=tail, start=Cursor(epoch, row), steps_done=cut_at, ends=ends)
    assert taken(flow, 8)[1][:8] == whole[cut_at : cut_at + 8]


def growing(rows_seen: int) -> int:
    return 1 + rows_seen // 10


SIZES: dict[str, Callable[[int], int]] = {"growing": growing, "as large as all": lambda seen: 99, "one": lambda seen: 1}


@pytest.mark.parametrize("tail", ["short", "drop"])
@pytest.mark.parametrize("name", SIZES)
def test_a_batch_size_that_is_a_function_of_rows_seen(name: str, tail: Any) -> None:
    n, size = 17, SIZES[name]
    order, data = Order(n, seed=1), source(n, 2)
    flow = chunks(data, order, batch_size=size, tail=tail, ends=ChunkEnds(max_batches=5))
    seen, epoch, at, steps = 0, 0, 0, 0
    for chunk in islice(flow, 12):
        for j in range(len(chunk)):
            m = min(size(seen), n)
            if n - at < m and tail == "drop":
                epoch, at = epoch + 1, 0
            rows = order.natural() if m == n and at == 0 else order.rows(epoch)
            expected = rows[at : at + m].tolist()
            assert chunk.row_ids(j).tolist() == expected
            assert chunk.divisors[j] == m
            at, seen, steps = at + len(expected), seen + len(expected), steps + 1
            if at == n:
                epoch, at = epoch + 1, 0
    assert steps >= 12


def test_a_batch_size_below_one_is_refused() -> None:
    flow = chunks(source(9, 2), Order(9, seed=0), batch_size=lambda seen: 4 - seen)
    with pytest.raises(PlanError, match=r"^batch_size must be at least 1 row, got 0 after 4 rows; check its function$"):
        list(islice(flow, 5))


def test_the_whole_is_read_once_and_never_copied_again() -> None:
    reads: list[Any] = []

    class Counting:
        n_rows = 6

        def read(self, rows: Any) -> Rows:
            reads.append(rows)
            return Rows(torch.arange(6.0)[:, None], None, None)

    got = list(islice(chunks(Counting(), Order(6, seed=0), batch_size=6, ends=ChunkEnds(max_batches=4)), 5))
    assert len(reads) == 1
    assert len({chunk.data.leaves()[0].data_ptr() for chunk in got}) == 1
    assert [len(chunk) for chunk in got] == [4] * 5


def test_chosen_rows_are_the_only_ones() -> None:
    chosen = np.array([2, 5, 7, 11], dtype=np.int64)
    for m in (2, 3, 4, 9):
        _, cut = taken(chunks(source(20, 1), Order(4, seed=0, chosen=chosen), batch_size=m), 12)
        for epoch in range(3):
            rows = sorted(row for number, _, batch in cut if number == epoch for row in batch)
            assert rows == chosen.tolist()


def test_how_many_rows_are_gathered_is_arithmetic_on_their_bytes() -> None:
    for width, dtype, size in ((1, torch.float32, 4), (28, torch.float32, 112), (784, torch.float64, 6272)):
        rows = rows_of_a_chunk(ArraySource(Rows(torch.zeros(3, width, dtype=dtype), None, None)))
        assert rows * size <= CHUNK_BYTES < (rows + 1) * size
    assert rows_of_a_chunk(ArraySource(Rows(torch.zeros(1, CHUNK_BYTES), None, None))) == 1
