"""Laws of threads that share a batch: the same bits in every run, to rounding those of one thread, and nobody waits for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mbgd.step.fused.step
import mbgd.step.fused.team
from engines import Case, Trained, close, engine, target, train
from mbgd.data.stream import ChunkEnds
from mbgd.model.table import TableModel
from mbgd.step.fused.team import Threads

N = 77
TEAMS = [2, 3, 5]
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"weight_decay": 0.1}),
    "momentum": ("sgd", {"momentum": 0.9, "learning_rate": 0.02}),
    "nesterov": ("sgd", {"momentum": 0.8, "nesterov": True, "learning_rate": 0.02}),
    "adamw": ("adamw", {"learning_rate": 0.01, "weight_decay": 0.3}),
}


def network(m: int, dtype: torch.dtype = torch.float64, *, dropout: float = 0.3, **how: Any) -> Case:
    torch.manual_seed(0)
    layers = [nn.Linear(28, 31), nn.GELU(), nn.Dropout(dropout), nn.Linear(31, 17, bias=False), nn.ReLU()]
    chance = np.random.default_rng(2)
    return Case(
        nn.Sequential(*layers, nn.Linear(17, 1)).to(dtype),
        torch.tensor(chance.normal(size=(N, 28))).to(dtype),
        torch.tensor(chance.normal(size=N)),
        w=torch.tensor(chance.uniform(0.1, 3, N)).to(dtype),
        m=m,
        **{"steps": 30, **how},
    )


def end(made: Case, team: int, **how: Any) -> Trained:
    return train(made, engine(made, fused=True, team=team), **how)


@pytest.mark.parametrize("m", [1, 4, 32, 77])
@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_agrees_with_one_thread_to_rounding(optimizer: str, clip: float | None, m: int) -> None:
    """Dropout drops the same numbers; there are more threads than a batch has rows, too."""
    kind, options = OPTIMIZERS[optimizer]
    made = network(m, optimizer=kind, options=options, clip_norm=clip, ema_decay=0.9)
    alone = end(made, 1)
    for team in TEAMS:
        together = end(made, team)
        close(together.numbers(), alone.numbers(), within=1e-10)
        close(together.losses, alone.losses, within=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("team", TEAMS)
def test_every_run_has_the_same_bits_whatever_the_chunks(team: int, dtype: torch.dtype) -> None:
    made = network(32, dtype, optimizer="adamw", options={"learning_rate": 0.01}, ema_decay=0.9)
    first = end(made, team)
    for ends in (ChunkEnds(), ChunkEnds(max_batches=1), ChunkEnds(max_batches=7)):
        again = end(made, team, ends=ends)
        assert torch.equal(again.numbers(), first.numbers())
        assert again.losses == first.losses


@pytest.mark.parametrize("m", [2, 30])
def test_embeddings_and_labels(m: int) -> None:
    """The gradient of an embedding is added up row by row, in each thread's own memory."""
    cardinalities = (3, 12, 15)
    model = TableModel(4, cardinalities, 3, hidden_layer_sizes=(9, 6), seed=3).double()
    chance = np.random.default_rng(1)
    codes = np.stack([chance.integers(0, c, N) for c in cardinalities], axis=1)
    x = (torch.tensor(chance.normal(size=(N, 4))), torch.tensor(codes))
    made = Case(model, x, target("log_loss", N, 3), loss="log_loss", m=m, optimizer="adamw", outputs=(3,))
    made.options = {"learning_rate": 0.01}
    alone = end(made, 1)
    for team in TEAMS:
        close(end(made, team).numbers(), alone.numbers(), within=1e-10)


def test_several_blocks_of_rows_a_thread() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 200), nn.ReLU(), nn.Linear(200, 1)).double()
    x, y = torch.randn(5000, 9, dtype=torch.float64), torch.randn(5000, dtype=torch.float64)
    made = Case(model, x, y, m=4000, steps=6, optimizer="adam", clip_norm=0.1)
    close(end(made, 3).numbers(), end(made, 1).numbers(), within=1e-10)


def test_what_one_thread_raises_is_raised_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    real = mbgd.step.fused.team.run_chunk

    def failing(*arguments: Any) -> None:
        if arguments[-1].rank == 1:
            raise MemoryError("none left")
        real(*arguments)

    monkeypatch.setattr(mbgd.step.fused.team, "run_chunk", failing)
    with pytest.raises(MemoryError, match="none left"):
        end(network(32, torch.float32), 3)


def test_where_no_further_thread_can_be_started_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Full(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **more: Any) -> Any:
            asked.append(arguments)
            if len(asked) == 2:
                raise RuntimeError("can't start new thread")
            return super().submit(*arguments, **more)

    monkeypatch.setattr(mbgd.step.fused.team, "ThreadPoolExecutor", Full)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        end(network(32, torch.float32), 3)


def test_fit_shares_its_batches_where_threads_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counted(Threads):
        def __init__(self, size: int, *rest: Any) -> None:
            sizes.append(size)
            super().__init__(size, *rest)

    monkeypatch.setattr(mbgd.step.fused.step, "Threads", Counted)
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    for m, threads in ((31, 2), (64, 2), (200, 3), (200, 1)):
        model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
        mbgd.fit(model, (x, x[:, 0]), loss="squared_error", batch_size=m, epochs=1, threads=threads)
    assert sizes == [2, 3]  # a thread takes 32 rows at least; one alone is no team
