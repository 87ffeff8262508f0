"""Laws of sparse rows: they train to what the same rows train to when they are dense, and nothing else about them shows.

The oracle is autograd on the dense matrix, by torch's own SGD.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

import mbgd
from mbgd.data.stream import ChunkEnds
from mbgd.desk.parts import Parts
from mbgd.desk.prepare import prepare
from mbgd.desk.run import fitting, module_plan
from mbgd.errors import DivergenceError
from mbgd.loop.progress import Progress
from mbgd.loop.steps import steps
from problems import flat

N, WIDTH = 53, 19
CHANCE = np.random.default_rng(7)
Y = CHANCE.integers(0, 2, N)
W = CHANCE.uniform(0.2, 3, N)
FUSED = "the fused engine has a form for this model, loss and optimizer"


def matrix(dtype: Any = np.float64) -> Any:
    """Rows 0 and 31 and columns 4 and 18 are empty."""
    dense = sp.random(N, WIDTH, density=0.3, random_state=2).toarray() * 2
    dense[[0, 31]], dense[:, [4, 18]] = 0, 0
    return sp.csr_matrix(dense.astype(dtype))


X = matrix()


def linear(width: int = WIDTH, *, bias: bool = True) -> nn.Module:
    torch.manual_seed(11)
    return nn.Linear(width, 1, bias=bias).double()


def words(**how: Any) -> dict[str, Any]:
    return {"loss": "log_loss", "learning_rate": 0.3, "batch_size": 7, "epochs": 4, **how}


def both(make: Any, x: Any, y: Any = Y, **how: Any) -> tuple[mbgd.Run, mbgd.Run]:
    """(sparse rows by whatever takes them, dense rows by autograd)."""
    sparse = mbgd.fit(make(), (x, y), **words(**how))
    return sparse, mbgd.fit(make(), (x.toarray(), y), **words(**{**how, "engine": "autograd"}))


def close(a: mbgd.Run, b: mbgd.Run, *, within: float = 1e-10) -> None:
    assert bool(torch.isfinite(flat(b.model)).all())
    np.testing.assert_allclose(flat(a.model), flat(b.model), rtol=within, atol=within)
    np.testing.assert_allclose(
        [line["loss"] for line in a.history], [line["loss"] for line in b.history][-len(a.history) :], rtol=within
    )


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error", "huber", "hinge"])
@pytest.mark.parametrize("m", [1, 2, 7, 32, "full"])
def test_a_linear_model_trains_as_on_dense_rows(m: Any, loss: str, decay: float) -> None:
    """float64, at most 212 steps: 1e-10. The last batch is short, rows have weights, the rate falls."""
    how = {"loss": loss, "batch_size": m, "weight_decay": decay, "sample_weight": W, "schedule": "cosine"}
    sparse, dense = both(linear, X, learning_rate=0.1, **how)
    assert sparse.engine_reason == FUSED
    close(sparse, dense)


def network(*sizes: int, activation: Any = nn.ReLU, dropout: float = 0.0, bias: bool = True) -> nn.Module:
    torch.manual_seed(11)
    layers: list[nn.Module] = [nn.Linear(WIDTH, sizes[0], bias=bias)]
    for a, b in pairwise(sizes):
        layers += [activation(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(a, b)]
    return nn.Sequential(*layers).double()


MODELS: dict[str, Any] = {
    "linear": linear,
    "without bias": lambda: linear(bias=False),
    "one product of two outputs": lambda: network(2),
    "one hidden layer": lambda: network(6, 2),
    "of one unit": lambda: network(1, 2, activation=nn.Tanh),
    "two hidden layers": lambda: network(5, 33, 2, activation=nn.GELU, bias=False),
}
WITH_DROPOUT = {**MODELS, "dropout": lambda: network(40, 2, dropout=0.4)}


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("m", [1, 7, "full"])
@pytest.mark.parametrize("name", list(MODELS)[1:])
def test_so_does_a_network(name: str, m: Any, decay: float) -> None:
    how = {"batch_size": m, "weight_decay": decay, "sample_weight": W, "schedule": "one_cycle"}
    sparse, dense = both(MODELS[name], X, learning_rate=0.1, **how)
    assert sparse.engine_reason == FUSED
    close(sparse, dense)


def test_batches_of_several_blocks_do() -> None:
    """A block has 1,024 rows at most."""
    x = sp.random(2500, WIDTH, density=0.2, random_state=5, format="csr")
    for make in (linear, MODELS["one hidden layer"]):
        for m in (1100, "full"):
            sparse, dense = both(make, x, CHANCE.integers(0, 2, 2500), batch_size=m, weight_decay=0.1)
            assert sparse.engine_reason == FUSED
            close(sparse, dense)


def test_each_tensor_has_the_rate_and_decay_of_its_group() -> None:
    found = []
    for x, engine in ((X, "fused"), (X.toarray(), "autograd")):
        model = network(4, 2)
        groups = [
            {"params": [p], "lr": 0.1 * (i + 1), "weight_decay": 0.02 * i} for i, p in enumerate(model.parameters())
        ]
        optimizer = torch.optim.SGD(groups[::-1], lr=1.0)
        found.append(mbgd.fit(model, (x, Y), **words(optimizer=optimizer, learning_rate=None, engine=engine)))
    assert found[0].engine_reason == FUSED
    close(*found)


@pytest.mark.parametrize("rate_times_decay", [0.4, 0.9, 0.99999, 1.0, 1.7])
def test_decay_that_leaves_nothing_is_decay_still(rate_times_decay: float) -> None:
    """Its factor has to go into the weights again and again, at 1 in every step, and beyond 1 weights change their sign."""
    sparse, dense = both(linear, X, learning_rate=0.1, weight_decay=rate_times_decay / 0.1)
    close(sparse, dense)


CORNERS: dict[str, Any] = {
    "empty rows and columns": lambda: matrix(),
    "no entries": lambda: sp.csr_matrix((N, WIDTH)),
    "one column": lambda: sp.csr_matrix(CHANCE.normal(size=(N, 1))),
    "full rows": lambda: sp.csr_matrix(CHANCE.normal(size=(N, WIDTH))),
    "one row": lambda: matrix()[1:2],
    "columns in falling order": lambda: falling(matrix()),
    "several entries in one place": lambda: doubled(matrix()),
    "zeros that are written": lambda: with_zeros(matrix()),
    "whole numbers": lambda: sp.csr_matrix((matrix() > 0.5).astype(np.int64)),
    "float32": lambda: matrix(np.float32),
    "column by column": lambda: matrix().tocsc(),
    "an array": lambda: sp.csr_array(matrix()),
    "64-bit indices": lambda: wide(matrix()),
}


def falling(x: Any) -> Any:
    for start, end in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        x.indices[start:end], x.data[start:end] = x.indices[start:end][::-1].copy(), x.data[start:end][::-1].copy()
    x.has_sorted_indices = False
    return x


def doubled(x: Any) -> Any:
    return sp.csr_matrix((np.repeat(x.data, 2), np.repeat(x.indices, 2), 2 * x.indptr), shape=x.shape)


def with_zeros(x: Any) -> Any:
    x.data[::3] = 0
    return x


def wide(x: Any) -> Any:
    x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    return x


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("name", CORNERS)
def test_of_any_make(name: str, decay: float) -> None:
    x = CORNERS[name]()
    sparse, dense = both(lambda: linear(x.shape[1]), x, Y[: x.shape[0]], weight_decay=decay)
    assert sparse.engine_reason == FUSED
    close(sparse, dense)


def test_in_float32_too() -> None:
    """Rounding of 32 steps of sums over a few numbers: 1e-5."""
    for make, decay in product((linear, MODELS["one hidden layer"]), (0.0, 0.05)):
        sparse, dense = both(lambda make=make: make().float(), X, weight_decay=decay)
        assert sparse.engine_reason == FUSED
        close(sparse, dense, within=1e-5)


def test_every_row_once_an_epoch() -> None:
    """Row i has its entry in column i alone: each weight moves once, from 0 by rate 2 y_i / m, in closed form."""
    model = nn.Linear(N, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    y = CHANCE.normal(size=N)
    run = mbgd.fit(model, (sp.identity(N, format="csr"), y), **words(loss="squared_error", epochs=1, learning_rate=0.5))
    assert run.engine_reason == FUSED
    np.testing.assert_allclose(model.weight.detach()[0], 0.5 * 2 * y / 7, rtol=1e-14)


def parts_of(model: nn.Module, ends: ChunkEnds | None = None, **how: Any) -> Parts:
    parts = prepare(model, (X, Y), plan=module_plan(words(**how), None), sample_weight=W)
    assert parts.resolved["engine_reason"] == FUSED
    return parts if ends is None else replace(parts, ends=ends)


def trained(parts: Parts, n_steps: int, start: Progress = Progress()) -> Progress:
    """Train up to that step, where a chunk must end."""
    with parts.engine.bound():
        for done in steps(parts.chunks(start), parts.engine, rate_factor=parts.rate_factor, start=start):
            if done.progress.steps_done >= n_steps:
                assert done.progress.steps_done == n_steps
                return done.progress
    raise AssertionError("chunks come without end")


CUTS = [ChunkEnds(max_batches=1), ChunkEnds(max_batches=3), ChunkEnds(max_rows=20), ChunkEnds(at_epoch_end=True)]


@pytest.mark.parametrize("how", [{}, {"weight_decay": 0.1}, {"weight_decay": 2.0}, {"batch_size": 1}], ids=str)
@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_how_batches_are_grouped_never_changes_a_bit(name: str, how: dict[str, Any]) -> None:
    found = []
    for ends in CUTS:
        model = WITH_DROPOUT[name]()
        trained(parts_of(model, replace(ends, every_steps=(32,)), **how), 32)
        found.append(flat(model))
    assert all(torch.equal(one, found[0]) for one in found)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", MODELS)
def test_what_was_captured_after_any_step_goes_on_to_the_same_bits(name: str, decay: float) -> None:
    whole = MODELS[name]()
    trained(parts_of(whole, ChunkEnds(every_steps=(20,)), weight_decay=decay), 20)
    for cut in (1, 7, 13):
        first = parts_of(MODELS[name](), ChunkEnds(every_steps=(cut,)), weight_decay=decay)
        with first.engine.bound():
            at, state = trained(first, cut), first.engine.capture()
        model = MODELS[name]()
        nn.init.constant_(next(model.parameters()), 5.0)
        second = parts_of(model, ChunkEnds(every_steps=(20,)), weight_decay=decay)
        second.engine.restore(state)
        trained(second, 20, at)
        assert torch.equal(flat(model), flat(whole))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_run_broken_off_and_resumed_has_the_same_bits(tmp_path: Path, decay: float) -> None:
    how = words(weight_decay=decay, validation=0.2, checkpoint_every=3, epochs=5)
    whole = mbgd.fit(linear(), (X, Y), out=tmp_path / "whole", **how)
    going = fitting(linear(), (X, Y), plan=module_plan(how, None), out=tmp_path / "cut")
    for _ in range(4):
        next(going)
    going.close()
    other = linear()
    nn.init.constant_(next(other.parameters()), 5.0)
    again = mbgd.resume(tmp_path / "cut", other, (wide(matrix()), Y))
    assert torch.equal(flat(again.model), flat(whole.model))
    assert again.scores == whole.scores
    changed = matrix()
    changed.data[5] += 1
    with pytest.raises(mbgd.DataError, match="data must be the rows that the run was begun with, got other values"):
        mbgd.resume(tmp_path / "whole", linear(), (changed, Y))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_whoever_changes_weights_between_two_steps_is_heard(decay: float) -> None:
    found = []
    for data, engine in (((X, Y), "fused"), ((X.toarray(), Y), "autograd")):
        model = linear()
        for done in mbgd.steps(model, data, **words(weight_decay=decay, engine=engine)):
            if done.progress.steps_done <= 16:
                found.append(flat(model))
                with torch.no_grad():
                    next(model.parameters()).mul_(-0.5)
        found.append(flat(model))
    half = len(found) // 2
    for a, b in zip(found[:half], found[half:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("name", ["linear", "two hidden layers"])
def test_model_and_optimizer_are_left_as_they_were(name: str) -> None:
    model = MODELS[name]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    mbgd.fit(model, (X, Y), **{**words(optimizer=optimizer), "learning_rate": None})
    assert not optimizer.state
    assert all(p.is_contiguous() for p in model.parameters())


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_ends_it_before_its_step(bad: float, decay: float) -> None:
    x = matrix()
    x.data[60] = bad
    row = int(np.searchsorted(x.indptr, 60, side="right")) - 1
    found = []
    for data in (x, x.toarray()):
        model = linear()
        with pytest.raises(DivergenceError) as caught:
            mbgd.fit(model, (data, Y), **words(weight_decay=decay))
        assert row in caught.value.rows
        found.append((caught.value.step, str(caught.value), flat(model)))
    assert found[0][:2] == found[1][:2]
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-10)


@pytest.mark.parametrize("validation", [0.3, (matrix()[:9], Y[:9])], ids=["a share", "rows"])
@pytest.mark.parametrize("layers", [[], [nn.Tanh()]], ids=["product first", "dense first"])
def test_scores_and_predictions_are_those_of_dense_rows(layers: list[nn.Module], validation: Any) -> None:
    def make() -> nn.Module:
        return nn.Sequential(*layers, linear())

    sparse, dense = both(make, X, validation=validation)
    for name, value in sparse.scores["validation"].items():
        assert value == pytest.approx(dense.scores["validation"][name], rel=1e-10)
    np.testing.assert_allclose(sparse.predict_proba(X), dense.predict_proba(X.toarray()), rtol=1e-10)
    np.testing.assert_array_equal(sparse.predict(X), dense.predict(X.toarray()))


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "momentum": ({"momentum": 0.9}, "SGD with momentum moves every weight"),
    "adam": ({"optimizer": "adam"}, "Adam moves every weight at every step"),
    "clipping": ({"clip_norm": 0.1}, "clip_norm needs the whole gradient"),
    "averages": ({"ema_decay": 0.9}, "ema_decay follows every weight at every step"),
    "autograd": ({"engine": "autograd"}, "autograd takes no others"),
    "another first layer": ({}, "its first layer is not a Linear"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_moves_all_weights_gets_dense_batches_and_says_so(name: str) -> None:
    """The same kernels on the same numbers: to the last bit."""
    how, why = OTHERS[name]

    def make() -> nn.Module:
        return nn.Sequential(nn.Tanh(), linear()) if name == "another first layer" else linear()

    sparse, dense = (mbgd.fit(make(), (x, Y), **words(learning_rate=0.05, **how)) for x in (X, X.toarray()))
    assert sparse.engine_reason.endswith(f"; each batch of sparse rows is made dense, since {why}")
    assert torch.equal(flat(sparse.model), flat(dense.model))


@pytest.mark.parametrize("bound", [False, True])
def test_the_gradient_is_that_of_dense_rows(bound: bool) -> None:
    parts = parts_of(linear(), weight_decay=0.1)
    chunk = next(parts.chunks(Progress()))
    with parts.engine.bound() if bound else nullcontext():
        found = parts.engine.gradient(chunk, 2)
    model, rows = linear(), chunk.row_ids(2)
    outputs = model(torch.tensor(X.toarray()[rows]))[:, 0]
    losses = nn.functional.binary_cross_entropy_with_logits(outputs, torch.tensor(Y[rows]).double(), reduction="none")
    (losses * torch.tensor(W[rows])).sum().div(7 * W.mean()).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
