"""Laws of the fused engine: chunks are invisible, engines take turns, a run resumes to the same bits, and chance is drawn well."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines import Case, Trained, close, engine, train
from mbgd.data.stream import ChunkEnds
from mbgd.step.state import State

WIDTHS = [1, 13, 28, 99]
DTYPES = [torch.float32, torch.float64]


def case(width: int, dtype: torch.dtype, m: int, *, dropout: float = 0.3, **how: Any) -> Case:
    torch.manual_seed(0)
    hidden = [nn.Linear(width, 28), nn.GELU(), nn.Dropout(dropout), nn.Linear(28, 17), nn.ReLU(), nn.Linear(17, 1)]
    chance = np.random.default_rng(2)
    return Case(
        nn.Sequential(*hidden).to(dtype),
        torch.tensor(chance.normal(size=(77, width))).to(dtype),
        torch.tensor(chance.normal(size=77)),
        w=torch.tensor(chance.uniform(0.1, 3, 77)).to(dtype),
        m=m,
        optimizer="adamw",
        options={"learning_rate": 0.01},
        ema_decay=0.9,
        **{"steps": 30, **how},
    )


def end(made: Case, **how: Any) -> Trained:
    return train(made, engine(made, fused=True), **how)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("m", [1, 7, 32, 77])
def test_the_length_of_a_chunk_never_changes_a_bit(m: int, width: int, dtype: torch.dtype) -> None:
    made = case(width, dtype, m)
    one_by_one = end(made, ends=ChunkEnds(max_batches=1))
    for ends in (ChunkEnds(max_batches=3), ChunkEnds(), ChunkEnds(max_rows=50, at_epoch_end=True)):
        other = end(made, ends=ends)
        assert torch.equal(other.numbers(), one_by_one.numbers())
        assert other.losses == one_by_one.losses


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
def test_nor_does_binding_anew_before_each_chunk(dtype: torch.dtype) -> None:
    made = case(13, dtype, 8)
    ends = ChunkEnds(max_batches=4)
    assert torch.equal(end(made, ends=ends).numbers(), end(made, ends=ends, bind=False).numbers())


@pytest.mark.parametrize("m", [5, 32])
def test_another_order_of_two_engines_ends_at_the_same_numbers(m: int) -> None:
    """float64 without dropout: 1e-10 after 30 steps, as for either alone."""
    made = case(13, torch.float64, m, dropout=0.0)
    whole = train(made, engine(made, fused=False))
    for first in (True, False):
        model = copy.deepcopy(made.model)
        begun = train(made, engine(made, fused=first, model=model), upto=11)
        other = engine(made, fused=not first, model=begun.model)
        other.engine.restore(begun.engine.capture())
        ended = train(made, other, after=11)
        close(ended.numbers(), whole.numbers(), within=1e-10)


def test_either_engine_may_take_the_next_chunk_of_one_updater() -> None:
    made = case(13, torch.float64, 8, dropout=0.0)
    whole = train(made, engine(made, fused=False))
    fused = engine(made, fused=True)
    plain = engine(made, fused=False, model=fused.model)
    object.__setattr__(plain.engine, "updater", fused.updater)
    with fused.engine.bound():  # autograd runs on the same flat memory
        for start in range(0, 30, 10):
            train(made, fused, upto=start + 5, after=start, bind=False)
            train(made, plain, upto=start + 10, after=start + 5, bind=False)
    close(fused.numbers(), whole.numbers(), within=1e-10)


@pytest.mark.parametrize("cut", [1, 7, 29])
def test_stopping_anywhere_and_resuming_changes_nothing(cut: int) -> None:
    made = case(28, torch.float32, 8)
    begun = end(made, upto=cut)
    resumed = engine(made, fused=True)
    resumed.engine.restore(begun.engine.capture())
    train(made, resumed, after=cut)
    assert torch.equal(resumed.numbers(), end(made).numbers())


def test_a_state_put_back_while_bound_is_taken_in() -> None:
    made = case(28, torch.float64, 8)
    by = engine(made, fused=True)
    with by.engine.bound():
        train(made, by, upto=9, bind=False)
        saved: State = by.engine.capture()
        train(made, by, after=9, upto=20, bind=False)
        by.engine.restore(saved)
        train(made, by, after=9, bind=False)
    assert torch.equal(by.numbers(), end(made).numbers())


def test_dropout_leaves_out_its_share_and_keeps_the_mean() -> None:
    """One step of 4,000 rows through Dropout(0.3) alone. With weight and bias 0 the gradient is -2 mean(y h): h is 0 or
    x / 0.7. Its mean over rows is that of x, and its second moment 1 / 0.7 of that of x: both within 5 standard errors."""
    n = 4000
    x = torch.ones(n, 2, dtype=torch.float64)
    layers = nn.Sequential(nn.Dropout(0.3), nn.Linear(2, 1)).double()
    nn.init.zeros_(layers[1].weight)
    nn.init.zeros_(layers[1].bias)
    seen = []
    for seed in range(8):
        made = Case(layers, x, torch.ones(n), m=n, steps=1, options={"learning_rate": 1.0}, seed=seed)
        weight = end(made).model[1].weight.detach()[0] / 2  # mean of h in each column
        kept = weight * 0.7
        assert bool((kept - 0.7).abs().max() < 5 * (0.3 * 0.7 / n) ** 0.5)
        seen.append(tuple(weight.tolist()))
    assert len(set(seen)) == 8, "each seed draws a mask of its own"
    assert all(a != b for a, b in seen), "and each unit"


def test_masks_of_steps_and_layers_differ_and_evaluation_mode_draws_none() -> None:
    made = case(13, torch.float64, 11)
    two = {seed: end(Case(**{**vars(made), "seed": seed})).losses for seed in (1, 2)}
    assert two[1] != two[2]
    still = engine(made, fused=True)
    still.model.eval()
    plain = engine(made, fused=False)
    plain.model.eval()
    close(train(made, still).numbers(), train(made, plain).numbers(), within=1e-10)
