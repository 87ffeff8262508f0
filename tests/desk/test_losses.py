"""Law: with torch's losses of labels `fit` makes the updates that torch's own mean over all labels would make.

An update is (1 / (m wbar)) sum over its rows and positions of w grad l, wbar the mean over the training rows of what their
labels weigh: with m = N it is the gradient of the module's own mean, which is the oracle here.

N rows · T positions · C classes
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import mbgd
from mbgd import DataError, PlanError
from problems import flat

N, T, C, WIDTH = 23, 5, 3, 4
EXACT = 1e-12  # float64: some hundred roundings of 1e-16 on numbers of size 1
WEIGHT = torch.tensor([1.0, 4.0, 0.3], dtype=torch.float64)
MODULES: dict[str, nn.Module] = {
    "plain": nn.CrossEntropyLoss(),
    "smoothed": nn.CrossEntropyLoss(label_smoothing=0.2),
    "ignoring": nn.CrossEntropyLoss(ignore_index=1),
    "weights": nn.CrossEntropyLoss(WEIGHT),
    "all": nn.CrossEntropyLoss(WEIGHT, ignore_index=255, label_smoothing=0.2),
    "nll": nn.NLLLoss(WEIGHT),
}


class Tagger(nn.Module):
    """(B, T, WIDTH) to (B, C, T); with `space` (B, C, 1, T)."""

    def __init__(self, space: bool = False, log: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh(), nn.Linear(6, C)).double()
        self.space, self.log = space, log

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x).movedim(-1, 1)
        out = out.log_softmax(1) if self.log else out
        return out[:, :, None] if self.space else out


def labels(module: Any, *, ignored: float = 0.3) -> Tensor:
    chance = np.random.default_rng(7)
    y = chance.integers(0, C, (N, T))
    if ignored:
        y[chance.random((N, T)) < ignored] = module.ignore_index
        y[3] = module.ignore_index  # a row of which nothing counts
    return torch.from_numpy(y)


X = torch.from_numpy(np.random.default_rng(2).normal(size=(N, T, WIDTH)))


class Read(Dataset[Any]):
    """The same rows, read one by one."""

    def __init__(self, *leaves: Tensor) -> None:
        self.leaves = leaves

    def __len__(self) -> int:
        return len(self.leaves[0])

    def __getitem__(self, row: int) -> Any:
        return tuple(leaf[row] for leaf in self.leaves)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_a_step_over_all_rows_is_torchs(name: str, lazy: bool) -> None:
    module, log = MODULES[name], name == "nll"
    y = labels(module)
    model = Tagger(log=log)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        module(twin(X), y).backward()
        optimizer.step()
    run = mbgd.fit(model, Read(X, y) if lazy else (X, y), loss=module, batch_size="full", learning_rate=0.5, epochs=3)
    torch.testing.assert_close(flat(model), flat(twin), rtol=EXACT, atol=EXACT)
    assert run.history["loss"][0] == pytest.approx(float(module(Tagger(log=log)(X), y).detach()), rel=EXACT)
    assert len(run.notices) == 1
    assert f"loss={type(module).__name__}: a row weighs what its labels do together" in run.notices[0]


@pytest.mark.parametrize("micro_batch", [None, 3])
@pytest.mark.parametrize("space", [False, True])
@pytest.mark.parametrize("name", ["plain", "all"])
def test_every_label_pulls_the_same_in_whichever_batch(name: str, space: bool, micro_batch: int | None) -> None:
    """The updates by hand: the sum over labels of w grad l, over m times the mean of a training row's sum of w."""
    module: Any = MODULES[name]
    y, model = labels(module), Tagger(space)
    sample_weight = torch.from_numpy(np.random.default_rng(5).uniform(0.5, 2, N))
    y_model = y[:, None] if space else y
    weight = WEIGHT if module.weight is not None else torch.ones(C, dtype=torch.float64)
    of_label = torch.where(y == module.ignore_index, 0.0, weight[y.clamp(0, C - 1)])
    wbar = float((sample_weight * of_label.sum(1)).mean())
    each = copy.deepcopy(module)
    each.reduction = "none"
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    loader = mbgd.batches((torch.arange(N), torch.zeros(N)), batch_size=8, seed=4)
    for _ in range(2):
        for rows, _ in loader:
            optimizer.zero_grad()
            value = each(twin(X[rows]), y_model[rows]).reshape(len(rows), T)
            ((sample_weight[rows, None] * value).sum() / (8 * wbar)).backward()
            optimizer.step()
    words: Any = {"batch_size": 8, "seed": 4, "learning_rate": 0.5, "epochs": 2, "micro_batch": micro_batch}
    mbgd.fit(model, (X, y_model, sample_weight), loss=module, **words)
    torch.testing.assert_close(flat(model), flat(twin), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("name", ["ignoring", "weights", "all"])
def test_rows_of_one_label_that_are_ignored(name: str, engine: str) -> None:
    """Of one label a row: with either engine, where it has a form."""
    module = MODULES[name]
    y, x = labels(module)[:, 0], X[:, 0]
    model = nn.Sequential(nn.Linear(WIDTH, 5), nn.Tanh(), nn.Linear(5, C)).double()
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for _ in range(4):
        optimizer.zero_grad()
        module(twin(x), y).backward()
        optimizer.step()
    words: Any = {"loss": module, "batch_size": "full", "learning_rate": 0.5, "epochs": 4}
    if engine == "fused" and name == "all":
        with pytest.raises(PlanError, match="loss CrossEntropyLoss has no fused form"):
            mbgd.fit(model, (x, y), engine=engine, **words)
        return
    mbgd.fit(model, (x, y), engine=engine, **words)
    torch.testing.assert_close(flat(model), flat(twin), rtol=EXACT, atol=EXACT)


def test_a_dataset_with_one_label_a_row_may_not_ignore_by_default() -> None:
    y = torch.zeros(N, dtype=torch.int64)
    y[6] = -100
    model = nn.Linear(WIDTH, C).double()
    with pytest.raises(DataError, match=r"got -100, which is ignored, in row 6; leave that row out"):
        mbgd.fit(model, Read(X[:, 0], y), loss=nn.CrossEntropyLoss(), epochs=1)
    mbgd.fit(
        model, Read(X[:, 0], y), loss=nn.CrossEntropyLoss(weight=WEIGHT), epochs=1
    )  # these rows are weighed anyway
    mbgd.fit(model, (X[:, 0], y), loss=nn.CrossEntropyLoss(), epochs=1)


@pytest.mark.parametrize("name", ["plain", "all"])
def test_scores_are_those_of_positions_without_the_weights_of_classes(name: str) -> None:
    module: Any = MODULES[name]
    y, model = labels(module), Tagger()
    held = torch.arange(N) % 3 == 0
    run = mbgd.fit(model, (X, y), loss=module, validation=held, patience=3, learning_rate=0.1, epochs=5, batch_size=4)
    scores = run.scores["validation"]
    with torch.no_grad():
        output = model(X[held])
    plain = nn.CrossEntropyLoss(ignore_index=module.ignore_index, label_smoothing=module.label_smoothing)
    assert scores["loss"] == pytest.approx(float(plain(output, y[held])), rel=1e-10)
    p = output.softmax(1).movedim(1, -1)[y[held] != module.ignore_index].numpy()
    there = y[held][y[held] != module.ignore_index].numpy()
    assert scores["accuracy"] == pytest.approx(accuracy_score(there, p.argmax(1)))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(there, p.argmax(1)))
    assert scores["log_loss"] == pytest.approx(log_loss(there, p, labels=range(C)), rel=1e-10)
    assert "roc_auc" not in scores
    assert run.resolved["metric"] == "log_loss"
    np.testing.assert_array_equal(run.predict(X), model(X).argmax(1).numpy())
    np.testing.assert_allclose(run.predict_proba(X), model(X).softmax(1).detach().numpy(), rtol=1e-12)
    with pytest.raises(PlanError, match=r"metric must be one of loss, log_loss, accuracy, balanced_accuracy for multi"):
        mbgd.fit(model, (X, y), loss=module, validation=held, metric="roc_auc", epochs=1)


