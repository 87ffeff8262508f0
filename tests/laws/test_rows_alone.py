"""Laws of large embeddings, whose rows move alone: torch's SparseAdam beside AdamW in a loop by hand; what a batch does not
hold keeps its bits; both engines, threads, chunks and places to stop come to the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines import Case, Trained, close, engine, train
from mbgd.data.order import Order
from mbgd.data.stream import ChunkEnds
from mbgd.model import table as tables
from mbgd.model.table import TableModel, moves_by_rows
from mbgd.step.rows import tables_of, untouched
from oracles import cut

N, CODES, STEPS = 61, 30, 20
CHANCE = np.random.default_rng(8)
X = torch.tensor(CHANCE.normal(size=(N, 2)))
WHICH = torch.tensor(np.stack([CHANCE.geometric(0.1, N).clip(0, CODES - 1), CHANCE.integers(0, 40, N)], axis=1))
Y = torch.tensor(CHANCE.normal(size=N))
Optimizer = tuple[Any, dict[str, Any]]
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": ("sgd", {"weight_decay": 0.1}),
    "momentum": ("sgd", {"momentum": 0.9, "learning_rate": 0.02, "weight_decay": 0.1}),
    "nesterov": ("sgd", {"momentum": 0.8, "nesterov": True, "learning_rate": 0.02}),
    "adam": ("adam", {"learning_rate": 0.01, "weight_decay": 0.05}),
    "adamw": ("adamw", {"learning_rate": 0.01, "weight_decay": 0.3}),
    "tabular": ("tabular", {"learning_rate": 0.02, "weight_decay": 0.1}),
}


@pytest.fixture(autouse=True)
def large_from_twenty_codes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_BY_ROW", 20)


def model(sizes: tuple[int, ...] = (CODES, 40)) -> TableModel:
    return TableModel(2, sizes, 1, hidden_layer_sizes=(8,), embedding_size=3, seed=4).double()


def case(optimizer: Optimizer = OPTIMIZERS["adamw"], m: int = 7, **how: Any) -> Case:
    made = how.pop("model", None) or model()
    codes = WHICH[:, : len(made.cardinalities)]
    return Case(made, (X, codes), Y, m=m, steps=STEPS, optimizer=optimizer[0], options=optimizer[1], **how)


class ByHand(nn.Module):
    """The same network with an embedding whose gradient names rows."""

    def __init__(self, of: TableModel) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(of.embeddings[0].detach().clone(), freeze=False, sparse=True)
        self.body = model((CODES,)).body
        self.body.load_state_dict(of.body.state_dict())

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        out: Tensor = self.body(torch.cat([x, self.table(codes[:, 0])], dim=1))[:, 0]
        return out


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("fused", [True, False])
def test_it_is_sparse_adam_beside_adamw(fused: bool, decay: float) -> None:
    """Decay takes from the rows of a batch alone. `eps`, which SparseAdam adds at another place, is next to nothing."""
    how = {"lr": 0.02, "eps": 1e-30, "betas": (0.8, 0.95)}

    def make(made: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(made.parameters(), weight_decay=decay, **how)

    made = case((make, {}), model=model((CODES,)))
    by = train(made, engine(made, fused=fused))
    theirs = ByHand(made.model)  # type: ignore[arg-type]
    sparse = torch.optim.SparseAdam(theirs.table.parameters(), **how)
    dense = torch.optim.AdamW(theirs.body.parameters(), weight_decay=decay, fused=False, **how)
    batches = [rows for epoch in range(3) for rows in cut(Order(N, seed=1).rows(epoch), 7, "short")]
    for step, rows in enumerate(batches[:STEPS]):
        factor = 1 / (1 + 0.01 * step)
        sparse.zero_grad()
        dense.zero_grad()
        output = theirs(X[rows], WHICH[rows])
        (((output - Y[rows]) ** 2).sum() / 7).backward()
        with torch.no_grad():
            theirs.table.weight[WHICH[rows, 0].unique()] *= 1 - how["lr"] * factor * decay
        for group in (*sparse.param_groups, *dense.param_groups):
            group["lr"] = how["lr"] * factor
        sparse.step()
        dense.step()
    ours = by.model
    close(ours.embeddings[0].detach(), theirs.table.weight.detach(), within=1e-10)  # type: ignore[index]
    close(torch.cat([p.detach().flatten() for p in ours.body.parameters()]),  # type: ignore[union-attr]
          torch.cat([p.detach().flatten() for p in theirs.body.parameters()]), within=1e-10)  # fmt: skip
    state = by.updater.optimizer.state[ours.embeddings[0]]  # type: ignore[index]
    for name in ("exp_avg", "exp_avg_sq"):
        close(state[name], sparse.state[theirs.table.weight][name], within=1e-10)
    assert state["step"] == STEPS


@pytest.mark.parametrize(("clip", "ema"), [(None, None), (0.3, None), (None, 0.9), (0.2, 0.9)])
@pytest.mark.parametrize("m", [1, 7, 61])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_engines_and_their_threads_agree(name: str, m: int, clip: float | None, ema: float | None) -> None:
    """Rows of weight 0 have no gradient."""
    w = torch.tensor(np.where(np.arange(N) % 5, 1.5, 0.0))
    made = case(OPTIMIZERS[name], m, clip_norm=clip, ema_decay=ema, w=w)
    autograd = train(made, engine(made, fused=False))
    for team in (1, 2, 3):
        fused = train(made, engine(made, fused=True, team=team))
        close(fused.numbers(), autograd.numbers(), within=1e-10)
        close(fused.losses, autograd.losses, within=1e-10)


@pytest.mark.parametrize("fused", [True, False])
def test_rows_that_no_batch_holds_keep_weights_and_moments(fused: bool) -> None:
    made = case(m=1)
    by = engine(made, fused=fused)
    before = made.model.embeddings[1].detach().clone()  # type: ignore[index]
    order = Order(N, seed=1).rows(0)
    train(made, by, upto=4)
    table = by.model.embeddings[1]  # type: ignore[index]
    state = {name: value.clone() for name, value in by.updater.optimizer.state[table].items()}
    after = table.detach().clone()
    held = WHICH[order[:4], 1].unique()
    others = torch.tensor([code for code in range(40) if code not in held])
    assert torch.equal(after[others], before[others])
    assert not any(state[name][others].any() for name in ("exp_avg", "exp_avg_sq"))
    assert (after[held] != before[held]).any(dim=1).all()
    train(made, by, after=4, upto=5)
    same = torch.tensor([code for code in range(40) if code != WHICH[order[4], 1]])
    assert torch.equal(table[same], after[same])
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(by.updater.optimizer.state[table][name][same], state[name][same])
    assert by.updater.optimizer.state[table]["step"] == 5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_where_each_batch_holds_every_row_it_is_the_optimizer_itself(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = torch.arange(N)[:, None] % 22
    made = Case(model((22,)), (X, codes), Y, m=N, steps=12, optimizer=OPTIMIZERS[name][0], options=OPTIMIZERS[name][1])
    alone = [train(made, engine(made, fused=fused)).numbers() for fused in (True, False)]
    monkeypatch.setattr(tables, "ROW_BY_ROW", 1000)
    whole = [train(made, engine(made, fused=fused)).numbers() for fused in (True, False)]
    for a, b in zip(alone, whole, strict=True):
        close(a, b, within=1e-12)


def test_without_decay_and_momentum_sgd_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made = case(("sgd", {}))
    alone = train(made, engine(made, fused=True)).numbers()
    monkeypatch.setattr(tables, "ROW_BY_ROW", 1000)
    close(alone, train(made, engine(made, fused=False)).numbers(), within=1e-12)


def test_an_optimizer_that_may_see_a_table_as_a_whole_moves_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = case((lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01, weight_decay=0.1), {}))
    alone = train(made, engine(made, fused=False)).numbers()
    monkeypatch.setattr(tables, "ROW_BY_ROW", 1000)
    assert torch.equal(alone, train(made, engine(made, fused=False)).numbers())


@pytest.mark.parametrize(("fused", "team"), [(True, 1), (True, 2), (False, 1)])
def test_chunks_are_not_seen_nor_where_it_was_stopped(fused: bool, team: int) -> None:
    made = case(ema_decay=0.9)

    def end(ends: ChunkEnds = ChunkEnds(), **how: Any) -> Tensor:
        return train(made, engine(made, fused=fused, team=team), ends=ends, **how).numbers()

    whole = end()
    for other in (ChunkEnds(max_batches=1), ChunkEnds(max_batches=7)):
        assert torch.equal(end(other), whole)
    if fused:
        assert torch.equal(end(in_place=False), whole)
    for at in (1, 9, 13):
        first = train(made, engine(made, fused=fused, team=team), upto=at)
        blank = model()
        with torch.no_grad():
            for parameter in blank.parameters():
                parameter.fill_(3.0)
        second: Trained = engine(made, fused=fused, team=team, model=blank)
        second.engine.restore(first.engine.capture())
        assert torch.equal(train(made, second, after=at).numbers(), whole)


def test_gradients_are_asked_for_as_ever() -> None:
    made = case()
    found = []
    for fused in (True, False):
        by = engine(made, fused=fused)
        chunk = next(iter_chunks(made, tight=fused))
        found.append(by.engine.gradient(chunk, 1))
        assert torch.equal(torch.cat([p.flatten() for p in by.model.parameters()]),
                           torch.cat([p.flatten() for p in made.model.parameters()]))  # fmt: skip
    close(*found, within=1e-12)


def iter_chunks(made: Case, *, tight: bool) -> Any:
    from mbgd.data.stream import chunks

    return chunks(made.source(), Order(N, seed=1), batch_size=made.m, tail=made.tail, ends=ChunkEnds(), tight=tight)


def test_the_work_of_a_step_leaves_out_what_no_row_reads() -> None:
    made = model((CODES, 12, 40))
    adam, other = torch.optim.AdamW(made.parameters()), torch.optim.Adagrad(made.parameters())
    assert untouched(tables_of(made, adam)) == 3 * (CODES - 1) + 3 * 39
    assert untouched(tables_of(made, other)) == 0


def test_ten_thousand_labels_and_a_missing_one_move_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not moves_by_rows(torch.empty(10_001, 1))
    assert moves_by_rows(torch.empty(10_002, 1))
