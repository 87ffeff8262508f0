"""Each option of `mbgd train` does what its help says: laws on what is read, trained and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mbgd as package
from command import LABEL, NUMBER, QUICK, Command, lean, table
from mbgd.desk.table_plan import TABLE_DEFAULTS


def weights(run: Path | str) -> bytes:
    """Every parameter's bytes, in their order."""
    return b"".join(p.detach().numpy().tobytes() for p in package.load(run).model.parameters())


def plan(run: Path | str) -> dict[str, Any]:
    return dict(json.loads((Path(run) / "plan.json").read_text())["plan"])


def sizes(mbgd: Command, data: Path, *words: object) -> tuple[int, int, int]:
    said = mbgd("train", data, *words, "--dry-run", "--json")
    assert said.code == 0, said.err
    facts = json.loads(said.out)
    return facts["training_rows"], facts["validation_rows"], facts["test_rows"]


@pytest.mark.parametrize("command", ["train", "inspect"])
def test_help_names_the_defaults_of_tables(mbgd: Command, command: str) -> None:
    text = " ".join(mbgd(command, "--help").out.replace("│", " ").split())
    for name, value in TABLE_DEFAULTS.items():
        option = text[text.index(f"--{name.replace('_', '-')} ") :]
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        assert option[: option.index(")")].endswith(f"(default: {shown}")


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        # inputs: x, its missing flag, z, and one column for each of three colours; x and z in 3 numbers more each, from
        # 32 bins; a scale for each
        (("none",), 6 + 1),
        (("4,3",), 2 * 32 * 3 + 12 + (12 + 1) * 4 + (4 + 1) * 3 + (3 + 1)),
        (("4", "3"), 2 * 32 * 3 + 12 + (12 + 1) * 4 + (4 + 1) * 3 + (3 + 1)),
    ],
)
def test_hidden_layer_sizes(mbgd: Command, tables: Path, given: tuple[str, ...], parameters: int) -> None:
    words = [word for size in given for word in ("--hidden-layer-sizes", size)]
    said = mbgd("train", tables / "t.csv", *NUMBER, *words, "--dry-run", "--json")
    assert json.loads(said.out)["parameters"] == parameters
    assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK, *words, "--out", "r").code == 0
    assert plan("r")["hidden_layer_sizes"] == ([] if given == ("none",) else [4, 3])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (288, 32, 80)),  # a fifth for the test, a tenth of the rest to stop
        (("--test", "none"), (360, 40, 0)),
        (("--validation", "none"), (320, 0, 80)),
        (("--validation", "none", "--test", "none"), (400, 0, 0)),
        (("--test", "0.5", "--validation", "0.25"), (150, 50, 200)),
        (("--test", "new.csv"), (360, 40, 30)),
        (("--validation", "new.csv"), (320, 30, 80)),
        (("--validation", "new.csv", "--test", "again.csv"), (400, 30, 30)),
        (("--split", "column:part"), (280, 40, 80)),
        (("--split", "time:when"), (288, 32, 80)),
    ],
)
def test_sizes_of_the_three_sets(
    mbgd: Command, tables: Path, words: tuple[str, ...], expected: tuple[int, int, int]
) -> None:
    Path("again.csv").write_bytes((tables / "new.csv").read_bytes())
    words = tuple(str(tables / word) if word == "new.csv" else word for word in words)
    assert sizes(mbgd, tables / "t.csv", *lean("y", "part", "when"), *words) == expected


def test_groups_are_held_out_whole(mbgd: Command, tables: Path) -> None:
    found = sizes(mbgd, tables / "t.csv", *lean("y", "group"), "--split", "group:group")
    assert sum(found) == 400
    assert 60 <= found[2] <= 100  # whole groups of about ten rows, until a fifth of them is reached


def test_a_validation_file_stops_and_a_test_file_scores(mbgd: Command, tables: Path) -> None:
    """The file named test is scored as `evaluate` scores it, from another folder as well."""
    for name in ("here.csv", "there.csv"):
        Path(name).write_bytes((tables / "new.csv").read_bytes())
    words = ("--validation", "there.csv", "--test", "here.csv", "--json")
    said = mbgd("train", tables / "t.csv", *NUMBER, *QUICK, *words, "--out", "r")
    assert said.code == 0, said.err
    scores = json.loads(said.out)["scores"]
    assert scores["validation"] == scores["test"]
    alone = json.loads(mbgd("evaluate", "r", "here.csv", "--json").out)
    assert alone["rows"] == 30
    # the model computes in float32, and 30 rows at once may be summed in another order than 30 of 400
    assert alone["rmse"] == pytest.approx(scores["test"]["rmse"], rel=1e-5)
    assert Path(plan("r")["test"]).is_absolute()


