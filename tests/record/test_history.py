"""Law: the history read back is the one in memory, whole up to the last line, and a resumed run does not repeat a record."""

from __future__ import annotations

import errno
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mbgd.errors import SavedFileError, StorageError
from mbgd.record.history import History, HistoryWriter, cut_back, read_history, rewind
from mbgd.store import Digest, files

RECORDS = [
    {"step": 10, "epoch": 0, "rows_seen": 320, "loss": 0.7, "learning_rate": 0.1},
    {"step": 20, "epoch": 0, "rows_seen": 640, "loss": float("nan"), "learning_rate": 0.1},
    {"step": 30, "epoch": 1, "rows_seen": 960, "loss": 0.5, "learning_rate": 0.05, "validation_rmse": 1 / 3},
]


def written(path: Path) -> History:
    writer, history = HistoryWriter(path), History()
    for record in RECORDS:
        writer.append(record)
        history.append(record)
    return history


def test_what_is_read_is_what_was_in_memory(tmp_path: Path) -> None:
    history = written(tmp_path / "history.jsonl")
    assert list(read_history(tmp_path / "history.jsonl")) == list(history)
    assert read_history(tmp_path / "history.jsonl").columns == history.columns


def test_columns_and_rows() -> None:
    history = History(RECORDS)
    assert len(history) == 3
    assert history.columns == ["step", "epoch", "rows_seen", "loss", "learning_rate", "validation_rmse"]
    assert history["loss"] == [0.7, None, 0.5]
    assert history["validation_rmse"] == [None, None, 1 / 3]
    assert [row["step"] for row in history] == [10, 20, 30]
    assert all(list(row) == history.columns for row in history)
    assert "loss" in history
    with pytest.raises(KeyError, match="did you mean 'loss'"):
        history["los"]


def test_scalars_of_numpy_and_torch_are_held_as_pythons_own(tmp_path: Path) -> None:
    HistoryWriter(tmp_path / "h").append(
        {"a": np.float32(0.5), "b": torch.tensor(2), "c": np.float64("inf"), "d": {"e": 1}}
    )
    row = next(iter(read_history(tmp_path / "h")))
    assert row == {"a": 0.5, "b": 2, "c": None, "d": {"e": 1}}
    assert [type(value) for value in row.values()] == [float, int, type(None), dict]


def test_lines_are_standard_json(tmp_path: Path) -> None:
    written(tmp_path / "h")

    def no_constants(name: str) -> None:
        raise AssertionError(name)  # NaN is no JSON

    lines = (tmp_path / "h").read_text().splitlines()
    assert [json.loads(line, parse_constant=no_constants)["step"] for line in lines] == [10, 20, 30]


def test_arrow_has_the_same_columns() -> None:
    table = History(RECORDS).to_arrow()
    assert table.column_names == History(RECORDS).columns
    assert table.column("loss").to_pylist() == [0.7, None, 0.5]
    assert table.column("step").to_pylist() == [10, 20, 30]


def test_it_shows_its_ends_in_aligned_columns() -> None:
    assert repr(History()) == "History of 0 records"
    short = repr(History(RECORDS[:1])).splitlines()
    assert short[0].split() == ["step", "epoch", "rows_seen", "loss", "learning_rate"]
    assert short[1].split() == ["10", "0", "320", "0.7", "0.1"]
    assert short[2] == "History of 1 record"
    long = repr(History({"step": step, "loss": 1 / 3} for step in range(100))).splitlines()
    assert [line.split()[0] for line in long] == ["step", *"01234", "...", "95", "96", "97", "98", "99", "History"]
    assert long[1].split()[1] == "0.333333"
    assert len({len(line) for line in long[:6]}) == 1


def test_cut_anywhere_it_reads_the_lines_before_the_cut_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "h"
    written(path)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        n_whole = sum(end - 1 <= cut for end in ends)  # a last line that lacks its end alone is whole
        assert read_history(path)["step"] == [10, 20, 30][:n_whole] if n_whole else len(read_history(path)) == 0
        if cut % 7 == 0:
            HistoryWriter(path).append({"step": 99})
            assert read_history(path)["step"] == [*[10, 20, 30][:n_whole], 99]


