"""What the pages on serving and logging show is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mbgd

DOCS = Path(__file__).parent.parent / "docs"


def frame() -> pd.DataFrame:
    """With the columns of the pages; a price that depends on them."""
    rows = np.arange(200)
    sold = pd.Timestamp("2023-01-01") + pd.to_timedelta(rows * 37, unit="h")
    return pd.DataFrame({"size": rows % 7 + 0.5, "kind": np.array(["a", "b", "c"])[rows % 3], "sold": sold,
                         "price": (rows % 7) * 2.0 + rows % 3})  # fmt: skip


def run_blocks(page: str) -> list[dict[str, Any]]:
    """The names after each block of a page, one behind the other."""
    names: dict[str, Any] = {"frame": frame()}
    after = []
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, names)
        after.append(dict(names))
    return after


def test_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, *_, last = run_blocks("serving.md")
    given = {"size": 3.5, "kind": "b", "sold": "2024-03-01"}
    missing = dict.fromkeys(given)
    assert len(first["model"].columns) == 3
    expected = [
        mbgd.load("price.safetensors").predict({name: [row[name]] for name in given})[0] for row in (given, missing)
    ]
    assert [first["model"].predict_one(row) for row in (given, missing)] == pytest.approx(expected, rel=1e-5)
    assert last["prediction"].tolist() == pytest.approx(expected, rel=1e-5)


def test_logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    first, last = run_blocks("logging.md")
    assert not any("tensorboard" in notice for notice in first["run"].notices)
    assert [path.name[:19] for path in Path("runs/price/tensorboard").iterdir()] == ["events.out.tfevents"]
    assert "epoch 5.00/5" in capfd.readouterr().err
    assert "Run: price" in last["run"]._repr_html_()
