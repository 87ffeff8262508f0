"""An output is none of its inputs, by whatever name; it keeps the mode of what it replaces, and a link leads to it as before."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from command import NUMBER, PROGRAM, Command, Said
from mbgd.desk.output import check_stdout
from mbgd.errors import PlanError
from mbgd.store import FolderLock

SHORT = ("--epochs", "1", "--engine", "autograd", "--quiet")


@pytest.fixture
def place(tables: Path, runs: Path, tmp_path: Path) -> Path:
    """A folder with r, a run, and the tables of the others."""
    shutil.copytree(runs / "number", tmp_path / "r")
    for name in ("t.csv", "t.parquet", "new.csv"):
        shutil.copy(tables / name, tmp_path)
    return tmp_path


def apart(out: str, path: str) -> Said:
    return Said(
        2,
        "",
        f"mbgd: error: out must be another file than those that are read, got {out} and {path}; choose another name\n",
    )


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


WAYS = {"itself": "new.csv", "another spelling": "sub/../new.csv", "a link": "link.csv", "a hard link": "hard.csv"}


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("way", WAYS)
def test_predictions_never_replace_the_rows(way: str, force: tuple[str, ...], mbgd: Command, place: Path) -> None:
    Path("sub").mkdir()
    Path("link.csv").symlink_to("new.csv")
    Path("hard.csv").hardlink_to("new.csv")
    before = Path("new.csv").read_bytes()
    assert mbgd("predict", "r", "new.csv", "--out", WAYS[way], *force) == apart(WAYS[way], "new.csv")
    assert Path("new.csv").read_bytes() == before


@pytest.mark.parametrize("data", [".", "*.csv", "sub"])
def test_nor_one_file_of_a_folder_or_glob(data: str, mbgd: Command, place: Path) -> None:
    Path("sub").mkdir()
    Path("t.parquet").unlink()
    Path("r").rename("sub/.r")
    shutil.copy("new.csv", "sub/new.csv")
    out = "sub/new.csv" if data == "sub" else "new.csv"
    before = Path(out).read_bytes()
    said = mbgd("predict", "sub/.r", data, "--out", out, "--force")
    assert said == apart(out, out)
    assert Path(out).read_bytes() == before


def test_nor_the_model(mbgd: Command, place: Path) -> None:
    """A model file has any name; of a run no file is replaced that the run has."""
    pytest.importorskip("onnx")
    shutil.copy("r/model.safetensors", "m.csv")
    shutil.copy("r/model.safetensors", "m.onnx")
    Path("r/out_of_fold.parquet").write_bytes(b"x")
    calls = [
        ("m.csv", "m.csv", ("predict", "m.csv", "new.csv", "--out", "m.csv")),
        ("m.csv", "m.csv", ("explain", "m.csv", "t.csv", "--out", "m.csv")),
        ("m.onnx", "m.onnx", ("export", "m.onnx", "m.onnx")),
        ("t.csv", "t.csv", ("explain", "r", "t.csv", "--out", "t.csv")),
        (
            "r/out_of_fold.parquet",
            "r/out_of_fold.parquet",
            ("predict", "r", "new.csv", "--out", "r/out_of_fold.parquet"),
        ),
    ]
    for out, path, words in calls:
        before = Path(out).read_bytes()
        assert mbgd(*words, "--force") == apart(out, path)
        assert Path(out).read_bytes() == before


def test_stdout_is_none_of_the_inputs(tmp_path: Path) -> None:
    rows, other = tmp_path / "rows", tmp_path / "other"
    for path in (rows, other):
        path.touch()
    with rows.open("ab") as out:
        check_stdout(out.fileno(), inputs=[other])
        with pytest.raises(PlanError, match="out must be another file than those that are read, got stdout and"):
            check_stdout(out.fileno(), inputs=[other, rows])


@pytest.mark.slow
def test_nor_are_rows_appended_to_themselves(place: Path) -> None:
    before = (place / "new.csv").read_bytes()
    with (place / "new.csv").open("ab") as out:
        done = subprocess.run(
            [*PROGRAM, "predict", "r", "new.csv"], cwd=place, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    assert Said(done.returncode, "", done.stderr) == apart("stdout", "new.csv")
    assert (place / "new.csv").read_bytes() == before


def test_a_run_is_not_replaced_by_one_that_is_made_from_it(mbgd: Command, place: Path) -> None:
    """From its rows, its weights, its plan; by a link to them as well."""
    shutil.copy("t.parquet", "r/out_of_fold.parquet")
    Path("link.parquet").symlink_to("r/out_of_fold.parquet")
    Path("other").symlink_to("r")
    before = sorted(os.listdir("r"))
    calls = [
        ("r/out_of_fold.parquet", (("r/out_of_fold.parquet",))),
        ("link.parquet", ("link.parquet",)),
        (str(place / "r/out_of_fold.parquet"), ("t.csv", "--test", "r/out_of_fold.parquet")),
        ("r/model.safetensors", ("t.csv", "--init", "r/model.safetensors")),
        ("r", ("t.csv", "--init", "r")),
        ("r/plan.json", ("t.csv", "--plan", "r/plan.json")),
    ]
    for held, words in calls:
        for out in ("r", "other"):
            said = mbgd("train", *words, *NUMBER, *SHORT, "--out", out, "--force")
            sentence = f"out must be another folder than those that are read, got {out}, which holds {held}"
            assert said == Said(2, "", f"mbgd: error: {sentence}; choose another name\n")
            assert sorted(os.listdir("r")) == before


def test_a_new_file_has_the_mode_of_the_umask_and_a_replaced_one_its_own(mbgd: Command, place: Path) -> None:
    pytest.importorskip("onnx")
    calls = [
        ("p.csv", ("predict", "r", "new.csv", "--out", "p.csv")),
        ("p.parquet", ("predict", "r", "new.csv", "--out", "p.parquet")),
        ("p.arrow", ("explain", "r", "t.csv", "--rows", "1", "--repeats", "1", "--out", "p.arrow")),
        ("m.onnx", ("export", "r", "m.onnx")),
    ]
    before = os.umask(0o027)
    try:
        for out, words in calls:
            assert mbgd(*words).code == 0
            assert mode(out) == 0o640
            for given in (0o600, 0o444):
                Path(out).chmod(given)
                assert mbgd(*words, "--force").code == 0
                assert mode(out) == given
        assert mbgd("train", "t.csv", *NUMBER, *SHORT, "--out", "new").code == 0
        assert {mode(str(path)) for path in Path("new").rglob("*") if path.is_file()} == {0o640}
    finally:
        os.umask(before)


def test_nobody_may_read_what_is_being_written_who_may_not_read_the_old_file(tmp_path: Path) -> None:
    from mbgd.store import writing

    (tmp_path / "a").write_text("secret")
    (tmp_path / "a").chmod(0o600)
    with writing(tmp_path / "a") as place:
        assert mode(str(place)) == 0o600
        place.write_text("new")


def test_an_output_that_is_a_link_is_written_through_it(mbgd: Command, place: Path) -> None:
    """As with a shell's `>`: also to a file that is not there yet."""
    Path("disk").mkdir()
    for there in (False, True):
        Path("link.csv").unlink(missing_ok=True)
        Path("link.csv").symlink_to("disk/p.csv")
        words = ("predict", "r", "new.csv", "--out", "link.csv", *(("--force",) if there else ()))
        assert mbgd(*words).code == 0
        assert Path("link.csv").readlink() == Path("disk/p.csv")
        assert Path("disk/p.csv").read_text().startswith('"prediction"\n')
    assert mbgd("predict", "r", "new.csv", "--out", "link.csv").code == 2
    assert os.listdir("disk") == ["p.csv"]