def test_probabilities_train_and_are_scored() -> None:
    share = torch.from_numpy(np.random.default_rng(4).dirichlet(np.ones(C), N))
    model = nn.Linear(WIDTH, C).double()
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(twin(X[:, 0]), share).backward()
        optimizer.step()
    words: Any = {"batch_size": "full", "learning_rate": 0.5, "epochs": 3, "restore_best": False}
    held = (X[:, 0], share)
    run = mbgd.fit(model, held, loss=nn.CrossEntropyLoss(), validation=held, **words)
    torch.testing.assert_close(flat(model), flat(twin), rtol=EXACT, atol=EXACT)
    p = model(X[:, 0]).softmax(1).detach()
    scores = run.scores["validation"]
    assert scores["log_loss"] == pytest.approx(scores["loss"], rel=1e-10)  # each class counts by its share
    met = share[torch.arange(N), p.argmax(1)].mean()
    assert scores["accuracy"] == pytest.approx(float(met), rel=1e-10)
    by_name = mbgd.fit(nn.Linear(WIDTH, C).double(), held, loss="cross_entropy", epochs=1)
    assert by_name.engine == "autograd"


def test_a_run_of_positions_resumes_and_loads(tmp_path: Path) -> None:
    module = MODULES["all"]
    y, words = labels(module), {"batch_size": 4, "learning_rate": 0.1, "validation": 0.2}
    whole = Tagger()
    mbgd.fit(whole, (X, y), loss=module, epochs=6, **words)
    done = mbgd.fit(Tagger(), (X, y), loss=module, epochs=6, out=tmp_path / "a", **words)
    again = Tagger()
    resumed = mbgd.resume(tmp_path / "a", again, (X, y), loss=module)
    assert torch.equal(flat(again), flat(whole))
    assert resumed.notices[0] == done.notices[0]
    loaded = mbgd.load(tmp_path / "a", Tagger())
    np.testing.assert_array_equal(loaded.predict(X), done.predict(X))


