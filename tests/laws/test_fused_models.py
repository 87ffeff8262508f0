"""Law: random stacks and table models, as autograd trains them; and gradients by finite differences, with no autograd at all."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engines import Case, both, close, engine, target, train
from mbgd.model.build import MLP
from mbgd.model.table import TableModel
from mbgd.step.fused.arena import rows_of_a_block

N = 33
LAYERS: list[Any] = [nn.ReLU, nn.LeakyReLU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Identity]
LAYERS += [nn.Flatten, lambda: nn.Dropout(0.0)]


@st.composite
def stacks(draw: st.DrawFn) -> tuple[nn.Module, int, int]:
    """A nested stack in any order, its width in and out."""
    torch.manual_seed(draw(st.integers(0, 99)))
    widths = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    parts: list[nn.Module] = [draw(st.sampled_from(LAYERS))() for _ in range(draw(st.integers(0, 1)))]
    for a, b in pairwise(widths):
        inner: list[nn.Module] = [nn.Linear(a, b, bias=draw(st.booleans()))]
        inner += [draw(st.sampled_from(LAYERS))() for _ in range(draw(st.integers(0, 3)))]
        parts += [nn.Sequential(*inner)] if draw(st.booleans()) else inner
    return nn.Sequential(*parts).double(), widths[0], widths[-1]


@settings(max_examples=60)
@given(
    stack=stacks(), m=st.sampled_from([1, 2, 4, 9, 33]), loss=st.sampled_from(["squared_error", "huber", "log_loss"])
)
def test_random_stacks_agree(stack: tuple[nn.Module, int, int], m: int, loss: str) -> None:
    model, width, outputs = stack
    x = torch.tensor(np.random.default_rng(0).normal(size=(N, width)))
    made = Case(model, x, target(loss, N, outputs), loss=loss, m=m, steps=12, outputs=(outputs,), optimizer="adam")
    made.options = {"learning_rate": 0.003}
    fused, autograd = both(made)
    close(fused.numbers(), autograd.numbers(), within=1e-10)


@pytest.mark.parametrize("m", [1, 7, 8, 30, 64, 200])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_layers_of_many_strips_in_blocks_of_rows_agree(m: int, clip_norm: float | None) -> None:
    """Wide enough that a gradient is learnt in several strips, that one layer goes through BLAS, that few inputs meet many
    outputs, and that m = 200 is cut into blocks."""
    torch.manual_seed(1)
    widths = (20, 150, 600, 450, 3)
    parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    model = nn.Sequential(*parts[:-1]).double()
    n = 230
    x = torch.tensor(np.random.default_rng(2).normal(size=(n, widths[0])))
    made = Case(model, x, target("log_loss", n, 3), loss="log_loss", m=m, steps=4, outputs=(3,), clip_norm=clip_norm)
    made.options = {"learning_rate": 0.05, "momentum": 0.9}
    fused, autograd = both(made)
    assert rows_of_a_block(fused.engine.program) < 200  # type: ignore[attr-defined]
    close(fused.numbers(), autograd.numbers(), within=1e-10)


def test_a_unit_that_learns_nothing_ends_at_a_momentum_of_zero() -> None:
    """Numbers below the smallest normal one would stay there for ever, a hundred times as slow: they count as 0."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight[1] = 1.0  # alive at first
    x, y = torch.ones(40, 2), torch.ones(40)
    made = Case(model, x, y, m=1, steps=1200, options={"learning_rate": 0.01, "momentum": 0.9})
    fused = engine(made, fused=True)
    train(made, fused, upto=1)
    velocity = fused.updater.optimizer.state[fused.model[0].weight]["momentum_buffer"]
    assert (velocity[1] != 0).all()
    with torch.no_grad():
        fused.model[0].weight[1] = -1.0  # dead from here on
        fused.model[0].bias[1] = -1.0
    train(made, fused, after=1)
    velocity = fused.updater.optimizer.state[fused.model[0].weight]["momentum_buffer"]
    assert (velocity[1] == 0).all()
    tiny = torch.finfo(torch.float32).tiny
    assert torch.tensor([tiny]).div(2).item() == tiny / 2  # the caller's own numbers are not touched by it


@pytest.mark.parametrize("m", [1, 4])
def test_nor_has_a_column_of_zeros_a_momentum_of_its_own(m: int) -> None:
    model = nn.Linear(3, 1)
    x, y = torch.ones(40, 3), torch.ones(40)
    made = Case(model, x, y, m=m, steps=1200, options={"learning_rate": 0.01, "momentum": 0.9})
    fused = engine(made, fused=True)
    train(made, fused, upto=1)
    velocity = fused.updater.optimizer.state[fused.model.weight]["momentum_buffer"]
    assert velocity[0, 1] != 0
    made.x[:, 1] = 0.0
    train(made, fused, after=1)
    velocity = fused.updater.optimizer.state[fused.model.weight]["momentum_buffer"]
    assert velocity[0, 1] == 0
    tiny = torch.finfo(torch.float32).tiny
    assert torch.tensor([tiny]).div(2).item() == tiny / 2


def columns(cardinalities: tuple[int, ...]) -> Tensor:
    chance = np.random.default_rng(7)
    codes = [chance.integers(0, size, N) for size in cardinalities]
    return torch.tensor(np.stack(codes, 1) if codes else np.zeros((N, 0), np.int64))


