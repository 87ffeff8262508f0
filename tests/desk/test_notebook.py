"""A run in a notebook: what it shows is escaped and whole, nothing is printed unless asked for, and the bar is drawn."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

import mbgd
from command import table
from mbgd.desk import notebook
from mbgd.loop.progress import Cursor, Progress

WORDS: dict[str, Any] = {"loss": "squared_error", "epochs": 2, "validation": 0.25, "learning_rate": 0.01}
X = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
BAD = "<img src=x onerror=alert(1)>&\"'"


class Read(HTMLParser):
    """The tags in their order, each closed in turn, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        assert {name for name, _ in attrs} <= {"style", "value", "max"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_run_shows_its_ending_scores_work_and_place(tmp_path: Path) -> None:
    data = table()[["x", "z", "c", "y"]]
    run = mbgd.fit_table(data, "y", epochs=2, hidden_layer_sizes=(), out=tmp_path / "r")
    page = Read(run._repr_html_())
    for said in ("Run: y", str(run.ending), "r2", "rmse", "mae", "validation", "used to stop", "test", "never used"):
        assert said in page.texts
    assert {f"{run.scores['test']['r2']:.4f}", f"{run.baselines['linear']['r2']:.4f}"} < set(page.texts)
    assert str(tmp_path / "r") in page.texts
    (how,) = [text for text in page.texts if "engine" in text]
    assert how.startswith(f"{run.steps_done:,} steps, 2 epochs, ")
    assert f"; engine {run.engine}: {run.engine_reason}" in how
    assert set(page.tags) == {"div", "b", "table", "tr", "th", "td", "code"}


def test_what_came_from_the_data_is_escaped(tmp_path: Path) -> None:
    data = table()[["x", "z", "c"]].rename(columns={"c": BAD, "z": f"{BAD} too"}).assign(one="same")
    run = mbgd.fit_table(data, BAD, epochs=1, hidden_layer_sizes=())
    run = replace(run, notices=(*run.notices, f"column {BAD}"), folder=Path(BAD))
    assert run.notices
    page = Read(run._repr_html_())
    assert f"Run: {BAD}" in page.texts
    assert f"note: column {BAD}" in page.texts
    assert BAD in page.texts
    assert "img" not in page.tags


def test_a_module_shows_all_its_scores_or_none() -> None:
    run = mbgd.fit(mbgd.mlp(4), (X, X.sum(1)), **WORDS)
    assert {"loss", "r2", "validation"} < set(Read(run._repr_html_()).texts)
    bare = mbgd.fit(mbgd.mlp(4), (X, X.sum(1)), **WORDS | {"validation": None})
    assert "table" not in Read(bare._repr_html_()).tags


@pytest.mark.parametrize("door", ["fit", "fit_table", "resume"])
def test_nothing_is_printed_unless_asked_for(door: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, model = table()[["x", "z", "y"]], mbgd.mlp(4)

    def call(**how: Any) -> None:
        folder = tmp_path / f"r{len(list(tmp_path.iterdir()))}"
        if door == "fit":
            mbgd.fit(model, (X, X.sum(1)), **WORDS, **how)
        elif door == "fit_table":
            mbgd.fit_table(data, "y", epochs=1, hidden_layer_sizes=(), **how)
        else:
            mbgd.fit(model, (X, X.sum(1)), out=folder, **WORDS)
            mbgd.resume(folder, model, (X, X.sum(1)), **how)

    mbgd.fit(mbgd.mlp(4), (X, X.sum(1)), **WORDS)  # compiles what is not on disk, which is said
    call()
    assert tuple(capfd.readouterr()) == ("", "")
    if door != "resume":  # a run that has ended takes no more steps
        call(progress=True)
        out, err = capfd.readouterr()
        assert out == ""
        assert "epoch " in err
        assert "loss " in err


class Shown:
    """Stands for what IPython's `display` gives back."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def display(self, page: Any, *, display_id: bool) -> Shown:
        assert display_id
        self.pages.append(page.data)
        return self

    def update(self, page: Any) -> None:
        self.pages.append(page.data)


def test_the_bar_of_several_models_moves_and_their_scores_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = pytest.importorskip("IPython.display", reason="IPython is not installed")
    shown = Shown()
    monkeypatch.setattr(ipython, "display", shown.display)
    monkeypatch.setattr(notebook, "SECONDS_BETWEEN_DRAWINGS", 0.0)
    display = notebook.NotebookDisplay(2)
    look = mbgd.desk.train.Look(Progress(1, 8, Cursor(0, 8)), 0.5, 1.0, 0.25, 0.1, 1.5, 1000.0)  # type: ignore[attr-defined]
    display.show(look)
    display.next(mbgd.desk.several.ModelTrained(1, 2, {"r2": 0.5}))  # type: ignore[attr-defined]
    display.show(look)
    display.wait("<compiling>")
    pages = [Read(page.replace("<br>", "")) for page in shown.pages]
    assert '<progress value="0.2500" max="1">' in shown.pages[0]
    assert "model 1/2  epoch 0.5/1  loss 0.2500  1,000 rows/s  1.5 s" in pages[0].texts[-1]
    assert '<progress value="0.7500" max="1">' in shown.pages[2]
    assert "model 1 of 2: validation r2 0.5000" in shown.pages[2]
    assert "&lt;compiling&gt;" in shown.pages[3]


def test_a_script_is_no_notebook() -> None:
    assert not notebook.in_notebook()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of Jupyter's own packages
def test_a_notebook_is_executed_and_shows_run_and_bar(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    code = [
        "import numpy as np, mbgd\nx = np.random.default_rng(0).normal(size=(400, 2))\n"
        "data = {'a': x[:, 0], 'b': x[:, 1], 'y': x.sum(1)}",
        "quiet = mbgd.fit_table(data, 'y', epochs=2, hidden_layer_sizes=())",
        "run = mbgd.fit_table(data, 'y', epochs=2, hidden_layer_sizes=(), progress=True)",
        "run",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in code])
    client = nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [cell["outputs"] for cell in book["cells"]]
    assert outputs[1] == []
    (bar,) = outputs[2]
    assert bar["data"]["text/html"].startswith('<progress value="1.0000" max="1"></progress> epoch 2.0/2  loss ')
    (shown,) = outputs[3]
    assert "Run: y" in Read(shown["data"]["text/html"]).texts
