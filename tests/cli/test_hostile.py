"""Tables, names and places as a hostile user would have them: one sentence, no raw byte on the terminal, nothing left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command import PROGRAM, Command, Said, ended, start

N = 60
TARGET = ("--target", "y", "--epochs", "1", "--hidden-layer-sizes", "8", "--quiet")
TRAIN = ("train", "t.csv", *TARGET, "--out", "r")
ESCAPE = "\x1b[31m"
ROWS = [f"{i},{i % 7},{i / 2}" for i in range(N)]


def text(*rows: str, header: str = "x,z,y", sep: str = "\n") -> bytes:
    return sep.join([header, *rows, ""]).encode()


def each(cell: str) -> list[str]:
    """ROWS with another first cell, in which i is the number of the row."""
    return [f"{cell.format(i=i)},{i % 7},{i / 2}" for i in range(N)]


def scores(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((folder / "result.json").read_text())["scores"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with t.csv, which is ROWS, and a run of it."""
    from mbgd.cli import run

    folder = tmp_path_factory.mktemp("trained")
    (folder / "t.csv").write_bytes(text(*ROWS))
    assert run(["train", str(folder / "t.csv"), *TARGET, "--out", str(folder / "r")]) == 0
    return folder


ACCEPTED: list[tuple[str, bytes, tuple[str, ...]]] = [
    ("byte order mark", b"\xef\xbb\xbf" + text(*ROWS), ()),
    ("CRLF", text(*ROWS, sep="\r\n"), ()),
    ("CR", text(*ROWS, sep="\r"), ()),
    ("no last line end", text(*ROWS)[:-1], ()),
    ("blank lines", text(*ROWS, sep="\n\n"), ()),
    ("quotes", text(*each('"{i}"')), ()),
    ("spaces around numbers", text(*each(" {i} ")), ()),
    ("semicolons", text(*(row.replace(",", ";") for row in ROWS), header="x;z;y"), ("--delimiter", ";")),
    ("tabs", text(*(row.replace(",", "\t") for row in ROWS), header="x\tz\ty"), ("--delimiter", "\\t")),
    ("empty last column", text(*(row + "," for row in ROWS), header="x,z,y,"), ()),
    ("a line for Excel", b"sep=;\n" + text(*(row.replace(",", ";") for row in ROWS), header="x;z;y"), ()),
    ("comments", b"# made\n" + text(*(f"{row}#{row}" for row in ROWS)), ("--comment", "#")),
    ("no header", text(*ROWS[1:], header=ROWS[0]), ("--no-header", "--columns", "x,z,y")),
    ("names in quotes, no header", text(*ROWS[1:], header=ROWS[0]), ("--no-header", "--columns", '"x,1",z', "--columns", "y")),
    ("an index of pandas", text(*(f"{i},{row}" for i, row in enumerate(ROWS)), header=",x,z,y"), ()),
    ("row names of R", text(*(f'"{i}",{row}' for i, row in enumerate(ROWS, 1)), header='"x","z","y"'), ()),
    ("constant column", text(*(row + ",7" for row in ROWS), header="x,z,y,c"), ()),
    ("unicode names", text(*ROWS, header="größe,日本,y"), ()),
    ("a name that steers a terminal", text(*ROWS, header=f'"{ESCAPE}x","[bold]z[/]\na",y'), ()),
]  # fmt: skip