@pytest.mark.parametrize("m", [1, 4, 33])
@pytest.mark.parametrize(
    ("n_numbers", "cardinalities", "hidden"),
    [
        (3, (4, 20, 2), (16, 16)),
        (0, (30,), (9,)),
        (2, (3,), ()),
        (4, (), (8,)),
        (2, (12, 2, 15), ()),
        (1, (1, 11), (5,)),
    ],
)
def test_table_models_agree(m: int, n_numbers: int, cardinalities: tuple[int, ...], hidden: tuple[int, ...]) -> None:
    model = TableModel(n_numbers, cardinalities, hidden_layer_sizes=hidden, seed=3).double()
    x = torch.tensor(np.random.default_rng(1).normal(size=(N, n_numbers)))
    made = Case(model, (x, columns(cardinalities)), target("log_loss", N, 1), loss="log_loss", m=m, outputs=())
    made.w, made.optimizer, made.options = torch.linspace(0.2, 2, N).double(), "sgd", {"momentum": 0.9}
    made.clip_norm = 0.5 if m == 4 else None
    fused, autograd = both(made)
    close(fused.numbers(), autograd.numbers(), within=1e-10)


def test_frozen_embeddings_stay() -> None:
    model = TableModel(2, (12, 15), hidden_layer_sizes=(6,), seed=3).double()
    model.embeddings[0].requires_grad_(False)
    x = torch.tensor(np.random.default_rng(1).normal(size=(N, 2)))
    fused, autograd = both(Case(model, (x, columns((12, 15))), torch.ones(N), outputs=(), optimizer="adamw"))
    assert torch.equal(fused.model.embeddings[0], model.embeddings[0])
    close(fused.numbers(), autograd.numbers(), within=1e-10)


def test_our_own_mlp_agrees_for_labels() -> None:
    model = MLP(5, 3, hidden_layer_sizes=(40, 40), activation="silu", seed=1).double()
    x = torch.tensor(np.random.default_rng(1).normal(size=(N, 5)))
    fused, autograd = both(Case(model, x, target("log_loss", N, 3), loss="log_loss", m=8, outputs=(3,)))
    close(fused.numbers(), autograd.numbers(), within=1e-10)


def test_images_are_flattened() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 2)).double()
    x = torch.tensor(np.random.default_rng(1).normal(size=(N, 3, 2, 2)))
    fused, autograd = both(Case(model, x, target("log_loss", N, 2), loss="log_loss", m=8, outputs=(2,)))
    close(fused.numbers(), autograd.numbers(), within=1e-10)


@pytest.mark.parametrize("activation", [nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize(("loss", "outputs"), [("squared_error", 2), ("log_loss", 1), ("log_loss", 3), ("poisson", 1)])
def test_an_update_is_the_slope_found_by_finite_differences(activation: Any, loss: str, outputs: int) -> None:
    """One step of plain descent at rate 1 moves theta by the gradient of (1/m) sum w_i l_i: by central differences of the
    losses that the engine itself reports, h = 1e-5: truncation about h^2, rounding about 1e-16 / h; both below 1e-8."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, outputs)).double()
    x = torch.tensor(np.random.default_rng(1).normal(size=(6, 3)))
    w = torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0, 0.5]).double()
    options = {"learning_rate": 1.0}
    made = Case(model, x, target(loss, 6, outputs), loss=loss, w=w, m=6, steps=1, options=options, outputs=(outputs,))
    moved = train(made, engine(made, fused=True)).model

    def objective(changed: nn.Module) -> float:
        case = Case(**{**vars(made), "model": changed})
        # one batch of every row is taken in its natural order
        return float(np.dot(w.numpy(), train(case, engine(case, fused=True)).losses)) / 6 / float(w.mean())

    for number, parameter in enumerate(model.parameters()):
        for place in range(0, parameter.numel(), 3):
            steps = []
            for sign in (1, -1):
                changed = copy.deepcopy(model)
                with torch.no_grad():
                    list(changed.parameters())[number].view(-1)[place] += sign * 1e-5
                steps.append(objective(changed))
            slope = (steps[0] - steps[1]) / 2e-5
            found = parameter.detach().view(-1)[place] - list(moved.parameters())[number].detach().view(-1)[place]
            assert abs(float(found) - slope) < 1e-7


def edges(*counts: int) -> tuple[tuple[float, ...], ...]:
    """Uneven edges, exact in float32; none for a count of 0."""
    return tuple(tuple(np.cumsum([-1.5, *[0.25 + 0.125 * (i % 3) for i in range(n)]])) if n else () for n in counts)


@pytest.mark.parametrize("m", [1, 5, 30])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("cardinalities", [(), (3,), (3, 12, 15)])
@pytest.mark.parametrize("bins", [(), (5, 0, 1, 9), (0, 2, 0, 0)])
def test_embedded_numbers_and_scales_agree(
    m: int, scaled: bool, cardinalities: tuple[int, ...], bins: tuple[int, ...]
) -> None:
    model = TableModel(
        4, cardinalities, 3, hidden_layer_sizes=(9, 6), edges=edges(*bins), scaled=scaled, seed=3
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    x = torch.tensor(np.random.default_rng(1).normal(size=(N, 4)))
    x[0] = torch.tensor([-9.0, 9.0, -1.5, 0.0])  # beyond the edges, and on them
    codes = columns(cardinalities) if cardinalities else torch.zeros(N, 0, dtype=torch.int64)
    made = Case(model, (x, codes), target("log_loss", N, 3), loss="log_loss", m=m, optimizer="tabular", outputs=(3,))
    made.options = {"learning_rate": 0.02}
    fused, autograd = both(made)
    close(fused.numbers(), autograd.numbers(), within=1e-9)
    close(fused.losses, autograd.losses, within=1e-9)
