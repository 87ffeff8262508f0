"""Small tables, two trained runs, and the command called inside this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import LABEL, NUMBER, Command, Said, table
from mbgd.cli import run


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with t.csv, t.parquet and new.csv, 30 other rows of the same columns."""
    folder = tmp_path_factory.mktemp("tables")
    table().to_csv(folder / "t.csv", index=False)
    table().to_parquet(folder / "t.parquet", index=False)
    table(30, seed=2).to_csv(folder / "new.csv", index=False)
    return folder


@pytest.fixture
def mbgd(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Call the command inside this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Said:
        capfd.readouterr()
        code = run([str(word) for word in words])
        return Said(code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def runs(tables: Path) -> Path:
    """A folder with the finished runs `number` (regression) and `label` (classes)."""
    folder = tables / "runs"
    for name, words in (("number", NUMBER), ("label", LABEL)):
        assert (
            run(["train", str(tables / "t.csv"), *words, "--epochs", "8", "--quiet", "--out", str(folder / name)]) == 0
        )
    return folder
