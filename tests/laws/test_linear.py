"""Laws of linear models: rows read where they lie give the bits of gathered ones, and one row a batch those of any batch.

The general law of chunks is tested here for the kernels that linear models have of their own.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mbgd
from engines import Case, Trained, close, engine, train
from mbgd.data.order import Order
from mbgd.data.source import ArraySource, Rows
from mbgd.data.stream import ChunkEnds, chunks
from mbgd.loop.steps import no_schedule, steps
from mbgd.step.fused import step
from mbgd.step.fused.linear import run_linear

N = 77
DTYPES = [torch.float32, torch.float64]


def case(width: int, dtype: torch.dtype, m: int, *, weighted: bool, n: int = N, **how: Any) -> Case:
    torch.manual_seed(3)
    chance = np.random.default_rng(4)
    return Case(
        nn.Linear(width, 1, bias=how.pop("bias", True)).to(dtype),
        torch.tensor(chance.normal(size=(n, width))).to(dtype),
        torch.tensor(chance.integers(0, 2, n)).to(torch.float64),
        loss="log_loss",
        w=torch.tensor(chance.uniform(0.1, 3, n)) if weighted else None,  # float64 whatever the model is
        m=m,
        **{"steps": 2 * -(-n // m), "options": {"learning_rate": 0.3}, **how},
    )


def same(a: Trained, b: Trained) -> None:
    assert torch.equal(a.numbers(), b.numbers())
    assert a.losses == b.losses


def end(made: Case, **how: Any) -> Trained:
    return train(made, engine(made, fused=True), **how)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("width", [1, 13, 28, 99, 300])
@pytest.mark.parametrize("m", [1, 2, 7, 32, N])
def test_neither_place_nor_chunk_changes_a_bit(m: int, width: int, dtype: torch.dtype, weighted: bool) -> None:
    made = case(width, dtype, m, weighted=weighted)
    gathered = end(made, in_place=False, ends=ChunkEnds(max_batches=1))
    for ends in (ChunkEnds(max_batches=3), ChunkEnds(), ChunkEnds(max_rows=50, at_epoch_end=True)):
        same(end(made, ends=ends, in_place=True), gathered)
        same(end(made, ends=ends, in_place=False), gathered)


@pytest.mark.parametrize("how", [{"optimizer": "adamw"}, {"clip_norm": 0.01}, {"ema_decay": 0.9}, {"bias": False}])
@pytest.mark.parametrize("m", [1, 32])
def test_nor_where_the_gradient_has_to_be_written(m: int, how: dict[str, Any]) -> None:
    made = case(28, torch.float32, m, weighted=True, **how)
    same(end(made, in_place=True), end(made, in_place=False, ends=ChunkEnds(max_batches=1)))
    plain = case(28, torch.float64, m, weighted=True, **how)
    close(end(plain).numbers(), train(plain, engine(plain, fused=False)).numbers(), within=1e-10)


@pytest.mark.parametrize("m", [1, 5, 1500, 3000])
@pytest.mark.parametrize("width", [3, 28, 70])
def test_in_place_it_is_the_training_of_autograd(width: int, m: int) -> None:
    """Batches of several blocks as well; float64, sums of 3,000 rows: 1e-10."""
    made = case(width, torch.float64, m, weighted=True, n=3000, steps=4)
    fused, plain = end(made), train(made, engine(made, fused=False))
    assert fused.engine.reads_in_place
    close(fused.numbers(), plain.numbers(), within=1e-10)
    close(fused.losses, plain.losses, within=1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("width", [1, 13, 28, 99])
def test_one_row_a_batch_has_the_bits_of_the_loop_for_any(
    width: int, dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk may hold batches of one row alone or beside longer ones: each goes its own way."""
    for weighted, loss in product((False, True), ("log_loss", "smoothed", "squared_error")):
        made = case(width, dtype, 1, weighted=weighted, bias=bias)
        made.loss = "squared_error" if loss == "squared_error" else "log_loss"
        made.options = {"learning_rate": 0.001 if loss == "squared_error" else 0.3}
        made.loss_options = {"label_smoothing": 0.1} if loss == "smoothed" else {}
        alone, by = end(made), engine(made, fused=True)
        calls, used = by.engine._calls, []  # type: ignore[attr-defined]

        def as_any(*given: Any, calls: Any = calls, used: list[int] = used) -> None:
            used.append(1)
            run_linear(calls, *given[:-1])

        with monkeypatch.context() as patch:
            patch.setattr(step, "run_single", as_any)
            same(train(made, by), alone)
        assert used


def test_autograd_takes_chunks_in_place_too() -> None:
    """Batches are cut out of a copy made then; float64: rounding alone may differ, by where an operand lies."""
    made = case(13, torch.float64, 7, weighted=True)
    here, gathered = (train(made, engine(made, fused=False), in_place=place) for place in (True, False))
    close(here.numbers(), gathered.numbers(), within=1e-12)


@pytest.mark.parametrize("m", [1, 7])
def test_sums_of_weights_and_losses_are_those_of_the_batches(m: int) -> None:
    made = case(5, torch.float64, m, weighted=True)
    assert made.w is not None
    source, by = made.source(), engine(made, fused=True)
    for chunk in chunks(source, Order(N, seed=1), batch_size=m, ends=ChunkEnds(at_epoch_end=True), in_place=True):
        assert chunk.places is not None
        done = next(steps([chunk], by.engine, rate_factor=no_schedule))
        expected = [float(made.w[torch.from_numpy(chunk.row_ids(j))].sum()) for j in range(len(chunk))]
        np.testing.assert_allclose(done.weight_sums, expected, rtol=1e-13)
        for leaf, views in ((leaf, chunk.views(leaf)) for leaf in source.data.leaves()):
            for j, view in enumerate(views):
                assert torch.equal(view, leaf[torch.from_numpy(chunk.row_ids(j))])
            assert torch.equal(chunk.in_order(leaf, 3), torch.cat(views[:3]))
        break


def test_rows_that_do_not_lie_one_behind_the_other_are_gathered() -> None:
    x = torch.arange(24.0).reshape(3, 8).t()
    y = torch.arange(8.0)
    for part, lies in ((x, False), (x.contiguous(), True)):
        source = ArraySource(Rows(part, y, None))
        assert source.lies_by_rows is lies
        chunk = next(chunks(source, Order(8, seed=0), batch_size=3, in_place=True, tight=True))
        assert (chunk.places is not None) is lies
        rows = torch.from_numpy(chunk.row_ids(1))
        assert torch.equal(chunk.views(chunk.data.leaves()[0])[1], x[rows])


@pytest.mark.parametrize("chosen", [None, 0.3])
def test_a_fit_has_the_scores_and_weights_of_the_other_engine(chosen: float | None) -> None:
    """With held-out rows the numbers of the rows trained on are not those of their places. float64, 300 steps: 1e-9."""
    made = case(6, torch.float64, 4, weighted=True, n=200)
    found = []
    for which in ("fused", "autograd"):
        torch.manual_seed(0)
        model = nn.Linear(6, 1).double()
        run = mbgd.fit(
            model,
            (made.x, made.y),
            sample_weight=made.w,
            loss="log_loss",
            optimizer="sgd",
            learning_rate=0.1,
            batch_size=4,
            epochs=6,
            validation=chosen,
            engine=which,
        )
        assert run.resolved["engine"] == which
        scores = [value for kind in run.scores.values() for value in kind.values()]
        found.append([list(run.history)[-1]["step"], *scores, *model.weight.detach().flatten().tolist()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