def test_refit_trains_on_validation_rows_too_for_as_many_passes_as_were_best(mbgd: Command, tables: Path) -> None:
    said = mbgd("train", tables / "t.csv", *NUMBER, "--epochs", "6", "--refit", "--json", "--out", "r")
    first = [json.loads(line) for line in Path("r/history.jsonl").read_text().splitlines()]
    looks = [line for line in first if "validation_rmse" in line]
    best = min(reversed(looks), key=lambda line: line["validation_rmse"])  # the last one among ties
    again = [json.loads(line) for line in Path("r/refit/history.jsonl").read_text().splitlines()]
    assert again[-1]["step"] == round(best["step"] / 288 * 320)
    assert json.loads(said.out)["steps"] == again[-1]["step"]
    assert mbgd("train", tables / "t.csv", *NUMBER, "--epochs", "6", "--quiet", "--out", "s").code == 0
    assert weights("r") != weights("s")


def test_init_starts_from_the_weights_and_encoder_of_another_run(mbgd: Command, tables: Path, runs: Path) -> None:
    still = ("--steps", "1", "--learning-rate", "1e-30", "--schedule", "constant", "--quiet")
    begun = mbgd("train", tables / "t.csv", *NUMBER, *still, "--init", runs / "number", "--out", "r")
    assert begun.code == 0, begun.err
    assert weights("r") == weights(runs / "number")  # a step of 1e-30 moves no float32
    assert mbgd("train", tables / "t.csv", *NUMBER, *still, "--out", "s").code == 0
    assert weights("s") != weights(runs / "number")
    refitted = ("--refit", "--epochs", "1", "--learning-rate", "1e-30", "--schedule", "constant", "--quiet")
    assert mbgd("train", tables / "t.csv", *NUMBER, *refitted, "--init", runs / "number", "--out", "u").code == 0
    assert weights("u") == weights(runs / "number")


@pytest.mark.parametrize("words", [NUMBER, LABEL], ids=["number", "label"])
def test_a_plan_repeats_a_run_to_the_same_bytes(mbgd: Command, tables: Path, words: tuple[str, ...]) -> None:
    knobs = ("--seed", "5", "--dropout", "0.2", "--optimizer", "sgd", "--momentum", "0.9", "--batch-size", "7")
    assert mbgd("train", tables / "t.csv", *words, *QUICK, *knobs, "--out", "a").code == 0
    for name, given in (("b", "a/plan.json"), ("c", "a")):
        assert mbgd("train", tables / "t.csv", "--plan", given, "--quiet", "--out", name).code == 0
        assert Path(name, "model.safetensors").read_bytes() == Path("a/model.safetensors").read_bytes()
    assert mbgd("train", tables / "t.csv", "--plan", "a", "--seed", "6", "--quiet", "--out", "d").code == 0
    assert plan("d") == {**plan("a"), "seed": 6}
    assert weights("d") != weights("a")


def test_plan_with_dry_run_shows_that_plan(mbgd: Command, tables: Path) -> None:
    assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--batch-size", "9", "--out", "a").code == 0
    facts = json.loads(mbgd("train", tables / "t.csv", "--plan", "a", "--dry-run", "--json").out)
    assert (facts["batch_size"], facts["steps"]) == (9, 2 * 32)  # 288 rows are 32 batches of 9
    assert json.loads(mbgd("train", tables / "t.csv", "--plan", "a", "--seed", "3", "--dry-run", "--json").out)


@pytest.mark.parametrize(("metric", "greater"), [("mae", False), ("r2", True), ("rmse", False), ("loss", False)])
def test_the_metric_picks_the_weights(mbgd: Command, tables: Path, metric: str, greater: bool) -> None:
    words = (*NUMBER, "--epochs", "5", "--learning-rate", "0.02", "--metric", metric, "--json", "--out", "r")
    result = json.loads(mbgd("train", tables / "t.csv", *words).out)
    lines = [json.loads(line) for line in Path("r/history.jsonl").read_text().splitlines()]
    seen = [line[f"validation_{metric}"] for line in lines if f"validation_{metric}" in line]
    # the scores of the weights that are back at the end are those of the best look
    assert result["scores"]["validation"][metric] == (max(seen) if greater else min(seen))


def test_patience_stops_at_the_metric(mbgd: Command, tables: Path) -> None:
    words = (*NUMBER, "--epochs", "400", "--learning-rate", "0.02", "--metric", "mae", "--patience", "3", "--json")
    result = json.loads(mbgd("train", tables / "t.csv", *words, "--out", "r").out)
    lines = [json.loads(line) for line in Path("r/history.jsonl").read_text().splitlines()]
    seen = [line["validation_mae"] for line in lines if "validation_mae" in line]
    assert result["ending"] == "no_progress"
    assert len(seen) - 1 - int(np.argmin(seen)) == 3


