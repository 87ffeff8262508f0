"""Any number for any knob, by each door: it is taken and means what it says, or one sentence refuses it; never a fault."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mbgd.cli import run as command
from mbgd.cli.options import knobs
from mbgd.desk.bounds import Either, Levels, Number, Seconds, Share, Whole
from mbgd.desk.length import length
from mbgd.desk.plan import Plan, make_plan
from mbgd.desk.planned import from_json
from mbgd.errors import PlanError

NUMBERS: list[Any] = [
    *(
        math.nan,
        math.inf,
        -math.inf,
        1e308,
        -1e308,
        1e-308,
        5e-324,
        -0.0,
        0,
        -1,
        10**400,
        -(10**400),
        10**5000,
        2**31,
        2**63,
    ),
    *(1e5, 2.5, 1e18, np.float32(3), np.int64(-5), np.float64("nan"), True, 1j, "5", "5s", "1e308s", "nan s"),
]
TEXTS = ["nan", "inf", "1e308", "-1e308", "5e-324", "-0.0", "-1", f"1{'0' * 400}", "9" * 5000, "1e400", " 5 ", "5_000", "٥",
         "", "0x10", "2.5", str(2**63), "1,5", "1e308s", "12abc", "--5"]  # fmt: skip
LONG = ("hidden_layer_sizes", "members", "shared_members", "folds", "threads")  # whose large values are large to make
CODES = (0, 2, 3, 5, 6)  # done, refused by one sentence, diverged


def is_numeric(bound: Any) -> bool:
    if isinstance(bound, Either):
        return any(map(is_numeric, bound.bounds))
    return isinstance(bound, Number | Whole | Share | Seconds | Levels)


NUMERIC = [knob.name for knob in fields(Plan) if is_numeric(knob.metadata["bound"])]
OPTIONS = [knob.name for knob in knobs() if knob.name in NUMERIC]


def test_there_are_such_knobs() -> None:
    assert len(NUMERIC) > 25
    assert len(OPTIONS) > 25


@pytest.mark.parametrize("name", NUMERIC)
def test_in_python_a_plan_has_the_number_or_none_is_made(name: str) -> None:
    default = next(knob.default for knob in fields(Plan) if knob.name == name)
    for value in NUMBERS:
        for given in (value, (value, value), [value]) if isinstance(default, tuple) else (value,):
            plan, said = plan_or_refusal({"target": "y", name: given})
            if plan is None:
                assert said.startswith(name)
                assert "\n" not in said
                assert len(said) < 400
                continue
            assert from_json(json.loads(json.dumps(plan.to_json()))) == plan
            if "auto" not in (plan.epochs, plan.patience, plan.ema_decay):
                steps = length(plan, 1_000_003)[0]
                assert steps is None or 1 <= steps < 2**63


def plan_or_refusal(words: dict[str, Any]) -> tuple[Plan | None, str]:
    try:
        return make_plan(words), ""
    except PlanError as error:
        return None, str(error)


def sentence(code: int, err: str) -> bool:
    """One line on stderr, or none, and no fault of ours."""
    return code in CODES and err.count("\n") <= 1 and "fault of mbgd" not in err and len(err) < 500


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("t") / "t.csv"
    pd.DataFrame({"x": rng.standard_normal(60), "y": rng.standard_normal(60)}).to_csv(path, index=False)
    return path


def options(name: str, text: str, folder: Path) -> list[str]:
    """A training that is short, whatever the knob says."""
    given = [f"--{name.replace('_', '-')}={text}"]
    given += [] if name == "hidden_layer_sizes" else ["--hidden-layer-sizes", "4"]
    given += [] if name in ("steps", "epochs") else ["--steps", "2"]
    given += [] if name == "time_limit" else ["--time-limit", "0.1"]
    given += ["--batch-size", "8"] if name == "epochs" else []
    given += ["--loss", "huber"] if name == "huber_delta" else ["--loss", "quantile"] if name == "quantile" else []
    return ["--target", "y", "--quiet", "--out", str(folder), "--force", *given]


@pytest.mark.parametrize("name", OPTIONS)
def test_by_the_command(name: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for text in [f"1{'0' * 400}", "nan"] + (["1e308"] if name in ("epochs", "steps", "learning_rate") else []):
        code = command(["train", str(data), *options(name, text, tmp_path / "run")])
        assert sentence(code, err := capfd.readouterr().err), (text[:20], code, err)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_by_the_command_each_of_the_texts(
    name: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for text in TEXTS:
        if name in LONG and text in ("5_000", str(2**63)) and name != "threads":
            continue
        code = command(["train", str(data), *options(name, text, tmp_path / "run")])
        assert sentence(code, err := capfd.readouterr().err), (text[:20], code, err)


@pytest.mark.parametrize(
    "value", ["1e308", "1e400", "NaN", "-Infinity", f"1{'0' * 400}", "9" * 5000, '" 5 "', "[1e308]"]
)
def test_by_a_plan_in_a_file(value: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("epochs", "steps", "learning_rate", "seed", "hidden_layer_sizes", "time_limit", "checkpoint_every"):
        knobs = {**make_plan({"target": "y"}).to_json(), name: "HERE"}
        (tmp_path / "plan.json").write_text(json.dumps({"plan": knobs}).replace('"HERE"', value))
        words = ["--plan", str(tmp_path / "plan.json"), "--dry-run", "--quiet", "--json"]
        code = command(["train", str(data), *words])
        said = capfd.readouterr()
        assert sentence(code, said.err) or (code == 4 and said.err.count("\n") == 1), (name, value[:20], code, said.err)


def test_an_ordinary_number_in_another_spelling_is_that_number(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = []
    for text in ("5", " 5 ", "5.0", "5e0", "٥", "0_5"):
        assert command(["inspect", str(data), "--target", "y", f"--epochs={text}", "--json"]) == 0
        found.append(json.loads(capfd.readouterr().out)["epochs"])
    assert found == [5.0] * 6
