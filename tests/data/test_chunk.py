"""Chunks: each batch lies on a 64-byte boundary of its buffer, holds its own rows, and knows its position."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mbgd.data.chunk import CACHE_LINE, Chunk, gather
from mbgd.data.order import Cursor, Order
from mbgd.data.source import ArraySource, Rows, inputs_of
from mbgd.data.stream import ChunkEnds, chunks
from problems import source


def chunk_of(data: ArraySource, m: int, **ends: int) -> Chunk:
    return next(chunks(data, Order(data.n_rows, seed=0), batch_size=m, ends=ChunkEnds(**ends)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 2, 13, 16, 28, 99])
@pytest.mark.parametrize("m", [1, 3, 16, 20])
def test_every_batch_of_every_tensor_starts_on_a_cache_line_and_is_right(
    m: int, width: int, dtype: torch.dtype
) -> None:
    data = source(70, width, dtype=dtype, weighted=True)
    chunk = chunk_of(data, m, max_batches=9)
    for j, batch in enumerate(chunk.batches()):
        ids = torch.from_numpy(chunk.row_ids(j))
        for view, whole in zip(batch.data.leaves(), data.data.leaves(), strict=True):
            assert view.data_ptr() % CACHE_LINE == 0
            assert torch.equal(view, whole[ids])
            assert view.is_contiguous()


def test_inputs_in_tuples_and_dicts_and_of_several_types_are_cut_alike() -> None:
    n = 33
    parts = {
        "numbers": torch.randn(n, 5),
        "codes": torch.randint(0, 9, (n, 3)),
        "images": torch.randn(n, 2, 3, 3, dtype=torch.float64),
        "flags": torch.rand(n) > 0.5,
    }
    for x in (parts, tuple(parts.values())):
        data = ArraySource(Rows(x, torch.arange(n), None))
        chunk = chunk_of(data, 4)
        for j, batch in enumerate(chunk.batches()):
            ids = torch.from_numpy(chunk.row_ids(j))
            assert type(batch.data.x) is type(x)
            assert batch.data.w is None
            for view, whole in zip(inputs_of(batch.data.x), parts.values(), strict=True):
                assert torch.equal(view, whole[ids])
                assert view.data_ptr() % CACHE_LINE == 0


def test_columns_of_no_width_and_data_without_targets() -> None:
    data = ArraySource(Rows((torch.empty(10, 0), torch.arange(10.0)), None, None))
    batches = list(chunk_of(data, 3, max_batches=4).batches())
    assert [batch.size for batch in batches] == [3, 3, 3, 1]
    assert [batch.data.leaves()[0].shape for batch in batches] == [(3, 0), (3, 0), (3, 0), (1, 0)]
    assert batches[0].data.y is None


def test_batches_that_fill_cache_lines_are_not_copied_again() -> None:
    read: list[torch.Tensor] = []

    class Watched:
        n_rows = 64

        def read(self, rows: np.ndarray | slice) -> Rows:
            read.append(torch.zeros(len(rows), 16))  # type: ignore[arg-type]  # gather asks by number
            return Rows(read[-1], torch.zeros(len(rows)), None)  # type: ignore[arg-type]

    rows, starts = gather(Watched(), np.arange(64), np.array([16, 32, 16]))
    assert inputs_of(rows.x)[0].data_ptr() == read[0].data_ptr()
    assert starts.tolist() == [0, 16, 48]


def test_full_batches_are_the_data_itself() -> None:
    data = source(32, 8)
    chunk = chunk_of(data, 32, max_batches=5)
    assert len(chunk) == 5
    for j, batch in enumerate(chunk.batches()):
        assert inputs_of(batch.data.x)[0].data_ptr() == inputs_of(data.data.x)[0].data_ptr()
        assert chunk.row_ids(j).tolist() == list(range(32))
        assert chunk.cursor_after(j) == Cursor(j + 1, 0)


def test_positions_inside_a_chunk_that_spans_epochs() -> None:
    chunk = next(
        chunks(source(10, 2), Order(10, seed=0), batch_size=4, start=Cursor(2, 4), ends=ChunkEnds(max_batches=5))
    )
    assert chunk.before == Cursor(2, 4)
    assert chunk.sizes.tolist() == [4, 2, 4, 4, 2]
    assert [chunk.cursor_after(j) for j in range(5)] == [
        Cursor(2, 8),
        Cursor(3, 0),
        Cursor(3, 4),
        Cursor(3, 8),
        Cursor(4, 0),
    ]
    assert chunk.after == Cursor(4, 0)
