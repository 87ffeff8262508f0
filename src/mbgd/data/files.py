"""What the user named (a path, a folder, a glob, a list of them) in, table files with their formats out."""

from __future__ import annotations

import errno
import glob
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable
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
                "give --no-header, in Python header=False, or leave columns out"
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

    A folder is read with its subfolders, without names that begin with '.' or '_' (but '_key=value'). Raises DataError for
    a missing file, a folder without tables, a glob without match and an unknown suffix; StorageError where a file may not
    be read.
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


def read_failure(error: OSError, path: Path) -> MBGDError:
    """The announced failure for what the operating system said about reading `path`."""
    if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return DataError(f"{path}: no such file or folder{_neighbour(path)}")
    if isinstance(error, PermissionError):
        return StorageError(f"{path}: permission to read was denied; `chmod u+r` or another user may help")
    return StorageError(f"{path}: the disk refused to read it ({error.strerror or error}); copy the file and try again")


def _paths(named: str | Path) -> list[Path]:
    path = Path(named).expanduser()
    try:
        if path.is_dir():
            return _folder(path)
        if path.exists():
            return [path]
    except OSError as error:  # a folder on the way may not be entered, or the name is too long
        raise read_failure(error, path) from None
    if glob.has_magic(str(path)):
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
        if not found:
            raise DataError(f"{named}: the glob matches no file; quote it and try it with `ls`")
        return found
    raise DataError(f"{path}: no such file or folder{_neighbour(path)}")


def _folder(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and _suffix(path) in FORMATS
        and not any(_is_hidden(part) for part in path.relative_to(folder).parts)
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


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _described(path: Path, dialect: Dialect) -> TableFile:
    try:
        if not path.is_file():  # it would be empty when it is read for the second time
            raise DataError(f"{path}: a pipe or device can be read only once; write what it gives to a file first")
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise read_failure(error, path) from None
    suffix, gzipped = _suffix(path), head[:2] == b"\x1f\x8b"
    kind = FORMATS.get(suffix) or ("csv" if dialect.delimiter or not dialect.header else None)
    if kind is None:
        text = f"; {option('delimiter', ',')} reads it as a text file" if suffix in _TEXTS else ""
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
