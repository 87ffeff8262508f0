"""Reading and encoding the flights table: mbgd beside pandas with scikit-learn, as a ratio of speeds.

    python bench/read_flights.py [PAIRS]

Each run is a process of its own on one core with one thread; imports are not timed. The two alternate, so that a slow
minute of the machine slows both. The work of each: read the Parquet file; fit on the same 80 % of the rows: impute and
scale 13 numbers, impute and encode 4 categories, calendar parts of one timestamp; transform all 336,776 rows.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from timing import Cell, alone, interval, report

FILE = Path(__file__).parents[1] / "examples" / "flights.parquet"
TARGET, CATEGORIES, TIME = "arr_delay", ["carrier", "origin", "dest", "manufacturer"], "time_hour"
PAIRS, ROWS = 15, 336_776


def mbgd_seconds() -> float:
    """Seconds of mbgd's table and encoder."""
    import numpy as np
    import pyarrow as pa

    from mbgd.data.encode.encoder import learn_encoder
    from mbgd.data.table import open_table

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    start = time.perf_counter()
    table = open_table(FILE)
    training = np.flatnonzero(np.arange(table.n_rows) % 5 > 0)
    encoded = learn_encoder(table, training_rows=training, drop=(TARGET,)).encode(table)
    seconds = time.perf_counter() - start
    assert encoded.numbers.shape[0] == encoded.codes.shape[0] == table.n_rows
    return seconds


def sklearn_seconds() -> float:
    """Seconds of pandas and a ColumnTransformer; one-hot columns stay sparse, which is the faster choice for it."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)

    def calendar(frame: pd.DataFrame) -> np.ndarray:
        parts = frame[TIME].dt
        turns = (parts.hour / 24, parts.dayofweek / 7, parts.dayofyear / 365.25)
        return np.column_stack([wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)])

    start = time.perf_counter()
    frame = pd.read_parquet(FILE).drop(columns=TARGET)
    training = frame[np.arange(len(frame)) % 5 > 0]
    numbers = [name for name in frame.columns if name not in (*CATEGORIES, TIME)]
    one_hot = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            ("categories", one_hot, CATEGORIES),
            ("calendar", FunctionTransformer(calendar), [TIME]),
        ]
    )
    encoder.fit(training)
    encoded = encoder.transform(frame)
    seconds = time.perf_counter() - start
    assert encoded.shape[0] == len(frame)
    return seconds


SIDES = {"mbgd": mbgd_seconds, "sklearn": sklearn_seconds}


def measured(side: str) -> float:
    """One run of a side in a fresh process, which inherits the core and the thread counts."""
    done = subprocess.run([sys.executable, __file__, "--side", side], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Alternate the sides and report the ratio of their speeds."""
    if len(sys.argv) > 2 and sys.argv[1] == "--side":
        print(SIDES[sys.argv[2]]())
        return
    alone()
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    runs: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(pairs):
        for side in list(runs)[:: 1 if number % 2 else -1]:
            runs[side].append(measured(side))
    ratios = [theirs / ours for ours, theirs in zip(runs["mbgd"], runs["sklearn"], strict=True)]
    low, high = interval(ratios)
    cell = Cell(
        name="read and encode flights.parquet",
        ours="mbgd",
        theirs="pandas + ColumnTransformer",
        unit="rows/s",
        our_speed=ROWS / median(runs["mbgd"]),
        their_speed=ROWS / median(runs["sklearn"]),
        ratio=median(ratios),
        low=low,
        high=high,
        goal=3.0,
        pairs=pairs,
    )
    report([cell])


if __name__ == "__main__":
    main()
