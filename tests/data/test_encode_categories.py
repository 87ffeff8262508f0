"""Category columns: codes by frequency, 0 for missing or unseen, against a counting loop; keys and very many labels."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.encode.categories import CategoryColumn, learn_category
from mbgd.data.table import Table, open_table
from mbgd.errors import DataError


def everything(table: Table, **options: Any) -> Any:
    return learn_category(table, "s", training_rows=np.arange(table.n_rows), **options)


def column(values: Any) -> Table:
    return open_table(pa.table({"s": values if isinstance(values, pa.Array) else pa.array(values, pa.string())}))


LABELS = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "Ü", "", "a ", "\u00a0b", " ", "NA"]))
MEANT: dict[str | None, str | None] = {
    "": None,
    "a ": "a",
    "\u00a0b": "b",
    " ": None,
    "NA": None,
}  # any other is as it is


@given(values=st.lists(LABELS, min_size=1, max_size=40), data=st.data())
def test_codes_count_down_from_the_most_frequent_label(values: list[str | None], data: st.DataObject) -> None:
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1))))
    for array in (pa.array(values, pa.string()), pa.array(values, pa.large_string()).dictionary_encode()):
        table = column(array)
        summary = learn_category(table, "s", training_rows=rows)
        meant = [MEANT.get(value, value) for value in values]
        seen = Counter(meant[row] for row in rows)
        missing = seen.pop(None, 0)
        assert (summary.missing, summary.distinct) == (missing, len(seen))
        if summary.part is None:
            assert len(seen) == 0 or (len(seen) == 1 and not missing)
            continue
        ranked = [label for label, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0]))]  # type: ignore[arg-type, return-value]
        assert list(summary.part.labels) == ranked
        assert summary.part.encode(table).tolist() == [ranked.index(v) + 1 if v in ranked else 0 for v in meant]
        assert CategoryColumn.from_json(json.loads(json.dumps(summary.part.to_json()))) == summary.part


def test_new_labels_missing_values_and_other_dictionaries_meet_the_same_codes() -> None:
    part = everything(column(["b", "a", "a", None])).part
    assert part.labels == ("a", "b")
    assert part.cardinality == 3
    for later in (["b", None, "new", "a"], pd.Categorical(["b", None, "new", "a"], categories=["new", "b", "a"])):
        assert part.encode(open_table({"s": pa.array(later, from_pandas=True)})).tolist() == [2, 0, 0, 1]
    assert part.encode(column(pa.array([None, None]))).tolist() == [0, 0]


@pytest.mark.parametrize(
    "later",
    [pa.array(["False", "TRUE", "0", "1"]), pa.array([0, 1, 0, 1]), pa.array([0.0, 1.0, 0.0, 1.0]),
     pa.array([False, True, False, True])],
)  # fmt: skip
def test_truth_values_are_known_however_a_file_spells_them(later: pa.Array) -> None:
    part = everything(column(pa.array([True, True, False]))).part
    assert part.labels == ("true", "false")
    assert part.encode(column(later)).tolist() == [2, 1, 2, 1]


def test_whole_numbers_as_labels_are_one_label_in_any_type() -> None:
    part = everything(column(pa.array([7, 7, 10])), keep=True).part
    for later in (pa.array([7.0, 10.0, None]), pa.array(["7", "10", None]), pa.array([7, 10, None], pa.int8())):
        assert part.encode(column(later)).tolist() == [1, 2, 0]
    assert part.encode(column(pa.array([float("nan")]))).tolist() == [0]


def test_two_spellings_of_one_dictionary_entry_are_one_label() -> None:
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3]), pa.array(["a", "a", "b", None]))
    summary = everything(column(twice))
    assert (summary.part.labels, summary.missing, summary.distinct) == (("a", "b"), 1, 2)
    assert summary.part.encode(column(twice)).tolist() == [1, 1, 2, 0]


def test_columns_that_tell_nothing_or_name_each_row_are_left_out() -> None:
    assert everything(column(["a", "a"])).why == "one value only"
    assert everything(column([None, None])).why == "every value is missing"
    assert everything(column(["a", None])).part is not None
    keys = column([f"id{n}" for n in range(1200)] + ["id0"] * 300)
    assert everything(keys).part is None
    assert everything(keys).why == "1,200 different values in 1,500 rows look like a key; categorical=['s'] keeps it"
    assert everything(keys, keep=True).part.cardinality == 1201
    assert everything(column([f"id{n}" for n in range(50)])).part is not None  # a small table is no list of keys


@pytest.mark.parametrize(
    "spelt",
    [
        "{d:02d}/{m:02d}/20{y:02d}",
        "{d:02d}.{m:02d}.{y:02d}",
        "{d}.{m}.20{y:02d}",
        "20{y:02d}/{m:02d}/{d:02d}",
        "{m:02d}-{d:02d}-20{y:02d} 7:05 PM",
    ],
)
def test_dates_in_another_writing_than_ours_are_told_it(spelt: str) -> None:
    """Where there are so many that they would look like a key."""
    dates = [spelt.format(d=d, m=m, y=y) for y in (19, 20) for m in range(1, 13) for d in range(1, 28)]
    summary = everything(column(dates))
    assert summary.part is None
    assert (
        summary.why == "its values look like dates; write them as 2020-01-31, or categorical=['s'] keeps them as labels"
    )
    few = everything(column(dates[:20] * 3))
    assert few.part is not None
    assert not few.why


@pytest.mark.parametrize(
    "spelt", ["192.168.0.{n}", "{n}/7", "1.{n}.10", "1.2.{n:05d}", "AB/{n:02d}/2020", "555-{n:04d}", "12/34-{n:04d}"]
)
def test_keys_with_points_and_strokes_are_keys(spelt: str) -> None:
    keys = [spelt.format(n=n) for n in range(200)]
    assert (
        everything(column(keys)).why == "200 different values in 200 rows look like a key; categorical=['s'] keeps it"
    )


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"column 's': values of type binary cannot be read as text; leave it out: drop=\['s'\]"
    ):
        everything(column(pa.array([b"\xff", b"a"])))


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda k, day: f"{k} kg", "its values look like numbers with units, such as '0 kg'; write the numbers alone"),
        (lambda k, day: f"{k / 10}M", "its values look like numbers with units, such as '0.0M'"),
        (lambda k, day: f"<{k}", "its values look like numbers with units, such as '<0'"),
        (lambda k, day: f"{k:,}".replace(",", "_") + "_000", "its values look like numbers with units"),
        (lambda k, day: f"{day:%b %d, %Y}", "its values look like dates; write them as 2020-01-31"),
        (lambda k, day: f"{day:%d-%b-%y}", "its values look like dates"),
        (lambda k, day: f"{day:%a, %d %b %Y %H:%M:%S} GMT", "its values look like dates"),
        (lambda k, day: f"{day:%m/%d/%Y %I:%M %p}", "its values look like dates"),
        (lambda k, day: f"{2000 + k // 12}-{k % 12 + 1:02d}", "its values look like dates"),
        (lambda k, day: f"10.0.{k}.1", "80 different values in 80 rows look like a key"),
        (lambda k, day: f"A{k}", "80 different values in 80 rows look like a key"),
        (lambda k, day: f"{k}-{k + 5}", "80 different values in 80 rows look like a key"),
    ],
)  # fmt: skip
def test_what_looks_like_a_key_is_told_from_numbers_with_units_and_dates(write: Any, why: str) -> None:
    texts = [write(k, datetime(2020, 1, 31, 9, 15) + timedelta(k)) for k in range(80)]
    found = learn_category(open_table({"c": texts}), "c", training_rows=np.arange(80))
    assert found.part is None
    assert found.why.startswith(why)
    assert "categorical=['c'] keeps" in found.why
