"""Corners in which a law once failed: odd optimizers, buffers, alignments and names."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.data.ahead import ahead
from mbgd.data.order import Order
from mbgd.data.source import ArraySource, Rows
from mbgd.data.split import hold_out
from mbgd.data.stream import ChunkEnds, chunks
from mbgd.errors import DivergenceError, PlanError
from mbgd.seeds import Purpose
from mbgd.step.state import capture, restore
from mbgd.step.update import make_optimizer
from problems import Training, flat, mlp, source


def off(t, k):
    base = torch.empty(t.numel() + k, dtype=t.dtype)
    v = base[k:].view(t.shape)
    v.copy_(t)
    return v


@pytest.mark.parametrize("width", [13, 28, 99])
def test_bits_of_a_full_batch_do_not_depend_on_where_the_users_array_lies(width):
    ends = []
    for k in (0, 1):  # as fit(model, (X[1:], y[1:])) gives
        d = source(200, width).data
        ends.append(
            flat(
                Training(mlp(width, hidden=33), ArraySource(Rows(off(d.x, k), d.y, None)), Order(200, seed=0), 200)
                .run(5)
                .model
            )
        )
    assert torch.equal(*ends)


class NumpySource:
    """A user's or memory-mapped source: read returns torch.from_numpy of a NumPy buffer, 16-byte aligned."""

    def __init__(self, data, k):
        self.d, self.k, self.n_rows = data, k, len(data.y)

    def read(self, rows):
        index = torch.from_numpy(rows) if not isinstance(rows, slice) else rows
        return Rows(off(self.d.x[index], self.k), self.d.y[index].clone(), None)


@pytest.mark.parametrize("width", [13, 28, 99])
def test_bits_do_not_depend_on_the_alignment_of_what_a_source_hands_over(width):
    ends = [
        flat(
            Training(mlp(width, hidden=33), NumpySource(source(200, width).data, k), Order(200, seed=0), 32)
            .run(7, ends=ChunkEnds(every_steps=(7,)))
            .model
        )
        for k in (0, 1)
    ]
    assert torch.equal(*ends)


def test_nadam_in_float64_resumes_to_the_same_bits():
    def new():
        return Training(mlp(4), source(50, 4), Order(50, seed=0), 10, optimizer=torch.optim.NAdam)

    whole, first, second = new().run(10), new().run(4), new()
    second.engine.restore(first.engine.capture())
    second.progress = first.progress
    assert torch.equal(flat(second.run(10).model), flat(whole.model))


class Counting(torch.optim.SGD):
    """Keeps its count in the group, as schedule-free and Prodigy do."""

    def step(self, closure=None):
        for g in self.param_groups:
            g["k"] = g.get("k", 0) + 1
            for p in g["params"]:
                p.grad.div_(g["k"])
        return super().step(closure)


def test_optimizers_that_count_in_their_groups_resume_to_the_same_bits():
    def new():
        return Training(
            mlp(4), source(50, 4), Order(50, seed=0), 10, optimizer=Counting, options={"learning_rate": 0.1}
        )

    whole, first, second = new().run(10), new().run(4), new()
    second.engine.restore(first.engine.capture())
    second.progress = first.progress
    assert torch.equal(flat(second.run(10).model), flat(whole.model))


def test_a_class_gets_momentum_and_no_word_that_it_does_not_know():
    make_optimizer(torch.optim.RMSprop, mlp(4), momentum=0.9)


def test_nesterov_without_momentum_is_a_plan_error():
    with pytest.raises(PlanError):
        make_optimizer("sgd", mlp(4), nesterov=True)


def test_lbfgs_class_is_refused_like_its_instance():
    with pytest.raises(PlanError):
        make_optimizer(torch.optim.LBFGS, mlp(4))


def test_nesterov_with_an_instance_is_refused():
    m = mlp(4)
    with pytest.raises(PlanError):
        make_optimizer(torch.optim.SGD(m.parameters(), lr=0.1), m, nesterov=True)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.buffer = nn.Linear(4, 1).double()
        self.register_buffer("weight", torch.ones(3, dtype=torch.float64))

    def forward(self, x):
        return self.buffer(x) * self.weight.sum()


def test_a_submodule_called_buffer_keeps_its_weights():
    def new():
        torch.manual_seed(0)
        return Training(Named(), source(50, 4), Order(50, seed=0), 10, options={"learning_rate": 1e-3})

    whole, first, second = new().run(10), new().run(4), new()
    second.engine.restore(first.engine.capture())
    second.progress = first.progress
    assert torch.equal(flat(second.run(10).model), flat(whole.model))


