"""Law: a model that returns several tensors, and data that hold several targets, train as a loop written by hand would, with a
loss that takes them.

B rows of a batch
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import mbgd
from mbgd import DataError, PlanError
from problems import arrays, flat

N, WIDTH, M = 23, 4, 5
EXACT = 1e-12  # float64: some dozens of updates, each a few hundred operations of 1e-16
X, REAL, W = (torch.tensor(part) for part in arrays(N, WIDTH))
KIND = torch.from_numpy(np.random.default_rng(3).integers(0, 3, N))


class Heads(NamedTuple):
    mean: Tensor
    logits: Tensor


class Model(nn.Module):
    """A trunk with two heads, in some structure."""

    def __init__(self, structure: str) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.trunk = nn.Sequential(nn.Linear(WIDTH, 7), nn.Tanh()).double()
        self.mean, self.logits = nn.Linear(7, 1).double(), nn.Linear(7, 3).double()
        self.structure = structure

    def forward(self, x: Tensor) -> Any:
        hidden = self.trunk(x)
        mean, logits = self.mean(hidden)[:, 0], self.logits(hidden)
        return {
            "tuple": (mean, logits),
            "list": [mean, logits],
            "dict": {"mean": mean, "logits": logits},
            "named": Heads(mean, logits),
            "nested": {"heads": (mean, {"logits": logits})},
        }[self.structure]


def pair(held: Any) -> tuple[Tensor, Tensor]:
    """The two tensors of any of the structures."""
    if isinstance(held, dict):
        held = held["heads"] if "heads" in held else tuple(held.values())
    first, second = held
    return first, second["logits"] if isinstance(second, dict) else second


def both(outputs: Any, y: Any) -> Tensor:
    (mean, logits), (real, kind) = pair(outputs), pair(y)
    return (mean - real) ** 2 + functional.cross_entropy(logits, kind, reduction="none")


TARGETS: dict[str, Any] = {"tuple": (REAL, KIND), "dict": {"real": REAL, "kind": KIND}}
OUTPUTS = ["tuple", "list", "dict", "named", "nested"]


def by_hand(structure: str, *, weighted: bool, epochs: int = 3) -> nn.Module:
    """g = (1 / (m wbar)) sum over the rows of a batch of w grad l, by rows of the same order."""
    model = Model(structure)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    w = W if weighted else torch.ones_like(W)
    loader = mbgd.batches((torch.arange(N), REAL), batch_size=M, seed=2)
    for _ in range(epochs):
        for rows, _ in loader:
            optimizer.zero_grad()
            mean, logits = pair(model(X[rows]))
            each = (mean - REAL[rows]) ** 2 + functional.cross_entropy(logits, KIND[rows], reduction="none")
            ((w[rows] * each).sum() / (M * w.mean())).backward()
            optimizer.step()
    return model


WORDS: dict[str, Any] = {"loss": both, "batch_size": M, "seed": 2, "learning_rate": 0.1, "epochs": 3}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("micro_batch", [None, 2])
@pytest.mark.parametrize("y", TARGETS)
@pytest.mark.parametrize("structure", OUTPUTS)
def test_updates_are_those_of_a_loop_by_hand(structure: str, y: str, micro_batch: int | None, weighted: bool) -> None:
    model = Model(structure)
    data = (X, TARGETS[y], W) if weighted else (X, TARGETS[y])
    run = mbgd.fit(model, data, micro_batch=micro_batch, **WORDS)
    torch.testing.assert_close(flat(model), flat(by_hand(structure, weighted=weighted)), rtol=EXACT, atol=EXACT)
    assert run.engine == "autograd"


class Items(Dataset[Any]):
    def __init__(self, item: Callable[[int], Any]) -> None:
        self.item = item

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return self.item(row)


DOORS: dict[str, Callable[[], Any]] = {
    "items of tuples": lambda: Items(lambda i: (X[i], (REAL[i], KIND[i]))),
    "items with a dict": lambda: Items(lambda i: (X[i], {"real": REAL[i], "kind": KIND[i]})),
    "items that are dicts": lambda: Items(lambda i: {"x": X[i], "labels": {"real": REAL[i], "kind": KIND[i]}}),
    "a list of items": lambda: [(X[i], (REAL[i], KIND[i])) for i in range(N)],
    "a dict": lambda: {"x": X, "labels": (REAL, KIND)},
    "arrays": lambda: (X.numpy(), (REAL.numpy(), KIND.numpy())),
    "a loader": lambda: DataLoader(Items(lambda i: (X[i], (REAL[i], KIND[i]))), batch_size=M, shuffle=True),
}


@pytest.mark.parametrize("name", DOORS)
def test_every_door_takes_several_targets(name: str) -> None:
    model = Model("tuple")
    words = {key: value for key, value in WORDS.items() if key != "batch_size" or name != "a loader"}
    mbgd.fit(model, DOORS[name](), **words)
    torch.testing.assert_close(flat(model), flat(by_hand("tuple", weighted=False)), rtol=EXACT, atol=EXACT)


def test_steps_and_batches_take_them_as_well() -> None:
    model = Model("dict")
    for _ in mbgd.steps(model, (X, TARGETS["dict"]), **WORDS):
        pass
    torch.testing.assert_close(flat(model), flat(by_hand("dict", weighted=False)), rtol=EXACT, atol=EXACT)
    for held in (TARGETS["dict"], TARGETS["tuple"]):
        rows = np.concatenate([x.numpy() for x, *_ in mbgd.batches((X, held, W), batch_size=M, seed=2)])
        seen = [y for _, y, _ in mbgd.batches((X, held, W), batch_size=M, seed=2)]
        assert type(seen[0]) is type(held)
        real = np.concatenate([pair(y)[0].numpy() for y in seen])
        by_row = {x.tobytes(): float(y) for x, y in zip(X.numpy(), REAL, strict=True)}
        assert [by_row[x.tobytes()] for x in rows] == real.tolist()


@pytest.mark.parametrize("structure", OUTPUTS)
def test_predictions_have_the_structure_of_the_outputs(structure: str, tmp_path: Path) -> None:
    model = Model(structure)
    run = mbgd.fit(model, (X, TARGETS["tuple"]), **WORDS | {"out": tmp_path / "run"})
    with torch.no_grad():
        expected = model.eval()(X)
    for predictor in (run, mbgd.load(tmp_path / "run", Model(structure))):
        found = predictor.predict(X)
        assert type(found) is type(expected)
        for ours, theirs in zip(pair(found), pair(expected), strict=True):
            assert isinstance(ours, np.ndarray)
            assert ours.dtype == np.float64
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=EXACT)
    batches = 3 * N  # several batches of a forward pass are joined
    many = X.repeat(3, 1)
    assert pair(run.predict(many))[1].shape == (batches, 3)


def test_validation_scores_the_same_loss_and_the_best_weights_come_back() -> None:
    model, held = Model("dict"), np.arange(N) % 4 == 0
    run = mbgd.fit(model, (X, TARGETS["dict"], W), validation=held, patience=2, **WORDS | {"epochs": 6})
    with torch.no_grad():
        each = both(model(X[held]), {name: y[held] for name, y in TARGETS["dict"].items()})
    expected = float((W[held] * each).sum() / W[held].sum())
    assert run.scores["validation"] == {"loss": pytest.approx(expected, rel=1e-10)}
    assert run.scores["validation"]["loss"] == pytest.approx(min(run.history["validation_loss"]), rel=1e-10)
    other = mbgd.fit(
        Model("dict"),
        (X, TARGETS["dict"]),
        validation=(X[held], {k: y[held] for k, y in TARGETS["dict"].items()}),
        **WORDS,
    )
    assert len(other.history["validation_loss"]) == 3


def test_bf16_lets_the_loss_have_floats() -> None:
    class Floats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.a(x)[:, 0], self.b(x)[:, 0]

    def loss(outputs: Any, y: Any) -> Tensor:
        assert all(part.dtype == torch.float32 for part in outputs)
        value: Tensor = (outputs[0] - y[0]) ** 2 + (outputs[1] - y[1]) ** 2
        return value

    mbgd.fit(Floats(), (X, (REAL, REAL)), loss=loss, precision="bf16", epochs=1)


class Wrong(nn.Module):
    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.made = nn.Linear(WIDTH, 2).double(), made

    def forward(self, x: Tensor) -> Any:
        return self.made(self.layer(x))


NAN = torch.where(torch.arange(N) == 7, torch.nan, REAL)
REFUSED: dict[str, tuple[Callable[[], nn.Module], Any, Any, type[Exception], str]] = {
    "a name for several outputs": (
        lambda: Model("tuple"), (X, REAL), "squared_error", PlanError,
        "model must return one tensor for loss=squared_error, got a tuple of 2; give a function loss(outputs, y) of one value",
    ),
    "a torch loss for several outputs": (
        lambda: Model("dict"), (X, REAL), nn.MSELoss(), PlanError,
        "model must return one tensor for loss=MSELoss, got a dict of 2 ('mean', 'logits'); give a function",
    ),
    "a name for several targets": (
        lambda: nn.Linear(WIDTH, 1).double(), (X, (REAL, REAL)), "squared_error", DataError,
        "y must be one array for loss='squared_error', got a tuple of 2; a function loss(outputs, y)",
    ),
    "targets of unlike length": (
        lambda: Model("tuple"), (X, (REAL, KIND[:-1])), both, DataError, "must have the same number of rows",
    ),
    "a missing target": (
        lambda: Model("tuple"), (X, (NAN, KIND)), both, DataError, "y[0] must not be missing, got nan in row 7;",
    ),
    "a missing target by name": (
        lambda: Model("tuple"), (X, {"real": NAN, "kind": KIND}), both, DataError,
        "y['real'] must not be missing, got nan in row 7;",
    ),
    "text": (
        lambda: Model("tuple"), (X, (REAL, np.array(["a"] * N))), both, DataError, "y[1] must hold numbers",
    ),
    "no tensor": (
        lambda: Wrong(lambda z: (z, None)), (X, REAL), both, PlanError,
        "model must return a tensor, or a tuple or dict of tensors, got NoneType as output[1]; wrap it",
    ),
    "no row each": (
        lambda: Wrong(lambda z: {"z": z, "norm": z.sum()}), (X, REAL), both, PlanError,
        "model must return one output a row, got shape () of output['norm'] for 2 rows; check its forward",
    ),
    "nothing": (lambda: Wrong(lambda z: ()), (X, REAL), both, PlanError, "got an empty tuple"),
    "a mean": (
        lambda: Model("tuple"), (X, (REAL, KIND)), lambda o, y: both(o, y).mean(), PlanError,
        "loss must return one value a row, shape (B,), got a single number",
    ),
    "a wrong shape": (
        lambda: Model("tuple"), (X, (REAL, KIND)), lambda o, y: o[1], PlanError,
        "loss must return one value a row, shape (5,), got (5, 3) from outputs ((5,), (5, 3)) and y ((5,), (5,));",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_said(name: str) -> None:
    made, data, loss, error, words = REFUSED[name]
    with pytest.raises(error, match=re.escape(words)):
        mbgd.fit(made(), data, **WORDS | {"loss": loss, "batch_size": M})


def test_a_tuple_of_numbers_is_one_target_and_so_is_a_list() -> None:
    layer = nn.Linear(WIDTH, 1).double()
    ways = [tuple(REAL.tolist()), REAL.tolist(), REAL]
    found = [mbgd.fit(copy.deepcopy(layer), (X, y), loss="squared_error", epochs=1).history["loss"] for y in ways]
    assert found[0] == found[1] == found[2]
