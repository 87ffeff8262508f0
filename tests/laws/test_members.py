"""Law: members that share a body are trained by the fused engine as autograd trains them, and a copy trains as one network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engines import Case, both, close, engine, target, train
from mbgd.data.order import Order
from mbgd.data.stream import ChunkEnds, chunks
from mbgd.model.table import TableModel
from mbgd.step.fused.arena import rows_of_a_block

N = 61
LOSSES = [("squared_error", 1), ("huber", 3), ("poisson", 1), ("log_loss", 1), ("log_loss", 4), ("hinge", 3)]
LOSSES += [("quantile", 3)]


def case(
    loss: str = "squared_error",
    outputs: int = 1,
    *,
    members: int = 3,
    n: int = N,
    cardinalities: tuple[int, ...] = (5, 12),
    n_numbers: int = 3,
    dtype: torch.dtype = torch.float64,
    hidden: tuple[int, ...] = (9, 20),
    weighted: bool = True,
    dropout: float = 0.0,
    **more: Any,
) -> Case:
    """Numbers that bend, codes that are spread out and embedded, as far as there are such."""
    chance = np.random.default_rng(4)
    edges = tuple(tuple(np.sort(chance.normal(size=6)).tolist()) for _ in range(n_numbers))
    model = TableModel(
        n_numbers,
        cardinalities,
        outputs,
        hidden_layer_sizes=hidden,
        activation="relu" if dropout else "silu",
        edges=edges,
        scaled=True,
        shared_members=members,
        dropout=dropout,
        seed=3,
    ).to(dtype)
    with torch.no_grad():
        model.scale.normal_(1, 0.3, generator=torch.Generator().manual_seed(1))
    codes = [chance.integers(0, size, n) for size in cardinalities]
    x = torch.tensor(chance.normal(size=(n, n_numbers))).to(dtype)
    both_x = (x, torch.tensor(np.stack(codes, 1) if codes else np.zeros((n, 0), np.int64)))
    levels = {"levels": (0.1, 0.5, 0.9)} if loss == "quantile" else {}
    y = target(loss, n, 1 if levels else outputs)
    w = torch.tensor(chance.uniform(0.1, 3, n)).to(dtype) if weighted else None
    shape = (outputs,) if outputs > 1 else ()
    return Case(model, both_x, y, loss, w=w, outputs=shape, loss_options=levels, **more)


def agree(made: Case, **how: Any) -> None:
    fused, autograd = both(made, **how)
    close(fused.numbers(), autograd.numbers(), within=1e-10)
    close(fused.losses, autograd.losses, within=1e-10)


@pytest.mark.parametrize("m", [1, 4, 33, 61])
@pytest.mark.parametrize(("loss", "outputs"), LOSSES)
def test_both_engines_agree(loss: str, outputs: int, m: int) -> None:
    made = case(loss, outputs, m=m, steps=20, optimizer="adamw", options={"learning_rate": 0.003})
    made.clip_norm = 0.5 if m == 4 else None
    agree(made)


@pytest.mark.parametrize("members", [2, 7])
@pytest.mark.parametrize(
    ("n_numbers", "cardinalities"), [(3, ()), (0, (30,)), (1, (3,))], ids=["numbers", "codes", "one of each"]
)
def test_whatever_stands_in_front_of_them(n_numbers: int, cardinalities: tuple[int, ...], members: int) -> None:
    made = case(members=members, n_numbers=n_numbers, cardinalities=cardinalities, m=8, optimizer="tabular")
    made.options, made.ema_decay = {"learning_rate": 0.02}, 0.9
    agree(made)


def test_a_front_of_numbers_alone_has_only_its_scales() -> None:
    model = TableModel(4, hidden_layer_sizes=(7,), scaled=True, shared_members=3, seed=1).double()
    x = (torch.tensor(np.random.default_rng(0).normal(size=(N, 4))), torch.zeros(N, 0, dtype=torch.int64))
    agree(Case(model, x, target("squared_error", N, 1), m=9, outputs=(), options={"momentum": 0.9}))


def test_batches_of_several_blocks_and_layers_that_go_through_blas() -> None:
    made = case("log_loss", 3, members=4, n=700, m=650, steps=3, hidden=(40, 600, 450), options={"learning_rate": 0.1})
    fused, autograd = both(made)
    assert rows_of_a_block(fused.engine.program) < 650  # type: ignore[attr-defined]
    close(fused.numbers(), autograd.numbers(), within=1e-10)
    close(fused.losses, autograd.losses, within=1e-10)


@pytest.mark.parametrize("frozen", ["scale", "body.0.weight", "body.4.weight", "body.4.bias", "number_embedding"])
def test_what_is_frozen_stays_and_the_rest_is_trained(frozen: str) -> None:
    made = case(m=8, steps=10)
    parameter = dict(made.model.named_parameters())[frozen]
    parameter.requires_grad_(False)
    fused, autograd = both(made)
    assert torch.equal(dict(fused.model.named_parameters())[frozen], parameter)
    close(fused.numbers(), autograd.numbers(), within=1e-10)


@pytest.mark.parametrize(("loss", "outputs"), LOSSES)
def test_the_gradient_and_the_outputs_are_autograds(loss: str, outputs: int) -> None:
    """In evaluation mode, and in blocks: 700 rows of 5 members are several."""
    made = case(loss, outputs, members=5, n=700, dropout=0.4)
    fused, autograd = engine(made, fused=True), engine(made, fused=False)
    chunk = next(iter(chunks(made.source(), Order(made.n, seed=1), batch_size=600)))
    a, b = (by.engine.gradient(chunk, 0) for by in (fused, autograd))
    close(a, b, within=1e-12)
    assert isinstance(made.x, tuple)
    with torch.no_grad():
        found, expected = fused.engine.predicting()(*made.x), made.model.eval()(*made.x)
    close(found.reshape(expected.shape), expected, within=1e-12)


def test_in_float32_to_its_rounding() -> None:
    fused, autograd = both(case(m=16, steps=10, dtype=torch.float32))
    close(fused.numbers(), autograd.numbers(), within=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_two_threads_repeat_each_other_and_agree_with_one(dtype: torch.dtype) -> None:
    """Masks of dropout are the batch's, however its rows are shared out."""
    made = case("log_loss", 4, m=40, steps=20, dtype=dtype, dropout=0.3, optimizer="adamw")
    made.options = {"learning_rate": 0.003}
    two, again, one = (train(made, engine(made, fused=True, team=team)) for team in (2, 2, 1))
    assert torch.equal(two.numbers(), again.numbers())
    close(two.numbers(), one.numbers(), within=1e-10 if dtype is torch.float64 else 1e-4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "outputs"), [("huber", 3), ("log_loss", 4), ("quantile", 3)])
