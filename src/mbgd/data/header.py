"""The first rows of a CSV file in, the names of its columns out, and what a reader of the rest has to know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

import pyarrow as pa
import pyarrow.compute as pc

from mbgd.data.cells import BLANKS, number
from mbgd.data.csv_errors import announced, encoding_error, explain, open_bytes, records
from mbgd.data.files import TableFile
from mbgd.data.text import is_text
from mbgd.errors import DataError, argument, listed, option

HEAD = 20  # rows looked at
SEARCHED = 10_000  # rows in which a name is looked for
ROW_NAMES = "row.names"  # what R calls a column that it writes without a name
NO_HEADER = "--no-header reads a file without a header; in Python header=False, or a frame that pandas read"


@dataclass(frozen=True)
class Header:
    """`file` is to be read on with: where its header is not all that there is to the names, it has them."""

    names: tuple[str, ...]
    file: TableFile
    unused: Mapping[str, str] = field(default_factory=dict)  # column -> why it is no input
    notices: tuple[str, ...] = ()


def read_header(file: TableFile) -> Header:
    """The column names, by the header or else as they are given or known; columns without any are column_1, column_2, ...

    Raises DataError where they are absent, double, not UTF-8, split at another delimiter, or not one a cell.
    """
    with announced(file):
        with open_bytes(file) as raw:
            head = raw.read(4)
        if error := encoding_error(file, head):
            raise error
        rows = [cells for _, cells in islice(records(file), HEAD)]
    if not rows:
        raise DataError(f"{file.path}: the file is empty; a table needs a header and at least one row")
    first, following = rows[0], rows[1:]
    if "\0" in "".join(first) or any("\udc80" <= c <= "\udcff" for c in "".join(first)):
        raise explain(file, reason="header", names=first)
    _check_comment(file, first, following)
    double = [name for name, count in Counter(first).items() if count > 1]
    if file.header and double:
        raise _double(file, double[0], first)
    if len(first) == 1 and (other := [c for c in ",;\t|" if c != file.delimiter and c in first[0]]):
        raise DataError(
            f"{file.path}: row 1: one column only, {first[0]!r}; is the delimiter {other[0]!r}? {option('delimiter', other[0])}"
        )
    if not file.header:
        return _without_header(file, first)
    if following and {len(cells) for cells in following} == {len(first) + 1} and "\n" not in "".join(first):
        return _one_name_fewer(file, first, following)
    return Header(tuple(first), file, notices=tuple(_notices(file, first)))


def reads_like_data(names: Sequence[str]) -> bool:
    """Whether a header may be a row of values: all are numbers, or some are and do not rise as years or 0, 1, 2 would."""
    there = [name for name in names if name.strip()]
    numbers = [float(found) for name in there if (found := number(name.strip(BLANKS))) is not None]
    if not numbers:
        return False
    rise = all(a < b for a, b in pairwise(numbers)) and all(found.is_integer() for found in numbers)
    return len(numbers) == len(there) or not rise


def value_in_header(file: TableFile, table: pa.Table) -> tuple[str, ...]:
    """A sentence on the first column of text whose name is one of its own values, as where a row was taken for the header."""
    for name in table.column_names:
        column = table.column(name).slice(0, SEARCHED)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if is_text(kind) and pc.any(pc.equal(column.cast(kind), name)).as_py():
            what = f"the first row of {file.path} is taken for the header and holds {name!r}, which is also a value of that column"
            return (f"{what}; {NO_HEADER}",)
    return ()


def _without_header(file: TableFile, first: list[str]) -> Header:
    n = len(first)
    if file.columns and len(file.columns) != n:
        raise DataError(
            f"{file.path}: row 1: {_cells(n)}, columns name {len(file.columns)} ({listed(file.columns)}); name each cell"
        )
    if file.known and 2 * len({*first} & {*file.known[0]}) > n:
        return read_header(replace(file, header=True))
    if file.known and not any(len(known) == n for known in file.known):
        counts = " or ".join(str(len(known)) for known in file.known)
        raise DataError(
            f"{file.path}: row 1: {_cells(n)}, the model was trained on {counts} ({listed(file.known[0])}); "
            f"name those of this file: {option('columns', 'a,b,c')}"
        )
    known = next((known for known in file.known if len(known) == n), ())
    names = file.columns or known or tuple(f"column_{number}" for number in range(1, n + 1))
    if file.columns == tuple(first):
        raise DataError(
            f"{file.path}: row 1 is a header, it holds the names of the columns; leave {option('header', 'False')} out"
        )
    named = argument("columns", "a,b,c")
    made = f"{file.path} is read without a header: its columns are {names[0]} to {names[-1]}; {named} names them"
    return Header(names, replace(file, columns=names), notices=() if file.columns or known else (made,))


def _one_name_fewer(file: TableFile, first: list[str], following: list[list[str]]) -> Header:
    """Row names as R writes them, or a delimiter at the end of each row. Raises DataError for what may be a cell cut in two."""
    lines = _lines_of_header(file)
    if all(not cells[-1] for cells in following):
        names = (*first, "")
        return Header(names, replace(file, columns=names, lines=lines), notices=tuple(_notices(file, first)))
    if not (_is_quoted(file) or _counts([cells[0] for cells in following])):
        raise DataError(
            f"{file.path}: row 2: {_cells(len(following[0]))}, the header has {len(first)}; quote a cell that holds the "
            "delimiter, or give each column a name in the header, row names too"
        )
    names = (ROW_NAMES, *first)
    if ROW_NAMES in first:
        raise _double(file, ROW_NAMES, first)
    why = "it has no name in the header and holds the names of rows, as R writes them; a name makes it an input"
    return Header(names, replace(file, columns=names, lines=lines), {ROW_NAMES: why}, tuple(_notices(file, first)))


def _counts(texts: list[str]) -> bool:
    """Whether they are whole numbers, each one more than that before; a single one has to be 1."""
    if not all(text.isdecimal() for text in texts):
        return False
    numbers = [int(text) for text in texts]
    return all(b == a + 1 for a, b in pairwise(numbers)) and (len(numbers) > 1 or numbers[0] == 1)


def _lines_of_header(file: TableFile) -> int:
    """Lines down to the end of the header, which is in one: blank ones in front of it count."""
    with open_bytes(file) as raw:
        head = raw.read(1 << 20).removeprefix(b"\xef\xbb\xbf")
    lines = head.splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip())


def _is_quoted(file: TableFile) -> bool:
    with open_bytes(file) as raw:
        return raw.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b'"')


def _check_comment(file: TableFile, first: list[str], following: list[list[str]]) -> None:
    """Raises DataError where a comment stands in place of the header; a header may begin with '#', as that of NumPy does."""
    if not following or not first[0].lstrip().startswith("#"):
        return
    if len(following[0]) != len(first) or following[0][0].lstrip().startswith("#"):
        raise DataError(
            f"{file.path}: row 1 begins with '#' and is unlike the rows below it; {option('comment', '#')} skips such lines"
        )


def _double(file: TableFile, name: str, first: list[str]) -> DataError:
    if number(name.strip(BLANKS)) is not None or reads_like_data(first):
        return DataError(
            f"{file.path}: row 1: {name!r} stands twice in the header, which reads like a row of values; {NO_HEADER}"
        )
    return DataError(
        f"{file.path}: row 1: the column {name!r} stands twice in the header; rename one of them, or, if there is no "
        f"header, give {option('header', 'False')}"
    )


def _notices(file: TableFile, names: Sequence[str]) -> list[str]:
    said = []
    if reads_like_data(names):
        said.append(
            f"the first row of {file.path}, {listed(names)}, is taken for the header and reads like a row of values; {NO_HEADER}"
        )
    if spaced := [name for name in names if name != name.strip()]:
        said.append(f"names of columns keep the spaces around them: {', '.join(map(repr, spaced))}")
    return said


def _cells(n: int) -> str:
    return f"{n} cell{'s' if n != 1 else ''}"
