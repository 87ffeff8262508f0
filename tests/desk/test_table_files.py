"""What a file holds besides its columns, by every door: folders that give some, an index, row names, no header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mbgd
from mbgd.cli import run as command
from mbgd.errors import DataError


def written(path: Path, frame: pd.DataFrame, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, **{"index": False, **how})
    return path


def test_the_year_of_a_folder_is_learned_and_needed_at_every_door(tmp_path: Path) -> None:
    """y = 5 (year = 2023): known exactly from the folder, and by nothing else."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300), "year": rng.choice([2022, 2023], 300)})
    frame["y"] = 5.0 * (frame["year"] == 2023)
    for year, part in frame.groupby("year"):
        written(tmp_path / "d" / f"year={year}" / "part-0.csv", part.drop(columns="year"))
    run = mbgd.fit_table(tmp_path / "d", "y", epochs=40, hidden_layer_sizes=(16,), out=tmp_path / "r")
    assert run.scores["test"]["r2"] > 0.9
    assert set(run.predictor.columns) == {"x", "year"}
    in_memory = run.predict(frame.sort_values("year", kind="stable"))
    assert np.allclose(run.predict(tmp_path / "d"), in_memory, atol=1e-5)
    later = mbgd.load(tmp_path / "r").predict(tmp_path / "d" / "year=2023")
    assert np.allclose(later, in_memory[-len(later) :], atol=1e-5)
    assert command(["predict", f"{tmp_path}/r", f"{tmp_path}/d", "--out", f"{tmp_path}/p.csv", "--keep", "year"]) == 0
    predicted = pd.read_csv(tmp_path / "p.csv")
    assert np.allclose(predicted["prediction"], in_memory, atol=1e-4)
    assert list(predicted["year"]) == sorted(frame["year"])
    assert command(["evaluate", f"{tmp_path}/r", f"{tmp_path}/d"]) == 0
    alone = written(tmp_path / "without.csv", frame[["x", "y"]])
    with pytest.raises(DataError, match="column 'year' is missing"):
        run.predict(alone)