def test_picked_rows_have_the_bits_of_gathered_ones(loss: str, outputs: int, weighted: bool) -> None:
    made = case(loss, outputs, m=20, steps=12, dtype=torch.float32, dropout=0.2, weighted=weighted)
    gathered = train(made, engine(made, fused=True), in_place=False)
    for ends in (ChunkEnds(), ChunkEnds(max_batches=1), ChunkEnds(max_rows=30)):
        picked = train(made, engine(made, fused=True), in_place=True, ends=ends)
        assert torch.equal(picked.numbers(), gathered.numbers())
        assert picked.losses == gathered.losses


def test_each_member_and_row_has_a_mask_of_its_own() -> None:
    """All that is random is the mask: equal members whose losses are equal have equal ones."""
    made = case(members=4, m=N, steps=1, dropout=0.5, weighted=False)
    with torch.no_grad():
        for name, value in made.model.named_parameters():
            if name in ("scale", "body.6.weight", "body.6.bias"):
                value[1:] = value[0]
    fused = train(made, engine(made, fused=True))
    moved = dict(fused.model.named_parameters())["body.6.weight"] - dict(made.model.named_parameters())["body.6.weight"]
    assert len({tuple(row) for row in moved[:, 0].tolist()}) == 4


def test_copies_of_one_member_train_as_one_network_at_a_share_of_its_rate() -> None:
    """M equal members have its loss; what is theirs gets 1 / M of its gradient, what they share the whole of it."""
    one, many = case(members=1, m=8, steps=1), case(members=3, m=8, steps=1)
    state = one.model.state_dict()
    own = {"scale", "body.4.weight", "body.4.bias"}
    many.model.load_state_dict({k: torch.stack([v] * 3) if k in own else v for k, v in state.items()})
    a, b = train(one, engine(one, fused=True)), train(many, engine(many, fused=True))
    close(b.losses, a.losses, within=1e-12)
    after: dict[str, Tensor] = b.model.state_dict()
    for name, value in a.model.state_dict().items():
        step = value - state[name]
        assert step.abs().max() > 1e-6
        if name in own:
            close(after[name] - torch.stack([state[name]] * 3), torch.stack([step / 3] * 3), within=1e-12)
        else:
            close(after[name] - state[name], step, within=1e-12)
