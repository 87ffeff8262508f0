"""What a file holds besides its columns, by every door: folders that give some, an index, row names, no header."""

from __future__ import annotations

import json
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


QUICK = {"epochs": 2, "hidden_layer_sizes": (8,)}
OPTIONS = ("--epochs", "2", "--hidden-layer-sizes", "8", "--quiet")


def plain_table(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.normal(size=n).round(3), "x": rng.normal(size=n).round(3)})
    return frame.assign(c=np.where(frame["x"] > 0, "up", "down"))


def test_rows_without_a_header_are_the_same_rows_at_every_door(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    frame, names = plain_table(), ("y", "x", "c")
    with_names = mbgd.fit_table(written(tmp_path / "h.csv", frame), "y", **QUICK)
    expected = with_names.predict(frame)
    bare = written(tmp_path / "t.csv", frame, header=False)
    inputs = written(tmp_path / "in.csv", frame[["x", "c"]], header=False)  # the target was the first column
    run = mbgd.fit_table(bare, "y", header=False, columns=names, out=tmp_path / "r", **QUICK)
    loaded = mbgd.load(tmp_path / "r")
    for data in (frame, bare, inputs, tmp_path / "h.csv"):
        assert np.array_equal(run.predict(data), expected), data
        assert np.array_equal(loaded.predict(data), expected), data
    unnamed = mbgd.fit_table(bare, "column_1", header=None, folds=2, **QUICK)
    assert np.array_equal(unnamed.predict(inputs), unnamed.predict(bare))
    assert any("is read without a header: its columns are column_1 to column_3" in said for said in unnamed.notices)

    def predicted(*words: str) -> np.ndarray:
        assert command(["predict", *words, "--out", f"{tmp_path}/p.csv", "--force"]) == 0, capfd.readouterr().err
        return pd.read_csv(tmp_path / "p.csv")["prediction"].to_numpy()

    with_names.save(tmp_path / "m.safetensors")
    model = f"{tmp_path}/m.safetensors"
    assert np.allclose(predicted(model, str(bare), "--no-header"), expected, rtol=1e-12)
    assert np.allclose(predicted(model, str(inputs), "--no-header"), expected, rtol=1e-12)
    assert np.allclose(predicted(model, str(inputs), "--no-header", "--columns", "x,c"), expected, rtol=1e-12)
    assert np.allclose(predicted(f"{tmp_path}/r", f"{tmp_path}/h.csv", "--header"), expected, rtol=1e-12)
    assert command(["predict", model, str(inputs), "--no-header", "--columns", "x,d"]) == 3
    assert "there is no column 'c'" in capfd.readouterr().err
    capfd.readouterr()
    assert command(["evaluate", model, str(bare), "--no-header", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["rows"] == 120
    train = [
        "train",
        str(bare),
        "--target",
        "y",
        "--no-header",
        "--columns",
        "y,x,c",
        *OPTIONS,
        "--out",
        f"{tmp_path}/s",
    ]
    assert command(train) == 0
    assert np.allclose(predicted(f"{tmp_path}/s", str(bare)), expected, rtol=1e-12)
    assert command(["inspect", str(bare), "--target", "column_1", "--no-header", "--json"]) == 0
    assert command(["explain", f"{tmp_path}/s", str(bare), "--repeats", "1", "--rows", "1"]) == 0


def test_a_model_reads_the_delimiter_of_its_training_where_a_file_shows_it(tmp_path: Path) -> None:
    frame = plain_table()
    semicolons, commas = written(tmp_path / "s.csv", frame, sep=";"), written(tmp_path / "c.csv", frame)
    run = mbgd.fit_table(semicolons, "y", delimiter=";", out=tmp_path / "r", **QUICK)
    for data in (semicolons, commas, written(tmp_path / "t.tsv", frame, sep="\t")):
        assert np.array_equal(run.predict(data), run.predict(frame))
    assert command(["predict", f"{tmp_path}/r", str(semicolons), "--out", f"{tmp_path}/p.csv"]) == 0


def test_a_run_without_a_header_is_gone_on_with(tmp_path: Path) -> None:
    bare = written(tmp_path / "t.csv", plain_table(), header=False)
    how = {**QUICK, "header": False, "columns": ["y", "x", "c"], "checkpoint_every": 1}
    whole = mbgd.fit_table(bare, "y", **how)
    mbgd.fit_table(bare, "y", **how, out=tmp_path / "r")
    (tmp_path / "r" / "result.json").unlink()
    again = mbgd.resume(tmp_path / "r")
    assert np.array_equal(again.predict(bare), whole.predict(bare))


def test_comments_are_skipped_at_every_door(tmp_path: Path) -> None:
    frame = plain_table()
    clean, lines = written(tmp_path / "h.csv", frame), ["# by a machine", *frame.to_csv(index=False).splitlines()]
    noisy = tmp_path / "c.csv"
    noisy.write_text("\n".join(line if k % 3 else f"{line}#{k}" for k, line in enumerate(lines)) + "\n")
    run = mbgd.fit_table(noisy, "y", comment="#", out=tmp_path / "r", **QUICK)
    expected = mbgd.fit_table(clean, "y", **QUICK).predict(frame)
    for data in (noisy, clean, frame):
        assert np.array_equal(run.predict(data), expected)
    assert command(["predict", f"{tmp_path}/r", str(noisy), "--out", f"{tmp_path}/p.csv"]) == 0
    assert np.allclose(pd.read_csv(tmp_path / "p.csv")["prediction"], expected, rtol=1e-12)


def test_a_table_with_its_index_is_the_table_at_every_door(tmp_path: Path) -> None:
    """Put together class by class and then shuffled, the index is the class."""
    frame = plain_table().sort_values("y", ignore_index=True).sample(frac=1, random_state=0)
    expected = mbgd.fit_table(frame, "y", **QUICK)
    frame.to_parquet(tmp_path / "t.parquet")
    for path in (written(tmp_path / "t.csv", frame, index=True), tmp_path / "t.parquet"):
        run = mbgd.fit_table(path, "y", **QUICK)
        assert set(run.predictor.columns) == {"x", "c"}
        assert sum("index" in said for said in run.notices) == 1
        for data in (frame, path, tmp_path / "t.csv"):
            assert np.array_equal(run.predict(data), expected.predict(frame))
    assert not any("index" in said for said in expected.notices)


def test_row_names_of_r_are_no_input(tmp_path: Path) -> None:
    frame = plain_table()
    lines = frame.to_csv(index=False, quoting=2).splitlines()
    path = tmp_path / "r.csv"
    path.write_text("\n".join([lines[0], *(f'"row {k}",{line}' for k, line in enumerate(lines[1:]))]) + "\n")
    run = mbgd.fit_table(path, "y", **QUICK)
    assert np.array_equal(run.predict(path), mbgd.fit_table(frame, "y", **QUICK).predict(frame))
    assert any(said.startswith("column 'row.names' is left out: it has no name in the header") for said in run.notices)


def test_an_index_may_split_the_rows_by_time(tmp_path: Path) -> None:
    frame = plain_table().set_index(pd.date_range("2024-01-01", periods=120, name="day"))
    frame.to_parquet(tmp_path / "t.parquet")
    run = mbgd.fit_table(tmp_path / "t.parquet", "y", split="time:day", **QUICK)
    assert set(run.predictor.columns) == {"x", "c"}
    with pytest.raises(DataError, match="there is no column 'day'"):
        mbgd.fit_table(frame, "y", split="time:day", **QUICK)
