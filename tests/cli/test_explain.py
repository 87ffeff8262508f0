"""`mbgd explain`: what the terminal shows, JSON alone, whole files of contributions or none, each mistake one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import mbgd as package
from command import QUICK, Command, lean, table


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def masked(text: str) -> str:
    """Numbers as #, bars as |, spaces as one: what does not depend on the last digit of a weight."""
    text = re.sub(r"-?\d+\.\d+(e-?\d+)?|-?\b\d+(?= from)", "#", text)
    text = re.sub(r"(?<== )-?\d+\b(?!\.)|(?<=[+-] )\d+\b(?!\.)", "#", text)
    text = re.sub("[▁▂▃▄▅▆▇█]+", "|", text)
    return "\n".join(re.sub(" +", " ", line).strip() for line in text.splitlines())


def test_the_screen_shows_what_columns_are_worth_and_do(mbgd: Command, runs: Path, tables: Path) -> None:
    said = mbgd("explain", runs / "number", tables / "new.csv", "--rows", "5")
    assert (said.code, said.err) == (0, "")
    shown = re.sub(r"[+-] #", "+ #", masked(said.out)).splitlines()
    worth, does, rows = "\n".join(shown).split("\n\n")
    lines = worth.splitlines()
    assert lines[:2] == ["30 rows r2 # rmse # mae #", "column r2 falls by 95 % interval"]
    assert sorted(lines[2:]) == ["c # # to #", "x # # to #", "z # # to #"]
    lines = does.splitlines()
    assert lines[:2] == ["mean y of 30 rows, if all had that value", "column values least greatest"]
    assert sorted(re.sub("red #|blue #|green #", "L", line) for line in lines[2:]) == [
        "c L, L, L # #", "x # | #; missing # # #", "z # | # # #",
    ]  # fmt: skip
    lines = rows.splitlines()
    assert lines[0] == "y = mean of 30 background rows + what the columns add, the first 3 of 5 rows"
    assert [re.sub(r" [xzc]\b", " C", line) for line in lines[1:]] == [
        f"row {row}: # = # + # C + # C + # C" for row in (2, 3, 4)
    ]


def test_classes_are_shown_by_log_loss_and_probability(mbgd: Command, runs: Path, tables: Path) -> None:
    out = mbgd("explain", runs / "label", tables / "new.csv").out
    assert re.match(r"30 rows  accuracy 0\.\d{4}  log_loss 0\.\d{4}  roc_auc [01]\.\d{4}\n", out)
    assert re.search(r"^column +log_loss rises by +95 % interval$", out, re.MULTILINE)
    assert "mean probability of label 'yes' of 30 rows, if all had that value" in out
    assert "probability of label 'yes' = mean of 30 background rows + what the columns add" in out
    assert mbgd("train", tables / "t.csv", *lean("c", "y"), *QUICK, "--out", "r").code == 0
    out = mbgd("explain", "r", tables / "new.csv").out
    assert "mean probability of each c of 30 rows" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("y ") and "█" in line] == [
        "blue", "green", "red",
    ]  # fmt: skip
    assert re.search(r"^row 2: (blue|green|red) 0\.\d+ = 0\.\d+ [+-] ", out, re.MULTILINE)


def test_json_is_what_python_finds(mbgd: Command, runs: Path, tables: Path) -> None:
    words = ("--rows", "2", "--repeats", "3", "--seed", "4", "--column", "x", "--column", "c")
    said = mbgd("explain", runs / "number", tables / "new.csv", *words, "--json")
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    how = {"rows": 2, "repeats": 3, "seed": 4, "columns": ["x", "c"]}
    assert json.loads(said.out) == package.explain(runs / "number", tables / "new.csv", **how).to_json()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_holds_a_row_a_row(mbgd: Command, runs: Path, tables: Path, suffix: str) -> None:
    out = f"c.{suffix}"
    said = mbgd("explain", runs / "number", tables / "new.csv", "--rows", "99", "--out", out)
    assert said.out.endswith(f"\nsaved {out}\n")
    found = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert list(found) == ["prediction", "base", "x", "z", "c"]
    total = found["base"] + found[["x", "z", "c"]].sum(axis=1)
    assert total.to_numpy() == pytest.approx(found["prediction"].to_numpy(), abs=1e-9)
    predicted = package.load(runs / "number").predict(tables / "new.csv")
    assert found["prediction"].to_numpy() == pytest.approx(predicted, rel=1e-5, abs=1e-5)
    assert [path.name for path in Path.cwd().iterdir()] == [out]


