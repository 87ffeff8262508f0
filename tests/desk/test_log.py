"""`log=`: the numbers of history.jsonl in TensorBoard and MLflow, read back by their own readers; none stops a training."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import mbgd
from command import table
from mbgd.desk.bounds import Choice
from mbgd.desk.plan import Plan
from mbgd.errors import PlanError
from mbgd.record import loggers
from problems import flat

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
Y = X.sum(1)
WORDS: dict[str, Any] = {
    "loss": "squared_error", "batch_size": 8, "epochs": 4, "validation": 0.25, "learning_rate": 0.05, "momentum": 0.9,
}  # fmt: skip


def fit(folder: Path | None, **words: Any) -> mbgd.Run:
    return mbgd.fit(mbgd.mlp(4, hidden_layer_sizes=(3,)), (X, Y), out=folder, **WORDS | words)


def in_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) of each point that TensorBoard shows."""
    found = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(at.step, at.value) for at in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def in_history(run: mbgd.Run, name: str) -> list[tuple[int, float]]:
    pairs = zip(run.history["step"], run.history[name], strict=True)
    return [(step, pytest.approx(value, rel=1e-6)) for step, value in pairs if value is not None]  # as float32


def test_the_words_of_the_plan_are_the_loggers() -> None:
    knob = Plan.__dataclass_fields__["log"].metadata["bound"]
    assert isinstance(knob, Choice)
    assert knob.words == loggers.LOGGERS


def test_tensorboard_shows_the_history(tmp_path: Path) -> None:
    run = fit(tmp_path / "r", log="tensorboard")
    found = in_tensorboard(tmp_path / "r")
    assert {"loss", "learning_rate", "epoch", "validation/r2", "validation/rmse"} < set(found)
    assert found["loss"] == in_history(run, "loss")
    assert found["validation/r2"] == in_history(run, "validation_r2")
    assert len(found["validation/r2"]) == 4
    assert run.notices == ()


def test_a_log_changes_no_bit_of_the_run(tmp_path: Path) -> None:
    plain, logged = fit(tmp_path / "a"), fit(tmp_path / "b", log="tensorboard")
    assert torch.equal(flat(plain.model), flat(logged.model))
    assert plain.scores == logged.scores
    assert not (tmp_path / "a" / "tensorboard").exists()


def test_a_resumed_run_shows_each_step_once(tmp_path: Path) -> None:
    """Cut off between two checkpoints: what is made again takes the place of what was seen of it."""
    seen = 0

    class StoppedError(Exception):
        pass

    def stopping(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += output.requires_grad
        if seen == 20:
            raise StoppedError
        return (output - y) ** 2

    with pytest.raises(StoppedError):
        fit(tmp_path / "cut", log="tensorboard", checkpoint_every=5, loss=stopping)
    before = in_tensorboard(tmp_path / "cut")["loss"]
    assert before[-1][0] == 18  # the epoch's end, behind the checkpoint of step 15: it will be seen twice
    seen = 100
    again = mbgd.resume(tmp_path / "cut", mbgd.mlp(4, hidden_layer_sizes=(3,)), (X, Y), loss=stopping)
    found = in_tensorboard(tmp_path / "cut")["loss"]
    assert found == in_history(again, "loss")
    assert len(list((tmp_path / "cut" / "tensorboard").iterdir())) == 2


def test_a_failing_logger_is_one_notice_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def failing(*args: Any) -> bytes:
        calls.append(args)
        raise OSError(28, "No space left\non device")

    monkeypatch.setattr(loggers, "scalars_event", failing)
    run = fit(tmp_path / "r", log="tensorboard")
    said = "tensorboard failed and got no more records (OSError: [Errno 28] No space left on device); history.jsonl has them all"
    assert run.notices == (said,)
    assert len(calls) == 1
    assert torch.equal(flat(run.model), flat(fit(None).model))
    assert said in (tmp_path / "r" / "result.json").read_text()


def test_tables_and_each_of_several_models_are_logged(tmp_path: Path) -> None:
    data = table()[["x", "z", "y"]]
    how: dict[str, Any] = {"epochs": 2, "hidden_layer_sizes": (), "log": "tensorboard"}
    run = mbgd.fit_table(data, "y", out=tmp_path / "one", **how)
    assert in_tensorboard(tmp_path / "one")["loss"] == in_history(run, "loss")
    mbgd.fit_table(data, "y", out=tmp_path / "two", members=2, **how)
    each = [in_tensorboard(tmp_path / "two" / "models" / k)["loss"] for k in ("1", "2")]
    assert each[0] != each[1]


def test_without_a_folder_or_the_package_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlanError, match="log='tensorboard' needs a run folder to write to, got none; give out="):
        fit(None, log="tensorboard")
    with pytest.raises(PlanError, match="log='tensorboard' needs a run folder"):
        mbgd.fit_table(table(), "y", log="tensorboard")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        PlanError, match="log='mlflow' needs the package mlflow, which is not installed; pip install ml"
    ):
        fit(tmp_path / "r", log="mlflow")
    with pytest.raises(PlanError, match="log belongs to fit, got it with steps"):
        mbgd.steps(mbgd.mlp(4), (X, Y), loss="squared_error", log="tensorboard")
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow", "ignore::DeprecationWarning", "ignore::ImportWarning")
def test_mlflow_shows_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.delenv(loggers.TRACKING_URI, raising=False)
    run = fit(tmp_path / "r", log="mlflow", checkpoint_every=5)
    assert run.notices == ()
    assert loggers.ALLOW_FOLDERS not in os.environ
    monkeypatch.setenv(loggers.ALLOW_FOLDERS, "true")  # which its own reader asks for
    client = mlflow.MlflowClient(tracking_uri=loggers.mlflow_place(tmp_path / "r"))
    experiment = client.get_experiment_by_name("mbgd")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "r")
    assert found.data.params["batch_size"] == "8"
    for name in ("loss", "validation_r2"):
        points = client.get_metric_history(found.info.run_id, loggers.tag(name))
        assert [(at.step, at.value) for at in points] == in_history(run, name)
    assert np.isfinite(found.data.metrics["loss"])
