"""Names that no file can have, and such as take a megabyte: one sentence that can be read, at every door, and no fault of ours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command import Command

N = 60
QUICK = ("--epochs", "1", "--hidden-layer-sizes", "4", "--engine", "autograd", "--quiet")
LONGEST = 255  # bytes of a name
NAMES = {
    "too long": "a" * 300,
    "too long in bytes": "é" * 150,
    "a long path": "/".join(["b" * 200] * 25),
    "a megabyte": "c" * 1_000_000,
    "a megabyte of words": "c " * 500_000,
    "with a zero": "a\0b",
    "no Unicode": os.fsdecode(b"s\xff\xfe"),
    "half a letter": "\ud800x",
    "with a line end": "a\nb\x1b[31m",
}
DOORS = [
    ("train", "NAME", "--target", "y", *QUICK),
    ("train", "t.csv", "--target", "y", *QUICK, "--init", "NAME"),
    ("train", "t.csv", "--target", "y", *QUICK, "--plan", "NAME"),
    ("train", "t.csv", "--target", "y", *QUICK, "--test", "NAME"),
    ("train", "t.csv", "--target", "NAME", *QUICK),
    ("train", "t.csv", "--target", "y", "--weight", "NAME", *QUICK),
    ("train", "t.csv", "--target", "y", "--columns", "NAME", *QUICK),
    ("train", "t.csv", "--target", "y", "--device", "NAME", *QUICK),
    ("train", "t.csv", "--NAME", "y"),
    ("resume", "NAME"),
    ("verify", "NAME"),
    ("info", "NAME"),
    ("predict", "NAME", "t.csv"),
    ("predict", "r", "NAME"),
    ("predict", "r", "t.csv", "--keep", "NAME", "--out", "kept.csv"),
    ("evaluate", "r", "t.csv", "--weight", "NAME"),
    ("explain", "r", "t.csv", "--column", "NAME"),
    ("export", "NAME", "m.onnx"),
    ("NAME",),
]
OUTPUTS = [
    ("train", "t.csv", "--target", "y", *QUICK, "--out", "NAME"),
    ("train", "t.csv", "--target", "y", *QUICK, "--out", "NAME", "--force"),
    ("predict", "r", "t.csv", "--out", "NAME.csv"),
    ("explain", "r", "t.csv", "--rows", "1", "--repeats", "1", "--json", "--out", "NAME.parquet"),
    ("export", "r", "NAME.onnx"),
]


@pytest.fixture
def place(runs: Path, tmp_path: Path) -> Path:
    """A folder with t.csv and a run of it, r."""
    (tmp_path / "r").symlink_to(runs / "number")
    x = np.arange(N)
    pd.DataFrame({"x": x, "z": x % 7, "c": "red", "y": x / 2}).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


FEW = ("too long", "no Unicode")
KINDS = [kind if kind in FEW else pytest.param(kind, marks=pytest.mark.slow) for kind in NAMES]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_leads_nowhere_is_one_sentence(kind: str, mbgd: Command, place: Path) -> None:
    for door in DOORS:
        said = mbgd(*(word.replace("NAME", NAMES[kind]) for word in door))
        assert said.code in (2, 3, 4), (door, said.err[:300])
        assert said.err.startswith("mbgd: error: "), door
        assert said.err.count("\n") == 1, door
        assert said.err[:-1].isprintable(), door
        assert len(said.err) <= 2200, door
        assert said.out == "", door
    assert sorted(os.listdir()) == ["r", "t.csv"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_of_such_a_name_is_written_or_one_sentence(kind: str, mbgd: Command, place: Path) -> None:
    pytest.importorskip("onnx")
    possible = kind in ("no Unicode", "with a line end")
    for door in OUTPUTS:
        said = mbgd(*(word.replace("NAME", NAMES[kind]) for word in door))
        assert (said.code == 0) == possible, (door, said.err[:300])
        assert possible or said.code == 2, (door, said.err[:300])
        assert said.err.count("\n") <= 1, door
        assert len(said.err) <= 2200, door
    assert possible or sorted(os.listdir()) == ["r", "t.csv"]


@pytest.mark.parametrize("letter", ["é", pytest.param("n", marks=pytest.mark.slow)])
def test_the_longest_names_that_a_file_can_have_are_written(letter: str, mbgd: Command, place: Path) -> None:
    """A temporary name is longer, and so is that of a run whose name comes from the data's."""
    pytest.importorskip("onnx")
    longest = {
        ending: letter * ((LONGEST - len(ending)) // len(letter.encode())) + ending for ending in ("", ".csv", ".onnx")
    }
    Path("t.csv").rename(longest[".csv"])
    assert mbgd("train", longest[".csv"], "--target", "y", *QUICK).code == 0
    assert mbgd("train", longest[".csv"], "--target", "y", *QUICK).code == 0
    assert [name[-2:] for name in sorted(os.listdir("runs"))] == ["-1", "-2"]
    assert mbgd("train", longest[".csv"], "--target", "y", *QUICK, "--out", longest[""]).code == 0
    assert mbgd("resume", longest[""]).code == 0
    assert mbgd("predict", "r", longest[".csv"], "--out", longest[".csv"]).code == 2
    for force in ((), ("--force",)):
        assert mbgd("predict", "r", longest[".csv"], "--out", longest[".csv"][1:], *force).code == 0
        assert mbgd("export", "r", longest[".onnx"], *force).code == 0
    assert not list(place.glob(".tmp-*"))


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("m" * 1_000_000, "w " * 500)]


@pytest.mark.parametrize("name", ["a\nb\x1b[31m", *LONG])
def test_a_column_and_a_label_of_such_a_name_are_trained_on(name: str, mbgd: Command, place: Path) -> None:
    x = np.arange(N)
    frame = pd.DataFrame({name: x, "c": np.where(x % 3 == 0, name, "b"), "y": x / 2})
    frame.to_csv("t.csv", index=False)
    for target, folder in (("y", "number"), ("c", "label")):
        assert mbgd("train", "t.csv", "--target", target, *QUICK, "--out", folder).code == 0
        assert mbgd("verify", folder).code == 0
        assert mbgd("predict", folder, "t.csv", "--out", f"{folder}.csv").code == 0
        missing = mbgd("predict", folder, "r/README.md", "--delimiter", ",", "--out", "no.csv")
        assert missing.code == 3
        assert len(missing.err) <= 2200


def test_words_for_missing_that_would_end_the_process_are_refused(mbgd: Command, place: Path) -> None:
    for words in (["x" * 1_000_000], [f"{i:06d}" * 100 for i in range(400)]):
        given = (word for one in words for word in ("--na-values", one))
        said = mbgd("train", "t.csv", "--target", "y", *QUICK, *given)
        assert said.code == 2
        assert said.err.startswith("mbgd: error: na_values must have at most 30,000 characters in all, got ")
