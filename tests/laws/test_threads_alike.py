"""Law: a fit gives the same bits whatever other fits run in threads beside it, and the caller's generators stay as they were."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import mbgd
from mbgd import MBGDEstimator
from mbgd.step.draws import may_draw
from mbgd.step.loss import make_loss
from problems import flat

X = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)


class Noisy(nn.Module):
    """A layer of the user's own that draws."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.3 * torch.randn_like(x) if self.training else x


class Jittered(Dataset[Any]):
    """Rows that are drawn anew each time, from all three global generators."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> Any:
        return torch.from_numpy(X[row]) + torch.rand(6) + np.random.rand() + random.random(), Y[row]


def layers(*between: nn.Module) -> nn.Module:
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 16), nn.Tanhshrink(), *between, nn.Linear(16, 1))
    torch.set_rng_state(torch_state)
    return made


MODULES = {"drop": layers(nn.Dropout(0.3)), "noise": layers(Noisy()), "none": layers(), "mlp": mbgd.mlp(6, dropout=0.2)}


DROPS = layers(nn.Dropout(0.3))


def fit(kind: str, seed: int) -> Tensor:
    words: dict[str, Any] = {"loss": "log_loss", "epochs": 4, "learning_rate": 0.1, "random_state": seed}
    if kind == "dataset":
        model = mbgd.mlp(6, hidden_layer_sizes=(4,), seed=seed)
        mbgd.fit(model, Jittered(), loss="log_loss", epochs=1, seed=seed, threads=1)
        return flat(model)
    module: Any = MODULES[kind]
    if kind == "drop":  # made anew by each fit, from torch's generator
        module = lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanhshrink(), nn.Dropout(0.3), nn.Linear(16, 1))  # noqa: E731
    return flat(MBGDEstimator(module, **words, validation=0.2, n_jobs=1).fit(X, Y).network_.module)


def test_fits_in_threads_are_those_that_run_alone() -> None:
    kinds = [(kind, seed) for seed in range(2) for kind in ("drop", "noise", "none", "mlp", "dataset")]
    alone = [fit(*kind) for kind in kinds]
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index,union-attr]
    together = Barrier(len(kinds))

    def beside(kind: tuple[str, int]) -> Tensor:
        together.wait()
        return fit(*kind)

    with ThreadPoolExecutor(len(kinds)) as pool:
        found = list(pool.map(beside, kinds))
    for kind, ours, theirs in zip(kinds, alone, found, strict=True):
        assert torch.equal(ours, theirs), kind
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index,union-attr]
    assert random.getstate() == before[2]


def test_a_thread_that_draws_beside_changes_nothing_where_dropout_is_torchs_own() -> None:
    """As one that makes the layers of the next model does."""

    def trained() -> Tensor:
        model = copy.deepcopy(DROPS)
        words: dict[str, Any] = {"loss": "squared_error", "epochs": 8, "batch_size": 10, "learning_rate": 0.01}
        mbgd.fit(model, (torch.from_numpy(X), torch.from_numpy(Y)), engine="autograd", threads=1, **words)
        return flat(model)

    alone, over = trained(), Event()
    beside = Thread(target=lambda: [nn.Linear(50, 50) for _ in iter(over.is_set, True)])
    beside.start()
    try:
        found = [trained() for _ in range(3)]
    finally:
        over.set()
        beside.join()
    assert all(torch.equal(alone, weights) for weights in found)


class Shaken(torch.optim.SGD):
    """An optimizer of the user's own."""


def hooked() -> nn.Module:
    model = nn.Linear(2, 1)
    model.register_forward_hook(lambda module, x, output: output + torch.rand(1))
    return model


DRAW: dict[str, Callable[[], Any]] = {
    "dropout": lambda: nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)),
    "dropout of a channel": lambda: nn.Sequential(nn.Dropout2d(0.1)),
    "rrelu": lambda: nn.RReLU(),
    "attention": lambda: nn.MultiheadAttention(4, 2, dropout=0.1),
    "recurrent": lambda: nn.LSTM(2, 2, num_layers=2, dropout=0.1),
    "encoder": lambda: nn.TransformerEncoderLayer(4, 2, 4, dropout=0.1),
    "pooling": lambda: nn.FractionalMaxPool2d(2, output_size=2),
    "own": lambda: nn.Sequential(Noisy()),
    "a hook": hooked,
    "mlp": lambda: mbgd.mlp(2, dropout=0.1),
}
DRAW_NOTHING: dict[str, Callable[[], Any]] = {
    "dropout of nothing": lambda: nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)),
    "convolution": lambda: nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten()
    ),
    "recurrent": lambda: nn.GRU(2, 2),
    "embedding": lambda: nn.Sequential(nn.Embedding(3, 2), nn.LayerNorm(2), nn.GELU()),
    "mlp": lambda: mbgd.mlp(2),
    "table": lambda: mbgd.TableModel(2, (3, 20)),
}


@pytest.mark.parametrize("name", [*DRAW, *DRAW_NOTHING])
def test_what_may_draw_is_known(name: str) -> None:
    for models, expected in ((DRAW, True), (DRAW_NOTHING, False)):
        if name in models:
            model = models[name]()
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
            loss = make_loss("squared_error", output_shape=())
            assert may_draw(model, loss, optimizer) is expected


def test_plain_dropout_that_is_lent_a_generator_draws_from_no_global_one() -> None:
    hooked_one = nn.Dropout(0.1)
    hooked_one.register_forward_hook(lambda module, x, output: output + torch.rand(1))
    models = {
        "dropout": False,
        "mlp": False,
        "dropout of a channel": True,
        "own": True,
        "recurrent": True,
        "encoder": True,
    }
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    loss = make_loss("squared_error", output_shape=())
    for name, expected in models.items():
        assert may_draw(DRAW[name](), loss, optimizer, plain_dropout_aside=True) is expected, name
    assert may_draw(hooked_one, loss, optimizer, plain_dropout_aside=True)


def test_a_loss_or_optimizer_of_ones_own_may_draw() -> None:
    weights = [torch.zeros(1, requires_grad=True)]
    plain, own = (make_loss(loss, output_shape=()) for loss in (nn.MSELoss(), lambda output, y: (output - y) ** 2))
    assert not may_draw(mbgd.mlp(2), plain, torch.optim.Adam(weights))
    assert may_draw(mbgd.mlp(2), own, torch.optim.Adam(weights))
    assert may_draw(mbgd.mlp(2), plain, Shaken(weights))
