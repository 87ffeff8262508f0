"""What the README shows is run as it stands, and what it claims is measured."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

import mbgd
from laws.shuffle_statistics import BAD_SHUFFLES
from mbgd import StopReason
from problems import flat

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Your own loop")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The first block's names before its loop, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(BLOCKS[0].split("\nfor epoch")[0], found)
    return found


def test_the_loop_and_the_one_call_make_the_same_updates(names: dict[str, Any]) -> None:
    assert [len(y) for _, y, _ in copy.deepcopy(names["loader"])] == [32, 32, 32, 4]
    assert [scale for _, _, scale in copy.deepcopy(names["loader"])] == [1, 1, 1, 4 / 32]
    initial = copy.deepcopy(names["model"])
    exec("for epoch" + BLOCKS[0].split("\nfor epoch")[1], names)
    by_loop = flat(names["model"])
    names["model"] = copy.deepcopy(initial)
    exec(BLOCKS[1], names)
    assert (by_loop - flat(initial)).abs().max() > 1e-2
    assert (by_loop - flat(names["model"])).abs().max() < 1e-6
    assert names["run"].steps_done == 20 * 4
    assert abs(names["run"].history["loss"][-1] - np.log(2)) < 0.1  # 20 weights on 100 rows: some noise is learnt


def test_the_other_calls_do_what_their_comments_say(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    X = torch.randn(200, 10)  # its name in the README
    frame = pd.DataFrame({"size": np.arange(60.0) % 7, "kind": ["a", "b", "c"] * 20, "price": np.arange(60.0) % 7 * 2})
    mbgd.fit_table(frame, "price", out="runs/flights", epochs=1, hidden_layer_sizes=())
    names |= {"X": X, "X_csr": csr_array(X.numpy()), "y": (X @ torch.randn(10) > 0).long(), "frame": frame}
    lines = BLOCKS[2].replace('fit_table(frame, "price")', 'fit_table(frame, "price", epochs=3)')  # quick
    before, after = lines.split("\nmbgd.resume")
    exec(before, names)
    mine, ended = names["run"], flat(names["model"])
    assert mine.ending.reason in (StopReason.NO_PROGRESS, StopReason.EPOCHS)
    assert mine.scores["validation"]["log_loss"] == min(mine.history["validation_log_loss"])
    assert mine.history["validation_log_loss"][-1] < mine.history["validation_log_loss"][0]  # a real target: it falls
    with torch.no_grad():
        for parameter in names["model"].parameters():
            parameter.zero_()
    exec("mbgd.resume" + after, names)
    resumed = copy.deepcopy(names["model"])
    mbgd.load("runs/mine/model.safetensors", resumed)
    assert torch.equal(flat(resumed), ended)
    printed = capsys.readouterr().out.splitlines()
    assert int(printed[-1].split()[0]) == 3 * 7  # 200 rows by 32, three epochs
    assert names["run"].predict(frame).shape == (60,)


def test_every_block_of_the_section_is_run_above() -> None:
    assert len(BLOCKS) == 3


def test_how_many_wrong_shuffles_are_rejected() -> None:
    """Those of the table, one without its second pass and one that leaves nothing in its place; replacement, a dropped tail,
    and a mean by its own size."""
    numbers = {"six": 6, "seven": 7, "eight": 8, "two": 2, "three": 3}
    shuffles, ways = re.findall(r"tests reject (\w+) wrong shuffles and (\w+) wrong ways", README)[0]
    assert numbers[shuffles] == len(BAD_SHUFFLES) + 2
    laws = (Path(__file__).parent / "laws" / "test_shuffle.py").read_text(encoding="utf-8")
    found = re.findall(r"def test_(\w+)_(?:is|would_be)_rejected", laws)
    assert numbers[ways] == len([name for name in found if "second_pass" not in name and "shuffle" not in name])
