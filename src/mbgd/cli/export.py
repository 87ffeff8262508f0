"""`mbgd export`: write a run or model as one ONNX file and show its inputs and outputs."""

from __future__ import annotations

from pathlib import Path

from mbgd.cli.streams import tell
from mbgd.desk.export import checked_place, export
from mbgd.desk.output import files_read, output_file


def export_file(run: Path, out: Path, *, force: bool) -> None:
    """Write the graph; an existing file is replaced with `force` alone."""
    output_file(checked_place(out), inputs=files_read(run, None), force=force)
    export(run, out)
    tell(f"saved {out}")
