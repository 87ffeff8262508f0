"""The files behind a folder or glob: none of them, and no folder of them, is passed over in silence."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mbgd.cli import run as command
from mbgd.data import files as module
from mbgd.data.files import find_files
from mbgd.data.table import open_table, read_batches
from mbgd.errors import DataError, MBGDError, StorageError

NOBODY = 65_534


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that any user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


@contextmanager
def as_one_who_may_not_read_everything() -> Iterator[None]:
    own = os.geteuid()
    if own == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)


def put(path: Path, rows: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a\n" + "1\n" * rows)
    return path


def names(data: object, root: Path) -> list[str]:
    return [str(file.path.relative_to(root)) for file in find_files(data)]  # type: ignore[arg-type]


UNREADABLE: dict[str, Callable[[Path], tuple[str, Path]]] = {  # -> (what is asked for, what the message names)
    "a folder below": lambda d: ("", d / "2024"),
    "one two below": lambda d: ("", d / "2023" / "in"),
    "by a glob of folders": lambda d: ("*/*.csv", d / "2024"),
    "by a glob of all below": lambda d: ("**/*.csv", d / "2023" / "in"),
    "above a glob": lambda d: ("2024/*.csv", d / "2024"),
}


@pytest.mark.parametrize("mode", [0o000, 0o333])
@pytest.mark.parametrize("what", UNREADABLE)
def test_a_folder_that_may_not_be_read_is_an_error(root: Path, what: str, mode: int) -> None:
    put(root / "2023" / "1.csv")
    put(root / "2023" / "in" / "1.csv")
    put(root / "2024" / "1.csv")
    asked, named = UNREADABLE[what](root)
    assert len(find_files(root / asked)) >= 1
    named.chmod(mode)
    with as_one_who_may_not_read_everything(), pytest.raises(StorageError) as caught:
        find_files(root / asked)
    assert str(caught.value) == f"{named}: permission to read was denied; `chmod u+r` or another user may help"


def test_a_folder_that_may_be_listed_and_not_entered_is_an_error(root: Path) -> None:
    put(root / "2023" / "1.csv")
    file = put(root / "2024" / "1.csv")
    file.parent.chmod(0o666)
    for asked in (root, root / "*/*.csv"):
        with (
            as_one_who_may_not_read_everything(),
            pytest.raises(StorageError, match=f"{file}: permission to read was denied"),
        ):
            find_files(asked)


def test_a_file_that_may_not_be_read_is_an_error(root: Path) -> None:
    put(root / "1.csv")
    put(root / "2.csv").chmod(0)
    for asked in (root, root / "*.csv"):
        with (
            as_one_who_may_not_read_everything(),
            pytest.raises(StorageError, match=r"2\.csv: permission to read was denied"),
        ):
            find_files(asked)


def test_a_hidden_folder_and_lost_and_found_are_not_entered(root: Path) -> None:
    put(root / "1.csv")
    for name in (".git", "_tmp", "lost+found"):
        (root / name).mkdir(mode=0o000)
    with as_one_who_may_not_read_everything():
        assert names(root, root) == ["1.csv"]


@pytest.mark.parametrize("name", ["2.csv", "2024", "notes"])
def test_a_link_that_leads_nowhere_is_an_error(root: Path, name: str) -> None:
    put(root / "1.csv")
    (root / name).symlink_to(root / "gone")
    said = f"{root / name}: it is a link to {root / 'gone'}, which is not there; bring that back, or remove the link"
    for asked in (root, root / "*"):
        with pytest.raises(DataError) as caught:
            find_files(asked)
        assert str(caught.value) == said
    (root / name).rename(root / f".{name}")  # as editors make them
    assert names(root, root) == ["1.csv"]


def test_a_link_to_itself_is_an_error(root: Path) -> None:
    put(root / "1.csv")
    (root / "2.csv").symlink_to("2.csv")
    for asked in (root, root / "*.csv", root / "2.csv"):
        with pytest.raises(DataError, match=r"2\.csv: it is a link that leads back to itself; remove it"):
            find_files(asked)


def test_folders_behind_links_are_read_once_and_may_lead_in_a_circle(root: Path) -> None:
    put(root / "data" / "2023" / "1.csv")
    put(root / "data" / ".kept" / "2.csv")
    put(root / "elsewhere" / "3.csv")
    for name, to in (("2024", "../elsewhere"), ("latest", "2023"), ("shown", ".kept"), ("2023/up", "..")):
        (root / "data" / name).symlink_to(to)
    (root / "elsewhere" / "back").symlink_to("../data")
    assert names(root / "data", root) == ["data/2023/1.csv", "data/2024/3.csv", "data/shown/2.csv"]
    assert open_table(root / "data").n_rows == 6
    assert sum(table.n_rows for table in read_batches(root / "data")) == 6


def test_a_folder_that_goes_while_it_is_listed_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "1.csv")
    put(root / "2024" / "1.csv")
    whole = module._is_hidden

    def hidden(name: str) -> bool:
        if name == "2024":
            shutil.rmtree(root / "2024")
        return whole(name)

    monkeypatch.setattr(module, "_is_hidden", hidden)
    with pytest.raises(DataError, match=f"{root / '2024'}: no such file or folder"):
        find_files(root)


def test_a_pipe_with_the_name_of_a_table_is_an_error(root: Path) -> None:
    put(root / "1.csv")
    os.mkfifo(root / "2.csv")
    for asked in (root, root / "*.csv"):
        with pytest.raises(DataError, match="a pipe or device can be read only once"):
            find_files(asked)


@pytest.mark.parametrize("name", ["2.csv.zip", "2.csv.bz2", "2.parquet.zst", "2.tsv.xz"])
def test_a_table_packed_in_a_way_that_is_not_read_is_an_error(root: Path, name: str) -> None:
    put(root / "1.csv")
    put(root / name)
    with pytest.raises(DataError, match="is packed in a way that is not read; unpack it, or pack it by gzip"):
        find_files(root)


def test_files_of_other_kinds_are_left_out(root: Path) -> None:
    put(root / "1.csv")
    for name in ("README.md", "schema.json", "1.csv.md5", "1.csv.bak", "_SUCCESS", ".1.csv.crc"):
        (root / name).write_text("no table")
    assert names(root, root) == ["1.csv"]


def test_the_command_says_it_in_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put(root / "2023" / "1.csv")
    put(root / "2024" / "1.csv")
    lists = os.scandir

    def refuse(place: Path) -> Iterator[os.DirEntry[str]]:
        if place == root / "2024":
            raise PermissionError(13, "Permission denied", str(place))
        return lists(place)

    monkeypatch.setattr(module.os, "scandir", refuse)
    assert command(["inspect", str(root), "--target", "a"]) == StorageError.exit_code
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"mbgd: error: {root / '2024'}: permission to read was denied" in err


def test_no_failure_of_the_system_is_raised_raw(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "in" / "1.csv")

    def refuse(*of: object) -> None:
        raise OSError(5, "Input/output error", str(root / "in"))

    monkeypatch.setattr(module.os, "scandir", refuse)
    with pytest.raises(MBGDError, match=f"{root / 'in'}: the disk refused to read it"):
        find_files(root)
