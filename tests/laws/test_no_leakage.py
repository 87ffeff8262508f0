"""Laws of honest scores: test rows reach nothing that is learned, validation rows reach neither encoder nor scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import mbgd
from command import table
from mbgd.data.order import IntArray
from mbgd.desk.sets import Sets
from mbgd.desk.table import TableRows, by_size, read_rows
from mbgd.desk.table_plan import table_plan

HOW: dict[str, Any] = {"epochs": 2, "hidden_layer_sizes": (8,), "batch_size": 16}
SPLITS = ["random", "time:when", "group:group", "column:part"]
KEPT = {
    "time:when": ["when"],
    "group:group": ["group"],
    "column:part": ["part"],
}  # what says which set a row belongs to


def data() -> pd.DataFrame:
    frame = table(300).drop(columns=["two"])
    frame["when"] = pd.to_datetime(frame["when"])
    return frame.sample(frac=1, random_state=4).reset_index(drop=True)  # so that neither time nor sets lie in order


def words(target: str, split: str, **more: Any) -> dict[str, Any]:
    other = "label" if target == "y" else "y"
    return {"target": target, "split": split, "drop": (other, "key"), **HOW, **more}


def rows_of(frame: pd.DataFrame, given: dict[str, Any]) -> TableRows:
    return read_rows(frame, table_plan(given))


def changed(frame: pd.DataFrame, rows: IntArray, *, besides: list[str], seed: int = 0) -> pd.DataFrame:
    """Other values in every column of those rows: wide numbers, new labels, far dates, gaps."""
    frame, chance, n = frame.copy(), np.random.default_rng(seed), len(rows)
    new: dict[str, Any] = {
        "x": np.where(chance.random(n) < 0.5, np.nan, 1e6),
        "z": chance.normal(size=n) * 1e9,
        "c": [f"new {k}" for k in range(n)],
        "when": pd.Timestamp("2199-01-01") + pd.to_timedelta(chance.integers(0, 10**6, n), unit="h"),
        "group": chance.integers(10**6, 10**7, n),
        "part": "test",
        "y": chance.normal(size=n) * 1e7,
        "key": "same",
    }
    for name, values in new.items():
        if name not in besides:
            frame.loc[rows, name] = values
    return frame


def weights(run: mbgd.Run) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in run.model.parameters())


def learned(run: mbgd.Run) -> Any:
    predictor = run.predictor
    assert predictor.encoder is not None
    assert predictor.target is not None
    encoder = predictor.encoder.to_json()
    for fact in encoder["facts"]:
        fact["missing"] = None  # a count over the whole table, for people alone
    return encoder, predictor.target.to_json(), weights(run)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("y", {}),
        ("y", {"refit": True}),
        ("label", {}),
        ("label", {"refit": True}),
        ("label", {"class_weight": "balanced"}),
    ],
)
def test_nothing_of_the_test_rows_reaches_anything(target: str, split: str, more: dict[str, Any]) -> None:
    """Whatever stands in the test rows: the same encoder, scale and weights, to the last byte."""
    frame, given = data(), words(target, split, **more)
    sets = rows_of(frame, given).sets
    assert len(sets.test) >= 40
    # the labels of a random split decide which rows are drawn of each class, so there they stay
    besides = [*KEPT.get(split, []), *(["label"] if target == "label" and split == "random" else [])]
    other = changed(frame, sets.test, besides=besides)
    if target == "label" and split != "random":
        other.loc[sets.test, "label"] = np.where(other.loc[sets.test, "label"] == "yes", "no", "yes")
    assert learned(mbgd.fit_table(other, **given)) == learned(mbgd.fit_table(frame, **given))


def test_a_training_row_does_reach_the_weights() -> None:
    """Or the law above would hold of a model that learns nothing."""
    frame, given = data(), words("y", "random")
    row = rows_of(frame, given).sets.training[:1]
    whole, other = mbgd.fit_table(frame, **given), mbgd.fit_table(changed(frame, row, besides=[]), **given)
    assert weights(whole) != weights(other)
    assert learned(whole)[0] != learned(other)[0]
    assert learned(whole)[1] != learned(other)[1]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("target", ["y", "label"])
def test_validation_rows_do_not_reach_encoder_or_scale(target: str, split: str) -> None:
    """Nor the weights, as long as nothing is picked by the score; they calibrate probabilities, which is another number."""
    frame, given = data(), words(target, split, restore_best=False, refit=False)
    sets = rows_of(frame, given).sets
    assert len(sets.validation) >= 20
    besides = [*KEPT.get(split, []), *(["label"] if target == "label" else [])]
    other = changed(frame, sets.validation, besides=besides)
    first, second = mbgd.fit_table(frame, **given), mbgd.fit_table(other, **given)
    assert learned(second) == learned(first)
    assert second.scores["validation"] != first.scores["validation"]
    assert uncalibrated(second.scores["test"]) == uncalibrated(first.scores["test"])


def uncalibrated(scores: dict[str, float]) -> dict[str, float]:
    """Those that do not depend on the temperature: it keeps the order of rows, and the loss is of the outputs as they are."""
    return {name: value for name, value in scores.items() if name != "log_loss"}


def test_a_validation_or_test_file_reaches_neither(tmp_path: Any) -> None:
    frame = data()
    found = []
    for held in (frame[:50], changed(frame[:50], np.arange(50), besides=[])):
        names = {name: str(tmp_path / f"{len(found)}-{name}.parquet") for name in ("validation", "test")}
        for path in names.values():
            held.to_parquet(path)
        found.append(learned(mbgd.fit_table(frame, **words("y", "random", restore_best=False, **names))))
    assert found[0] == found[1]


def test_the_default_sizes_follow_the_training_rows_alone() -> None:
    frame, given = data(), {"target": "y", "drop": ("label", "key")}
    rows = rows_of(frame, given)
    plan = by_size(table_plan(given), rows)
    assert (len(rows.sets.training), plan.batch_size) == (216, 64)
    assert plan.epochs == 250  # 4 steps an epoch, 1,000 at least


def sets_of(split: str, frame: pd.DataFrame, **more: Any) -> Sets:
    return rows_of(frame, words("y", split, **more)).sets


def parts(frame: pd.DataFrame, column: str, sets: Sets) -> list[NDArray[Any]]:
    return [frame[column].to_numpy()[rows] for rows in (sets.training, sets.validation, sets.test)]


def test_a_split_by_time_holds_out_the_future() -> None:
    """Several rows share an instant: none lies on both sides of a border."""
    frame = data()
    frame["when"] = frame["when"].dt.floor("D")
    training, validation, test = parts(frame, "when", sets_of("time:when", frame))
    assert training.max() < validation.min() <= validation.max() < test.min()


def test_a_split_by_group_holds_out_whole_groups() -> None:
    frame = data()
    training, validation, test = (set(part) for part in parts(frame, "group", sets_of("group:group", frame)))
    assert not training & validation
    assert not training & test
    assert not validation & test
    assert len(training) > len(test) > len(validation) > 0


def test_a_split_by_column_does_as_it_says_and_the_column_is_no_input() -> None:
    frame, given = data(), words("y", "column:part")
    rows = rows_of(frame, given)
    assert [set(part) for part in parts(frame, "part", rows.sets)] == [{"train"}, {"validation"}, {"test"}]
    assert "part" not in rows.encoder.columns
    assert "group" not in rows_of(frame, words("y", "group:group")).encoder.columns
    assert "when" in rows_of(frame, words("y", "time:when")).encoder.columns
