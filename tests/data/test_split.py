"""What is held out: so many rows, a function of each row alone, within each class; no time and no group on both sides."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.folds import folds_of_rows
from mbgd.data.split import hold_out, hold_out_groups, hold_out_latest
from mbgd.errors import PlanError
from mbgd.seeds import Purpose, hash_rows

SHARES = st.floats(0.01, 0.99)
VALIDATION, TEST = Purpose.VALIDATION_ROWS, Purpose.TEST_ROWS


def parted(kept: Any, held: Any, n: int) -> None:
    """Both rising, together each row once."""
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(n))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()


@given(st.integers(2, 200), SHARES, st.integers(0, 2**64 - 1))
def test_a_share_is_held_out_and_both_sides_have_rows(n: int, share: float, seed: int) -> None:
    kept, held = hold_out(n, share, seed=seed, purpose=VALIDATION)
    parted(kept, held, n)
    assert len(held) == min(max(round(share * n), 1), n - 1)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=120), SHARES)
def test_each_class_gives_its_share_and_keeps_a_row(labels: list[int], share: float) -> None:
    label = np.array(labels)
    kept, held = hold_out(len(label), share, seed=1, purpose=TEST, labels=label)
    parted(kept, held, len(label))
    counts = {int(c): int((label == c).sum()) for c in np.unique(label)}
    expected = {c: min(round(share * n), n - 1) for c, n in counts.items()}
    found = {c: int((label[held] == c).sum()) for c in counts}
    assert found == expected or (sum(expected.values()) == 0 and sum(found.values()) == 1)
    assert set(label[kept]) >= {c for c, n in counts.items() if n > 1 or sum(expected.values())}


def test_membership_is_a_function_of_the_row_and_grows_with_the_share() -> None:
    """Held out are those of lowest hash: a greater share holds out the same and more, another seed or purpose others."""
    n = 1000
    small, large = (set(hold_out(n, share, seed=5, purpose=TEST)[1].tolist()) for share in (0.1, 0.4))
    assert small < large
    others = [hold_out(n, 0.1, seed=seed, purpose=purpose)[1] for seed, purpose in ((6, TEST), (5, VALIDATION))]
    for other in others:  # 100 of 1000 twice: 10 in common, give or take 9 = three standard deviations
        assert len(small & set(other.tolist())) < 30
    longer = set(hold_out(4 * n, 0.1, seed=5, purpose=TEST)[1].tolist())
    assert len(longer & small) > 50  # more rows move the threshold, not the hashes: about 100 * 400/400 remain likely


def test_no_row_number_is_favoured() -> None:
    """Over 400 seeds each of 50 rows is held out 80 times on average: binomial, standard deviation 8."""
    counts = np.zeros(50)
    for seed in range(400):
        counts[hold_out(50, 0.2, seed=seed, purpose=TEST)[1]] += 1
    assert counts.sum() == 400 * 10
    assert np.abs(counts - 80).max() < 5 * 8


@given(st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda t: len(set(t)) > 1), SHARES)
def test_nothing_held_out_by_time_lies_before_or_beside_what_is_kept(times: list[int], share: float) -> None:
    time = np.array(times)
    kept, held = hold_out_latest(time, share)
    parted(kept, held, len(time))
    assert time[kept].max() < time[held].min()
    wanted = max(1, round(share * len(time)))
    latest = np.sort(time)[-wanted]
    if (time < latest).any():
        assert len(held) == (time >= latest).sum()  # whole instants: no fewer than asked for


def test_times_of_any_sortable_kind() -> None:
    days = np.array(["2024-01-03", "2024-01-01", "2024-01-02"], dtype="datetime64[D]")
    for time in (days, days.astype(np.int64), days.astype(np.int64).astype(float)):
        kept, held = hold_out_latest(time, 0.3)
        assert (kept.tolist(), held.tolist()) == ([1, 2], [0])


@given(st.lists(st.integers(-5, 9), min_size=2, max_size=80).filter(lambda g: len(set(g)) > 1), SHARES)
def test_no_group_stands_on_both_sides(groups: list[int], share: float) -> None:
    group = np.array(groups, dtype=np.int64)
    kept, held = hold_out_groups(group, share, seed=2, purpose=TEST)
    parted(kept, held, len(group))
    assert len(kept)
    assert len(held)
    assert not set(group[kept]) & set(group[held])


def test_groups_are_taken_until_the_share_is_full() -> None:
    group = np.repeat(np.arange(100), 3)
    _, held = hold_out_groups(group, 0.25, seed=2, purpose=TEST)
    assert len(held) == 75
    shuffled = np.random.default_rng(0).permutation(300)
    _, again = hold_out_groups(group[shuffled], 0.25, seed=2, purpose=TEST)
    assert set(group[held]) == set(group[shuffled][again])  # whichever order the rows stand in


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_share_outside_of_0_and_1_is_refused(share: float) -> None:
    rows = np.arange(4)
    for refused in (
        lambda: hold_out(4, share, seed=0, purpose=TEST),
        lambda: hold_out_latest(rows, share),
        lambda: hold_out_groups(rows, share, seed=0, purpose=TEST),
    ):
        with pytest.raises(
            PlanError, match=r"^a held-out share must be above 0 and below 1, got .*; give 0.1 for every"
        ):
            refused()


def test_one_time_or_one_group_cannot_be_split() -> None:
    with pytest.raises(PlanError, match=r"^split by time needs at least two different times among the rows, got one; "):
        hold_out_latest(np.full(5, 3), 0.2)
    with pytest.raises(PlanError, match=r"^split by group needs at least two groups, got 1; split at random instead$"):
        hold_out_groups(np.full(5, 3), 0.2, seed=0, purpose=TEST)


def one_class_after_the_other(label: Any, share: float, *, seed: int) -> list[int]:
    """The held-out rows by the plain words of `hold_out`, a class at a time."""
    hashed = hash_rows(np.arange(len(label)), seed=seed, purpose=TEST).tolist()
    held: list[int] = []
    for name in set(label.tolist()):
        rows = sorted((hashed[row], row) for row in range(len(label)) if label[row] == name)
        held += [row for _, row in rows[: min(round(share * len(rows)), len(rows) - 1)]]
    if not held and len(label) > 1:
        held = [hashed.index(min(hashed))]
    return sorted(held)


@given(st.lists(st.integers(-1, 6), max_size=60), SHARES, st.integers(0, 99))
def test_held_out_of_each_class_are_its_rows_of_lowest_hash(labels: list[int], share: float, seed: int) -> None:
    label = np.array(labels, dtype=np.int64)
    found = hold_out(len(label), share, seed=seed, purpose=TEST, labels=label)[1]
    assert found.tolist() == one_class_after_the_other(label, share, seed=seed)


def test_the_work_does_not_grow_with_the_number_of_classes_or_groups() -> None:
    """As many calls for 3,000 of them as for three: none is looked at by itself."""
    n, calls = 6_000, []
    for classes in (3, 3, 3_000):
        label = np.arange(n) % classes
        count = 0

        def counted(frame: Any, event: str, of: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            hold_out(n, 0.5, seed=0, purpose=TEST, labels=label)
            hold_out_groups(label, 0.5, seed=0, purpose=TEST)
            folds_of_rows(np.arange(n), 3, seed=0, labels=label)
        finally:
            sys.setprofile(None)
        calls.append(count)
    assert calls[2] < calls[1] + 50
