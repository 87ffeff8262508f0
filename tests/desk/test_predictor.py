"""A saved model predicts what it predicted before it was saved, whatever loss it was trained by, and names what it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mbgd
from command import table
from mbgd.desk import load as module
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.errors import DataError, PlanError, SavedFileError
from mbgd.model import saved

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(3))
NUMBERS, COUNTS, LABELS, SHARES = X.sum(1), X.abs().sum(1).round(), (X[:, 0] > 0).long(), (X[:, 0] > 0).float()


def own(output: Tensor, y: Tensor) -> Tensor:
    return (output[:, 0] - y) ** 2


def log_loss(output: Tensor, y: Tensor) -> Tensor:
    """A user's function that has the name of one of ours, and is something else."""
    return (output[:, 0] - y).abs()


class BCELoss(nn.Module):
    """A user's class that has the name of one of torch's."""

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        return (output[:, 0] - y) ** 2


LOSSES: list[tuple[Any, int, Tensor, bool]] = [  # loss, outputs, target, whether it predicts classes
    ("squared_error", 1, NUMBERS, False), ("absolute_error", 1, NUMBERS, False), ("huber", 1, NUMBERS, False),
    ("quantile", 1, NUMBERS, False), ("poisson", 1, COUNTS, False), ("gamma", 1, COUNTS + 1, False),
    ("log_loss", 1, LABELS, True), ("log_loss", 2, LABELS, True), ("cross_entropy", 3, LABELS, True),
    ("hinge", 1, LABELS, True), ("hinge", 3, LABELS, True),
    (nn.MSELoss(), 1, NUMBERS, False), (nn.L1Loss(), 1, NUMBERS, False), (nn.SmoothL1Loss(), 1, NUMBERS, False),
    (nn.HuberLoss(), 1, NUMBERS, False), (nn.PoissonNLLLoss(), 1, COUNTS, False),
    (nn.PoissonNLLLoss(log_input=False), 1, COUNTS, False),
    (nn.BCEWithLogitsLoss(), 1, SHARES, True), (nn.functional.mse_loss, 1, NUMBERS, False),
    (nn.CrossEntropyLoss(), 2, LABELS, True), (nn.CrossEntropyLoss(label_smoothing=0.1), 3, LABELS, True),
    (nn.NLLLoss(), 2, LABELS, True), (nn.MultiMarginLoss(), 3, LABELS, True),
    (nn.BCEWithLogitsLoss(), 2, torch.stack([SHARES, 1 - SHARES], 1), False),
    (own, 1, NUMBERS, False), (log_loss, 1, NUMBERS, False), (BCELoss(), 1, NUMBERS, False),
]  # fmt: skip


def net(outputs: int, loss: Any) -> nn.Module:
    torch.manual_seed(5)
    last = [nn.LogSoftmax(1)] if isinstance(loss, nn.NLLLoss) else []
    last = [nn.Softplus()] if getattr(loss, "log_input", True) is False else last
    return nn.Sequential(nn.Linear(4, outputs), *last)


@pytest.mark.parametrize(("loss", "outputs", "y", "classes"), LOSSES)
def test_a_loaded_module_predicts_as_before(loss: Any, outputs: int, y: Tensor, classes: bool, tmp_path: Path) -> None:
    run = mbgd.fit(net(outputs, loss), (X, y), loss=loss, learning_rate=0.01, epochs=2)
    run.save(tmp_path / "m.safetensors")
    again = mbgd.load(tmp_path / "m.safetensors", net(outputs, loss))
    assert bool(again.classes) == classes
    assert again.classes == run.predictor.classes
    assert again.predict(X).tolist() == run.predict(X).tolist()
    if classes:
        assert again.predict_proba(X).tolist() == run.predict_proba(X).tolist()
        assert again.predict_proba(X).sum(1) == pytest.approx(1, abs=1e-6)
    else:
        with pytest.raises(PlanError, match="predict_proba needs a model of classes, got one that predicts numbers"):
            again.predict_proba(X)


def test_a_module_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mbgd.fit(net(1, None), (X, NUMBERS), loss="squared_error", learning_rate=0.01, epochs=1).save(
        tmp_path / "m.safetensors"
    )
    read: list[Path] = []
    monkeypatch.setattr(module, "with_tensors", lambda said: read.append(said.path) or saved.with_tensors(said))
    mbgd.load(tmp_path / "m.safetensors", net(1, None))
    assert len(read) == 1


