"""What the terminal shows: help, a bar or lines, scores beside baselines, JSON alone; facts of machine, run and model."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from command import LABEL, NUMBER, PROGRAM, QUICK, Command
from mbgd.desk.ended import read_result

FIRST = [
    "--target", "--split", "--hidden-layer-sizes", "--optimizer", "--learning-rate", "--batch-size", "--epochs", "--seed",
    "--checkpoint-every", "--out",
]  # fmt: skip


def panels(text: str) -> dict[str, list[str]]:
    """Heading of each box of a help page -> the options in it, in their order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if heading := re.match(r"╭─ (.*?) ─", line):
            found[heading[1]] = []
        elif option := re.match(r"│ \*?\s*(--[\w-]+)", line):
            found[list(found)[-1]].append(option[1])
    return found


def test_help_is_grouped_with_ten_options_first(mbgd: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    said = mbgd("train", "--help")
    found = panels(said.out)
    assert (said.code, said.err) == (0, "")
    assert found.pop("Options") == ["--help"]  # the parser's own
    groups = [name for name in found if found[name]]
    assert groups[0] == "Most used"
    assert sorted(found["Most used"]) == sorted(FIRST)
    assert set(groups[1:]) == {"Data", "How files are read", "Model", "Training", "Limits", "Machine", "Output"}
    flat = [option for options in found.values() for option in options]
    assert len(flat) == len(set(flat))
    assert "how the learning rate moves: constant, step, cosine, one_cycle (default: one_cycle)" in said.out
    assert re.search(r"--seed .* \(default: 0\)", said.out)
    assert {"--validation", "--test", "--refit", "--metric", "--plan", "--plain", "--weight", "--json"} <= set(flat)


def test_help_lists_the_commands_without_loading_torch() -> None:
    code = (
        "import sys; from mbgd.cli import run\n"
        "code = run(['--help']) or run(['train', '--help'])\n"
        "print({'torch', 'pyarrow', 'numpy'} & set(sys.modules), code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set() 0\n"
    for command in ("train", "resume", "predict", "evaluate", "explain", "info", "inspect"):
        assert re.search(rf"│ {command} ", done.stdout)


def test_version(mbgd: Command) -> None:
    import mbgd as package

    assert mbgd("--version").out == f"mbgd {package.__version__}\n"


def test_the_package_runs_as_the_command() -> None:
    for words in (["--version"], ["predict", "nowhere", "t.csv"]):
        called, meant = (
            subprocess.run([*program, *words], capture_output=True, text=True, check=False)
            for program in ([sys.executable, "-m", "mbgd"], PROGRAM)
        )
        assert (called.returncode, called.stdout, called.stderr) == (meant.returncode, meant.stdout, meant.stderr)


def shown_on_a_terminal(words: list[str], cwd: Path, **environment: str) -> tuple[int, str]:
    """Exit code and everything written to a terminal that the command has for all three of its streams."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=cwd, stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    os.close(follower)
    seen = b""
    try:
        while select.select([leader], [], [], 60)[0]:
            try:
                seen += os.read(leader, 65536)
            except OSError:  # the last of the terminal's users has gone
                break
        return process.wait(timeout=60), seen.decode()
    finally:
        process.kill()
        os.close(leader)


def test_a_terminal_has_a_bar_that_goes_away_and_a_log_has_lines(mbgd: Command, tables: Path) -> None:
    words = ["train", str(tables / "t.csv"), *NUMBER, "--epochs", "60", "--patience", "60"]
    code, seen = shown_on_a_terminal([*words, "--out", "a"], cwd=Path.cwd())
    assert code == 0
    assert re.search(r"epoch \d+\.\d/60", seen)
    assert "rows/s" in seen
    assert re.search(r"left.*\d:\d\d:\d\d", seen)
    assert "\x1b[" in seen
    assert "all planned epochs are done" in seen
    said = mbgd(*words, "--out", "c")
    first = said.err.splitlines()[0]
    assert re.fullmatch(
        r"epoch 1\.00/60  step 9  loss \d\.\d{4}  [\d,]+ rows/s  validation rmse \d\.\d{4}  validation r2 -?\d\.\d{4}"
        r"  \d+\.\d s", first,
    )  # fmt: skip
    looks = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert looks[-1].startswith("epoch 60.00/60  step 540  loss ")
    assert "\x1b" not in said.err + said.out


COMPILING = "compiling kernels for float32, once on this machine ..."


@pytest.mark.parametrize("cache", ["lacks a kernel", pytest.param("is empty", marks=pytest.mark.slow)])
def test_the_first_call_says_that_it_compiles_and_later_ones_do_not(
    mbgd: Command, tables: Path, tmp_path: Path, cache: str
) -> None:
    """In processes of their own, at first with a cache that lacks kernels: a line of a log, the text of a bar, nothing when
    quiet."""
    words = ["train", str(tables / "t.csv"), *NUMBER, "--epochs", "1", "--hidden-layer-sizes", "4"]
    environment = {"MBGD_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def logged(*more: str) -> list[str]:
        how = {"cwd": tmp_path, "env": {**os.environ, **environment}, "text": True}
        done = subprocess.run([*PROGRAM, *words, *more], capture_output=True, check=True, **how)
        return [line for line in done.stderr.splitlines() if "compiling" in line]

    def forget_one() -> None:
        found = list((tmp_path / "cache").rglob("*back_through_relu-*"))
        assert found
        for path in found:
            path.unlink()

    if cache == "lacks a kernel":
        shared = Path(json.loads(mbgd("warmup", "--dtype", "float32", "--json").out)["folder"])
        copied = tmp_path / "cache" / "kernels" / shared.name
        shutil.copytree(shared, copied, ignore=shutil.ignore_patterns(".tmp-*"))
        copied.parent.chmod(0o700)
        forget_one()
    assert logged("--out", "cold") == [f"note: {COMPILING}"]
    assert logged("--out", "warm") == []
    forget_one()
    code, seen = shown_on_a_terminal([*words, "--out", "bar"], tmp_path, **environment)
    assert (code, COMPILING in seen) == (0, True)
    code, seen = shown_on_a_terminal([*words, "--out", "warm bar"], tmp_path, **environment)
    assert (code, "compiling" in seen) == (0, False)
    forget_one()
    assert logged("--quiet", "--out", "quiet") == []


def test_scores_stand_in_their_sets_beside_two_baselines(mbgd: Command, tables: Path) -> None:
    said = mbgd("train", tables / "t.csv", *NUMBER, "--epochs", "3", "--quiet", "--out", "r")
    number = r" +-?\d+\.\d{4}"
    scores = rf"r2{number}  rmse{number}  mae{number}"
    lines = said.out.splitlines()
    assert re.fullmatch(r"all planned epochs are done: 27 steps of 32 rows, \d+\.\d s, fused", lines[0])
    for line, name, role in [
        (lines[1], "validation ", "used to stop"),
        (lines[2], "test       ", "never used"),
        (lines[3], "mean       ", "baseline on the same rows"),
        (lines[4], "linear     ", "baseline on the same rows"),
    ]:
        assert re.fullmatch(rf"  {name} {scores}   \({role}\)", line), line
    assert lines[5:] == ["saved r/model.safetensors"]
    assert said.err == ""
    said = mbgd("train", tables / "t.csv", *LABEL, "--epochs", "3", "--quiet", "--out", "s")
    calibrated = (
        r"^  calibrated  log_loss +0\.\d{4} -> 0\.\d{4}  by temperature \d+\.\d{3}   \(on the validation rows\)$"
    )
    assert re.search(calibrated, said.out, re.MULTILINE), said.out
    assert re.search(r"  majority    accuracy +0\.\d{4}  log_loss +0\.\d{4}  roc_auc +0\.5000 ", said.out)


def test_json_is_one_object_and_nothing_else(mbgd: Command, tables: Path) -> None:
    """Each number as result.json has it, and no notice or progress anywhere."""
    for words, names in ((NUMBER, {"r2", "rmse", "mae"}), (LABEL, {"accuracy", "log_loss", "roc_auc"})):
        said = mbgd("train", tables / "t.csv", *words, "--epochs", "3", "--json", "--out", "r", "--force")
        assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
        found = json.loads(said.out)
        assert names <= set(found)
        assert found["run"] == "r"
        assert {name: found["scores"]["test"][name] for name in names} == {name: found[name] for name in names}
        assert read_result(Path("r")) == {k: v for k, v in found.items() if k != "run"}
        assert len(found["baselines"]) == 2
    for words in (
        ("info",),
        ("info", "r"),
        ("info", "r/model.safetensors"),
        ("resume", "r"),
        ("evaluate", "r", tables / "t.csv"),
    ):
        said = mbgd(*words, "--json")
        assert (said.code, said.out.count("\n")) == (0, 1)
        assert isinstance(json.loads(said.out), dict)


def test_quiet_says_the_scores_and_no_more(mbgd: Command, tables: Path) -> None:
    """The key column and the constant one would each be worth a notice."""
    words = ("train", tables / "t.csv", "--target", "y", "--epochs", "1")
    assert mbgd(*words, "--quiet").err == ""
    notes = [line for line in mbgd(*words).err.splitlines() if not line.startswith("epoch ")]
    assert notes == [
        "note: the task for y is regression: a number with 394 different values",
        "note: column 'key' is left out: 288 different values in 288 rows look like a key; --categorical key keeps it",
        "note: column 'two' is left out: one value only",
        "note: when orders the rows: a random split may flatter; try --split time:when",
    ]


def test_inspect_shows_what_would_be_read(mbgd: Command, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    said = mbgd("inspect", tables / "t.csv", "--target", "y", "--drop", "label", "--drop", "part", "--drop", "group")
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["column", "type", "read", "as", "missing", "distinct", "why"]
    rows = {line[0]: line[1:5] for line in lines[1:-2]}
    assert rows["c"] == ["string", "category", "0", "3"]
    assert rows["x"][:2] == ["double", "number"]
    assert rows["when"][1] == "date"
    assert rows["two"][1:3] == ["left", "out"]
    assert said.out.splitlines()[-2] == "400 rows: 288 train, 32 validation, 80 test; regression of 'y'"
    # 288 rows train in batches of 64; 1,000 updates at least are 200 passes of 5
    assert re.fullmatch(
        r"model of [\d,]+ parameters over \d+ numbers and 4 categories; 1,000 steps of 64 rows; 0 MB encoded",
        said.out.splitlines()[-1],
    )


def test_info_knows_the_machine_a_run_and_a_model(mbgd: Command, runs: Path, tables: Path) -> None:
    machine = json.loads(mbgd("info", "--json").out)
    assert machine["torch"] == torch.__version__
    assert {"mbgd", "numpy", "python", "system", "cpus", "torch_threads", "torch_blas", "engine"} <= set(machine)
    run = json.loads(mbgd("info", runs / "number", "--json").out)
    assert run["data"] == str(tables / "t.csv")
    assert (run["plan"]["target"], run["plan"]["epochs"], run["steps"]) == ("y", 8.0, 72)
    model = json.loads(mbgd("info", runs / "label" / "model.safetensors", "--json").out)
    assert (model["target"], model["classes"]) == ("label", ["no", "yes"])
    assert model["inputs"] == {"x": "number", "z": "number", "c": "category"}
    # 6 inputs and 6 more of 64 bins, a scale for each, two layers of 256 units, one output
    assert model["parameters"] == 64 * 3 + 12 + 13 * 256 + 257 * 256 + 257
    plain = mbgd("info", runs / "number").out
    assert re.search(r"^command +fit_table$", plain, re.MULTILINE)


def test_a_run_of_few_passes_shows_each_look(mbgd: Command, tables: Path) -> None:
    said = mbgd("train", tables / "t.csv", *NUMBER, "--steps", "5")
    assert re.match(r"epoch 0\.56/0\.5556  step 5  loss ", said.err)
    assert mbgd("train", tables / "t.csv", *NUMBER, *QUICK).code == 0


def test_how_far_it_goes_is_shown_where_nobody_said_so(mbgd: Command, tables: Path) -> None:
    """The passes that "auto" comes to."""
    said = mbgd("train", tables / "t.csv", *NUMBER, "--hidden-layer-sizes", "4", "--out", "r")
    (planned,) = set(re.findall(r"^epoch [\d.]+/(\d+)  step ", said.err, re.MULTILINE))
    assert int(planned) == json.loads(Path("r/plan.json").read_text())["plan"]["epochs"]
