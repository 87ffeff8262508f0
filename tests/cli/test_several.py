"""`--folds`, `--members` and `--preset` in the terminal: a line a model, one summary, files that the other commands know."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pandas as pd
import pytest

import mbgd as package
from cli.test_screen import shown_on_a_terminal
from cli.test_signals import stopped_at
from command import LABEL, NUMBER, Command, table
from mbgd.desk.ended import read_result

FEW = ("--epochs", "3", "--hidden-layer-sizes", "16")


def test_each_model_has_a_line_and_their_mean_the_scores(mbgd: Command, tables: Path) -> None:
    said = mbgd("train", tables / "t.csv", *NUMBER, *FEW, "--folds", "3", "--out", "r")
    assert said.code == 0, said.err
    number = r" +-?\d+\.\d{4}"
    scores = rf"r2{number}  rmse{number}  mae{number}"
    lines = said.out.splitlines()
    # 320 rows that are no test rows: 213 or 214 train each model, in 7 batches of 32 an epoch
    assert re.fullmatch(r"all models are trained: 63 steps of 32 rows in 3 models, \d+\.\d s, fused", lines[0]), lines[
        0
    ]
    for line, name, role in [
        (lines[1], "out of fold", "each row by the model not trained on it; used to stop"),
        (lines[2], "test       ", "never used"),
        (lines[3], "mean       ", "baseline on the same rows"),
        (lines[4], "linear     ", "baseline on the same rows"),
    ]:
        assert re.fullmatch(rf"  {name} {scores}   \({role}\)", line), line
    assert lines[5:] == ["saved r/model.safetensors"]
    told = [line for line in said.err.splitlines() if line.startswith("model ") and " of " in line]
    assert [line.split(":")[0] for line in told] == ["model 1 of 3", "model 2 of 3", "model 3 of 3"]
    assert all(
        re.fullmatch(r"model \d of 3: validation r2 -?\d\.\d{4}  rmse \d\.\d{4}  mae \d\.\d{4}", line) for line in told
    )
    assert re.search(r"^model 2/3  epoch 1\.00/3  step 7  loss ", said.err, re.MULTILINE)


def test_members_are_scored_on_the_validation_rows_that_they_share(mbgd: Command, tables: Path) -> None:
    said = mbgd("train", tables / "t.csv", *LABEL, *FEW, "--members", "2", "--quiet", "--out", "r")
    assert (said.code, said.err) == (0, "")
    assert re.match(r"all models are trained: 54 steps of 32 rows in 2 models, .*\n  validation  accuracy ", said.out)
    assert "calibrated" not in said.out  # each model has a temperature of its own
    assert not Path("r/out_of_fold.parquet").exists()
    words = ("--members", "2", "--folds", "2", "--json")
    found = json.loads(mbgd("train", tables / "t.csv", *LABEL, *FEW, *words, "--out", "s").out)
    assert found["ending"] == "models"
    assert [one["scores"].keys() for one in found["models"]] == [{"validation"}] * 4
    assert found["steps"] == sum(one["steps"] for one in found["models"])
    assert read_result(Path("s")) == {k: v for k, v in found.items() if k != "run"}
    assert found["accuracy"] == found["scores"]["test"]["accuracy"]


def test_the_other_commands_know_an_ensemble(mbgd: Command, tables: Path) -> None:
    assert mbgd("train", tables / "t.csv", *LABEL, *FEW, "--folds", "2", "--quiet", "--out", "r").code == 0
    assert mbgd("predict", "r", tables / "t.csv", "--keep", "key", "--out", "p.parquet").code == 0
    found, model = pd.read_parquet("p.parquet"), package.load("r")
    assert found["prediction"].tolist() == model.predict(table()).tolist()
    assert found["probability_yes"].tolist() == model.predict_proba(table())[:, 1].tolist()
    scores = json.loads(mbgd("evaluate", "r", tables / "t.csv", "--json").out)
    assert scores["accuracy"] == pytest.approx((found["prediction"] == table()["label"]).mean())
    about = json.loads(mbgd("info", "r/model.safetensors", "--json").out)
    assert (about["models"], about["target"], set(about["scores"])) == (2, "label", {"out_of_fold", "test"})
    assert json.loads(mbgd("info", "r", "--json").out)["plan"]["folds"] == 2
    assert mbgd("info", "r/models/2").code == 0
    said = mbgd("inspect", tables / "t.csv", *LABEL, "--folds", "4", "--members", "2")
    assert re.match(r"8 models, each of [\d,]+ parameters over ", said.out.splitlines()[-1])
    assert mbgd("resume", "r").err == "r has ended already; train --init r/models/1 starts a new run from its weights\n"


def test_a_bar_counts_the_models_and_says_each(mbgd: Command, tables: Path) -> None:
    words = ["train", str(tables / "t.csv"), *NUMBER, "--epochs", "40", "--folds", "2", "--out", "a"]
    code, seen = shown_on_a_terminal(words, cwd=Path.cwd())
    assert code == 0
    assert re.search(r"model 1/2 +epoch \d+\.\d/40", seen)
    assert re.search(r"model 1 of 2: validation r2 ", seen)
    assert re.search(r"model 2 of 2: validation r2 ", seen)
    assert "all models are trained" in seen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--plain", "--preset", "best"),
         "preset and plain exclude each other, got both; leave one of them out"),
        (("--preset", "quick"), "preset must be one of 'fast', 'default', 'best', got 'quick'; leave it out if there is none"),
        (("--folds", "3", "--split", "time:when"),
         "folds need a random split or one by group, got split='time:when', which says itself which rows stop a model; "
         "give members instead"),
        (("--folds", "3.5"), "folds must be a whole number of at least 2, got 3.5; 5 is usual"),
    ],
)  # fmt: skip
def test_wrong_words_are_told_in_a_line(mbgd: Command, tables: Path, words: tuple[str, ...], message: str) -> None:
    said = mbgd("train", tables / "t.csv", *NUMBER, *words, "--out", "r")
    assert (said.code, said.out, said.err) == (2, "", f"mbgd: error: {message}\n")
    assert not Path("r").exists()


@pytest.mark.parametrize(
    ("look", "number"),
    [
        (12, signal.SIGKILL),
        pytest.param(1, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(4, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(20, signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_the_files_have_the_same_bytes(
    mbgd: Command, tables: Path, look: int, number: signal.Signals
) -> None:
    """A model has 8 looks, after every 4 steps and after each epoch's 7; the twelfth is of the second model."""
    how = (*LABEL, "--epochs", "3", "--dropout", "0.2", "--folds", "3", "--checkpoint-every", "4", "--quiet")
    assert mbgd("train", tables / "t.csv", *how, "--out", "s").code == 0
    said = stopped_at(look, number, "train", tables / "t.csv", *how, "--out", "r", cwd=Path.cwd())
    assert said.code in (130, -9)
    assert not Path("r/model.safetensors").exists()
    assert [Path(f"r/models/{k}/result.json").exists() for k in (1, 2)] == [look > 8, look > 16]
    assert mbgd("resume", "r", "--quiet").code == 0
    for name in (
        "model.safetensors",
        "out_of_fold.parquet",
        "models/1/model.safetensors",
        "models/3/model.safetensors",
    ):
        assert Path("r", name).read_bytes() == Path("s", name).read_bytes(), name
    assert not list(Path("r").rglob(".tmp-*"))


