"""Whatever is wrong, one sentence on stderr says so, with a documented exit code, no traceback, and nothing written."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from command import LABEL, NUMBER, QUICK, Command, Said, table
from mbgd.model import saved as model_file
from mbgd.record.checkpoint import newest

Words = tuple[str, ...]
TRAIN: Words = ("train", "t.csv", *NUMBER)


@pytest.fixture
def here(mbgd: Command, tables: Path) -> Command:
    """The command in a folder that holds t.csv alone."""
    shutil.copy(tables / "t.csv", "t.csv")
    return mbgd


def files() -> list[str]:
    return sorted(str(path) for path in Path.cwd().rglob("*"))


def refused(mbgd: Command, words: Words, code: int, message: str) -> Said:
    """The call fails with that code and that one line, and leaves every file as it was."""
    before = files()
    said = mbgd(*words)
    assert said.err == f"mbgd: error: {message}\n"
    assert (said.code, said.out) == (code, "")
    assert files() == [str(Path.cwd() / name.removeprefix(str(Path.cwd()) + "/")) for name in before]
    return said


USAGE: list[tuple[Words, str]] = [
    (("train",), "Missing argument 'DATA...'; see mbgd train --help"),
    (("trian", "t.csv"), "No such command 'trian'. Did you mean 'train'?"),
    (("train", "t.csv", "--target"), "Option '--target' requires an argument; see mbgd --help"),
    (("train", "t.csv"), "target must name the column to predict, got none; give --target COLUMN"),
    (("inspect", "t.csv"), "target must name the column to predict, got none; give --target COLUMN"),
    (("train", "t.csv", "--lr", "1"), "--lr is not an option of mbgd train; say --learning-rate instead"),
    (("train", "t.csv", "--max-iter", "9"), "--max-iter is not an option of mbgd train; say --epochs instead"),
    (("train", "t.csv", "--amp"), "--amp is not an option of mbgd train; say --precision bf16 instead"),
    (("train", "t.csv", "--sample-weights", "w"), "--sample-weights is not an option of mbgd train; say --weight instead"),
    (("train", "t.csv", "--batchsize", "9"), "--batchsize is not an option of mbgd train; did you mean '--batch-size'?"),
    (("train", "t.csv", "-x"), "-x is not an option of mbgd train; see mbgd train --help"),
    (("predict", "r", "t.csv", "--lr", "1"), "--lr is not an option of mbgd predict; see mbgd predict --help"),
    ((*TRAIN, "--batch-size", "0"),
     "batch_size must be a whole number of at least 1 or one of 'full', 'auto', got 0; 32 is usual"),
    ((*TRAIN, "--learning-rate", "nan"),
     "learning_rate must be a number above 0 or 'auto', got nan; 0.1 is usual for sgd, 0.001 for adam"),
    ((*TRAIN, "--epochs", "-1"), "epochs must be a number above 0 or 'auto', got -1; 10 is usual, 0.5 is half a pass"),
    ((*TRAIN, "--seed", "1.5"), "seed must be a whole number of at least 0, got 1.5; any whole number will do"),
    ((*TRAIN, "--test", "0"), "test must be a share above 0 and below 1 or a name, got 0; 0.2 is every fifth row"),
    ((*TRAIN, "--drop", "x", "--drop", "y"),
     "drop must name other columns than the target, got 'y' for both; leave it out of drop"),
    ((*TRAIN, "--split", "time:y"), "split must go by another column than the target, got 'time:y'; leave split out"),
    ((*TRAIN, "--split", "group:y"), "split must go by another column than the target, got 'group:y'; leave split out"),
    ((*TRAIN, "--split", "tiem:x"),
     "split must be random, time:COLUMN, group:COLUMN or column:COLUMN, got 'tiem:x'; did you mean 'time'?"),
    ((*TRAIN, "--schedule", "cosin"),
     "schedule must be one of 'constant', 'step', 'cosine', 'one_cycle', got 'cosin'; did you mean 'cosine'?"),
    ((*TRAIN, "--metric", "accuracy"),
     "metric must be one of loss, rmse, r2, mae for regression losses, got 'accuracy'; that one is for another kind of task"),
    ((*TRAIN, "--optimizer", "addam"),
     "optimizer must be one of sgd, adam, adamw, tabular, a torch.optim class, partial or instance, got 'addam'; "
     "did you mean 'adam'?"),
    ((*TRAIN, "--loss", "mse"), "loss must be a known name, got 'mse'; here it is called 'squared_error'"),
    ((*TRAIN, "--loss", "log_loss"),
     "loss must be one of numbers for the numbers of 'y', got 'log_loss'; 'squared_error' is usual, "
     "or give task='classification'"),
    (("train", "t.csv", *LABEL, "--loss", "squared_error"),
     "loss must be 'log_loss' or 'hinge' for the classes of 'label', got 'squared_error'; or give task='regression'"),
    ((*TRAIN, "--hidden-layer-sizes", "0"),
     "hidden_layer_sizes must be whole numbers of at least 1, got (0,); leave it out for (256, 256)"),
    ((*TRAIN, "--threads", "0"), "threads must be a whole number of at least 1 or 'auto', got 0; leave it out for 'auto'"),
    ((*TRAIN, "--device", "tpu"), "device must be auto, cpu, cuda, cuda:1 or mps, got 'tpu'; 'auto' chooses"),
    ((*TRAIN, "--checkpoint-every", "30x"),
     "checkpoint_every must be a whole number of at least 1 or seconds as '30s', got '30x'; leave it out if there is none"),
    ((*TRAIN, "--time-limit", "soon"),
     "time_limit must be seconds above 0, as 30 or '30s', got 'soon'; leave it out if there is none"),
    ((*TRAIN, "--nesterov"), "nesterov needs momentum above 0, got momentum=0.0; give momentum=0.9"),
    ((*TRAIN, "--validation", "none", "--patience", "3"),
     "patience needs validation rows to look at, got none; give validation=0.1"),
    ((*TRAIN, "--validation", "none", "--refit"),
     "refit needs validation rows to take in, got none; give validation=0.1, or leave refit out"),
    ((*TRAIN, "--plain", "--plan", "p"), "plain and plan exclude each other, got both; a plan names every knob, leave --plain out"),
    ((*TRAIN, "--class-weight", "balanced"),
     "class_weight belongs to classification, got a target of numbers; use a weight column instead"),
    ((*TRAIN, "--numeric", "c", "--categorical", "c"),
     "numeric and categorical must name different columns, got 'c' in both; keep one"),
    ((*TRAIN, "--task", "clasification"),
     "task must be one of 'regression', 'classification', got 'clasification'; did you mean 'classification'?"),
    ((*TRAIN, "--out", "t.csv"), "out must be a new folder, got t.csv, which exists; choose another name"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), USAGE, ids=[str(k) for k in range(len(USAGE))])
def test_wrong_words_are_exit_2(here: Command, words: Words, message: str) -> None:
    refused(here, words, 2, message)


def test_a_device_that_is_not_there(here: Command) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    refused(here, (*TRAIN, "--device", "cuda"), 2,
            "device must be one that this machine has, got 'cuda'; use device='cpu', or 'auto'")  # fmt: skip


DATA: list[tuple[Words, str]] = [
    (("train", "t.csv", "--target", "yy"), "t.csv: there is no column 'yy'; did you mean 'y'?"),
    (("train", "tt.csv", "--target", "y"), "tt.csv: no such file or folder; did you mean 't.csv'?"),
    (("train", "*.nix", "--target", "y"), "*.nix: the glob matches no file; quote it and try it with `ls`"),
    ((*TRAIN, "--drop", "xx"), "t.csv: there is no column 'xx'; did you mean 'x'?"),
    ((*TRAIN, "--weight", "ww"), "t.csv: there is no column 'ww'; it has key, x, z, c, when, group, part, two, ..."),
    ((*TRAIN, "--split", "time:wen"), "t.csv: there is no column 'wen'; did you mean 'when'?"),
    ((*TRAIN, "--split", "column:c"),
     "t.csv: row 2, column 'c': a set must be train, validation or test, got 'green'; correct it"),
    ((*TRAIN, "--split", "time:c"),
     "t.csv: row 2, column 'c': a split by time needs times or numbers, got 'green'; write it as 2024-01-31 23:59"),
    (("train", "t.csv", *NUMBER, "--numeric", "c"),
     "t.csv: row 2, column 'c': 'green' is not a number; correct the cell, or read the column as text: --categorical c"),
    (("train", "t.csv", *NUMBER, "--task", "classification"),
     "t.csv: row 2, column 'y': a class label must be text, true or false, or a whole number, got 0.721 (double); "
     "--task regression predicts numbers"),
    (("train", "t.csv", "--target", "two"),
     "t.csv, column 'two': classification needs at least two classes, got 2 alone; "
     "add rows of another class, or name another target"),
    (("train", "t.csv", "--target", "when"),
     "t.csv, column 'when': a target must be numbers or labels, got timestamp[s]; convert it first"),
    ((*TRAIN, "--delimiter", ";"),
     "t.csv: row 1: one column only, 'key,x,z,c,when,group,part,two,y,label'; is the delimiter ','? --delimiter ','"),
    ((*TRAIN, "--validation", "0.999", "--test", "0.999"),
     "t.csv: a training set needs at least one row, got none of 400; hold out less"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), DATA, ids=[str(k) for k in range(len(DATA))])
def test_wrong_rows_are_exit_3(here: Command, words: Words, message: str) -> None:
    first = pd.read_csv("t.csv").loc[0]
    refused(here, words, 3, message.replace("green", str(first["c"])).replace("0.721", f"{first['y']:g}"))


CELLS: list[tuple[str, str, str, Words]] = [
    ("x", "oops", "'oops' is not a number; correct the cell, or read the column as text: --categorical x", ()),
    ("x", "inf", "inf is not finite; correct it, leave the cell empty, or drop the column: --drop x", ()),
    ("x", "1e400", "inf is not finite; correct it, leave the cell empty, or drop the column: --drop x", ()),
    ("y", "-inf", "-inf is not finite; correct it, or leave the cell empty", ()),
    ("two", "-1", "a weight must be 0 or more, got -1; 0 leaves the row out", ("--weight", "two")),
    ("two", "", "a weight must be 0 or more, got none; 0 leaves the row out", ("--weight", "two")),
]


@pytest.mark.parametrize(("column", "cell", "message", "words"), CELLS)
def test_a_bad_cell_is_named_by_file_row_and_column(
    mbgd: Command, column: str, cell: str, message: str, words: Words
) -> None:
    """The row is that of the file, the header being row 1, although rows without a target stand before it."""
    data = table().astype(object)
    data.loc[:4, "y"] = ""
    data.loc[211, column] = cell
    data.drop(columns=["key", "when", "group", "part", "label", *(() if words else ("two",))]).to_csv(
        "t.csv", index=False
    )
    refused(mbgd, ("train", "t.csv", "--target", "y", *words), 3, f"t.csv: row 213, column '{column}': {message}")


def test_rows_without_a_target_are_left_out_and_counted(mbgd: Command) -> None:
    data = table()
    data.loc[:4, "y"] = np.nan
    data.to_csv("t.csv", index=False)
    said = mbgd("train", "t.csv", *NUMBER, "--epochs", "1", "--json")
    assert "5 rows without y are left out" in json.loads(said.out)["notices"]
    assert "note: 5 rows without y are left out" in mbgd("train", "t.csv", *NUMBER, "--epochs", "1").err.splitlines()
    data.loc[1:4, "y"] = 0.5
    data.to_csv("t.csv", index=False)
    assert "1 row without y is left out" in json.loads(mbgd("inspect", "t.csv", *NUMBER, "--json").out)["notices"]
    data["y"] = np.nan
    data.to_csv("none.csv", index=False)
    refused(mbgd, ("train", "none.csv", *NUMBER), 3,
            "none.csv, column 'y': every target is missing; name another column as the target")  # fmt: skip


def parquet(n: int = 60) -> bytes:
    sink = pa.BufferOutputStream()
    x = np.random.default_rng(0).normal(size=n)
    pq.write_table(
        pa.table({"x": x, "y": x / 7}), sink, write_page_checksum=True, compression="none", use_dictionary=False
    )
    return sink.getvalue().to_pybytes()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


BROKEN: list[tuple[str, bytes, str]] = [
    ("t.csv", b"", "the file is empty (0 bytes); a table needs a header and at least one row"),
    ("t.csv", b"x,y\n", "there are no rows; a table needs at least one"),
    ("t.csv", b"x,y\n1,2\n3\n", "row 3: 1 cell, the header has 2"),
    ("t.csv", b"x,y\n1,2\n3,4,5\n", "row 3: 3 cells, the header has 2"),
    ("t.csv", b"x,y,x\n1,2,3\n", "row 1: the column 'x' stands twice in the header"),
    ("t.csv", b"x,y\n1,caf\xe9\n", "row 2, column 'y': the bytes are not UTF-8 text"),
    ("t.csv", "x,y\n1,2\n".encode("utf-16"), "the text is UTF-16, it must be UTF-8"),
    ("t.csv", b"x,y\n1,2\0\n", "row 2, column 'y': a NUL byte stands here"),
    ("t.csv", b'x,y\n1,2\n1,"2\n3,4\n', 'row 3: a quote (") opens here and is never closed'),
    ("t.csv", b"x;y\n1;2\n", "row 1: one column only, 'x;y'; is the delimiter ';'? --delimiter ';'"),
    ("t.csv.gz", b"\x1f\x8b\x08\x00oops", "the gzip data is damaged or cut off ("),
    ("t.parquet", b"", "the file is empty (0 bytes)"),
    ("t.parquet", b"x,y\n1,2\n3,4\n", "not a Parquet file (it does not begin with PAR1)"),
    ("t.parquet", parquet()[:-100], "the Parquet file is cut off after "),
    ("t.parquet", flipped(parquet(), 100), "the Parquet file is damaged ("),
    ("t.arrow", parquet(), "not an Arrow file (it does not begin with ARROW1)"),
    ("t.xlsx", b"PK", "the suffix '.xlsx' names no table format"),
]


@pytest.mark.parametrize(("name", "data", "message"), BROKEN, ids=[str(k) for k in range(len(BROKEN))])
def test_a_broken_file_is_exit_3_for_training_and_for_predicting(
    mbgd: Command, runs: Path, name: str, data: bytes, message: str
) -> None:
    """What each reader says of each fault stands in its own tests; here it reaches the user in one line, and nothing is
    written. To predict, the columns are looked for first."""
    Path(name).write_bytes(data)
    for words in (("train", name, "--target", "y"), ("predict", runs / "number", name, "--out", "p.csv")):
        said = mbgd(*words)
        assert (said.code, said.out) == (3, "")
        assert re.fullmatch(rf"mbgd: error: {re.escape(name)}: .+\n", said.err)
        assert words[0] == "predict" or said.err.startswith(f"mbgd: error: {name}: {message}")
        assert [path.name for path in Path.cwd().iterdir()] == [name]


def frames() -> dict[str, tuple[pa.Table, str]]:
    n = 60
    x, y = pa.array(np.arange(n, dtype=np.float64)), pa.array(np.arange(n) / 7)
    return {
        "nested": (pa.table({"x": x, "v": [[1, 2]] * n, "y": y}),
                   "t.parquet, column 'v': nested values (list<element: int64>) are no table column; leave it out: --drop v"),
        "constant": (pa.table({"x": [1.0] * n, "y": y}),
                     "t.parquet: no input column is left to learn from ('x': one value only); give at least one that varies"),
        "one training class": (
            pa.table({"x": x, "part": ["train", "test"] * (n // 2), "y": ["a", "b"] * (n // 2)}),
            "t.parquet: training rows must hold at least two classes, got 'a' alone; split another way",
        ),
        "weights": (pa.table({"x": x, "w": [0.0] * n, "y": y}),
                    "t.parquet, column 'w': the weights sum to 0; give at least one row a weight above 0"),
        "no rows": (pa.table({"x": x, "y": y}).slice(0, 0),
                    "t.parquet: there are no rows; a table needs at least one"),
    }  # fmt: skip


@pytest.mark.parametrize("case", frames())
def test_a_parquet_file_that_cannot_be_learned(mbgd: Command, case: str) -> None:
    data, message = frames()[case]
    pq.write_table(data, "t.parquet")
    words = {"one training class": ("--split", "column:part"), "weights": ("--weight", "w")}.get(case, ())
    refused(mbgd, ("train", "t.parquet", "--target", "y", *words), 3, message)


def test_no_column_is_left(mbgd: Command) -> None:
    pd.DataFrame({"y": np.arange(30) / 7}).to_csv("t.csv", index=False)
    refused(mbgd, ("train", "t.csv", "--target", "y"), 3,
            "t.csv: no input column is left to learn from (there is none besides y); give at least one that varies")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "nowhere", "t.csv"), "model file must exist, got nowhere; check the path"),
        (("info", "nowhere"), "model file must exist, got nowhere; check the path"),
        (("predict", ".", "t.csv"), ". must hold model.safetensors, got none; it is no run"),
        (("resume", "nowhere"),
         "run must be a folder that a training run has written, got nowhere; 'mbgd train --out' makes one"),
        (("resume", "."), "run must hold plan.json, got . without it; it is no run, or training never began"),
        ((*TRAIN, "--plan", "p"), "plan must be an existing plan.json or run folder, got p; a run folder holds one"),
        ((*TRAIN, "--plan", "t.csv"), "t.csv must hold JSON, got something else; it is damaged or not MBGD's"),
        ((*TRAIN, "--init", "nowhere"), "model file must exist, got nowhere; check the path"),
    ],
)  # fmt: skip
def test_runs_and_plans_that_are_none_are_exit_4(here: Command, words: Words, message: str) -> None:
    refused(here, words, 4, message)


def test_model_files_that_are_none_are_exit_4(here: Command, runs: Path) -> None:
    Path("model.pkl").write_bytes(pickle.dumps({"weights": [1.0] * 40}))
    refused(here, ("predict", "model.pkl", "t.csv"), 4,
            "model.pkl must be a safetensors file, got a pickle; MBGD loads nothing that could run code: "
            "save it again by run.save")  # fmt: skip
    Path("model.safetensors").write_bytes(b"a few bytes")
    refused(here, ("predict", "model.safetensors", "t.csv"), 4,
            "model.safetensors is damaged or no safetensors file (it has 11 bytes, fewer than its header says); "
            "take another copy or train again")  # fmt: skip
    whole = (runs / "number" / "model.safetensors").read_bytes()
    Path("m.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(here, ("predict", "m.safetensors", "t.csv"), 4,
            "m.safetensors is damaged: its SHA-256 is not the one in it; take another copy or train again")  # fmt: skip
    assert here("predict", runs / "number" / "model.safetensors", "t.csv").code == 0


def test_a_model_of_a_newer_version_is_exit_4(here: Command, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mbgd import load

    with monkeypatch.context() as newer:
        newer.setattr(model_file, "OF_ONE", 3)
        load(runs / "number").save("m.safetensors")
    said = here("predict", "m.safetensors", "t.csv")
    assert said.code == 4
    assert said.err.startswith("mbgd: error: m.safetensors has format 3, this MBGD reads 2; install mbgd ")


def test_the_weights_of_a_module_are_no_model_of_a_table(here: Command) -> None:
    import mbgd as package

    x = torch.randn(40, 3)
    package.fit(torch.nn.Linear(3, 1), (x, x.sum(1)), loss="squared_error", epochs=1, learning_rate=0.1, out="m")
    refused(here, ("predict", "m", "t.csv"), 4, "m is no model of a table; load it in Python: mbgd.load(path, model)")
    refused(here, (*TRAIN, "--init", "m"), 4, "m is no model of a table; load it in Python: mbgd.load(path, model)")
    refused(here, ("resume", "m"), 2,
            "m trained a module of your own; mbgd.resume(run, model, data) in Python goes on with it")  # fmt: skip


def test_init_with_another_target_is_refused(here: Command, runs: Path) -> None:
    refused(here, (*TRAIN, "--init", str(runs / "label")), 2,
            f"init must be a model of the target 'y', got {runs / 'label'}, which predicts 'label'; "
            "give that target, or leave init out")  # fmt: skip


def test_places_that_cannot_be_written_are_exit_5(here: Command, runs: Path) -> None:
    refused(here, (*TRAIN, *QUICK, "--out", "t.csv/run"), 5,
            "t.csv/run must be free to write, something of another kind is there; choose another name")  # fmt: skip
    refused(here, ("predict", str(runs / "number"), "t.csv", "--out", "nowhere/p.csv"), 5,
            "the folder of nowhere/p.csv must exist to write it, it does not; make nowhere")  # fmt: skip


DIVERGING = ("--optimizer", "sgd", "--learning-rate", "1e30", "--schedule", "constant", "--batch-size", "5")


def test_divergence_is_exit_6_with_rows_of_the_file_and_the_last_good_model(mbgd: Command) -> None:
    data = table().drop(columns=["key", "when", "group", "part", "two", "label"])
    data.loc[:99, "y"] = np.nan
    data.to_csv("t.csv", index=False)
    said = mbgd("train", "t.csv", "--target", "y", "--quiet", *DIVERGING, "--out", "r")
    assert said.code == 6
    start = "mbgd: error: loss or gradient must be finite, got a non-finite one in step 2 (epoch 1, t.csv: rows "
    assert said.err.startswith(start)
    rows = [int(row) for row in said.err.removeprefix(start).partition(")")[0].split(", ")]
    assert len(rows) == 5
    assert min(rows) > 101  # the header is row 1, the first hundred records have no target
    assert said.err.endswith(
        "; that update was not made: lower learning_rate, set clip_norm, or look at those rows; "
        "the last good model is r/model.safetensors\n"
    )
    from mbgd import load

    assert all(torch.isfinite(p).all() for p in load("r").model.parameters())
    found = newest(Path("r"))
    assert found is not None
    assert found.checkpoint.step == 1
    assert mbgd("resume", "r").code == 6  # the same step, from the checkpoint before it
    again = mbgd("train", "t.csv", "--target", "y", "--quiet", *DIVERGING, "--out", "r")
    assert again.code == 2


def test_the_one_row_that_diverges_is_named_by_its_file_and_row(mbgd: Command) -> None:
    """Its gradient, near 3e38, is finite in float32; the square of it, which Adam keeps, is not. Rows come in their order,
    one a step: 37 of a.csv have a target, and in b.csv the row stands behind 14 that have one."""
    for name, wide in (("a.csv", 1.0), ("b.csv", 3e38)):
        y = np.where(np.arange(40) == 17, wide, 1.0)
        y = np.where(np.arange(40) < 3, np.nan, y)
        pd.DataFrame({"x": np.linspace(-1, 1, 40), "y": y, "part": "train"}).to_csv(name, index=False)
    words = ("--split", "column:part", "--validation", "none", "--batch-size", "1", "--sampling", "natural", "--quiet")
    said = mbgd("train", "a.csv", "b.csv", "--target", "y", *words, "--loss", "poisson", "--out", "r")
    assert said.code == 6
    what = "loss or gradient must be finite, got a non-finite one in step 52 (epoch 1, b.csv: row 19)"
    assert said.err.startswith(f"mbgd: error: {what}; that update was not made")


def test_our_own_fault_is_exit_1_with_a_traceback_in_a_file(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import mbgd.cli.train

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a slip")

    monkeypatch.setattr(mbgd.cli.train, "table_fitting", broken)
    said = here(*TRAIN)
    assert said.code == 1
    start = "mbgd: error: an unexpected RuntimeError (a slip); this is a fault of mbgd, its traceback is in "
    assert said.err.startswith(start)
    assert said.err.count("\n") == 1
    written = Path(said.err.removeprefix(start).strip())
    assert written.read_text().rstrip().endswith("RuntimeError: a slip")
    written.unlink()


def test_changed_data_at_resume_is_exit_3(mbgd: Command, tables: Path) -> None:
    for name in ("t.csv", "v.csv"):
        shutil.copy(tables / "t.csv", name)
    words = ("--target", "y", "--validation", "v.csv", *QUICK)
    assert mbgd("train", "t.csv", *words, "--out", "r").code == 0
    Path("r/result.json").unlink()
    whole = Path("t.csv").read_text()
    other = whole.replace(",2,", ",3,", 1)
    Path("t.csv").write_text(other)
    end = "is not what it was when the run began: the bytes of {} changed; bring it back, or start a new run"
    refused(mbgd, ("resume", "r"), 3, f"the data {end.format('t.csv')}")
    Path("t.csv").write_text(whole)
    Path("v.csv").write_text(other)
    refused(mbgd, ("resume", "r"), 3, f"the validation file {end.format('v.csv')}")
    Path("v.csv").unlink()
    gone = mbgd("resume", "r")
    assert gone.code == 3
    assert gone.err == f"mbgd: error: {Path.cwd()}/v.csv: no such file or folder; did you mean 't.csv'?\n"
    Path("v.csv").write_text(whole)
    Path("moved").mkdir()
    Path("t.csv").rename("moved/t.csv")
    assert mbgd("resume", "r").code == 3
    assert mbgd("resume", "r", "--data", "moved/t.csv", "--quiet").code == 0


def test_a_checkpoint_of_another_architecture_is_exit_4(mbgd: Command, tables: Path) -> None:
    how = (*QUICK, "--checkpoint-every", "4")
    assert mbgd("train", tables / "t.csv", *NUMBER, *how, "--out", "a").code == 0
    assert mbgd("train", tables / "t.csv", *NUMBER, *how, "--hidden-layer-sizes", "4", "--out", "b").code == 0
    shutil.rmtree("a/checkpoints")
    shutil.copytree("b/checkpoints", "a/checkpoints")
    Path("a/result.json").unlink()
    said = mbgd("resume", "a")
    assert said.code == 4
    assert said.err.count("\n") == 1
    assert "(4, 12)" in said.err
    assert "(256, 12)" in said.err
