"""Law: every row exactly once an epoch, for any n, m, tail, chunking and epoch; batch sizes are what the tail says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.chunk import Chunk
from mbgd.data.order import Cursor, Order, Tail
from mbgd.data.stream import ChunkEnds, chunks
from oracles import cut
from problems import source

TAILS: tuple[Tail, ...] = ("short", "even", "drop")
EPOCHS = 2


def epochs_of(flow: Iterator[Chunk], n_epochs: int) -> list[list[list[int]]]:
    """Row ids by epoch and batch, from what flows; the values read are checked to be those rows' own."""
    epochs: list[list[list[int]]] = [[] for _ in range(n_epochs)]
    epoch = 0
    for chunk in flow:
        for j, batch in enumerate(chunk.batches()):
            rows = chunk.row_ids(j).tolist()
            assert batch.data.y is not None
            assert batch.size == len(rows)
            assert batch.data.y.tolist() == rows
            epochs[epoch].append(rows)
            epoch = chunk.cursor_after(j).epoch
            if epoch == n_epochs:
                return epochs
    raise AssertionError("the stream ended")


def numbered(n: int) -> object:
    """Rows whose target is their own number."""
    data = source(n, 1)
    assert data.data.y is not None
    data.data.y.copy_(data.data.y.new_tensor(range(n)))
    return data


@pytest.mark.usefixtures("compiled_shuffles")
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("chosen", [False, True])
def test_every_row_exactly_once_an_epoch(tail: Tail, chosen: bool) -> None:
    for n in range(1, 51):
        data = numbered(3 * n)
        ids = np.random.default_rng(n).choice(3 * n, size=n, replace=False).astype(np.int64) if chosen else np.arange(n)
        for m in range(1, n + 3):
            order = Order(n, seed=m, chosen=ids if chosen else None)
            flow = chunks(data, order, batch_size=m, tail=tail, ends=ChunkEnds(max_batches=1 + (n + m) % 5))
            for batches in epochs_of(flow, EPOCHS):
                seen = [row for batch in batches for row in batch]
                sizes = [len(batch) for batch in batches]
                assert sizes == [len(batch) for batch in cut(range(n), min(m, n), tail)]
                if tail == "drop":
                    assert len(set(seen)) == len(seen) == n - n % min(m, n)
                    assert set(seen) <= set(ids.tolist())
                else:
                    assert sorted(seen) == sorted(ids.tolist())
                if tail == "even":
                    assert max(sizes) - min(sizes) <= 1
                    assert max(sizes) <= m


def test_an_epoch_is_cut_from_its_own_order_and_epochs_differ() -> None:
    order = Order(40, seed=3)
    epochs = epochs_of(chunks(numbered(40), order, batch_size=7), 4)
    assert epochs == [cut(order.rows(epoch), 7, "short") for epoch in range(4)]
    assert len({tuple(row for batch in epoch for row in batch) for epoch in epochs}) == 4


@given(
    n=st.integers(1, 60),
    m=st.integers(1, 70),
    tail=st.sampled_from(TAILS),
    sampling=st.sampled_from(("reshuffle", "iid", "natural")),
    skip=st.integers(0, 80),
    every=st.integers(1, 9),
    at_epoch_end=st.booleans(),
    max_batches=st.integers(1, 8),
    max_rows=st.integers(1, 100),
)
def test_starting_anywhere_gives_the_rest_of_the_same_batches(
    *,
    n: int,
    m: int,
    tail: Tail,
    sampling: str,
    skip: int,
    every: int,
    at_epoch_end: bool,
    max_batches: int,
    max_rows: int,
) -> None:
    order = Order(n, seed=1, sampling=sampling)  # type: ignore[arg-type]  # drawn from the three names
    data = numbered(n)
    ends = ChunkEnds(max_batches=max_batches, max_rows=max_rows, every_steps=(every,), at_epoch_end=at_epoch_end)
    whole = list(_batches(chunks(data, order, batch_size=m, tail=tail, ends=ChunkEnds(max_batches=1)), skip + 20))
    seen = sum(len(rows) for rows, _ in whole[:skip])
    start = whole[skip - 1][1] if skip else Cursor()
    rest = chunks(data, order, batch_size=m, tail=tail, start=start, rows_seen=seen, steps_done=skip, ends=ends)
    assert list(_batches(rest, 20)) == whole[skip:]


def _batches(flow: Iterator[Chunk], count: int) -> Iterator[tuple[list[int], Cursor]]:
    for chunk in flow:
        for j in range(len(chunk)):
            if count == 0:
                return
            count -= 1
            yield chunk.row_ids(j).tolist(), chunk.cursor_after(j)


def test_chunks_end_where_somebody_looks() -> None:
    ends = ChunkEnds(max_batches=100, max_rows=37, every_steps=(4, 6), at_epoch_end=True)
    done, ended = 0, []
    for chunk in chunks(numbered(50), Order(50, seed=0), batch_size=3, ends=ends):
        assert chunk.sizes.sum() <= 37
        assert len({chunk.before.epoch, *(chunk.cursor_after(j).epoch for j in range(len(chunk) - 1))}) == 1
        done += len(chunk)
        ended.append(done)
        if done >= 60:
            break
    looks = {step for step in range(1, 61) if step % 4 == 0 or step % 6 == 0 or step % 17 == 0}  # 17 = ceil(50 / 3)
    assert looks <= set(ended)
