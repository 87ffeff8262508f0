"""`--target a,b`: scores of each target and their mean, a column of predictions each, each misfit in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mbgd as package
from command import QUICK, Command, lean, table

BOTH = ("--target", "y,w", *lean("y")[2:], "--hidden-layer-sizes", "8")


@pytest.fixture
def data(tmp_path: Path, mbgd: Command) -> Path:
    table().assign(w=lambda d: 100 + d["z"] * 10).to_csv("two.csv", index=False)
    return Path("two.csv")


def test_each_target_has_a_line_and_a_column(mbgd: Command, data: Path) -> None:
    said = mbgd("train", data, *BOTH, *QUICK, "--out", "r")
    assert (said.code, said.err) == (0, "")
    number = r" +-?\d+\.\d{4}"
    scores = rf"r2{number}  rmse{number}  mae{number}"
    lines = said.out.splitlines()
    for line, name, role in [
        (lines[1], "validation ", "used to stop, mean over targets"),
        (lines[2], "test       ", "never used, mean over targets"),
        (lines[3], "y          ", "of the test rows"),
        (lines[4], "w          ", "of the test rows"),
        (lines[5], "mean       ", "baseline on the same rows"),
        (lines[6], "linear     ", "baseline on the same rows"),
    ]:
        assert re.fullmatch(rf"  {name} {scores}   \({role}\)", line), line
    assert mbgd("predict", "r", data, "--keep", "key", "--out", "p.csv").code == 0
    found = pd.read_csv("p.csv")
    assert list(found) == ["key", "prediction_y", "prediction_w"]
    expected = package.load("r").predict(pd.read_csv(data))
    # float32 sums of some rows at once and of others may differ in their last digits
    assert found[["prediction_y", "prediction_w"]].to_numpy() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    facts = json.loads(mbgd("evaluate", "r", data, "--json").out)
    assert facts["r2"] == pytest.approx((facts["r2_y"] + facts["r2_w"]) / 2)
    shown = mbgd("evaluate", "r", data).out.splitlines()
    assert [line.split()[0] for line in shown] == ["400", "y", "w"]
    assert mbgd("inspect", data, *BOTH).out.splitlines()[-2].endswith("regression of 'y, w'")
    assert json.loads(mbgd("info", "r/model.safetensors", "--json").out)["target"] == ["y", "w"]


def test_rows_to_evaluate_need_every_target(mbgd: Command, data: Path) -> None:
    assert mbgd("train", data, *BOTH, *QUICK, "--out", "r").code == 0
    rows = pd.read_csv(data)
    rows.loc[:9, "w"] = None
    rows.to_csv("gaps.csv", index=False)
    assert json.loads(mbgd("evaluate", "r", "gaps.csv", "--json").out)["left_out"] == 10
    rows.drop(columns="w").to_csv("gone.csv", index=False)
    said = mbgd("evaluate", "r", "gone.csv")
    assert said.code == 3
    assert said.err.startswith("mbgd: error: gone.csv: there is no column 'w'")
    assert mbgd("predict", "r", "gone.csv", "--out", "p.csv").code == 0


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("y,c", "several targets must be numbers, got the classes of 'c'; train a model of its own for it, or give "
                "task='regression' for whole numbers"),
        ("y,y", "target must name different columns, got ('y', 'y'); name each of them once"),
        (",", "target must name different columns, got (); name each of them once"),
    ],
)  # fmt: skip
def test_wrong_targets_are_one_line(mbgd: Command, data: Path, target: str, said: str) -> None:
    found = mbgd("train", data, "--target", target, *QUICK, "--out", "r")
    assert (found.code, found.out, found.err) == (2, "", f"mbgd: error: {said}\n")
    assert not Path("r").exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_with_a_comma_in_its_name_can_be_the_target(mbgd: Command, suffix: str) -> None:
    """Where there is such a column; else the text names two."""
    frame = pd.DataFrame({"x": np.arange(60.0), "p,q": np.arange(60.0) / 7})
    both = frame.assign(p=frame["x"] * 2, q=frame["x"] * 3)
    for name, data in (("t", frame), ("both", both), ("two", both.drop(columns="p,q"))):
        data.to_csv(f"{name}.csv", index=False) if suffix == "csv" else data.to_parquet(f"{name}.parquet")
    for name, target in (("t", "p,q"), ("both", "p,q"), ("two", ["p", "q"])):
        for command in (("train", *QUICK), ("inspect",)):
            said = mbgd(*command, f"{name}.{suffix}", "--target", "p,q", "--json")
            assert said.code == 0, said.err
        run = next(Path("runs").glob(f"{name}-*"))
        assert json.loads((run / "plan.json").read_text())["plan"]["target"] == target
    said = mbgd("train", f"t.{suffix}", "--target", "q,p", *QUICK)
    assert (said.code, said.err) == (3, f"mbgd: error: t.{suffix}: there is no column 'q'; it has x, 'p,q'\n")


def test_odd_names_in_a_list_of_columns_can_be_told_apart(mbgd: Command) -> None:
    header = '"a, b",,"line\none"," c","it\'s",plain name,größe\n'
    Path("t.csv").write_text(header + "1,2,3,4,5,6,7\n" * 9, encoding="utf-8")
    said = mbgd("train", "t.csv", "--target", "zzz", *QUICK)
    expected = r"""'a, b', '', 'line\none', ' c', "it's", plain name, größe"""
    assert (said.code, said.err) == (3, f"mbgd: error: t.csv: there is no column 'zzz'; it has {expected}\n")
