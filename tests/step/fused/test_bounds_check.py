"""Law: what a chunk may not hold is refused in one sentence before a kernel sees it, and the model is left as it was.

The demands are those of `BoundsCheck`; a source of the user's own gives the rows, since it may give any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn

import mbgd
from mbgd.data.source import Rows
from mbgd.errors import DataError, PlanError
from mbgd.model.table import TableModel

N = 40
Change = Callable[[list[Tensor]], list[Tensor]]


class Own:
    """Rows by number, changed from the read on that brings more than two of them."""

    def __init__(self, leaves: list[Tensor], change: Change, *, inputs: int = 1) -> None:
        self._leaves, self._change, self._inputs, self.n_rows = leaves, change, inputs, N

    def read(self, wanted: Any) -> Rows:
        index = torch.from_numpy(np.arange(N)[wanted])
        found = [leaf[index] for leaf in self._leaves]
        found = self._change(found) if len(index) > 2 else found
        x = found[0] if self._inputs == 1 else tuple(found[: self._inputs])
        return Rows(x, found[self._inputs], found[self._inputs + 1] if len(found) > self._inputs + 1 else None)


def leaves(*, labels: bool = False) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(N, 5), torch.arange(N) % 3 if labels else torch.randn(N), torch.rand(N) + 0.5]


def network(outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, outputs))


def at(place: int, change: Callable[[Tensor], Tensor]) -> Change:
    return lambda found: [change(leaf) if i == place else leaf for i, leaf in enumerate(found)]


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at(0, lambda x: x[:7]), "data must give the 40 rows asked for, got a tensor of shape .7, 5."),
        (at(1, lambda y: y[:3]), "data must give the 40 rows asked for, got a tensor of shape .3,."),
        (at(2, lambda w: w[:1]), "data must give the 40 rows asked for, got a tensor of shape .1,."),
        (at(1, lambda y: y.sum()), "data must give the 40 rows asked for, got a single number"),
        (
            lambda found: [leaf[:0] for leaf in found],
            "data must give the 40 rows asked for, got a tensor of shape .0, 5.",
        ),
    ],
    ids=["x", "y", "weight", "scalar", "none"],
)
def test_fewer_rows_than_asked_for(engine: Any, change: Change, said: str) -> None:
    with pytest.raises(DataError, match=said):
        mbgd.fit(network(), Own(leaves(), change), loss="squared_error", batch_size=4, epochs=1, engine=engine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at(0, lambda x: x[:, :2]), r"X must have 40 rows of 5 numbers.*got shape \(40, 2\)"),
        (at(0, lambda x: x[:, :0]), r"X must have 40 rows of 5 numbers.*got shape \(40, 0\)"),
        (at(0, lambda x: torch.cat([x, x], 1)), r"X must have 40 rows of 5 numbers.*got shape \(40, 10\)"),
        (at(0, lambda x: x.to(torch.int8)), "X must hold float32 numbers.*got int8"),
        (at(2, lambda w: w.expand(9, N).T), r"weight must have 40 rows of 1 numbers.*got shape \(40, 9\)"),
    ],
    ids=["narrow", "empty", "wide", "bytes", "weights"],
)
@pytest.mark.parametrize("linear", [False, True], ids=["network", "linear"])
def test_rows_of_another_width_or_type(linear: bool, change: Change, said: str) -> None:
    model = nn.Linear(5, 1) if linear else network()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(DataError, match=said):
        mbgd.fit(model, Own(leaves(), change), loss="squared_error", batch_size=4, epochs=1, engine="fused")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("far", [-1, 3, 2**40])
def test_labels_written_to_between_two_chunks(far: int) -> None:
    x, y, _ = leaves(labels=True)
    model = network(3)
    coming = mbgd.steps(
        model, (x, y), loss="log_loss", batch_size=4, epochs=3, every=2, learning_rate=0.01, engine="fused"
    )
    next(coming)
    before = [p.clone() for p in model.parameters()]
    y[:] = far
    with pytest.raises(DataError, match=f"class labels 0 to 2 for a model with 3 outputs, got {far}"):
        list(coming)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def table() -> TableModel:
    return TableModel(2, (4, 12), 1, hidden_layer_sizes=(4,), one_hot_up_to=5, embedding_size=3)


@pytest.mark.parametrize("far", [-1, 12, 2**40])
@pytest.mark.parametrize("column", [0, 1], ids=["one-hot", "embedded"])
def test_codes_that_the_model_has_no_place_for(column: int, far: int) -> None:
    x, y, _ = leaves()
    codes = torch.stack([torch.arange(N) % 4, torch.arange(N) % 12], 1)
    how: dict[str, Any] = {"loss": "squared_error", "batch_size": 4, "learning_rate": 0.01, "engine": "fused"}
    codes[5, column] = far
    with pytest.raises(DataError, match=f"codes must lie within 0 to {(3, 11)[column]} in column {column}, got {far}"):
        mbgd.fit(table(), ((x[:, :2].contiguous(), codes), y), epochs=1, **how)


def test_a_code_that_comes_later_is_as_one_that_is_unknown() -> None:
    """The same weights, to the bit, as where it is 0."""
    ended = []
    for written in (12, -(2**40), 0):
        x, y, _ = leaves()
        codes = torch.stack([torch.arange(N) % 4, torch.arange(N) % 12], 1)
        model = table()
        how: dict[str, Any] = {"loss": "squared_error", "batch_size": 4, "learning_rate": 0.01, "engine": "fused"}
        coming = mbgd.steps(model, ((x[:, :2].contiguous(), codes), y), epochs=3, every=2, **how)
        next(coming)
        codes[5] = written
        list(coming)
        ended.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(ended[0], ended[2])
    assert torch.equal(ended[1], ended[2])


@pytest.mark.parametrize("change", ["shape", "rows", "layer"])
def test_a_model_that_is_changed_between_two_chunks(change: str) -> None:
    x, y, _ = leaves()
    model = network()
    coming = mbgd.steps(
        model, (x, y), loss="squared_error", batch_size=4, epochs=3, every=2, learning_rate=0.01, engine="fused"
    )
    next(coming)
    weight = model[0].weight
    if change == "layer":
        model[0] = nn.Linear(5, 4)
    else:
        weight.data = weight.data[:2] if change == "rows" else weight.data.T
    said = (
        "its parameters" if change == "layer" else r"'0\.weight' must keep its shape while it is trained, \(4, 5\), got"
    )
    with pytest.raises(PlanError, match=f"must keep {said}" if change == "layer" else said):
        list(coming)


@pytest.mark.parametrize("piece", ["indices", "indptr"])
@pytest.mark.parametrize("far", [-1, 12, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_sparse_matrix_that_is_written_to_between_two_chunks(piece: str, far: int, hidden: bool) -> None:
    """What it is trained on then nobody can know; the columns that it has not are those of no weight."""
    x = sp.csr_array(sp.random(N, 12, density=0.3, format="csr", dtype=np.float32, random_state=0))
    model = nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 1)) if hidden else nn.Linear(12, 1)
    coming = mbgd.steps(
        model, (x, np.ones(N, np.float32)), loss="squared_error", batch_size=4, epochs=3, every=2, learning_rate=0.01
    )
    next(coming)
    getattr(x, piece)[3] = far
    list(coming)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
