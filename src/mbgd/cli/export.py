"""`mbgd export`: a run or model in, one ONNX file out, with its inputs and outputs shown."""

from __future__ import annotations

from pathlib import Path

from mbgd.cli.streams import tell
from mbgd.desk.export import checked_place, export
from mbgd.errors import PlanError


def export_file(run: Path, out: Path, *, force: bool) -> None:
    """Write the graph; an existing file is replaced with `force` alone."""
    checked_place(out)
    if out.exists() and not force:
        raise PlanError(f"the model must be a new file, got {out}, which exists; --force replaces it")
    export(run, out)
    tell(f"saved {out}")
