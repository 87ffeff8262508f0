"""Labels and names of columns and files that would steer a terminal or hide themselves reach no terminal, card or page raw."""

from __future__ import annotations

import html
import io
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.csv as pc
import pytest
from markdown_it import MarkdownIt

import mbgd
from command import PROGRAM
from mbgd.cli import run as command
from mbgd.cli.spreadsheet import quoted
from mbgd.desk.markdown import escaped
from mbgd.desk.run_html import run_html
from mbgd.errors import DataError, StorageError, plain

ODD = "\x1b[31m\x07\x7f\x9b2J\u200b\u200d\u202e\u2066\u2069\u2028\u2029\ufeff\u00ad\ue000"
MARKUP = "[x](http://e.x) ![i](http://e.x/i.png) <img src=x onerror=alert(1)> `a` | b"
LABELS = (f"red{ODD}", f"green{MARKUP}", "=1+1")
CONTROLS = [*map(chr, (*range(0x20), *range(0x7F, 0xA0)))]
N = 90


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 2))
    label = np.array(LABELS)[np.arange(N) % 3]
    return pd.DataFrame({f"a{ODD}": x[:, 0], f"b{MARKUP}": x[:, 1], f"c{ODD}": label, f"y{ODD}{MARKUP}": label})


TARGET = frame().columns[-1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("t") / f"t\x1b]0;\u202e{chr(0x9B)}.csv"
    frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    out = data.parent / "run"
    words = ["--epochs", "1", "--hidden-layer-sizes", "4", "--quiet"]
    assert command(["train", str(data), "--target", TARGET, *words, "--out", str(out)]) == 0
    return out


def unprintable(text: str) -> set[str]:
    """Control, format, surrogate and private characters and separators but the blank and the end of a line."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and c != "\n"}


def commands(data: Path, run: Path) -> dict[str, list[str]]:
    return {
        "inspect": ["inspect", str(data), "--target", TARGET],
        "train": ["train", str(data), "--target", TARGET, "--epochs", "1", "--hidden-layer-sizes", "4"],
        "members": ["train", str(data), "--target", TARGET, "--epochs", "1", "--members", "2"],
        "dry run": ["train", str(data), "--target", TARGET, "--dry-run", "--json"],
        "evaluate": ["evaluate", str(run), str(data)],
        "explain": ["explain", str(run), str(data), "--rows", "3", "--repeats", "1"],
        "explain as JSON": ["explain", str(run), str(data), "--rows", "3", "--repeats", "1", "--json"],
        "info": ["info", str(run / "model.safetensors")],
        "info of a run": ["info", str(run)],
        "verify": ["verify", str(run)],
        "no such column": ["inspect", str(data), "--target", f"yy{ODD}"],
        "no such file": ["inspect", f"{data}{ODD}", "--target", "y"],
        "a cell that is none": ["inspect", str(data), "--target", f"a{ODD}", "--numeric", f"c{ODD}"],
        "no such option": ["inspect", str(data), f"--{ODD}"],
        "a wrong value": ["inspect", str(data), "--target", TARGET, "--sampling", ODD],
    }


@pytest.mark.parametrize("what", commands(Path(), Path()))
def test_no_command_says_them_raw(
    what: str, data: Path, run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = commands(data, run)[what]
    code = command([*words, *(["--out", str(tmp_path / "r")] if words[0] == "train" and what != "dry run" else [])])
    said = capfd.readouterr()
    assert (code == 0) == (not what.startswith(("no such", "a ")))
    assert said.out + said.err
    assert unprintable(said.out + said.err) == set()


def test_predictions_are_exact_in_a_file_and_in_a_pipe(
    data: Path, run: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    out = tmp_path / "p.csv"
    assert command(["predict", str(run), str(data), "--keep", f"c{ODD}", "--out", str(out)]) == 0
    capfdbinary.readouterr()
    assert command(["predict", str(run), str(data), "--keep", f"c{ODD}"]) == 0
    assert capfdbinary.readouterr().out == out.read_bytes()
    found = pc.read_csv(out, convert_options=pc.ConvertOptions(strings_can_be_null=False))
    assert found.column(f"c{ODD}").to_pylist() == frame()[f"c{ODD}"].tolist()
    assert set(found.column("prediction").to_pylist()) <= set(LABELS)
    assert found.column("prediction").to_pylist() == mbgd.load(run).predict(frame()).tolist()


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_predictions_on_a_terminal_are_spelt_out(data: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Terminal(seen, encoding="utf-8", write_through=True))
    assert command(["predict", str(run), str(data), "--keep", f"c{ODD}"]) == 0
    text = seen.getvalue().decode()
    assert text.count("\n") == N + 1
    assert unprintable(text) == set()
    assert plain(LABELS[0]) in text


@pytest.mark.slow
def test_predictions_on_a_real_terminal_are_spelt_out(data: Path, run: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*PROGRAM, "predict", str(run), str(data), "--keep", f"c{ODD}"], stdout=theirs, stderr=theirs, env=os.environ
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += (piece := os.read(ours, 1 << 16))
        except OSError:  # the terminal has nobody at its other end
            break
        if not piece:
            break
    assert child.wait() == 0
    text = seen.decode().replace("\r\n", "\n")
    assert text.count("\n") == N + 1
    assert unprintable(text) == set()
    assert plain(LABELS[0]) in text


def test_the_card_shows_them_as_text(run: Path) -> None:
    card = (run / "README.md").read_text()
    assert unprintable(card) == set()
    page = MarkdownIt("commonmark").enable("table").render(card)
    assert not re.search(r"<(img|a)\b|onerror=[^&]*>", page.replace(html.escape(MARKUP), ""))
    shown = html.unescape(re.sub("<[^>]*>", "", page))
    assert "\\x9b2J\\u200b\\u200d\\u202e" in shown  # what is a blank in ASCII is one
    assert "http://e.x" in shown


def test_python_shows_them_spelt_out(run: Path, data: Path) -> None:
    model = mbgd.load(run)
    for do in (lambda: model.predict(frame().drop(columns=f"a{ODD}")), lambda: mbgd.fit_table(data, f"yy{ODD}")):
        with pytest.raises(DataError) as caught:
            do()
        assert unprintable(str(caught.value)) == set()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.predict(frame().assign(**{f"c{ODD}": f"never seen{ODD}"}))
    assert said
    assert all(unprintable(str(one.message)) == set() for one in said)
    found = mbgd.fit_table(frame(), TARGET, epochs=1, hidden_layer_sizes=(4,))
    told = mbgd.explain(found, frame(), rows=1, repeats=1)
    texts = [repr(found), repr(told), found._repr_html_(), *found.notices, *told.notices]
    assert all(unprintable(text) == set() for text in texts)
    assert LABELS[0] in found.predictor.classes  # what is data stays what it is


def test_a_page_shows_them_as_text() -> None:
    said: dict[str, Any] = {"why": MARKUP, "scores": {}, "baselines": {}, "notices": [f"{MARKUP}{ODD}"]}
    said |= {"rows_per_second": None, "steps": 1, "epochs": 1.0, "seconds": 1.0, "engine": ODD, "engine_reason": ODD}
    page = run_html(said, target=f"{MARKUP}{ODD}", names=(), folder=ODD)
    assert unprintable(page) == set()
    assert "<img" not in page


@pytest.mark.parametrize("c", [*CONTROLS, *sorted({*ODD} - {*CONTROLS}), "\ud800", "\U000e0041"])
def test_each_is_spelt_in_ascii_by_every_way_to_people(c: str) -> None:
    for text in (plain(c), str(DataError(c)), str(StorageError(c)), escaped(f"a{c}b")):
        assert unprintable(text) == set()
        text.encode()
    assert plain(plain(c)) == plain(c)
    assert plain("a\nb" + c, lines=True).startswith("a\nb")
    assert plain("Zoë 漢字 🙂") == "Zoë 漢字 🙂"


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", '=HYPERLINK("http://e.x")', "-", "-a", "＝1"]
NO_FORMULAS = ["", "a", "a=1", "1", "-5", "+3.5", "-1e3", " -7 ", "2024-01-01", "'=1", "(=1)", "a\n=1"]


def test_texts_that_begin_a_formula_are_quoted_and_numbers_stay() -> None:
    assert [quoted(text) for text in FORMULAS] == [f"'{text}" for text in FORMULAS]
    assert [quoted(text) for text in NO_FORMULAS] == NO_FORMULAS


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_safe_csv_quotes_labels_carried_cells_and_names_and_nothing_else(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    texts = [*FORMULAS, *(text for text in NO_FORMULAS if text)]
    n = len(texts)
    rows = pd.DataFrame({"x": np.arange(n) - 2.5, "=name": texts, "y": np.array(["=a", "b"])[np.arange(n) % 2]})
    rows.to_parquet(tmp_path / "t.parquet")
    words = ["--epochs", "1", "--hidden-layer-sizes", "4", "--quiet", "--drop", "=name", "--validation", "none"]
    given = [str(tmp_path / "t.parquet"), "--target", "y", *words, "--test", "none", "--out", str(tmp_path / "r")]
    assert command(["train", *given]) == 0
    keep = ["--keep", "=name", "--keep", "x"]
    both = []
    for name, more in (("exact", []), ("safe", ["--safe-csv"])):
        out = str(tmp_path / f"{name}{suffix}")
        assert command(["predict", str(tmp_path / "r"), str(tmp_path / "t.parquet"), *keep, "--out", out, *more]) == 0
        delimiter = "\t" if suffix == ".tsv" else ","
        both.append(pd.read_csv(out, sep=delimiter, keep_default_na=False, lineterminator="\n", dtype=str))
    exact, safe = both
    assert list(safe) == ["'=name", "x", *list(exact)[2:]]
    assert safe["'=name"].tolist() == [quoted(text) for text in exact["=name"]]
    assert safe["prediction"].tolist() == [quoted(text) for text in exact["prediction"]]
    assert "'=a" in set(safe["prediction"])
    assert (safe["x"] == exact["x"]).all()  # -2.5 is a number
    out = str(tmp_path / "p.parquet")
    assert command(["predict", str(tmp_path / "r"), str(tmp_path / "t.parquet"), "--out", out, "--safe-csv"]) == 2
    assert "safe_csv must go with a CSV or TSV file, got 'p.parquet'" in capfd.readouterr().err
    assert not Path(out).exists()


def test_json_is_ascii(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["inspect", str(data), "--target", TARGET, "--json"]) == 0
    out = capfd.readouterr().out
    assert out.isascii()
    assert json.loads(out)["columns"][0]["name"] == f"a{ODD}"
