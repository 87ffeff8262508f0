"""Find the table files behind a path, folder, glob or list of them, with the format of each."""

from __future__ import annotations

import errno
import glob
import gzip
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mbgd.errors import DataError, MBGDError, PlanError, StorageError, did_you_mean, listed, option

Format = Literal["csv", "parquet", "arrow"]
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
FORMATS: dict[str, Format] = {
    **dict.fromkeys(DELIMITERS, "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}  # fmt: skip
_SEPARATOR = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=([\t -~])"?(?:\r\n|\n|\r)', re.IGNORECASE)  # Excel's first line
_PACKED = (".zip", ".bz2", ".xz", ".zst", ".lz4", ".br", ".7z")
_TEXTS = ("", ".txt", ".data", ".dat")  # suffixes of text that may hold a table
KNOWN = ".csv, .csv.gz, .tsv, .parquet, .arrow or .feather"


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written; its suffix says the delimiter where None stands. Raises PlanError for what is no dialect.

    columns: names for the cells of a row, where there is no header. comment: the character from which on the rest of a
    line is skipped. known: lists of names of which the first that has a name for each cell stands in for `columns`. usual:
    the delimiter of a file whose first line holds it, and not the one that the suffix says.
    """

    delimiter: str | None = None
    header: bool = True
    columns: tuple[str, ...] = ()
    comment: str | None = None
    known: tuple[tuple[str, ...], ...] = ()
    usual: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and not _separates(self.separator):
            raise PlanError(f"delimiter must be one character, got {self.delimiter!r}; give ';' or a tab as '\\t'")
        if self.comment is not None and not (_separates(self.comment) and self.comment != self.separator):
            raise PlanError(
                f"comment must be one character, other than quotes and the delimiter, got {self.comment!r}; '#' is usual"
            )
        if self.columns and self.header:
            raise PlanError(
                f"columns name the cells of a file without a header, got {listed(self.columns)} for one with a header; "
                f"give {option('header', 'False')}, or leave columns out"
            )
        if double := [name for name, count in Counter(self.columns).items() if count > 1]:
            raise PlanError(f"columns must be different names, got {double[0]!r} twice; name each cell of a row once")

    def but(
        self,
        *,
        delimiter: str | None = None,
        header: bool | None = None,
        columns: Iterable[str] | None = None,
        comment: str | None = None,
    ) -> Dialect:
        """With what is given in place of its own."""
        return replace(
            self,
            delimiter=self.delimiter if delimiter is None else delimiter,
            header=self.header if header is None else header,
            columns=self.columns if columns is None else tuple(columns),
            comment=self.comment if comment is None else comment,
        )

    @property
    def separator(self) -> str:
        """The delimiter as it stands in the file, or nothing."""
        return {"\\t": "\t", "tab": "\t"}.get(self.delimiter or "", self.delimiter or "")


@dataclass(frozen=True)
class TableFile:
    """One file of rows; all but the first two have a meaning for the format csv alone."""

    path: Path
    format: Format
    delimiter: str = ","
    gzipped: bool = False
    skipped: int = 0  # bytes in front of the table: a first line as 'sep=;'
    header: bool = True
    columns: tuple[str, ...] = ()  # names of the cells, where the header is not to be read for them
    lines: int = 0  # then, the lines that come before the first row
    comment: str | None = None
    known: tuple[tuple[str, ...], ...] = ()


def find_files(data: str | Path | Iterable[str | Path], *, dialect: Dialect | None = None) -> tuple[TableFile, ...]:
    """The files behind `data`: those of a list in its order, those of a folder or glob by name.

    A folder is read with its subfolders, those that links lead to among them, without names that begin with '.' or '_' (but
    '_key=value') and without files of other suffixes. Raises DataError for a missing file, a link that leads nowhere, a folder
    without tables, a glob without match and an unknown suffix; StorageError where a file or folder may not be read.
    """
    named = [data] if isinstance(data, str | Path) else list(data)
    if not named:
        raise DataError("data must name at least one file, got an empty list; give a file, a folder or a glob")
    if "" in named:  # a shell's variable that was never set: not the folder that one happens to be in
        raise DataError("data must name a file, got ''; give a file, a folder or a glob, '.' is this folder")
    paths = [path for one in named for path in _paths(one)]
    return tuple(_described(path, dialect or Dialect()) for path in paths)


def _separates(delimiter: str) -> bool:
    """One character of ASCII that means nothing else in a CSV file."""
    return (
        len(delimiter) == 1
        and delimiter.isascii()
        and (delimiter == "\t" or delimiter.isprintable())
        and delimiter != '"'
    )


def dialect_option(name: str, value: str, *, known: Sequence[tuple[str, ...]]) -> str:
    """How to say what a CSV file is like; in Python a trained model, which has `known` names, takes a frame instead."""
    return option(name, value, python="read the file with pandas and give the frame" if known else None)


def read_failure(error: OSError, path: Path) -> MBGDError:
    """The announced failure for what the operating system said about reading `path`."""
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return DataError(
            f"{path}: it is a link to {os.readlink(path)}, which is not there; bring that back, or remove the link"
        )
    if error.errno == errno.ELOOP:
        return DataError(f"{path}: it is a link that leads back to itself; remove it")
    if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ENAMETOOLONG:
        return DataError(f"{path}: no such file or folder{_neighbour(path)}")
    if isinstance(error, PermissionError):
        return StorageError(f"{path}: permission to read was denied; `chmod u+r` or another user may help")
    return StorageError(f"{path}: the disk refused to read it ({error.strerror or error}); copy the file and try again")


def _paths(named: str | Path) -> list[Path]:
    path = Path(named).expanduser()
    try:
        if os.path.isdir(path):
            return _folder(path)
        if glob.has_magic(str(path)) and not os.path.lexists(path):
            return _matched(path)
        path.stat()
    except MBGDError:
        raise
    except OSError as error:  # there is none, a folder on the way may not be entered, or the name is too long
        raise read_failure(error, Path(error.filename or path)) from None
    except ValueError:  # a zero byte, which no name has
        raise read_failure(FileNotFoundError(), path) from None
    return [path]


def _matched(pattern: Path) -> list[Path]:
    """The files of a glob, which passes over folders that it may not read: here they are errors."""
    parts = list(enumerate(pattern.parts))
    ends = {at + (part == "**") for at, part in parts if glob.has_magic(part)}  # '**' is looked for in all below, too
    for end in ends:
        for place in glob.glob(str(Path(*pattern.parts[:end])), recursive=True):
            if os.path.isdir(place):
                os.scandir(place).close()
    found = sorted(Path(p) for p in glob.glob(str(pattern), recursive=True) if not os.path.isdir(p))
    if not found:
        raise DataError(f"{pattern}: the glob matches no file; quote it and try it with `ls`")
    return found


def _folder(folder: Path) -> list[Path]:
    below = _files_below(folder)
    for path in below:
        if path.is_symlink():  # one that leads nowhere may have led to a table, or to a folder of them
            path.stat()
    found = sorted(path for path in below if _suffix(path) in FORMATS)
    if packed := [
        path for path in below if path.suffix.lower() in _PACKED and _suffix(path.with_suffix("")) in FORMATS
    ]:
        raise DataError(
            f"{min(packed)}: the table is packed in a way that is not read; unpack it, or pack it by gzip as .csv.gz"
        )
    if not found:
        raise DataError(f"{folder}: the folder holds no table; a table ends in {KNOWN}")
    kinds = {FORMATS[_suffix(path)] for path in found}
    if len(kinds) > 1:
        raise DataError(
            f"{folder}: the folder mixes formats ({', '.join(sorted(kinds))}), which may be the same rows twice; "
            f"name one of them by a glob such as '{folder}/**/*{found[0].suffix}'"
        )
    return found


def _files_below(folder: Path) -> list[Path]:
    """All that is no folder, without hidden names. A folder that links lead to is read once, by its own name where it has one
    here: so links may lead in a circle. Raises OSError for a folder that cannot be read."""
    found, folders, links, seen = list[Path](), [folder], list[Path](), set[str]()
    while folders or links:
        here = folders.pop() if folders else links.pop(links.index(min(links)))
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        with os.scandir(here) as entries:
            for entry in entries:
                if not _is_hidden(entry.name):
                    (found if not entry.is_dir() else links if entry.is_symlink() else folders).append(
                        here / entry.name
                    )
    return found


def _is_hidden(name: str) -> bool:
    """'lost+found' lies at the root of many disks, and only their owner may read it."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name == "lost+found"


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _described(path: Path, dialect: Dialect) -> TableFile:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # it would be empty when it is read for the second time
            raise DataError(f"{path}: a pipe or device can be read only once; write what it gives to a file first")
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise read_failure(error, path) from None
    suffix, gzipped = _suffix(path), head[:2] == b"\x1f\x8b"
    kind = FORMATS.get(suffix) or ("csv" if dialect.delimiter or not dialect.header else None)
    if kind is None:
        csv = dialect_option("delimiter", ",", known=dialect.known)
        text = f"; to read it as a CSV file: {csv}" if suffix in _TEXTS else ""
        raise DataError(f"{path}: the suffix {path.suffix!r} names no table format; a table ends in {KNOWN}{text}")
    if not head:
        raise DataError(f"{path}: the file is empty (0 bytes); a table needs a header and at least one row")
    if kind != "csv":
        return TableFile(path, kind)
    line = _first_line(path, gzipped)
    found = _SEPARATOR.match(line)
    delimiter = dialect.separator or (found[1].decode() if found else DELIMITERS.get(suffix, ","))
    if (
        not (dialect.separator or found)
        and delimiter.encode() not in line
        and (dialect.usual or delimiter).encode() in line
    ):
        delimiter = dialect.usual or delimiter
    skipped = len(found[0]) if found else 0
    return TableFile(
        path,
        kind,
        delimiter,
        gzipped,
        skipped,
        header=dialect.header,
        columns=dialect.columns,
        comment=dialect.comment,
        known=dialect.known,
    )


def _first_line(path: Path, gzipped: bool) -> bytes:
    try:
        with gzip.open(path, "rb") if gzipped else path.open("rb") as file:
            return file.readline(1 << 16)
    except (EOFError, gzip.BadGzipFile, zlib.error):  # said when it is read
        return b""
    except OSError as error:
        raise read_failure(error, path) from None


def _neighbour(path: Path) -> str:
    try:
        return did_you_mean(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
    except OSError:
        return ""