def test_each_mistake_is_one_line_and_nothing_is_written(mbgd: Command, runs: Path, tables: Path) -> None:
    run, new = runs / "number", tables / "new.csv"
    Path("old.csv").write_text("mine\n")
    table(5).drop(columns="x").to_csv("lacks.csv", index=False)
    table(5)[:1].to_csv("one.csv", index=False)
    Path("none.csv").write_text("x,z,c\n")
    before = sorted(path.name for path in Path.cwd().iterdir())
    for words, code, message in [
        ((new, "--column", "xx"), 2, "column must be an input of the model, got 'xx'; did you mean 'x'?"),
        ((new, "--column", "label"), 2, "column must be an input of the model, got 'label'; it has x, z, c"),
        ((new, "--rows", "-1"), 2, "rows must be a whole number of at least 0, got -1; 10 is usual"),
        ((new, "--repeats", "0"), 2, "repeats must be a whole number of at least 1, got 0; 5 is usual"),
        ((new, "--rows", "many"), 2, "rows must be a whole number of at least 0, got 'many'; 10 is usual"),
        ((new, "--columns", "x"), 2, "--columns is not an option of mbgd explain; did you mean '--column'?"),
        ((new, "--out", "old.csv"), 2, "out must be a new file, got old.csv, which exists; --force replaces it"),
        ((new, "--out", "c.txt"), 2,
         "out must end in .csv, .tsv, .parquet, .arrow, .feather, got 'c.txt'; the ending chooses the format"),
        (("lacks.csv",), 3, "lacks.csv: column 'x' is missing, the model was trained with it; add it (it may be empty)"),
        (("one.csv",), 3,
         "one.csv: explain must have at least 2 rows to compare, got 1; add rows, whatever their target"),
        (("none.csv",), 3, "none.csv: there are no rows; a table needs at least one"),
        (("nowhere.csv",), 3, "nowhere.csv: no such file or folder; did you mean 'none.csv'?"),
        ((new, "--out", "nowhere/c.csv"), 5,
         "the folder of nowhere/c.csv must exist to write it, it does not; make nowhere"),
    ]:  # fmt: skip
        said = mbgd("explain", run, *words, *(() if "--out" in words else ("--out", "c.csv")))
        assert (said.code, said.out, said.err) == (code, "", f"mbgd: error: {message}\n")
        assert sorted(path.name for path in Path.cwd().iterdir()) == before
    assert Path("old.csv").read_text() == "mine\n"
    said = mbgd("explain", "nowhere", new)
    assert (said.code, said.err) == (4, "mbgd: error: model file must exist, got nowhere; check the path\n")
    assert mbgd("explain", run, new, "--out", "old.csv", "--force").code == 0
    assert Path("old.csv").read_text().count("\n") == 11


def test_notes_go_to_the_other_stream(mbgd: Command, runs: Path, tables: Path) -> None:
    said = mbgd("explain", runs / "number", tables / "t.csv", "--rows", "0")
    assert said.err == (
        "note: most of these rows trained the model: columns may be worth less on rows that it has not seen\n"
    )
    assert "background" not in said.out
    table(20).drop(columns="y").to_csv("bare.csv", index=False)
    said = mbgd("explain", runs / "number", "bare.csv")
    assert said.err == "note: the data has no y: importance is how far predictions move, not what scores lose\n"
    assert said.out.startswith("20 rows  against the predictions as they are\n")
