"""`mbgd predict` and `mbgd evaluate`: predict the rows of a file in their order, or score them."""

from __future__ import annotations

import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from mbgd.cli.options import names_in
from mbgd.cli.show import print_json
from mbgd.cli.spreadsheet import without_formulas
from mbgd.cli.streams import tell
from mbgd.data.encode.targets import have_targets
from mbgd.data.encode.unseen import count_unseen, unseen_said
from mbgd.data.encode.weights import row_weights
from mbgd.data.files import Dialect
from mbgd.data.table import open_table, read_batches
from mbgd.desk.data_warning import warn_of
from mbgd.desk.ensemble import Predicting, blocks, columns_of
from mbgd.desk.load import load_table
from mbgd.desk.output import check_stdout, files_read, output_file
from mbgd.desk.shown import shown_names
from mbgd.errors import DataError, PlanError, is_utf8, plain
from mbgd.measure.metrics import scorer
from mbgd.store import writing

ROWS = 65_536  # rows read, predicted and written at once


def predict_file(
    run: Path,
    data: Any,
    *,
    out: Path | None,
    keep: list[str],
    written: Mapping[str, Any],
    force: bool,
    safe_csv: bool = False,
) -> None:
    """Read, predict and write block by block: memory does not grow with the file; nothing is left of a failed attempt."""
    if safe_csv and out is not None and out.suffix not in (".csv", ".tsv"):
        raise PlanError(
            f"safe_csv must go with a CSV or TSV file, got {out.name!r}, which no spreadsheet computes; leave it out"
        )
    predictor = load_table(run)
    dialect = _dialect(predictor, written)
    coming, inputs = _predicted(predictor, data, keep=keep, dialect=dialect), files_read(run, data)
    coming = without_formulas(coming) if safe_csv else coming
    if out is None:
        check_stdout(1, inputs=inputs)
        _write_csv(coming, _Terminal() if sys.stdout.isatty() else sys.stdout.buffer)
        return
    write = writer(out)
    with writing(output_file(out, inputs=inputs, force=force)) as temporary, temporary.open("wb") as file:
        write(coming, file)


class _Terminal:
    """A file of bytes for Arrow: lines of text on the terminal, what is not printable in them spelt out."""

    closed = False

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")(errors="backslashreplace")

    def write(self, data: bytes) -> int:
        sys.stdout.write(plain(self._decoder.decode(bytes(data)), lines=True))
        return len(data)

    def flush(self) -> None:
        sys.stdout.flush()


def _dialect(predictor: Predicting, written: Mapping[str, Any]) -> Dialect:
    """How the options say that CSV files are written, and else as the model was trained."""
    return predictor.dialect.but(**{**written, "columns": names_in(written["columns"])})


def writer(out: Path) -> Callable[[Iterator[pa.Table], Any], None]:
    """What writes tables, one behind the other, in the format of that ending. Raises PlanError for any other."""
    kinds = {".csv": _write_csv, ".tsv": _write_tsv, ".parquet": _write_parquet, ".arrow": _write_arrow}
    kinds |= {".feather": _write_arrow}
    if out.suffix not in kinds:
        raise PlanError(f"out must end in {', '.join(kinds)}, got {out.name!r}; the ending chooses the format")
    return kinds[out.suffix]


def _predicted(predictor: Predicting, data: Any, *, keep: list[str], dialect: Dialect) -> Iterator[pa.Table]:
    inputs = predictor.columns
    columns = list(dict.fromkeys([*inputs, *keep]))
    written = columns_of(predictor, np.zeros((0, *predictor.output_shape)))
    if twice := [name for name in keep if name in written]:
        raise PlanError(f"keep must name other columns than those of the predictions, got {twice[0]!r}; rename it")
    if wrong := [name for name in keep if not is_utf8(name)]:
        raise PlanError(f"keep must name columns of the data, got {wrong[0]!r}, which is no Unicode; leave it out")
    schema = predictor.inputs
    carried = [pa.field(name, pa.string()) for name in keep if name not in inputs]
    schema = pa.schema([*schema, *carried])  # of a CSV file as they stand: an id 007 stays 007
    cells = replace(predictor.cells, carried=tuple(field.name for field in carried))
    tables = read_batches(data, dialect=dialect, columns=columns, schema_like=schema, rows=ROWS, cells=cells)
    for table, found in blocks(predictor, tables):
        along = {name: table.column(name) for name in keep}
        yield pa.table({**along, **{name: pa.array(values) for name, values in found.items()}})


def _write_csv(tables: Iterator[pa.Table], file: Any, *, delimiter: str = ",") -> None:
    options = pc.WriteOptions(delimiter=delimiter, quoting_style="needed")
    writer = None
    for table in tables:
        plain = table.cast(pa.schema([_writable(field) for field in table.schema]))
        writer = writer or pc.CSVWriter(file, plain.schema, write_options=options)
        writer.write_table(plain)
    if writer is not None:
        writer.close()


def _writable(field: pa.Field) -> pa.Field:
    return pa.field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _write_tsv(tables: Iterator[pa.Table], file: Any) -> None:
    _write_csv(tables, file, delimiter="\t")


def _write_parquet(tables: Iterator[pa.Table], file: Any) -> None:
    writer = None
    for table in tables:
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _write_arrow(tables: Iterator[pa.Table], file: Any) -> None:
    writer = None
    for table in tables:
        plain = table.cast(
            pa.schema([_writable(field) for field in table.schema])
        )  # one dictionary a file is Arrow's rule
        writer = writer or pa.ipc.new_file(file, plain.schema)
        writer.write_table(plain)
    if writer is not None:
        writer.close()


def evaluate_file(run: Path, data: Any, *, written: Mapping[str, Any], weight: str | None, json: bool) -> None:
    """Scores on the rows that have a target."""
    predictor = load_table(run)
    assert predictor.target is not None
    target = predictor.target
    table = open_table(data, dialect=_dialect(predictor, written), schema_like=predictor.schema, cells=predictor.cells)
    there = have_targets(table, target.names)
    if not there.any():
        raise DataError(
            f"{table.name}, column {target.name!r}: no row has a target to score against; predict needs none"
        )
    table = table.take(np.flatnonzero(there))
    outputs = predictor.of_table(table)
    assert predictor.encoder is not None
    warn_of(unseen_said(count_unseen(predictor.encoder, table)))
    means = predictor.numbers(outputs) if not target.classes else outputs
    names = target.names if len(target.names) > 1 else ()
    how: dict[str, Any] = {"levels": predictor.loss.levels, "threshold": predictor.threshold, "names": names}
    scores = scorer(predictor.loss.kind, max(2, len(target.classes)), **how)
    scores.add(means, target.encode(table), None if weight is None else row_weights(table, weight))
    found = scores.result()
    if json:
        print_json({"rows": table.n_rows, "left_out": int((~there).sum()), **found})
        return
    shown = "  ".join(f"{name} {found[name]:.4f}" for name in shown_names(predictor) if name in found)
    tell(f"{table.n_rows:,} rows  {shown}")
    for name in names:
        tell(f"  {name}  " + "  ".join(f"{score} {found[f'{score}_{name}']:.4f}" for score in shown_names(predictor)))