class Padded(nn.Module):
    """(B, T) numbers to (B, C, T), whatever T is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(1, C).double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x[..., None]).movedim(-1, 1)
        return out


def test_sequences_padded_to_the_longest_of_their_batch() -> None:
    """Each label pulls alike, however long its batch is: the mean over all labels of all rows, scaled by m / N, adds up."""
    chance = np.random.default_rng(8)
    rows = [(torch.from_numpy(chance.normal(size=k)), torch.from_numpy(chance.integers(0, C, k))) for k in range(1, 13)]
    module = nn.CrossEntropyLoss()

    def pad(items: list[Any]) -> Any:
        x, y = zip(*items, strict=True)
        return (
            nn.utils.rnn.pad_sequence(list(x), batch_first=True),
            nn.utils.rnn.pad_sequence(list(y), batch_first=True, padding_value=-100),
        )

    loader = DataLoader(rows, batch_size=4, collate_fn=pad)  # type: ignore[arg-type]  # a list is a dataset, too
    model = Padded()
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    labels_a_row = sum(range(1, 13)) / 12
    for x, y in loader:
        optimizer.zero_grad()
        (nn.CrossEntropyLoss(reduction="sum")(twin(x), y) / (4 * labels_a_row)).backward()
        optimizer.step()
    run = mbgd.fit(model, loader, loss=module, learning_rate=0.5, epochs=1)
    torch.testing.assert_close(flat(model), flat(twin), rtol=EXACT, atol=EXACT)
    assert "on the average, 6.5" in run.notices[0]