def test_a_torn_line_of_zeros_is_left_out(tmp_path: Path) -> None:
    written(tmp_path / "h")
    with (tmp_path / "h").open("ab") as file:
        file.write(bytes(40))
    assert len(read_history(tmp_path / "h")) == 3


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    written(tmp_path / "h")
    lines = (tmp_path / "h").read_bytes().splitlines(keepends=True)
    (tmp_path / "h").write_bytes(lines[0] + b"12\n" + lines[2])
    with pytest.raises(SavedFileError, match="line 2 is none"):
        read_history(tmp_path / "h")


def test_damage_behind_the_checkpoint_is_dropped_and_before_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "h"
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + bytes(50) + b"\n" + lines[2])  # what a power loss may make of lines never synced
    with pytest.raises(SavedFileError, match="line 2 is none"):
        rewind(path, 30)
    assert rewind(path, 10)["step"] == [10]
    assert path.read_bytes() == lines[0]


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (9, 0), (10, 1), (29, 2), (30, 3), (1000, 3)])
def test_rewind_drops_what_will_be_made_again(tmp_path: Path, step: int, kept: int) -> None:
    path = tmp_path / "h"
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("ab") as file:
        file.write(b'{"step": 4')
    assert len(rewind(path, step)) == kept
    assert path.read_bytes() == b"".join(lines[:kept])
    for record in RECORDS[kept:]:
        HistoryWriter(path).append(record)
    assert path.read_bytes() == b"".join(lines)


def digest(data: bytes) -> Digest:
    return Digest(len(data), hashlib.sha256(data).hexdigest())


def test_the_running_digest_is_that_of_the_file_whenever_it_is_asked(tmp_path: Path) -> None:
    """Across writers, behind a torn line, and after a line that the disk refused."""
    path = tmp_path / "h"
    assert HistoryWriter(path).digest == digest(b"")
    for record in RECORDS:
        writer = HistoryWriter(path)
        writer.append(record)
        writer.append({"name": "é", **record})
        assert writer.digest == digest(path.read_bytes())
        with path.open("ab") as file:
            file.write(b'{"step": 4')
    writer = HistoryWriter(path)
    before = writer.digest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_write_all", refuse)
        with pytest.raises(StorageError):
            writer.append(RECORDS[0])
    assert writer.digest == before == digest(path.read_bytes())


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "full")


def test_cut_back_leaves_the_bytes_that_were_there_and_refuses_any_other(tmp_path: Path) -> None:
    path = tmp_path / "h"
    written(path)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for n, end in enumerate([0, *ends]):
        path.write_bytes(whole + b'{"step"')
        assert [record["step"] for record in cut_back(path, digest(whole[:end]))] == [10, 20, 30][:n]
        assert path.read_bytes() == whole[:end]
        for at in range(end):
            damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
            path.write_bytes(damaged)
            with pytest.raises(SavedFileError, match="a line of them was changed since"):
                cut_back(path, digest(whole[:end]))
            assert path.read_bytes() == damaged
    path.write_bytes(whole[:-1])
    with pytest.raises(SavedFileError, match="a line of them was changed since"):
        cut_back(path, digest(whole))


def test_rewinding_a_file_that_is_not_there_is_an_empty_history(tmp_path: Path) -> None:
    assert len(rewind(tmp_path / "h", 5)) == 0
    assert not (tmp_path / "h").exists()


def test_floats_come_back_to_the_last_bit(tmp_path: Path) -> None:
    values = [math.pi, 5e-324, -0.0, 1.7976931348623157e308, 0.1 + 0.2]
    for value in values:
        HistoryWriter(tmp_path / "h").append({"loss": value})
    assert [value.hex() for value in read_history(tmp_path / "h")["loss"]] == [value.hex() for value in values]
