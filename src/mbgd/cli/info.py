"""`mbgd info` and `mbgd inspect`: facts of the machine, of a run, or of what a training would do."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mbgd.cli.show import print_json
from mbgd.cli.streams import tell, tell_table
from mbgd.desk.ended import read_result
from mbgd.desk.ensemble import Ensemble
from mbgd.desk.folder import read_plan
from mbgd.desk.load import load
from mbgd.desk.plan import Plan
from mbgd.desk.run_files import PLAN, RESULT
from mbgd.desk.several import how_many
from mbgd.desk.stderr import say
from mbgd.desk.table import TableRows, by_size, facts_of, read_rows
from mbgd.desk.table_run import TableRun
from mbgd.desk.tables import taken_over
from mbgd.desk.versions import versions
from mbgd.errors import as_options
from mbgd.store import check_name


def show_info(run: Path | None, *, json: bool) -> None:
    """The machine's facts, or those of a run or model."""
    facts = machine() if run is None else _run_facts(run)
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        tell(f"{name:<16} {_short(value)}")


def machine() -> dict[str, Any]:
    """Versions, processor, threads and the matrix library in use."""
    facts: dict[str, Any] = {
        **versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "torch_blas": torch.__config__.show().partition("BLAS_INFO=")[2].partition(",")[0] or "unknown",
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "engine": "fused on the CPU where model, loss and optimizer have compiled kernels, else autograd (torch's own)",
    }
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return facts
    for pool in threadpool_info():
        facts[f"{pool['user_api']}:{pool['internal_api']}"] = (
            f"{pool.get('version')} {pool.get('architecture', '')}".strip()
        )
    return facts


def _run_facts(run: Path) -> dict[str, Any]:
    check_name(run, "run")
    if run.is_dir() and (run / PLAN).exists():
        saved = read_plan(run)
        ended = read_result(run) if (run / RESULT).exists() else {"ending": "not ended; 'mbgd resume' goes on"}
        return {
            "command": saved["command"],
            "data": saved["data"],
            "plan": {name: value for name, value in saved["plan"].items() if value is not None},
            "resolved": saved["resolved"],
            "versions": saved["versions"],
            **ended,
        }
    predictor = load(run)
    target = predictor.target
    several = {"models": len(predictor.predictors)} if isinstance(predictor, Ensemble) else {}
    return {
        **several,
        "loss": predictor.loss.name,
        "target": None if target is None else target.name if len(target.names) == 1 else list(target.names),
        "classes": list(predictor.classes),
        "temperature": predictor.temperature,
        "quantiles": list(predictor.loss.levels),
        "widening": None if predictor.widening is None else predictor.widening.to_json(),
        "threshold": None if predictor.threshold is None else asdict(predictor.threshold),
        "inputs": predictor.columns,
        "parameters": sum(p.numel() for p in predictor.model.parameters()),
        "scores": (predictor.facts or {}).get("scores"),
        "model": repr(predictor.predictors[0].model if isinstance(predictor, Ensemble) else predictor.model),
    }


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name}={_short(part)}" for name, part in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def show_plan(data: Any, plan: Plan, *, init: Path | None = None, json: bool) -> None:
    """What a training by this plan would read, learn from and do."""
    begun = None if init is None else taken_over(init, plan)
    rows = read_rows(data, plan, init=begun)
    plan = by_size(plan, rows)
    run, models = TableRun(rows, plan, begun, None), how_many(plan)
    parts = run.parts(rows.sets.training, rows.sets.validation)
    facts = {
        **facts_of(rows),
        **parts.resolved,
        **({"models": models} if models > 1 else {}),
        "epochs": plan.epochs,
        "schedule": plan.schedule,
        "memory_bytes": _memory(rows),
    }
    if json:
        print_json({**facts, "columns": rows.encoder.describe(), "notices": list(rows.notices)})
        return
    _print_columns(rows)
    for notice in rows.notices:
        say(f"note: {as_options(notice)}")
    tell(
        f"{facts['rows']:,} rows: {facts['training_rows']:,} train, {facts['validation_rows']:,} validation, "
        f"{facts['test_rows']:,} test; {rows.target.task} of {rows.target.name!r}"
        + (f" with {len(rows.target.classes)} classes" if rows.target.classes else "")
    )
    size = f"{facts['parameters']:,} parameters over {facts['numbers']} numbers and {facts['categories']} categories"
    length = f"{facts['steps']:,} steps" if facts["steps"] is not None else "steps until a limit"
    each = f"{models} models, each " if models > 1 else "model "
    tell(f"{each}of {size}; {length} of {facts['batch_size']} rows; {facts['memory_bytes'] / 1e6:.0f} MB encoded")


def _memory(rows: TableRows) -> int:
    return int(rows.encoded.numbers.nbytes + rows.encoded.codes.nbytes + rows.y.nbytes)


def _print_columns(rows: TableRows) -> None:
    cells = (
        (fact.name, fact.type, fact.kind, f"{fact.missing:,}", f"{fact.distinct:,}", as_options(fact.why))
        for fact in rows.encoder.facts
    )
    headings = ("column", "type", "read as", "missing", "distinct", "why")
    tell_table(headings, cells, right=("missing", "distinct"))
