"""The manifest: one data set, one description; any change of rows, types, files or bytes is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data import manifest
from mbgd.data.manifest import check, describe
from mbgd.data.table import open_table
from mbgd.errors import DataError

CSV = "a,s\n1,x\n2,y\n3,z\n"


def folder(path: Path) -> Path:
    path.mkdir()
    for name in ("1.csv", "2.csv"):
        (path / name).write_text(CSV)
    return path


def test_a_folder_is_described_file_by_file_and_survives_json(tmp_path: Path) -> None:
    said = describe(open_table(folder(tmp_path / "data")))
    digest = hashlib.sha256(CSV.encode()).hexdigest()
    one = {"bytes": len(CSV), "rows": 3, "sha256": digest, "hashed": "every byte"}
    assert said == {
        "version": 1,
        "n_rows": 6,
        "schema": [{"name": "a", "type": "int64"}, {"name": "s", "type": "string"}],
        "files": [{"name": "1.csv", **one}, {"name": "2.csv", **one}],
    }
    check(json.loads(json.dumps(said)), said)


CHANGES: list[tuple[Callable[[Path], Any], str]] = [
    (lambda p: (p / "2.csv").write_text(CSV.replace("3,z", "4,z")), "the bytes of 2.csv changed"),
    (lambda p: (p / "2.csv").write_text(CSV + "4,w\n"), "2.csv had 3 rows, now it has 4"),
    (lambda p: (p / "2.csv").write_text(CSV.replace("z", "zz")), "2.csv had 16 bytes, now it has 17"),
    (lambda p: (p / "2.csv").unlink(), "it had 2 files, now it has 1"),
    (lambda p: (p / "2.csv").rename(p / "3.csv"), "the file 2.csv is now 3.csv"),
    (lambda p: [f.write_text(CSV.replace("a,s", "a,t")) for f in p.iterdir()], "column 's' is gone"),
    (
        lambda p: [f.write_text(CSV.replace("3,z", "3.5,z")) for f in p.iterdir()],
        "column 'a' was int64, now it is double",
    ),
    (lambda p: [f.write_text("a,s,n\n1,x,1\n") for f in p.iterdir()], "column 'n' is new"),
    (lambda p: [f.write_text("s,a\nx,1\ny,2\nz,3\n") for f in p.iterdir()], "the bytes of 1.csv changed"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES, ids=[named for _, named in CHANGES])
def test_what_changed_is_named(tmp_path: Path, change: Callable[[Path], Any], named: str) -> None:
    path = folder(tmp_path / "data")
    then = describe(open_table(path))
    change(path)
    with pytest.raises(DataError) as caught:
        check(then, describe(open_table(path)))
    assert str(caught.value) == (
        f"the data is not what it was when the run began: {named}; bring it back, or start a new run"
    )


def test_of_a_long_file_both_ends_and_the_length_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "WHOLE", 10)
    monkeypatch.setattr(manifest, "ENDS", 4)
    (tmp_path / "t.csv").write_text(CSV)
    (file,) = describe(open_table(tmp_path / "t.csv"))["files"]
    assert file["hashed"] == "length, first and last 4 bytes"
    assert file["sha256"] == hashlib.sha256(len(CSV).to_bytes(8, "little") + b"a,s\n" + b"3,z\n").hexdigest()


VALUES = st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=2, max_size=12)
MAKERS: dict[str, Callable[[list[int | None]], pa.Array]] = {
    "int64": lambda v: pa.array(v, pa.int64()),
    "double": lambda v: pa.array(v, pa.float64()),
    "bool": lambda v: pa.array([None if x is None else x > 0 for x in v], pa.bool_()),
    "string": lambda v: pa.array([None if x is None else "w" * (1 + abs(x)) for x in v], pa.string()),
    "dictionary": lambda v: pa.array([None if x is None else f"v{x}" for x in v], pa.string()).dictionary_encode(),
    "timestamp": lambda v: pa.array(v, pa.int64()).cast(pa.timestamp("us")),
    "list": lambda v: pa.array([None if x is None else [x] for x in v], pa.list_(pa.int64())),
}


def in_memory(array: pa.Array | pa.ChunkedArray) -> dict[str, Any]:
    return describe(open_table(pa.table({"v": array})))


@pytest.mark.parametrize("kind", MAKERS)
@given(values=VALUES, cut=st.integers(0, 12), other=st.integers(-3, 3), at=st.integers(0, 11))
def test_a_frame_in_memory_hashes_its_values_however_arrow_cuts_them(
    kind: str, values: list[int | None], cut: int, other: int, at: int
) -> None:
    array, cut, at = MAKERS[kind](values), min(cut, len(values)), at % len(values)
    said = in_memory(array)
    pieces = pa.chunked_array([MAKERS[kind](values[:cut]), array.slice(cut)], array.type)  # an offset inside a buffer
    check(said, in_memory(pieces))
    if cut < len(values):
        check(in_memory(MAKERS[kind](values[cut:])), in_memory(array.slice(cut)))
    changed = MAKERS[kind]([*values[:at], other, *values[at + 1 :]])
    if changed.to_pylist() != array.to_pylist():
        with pytest.raises(DataError, match="values of column 'v' changed"):
            check(said, in_memory(changed))


def test_rows_in_another_order_are_other_data() -> None:
    table = open_table({"a": np.arange(5), "s": list("abcde")})
    with pytest.raises(DataError, match="values of column 'a' changed"):
        check(describe(table), describe(table.take(np.array([1, 0, 2, 3, 4]))))
    with pytest.raises(DataError, match="stand in another order"):
        check(describe(table), describe(open_table({"s": list("abcde"), "a": np.arange(5)})))
    with pytest.raises(DataError, match="values of column 's' changed"):  # lengths count, not only the joined letters
        check(describe(open_table({"s": ["ab", "c"]})), describe(open_table({"s": ["a", "bc"]})))
