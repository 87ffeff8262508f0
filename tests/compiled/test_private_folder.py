"""Law: no code is loaded from where anybody but this user, or root, could have put it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mbgd.compiled import private_folder
from mbgd.compiled.cache_folder import open_folder
from mbgd.compiled.entry import read_entry, write_entry
from mbgd.compiled.private_folder import make_private

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no owners here")
NAME, OTHER, STAFF = "a" * 32, 4321, 54321  # a folder of kernels, another user, a group that several may be in
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to another user")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and a place for temporary files beside it."""
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MBGD_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path / "home"


def levels(home: Path) -> list[Path]:
    """From the folder of kernels up to the home folder."""
    folder = home / ".cache" / "mbgd" / "kernels" / NAME
    return [folder, *folder.parents][:5]


def test_what_is_made_is_for_this_user_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        assert open_folder(NAME).folder == levels(home)[0]
    finally:
        os.umask(before)
    assert [level.stat().st_mode & 0o777 for level in levels(home)[:-1]] == [0o700] * 4


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("mode", [0o757, 0o777, 0o772])
def test_a_level_that_others_may_write_to_is_not_used(home: Path, level: int, mode: int) -> None:
    assert open_folder(NAME).folder == levels(home)[0]
    open_level = levels(home)[level]
    open_level.chmod(mode)
    found = open_folder(NAME)
    assert found.is_refused
    assert found.folder.is_relative_to(home.parent / "tmp")
    assert str(open_level) in found.why_temporary
    assert "MBGD_CACHE_DIR" in found.why_temporary
    open_level.chmod(0o700)
    assert not open_folder(NAME).is_refused


@as_root
@pytest.mark.parametrize("level", range(5))
def test_a_level_of_another_user_is_not_used(home: Path, level: int) -> None:
    """As by `sudo` with the caller's HOME: what lies there its owner may have planted."""
    open_folder(NAME)
    os.chown(levels(home)[level], OTHER, OTHER)
    found = open_folder(NAME)
    assert found.is_refused
    assert found.folder.is_relative_to(home.parent / "tmp")


@as_root
def test_nothing_is_made_below_a_folder_of_another_user(home: Path) -> None:
    os.chown(home, OTHER, OTHER)
    assert open_folder(NAME).is_refused
    assert list(home.iterdir()) == []


@as_root
@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("private", [True, False])
def test_a_group_may_write_where_nobody_else_is_in_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, level: int, private: bool
) -> None:
    """Many systems give each user a group of his own, and let it write to his home folder."""
    open_folder(NAME)
    group = pwd.getpwuid(os.geteuid()).pw_gid if private else STAFF
    os.chown(levels(home)[level], -1, group)
    levels(home)[level].chmod(0o770)
    assert open_folder(NAME).is_refused is not private


def test_a_group_of_this_name_with_others_in_it_is_not_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.getpwuid(os.geteuid())
    named = {user.pw_gid: (user.pw_name, ["somebody"]), 77: (user.pw_name, []), 78: ("staff", [])}

    class Group:
        def __init__(self, gid: int) -> None:
            self.gr_name, self.gr_mem = named[gid]

    monkeypatch.setattr("grp.getgrgid", Group)
    assert [private_folder._is_private_group(group) for group in (user.pw_gid, 77, 78)] == [False] * 3
    named[user.pw_gid] = user.pw_name, [user.pw_name]
    assert private_folder._is_private_group(user.pw_gid)


def test_others_may_share_a_level_above_where_they_cannot_rename_what_is_ours(home: Path) -> None:
    """As /tmp is."""
    home.chmod(0o1777)
    assert not open_folder(NAME).is_refused
    levels(home)[1].chmod(0o1777)  # but not the folder of kernels itself: anybody may put one there
    assert open_folder(NAME).is_refused


LINKS: dict[str, tuple[int, bool]] = {
    "kernels of one version": (0, False),
    "all kernels": (1, False),
    "mbgd": (2, True),
}


@pytest.mark.parametrize("which", LINKS)
def test_a_link_of_this_user_may_stand_above_the_folders_that_only_we_make(home: Path, which: str) -> None:
    """A cache is moved to another disk so."""
    level, is_used = LINKS[which]
    open_folder(NAME)
    elsewhere, link = home / "elsewhere", levels(home)[level]
    shutil.move(link, elsewhere)
    link.symlink_to("../" * (4 - level - 1) + "elsewhere")
    found = open_folder(NAME)
    assert found.is_refused is not is_used
    if is_used:
        elsewhere.chmod(0o777)
        assert open_folder(NAME).is_refused


@as_root
def test_a_link_of_another_user_is_not_followed(home: Path) -> None:
    (home / "elsewhere").mkdir(mode=0o700)
    home.chmod(0o1777)
    (home / ".cache").symlink_to(home / "elsewhere")
    os.lchown(home / ".cache", OTHER, OTHER)
    assert open_folder(NAME).is_refused


