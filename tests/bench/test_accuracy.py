"""What the accuracy page rests on: the rows everybody is given, errors, relative errors with intervals, and what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "bench" / "accuracy"
Modules = Any  # a name in, the module of the benchmark out


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))

    def found(name: str) -> ModuleType:
        one = import_module(name)
        assert Path(str(one.__file__)).is_relative_to(FOLDER), f"another {name} stands in the way: {one.__file__}"
        return one

    return found


def outcome(
    module: Modules, table: str, peer: str, split: int, error: float, *, seconds: float = 1.0, **facts: Any
) -> Any:
    given = {
        "rows": 80,
        "columns": 3,
        "test_rows": 20,
        "test": f"{table}{split}",
        "metric": "RMSE",
        "r2": 0.5,
        "seconds_process": 9.0,
    } | facts
    return module("results").Result(table, peer, split, threads=2, error=error, seconds=seconds, facts=given)


def some(module: Modules) -> list[Any]:
    """Against LightGBM: 2 and 1/2 on the splits of Wage, 1/4 twice on HI."""
    one = [("Wage", 0, 8.0, 4.0), ("Wage", 1, 2.0, 4.0), ("HI", 0, 1.0, 4.0), ("HI", 1, 2.0, 8.0)]
    ours = [outcome(module, table, "mbgd", split, error, seconds=3.0) for table, split, error, _ in one]
    return ours + [outcome(module, table, "lightgbm", split, error) for table, split, _, error in one]


@pytest.mark.parametrize("n_rows", [10, 101, 3000])
def test_a_split_is_every_row_once_and_a_function_of_its_number(n_rows: int, module: Modules) -> None:
    splits = module("splits")
    for split in range(3):
        training, test = splits.at_random(n_rows, split)
        assert np.array_equal(np.sort(np.concatenate([training, test])), np.arange(n_rows))
        assert len(test) == round(0.2 * n_rows)
        assert splits.fingerprint(splits.at_random(n_rows, split)[1]) == splits.fingerprint(test)
    prints = {splits.fingerprint(splits.at_random(n_rows, split)[1]) for split in range(5)}
    assert len(prints) == 5


def test_the_first_split_of_ten_rows_never_moves(module: Modules) -> None:
    """Kept outcomes are compared with new ones: another order of the same seed would compare other rows."""
    assert module("splits").at_random(10, 0)[1].tolist() == [1, 4]


def test_by_time_nothing_in_training_is_as_late_as_the_first_test_row(module: Modules) -> None:
    times = np.array([5, 1, 9, 9, 2, 3, 9, 4, 0, 6])
    training, test = module("splits").latest(times)
    assert test.tolist() == [2, 3, 6]  # a fifth is two rows; the third is of the same instant
    assert times[training].max() < times[test].min()


def test_rmse_and_r2_by_hand(module: Modules) -> None:
    """Errors 1, -1, 0, 2: squares 6 / 4. Truth 0, 2, 4, 6 has mean 3 and squares 9 + 1 + 1 + 9 = 20, so r2 = 1 - 6/20."""
    found = module("scores").of_numbers(np.array([1.0, 1.0, 4.0, 8.0]), np.array([0.0, 2.0, 4.0, 6.0]))
    assert found == pytest.approx({"error": 1.5**0.5, "r2": 0.7}, rel=1e-12)


def test_log_loss_by_hand_and_of_a_sure_mistake(module: Modules) -> None:
    """-(log 1/2 + log 1/4) / 2 = 1.5 log 2; a probability of zero counts as 1e-15; rows that sum to 2 are halved."""
    of_classes = module("scores").of_classes
    p = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]])
    assert of_classes(p, np.array([0, 2])) == pytest.approx({"error": 1.5 * np.log(2), "accuracy": 0.5}, rel=1e-12)
    assert of_classes(2 * p, np.array([0, 2]))["error"] == pytest.approx(1.5 * np.log(2), rel=1e-12)
    sure = of_classes(np.array([[1.0, 0.0]]), np.array([1]))
    assert sure["error"] == pytest.approx(15 * np.log(10), rel=1e-12)
    assert sure["accuracy"] == 0


def test_relative_errors_are_geometric_means_over_splits_and_tables(module: Modules) -> None:
    """Wage: sqrt(2 * 1/2) = 1; HI: 1/4; over both sqrt(1 * 1/4) = 1/2. The other way round each is the inverse."""
    summary = module("summary")
    kept = module("results").kept(some(module), threads=2)
    ours, theirs = (summary.overall(kept, a, against=b) for a, b in (("mbgd", "lightgbm"), ("lightgbm", "mbgd")))
    assert {t: c.ratio for t, c in summary.cells(kept, "mbgd", against="lightgbm").items()} == pytest.approx(
        {"Wage": 1.0, "HI": 0.25}, rel=1e-12
    )
    assert (ours.ratio, theirs.ratio) == pytest.approx((0.5, 2.0), rel=1e-12)
    assert (ours.low, ours.high) == pytest.approx((1 / theirs.high, 1 / theirs.low), rel=1e-12)
    assert (ours.worst_table, ours.n_tables, ours.wins, ours.seconds) == ("Wage", 2, 1, 3.0)


def test_interval_of_two_splits_is_from_the_less_to_the_larger(module: Modules) -> None:
    """Both draws are the less with chance 1/4, far above 2.5 %. Of one split there is nothing to resample."""
    assert module("summary").interval([[0.5, 2.0]]) == pytest.approx((0.5, 2.0), rel=1e-12)
    assert module("summary").interval([[0.9]]) == pytest.approx((0.9, 0.9), rel=1e-12)


@pytest.mark.parametrize(("n_splits", "sure"), [(2, 0), (3, 1)])
def test_a_win_is_sure_from_three_splits_on(n_splits: int, sure: int, module: Modules) -> None:
    ours = [outcome(module, "Wage", "mbgd", split, 0.9) for split in range(n_splits)]
    theirs = [outcome(module, "Wage", "lightgbm", split, 1.0) for split in range(n_splits)]
    kept = module("results").kept(ours + theirs, threads=2)
    won, lost = (module("summary").overall(kept, a, against=b) for a, b in (("mbgd", "lightgbm"), ("lightgbm", "mbgd")))
    assert (won.wins, won.sure_wins, won.sure_losses) == (1, sure, 0)
    assert (lost.wins, lost.sure_wins, lost.sure_losses) == (0, 0, sure)
    assert (
        "**1.111"
        in module("page").page([*ours, *(replace(o, peer="hist", error=1 / 0.9) for o in ours), *theirs], [], threads=2)
    ) == bool(sure)


def test_only_splits_and_tables_that_both_have_are_compared(module: Modules) -> None:
    more = [*some(module), outcome(module, "Wage", "mbgd", 7, 1e9), outcome(module, "SLID", "mbgd", 0, 1e9)]
    summary, kept = module("summary"), module("results").kept(more, threads=2)
    assert summary.overall(kept, "mbgd", against="lightgbm").ratio == pytest.approx(0.5, rel=1e-12)
    assert summary.overall(kept, "mbgd", against="catboost") is None


def test_what_is_appended_is_read_and_the_last_outcome_of_a_fit_counts(module: Modules, tmp_path: Path) -> None:
    results, file = module("results"), tmp_path / "kept.jsonl"
    assert results.read(file) == ([], [])
    first = outcome(module, "Wage", "mbgd", 0, 2.0)
    bad = results.Result("HI", "mbgd", 0, threads=2, failed="no memory")
    for fact in ({"machine": {"cpu": "one"}}, first, bad, replace(first, error=1.0)):
        results.append(file, fact)
    found, machines = results.read(file)
    assert machines == [{"cpu": "one"}]
    assert found == [first, bad, replace(first, error=1.0)]
    assert results.kept(found, threads=2)["Wage"]["mbgd"][0].error == 1.0
    assert results.failures(found, threads=2) == [bad]
    assert results.kept(found, threads=1) == {}
    assert all(json.loads(line) for line in file.read_text().splitlines())


@pytest.mark.parametrize("fact", ["rows", "columns", "test_rows", "test"])
def test_two_who_were_not_given_the_same_rows_are_not_compared(fact: str, module: Modules) -> None:
    other = outcome(module, "Wage", "catboost", 0, 1.0, **{fact: "another"})
    with pytest.raises(ValueError, match=f"Wage, split 0: {fact} must be the same for everybody"):
        module("results").kept([*some(module), other], threads=2)


def test_verdicts_say_met_missed_and_not_measured(module: Modules) -> None:
    """Ratios 1 and 1/4: geometric mean 0.5 and worst 1.0 are met; nobody else has run."""
    goals = module("goals")
    kept = module("results").kept(some(module), threads=2)
    said = {(v.goal.measure, v.goal.against): (v.value, v.met) for v in goals.verdicts(kept) if v.goal.peer == "mbgd"}
    assert said["error", "lightgbm"] == (pytest.approx(0.5), True)
    assert said["worst", "lightgbm"] == (pytest.approx(1.0), True)
    assert said["better", "sklearn_mlp"] == (None, None)
    slow = [replace(one, peer="catboost", seconds=2.0) for one in some(module) if one.peer == "lightgbm"]
    kept = module("results").kept([*some(module), *slow], threads=2)
    said = {v.goal.measure: v for v in goals.verdicts(kept) if v.goal.against == "catboost"}
    assert (said["median_seconds"].value, said["median_seconds"].met) == (1.5, False)


def test_flights_goals_are_of_their_own_table_alone(module: Modules) -> None:
    kept = module("results").kept(
        [outcome(module, "flights", "mbgd", split, 1.0, r2=r2) for split, r2 in enumerate((0.9, 0.92))]
        + [outcome(module, "Wage", "mbgd", 0, 1.0, r2=0.1)],
        threads=2,
    )
    found = {v.goal.table: v for v in module("goals").verdicts(kept) if v.goal.measure == "r2"}
    assert found["flights"].value == pytest.approx(0.91)
    assert found["flights"].met is True
    assert found["flights_by_time"].met is None


def test_the_page_names_losers_failures_and_what_was_left_out(module: Modules) -> None:
    bad = module("results").Result("HI", "catboost", 0, threads=2, failed="no memory")
    worse = [replace(one, error=2 * one.error) if one.peer == "mbgd" else one for one in some(module)]
    text = module("page").page([*worse, bad], [{"cpu": "one"}], threads=2)
    assert "- Wage: 2.000; best there: LightGBM, 1.000" in text
    assert "- HI, CatBoost, split 0: no memory" in text
    assert "logwage: the logarithm of the target" in text
    assert "| Wage | 4 | 2.000 (1.000 - 4.000) |" in text
    assert "cpu: one" in text


def test_losses_come_worst_first(module: Modules) -> None:
    """Errors sixteen times as large: 16 on Wage, 4 on HI."""
    worse = [replace(one, error=16 * one.error) if one.peer == "mbgd" else one for one in some(module)]
    text = module("page").losses(module("results").kept(worse, threads=2))
    assert [line.split(";")[0] for line in text.splitlines()] == ["- Wage: 16.000", "- HI: 4.000"]


def test_seconds_of_a_busy_machine_are_not_to_be_quoted(module: Modules) -> None:
    """Our own fits of two threads make a load of two; a third of them ran beside two more."""
    calm, crowded = (
        [outcome(module, "Wage", "mbgd", s, 1.0, load=load) for s in splits]
        for splits, load in (((0, 1), 2.1), ((2,), 4.0))
    )
    assert "do not quote" not in module("page").page(calm, [], threads=2)
    assert "beside 1 of 3 fits: do not quote the seconds" in module("page").page(calm + crowded, [], threads=2)


def test_another_machine_is_named(module: Modules) -> None:
    text = module("page").page(some(module), [{"cpu": "old"}, {"cpu": "new", "threads": 8}], threads=2)
    assert "- cpu: new" in text
    assert "threads: 8" not in text
    assert "Some fits ran on old: do not compare their seconds" in text


def test_options_are_told_beside_none_and_have_no_column_of_their_own(module: Modules) -> None:
    """Errors 1.1 and 0.9 times mbgd's own: their geometric mean is sqrt(0.99)."""
    base = [outcome(module, table, "mbgd", 0, 1.0) for table in ("Wage", "HI")]
    other = [outcome(module, "Wage", "mbgd:plain", 0, 1.1), outcome(module, "HI", "mbgd:plain", 0, 0.9)]
    text = module("page").page([*some(module), *base, *other], [], threads=2)
    assert "| mbgd:plain | 2 | 2 | 0.995 | 0.900 HI | 1.100 Wage | 1 of 2 |" in text
    assert "mbgd:plain" not in text.split("## What options change")[0].split("## Error, relative")[1]


def test_an_empty_page_is_no_error(module: Modules) -> None:
    assert "not measured" in module("page").page([], [], threads=2)


def test_a_page_of_held_out_tables_has_no_goals_of_others(module: Modules) -> None:
    elsewhere = [replace(one, table="SmokeBan") for one in some(module)]
    assert "flights" in module("page").page(some(module), [], threads=2)
    text = module("page").page(elsewhere, [], threads=2)
    assert "flights" not in text
    assert "SmokeBan" in text
    assert "worst table" in text


def test_every_table_has_a_target_that_is_not_left_out(module: Modules) -> None:
    tables = module("tables")
    assert (len(tables.TABLES), len(tables.HELD_OUT)) == (17, 17)
    assert not tables.TABLES.keys() & tables.HELD_OUT.keys()
    assert all(spec.target not in spec.left_out for spec in tables.ALL.values())
    assert all(set(peer.tables) <= set(tables.ALL) for peer in module("peers").PEERS.values())