def test_of_quantiles_their_mean_holds_the_test_rows_and_each_row_has_a_column_a_quantile(
    mbgd: Command, tables: Path
) -> None:
    how = (*NUMBER, *FEW, "--quantiles", "0.1,0.5,0.9", "--folds", "2", "--quiet", "--out", "r")
    said = mbgd("train", tables / "t.csv", *how)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert re.match(r"  out of fold pinball +\S+  coverage +0\.\d{4}  mean_width", lines[1])
    assert re.fullmatch(
        r"  0\.1-0\.9     holds 0\.\d{4} of 80 test rows \(.*\), 0\.8 asked for; (widened|narrowed) by \S+ on either side, "
        r"the mean of 2 models",
        lines[3],
    ), lines[3]
    assert list(pd.read_parquet("r/out_of_fold.parquet")) == [
        "row",
        "fold",
        "target",
        "prediction",
        "q0.1",
        "q0.5",
        "q0.9",
    ]
    assert mbgd("predict", "r", tables / "new.csv", "--out", "p.parquet").code == 0
    found = pd.read_parquet("p.parquet")
    assert found.to_numpy()[:, 1:].tolist() == package.load("r").predict_quantiles(table(30, seed=2)).tolist()
    assert found["prediction"].tolist() == found["q0.5"].tolist()
    by_hand = ((found["q0.1"] <= table(30, seed=2)["y"]) & (table(30, seed=2)["y"] <= found["q0.9"])).mean()
    assert json.loads(mbgd("evaluate", "r", tables / "new.csv", "--json").out)["coverage"] == pytest.approx(by_hand)
    about = json.loads(mbgd("info", "r/model.safetensors", "--json").out)
    assert (about["quantiles"], about["widening"][0]["rows"], about["threshold"]) == ([0.1, 0.5, 0.9], 320, None)


def test_a_threshold_of_several_is_said_with_the_rows_that_chose_it(mbgd: Command, tables: Path) -> None:
    for option, said in (("--folds", "out of fold"), ("--members", "on validation")):
        how = (*LABEL, *FEW, "--threshold-for", "f1", "--quiet", option, "2", "--out", said)
        out = mbgd("train", tables / "t.csv", *how).out
        line = rf"^  threshold   f1 +\S+ -> \S+ {said} \(used to choose\), \S+ on test  by '(yes|no)' from probability "
        assert re.search(line, out, re.MULTILINE), out
        found = json.loads((Path(said) / "result.json").read_text())
        rows = "out_of_fold" if option == "--folds" else "validation"
        assert found["threshold"]["after"] == pytest.approx(found["scores"][rows]["f1"])
        assert [one["threshold"] for one in found["models"]] == [None, None]


def test_several_targets_of_folds_have_a_line_each(mbgd: Command, tables: Path) -> None:
    words = ("--target", "y,z", *NUMBER[2:], *FEW, "--folds", "2", "--quiet")
    said = mbgd("train", tables / "t.csv", *words, "--test", "none", "--out", "r")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"^  y +r2 .* \(of the out of fold rows\)$", said.out, re.MULTILINE)
    assert re.search(r"^  out of fold r2 .*; used to stop, mean over targets\)$", said.out, re.MULTILINE)
    assert mbgd("predict", "r", tables / "new.csv", "--out", "p.csv").code == 0
    assert list(pd.read_csv("p.csv")) == ["prediction_y", "prediction_z"]
