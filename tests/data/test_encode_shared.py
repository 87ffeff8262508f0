"""Columns of very many labels: rare and unseen ones share codes by a hash that coreutils' b2sum knows, in a table and a row."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.encode import categories
from mbgd.data.encode.categories import CategoryColumn, learn_category
from mbgd.data.encode.encoder import Encoder, learn_encoder
from mbgd.data.encode.row import RowEncoder
from mbgd.data.encode.shared import shared_code, shared_codes
from mbgd.data.table import Table, open_table

ALL = (1 << 64) - 1  # modulo it a hash is itself
GOLDEN = {  # text: what `printf %s TEXT | b2sum -l 64` prints, its bytes in that order
    "": "e4a6a0577479b2b4",
    "a": "40f89e395b66422f",
    "user_0000001": "05b9df24171365ac",
    "Ü €": "758213cd1ce4bfe0",
    "x" * 1000: "9a306b894c158617",
}
HOSTILE = [
    "",
    " ",
    "\0",
    "a\0",
    "nan",
    "None",
    "'; --",
    "Ü",
    "U\u0308",
    "\u202e",
    "😀",
    "x" * 1_000_000,
    "\n",
    "0",
    "-0",
]
GAPS = ["", " ", "nan", "None", "\n"]  # of these the ones that mean missing


def column(values: list[str | None]) -> Table:
    return open_table(pa.table({"s": pa.array(values, pa.string())}))


def learned(values: list[str | None], rows: Any = None) -> CategoryColumn:
    part = learn_category(
        column(values), "s", training_rows=np.arange(len(values)) if rows is None else rows, keep=True
    )
    assert part.part is not None
    return part.part


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three labels have a code of their own."""
    monkeypatch.setattr(categories, "MOST_LABELS", 3)


@pytest.mark.parametrize("text", GOLDEN, ids=lambda text: repr(text[:12]))
def test_the_hash_is_that_of_b2sum(text: str) -> None:
    number = int("".join(reversed([GOLDEN[text][i : i + 2] for i in range(0, 16, 2)])), 16)
    assert shared_code(text, ALL) == number
    assert shared_code(text, 10_000) == number % 10_000
    assert shared_code(text, 1) == 0


@pytest.mark.parametrize("spelt", ["user_{:07d}", "{}", "{:x}", "https://example.org/{}?a=1", "\0{:08b}"])
def test_labels_that_look_alike_are_spread_evenly(spelt: str) -> None:
    """Chi-square of 20,000 labels over 200 codes: 199 degrees of freedom, sd 20; a pure function, so never flaky."""
    counts = np.bincount([shared_code(spelt.format(n), 200) for n in range(20_000)], minlength=200)
    assert abs(((counts - 100) ** 2 / 100).sum() - 199) < 4 * 20


def test_labels_share_twice_as_many_codes_up_to_a_hundred_thousand_unless_most_of_their_rows_are_of_single_ones() -> (
    None
):
    assert [shared_codes([3] * n) for n in (0, 1, 5, 49_999, 50_001, 200_000)] == [0, 2, 10, 99_998, 100_000, 100_000]
    assert [shared_codes(counts) for counts in ([2, 1, 1], [2, 1, 1, 1], [1], [3, 1, 1])] == [6, 0, 0, 6]


@pytest.mark.usefixtures("three")
@given(
    values=st.lists(st.one_of(st.none(), st.sampled_from([*"abcdefghij", "-", "Ü"])), min_size=8, max_size=60),
    data=st.data(),
)
def test_frequent_labels_have_a_code_each_and_all_others_share(values: list[str | None], data: st.DataObject) -> None:
    """By training rows alone; whatever the order of rows."""
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(values) - 1), min_size=8))))
    seen = Counter(values[row] for row in rows)
    seen.pop(None, 0)
    if len(seen) < 2:
        return
    part = learned(values, rows)
    ranked = [label for label, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0] or ""))][:3]
    counts = sorted(seen.values(), reverse=True)[3:]
    shared = 2 * len(counts) if counts.count(1) <= sum(counts) / 2 else 0
    assert (list(part.labels), part.shared, part.cardinality) == (ranked, shared, 1 + len(ranked) + shared)
    codes = part.encode(column(values)).tolist()
    for value, code in zip(values, codes, strict=True):
        if value is None:
            assert code == 0
        elif value in ranked:
            assert code == ranked.index(value) + 1
        else:
            assert code == (4 + shared_code(value, shared) if shared else 0)
    again = data.draw(st.permutations([values[row] for row in rows]))
    assert learned(again) == part
    assert part.texts(column(values)) == tuple(v if shared or v in ranked else None for v in values)


def test_up_to_ten_thousand_labels_nothing_is_shared_nor_written() -> None:
    labels: list[str | None] = [f"id{n:05d}" for n in range(10_000)]
    few, many = learned(labels), learned([*labels, *labels, "one more", "one more"])
    assert (few.shared, few.cardinality) == (0, 10_001)
    assert few.to_json() == {"name": "s", "labels": list(few.labels), "type": "string"}
    assert few.encode(column(["never", None, "id00003"])).tolist() == [0, 0, 4]
    assert (many.shared, many.cardinality) == (2, 10_003)
    codes = many.encode(column(["never", None, "id00003", "one more"]))
    assert codes[1:3].tolist() == [0, 4]
    assert {*codes[[0, 3]]} <= {10_001, 10_002}


@pytest.mark.usefixtures("three")
def test_saved_and_read_again_it_is_the_same_and_a_file_without_the_word_shares_nothing() -> None:
    part = learned([*"aaabbbcccddeeff"])
    saved = json.loads(json.dumps(part.to_json()))
    assert saved["shared"] == 6
    assert CategoryColumn.from_json(saved) == part
    del saved["shared"]
    assert CategoryColumn.from_json(saved).encode(column(["a", "zz", "d"])).tolist() == [1, 0, 0]


@pytest.mark.usefixtures("three")
def test_a_row_is_encoded_as_a_table_of_it_whatever_it_holds() -> None:
    values = [*"aaabbbccc", *HOSTILE, *HOSTILE, *(f"id{n // 2}" for n in range(80))]
    table = open_table(pa.table({"s": pa.array(values), "x": np.arange(len(values)) / 7}))
    encoder = learn_encoder(table, training_rows=np.arange(len(values)), categorical=("s",))
    assert (
        encoder.categories[0].shared == 100
    )  # of 50 labels: 40 of two rows, and those of the hostile that are no gaps
    for known in (encoder, Encoder.from_json(json.loads(json.dumps(encoder.to_json())))):
        row = RowEncoder(known.to_json())
        for value in [*values, "never", "Ü" * 5000, None, 7, True, np.str_("id3")]:
            of_table = open_table({"s": [value], "x": [0.5]}, schema_like=known.schema, cells=known.cells)
            code = known.encode(of_table).codes[0].tolist()
            assert row({"s": value, "x": 0.5})[1] == code
            assert (code == [0]) == (value is None or value in GAPS)
    assert 4 <= RowEncoder(encoder.to_json())({"s": "\ud800", "x": 0.5})[1][0] < encoder.cardinalities[0]


@pytest.mark.usefixtures("three")
def test_the_user_is_told() -> None:
    for text, kept in (
        ("aaabbbccddeee", "have a code each, the others share 4"),
        ("aabbccd", "are kept, the others stand once or so"),
    ):
        summary = learn_category(column([*text]), "s", training_rows=np.arange(len(text)))
        assert summary.why == f"of {len({*text})} different values the 3 most frequent {kept}"
