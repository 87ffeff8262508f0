"""A dataset that draws at random draws the same for the same seed, in workers too, and the caller's generators stay."""

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

import mbgd
from mbgd.data.chance import drawing, kept_aside, set_generators
from mbgd.data.dataset import DatasetSource
from mbgd.data.source import first_row, row_bytes
from problems import flat, mlp

N = 20


class Noise(Dataset[Any]):
    """A row is three random numbers, one of each global generator."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()], dtype=torch.float64), float(row)


def states() -> tuple[Any, ...]:
    numpy = np.random.get_state(legacy=True)
    return torch.get_rng_state().tolist(), numpy[1].tolist(), *numpy[2:], random.getstate()  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def _a_place_in_the_middle() -> None:
    """NumPy then holds the second half of a pair of Gaussians, which is state as well."""
    np.random.normal()


def read(source: DatasetSource, seed: int | None, rows: Any = slice(0, N)) -> Tensor:
    with nullcontext() if seed is None else drawing(seed):
        x = source.read(rows).x
    assert isinstance(x, Tensor)
    return x


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_every_seed_of_64_bits_will_do_and_each_gives_its_own_numbers(seed: int) -> None:
    def drawn(number: int) -> list[float]:
        set_generators(number)
        return [torch.rand(()).item(), np.random.rand(), random.random()]

    assert drawn(seed) == drawn(seed)
    assert all(a != b for a, b in zip(drawn(seed), drawn(seed ^ 1), strict=True))
    high = drawn(seed ^ (1 << 40))  # torch's CPU generator knows 32 bits alone
    assert all(a != b for a, b in zip(drawn(seed)[1:], high[1:], strict=True))


def test_what_is_drawn_inside_leaves_no_trace() -> None:
    before = states()
    with kept_aside():
        read(DatasetSource(Noise()), None)
        assert states() != before
    assert states() == before
    with pytest.raises(ZeroDivisionError), drawing(3):
        np.random.normal()
        _ = 1 / 0
    assert states() == before
    first_row(DatasetSource(Noise()))
    row_bytes(DatasetSource(Noise()))
    assert states() == before


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_same_seed_reads_the_same_whatever_was_drawn_before(workers: int) -> None:
    source = DatasetSource(Noise(), workers=workers, rows_per_task=3)
    first = read(source, 5)
    assert len(torch.unique(first)) == 3 * N  # no task draws what another has drawn
    before = states()
    other = read(source, 6)
    read(source, None)
    assert torch.equal(read(source, 5), first)
    assert not torch.isin(other, first).any()
    if workers:
        assert states() == before


def test_how_many_workers_draw_does_not_matter() -> None:
    assert torch.equal(
        read(DatasetSource(Noise(), workers=1, rows_per_task=3), 5),
        read(DatasetSource(Noise(), workers=2, rows_per_task=3), 5),
    )


def test_another_thread_tells_its_workers_and_touches_no_generator() -> None:
    before = states()
    with drawing(5, here=False):
        assert states() == before
        told = DatasetSource(Noise(), workers=1).read(slice(0, N)).x
    assert isinstance(told, Tensor)
    assert torch.equal(told, read(DatasetSource(Noise(), workers=2), 5))


def test_two_reads_of_one_score_draw_apart() -> None:
    source = DatasetSource(Noise(), workers=1)
    with drawing(5):
        first, second = (source.read(slice(at, at + 10)).x for at in (0, 10))
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert not torch.isin(first, second).any()


def test_a_fit_over_it_depends_on_its_seed_alone() -> None:
    """Neither on the generators it finds, nor on the number of workers, and it leaves the generators as they were."""

    def end(**how: Any) -> Tensor:
        model, before = mlp(3, dropout=0.3), states()
        mbgd.fit(model, Noise(), loss="squared_error", batch_size=6, epochs=3, validation=0.3, **how)
        after = states()
        assert after[1:] == before[1:]
        return flat(model)

    plain = end(restore_best=False)
    np.random.seed(77)
    random.seed(77)
    torch.manual_seed(77)
    assert torch.equal(end(restore_best=False), plain)
    assert not torch.equal(end(restore_best=False, seed=1), plain)
    assert torch.equal(end(workers=1), end(workers=2))


def test_each_look_at_held_out_rows_draws_the_same_and_each_chunk_of_training_anew() -> None:
    """With weights that stand still, the score of rows that are drawn at random moves only if the draws do."""
    seen: list[Tensor] = []

    class Still(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp(3)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x.clone())
            return self.inner(x)

    words: Any = {"loss": "squared_error", "batch_size": 7, "epochs": 4, "learning_rate": 1e-300}
    for workers in (0, 1):
        seen.clear()
        run = mbgd.fit(Still(), Noise(), validation=0.3, checkpoint_every=1, workers=workers, **words)
        torch.manual_seed(workers)
        assert {*run.history["validation_loss"]} - {None} == {run.scores["validation"]["loss"]}
        assert len(seen) == 4 * 2
        assert len(torch.unique(torch.cat(seen))) == 4 * 14 * 3