KINDS = {"pipe": "a pipe or device", "folder": "a folder", "circle": "a link that leads nowhere"}


@pytest.mark.parametrize(("kind", "said"), KINDS.items())
def test_what_is_no_file_is_not_replaced(kind: str, said: str, mbgd: Command, place: Path) -> None:
    if kind == "pipe":
        os.mkfifo("out.csv")
    elif kind == "folder":
        Path("out.csv").mkdir()
    else:
        Path("out.csv").symlink_to("out.csv")
    for force in ((), ("--force",)):
        found = mbgd("predict", "r", "new.csv", "--out", "out.csv", *force)
        assert found == Said(
            2, "", f"mbgd: error: out must be a file, got out.csv, which is {said}; choose another name\n"
        )
    assert sorted(os.listdir()) == ["new.csv", "out.csv", "r", "t.csv", "t.parquet"]


def test_what_a_killed_command_left_beside_an_output_is_swept(mbgd: Command, place: Path) -> None:
    dying = (
        "import os, pathlib, sys; from mbgd.store import writing\n"
        "with writing(pathlib.Path('p.csv')) as half: os.kill(os.getpid(), 9)"
    )
    subprocess.run([PROGRAM[0], "-c", dying], cwd=place, check=False)
    assert len(list(place.glob(".tmp-*"))) == 1
    assert mbgd("predict", "r", "new.csv", "--out", "other.csv").code == 0
    assert not list(place.glob(".tmp-*"))


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("how", ["ended", "at work"])
def test_a_name_that_another_training_took_first_stays_its_own(
    how: str, force: tuple[str, ...], mbgd: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the choice of a free name and its use."""
    from mbgd.cli import train

    names = iter([Path("r"), Path("runs/t-1")])
    monkeypatch.setattr(train, "free_name", lambda *_: next(names))
    before = {path: path.read_bytes() for path in Path("r").iterdir() if path.is_file() and path.name != ".lock"}
    with FolderLock(Path("r")) if how == "at work" else nullcontext():
        assert mbgd("train", "t.csv", *NUMBER, *SHORT, *force).code == 0
    assert {path: path.read_bytes() for path in before} == before
    assert Path("runs/t-1/result.json").exists()
