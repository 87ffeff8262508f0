"""The manifest: one data set, one description; any change of rows, types, files or bytes is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.manifest import check, covered, describe
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


def long_file(path: Path) -> Path:
    """66 MiB, beyond which an older version hashed the ends alone."""
    text = pa.array(["w" * (1 << 20)] * 66)
    pq.write_table(pa.table({"s": text}), path, compression="none", use_dictionary=False)
    assert path.stat().st_size > 66 << 20
    return path


def change(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"z")


def test_one_changed_byte_in_the_middle_of_a_long_file_is_found(tmp_path: Path) -> None:
    path = long_file(tmp_path / "t.parquet")
    then = describe(open_table(path))
    assert then["files"][0]["hashed"] == "every byte"
    assert then["files"][0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert covered(then) == f"every byte of t.parquet ({path.stat().st_size:,} bytes)"
    change(path, 33 << 20)
    with pytest.raises(DataError, match=r"the bytes of t\.parquet changed"):
        check(then, describe(open_table(path), as_before=then))


def test_what_an_older_version_hashed_of_a_long_file_is_compared_and_said(tmp_path: Path) -> None:
    path, mib = long_file(tmp_path / "t.parquet"), 1 << 20
    whole, then = path.read_bytes(), describe(open_table(path))
    then["files"][0] |= {
        "hashed": f"length, first and last {mib} bytes",
        "sha256": hashlib.sha256(len(whole).to_bytes(8, "little") + whole[:mib] + whole[-mib:]).hexdigest(),
    }
    now = describe(open_table(path), as_before=then)
    check(then, now)
    assert covered(now) == (
        "of t.parquet the length and the first and last MiB, more was not recorded by the version that began it"
    )
    change(path, 1000)
    with pytest.raises(DataError, match=r"the bytes of t\.parquet changed"):
        check(then, describe(open_table(path), as_before=then))


def test_what_was_compared_is_said_of_files_and_frames(tmp_path: Path) -> None:
    files, frame = describe(open_table(folder(tmp_path / "data"))), describe(open_table({"a": [1]}))
    assert covered(files) == "every byte of 2 files (32 bytes)"
    assert covered({**frame, "test": files}) == "every value of the frame; every byte of 2 files (32 bytes)"


@pytest.mark.parametrize("files", [None, 3, [3], [{}], [{"hashed": 3}], [{"hashed": "nothing"}]])
def test_a_description_that_says_nonsense_changes_nothing_of_what_is_hashed(tmp_path: Path, files: Any) -> None:
    table = open_table(folder(tmp_path / "data"))
    assert describe(table, as_before={"files": files}) == describe(table)


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
