"""Law: an engine's gradient is that of the weighted mean loss of the rows, and asking for it changes nothing.

The oracles are a loss written out in torch with the mean taken by torch, and central differences of that loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engines import Case, close, engine, target, train
from mbgd.compiled.cache import place
from mbgd.data.order import Order
from mbgd.data.stream import chunks
from mbgd.model.table import TableModel

N, WIDTH = 61, 7
EXACT = 1e-12  # float64: some hundred roundings of 1e-16 each on gradients of size 1
BY_HAND: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # a loss a row, as its textbook has it
    "squared_error": lambda o, y: (o[:, 0] - y) ** 2,
    "huber": lambda o, y: functional.huber_loss(o[:, 0], y, reduction="none"),
    "poisson": lambda o, y: o[:, 0].exp() - y * o[:, 0],
    "log_loss": lambda o, y: torch.log1p(torch.exp(-o[:, 0] * (2 * y - 1))),
    "classes": lambda o, y: -torch.log_softmax(o, 1)[torch.arange(len(y)), y],
}
NETS: dict[str, Callable[[int], nn.Module]] = {
    "linear": lambda k: nn.Linear(WIDTH, k),
    "relu": lambda k: nn.Sequential(nn.Linear(WIDTH, 9), nn.ReLU(), nn.Linear(9, k)),
    "deep": lambda k: nn.Sequential(
        nn.Linear(WIDTH, 9, bias=False), nn.GELU(), nn.Linear(9, 6), nn.Tanh(), nn.Dropout(0.4), nn.Linear(6, k)
    ),
    "wide": lambda k: nn.Sequential(
        nn.Linear(WIDTH, 150), nn.ReLU(), nn.Linear(150, 130), nn.ReLU(), nn.Linear(130, k)
    ),
}
ENGINES = [True, False]


def case(net: str, loss: str, *, weighted: bool, dtype: torch.dtype = torch.float64, n: int = N, **more: Any) -> Case:
    outputs = 3 if loss == "classes" else 1
    named = "log_loss" if loss == "classes" else loss
    torch.manual_seed(3)
    chance = np.random.default_rng(2)
    return Case(
        NETS[net](outputs).to(dtype),
        torch.tensor(chance.normal(size=(n, WIDTH))).to(dtype),
        target(named, n, outputs),
        loss=named,
        w=torch.tensor(chance.uniform(0.1, 3, n)).to(dtype) if weighted else None,
        outputs=(outputs,),
        **more,
    )


def table() -> Case:
    """Numbers, a one-hot category and two embedded ones, in float64."""
    chance = np.random.default_rng(5)
    cardinalities = [3, 50, 40]
    model = TableModel(4, cardinalities, hidden_layer_sizes=(12,), dropout=0.3, seed=3).double()
    codes = torch.tensor(np.stack([chance.integers(0, c, N) for c in cardinalities], 1))
    x = torch.tensor(chance.normal(size=(N, 4)))
    return Case(model, (x, codes), target("squared_error", N, 1), w=torch.tensor(chance.uniform(0.1, 3, N)))


def whole_loss(made: Case, model: nn.Module, rows: list[int], loss: str) -> Tensor:
    """(1 / (rows wbar)) * sum of w l over some rows; the model is in evaluation mode."""
    y = made.y[rows] if loss == "classes" else made.y[rows].to(made.dtype)
    inputs = made.x[rows] if isinstance(made.x, Tensor) else tuple(part[rows] for part in made.x)
    output = model(inputs) if isinstance(inputs, Tensor) else model(*inputs)
    each = BY_HAND[loss](output if output.ndim == 2 else output[:, None], y)
    if made.w is None:
        return each.mean()
    return (made.w[rows] * each).sum() / (len(rows) * made.w.double().mean())


def by_torch(made: Case, model: nn.Module, rows: list[int], loss: str) -> Tensor:
    twin = copy.deepcopy(model).eval()
    parameters = list(twin.parameters())
    return torch.cat([g.flatten() for g in torch.autograd.grad(whole_loss(made, twin, rows, loss), parameters)])


def chunk_of(made: Case, m: int, tight: bool) -> Any:
    return next(iter(chunks(made.source(), Order(made.n, seed=1), batch_size=m, tight=tight)))


@pytest.mark.parametrize("fused", ENGINES, ids=["fused", "autograd"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", BY_HAND)
@pytest.mark.parametrize("net", NETS)
def test_it_is_the_gradient_of_the_mean_loss(net: str, loss: str, weighted: bool, fused: bool) -> None:
    made = case(net, loss, weighted=weighted)
    by = engine(made, fused=fused)
    chunk = chunk_of(made, 20, by.engine.packs_tightly)
    for batch in (0, 2):
        rows = chunk.row_ids(batch).tolist()
        close(by.engine.gradient(chunk, batch), by_torch(made, by.model, rows, loss), within=EXACT)


@pytest.mark.parametrize("fused", ENGINES, ids=["fused", "autograd"])
def test_of_a_table_with_embeddings_too(fused: bool) -> None:
    made = table()
    by = engine(made, fused=fused)
    chunk = chunk_of(made, 20, by.engine.packs_tightly)
    for batch in (1, 0, 1):  # an entry's gradient is added up: nothing of one batch may be left for the next
        rows = chunk.row_ids(batch).tolist()
        close(by.engine.gradient(chunk, batch), by_torch(made, by.model, rows, "squared_error"), within=EXACT)


@pytest.mark.parametrize("fused", ENGINES, ids=["fused", "autograd"])
def test_it_is_what_the_loss_changes_by(fused: bool) -> None:
    """Central differences: off by step^2 and by 1e-16 / step, so 1e-9 at a step of 1e-5."""
    made = case("deep", "poisson", weighted=True)
    by = engine(made, fused=fused)
    chunk = chunk_of(made, made.n, by.engine.packs_tightly)
    twin = copy.deepcopy(by.model).eval()
    slopes = []
    with torch.no_grad():
        for parameter in twin.parameters():
            for i in range(parameter.numel()):
                ends = []
                for step in (1e-5, -1e-5):
                    parameter.view(-1)[i] += step
                    ends.append(float(whole_loss(made, twin, list(range(made.n)), "poisson")))
                    parameter.view(-1)[i] -= step
                slopes.append((ends[0] - ends[1]) / 2e-5)
    close(by.engine.gradient(chunk, 0), slopes, within=1e-8)


@pytest.mark.parametrize("net", ["linear", "relu", "wide"])
def test_a_batch_of_many_blocks_is_the_sum_of_its_parts(net: str) -> None:
    """3,000 rows are several blocks of the fused engine; torch takes them at once."""
    made = case(net, "squared_error", weighted=True, n=3_000)
    by = engine(made, fused=True)
    whole = by.engine.gradient(chunk_of(made, 3_000, True), 0)
    close(whole, by_torch(made, by.model, list(range(3_000)), "squared_error"), within=EXACT)


@pytest.mark.parametrize("net", NETS)
def test_in_float32_to_its_rounding(net: str) -> None:
    made = case(net, "squared_error", weighted=False, dtype=torch.float32)
    fused, autograd = (engine(made, fused=fused) for fused in ENGINES)
    a, b = (by.engine.gradient(chunk_of(made, 61, by.engine.packs_tightly), 0) for by in (fused, autograd))
    assert a.dtype == b.dtype == torch.float32
    close(a, b, within=1e-5)  # sums of 61 products, 6e-8 each


@pytest.mark.parametrize("fused", ENGINES, ids=["fused", "autograd"])
def test_what_is_not_trained_has_zeros(fused: bool) -> None:
    """A frozen layer, and one that the optimizer does not hold; the others are as if nothing were frozen."""
    made = case("deep", "squared_error", weighted=False)
    whole = by_torch(made, made.model, list(range(N)), "squared_error")
    made.model[2].weight.requires_grad_(False)
    made.optimizer = lambda model: torch.optim.SGD([model[2].weight, model[2].bias, *model[5].parameters()], lr=0.1)
    by = engine(made, fused=fused)
    found = by.engine.gradient(chunk_of(made, N, by.engine.packs_tightly), 0)
    first, second = 9 * WIDTH, 6 * 9
    expected = whole.clone()
    expected[: first + second] = 0
    assert not found[: first + second].any()
    close(found, expected, within=EXACT)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("finite", [True, False], ids=["finite", "not finite"])
@pytest.mark.parametrize("when", ["at first", "after steps", "inside bound"])
@pytest.mark.parametrize("fused", ENGINES, ids=["fused", "autograd"])
def test_nothing_is_changed_by_it(fused: bool, when: str, finite: bool, optimizer: str) -> None:
    made = case("deep", "squared_error", weighted=True, clip_norm=0.5, ema_decay=0.9)
    made.optimizer = "adamw" if optimizer == "adamw" else "sgd"
    made.options = {"momentum": 0.9} if optimizer == "momentum" else {}
    by = engine(made, fused=fused)
    chunk = chunk_of(made, 20, by.engine.packs_tightly)
    if when != "at first":
        train(made, by, upto=3)
    if not finite:
        chunk.data.x[int(chunk.starts[1])] = torch.inf
    by.model.train()
    by.model[4].eval()
    chance, modes = torch.get_rng_state(), [module.training for module in by.model.modules()]
    if when == "inside bound":
        with by.engine.bound():
            before = held(by)
            found = by.engine.gradient(chunk, 1)
            assert_same(held(by), before)
    else:
        before = held(by)
        places = [p.data_ptr() for p in by.model.parameters()]
        found = by.engine.gradient(chunk, 1)
        assert_same(held(by), before)
        assert [p.data_ptr() for p in by.model.parameters()] == places
    assert bool(torch.isfinite(found).all()) is finite
    assert all(p.grad is None for p in by.model.parameters())
    assert [module.training for module in by.model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), chance)


def held(by: Any) -> dict[str, Tensor]:
    """A copy of all that training changes; which state an optimizer has is a part of it."""
    tensors = {f"parameter {i}": p for i, p in enumerate(by.model.parameters())}
    for i, p in enumerate(by.model.parameters()):
        found = by.updater.optimizer.state.get(p, {})
        tensors |= {f"{name} of {i}": value for name, value in found.items() if isinstance(value, Tensor)}
    tensors |= {f"average {i}": value for i, value in enumerate(by.updater.average)}
    return {name: value.detach().clone() for name, value in tensors.items()}


def assert_same(now: dict[str, Tensor], before: dict[str, Tensor]) -> None:
    assert now.keys() == before.keys()
    assert [name for name in now if not torch.equal(now[name], before[name])] == []


def test_an_update_after_it_is_the_one_without_it() -> None:
    """Bitwise: the kernels find nothing in their buffers that was not there before."""
    made = table()
    plain, asked = engine(made, fused=True), engine(made, fused=True)
    train(made, plain, upto=8)
    chunk = chunk_of(made, 20, True)
    with asked.engine.bound():
        for upto in (3, 8):
            train(made, asked, upto=upto, after=0 if upto == 3 else 3)
            asked.engine.gradient(chunk, 1)
    assert torch.equal(plain.numbers(), asked.numbers())


def test_it_runs_the_kernels_that_train() -> None:
    """Nothing is compiled for a gradient that a training has not compiled already."""
    made = case("deep", "squared_error", weighted=True)
    by = train(made, engine(made, fused=True), upto=2)
    before = {path.name for path in place().folder.iterdir()}
    by.engine.gradient(chunk_of(made, 20, True), 0)
    assert {path.name for path in place().folder.iterdir()} == before


@pytest.mark.parametrize("micro_batch", [1, 6, 100])
def test_micro_batches_add_up(micro_batch: int) -> None:
    made = case("relu", "classes", weighted=True)
    by = engine(made, fused=False)
    chunk = chunk_of(made, 20, False)
    whole = by.engine.gradient(chunk, 0)
    split = copy.copy(by.engine.rule)
    object.__setattr__(split, "micro_batch", micro_batch)
    object.__setattr__(by.engine, "rule", split)
    close(by.engine.gradient(chunk, 0), whole, within=EXACT)
