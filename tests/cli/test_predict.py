"""`mbgd predict` and `mbgd evaluate`: rows in order, columns by name, whole files or none, scores as scikit-learn has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

import mbgd as package
from command import NUMBER, QUICK, Command, lean, table
from mbgd.cli import predict as module


def predictions(mbgd: Command, run: Path, data: object, *words: object) -> pd.DataFrame:
    said = mbgd("predict", run, data, *words, "--out", "p.parquet", "--force")
    assert (said.code, said.out, said.err) == (0, "", "")
    return pd.read_parquet("p.parquet")


def test_a_missing_column_is_named_and_nothing_is_written(mbgd: Command, runs: Path) -> None:
    table().drop(columns="x").to_csv("new.csv", index=False)
    said = mbgd("predict", runs / "number", "new.csv", "--out", "p.csv")
    assert said.code == 3
    assert (
        said.err == "mbgd: error: new.csv: there is no column 'x'; it has key, z, c, when, group, part, two, y, ...\n"
    )
    assert [path.name for path in Path.cwd().iterdir()] == ["new.csv"]
    said = mbgd("evaluate", runs / "number", "new.csv")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("mbgd: error: new.csv: column 'x' is missing, the model was trained with it")


@pytest.mark.parametrize("name", ["number", "label"])
def test_columns_are_found_by_name_in_any_order(mbgd: Command, runs: Path, tables: Path, name: str) -> None:
    data = pd.read_csv(tables / "new.csv", dtype=str, keep_default_na=False)
    data[["c", "z", "two", "x"]].to_csv("reordered.csv", index=False)
    for run in ("a", "b"):
        given = tables / "new.csv" if run == "a" else "reordered.csv"
        assert mbgd("predict", runs / name, given, "--out", f"{run}.csv").code == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert Path("a.csv").read_text().count("\n") == 31


def test_an_unseen_label_and_a_missing_one_predict_the_same(mbgd: Command, runs: Path) -> None:
    found = []
    for label in ("violet", "", "red"):  # each alone: a product in float32 rounds by the place of its row
        pd.DataFrame({"x": [0.5], "z": [0.1], "c": [label]}).to_csv("new.csv", index=False)
        found.append(predictions(mbgd, runs / "number", "new.csv")["prediction"][0])
    assert found[0] == found[1] != found[2]


def read(path: Path) -> pd.DataFrame:
    if path.suffix in (".arrow", ".feather"):
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all().to_pandas()
    return (
        pd.read_parquet(path)
        if path.suffix == ".parquet"
        else pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    )


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 64)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "arrow", "feather"])
@pytest.mark.parametrize("data", ["t.csv", "t.parquet"])
def test_every_format_holds_what_python_predicts(
    mbgd: Command, runs: Path, tables: Path, suffix: str, data: str
) -> None:
    out = Path(f"p.{suffix}")
    assert mbgd("predict", runs / "label", tables / data, "--keep", "key", "--keep", "c", "--out", out).code == 0
    found, model = read(out), package.load(runs / "label")
    assert list(found) == ["key", "c", "prediction", "probability_no", "probability_yes"]
    assert found["key"].tolist() == table()["key"].tolist()
    assert found["c"].tolist() == table()["c"].tolist()
    expected = model.predict_proba(table())
    # float32 sums of 64 rows at once and of 400 may differ in their last digits
    assert found[["probability_no", "probability_yes"]].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert found["prediction"].tolist() == np.where(expected[:, 1] > 0.5, "yes", "no").tolist()


def test_without_out_csv_goes_to_stdout(mbgd: Command, runs: Path, tables: Path) -> None:
    assert mbgd("predict", runs / "number", tables / "new.csv", "--out", "p.csv").code == 0
    said = mbgd("predict", runs / "number", tables / "new.csv")
    assert (said.code, said.err) == (0, "")
    assert said.out == Path("p.csv").read_text()


def test_kept_columns_of_a_csv_file_stand_as_they_were(mbgd: Command, runs: Path) -> None:
    data = pd.DataFrame({"id": ["007", "1e3", "", "12345678901234567890"], "x": 0.5, "z": 0.1, "c": "red"})
    data.to_csv("new.csv", index=False)
    said = mbgd("predict", runs / "number", "new.csv", "--keep", "id", "--out", "p.csv")
    assert said.code == 0, said.err
    kept = pd.read_csv("p.csv", dtype=str, keep_default_na=False)["id"]
    assert kept.tolist() == data["id"].tolist()


def test_wrong_words_of_predict(mbgd: Command, runs: Path, tables: Path) -> None:
    run, new = runs / "number", tables / "new.csv"
    Path("old.csv").write_text("mine\n")
    table(5).rename(columns={"key": "prediction"}).to_csv("odd.csv", index=False)
    for words, code, message in [
        ((new, "--out", "old.csv"), 2, "out must be a new file, got old.csv, which exists; --force replaces it"),
        ((new, "--out", "p.xlsx"), 2,
         "out must end in .csv, .tsv, .parquet, .arrow, .feather, got 'p.xlsx'; the ending chooses the format"),
        ((new, "--keep", "kee", "--out", "p.csv"), 3, f"{new}: there is no column 'kee'; did you mean 'key'?"),
        (("odd.csv", "--keep", "prediction", "--out", "p.csv"), 2,
         "keep must name other columns than those of the predictions, got 'prediction'; rename it"),
    ]:  # fmt: skip
        said = mbgd("predict", run, *words)
        assert (said.code, said.out, said.err) == (code, "", f"mbgd: error: {message}\n")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["odd.csv", "old.csv"]
    assert Path("old.csv").read_text() == "mine\n"
    assert mbgd("predict", run, new, "--out", "old.csv", "--force").code == 0
    assert Path("old.csv").read_text().count("\n") == 31


def test_a_failure_on_the_way_leaves_no_file(mbgd: Command, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 16)
    data = table(100)
    data.loc[70, "z"] = np.inf
    data.to_parquet("new.parquet", index=False)
    Path("old.csv").write_text("mine\n")
    said = mbgd("predict", runs / "number", "new.parquet", "--out", "old.csv", "--force")
    assert said.code == 3
    assert said.err == (
        "mbgd: error: new.parquet: row 71, column 'z': inf is not finite; correct it, or leave the cell empty\n"
    )
    assert Path("old.csv").read_text() == "mine\n"
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["new.parquet", "old.csv"]


def test_text_in_a_column_of_numbers_is_named(mbgd: Command, runs: Path) -> None:
    data = table(50).astype(object)
    data.loc[30, "z"] = "much"
    data.to_csv("new.csv", index=False)
    said = mbgd("predict", runs / "number", "new.csv", "--out", "p.csv")
    assert (said.code, Path("p.csv").exists()) == (3, False)
    assert said.err.startswith("mbgd: error: new.csv: row 32, column 'z': 'much' is not a number; correct the cell")


def scores(mbgd: Command, run: Path | str, data: object, *words: object) -> dict[str, Any]:
    said = mbgd("evaluate", run, data, *words, "--json")
    assert said.code == 0, said.err
    return dict(json.loads(said.out))


def test_evaluate_scores_as_scikit_learn(mbgd: Command, runs: Path, tables: Path) -> None:
    new = pd.read_csv(tables / "new.csv")
    found = predictions(mbgd, runs / "number", tables / "new.csv")["prediction"]
    said = scores(mbgd, runs / "number", tables / "new.csv")
    assert (said["rows"], said["left_out"]) == (30, 0)
    assert said["r2"] == pytest.approx(metrics.r2_score(new["y"], found), rel=1e-12)
    assert said["mae"] == pytest.approx(metrics.mean_absolute_error(new["y"], found), rel=1e-12)
    assert said["rmse"] == pytest.approx(metrics.root_mean_squared_error(new["y"], found), rel=1e-12)
    share = predictions(mbgd, runs / "label", tables / "new.csv")["probability_yes"]
    said = scores(mbgd, runs / "label", tables / "new.csv")
    assert said["roc_auc"] == pytest.approx(metrics.roc_auc_score(new["label"] == "yes", share), rel=1e-12)
    assert said["log_loss"] == pytest.approx(metrics.log_loss(new["label"], np.stack([1 - share, share], 1)), rel=1e-9)
    shown = mbgd("evaluate", runs / "label", tables / "new.csv")
    assert shown.out.startswith(f"30 rows  accuracy {said['accuracy']:.4f}  log_loss {said['log_loss']:.4f}  roc_auc")


def test_evaluate_counts_what_has_no_target_and_weighs(mbgd: Command, runs: Path) -> None:
    data = table(60, seed=3)
    data["w"] = np.linspace(0, 2, 60)
    data.loc[:9, "y"] = np.nan
    data.to_csv("new.csv", index=False)
    found = predictions(mbgd, runs / "number", "new.csv")["prediction"][10:]
    said = scores(mbgd, runs / "number", "new.csv", "--weight", "w")
    assert (said["rows"], said["left_out"]) == (50, 10)
    kept = data[10:]
    # float32 sums of 60 rows at once and of 50 may differ in their last digits
    assert said["r2"] == pytest.approx(metrics.r2_score(kept["y"], found, sample_weight=kept["w"]), rel=1e-6)
    data["y"] = np.nan
    data.to_csv("none.csv", index=False)
    none = mbgd("evaluate", runs / "number", "none.csv")
    assert none.code == 3
    assert none.err == ("mbgd: error: none.csv, column 'y': no row has a target to score against; predict needs none\n")


def test_evaluate_names_a_label_that_was_never_seen(mbgd: Command, runs: Path) -> None:
    data = table(20)
    data.loc[7, "label"] = "perhaps"
    data.to_csv("new.csv", index=False)
    said = mbgd("evaluate", runs / "label", "new.csv")
    assert said.code == 3
    assert said.err == (
        "mbgd: error: new.csv: row 9, column 'label': the label 'perhaps' is none of the classes ('no', 'yes'); "
        "correct it, leave the cell empty, or train again with it\n"
    )


def test_csv_columns_are_read_as_in_training_wherever_they_are_read(mbgd: Command) -> None:
    """Codes '01' and '1', kept as text, are two labels; a file in which all targets look like numbers holds labels still."""
    n = 200
    zips = np.array(["01", "1"])[np.arange(n) % 2]
    data = pd.DataFrame({"zip": zips, "z": np.arange(n) % 7, "y": np.where(zips == "01", 10.0, -10.0)})
    data["y"] += data["z"]
    data["name"] = np.where(zips == "01", "5", "six")
    for name in ("t.csv", "again.csv"):
        data.to_csv(name, index=False)
    how = ("--categorical", "zip", "--epochs", "60", "--quiet", "--test", "again.csv")
    assert mbgd("train", "t.csv", "--target", "y", "--drop", "name", *how, "--out", "r").code == 0
    result = json.loads(Path("r/result.json").read_text())
    said = scores(mbgd, "r", "t.csv")
    assert said["r2"] > 0.9
    assert said["r2"] == pytest.approx(result["scores"]["test"]["r2"], abs=1e-6)
    assert package.load("r").predict("t.csv") == pytest.approx(
        predictions(mbgd, Path("r"), "t.csv")["prediction"], abs=1e-4
    )
    assert mbgd("train", "t.csv", "--target", "name", "--drop", "y", *how, "--out", "s").code == 0
    data[data["name"] == "5"].to_csv("fives.csv", index=False)
    assert scores(mbgd, "s", "fives.csv")["rows"] == 100


def test_a_model_file_alone_is_enough(mbgd: Command, runs: Path, tables: Path) -> None:
    whole = mbgd("predict", runs / "number", tables / "new.csv").out
    Path("m.safetensors").write_bytes((runs / "number" / "model.safetensors").read_bytes())
    assert mbgd("predict", "m.safetensors", tables / "new.csv").out == whole


def test_three_classes_have_three_probabilities(mbgd: Command, tables: Path) -> None:
    words = lean("c", "y")
    assert mbgd("train", tables / "t.csv", *words, *QUICK, "--out", "r").code == 0
    found = predictions(mbgd, Path("r"), tables / "t.parquet")
    shares = found[["probability_blue", "probability_green", "probability_red"]]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
    assert (shares.idxmax(axis=1) == "probability_" + found["prediction"]).all()
    assert NUMBER[1] not in package.load("r").classes


def test_an_empty_file_has_no_predictions(mbgd: Command, runs: Path) -> None:
    pq.write_table(pa.Table.from_pandas(table(3)).slice(0, 0), "none.parquet")
    said = mbgd("predict", runs / "number", "none.parquet", "--out", "p.csv")
    assert (said.code, Path("p.csv").exists()) == (3, False)
    assert said.err == "mbgd: error: none.parquet: there are no rows; a table needs at least one\n"
