"""Runs and loaded models are pickled and copied whole: the copy predicts to the same bits, by every question it can be asked."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

import mbgd
from mbgd import PlanError
from table_models import MODELS, frame, rows, trained

WAYS: dict[str, Callable[[Any], Any]] = {"pickle": lambda one: pickle.loads(pickle.dumps(one)), "copy": copy.deepcopy}
X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


def asked(model: Any, data: Any, row: Any) -> list[Any]:
    """The answers to all questions that the model takes."""
    found = []
    for name, given in (("predict", data), ("predict_proba", data), ("predict_quantiles", data)):
        for question, of in ((name, given), (f"{name}_one", row)):
            try:
                found.append(getattr(model, question)(of))
            except (PlanError, AttributeError):
                found.append(None)
    return found


def check_alike(model: Any, again: Any, data: Any, row: Any) -> None:
    answers = asked(model, data, row)
    assert any(answer is not None for answer in answers)
    for ours, theirs in zip(answers, asked(again, data, row), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["a number", "quantiles", "folds of classes"])
def test_models_of_tables(name: str, way: str, tmp_path: Path) -> None:
    assert name in MODELS
    run = trained(name)
    file = run.save(tmp_path / "m.safetensors")
    row = dict.fromkeys(run.predictor.columns) | rows()[0]
    for model in (run, run.predictor, mbgd.load(file)):
        check_alike(model, WAYS[way](model), frame(), row)
        check_alike(model, WAYS[way](model), frame(), row)  # once more, with what answering has kept
    light = mbgd.load_light(file)
    assert WAYS[way](light).predict_one(row) == light.predict_one(row)
    again = WAYS[way](run)
    assert repr(again) == repr(run)
    assert again.plan == run.plan
    assert again.save(tmp_path / "again").read_bytes() == file.read_bytes()


class OfMyOwn(nn.Module):
    """A module that other processes can import."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).tanh()


LOSSES: dict[str, Any] = {
    "huber": {"loss": "huber", "huber_delta": 0.3},
    "torch's": {"loss": nn.SmoothL1Loss(beta=0.5)},
    "a function inside another": {"loss": lambda output, y: (output[:, 0] - y) ** 2},
    "a partial": {"loss": "poisson", "optimizer": partial(torch.optim.AdamW, betas=(0.8, 0.9))},
    "a class": {"loss": "squared_error", "optimizer": torch.optim.RMSprop},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LOSSES)
def test_runs_of_modules(name: str, way: str, tmp_path: Path) -> None:
    run = mbgd.fit(OfMyOwn(), (X, abs(X[:, 0])), **LOSSES[name], learning_rate=0.01, epochs=1, validation=0.2)
    again = WAYS[way](run)
    check_alike(run, again, X, X[0])
    assert again.model is not run.model
    assert again.scores == run.scores
    assert list(again.history) == list(run.history)
    loaded = mbgd.load(again.save(tmp_path / "m.safetensors"), OfMyOwn())
    check_alike(run, WAYS[way](loaded), X, X[0])
    assert again.save(tmp_path / "n").read_bytes() == run.save(tmp_path / "m").read_bytes()


def test_a_knob_that_no_other_process_knows_becomes_its_name() -> None:
    run = mbgd.fit(nn.Linear(3, 1), (X, X[:, 0]), **LOSSES["a function inside another"], learning_rate=0.01, epochs=1)
    again = pickle.loads(pickle.dumps(run))
    assert again.plan.loss == {"object": "<lambda>"}
    assert callable(run.plan.loss)
    assert again.plan.epochs == run.plan.epochs


def _decayed(model: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return {
        "optimizer": optimizer,
        "schedule": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("knob", ["metric", "schedule", "validation"])
def test_knobs_that_hold_a_function_inside_another(knob: str, way: str) -> None:
    model, rows = nn.Linear(3, 1), (X, X[:, 0])
    pairs = list(zip(*map(torch.from_numpy, rows), strict=True))
    knobs: dict[str, Any] = {
        "metric": {"metric": (lambda y, found: float(abs(y - found).max()), "min"), "validation": 0.2},
        "schedule": _decayed(model),
        "validation": {"validation": DataLoader(pairs, collate_fn=lambda items: default_collate(items))},
    }[knob]
    run = mbgd.fit(model, rows, loss="squared_error", epochs=1, **knobs)
    again = WAYS[way](run)
    check_alike(run, again, X, X[0])
    assert repr(again) == repr(run)
    assert again.plan.epochs == 1