def predicted(mbgd: Command, run: str, data: Path) -> str:
    said = mbgd("predict", run, data)
    assert said.code == 0, said.err
    return said.out


def test_equal_weights_are_no_weights(mbgd: Command, tables: Path) -> None:
    """w_i / wbar is exactly 1 where every weight is 2."""
    assert mbgd("train", tables / "t.csv", *lean("y", "two"), *QUICK, "--weight", "two", "--out", "a").code == 0
    assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--out", "b").code == 0
    assert weights("a") == weights("b")
    assert "two" not in package.load("a").encoder.columns  # type: ignore[union-attr]


def test_balanced_class_weights_are_a_weight_column_of_n_over_k_n_c(mbgd: Command) -> None:
    data = table()
    data["label"] = np.where(data["y"] > 2, "yes", "no")
    training = data[data["part"] == "train"]
    count = training["label"].value_counts()
    data["w"] = [len(training) / (2 * count[label]) for label in data["label"]]
    data.drop(columns=["y", "key", "when", "group", "two"]).to_csv("w.csv", index=False)
    how = ("--target", "label", "--split", "column:part", *QUICK)
    assert mbgd("train", "w.csv", *how, "--weight", "w", "--out", "a").code == 0
    assert mbgd("train", "w.csv", *how, "--drop", "w", "--class-weight", "balanced", "--out", "b").code == 0
    assert mbgd("train", "w.csv", *how, "--drop", "w", "--out", "c").code == 0
    assert weights("a") == weights("b")
    assert weights("c") != weights("b")


def test_evaluate_says_of_test_rows_what_train_said(mbgd: Command) -> None:
    """With weights of classes, too, which are for training."""
    data = table().drop(columns=["y", "key", "when", "group", "two"])
    data["label"] = np.where(np.arange(len(data)) % 13 == 0, "yes", "no")
    data.to_csv("t.csv", index=False)
    data[data["part"] == "test"].to_csv("new.csv", index=False)
    words = ("--target", "label", "--split", "column:part", "--class-weight", "balanced", "--threshold-for", "f1")
    trained = mbgd("train", "t.csv", *words, *QUICK, "--json", "--out", "r")
    assert trained.code == 0, trained.err
    said, test = json.loads(mbgd("evaluate", "r", "new.csv", "--json").out), json.loads(trained.out)["scores"]["test"]
    for name in ("accuracy", "log_loss", "roc_auc", "f1"):
        assert abs(said[name] - test[name]) <= 1e-6, name  # outputs are float32


def test_columns_are_dropped_and_typed_as_told(mbgd: Command, tables: Path) -> None:
    words = ("--target", "y", "--drop", "label", "--drop", "part", "--categorical", "group")
    said = json.loads(mbgd("inspect", tables / "t.csv", *words, "--json").out)
    kinds = {column["name"]: column["kind"] for column in said["columns"]}
    assert kinds == {
        "key": "left out", "x": "number", "z": "number", "c": "category", "when": "date", "group": "category",
        "two": "left out",
    }  # fmt: skip
    assert mbgd("inspect", tables / "t.csv", *words, "--categorical", "key", "--json").code == 0
    texts = pd.DataFrame({"n": ["1", "2", "3.5", "x"] * 10, "m": ["1", "2", "", "4"] * 10, "y": np.arange(40.0)})
    texts.to_parquet("texts.parquet", index=False)
    said = json.loads(mbgd("inspect", "texts.parquet", "--target", "y", "--numeric", "m", "--drop", "n", "--json").out)
    assert [(column["name"], column["kind"]) for column in said["columns"]] == [("m", "number")]