@pytest.mark.parametrize(("data", "words"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_the_same_table_written_in_another_way_is_the_same_table(
    mbgd: Command, trained: Path, data: bytes, words: tuple[str, ...]
) -> None:
    """To the last bit of its scores: column names take no part in them."""
    Path("t.csv").write_bytes(data)
    said = mbgd(*TRAIN, *words)
    assert (said.code, said.err) == (0, "")
    assert scores(Path("r")) == scores(trained / "r")


NOT_WRITTEN_SO = (
    "is not a number written like -1234.5, without separators, currency, percent signs or brackets; "
    "correct the cell, or read the column as text: --categorical x"
)
REFUSED: list[tuple[str, bytes, tuple[str, ...], str]] = [
    ("decimal commas", text(*(f"{i},5;{i};{i}" for i in range(N)), header="x;z;y"), ("--delimiter", ";"),
     f"row 2, column 'x': '0,5' {NOT_WRITTEN_SO}"),
    ("thousands", text(*each('"1,{i:03d}.5"')), (), f"row 2, column 'x': '1,000.5' {NOT_WRITTEN_SO}"),
    ("thousands by points", text(*each('"1.{i:03d},5"')), (), f"row 2, column 'x': '1.000,5' {NOT_WRITTEN_SO}"),
    ("one among numbers", text(*ROWS, '"1,234",1,1'), (), f"row 62, column 'x': '1,234' {NOT_WRITTEN_SO}"),
    ("a day that never was", text(*each("2024-02-{i:02d}")), (),
     "row 2, column 'x': '2024-02-00' is not a date such as 2013-01-31 or 2013-01-31 17:05:00; correct the cell, or read the "
     "column as text: --categorical x"),
    ("an escape in a cell", text(*ROWS, f"{ESCAPE}red,1,2"), (),
     r"row 62, column 'x': '\x1b[31mred' is not a number; correct the cell, or read the column as text: --categorical x"),
    ("a comment as header", b"# made\n" + text(*ROWS), (),
     "row 1 begins with '#' and is unlike the rows below it; is it a comment? --comment '#'"),
    ("values twice in the first row", text(*ROWS[1:], header=ROWS[0]), (),
     "row 1: '0' stands twice in the header, which reads like a row of values; if the file has no header: "
     "--no-header"),
    ("names for fewer cells", text(*ROWS), ("--no-header", "--columns", "x,y"),
     "row 1: 3 cells, columns name 2 (x, y); name each cell"),
    ("two columns without a name", text(*(f"{row},," for row in ROWS), header="x,z,y,,"), (),
     "row 1: the column '' stands twice in the header; rename one of them, or, if the file has no header: --no-header"),
    ("one number as target", text(*(f"{i},{i},1.5" for i in range(N))), (),
     "column 'y': every target is 1.5, there is nothing to learn; name another column"),
    ("one label as target", text(*(f"{i},{i},a" for i in range(N))), (),
     "column 'y': classification needs at least two classes, got 'a' alone; add rows of another class, "
     "or name another target"),
    ("a key as target", text(*(f"{i},{i},id{i}" for i in range(N))), (),
     "column 'y': each of its 60 labels stands once, as in a key; name another target"),
    ("a target whose square is none", text(*(f"{i},{i},{(-1) ** i}.7e308" for i in range(N))), (),
     "row 2, column 'y': 1.7e+308 is too large for a target; give it in larger units"),
    ("a name that steers a terminal", text(*ROWS, header=f"{ESCAPE}x,z,w"), (),
     r"there is no column 'y'; it has '\x1b[31mx', z, w"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_be_meant_is_refused(mbgd: Command, data: bytes, words: tuple[str, ...], message: str) -> None:
    Path("t.csv").write_bytes(data)
    said = mbgd(*TRAIN, *words)
    between = ", " if message.startswith("column") else ": "
    assert said == Said(3, "", f"mbgd: error: t.csv{between}{message}\n")
    assert os.listdir() == ["t.csv"]


def test_text_that_was_meant_as_text_stays_text(mbgd: Command) -> None:
    """Numbers with commas and dates that are none are labels where that is asked for."""
    Path("t.csv").write_bytes(text(*each('"{i},5"')))
    assert mbgd(*TRAIN, "--categorical", "x").code == 0


WORDS: list[tuple[tuple[str, ...], int, str]] = [
    (("train", "t.csv", "t.csv", *TARGET), 3,
     "t.csv: the file is named twice in data, and its rows may be in one set alone; name it once"),
    (("train", "t.csv", *TARGET, "--test", "t.csv"), 3,
     "HERE/t.csv: the file is named as data and as test, and its rows may be in one set alone; name it once"),
    (("train", "t.csv", *TARGET, "--weight", "y"), 2,
     "weight must be another column than the target, got 'y' for both; leave weight out"),
    (("train", "", *TARGET), 3, "data must name a file, got ''; give a file, a folder or a glob, '.' is this folder"),
    (("train", "pipe.csv", *TARGET), 3,
     "pipe.csv: a pipe or device can be read only once; write what it gives to a file first"),
    (("train", "/dev/null", *TARGET, "--delimiter", ","), 3,
     "/dev/null: a pipe or device can be read only once; write what it gives to a file first"),
    (("train", "folder.csv", *TARGET), 3,
     "folder.csv: the folder holds no table; a table ends in .csv, .csv.gz, .tsv, .parquet, .arrow or .feather"),
    (("train", "t.csv\0", *TARGET), 3, r"t.csv\x00: no such file or folder; did you mean 't.csv'?"),
    (("train", f"{ESCAPE}.csv", *TARGET), 3, r"\x1b[31m.csv: the glob matches no file; quote it and try it with `ls`"),
    (("train", "t.csv", *TARGET, "--delimiter", "é"), 2,
     "delimiter must be one character, got 'é'; give ';' or a tab as '\\t'"),
    (("train", "t.csv", *TARGET, "--delimiter", '"'), 2,
     "delimiter must be one character, got '\"'; give ';' or a tab as '\\t'"),
    (("train", "t.csv", *TARGET, "--threads", "100000"), 2, "threads must be at most 1,024, got 100,000; leave it out for 'auto'"),
    (("train", "t.csv", *TARGET, "--hidden-layer-sizes", "9" * 20), 2,
     "hidden_layer_sizes must be at most 100,000,000, got 99,999,999,999,999,999,999; give a smaller one"),
    (("predict", "pipe.csv", "t.csv"), 4, "pipe.csv must be a file, got a pipe or device; copy what it gives to a file first"),
    (("info", "/dev/zero"), 4, "/dev/zero must be a file, got a pipe or device; copy what it gives to a file first"),
    (("train", "t.csv", "--plan", "/dev/zero"), 4,
     "/dev/zero must be a file, got a pipe or device; copy what it gives to a file first"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message"), WORDS, ids=[str(k) for k in range(len(WORDS))])
def test_odd_words_and_places(mbgd: Command, words: tuple[str, ...], code: int, message: str) -> None:
    Path("t.csv").write_bytes(text(*ROWS))
    Path("folder.csv").mkdir()
    os.mkfifo("pipe.csv")
    said = mbgd(*words)
    assert said == Said(code, "", f"mbgd: error: {message.replace('HERE', str(Path.cwd()))}\n")
    assert sorted(os.listdir()) == ["folder.csv", "pipe.csv", "t.csv"]


def test_a_model_that_no_memory_holds_is_refused_before_it_is_made(mbgd: Command) -> None:
    Path("t.csv").write_bytes(text(*ROWS))
    said = mbgd(*TRAIN, "--hidden-layer-sizes", "1000000,1000000")
    assert said.code == 2
    assert said.err.startswith("mbgd: error: model must fit in memory, got 1,000,0")
    assert os.listdir() == ["t.csv"]


@pytest.mark.parametrize("more", [(), ("--engine", "autograd"), ("--batch-size", "1"), ("--members", "2")])
def test_members_that_no_memory_holds_are_refused_before_there_is_a_folder(
    mbgd: Command, more: tuple[str, ...]
) -> None:
    """A row's inputs and 512 units of each of 10^8 members alone are 200 GB and more; with 64 rows 13 TB."""
    Path("t.csv").write_bytes(text(*ROWS))
    said = mbgd(*TRAIN, "--shared-members", "99999999", *more, "--out", "r")
    assert said.code == 2
    assert said.err.startswith("mbgd: error: shared_members must fit in memory, got 99,999,999 that take ")
    assert said.err.count("\n") == 1
    assert os.listdir() == ["t.csv"]
    assert mbgd(*TRAIN, "--shared-members", "2", "--epochs", "1", *more, "--quiet", "--out", "r").code == 0


def test_no_name_steers_the_terminal_anywhere(mbgd: Command) -> None:
    """Columns, labels and files are spelt out in tables, notes and scores; markup is what it is: text."""
    names = [f"{ESCAPE}x", "[red]z[/red]", "a\nb\u202e", f"{ESCAPE}y"]
    x = np.arange(N)
    frame = pd.DataFrame({names[0]: x, names[1]: x % 7, names[2]: 1, names[3]: x / 2})
    frame["l"] = np.where(x % 3 == 0, f"{ESCAPE}yes", "[bold]no")
    data = f"{ESCAPE}t.csv"
    frame.to_csv(data, index=False)
    several = ("--target", f"{names[3]},{names[0]}", "--epochs", "1")
    calls = [
        ("inspect", data, "--target", names[3]),
        ("train", data, *several, "--out", f"{ESCAPE}r"),
        ("train", data, "--target", "l", "--epochs", "1", "--out", "l"),
        ("evaluate", f"{ESCAPE}r", data),
        ("explain", "l", data, "--rows", "3", "--repeats", "1"),
        ("info", "l"),
        ("info", "l/model.safetensors"),
    ]
    for words in calls:
        said = mbgd(*words)
        assert said.code == 0, said.err
        shown = said.out + said.err
        assert all(c.isprintable() for c in shown.replace("\n", "")), words
        assert words[1] == data or words[0] == "info" or r"\x1b[31m" in shown, words
    assert "[bold]no" in mbgd("info", "l/model.safetensors").out
    assert "[red]z[/red]" in mbgd("inspect", data, "--target", names[3]).out


def test_a_file_name_that_is_no_text_is_a_name(mbgd: Command) -> None:
    """It stands in plan.json and the card in JSON's own spelling, and is found again by it."""
    name = os.fsdecode(b"t\xff.csv")
    Path(name).write_bytes(text(*ROWS))
    assert mbgd("train", name, *TARGET, "--out", "r").code == 0
    whole = Path("r/model.safetensors").read_bytes()
    Path("r/result.json").unlink()
    assert mbgd("resume", "r", "--quiet").code == 0
    assert Path("r/model.safetensors").read_bytes() == whole
    assert mbgd("info", "r").out.isprintable() or r"\udcff" in mbgd("info", "r").out


FULL = "mbgd: error: the system refused the output: No space left on device; check the room and the permissions there\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "words",
    [
        ("predict", "r", "t.csv"),
        pytest.param(("inspect", "t.csv", "--target", "y"), marks=pytest.mark.slow),
        ("--help",),
    ],
)
def test_an_output_without_room_is_exit_5(trained: Path, words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, *words], cwd=trained, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (5, FULL)


@pytest.mark.parametrize("gone", ["pipe", *(pytest.param(how, marks=pytest.mark.slow) for how in ("full", "closed"))])
def test_training_goes_on_though_nobody_hears_of_it(trained: Path, gone: str) -> None:
    """Lines on stderr tell of a training and are not what it is for."""
    words = ("train", "t.csv", *TARGET[:-1], "--out", f"heard by {gone}")
    if gone == "pipe":
        process = start(*words, cwd=trained)
        assert process.stderr is not None
        process.stderr.close()
        process.stderr = None
        said = ended(process)
        code, out = said.code, said.out
    else:
        shell = " ".join(("exec", '"$@"', "2>&-" if gone == "closed" else "2>/dev/full"))
        done = subprocess.run(
            ["sh", "-c", shell, "sh", *PROGRAM, *words], cwd=trained, stdout=subprocess.PIPE, text=True, check=False
        )
        code, out = done.returncode, done.stdout
    assert code == 0
    assert out.endswith(f"saved heard by {gone}/model.safetensors\n")
    assert (trained / f"heard by {gone}" / "result.json").exists()


@pytest.mark.slow
def test_a_terminal_without_the_letters_gets_their_numbers(trained: Path) -> None:
    words = ("explain", "r", "t.csv", "--rows", "1", "--repeats", "1")
    done = subprocess.run([*PROGRAM, *words], cwd=trained, capture_output=True, check=False,
                          env={**os.environ, "PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert done.returncode == 0
    assert b"\\u2581" in done.stdout