def test_links_in_a_circle_are_a_folder_that_cannot_be_written(home: Path) -> None:
    (home / ".cache").symlink_to(home / ".cache")
    found = open_folder(NAME)
    assert "cannot be written" in found.why_temporary


@pytest.mark.parametrize("given", ["cache", "a/../cache", "link/../cache"])
def test_a_folder_that_the_user_names_is_looked_at_alike(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (home / "a").mkdir(mode=0o700)
    (home / "link").symlink_to(home / "a")
    monkeypatch.setenv("MBGD_CACHE_DIR", str(home / given))
    assert not open_folder(NAME).is_refused
    home.chmod(0o757)
    assert open_folder(NAME).is_refused


@as_root
def test_what_another_user_left_among_the_temporary_files_is_not_used(home: Path) -> None:
    home.chmod(0o757)
    theirs = home.parent / "tmp" / f"mbgd-{os.geteuid()}"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, OTHER, OTHER)
    found = open_folder(NAME)
    assert not found.folder.is_relative_to(theirs)
    assert found.folder.stat().st_mode & 0o077 == 0


def test_owners_whom_a_user_namespace_does_not_know_are_those_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of /, in a container without root, whose root belongs to nobody that it knows."""
    (tmp_path / "map").write_text("         0       1000          1\n")
    (tmp_path / "overflow").write_text("65534\n")
    monkeypatch.setattr(private_folder, "_KNOWN_OWNERS", tmp_path / "map")
    monkeypatch.setattr(private_folder, "_UNKNOWN_OWNER", tmp_path / "overflow")
    assert private_folder._unknown_owner() == 65534
    (tmp_path / "map").write_text("         0          0 4294967295\n")
    assert private_folder._unknown_owner() == 0
    monkeypatch.setattr(private_folder, "_KNOWN_OWNERS", tmp_path / "missing")
    assert private_folder._unknown_owner() == 0


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "one.kernel"


def read(path: Path) -> bytes | None:
    found = read_entry(path)
    return None if found is None else bytes(found)


def spoil(path: Path, how: str) -> None:
    whole = path.read_bytes()
    other = path.with_name("other")
    other.write_bytes(whole)
    ways: dict[str, Callable[[], None]] = {
        "a link": lambda: (path.unlink(), path.symlink_to(other))[-1],
        "a pipe": lambda: (path.unlink(), os.mkfifo(path))[-1],
        "a folder": lambda: (path.unlink(), path.mkdir())[-1],
        "open to all": lambda: path.chmod(0o602),
        "of another": lambda: os.chown(path, OTHER, OTHER),
        "huge": lambda: os.truncate(path, 1 << 40),
    }
    ways[how]()


@pytest.mark.parametrize(
    "how", ["a link", "a pipe", "a folder", "open to all", pytest.param("of another", marks=as_root), "huge"]
)
def test_an_entry_is_a_file_of_this_user_alone(entry: Path, how: str) -> None:
    assert make_private(entry.parent, own=1) == ""
    write_entry(entry, b"code")
    assert read(entry) == b"code"
    assert entry.stat().st_mode & 0o777 == 0o600
    spoil(entry, how)
    assert read(entry) is None
    if how != "a folder":
        write_entry(entry, b"again")
        assert read(entry) == b"again"


@as_root
def test_root_with_the_home_of_another_runs_nothing_of_his(tmp_path: Path) -> None:
    """A cache that its owner has planted with right checksums and a pickle that makes a file; then a training of root's."""
    code = """
import pickle, sys
from pathlib import Path
from mbgd.compiled import cache
from mbgd.compiled.entry import write_entry

class Planted:
    def __reduce__(self):
        return Path.touch, (Path(sys.argv[2]),)

def twice(x):
    return x + x

if sys.argv[1] == "plant":
    cache.write_entry = lambda path, content: write_entry(path, pickle.dumps(Planted()))
    cache.kept_njit(twice)(1.5)
print(cache.kept_njit(twice)(1.5))
"""
    theirs, ran = tmp_path / "theirs", tmp_path / "ran"
    theirs.mkdir()
    environment = {**os.environ, "HOME": str(theirs), "TMPDIR": str(tmp_path)}
    environment = {name: value for name, value in environment.items() if not name.endswith(("CACHE_DIR", "CACHE_HOME"))}

    def run(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, how, str(ran)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    run("plant")
    assert ran.exists()  # it runs what its own user has planted: the folder is his
    ran.unlink()
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, OTHER, OTHER)
    done = run("train")
    assert done.stdout == "3.0\n"
    assert not ran.exists()
    assert f"temporary files, since {theirs} belongs to user {OTHER}" in done.stderr
