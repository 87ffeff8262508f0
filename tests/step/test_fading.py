"""Dropout that fades: the curve by hand, rates as layers see them, and the two engines at both of its ends."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engines import Case, Trained, engine, train
from mbgd.data.stream import ChunkEnds
from mbgd.step.fading import fade, faded, fading

N, M, STEPS = 96, 8, 24
EVERY = (ChunkEnds(), ChunkEnds(max_batches=1), ChunkEnds(max_batches=5))


def case(rate: float) -> Case:
    torch.manual_seed(3)
    layers = [
        nn.Linear(5, 12),
        nn.GELU(),
        nn.Dropout(rate),
        nn.Linear(12, 9),
        nn.ReLU(),
        nn.Dropout(rate),
        nn.Linear(9, 1),
    ]
    x, y = torch.randn(N, 5, dtype=torch.float64), torch.randn(N, dtype=torch.float64)
    return Case(nn.Sequential(*layers).double(), x, y, loss="squared_error", m=M, steps=STEPS)


def trained(
    rate: float, *, fused: bool, fades_over: int | None, after: int = 0, ends: ChunkEnds = ChunkEnds()
) -> bytes:
    made = case(rate)
    by: Trained = train(made, engine(made, fused=fused, fades_over=fades_over), after=after, ends=ends)
    return by.numbers().numpy().tobytes()


def test_the_curve_is_flat_and_then_half_a_cosine() -> None:
    assert [fade(step, 8) for step in range(9)] == pytest.approx([1, 1, 1, 1, 1, 0.8535534, 0.5, 0.1464466, 0])
    assert fade(10**9, None) == 1
    assert fade(9, 8) == 0  # past the plan
    for start, count, steps in ((3, 4, 8), (0, 3, 8), (6, 5, 8), (2, 9, 7), (0, 4, 1), (5, 0, 8), (3, 4, None)):
        assert fading(start, count, steps).tolist() == [fade(step, steps) for step in range(start, start + count)]


def test_layers_have_their_rates_back_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.4), nn.Sequential(nn.Dropout1d(0.2), nn.AlphaDropout(0.1)))
    rates = [m.p for m in model.modules() if hasattr(m, "p")]
    with pytest.raises(ZeroDivisionError), faded(model, 0.25):
        assert [m.p for m in model.modules() if hasattr(m, "p")] == pytest.approx([0.1, 0.05, 0.025])
        raise ZeroDivisionError
    assert [m.p for m in model.modules() if hasattr(m, "p")] == rates == [0.4, 0.2, 0.1]


@pytest.mark.parametrize("fused", [True, False])
def test_both_ends_and_what_lies_between(fused: bool) -> None:
    """Far from its end it is the dropout that was asked for, past its end there is none; between it is neither, and how
    many batches come at once is not seen."""
    whole, none = (trained(rate, fused=fused, fades_over=None, after=1) for rate in (0.4, 0.0))
    assert trained(0.4, fused=fused, fades_over=10**6, after=1) == whole
    assert trained(0.4, fused=fused, fades_over=1, after=1) == none
    between = {trained(0.4, fused=fused, fades_over=STEPS, ends=ends) for ends in EVERY}
    assert len(between) == 1
    assert between.isdisjoint({trained(rate, fused=fused, fades_over=None) for rate in (0.4, 0.0)})
