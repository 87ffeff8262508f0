"""`--quantiles` and `--threshold-for`: what the terminal says, what a file of predictions holds, and each misfit in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mbgd as package
from command import LABEL, NUMBER, QUICK, Command, table

LEVELS = ("--quantiles", "0.1,0.5,0.9", "--validation", "0.2")


def test_coverage_stands_beside_what_was_asked_for(mbgd: Command, tables: Path) -> None:
    said = mbgd("train", tables / "t.csv", *NUMBER, *LEVELS, *QUICK, "--out", "r")
    lines, number = said.out.splitlines(), r" +\d+\.\d{4}"
    scores = rf"pinball{number}  coverage{number}  mean_width{number}"
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(rf"  validation  {scores}   \(used to stop\)", lines[1])
    assert re.fullmatch(rf"  test        {scores}   \(never used\)", lines[2])
    interval = r"holds (0\.\d{4}) of 80 test rows \((0\.\d{4}) to (\d\.\d{4})\), 0\.8 asked for"
    found = re.fullmatch(rf"  0\.1-0\.9     {interval}; (widened|narrowed) by \S+ on either side", lines[3])
    assert found is not None, lines[3]
    assert float(found[2]) < float(found[1]) < float(found[3])
    assert re.fullmatch(rf"  constant    {scores}   \(baseline on the same rows\)", lines[4])
    assert re.fullmatch(rf"  linear      {scores}   \(baseline on the same rows\)", lines[5])


def test_a_file_of_predictions_has_a_column_a_quantile(mbgd: Command, tables: Path) -> None:
    assert mbgd("train", tables / "t.csv", *NUMBER, *LEVELS, *QUICK, "--out", "r").code == 0
    assert mbgd("predict", "r", tables / "new.csv", "--keep", "key", "--out", "p.csv").code == 0
    found = pd.read_csv("p.csv")
    assert list(found) == ["key", "prediction", "q0.1", "q0.5", "q0.9"]
    expected = package.load("r").predict_quantiles(table(30, seed=2))
    assert found[["q0.1", "q0.5", "q0.9"]].to_numpy() == pytest.approx(expected, abs=1e-5)  # float32
    assert found["prediction"].tolist() == found["q0.5"].tolist()
    said = mbgd("evaluate", "r", tables / "new.csv", "--json")
    y = table(30, seed=2)["y"].to_numpy()
    assert json.loads(said.out)["coverage"] == pytest.approx(np.mean((expected[:, 0] <= y) & (y <= expected[:, 2])))
    assert re.fullmatch(
        r"30 rows  pinball \S+  coverage \S+  mean_width \S+\n", mbgd("evaluate", "r", tables / "new.csv").out
    )
    facts = json.loads(mbgd("info", "r/model.safetensors", "--json").out)
    assert facts["quantiles"] == [0.1, 0.5, 0.9]
    assert facts["widening"][0]["rows"] == 64
    assert mbgd("predict", "r", tables / "new.csv", "--keep", "q0.1").code == 2


def test_a_resumed_run_ends_as_the_whole_one(mbgd: Command, tables: Path) -> None:
    assert mbgd("train", tables / "t.csv", *NUMBER, *LEVELS, *QUICK, "--checkpoint-every", "7", "--out", "r").code == 0
    whole = Path("r/model.safetensors").read_bytes()
    for name in ("result.json", "model.safetensors"):
        (Path("r") / name).unlink()
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole


def test_a_threshold_is_said_with_its_score_before_and_after(mbgd: Command, tables: Path) -> None:
    how = (*LABEL, "--epochs", "4", "--quiet", "--validation", "0.25", "--out", "r", "--threshold-for")
    said = mbgd("train", tables / "t.csv", *how, "f1")
    assert (said.code, said.err) == (0, "")
    line = next(line for line in said.out.splitlines() if line.startswith("  threshold"))
    shares = r"f1 +(0\.\d{4}) -> (0\.\d{4}) on validation \(used to choose\), (0\.\d{4}) on test"
    found = re.fullmatch(rf"  threshold   {shares}  by '(yes|no)' from probability (0\.\d{{4}}) on", line)
    assert found is not None, line
    assert float(found[1]) <= float(found[2])
    assert re.search(r"^  test        accuracy .* f1 ", said.out, re.MULTILINE)
    assert re.search(r" f1 0\.\d{4}$", mbgd("evaluate", "r", tables / "new.csv").out)
    mbgd("predict", "r", tables / "new.csv", "--out", "p.csv")
    rows, other = pd.read_csv("p.csv"), {"yes": "no", "no": "yes"}[found[4]]
    by_hand = np.where(rows[f"probability_{found[4]}"] >= float(found[5]), found[4], other)
    assert (rows["prediction"] == by_hand).mean() > 0.95  # the shown threshold is rounded


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*NUMBER, "--quantiles", "0.9"), "quantiles must be at least two rising levels above 0 and below 1, got (0.9,); "
         "0.05,0.5,0.95 is usual; for one alone give loss='quantile' and quantile=0.9"),
        ((*NUMBER, "--quantiles", "0.9,x"), "quantiles must be at least two rising levels above 0 and below 1, "
         "got (0.9, 'x'); 0.05,0.5,0.95 is usual; for one alone give loss='quantile' and quantile=0.9"),
        ((*LABEL, "--quantiles", "0.1,0.9"), "quantiles need a target of numbers, got the classes of 'label'; "
         "leave quantiles out, or give task='regression'"),
        ((*NUMBER, "--threshold-for", "f1"), "threshold_for needs a target of two classes, got numbers of 'y'; leave it out"),
        (("--target", "c", "--threshold-for", "f1"), "threshold_for needs a target of two classes, got 3 of 'c' "
         "('blue', 'green', 'red'); leave it out"),
        ((*LABEL, "--threshold-for", "F1"), "threshold_for must be one of 'f1', 'balanced_accuracy', got 'F1'; "
         "leave it out for the likelier class"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_line_and_leave_nothing(
    mbgd: Command, tables: Path, words: tuple[str, ...], said: str
) -> None:
    found = mbgd("train", tables / "t.csv", *words, *QUICK, "--out", "r")
    assert (found.code, found.out, found.err) == (2, "", f"mbgd: error: {said}\n")
    assert not Path("r").exists()