def test_a_buffer_that_overflows_is_noticed():
    d = source(50, 4, dtype=torch.float32).data
    d.x[17, 2] = 1e30
    m = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
    t = Training(m, ArraySource(d), Order(50, seed=0), 10)
    with contextlib.suppress(DivergenceError):
        t.run(5)
    assert bool(torch.isfinite(flat(m)).all()), m[0].running_var


class Running(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(4, 1).double()
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float64))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0).detach()  # reassigned: common in users' modules
        return self.l(x - self.mean)


def test_the_average_follows_reassigned_buffers():
    m = Running()
    t = Training(m, source(50, 4), Order(50, seed=0), 10, ema_decay=0.5)
    expected = torch.zeros(4, dtype=torch.float64)
    for _ in range(6):
        t.run(t.progress.steps_done + 1)
        expected = 0.5 * expected + 0.5 * m.mean
    torch.testing.assert_close(t.updater.average[-1], expected)


def test_gradients_left_by_the_user_do_not_join_the_first_update():
    def end(dirty):
        m = mlp(4)
        if dirty:
            for p in m.parameters():
                p.grad = torch.ones_like(p)
        return flat(Training(m, source(50, 4), Order(50, seed=0), 10).run(1).model)

    assert torch.equal(end(False), end(True))


def test_a_chunk_ends_with_the_epoch_where_a_grown_batch_skips_the_tail():
    f = chunks(
        source(10, 1),
        Order(10, seed=0),
        batch_size=lambda seen: 4 if seen == 0 else 7,
        tail="drop",
        ends=ChunkEnds(at_epoch_end=True),
    )
    c = next(f)
    {c.before.epoch} | {c.cursor_after(j).epoch for j in range(len(c) - 1)}
    assert len(c) == 1, (c.sizes, c.cursors)


def test_depth_one_makes_one_ahead():
    made = []

    def items():
        for i in range(9):
            made.append(i)
            yield i

    g = ahead(items(), depth=1)
    next(g)
    time.sleep(0.3)
    n = len(made)
    g.close()
    assert n - 1 <= 1, made


def test_the_rate_of_a_users_instance_is_left_as_it_was():
    m = mlp(4)
    o = torch.optim.SGD(m.parameters(), lr=0.1)
    t = Training(m, source(50, 4), Order(50, seed=0), 10, optimizer=o)
    t.run(5, rate_factor=lambda rows: 0.0)
    t2 = Training(m, source(50, 4), Order(50, seed=0), 10, optimizer=o)
    assert t2.updater.base_rates == [0.1]


def test_hold_out_keeps_a_training_row():
    kept, _held = hold_out(30, 0.9, seed=0, purpose=Purpose.VALIDATION_ROWS, labels=np.array([0] * 28 + [1] * 2))
    assert (kept >= 28).any(), "class 1 has no training row"


def test_saved_integer_state_keeps_its_type():
    class Int(torch.optim.SGD):
        def step(self, closure=None):
            for g in self.param_groups:
                for p in g["params"]:
                    s = self.state[p]
                    s.setdefault("n", torch.zeros((), dtype=torch.int64))
                    s["n"] += 1
            return super().step(closure)

    m = mlp(4, dtype=torch.float32)
    t = Training(
        m, source(50, 4, dtype=torch.float32), Order(50, seed=0), 10, optimizer=Int, options={"learning_rate": 0.1}
    ).run(3)
    state = capture(t.updater)
    restore(t.updater, state)
    again = capture(t.updater)
    assert {k: v.dtype for k, v in state.tensors.items()} == {k: v.dtype for k, v in again.tensors.items()}


def test_layers_that_draw_from_numpy_replay_the_same_after_a_divergence():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(4, 1).double()

        def forward(self, x):
            return self.l(x + torch.from_numpy(np.random.normal(size=x.shape)))

    def new(bad):
        torch.manual_seed(0)
        np.random.seed(0)
        d = source(50, 4).data
        if bad:
            d.x[Order(50, seed=0).rows(0)[35]] = float("nan")
        return Training(Noisy(), ArraySource(d), Order(50, seed=0), 10)

    clean = new(False).run(3)
    bad = new(True)
    with pytest.raises(DivergenceError):
        bad.run(5, ends=ChunkEnds(max_batches=5))
    assert torch.equal(flat(bad.model), flat(clean.model))