def test_what_is_no_model_or_another_one_is_said(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    mbgd.fit(net(1, None), (X, NUMBERS), loss="squared_error", learning_rate=0.01, epochs=1).save(file)
    with pytest.raises(
        SavedFileError, match=r"holds the weights of a module of your own, torch.*Sequential; give an instance"
    ):
        mbgd.load(file)
    other = net(3, None)
    before = [p.clone() for p in other.parameters()]
    with pytest.raises(SavedFileError, match=r"'0\.weight' is \(1, 4\) float32 in the file and \(3, 4\) float32"):
        mbgd.load(file, other)
    assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))
    with pytest.raises(SavedFileError, match="is no model of a table"):
        module.load_table(file)
    with pytest.raises(SavedFileError, match=r"must hold model.safetensors, got none; it is no run"):
        mbgd.load(tmp_path)
    with pytest.raises(SavedFileError, match="model file must exist, got nowhere"):
        mbgd.load("nowhere")


@pytest.mark.parametrize("target", ["y", "label", "c", "two_or_three", "truth"])
def test_a_loaded_table_model_predicts_labels_and_numbers_as_before(target: str, tmp_path: Path) -> None:
    data = table().assign(two_or_three=np.arange(400) % 2 + 2, truth=np.arange(400) % 3 == 0)
    run = mbgd.fit_table(data, target=target, epochs=2)
    run.save(tmp_path / "m.safetensors")
    again = mbgd.load(tmp_path / "m.safetensors")
    found = again.predict(data)
    assert found.tolist() == run.predict(data).tolist()
    assert again.encoder == run.predictor.encoder
    assert again.target == run.predictor.target
    if target != "y":
        assert set(found.tolist()) <= set(data[target].tolist())
        assert type(found.tolist()[0]) is type(data[target].tolist()[0])
        assert again.classes == tuple(sorted(set(data[target].tolist())))


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_predictions_stay_among_the_training_targets_whatever_the_input(loss: str, tmp_path: Path) -> None:
    data = table()[["x", "z", "c", "y"]]
    run = mbgd.fit_table(data, target="y", loss=loss, epochs=3)
    seen = data["y"].to_numpy()[read_rows(data, table_plan({"target": "y"})).sets.training]
    far = data.assign(x=np.where(np.arange(400) % 2, 1e30, -1e30), z=np.where(np.arange(400) % 3, -1e30, 1e30))
    with torch.no_grad():  # the encoding is bounded as well: only large weights reach so far
        run.model.body[-1].weight *= 1e3
    found = run.predict(far)
    assert found.min() == seen.min()  # without the clamp they would lie beyond
    assert found.max() == seen.max()
    run.save(tmp_path / "m.safetensors")
    assert mbgd.load(tmp_path / "m.safetensors").predict(far).tolist() == found.tolist()


def test_predictions_of_counts_are_not_clamped() -> None:
    """Their mean is a power of e: it may rightly exceed the largest count that was seen."""
    data = table()[["x", "z"]].assign(y=np.arange(400.0) % 25)
    run = mbgd.fit_table(data, target="y", loss="poisson", epochs=3)
    assert run.predictor.target is not None
    assert (run.predictor.target.low, run.predictor.target.high) == (-np.inf, np.inf)


def test_a_model_saved_without_a_temperature_is_read_with_1(tmp_path: Path) -> None:
    run = mbgd.fit_table(table(), target="label", epochs=2, drop=("y",))
    held = module.load_table(run.save(tmp_path / "m.safetensors"))
    facts = {name: value for name, value in (held.facts or {}).items() if name != "temperature"}
    saved.save_model(tmp_path / "old.safetensors", held.model, facts=facts)
    old = module.load_table(tmp_path / "old.safetensors")
    assert old.temperature == 1
    assert old.predict(table()).tolist() == run.predict(table()).tolist()


def test_frames_files_and_row_order_make_no_difference(tmp_path: Path) -> None:
    data = table()
    run = mbgd.fit_table(data, target="y", epochs=2, drop=("label",))
    whole = run.predict(data)
    data.to_parquet(tmp_path / "t.parquet")
    data.to_csv(tmp_path / "t.csv", index=False)
    turned = data[::-1].reset_index(drop=True)[list(data)[::-1]].drop(columns="y")
    # the same rows one behind the other in another order: sums of float32 may differ in their last digits
    assert run.predict(turned)[::-1] == pytest.approx(whole, rel=1e-4, abs=1e-5)
    assert run.predict(tmp_path / "t.parquet").tolist() == whole.tolist()
    assert run.predict(tmp_path / "t.csv").tolist() == whole.tolist()


def test_no_rows_have_no_predictions() -> None:
    run = mbgd.fit(net(1, None), (X, NUMBERS), loss="squared_error", learning_rate=0.01, epochs=1)
    with pytest.raises(DataError, match="data must have at least 1 row, got 0; check the filter that made it"):
        run.predict(X[:0])
