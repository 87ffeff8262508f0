"""A table made ready: defaults that scale with its rows, targets and weights in their units, files beside it, each misfit named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mbgd
from command import table
from mbgd.desk.table import by_size, facts_of, new_model, read_rows
from mbgd.desk.table_defaults import default_batch_size, default_epochs
from mbgd.desk.table_plan import table_plan
from mbgd.errors import DataError, PlanError, SavedFileError
from mbgd.loop.stop import StopReason


@pytest.mark.parametrize(
    ("n", "batch_size"),
    [(1, 64), (1024, 64), (1025, 128), (8192, 128), (8193, 256), (10**7, 256)],
)
def test_batches_grow_with_the_rows(n: int, batch_size: int) -> None:
    assert default_batch_size(n) == batch_size


@pytest.mark.parametrize(
    ("n", "m", "epochs"),
    [
        (108, 32, 250),  # 4 steps an epoch: 1,000 updates
        (20, 32, 256),  # one step an epoch: never more than 256 passes
        (1500, 128, 84),  # 12 steps an epoch: 1,000 updates are more than the 64 passes
        (20_000, 128, 64),  # 157 steps an epoch: 64 passes are 10,048 updates
        (150_000, 256, 19),  # 2.9 million rows are 19.3 passes
        (10**7, 256, 12),
    ],
)
def test_small_tables_are_passed_over_more_often(n: int, m: int, epochs: float) -> None:
    assert default_epochs(n, m) == epochs


@pytest.mark.parametrize(("n", "epochs"), [(20_000, 13), (120_000, 8), (10**7, 4), (108, 250)])
def test_later_rows_are_learnt_for_with_fewer_passes(n: int, epochs: float) -> None:
    assert default_epochs(n, 256 if n > 108 else 32, later=True) == epochs


def test_what_is_given_stays_and_the_rest_is_written_down() -> None:
    rows = read_rows(table(), table_plan({"target": "y"}))
    plan = by_size(table_plan({"target": "y", "batch_size": "full", "optimizer": "sgd"}), rows)
    assert (plan.batch_size, plan.learning_rate, plan.epochs, plan.loss) == ("full", 0.05, 256.0, "squared_error")
    plan = by_size(table_plan({"target": "y", "optimizer": "adam", "epochs": 3, "loss": "huber"}), rows)
    assert (plan.batch_size, plan.learning_rate, plan.epochs, plan.loss) == (64, 4e-3, 3.0, "huber")
    assert by_size(table_plan({"target": "y", "steps": 5}), rows).epochs is None


def test_scores_and_predictions_are_in_the_units_of_the_target() -> None:
    """Scaling the target by a power of two and shifting it changes nothing that a network sees but a rounding."""
    data = table()[["x", "z", "c", "y"]]
    wide = data.assign(y=1024 * data["y"] + 5e4)
    how: dict[str, Any] = {"target": "y", "epochs": 8}
    near, far = mbgd.fit_table(data, **how), mbgd.fit_table(wide, **how)
    assert far.predict(data) == pytest.approx(1024 * near.predict(data) + 5e4, abs=1)
    assert far.scores["test"]["rmse"] == pytest.approx(1024 * near.scores["test"]["rmse"], rel=1e-3)
    assert far.scores["test"]["r2"] == pytest.approx(near.scores["test"]["r2"], abs=1e-4)


def test_the_model_has_an_output_a_class_but_one_for_two() -> None:
    for target, outputs in (("y", 1), ("label", 1), ("c", 3)):
        rows = read_rows(table(), table_plan({"target": target}))
        model = new_model(rows, by_size(table_plan({"target": target}), rows))
        x = torch.from_numpy(rows.encoded.numbers[:2]), torch.from_numpy(rows.encoded.codes[:2])
        assert model(*x).reshape(2, -1).shape == (2, outputs)
        assert facts_of(rows)["classes"] == {1: 0 if target == "y" else 2, 3: 3}[outputs]


def test_start_values_depend_on_the_seed_alone() -> None:
    rows = read_rows(table(), table_plan({"target": "y"}))
    four, five = (by_size(table_plan({"target": "y", "seed": seed}), rows) for seed in (4, 5))
    torch.manual_seed(1)
    first = new_model(rows, four)
    torch.manual_seed(2)
    second = new_model(rows, four)
    third = new_model(rows, five)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


def test_row_weights_of_zero_take_rows_out_of_training_and_of_scores() -> None:
    """Targets of rows that weigh nothing may be anything: neither weights nor scores move. (A loss of counts has no scale,
    which would be that of all training rows.)"""
    data = table()[["x", "z", "y"]].assign(w=np.where(np.arange(400) % 3 == 0, 0.0, 1.0))
    data["y"] = np.exp(data["y"] / 4)
    odd = data.assign(y=np.where(data["w"] == 0, 9 + data["y"], data["y"]))
    a, b, c = (
        mbgd.fit_table(frame, target="y", weight=weight, drop=drop, epochs=3, loss="poisson")
        for frame, weight, drop in ((data, "w", ()), (odd, "w", ()), (odd, None, ("w",)))
    )
    assert parameters(a) == parameters(b) != parameters(c)
    assert a.scores == b.scores != c.scores


def parameters(run: mbgd.Run) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in run.model.parameters()]


def test_only_names_and_files_are_taken_by_a_table(tmp_path: Path) -> None:
    data = table()
    with pytest.raises(PlanError, match="validation must be a share or a file with fit_table, got DataFrame; write it"):
        mbgd.fit_table(data, target="y", validation=data[:50])
    with pytest.raises(PlanError, match="loss must be a name with fit_table, got MSELoss; fit"):
        mbgd.fit_table(data, target="y", loss=torch.nn.MSELoss())
    data[:60].to_csv(tmp_path / "v.csv", index=False)
    run = mbgd.fit_table(data, target="y", validation=tmp_path / "v.csv", epochs=1)  # type: ignore[arg-type]
    assert run.resolved["validation_rows"] == 60


def test_a_file_beside_the_table_is_typed_as_the_table(tmp_path: Path) -> None:
    """'01' stays text where every code of the file looks like a number; a fraction may follow whole numbers."""
    data = pd.DataFrame({"c": ["01", "1", "x", "02"] * 30, "k": np.arange(120) % 7, "y": np.arange(120) / 9})
    data[data["c"] == "01"].assign(k=0.5).to_csv(tmp_path / "v.csv", index=False)
    rows = read_rows(data, table_plan({"target": "y", "validation": str(tmp_path / "v.csv")}))
    code = rows.encoder.categories[0].labels.index("01") + 1
    assert set(rows.encoded.codes[rows.sets.validation, 0].tolist()) == {code}
    assert rows.sets.validation.tolist() == list(range(120, 150))


def test_labels_and_columns_of_a_file_beside_the_table_are_checked(tmp_path: Path) -> None:
    data, path = table(), tmp_path / "v.csv"
    data.assign(label="perhaps").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"v\.csv: row 2, column 'label': the label 'perhaps' is none of the classes"):
        mbgd.fit_table(data, target="label", validation=str(path))
    data.drop(columns="x").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"v\.csv: column 'x' is missing, the model was trained with it"):
        mbgd.fit_table(data, target="label", test=str(path))
    data.drop(columns="y").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"v\.csv: there is no column 'y'"):
        mbgd.fit_table(data, target="y", test=str(path))


def test_init_takes_over_encoder_target_and_weights_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    data, other = table(), table(seed=5)
    other["z"] *= 100
    first = mbgd.fit_table(data, target="y", epochs=4, drop=("label",))
    path = first.save(tmp_path / "m.safetensors")
    before = path.read_bytes()
    second = mbgd.fit_table(other, target="y", epochs=2, drop=("label",), init=path)
    assert path.read_bytes() == before
    assert second.predictor.encoder == first.predictor.encoder
    kept, was = second.predictor.target, first.predictor.target
    assert kept is not None
    assert was is not None
    assert replace(kept, low=was.low, high=was.high) == was  # the range is that of both trainings
    assert not np.allclose(second.predict(data), first.predict(data))
    with pytest.raises(PlanError, match=r"init must be a model of the target 'label', got .*, which predicts 'y'"):
        mbgd.fit_table(other, target="label", init=path)
    with pytest.raises(SavedFileError, match="model file must exist, got nowhere"):
        mbgd.fit_table(other, target="y", init="nowhere")


def test_by_default_weights_are_averaged_and_a_run_has_patience_where_validation_rows_look() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    frame = pd.DataFrame({"x": x, "y": x + rng.normal(size=400)})
    looked_at = mbgd.fit_table(frame, "y", test="none", hidden_layer_sizes=(4,))
    assert (looked_at.plan.ema_decay, looked_at.plan.patience) == (0.99, -(-int(looked_at.plan.epochs) // 4))
    assert looked_at.ending.reason in (StopReason.EPOCHS, StopReason.NO_PROGRESS)
    unseen = mbgd.fit_table(frame, "y", test="none", validation=None, hidden_layer_sizes=(4,), epochs=2)
    assert unseen.plan.patience is None
    plain = table_plan({"target": "y"}, plain=True)
    assert (plain.ema_decay, plain.patience) == (None, None)


@pytest.mark.parametrize("word", ["patience", "ema_decay"])
def test_what_was_measured_on_tables_belongs_to_them(word: str) -> None:
    words: dict[str, Any] = {word: "auto", "epochs": 1, "validation": 0.5}
    with pytest.raises(PlanError, match=f"{word}='auto' belongs to fit_table"):
        mbgd.fit(mbgd.mlp(2), (np.zeros((8, 2), np.float32), np.zeros(8, np.float32)), loss="squared_error", **words)
