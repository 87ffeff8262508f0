"""A preset is a set of values for what is not given: what is given wins, and plan.json says both the word and the values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mbgd
from command import table
from mbgd.desk.plan import shallow
from mbgd.desk.table_defaults import default_epochs
from mbgd.desk.table_plan import table_plan
from mbgd.errors import PlanError

OTHERS = ("key", "when", "group", "part", "two", "label")
FEW: dict[str, Any] = {"target": "y", "drop": OTHERS, "steps": 2, "epochs": None, "schedule": "constant"}


def differing(**words: Any) -> dict[str, Any]:
    """The values that differ from those without the preset."""
    without = {name: value for name, value in words.items() if name != "preset"}
    plain = shallow(table_plan({"target": "y", **without}))
    return {
        name: value for name, value in shallow(table_plan({"target": "y", **words})).items() if plain[name] != value
    }


def test_the_values_of_each_preset() -> None:
    assert differing(preset="default") == {"preset": "default"}
    assert differing(preset="fast") == {"preset": "fast", "hidden_layer_sizes": (128, 128)}
    assert differing(preset="best") == {"preset": "best", "folds": 8, "validation": None}


def test_later_rows_are_predicted_by_a_smaller_network_whose_dropout_stays() -> None:
    by_time = table_plan({"target": "y", "split": "time:when"})
    assert (by_time.hidden_layer_sizes, by_time.dropout_fades, by_time.refit) == ((128, 128), False, True)
    given = table_plan({"target": "y", "split": "time:when", "hidden_layer_sizes": (256,), "dropout_fades": True})
    assert (given.hidden_layer_sizes, given.dropout_fades) == ((256,), True)
    for words in ({}, {"split": "group:g"}, {"split": "random"}):
        others = table_plan({"target": "y", **words})
        assert (others.hidden_layer_sizes, others.dropout_fades, others.refit) == ((256, 256), True, False)
    plain, textbook = (table_plan({"target": "y", **words}, plain=True) for words in ({"split": "time:when"}, {}))
    assert plain.hidden_layer_sizes == textbook.hidden_layer_sizes


def test_what_is_given_wins() -> None:
    assert differing(preset="fast", hidden_layer_sizes=(64,)) == {"preset": "fast"}
    assert differing(preset="best", folds=3) == {"preset": "best"}
    assert table_plan({"target": "y", "preset": "best", "members": 2}).members == 2
    assert differing(preset="best", split="time:when") == {"preset": "best", "members": 7}
    assert table_plan({"target": "y", "preset": "best", "split": "time:when"}).refit
    for rows in ({"split": "column:part"}, {"validation": 0.2}, {"validation": "v.csv"}):
        assert differing(preset="best", **rows) == {"preset": "best", "members": 7}  # folds would need these rows
    assert differing(preset="best", split="group:group") == {"preset": "best", "folds": 8, "validation": None}


@pytest.mark.parametrize("n_rows", [100, 5_000, 269_000])
def test_fast_takes_three_fifths_of_the_passes(n_rows: int) -> None:
    whole, fewer = default_epochs(n_rows, 256), default_epochs(n_rows, 256, preset="fast")
    assert 0 <= 5 * fewer - 3 * whole < 5  # a pass is whole
    assert default_epochs(n_rows, 256, preset="best") == whole
    assert default_epochs(n_rows, 256, preset="default") == whole


def test_the_plan_file_says_the_preset_and_its_values(tmp_path: Path) -> None:
    mbgd.fit_table(table(), out=tmp_path / "r", preset="best", **FEW)
    said = json.loads((tmp_path / "r" / "plan.json").read_text())["plan"]
    assert (said["preset"], said["folds"], said["members"], said["validation"]) == ("best", 8, 1, None)
    assert len(list((tmp_path / "r" / "models").iterdir())) == 8
    again = table_plan({}, like=said)
    assert (again.preset, again.folds) == ("best", 8)


@pytest.mark.parametrize(("how", "other"), [({"plain": True}, "plain"), ({"like": {"target": "y"}}, "plan")])
def test_a_preset_does_not_go_with_what_names_every_knob(how: dict[str, Any], other: str) -> None:
    with pytest.raises(PlanError) as caught:
        table_plan({"target": "y", "preset": "fast"}, **how)
    assert str(caught.value) == f"preset and {other} exclude each other, got both; leave one of them out"


def test_folds_may_be_given_to_a_plan_of_one_model() -> None:
    """The plan of another run holds its validation share; a fold takes its place, and a share given beside it is refused."""
    like = table_plan({"target": "y"}).to_json()
    assert table_plan({"folds": 4}, like=like).validation is None
    with pytest.raises(PlanError, match=r"folds and validation exclude each other, got folds=4 and validation=0\.1"):
        table_plan({"folds": 4, "validation": 0.1}, like=like)


def test_patience_has_folds_to_look_at() -> None:
    assert table_plan({"target": "y", "folds": 4, "patience": 3}).patience == 3
    with pytest.raises(PlanError, match="patience needs validation rows to look at, got none"):
        table_plan({"target": "y", "validation": "none", "patience": 3})
