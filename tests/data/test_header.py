"""What stands before the rows of a CSV file: no header, half of one, a line for Excel, comments, and what pandas makes of them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbgd.data import comments
from mbgd.data.comments import without_comments
from mbgd.data.files import Dialect
from mbgd.data.header import reads_like_data
from mbgd.data.table import Table, column_names, open_table, read_batches
from mbgd.errors import DataError, PlanError

NUMBERS = "1.5,2,x\n2.5,3,y\n"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, **written: Any) -> Table:
    """The table, once the pieces of the same file have been seen to be the same."""
    dialect = Dialect(**written)
    table = open_table(path, dialect=dialect)
    assert next(read_batches(path, dialect=dialect)).arrow.to_pydict() == table.arrow.to_pydict()
    assert column_names(path, dialect=dialect) == table.names
    return table


@pytest.mark.parametrize("columns", [(), ("a", "b", "c")])
def test_a_file_without_a_header_is_what_pandas_makes_of_it(tmp_path: Path, columns: tuple[str, ...]) -> None:
    path = write(tmp_path / "t.csv", NUMBERS)
    names = list(columns) or ["column_1", "column_2", "column_3"]
    table = read(path, header=False, columns=columns)
    assert table.arrow.to_pydict() == pd.read_csv(path, header=None, names=names).to_dict("list")
    assert table.where(0) == f"{path}: row 1"
    said = f"{path} is read without a header: its columns are column_1 to column_3; columns=['a', 'b', 'c'] names them"
    assert table.notices == (() if columns else (said,))


def test_a_text_file_of_another_suffix_is_read_where_its_dialect_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "iris.data", NUMBERS)
    with pytest.raises(DataError, match="a table ends in .*; delimiter=',' reads it as a text file"):
        open_table(path)
    assert read(path, header=False).n_rows == read(path, header=False, delimiter=",").n_rows == 2


def test_names_that_a_model_knows_stand_in_for_given_ones(tmp_path: Path) -> None:
    known = (("a", "b", "y"), ("a", "b"))
    three, two = write(tmp_path / "3.csv", NUMBERS), write(tmp_path / "2.csv", "1,2\n3,4\n")
    headed, one = write(tmp_path / "h.csv", "y,b,id,a\n1,2,3,4\n"), write(tmp_path / "1.csv", "1\n2\n")
    assert read(three, header=False, known=known).names == ("a", "b", "y")
    assert read(two, header=False, known=known).names == ("a", "b")
    assert read(headed, header=False, known=known).arrow.to_pydict() == {"y": [1], "b": [2], "id": [3], "a": [4]}
    assert read(headed, header=False, known=known).where(0) == f"{headed}: row 2"
    with pytest.raises(DataError) as caught:
        read(one, header=False, known=known)
    assert str(caught.value) == (
        f"{one}: row 1: 1 cell, the model was trained on 3 or 2 (a, b, y); name those of this file: columns=['a', 'b', 'c']"
    )


@pytest.mark.parametrize(
    ("text", "written", "message"),
    [
        (NUMBERS, {"columns": ("a", "b")}, "row 1: 3 cells, columns name 2 (a, b); name each cell"),
        ("a,b\n1,2\n", {"columns": ("a", "b")},
         "row 1 is a header, it holds the names of the columns; leave header=False out"),
        ("1;2\n3;4\n", {}, "row 1: one column only, '1;2'; is the delimiter ';'? delimiter=';'"),
        ("# made\n1,2\n", {}, "row 1 begins with '#' and is unlike the rows below it; comment='#' skips such lines"),
        ("1,2\n1,2\n3\n", {}, "row 3: 1 cell, the first row has 2; quote a cell that holds the delimiter, or correct the row"),
        ("1,x\n" + "2,5\n" * 9, {},
         "row 1, column 'column_2': 'x' is not a number; correct the cell, or read the column as text: categorical=['column_2']"),
    ],
)  # fmt: skip
def test_what_is_wrong_without_a_header_is_named_with_its_row(
    tmp_path: Path, text: str, written: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(DataError) as caught:
        open_table(path, dialect=Dialect(header=False, **written))
    assert str(caught.value) == f"{path}: {message}"


def test_dialects_that_are_none_are_one_sentence() -> None:
    for written, message in [
        ({"columns": ("a",)}, "columns name the cells of a file without a header, got a for one with a header"),
        ({"columns": ("a", "a"), "header": False}, "columns must be different names, got 'a' twice"),
        ({"comment": "//"}, "comment must be one character, other than quotes and the delimiter, got '//'"),
        ({"comment": ";", "delimiter": ";"}, "comment must be one character, other than quotes and the delimiter"),
        ({"comment": '"'}, "comment must be one character, other than quotes and the delimiter"),
    ]:
        with pytest.raises(PlanError, match=message):
            Dialect(**written)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("1.5,1,10", True), ("5.1,3.5,1.4,0.2,setosa", True), ("39,State-gov,77516,Bachelors,13", True), ("0,1,2", True),
        ("1,2", True), ("-1,a", False), ("1e-3,a", True), ("x,y", False), ("country,1990,1991,1992", False),
        ("label,0,1,2,3", False), (",x,y", False), (",1,7", True), ("id,2020", False),
    ],
)  # fmt: skip
def test_a_header_of_numbers_that_do_not_rise_reads_like_a_row(names: str, found: bool) -> None:
    assert reads_like_data(names.split(",")) == found


def test_a_first_row_that_reads_like_data_is_announced(tmp_path: Path) -> None:
    said = read(write(tmp_path / "t.csv", "5.1,3.5,setosa\n4,3,versicolor\n")).notices
    assert len(said) == 1
    assert "is taken for the header" in said[0]
    assert "--no-header" in said[0]
    said = read(write(tmp_path / "t.csv", "red,square,1a\nblue,round,1b\nred,round,1c\n")).notices
    assert len(said) == 1
    assert "holds 'red', which is also a value of that column; --no-header" in said[0]
    assert read(write(tmp_path / "t.csv", "colour,shape\nblue,round\nred,round\n")).notices == ()
    with pytest.raises(
        DataError, match="row 1: '2' stands twice in the header, which reads like a row of values; --no-hea"
    ):
        open_table(write(tmp_path / "t.csv", "2.5,2,2\n1,2,3\n"))
    with pytest.raises(
        DataError, match="there is no column 'y'; it has 2.5, 2, 3; its header reads like a row of values"
    ):
        open_table(write(tmp_path / "t.csv", "2.5,2,3\n1,2,3\n"), columns=["y"])


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line", ["sep=;\r\n", "sep=;\n", '"sep=;"\n', "SEP=;\n"])
def test_the_line_for_excel_is_no_header_and_names_the_delimiter(tmp_path: Path, mark: bytes, line: str) -> None:
    data = mark + (line + "x;y\n1;a,b\n2;c\n").encode()
    for path in (write(tmp_path / "t.csv", data), write(tmp_path / "t.csv.gz", gzip.compress(data))):
        table = read(path)
        assert table.arrow.to_pydict() == {"x": [1, 2], "y": ["a,b", "c"]}
        assert table.where(0) == f"{path}: row 2"
    path = write(tmp_path / "t.csv", data + b"3\n")
    with pytest.raises(DataError, match="row 4: 1 cell, the header has 2"):
        open_table(path)


def test_the_usual_delimiter_is_that_of_a_file_which_shows_it(tmp_path: Path) -> None:
    for text, names in [
        ("x;y\n1;2\n", ("x", "y")),
        ("x,y\n1,2\n", ("x", "y")),
        ("x,y;z\n1,2\n", ("x", "y;z")),
        ("x\n1\n", ("x",)),
    ]:
        assert read(write(tmp_path / "t.csv", text), usual=";").names == names
    assert read(write(tmp_path / "t.csv", "x,y;z\na,b;3\n"), delimiter=";", usual=",").names == ("x,y", "z")
    assert read(write(tmp_path / "t.tsv", "x\ty\n1\t2\n"), usual=";").names == ("x", "y")


def test_names_for_what_has_names_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "t.parquet")
    for data in (tmp_path / "t.parquet", pd.DataFrame({"x": [1]})):
        with pytest.raises(PlanError, match="columns name the cells of a CSV file without a header, got a for"):
            open_table(data, dialect=Dialect(header=False, columns=("a",)))


R_TABLES = [
    ('"x","y"\n"Mazda RX4",1,2\n"Datsun 710",3,4\n', ["Mazda RX4", "Datsun 710"]),
    ('"x","y"\n"1",1,2\n"2",3,4\n', [1, 2]),
    ("x,y\n1,1,2\n2,3,4\n", [1, 2]),
    ("\n\nx,y\n7,1,2\n8,3,4\n", [7, 8]),
    ('\ufeff"x","y"\r\n"a",1,2\r\n"b",3,4\r\n', ["a", "b"]),
]


@pytest.mark.parametrize(("text", "names"), R_TABLES)
def test_a_header_of_one_name_fewer_leaves_the_first_column_to_row_names(
    tmp_path: Path, text: str, names: list[Any]
) -> None:
    path = write(tmp_path / "t.csv", text)
    table = read(path)
    theirs = pd.read_csv(path)  # which takes them for its index
    assert table.arrow.to_pydict() == {"row.names": names, **theirs.to_dict("list")}
    assert list(table.unused) == ["row.names"]
    assert table.where(0) == f"{path}: row 2"
    table = read(write(tmp_path / "t.csv", text.replace(",", " ").replace("Mazda RX4", "Mazda_RX4")), delimiter=" ")
    assert table.names == ("row.names", "x", "y")


def test_a_cell_cut_in_two_is_no_row_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2: 3 cells, the header has 2; quote a cell"):
        open_table(write(tmp_path / "t.csv", "code,price\n3,1,5\n"))
    path = write(tmp_path / "t.csv", "name,price\napple,1,5\npear,2,5\n")
    with pytest.raises(DataError) as caught:
        open_table(path)
    assert str(caught.value) == (
        f"{path}: row 2: 3 cells, the header has 2; quote a cell that holds the delimiter, or give each column a name in the "
        "header, row names too"
    )


def test_a_delimiter_behind_each_row_moves_no_column(tmp_path: Path) -> None:
    """pandas takes the first column for an index there, and every other for its neighbour."""
    table = read(write(tmp_path / "t.csv", "x,y\n1,2,\n3,4,\n"))
    assert table.arrow.to_pydict() == {"x": [1, 3], "y": [2, 4], "": [None, None]}


def test_spaces_around_names_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "x, y\n1, 2\n3, 4\n")
    table = read(path)
    assert table.names == tuple(pd.read_csv(path).columns)
    assert table.notices == ("names of columns keep the spaces around them: ' y'",)


def test_a_comment_in_place_of_the_header_is_refused_by_name(tmp_path: Path) -> None:
    for text in ("# made today\nx,y\n1,2\n", "# made, today\n# by me, too\nx,y\n1,2\n"):
        path = write(tmp_path / "t.csv", text)
        with pytest.raises(DataError) as caught:
            open_table(path)
        assert str(caught.value) == (
            f"{path}: row 1 begins with '#' and is unlike the rows below it; comment='#' skips such lines"
        )
        assert read(path, comment="#").arrow.to_pydict() == {"x": [1], "y": [2]}
    assert read(write(tmp_path / "t.csv", "# x,y\n1,2\n")).names == ("# x", "y")  # as numpy.savetxt writes it
    with pytest.raises(DataError, match="row 3: 1 cell, the header has 2; is it a comment\\? comment='#'"):
        open_table(write(tmp_path / "t.csv", "x,y\n1,2\n# so far\n3,4\n"))


def test_rows_of_errors_do_not_count_comments(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "# a\n\nx,y# b\n" + "1,2\n# c\n" * 9 + "2,oops\n")
    with pytest.raises(DataError, match="row 11, column 'y': 'oops' is not a number"):
        open_table(path, dialect=Dialect(comment="#"))


LINES = st.lists(st.sampled_from(["1,2", "#c", "3,4 # c", '"a#b",5', '6,"x ""#"" y"', '7,"two\n#lines"', ""]),
                 min_size=1, max_size=9)  # fmt: skip


@settings(max_examples=40)
@given(lines=LINES, block=st.integers(1, 40), end=st.sampled_from(["\n", "\r\n"]))
def test_what_is_left_without_comments_is_what_pandas_leaves(lines: list[str], block: int, end: str) -> None:
    text = end.join(["x,y", *lines, "0,0"])
    before, comments.BLOCK = comments.BLOCK, block
    try:
        with without_comments(io.BytesIO(text.encode()), comment="#", delimiter=",") as clean:
            left = clean.read().decode()
    finally:
        comments.BLOCK = before
    ours = pd.read_csv(io.StringIO(left), dtype=str, keep_default_na=False)
    theirs = pd.read_csv(io.StringIO(text), comment="#", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(ours, theirs)