def test_the_task_follows_the_target_unless_told(mbgd: Command) -> None:
    data = pd.DataFrame({"x": np.arange(60.0), "few": np.arange(60) % 3, "many": np.arange(60) // 2})
    data.to_csv("t.csv", index=False)

    def task(*words: str) -> tuple[str, int]:
        facts = json.loads(mbgd("inspect", "t.csv", *words, "--json").out)
        return facts["task"], facts["classes"]

    assert task("--target", "few") == ("classification", 3)
    assert task("--target", "few", "--task", "regression") == ("regression", 0)
    assert task("--target", "many") == ("regression", 0)
    assert task("--target", "many", "--task", "classification") == ("classification", 30)


def test_dry_run_and_inspect_write_nothing(mbgd: Command, tables: Path) -> None:
    for words in (("train", "--dry-run"), ("train", "--dry-run", "--json"), ("inspect",), ("inspect", "--json")):
        said = mbgd(words[0], tables / "t.csv", *NUMBER, *words[1:])
        assert said.code == 0, said.err
        assert list(Path.cwd().iterdir()) == []
        assert "288" in said.out
        assert said.out.count("\n") == 1 or "--json" not in words


def test_without_out_runs_are_numbered_by_the_name_of_the_data(mbgd: Command, tables: Path) -> None:
    for k in (1, 2):
        said = mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--json")
        assert json.loads(said.out)["run"] == f"runs/t-{k}"
    assert (Path("runs/t-1/model.safetensors").read_bytes()) == Path("runs/t-2/model.safetensors").read_bytes()


def test_force_replaces_a_run_but_only_where_training_can_begin(mbgd: Command, tables: Path) -> None:
    assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--out", "r").code == 0
    before = Path("r/model.safetensors").read_bytes()
    again = mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--out", "r")
    assert again.code == 2
    assert again.err == "mbgd: error: out must be a new folder, got r, which exists; 'mbgd resume r' goes on with it\n"
    for wrong in (("--target", "yy"), ("--loss", "mse"), ("--drop", "nothing")):
        assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--out", "r", "--force", *wrong).code in (2, 3)
        assert Path("r/model.safetensors").read_bytes() == before
    assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--out", "r", "--force", "--seed", "9").code == 0
    assert plan("r")["seed"] == 9
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK, "--out", "mine", "--force").code == 2
    assert Path("mine/letter.txt").read_text() == "dear"


def test_plain_is_the_textbook(mbgd: Command, tables: Path) -> None:
    assert mbgd("train", tables / "t.csv", *NUMBER, "--plain", *QUICK, "--out", "r").code == 0
    said = plan("r")
    assert [said[k] for k in ("optimizer", "schedule", "batch_size", "momentum")] == ["sgd", "constant", 32, 0.0]
    history = [json.loads(line) for line in Path("r/history.jsonl").read_text().splitlines()]
    assert {line["learning_rate"] for line in history} == {0.1}


def test_a_time_limit_ends_the_run(mbgd: Command, tables: Path) -> None:
    said = mbgd("train", tables / "t.csv", *NUMBER, "--epochs", "100000", "--time-limit", "0.01s", "--json")
    assert json.loads(said.out)["ending"] == "time"


def test_steps_end_the_run_exactly(mbgd: Command, tables: Path) -> None:
    said = json.loads(mbgd("train", tables / "t.csv", *NUMBER, "--steps", "13", "--json").out)
    assert (said["ending"], said["steps"]) == ("steps", 13)


def test_checkpoints_come_every_so_many_steps_or_seconds(mbgd: Command, tables: Path) -> None:
    how = (*NUMBER, *QUICK, "--checkpoint-every")
    assert mbgd("train", tables / "t.csv", *how, "4", "--out", "a").code == 0  # 9 steps an epoch, 18 in all
    kept = sorted(path.name for path in Path("a/checkpoints").iterdir())
    assert kept == ["step-000000000012", "step-000000000016"]  # the two newest
    assert mbgd("train", tables / "t.csv", *how, "0.000001s", "--out", "b").code == 0
    at_looks = {"step-000000000009", "step-000000000018"}  # one that is due while another is written waits for the next
    assert {path.name for path in Path("b/checkpoints").iterdir()} & at_looks
    assert mbgd("train", tables / "t.csv", *how, "30s", "--out", "c").code == 0
    assert not Path("c/checkpoints").exists()
    assert weights("a") == weights("b") == weights("c")


def test_threads_and_device_are_written_down(mbgd: Command, tables: Path) -> None:
    how = (*NUMBER, *QUICK, "--device", "cpu")
    assert mbgd("train", tables / "t.csv", *how, "--threads", "2", "--out", "a").code == 0
    assert mbgd("train", tables / "t.csv", *how, "--out", "b").code == 0
    assert (plan("a")["threads"], plan("b")["threads"]) == (2, 1)  # a step this small is not worth a second thread
    assert plan("a")["device"] == "cpu"


def test_many_files_and_globs_are_one_table(mbgd: Command, tables: Path) -> None:
    data = table()
    for k in range(3):
        data[k::3].to_csv(f"part-{k}.csv", index=False)
    for words in (("part-0.csv", "part-1.csv", "part-2.csv"), ("part-*.csv",), (str(Path.cwd()),)):
        assert json.loads(mbgd("inspect", *words, *NUMBER, "--json").out)["rows"] == 400
