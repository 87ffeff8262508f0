"""Members of one network through `fit_table`: what predicts is their mean, a run goes on to the same bits, nonsense is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mbgd
from command import table
from mbgd.data.table import open_table
from mbgd.desk import room
from mbgd.errors import PlanError
from mbgd.model.table import TableModel

OTHERS = ("key", "when", "group", "part", "two", "label")
HOW: dict[str, Any] = {"target": "y", "drop": OTHERS, "epochs": 3, "batch_size": 32, "hidden_layer_sizes": (12,)}
THREE: dict[str, Any] = {**HOW, "shared_members": 3, "dropout": 0.2}


def weights(model: torch.nn.Module) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def network(run: mbgd.Run) -> TableModel:
    assert isinstance(run.predictor, mbgd.Predictor)
    assert isinstance(run.predictor.model, TableModel)
    return run.predictor.model


def test_all_of_them_learn_and_their_mean_predicts() -> None:
    data = table()
    run, before = mbgd.fit_table(data, **THREE), mbgd.fit_table(data, **{**THREE, "learning_rate": 1e-12})
    model, start = network(run), network(before)
    assert model.shared_members == 3
    for name in ("scale", "body.3.weight", "body.3.bias"):
        moved = (model.state_dict()[name] - start.state_dict()[name]).abs().flatten(1).amax(1)
        assert (moved > 1e-3).all(), name
    encoder, target = run.predictor.encoder, run.predictor.target
    assert encoder is not None
    assert target is not None
    encoded = encoder.encode(open_table(data, schema_like=encoder.schema))
    with torch.no_grad():
        each = model.eval().of_each(torch.from_numpy(encoded.numbers), torch.from_numpy(encoded.codes)).double().numpy()
    assert (each.std(0) > 0).all()
    assert run.predict(data) == pytest.approx(target.restore(each.mean(0)), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("engine", ["auto", "autograd"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(engine: str, tmp_path: Path) -> None:
    data, folder = table(), tmp_path / "run"
    mbgd.fit_table(data, **THREE, engine=engine, out=folder, checkpoint_every=7)
    whole = (folder / "model.safetensors").read_bytes()
    for name in ("result.json", "model.safetensors"):
        (folder / name).unlink()
    shutil.rmtree(max((folder / "checkpoints").iterdir()))  # so that there are steps to go on with
    mbgd.resume(folder, data=data)
    assert (folder / "model.safetensors").read_bytes() == whole
    assert json.loads((folder / "plan.json").read_text(encoding="utf-8"))["plan"]["shared_members"] == 3
    assert not mbgd.verify(folder, data=data).wrong
    assert "| shared_members | 3 |" in (folder / "README.md").read_text(encoding="utf-8")


def test_members_that_share_go_with_folds_and_with_members_that_do_not() -> None:
    run = mbgd.fit_table(table(), **{**THREE, "epochs": 1}, folds=2, members=2)
    assert isinstance(run.predictor, mbgd.Ensemble)
    models = [one.model for one in run.predictor.predictors]
    assert [getattr(model, "shared_members", 0) for model in models] == [3] * 4
    assert len({weights(model) for model in models}) == 4


def test_what_they_predict_is_explained() -> None:
    data = table()
    run = mbgd.fit_table(data, **THREE)
    said = mbgd.explain(run, data, rows=3)
    assert {part.column for part in said.importance} == set(run.predictor.columns)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"hidden_layer_sizes": ()},
            "shared_members need hidden layers to share, got shared_members=3 for a linear model",
        ),
        ({"input_scales": False}, "shared_members need the scales by which they differ, got shared_members=3 and"),
        ({"shared_members": 0}, "shared_members must be"),
    ],
)
def test_what_makes_no_sense_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        mbgd.fit_table(table(), **{**THREE, **words})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_module_of_ones_own_has_none() -> None:
    X = np.ones((8, 2), np.float32)
    with pytest.raises(PlanError, match="shared_members belongs to fit_table, got it with a module of your own"):
        mbgd.fit(torch.nn.Linear(2, 1), (X, X[:, 0]), loss="squared_error", shared_members=2)  # type: ignore[call-arg]


def test_members_whose_units_no_memory_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 32 rows each member has its inputs and 12 units, 4 bytes each; its weights are some eighth of that, copies included."""
    width = network(mbgd.fit_table(table(), **{**THREE, "epochs": 1})).width
    units = 500 * 32 * (width + 12) * 4
    monkeypatch.setattr(room, "memory_of_machine", lambda: units)
    with pytest.raises(PlanError, match="^shared_members must fit in memory, got 500 that take .*; 4 to 32 are usual$"):
        mbgd.fit_table(table(), **{**THREE, "shared_members": 500}, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    monkeypatch.setattr(room, "memory_of_machine", lambda: int(1.2 * units))
    mbgd.fit_table(table(), **{**THREE, "shared_members": 500, "epochs": None, "steps": 1})
