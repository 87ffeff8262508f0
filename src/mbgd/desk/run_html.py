"""Show a run in a notebook: a few lines of HTML made of result.json, all text escaped, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape as html_escape
from typing import Any

from mbgd.desk.shown import ROLES, shown_score
from mbgd.errors import plain

_LEFT = ' style="text-align:left"'


def escape(text: str) -> str:
    """As HTML shows it, and printable."""
    return html_escape(plain(text))


def run_html(said: Mapping[str, Any], *, target: str, names: Sequence[str], folder: str) -> str:
    """`said` is `Run.summary`, `names` are the scores to show; target and folder may be empty."""
    title = f"Run: {target}" if target else "Run"
    parts = [f"<b>{escape(title)}</b>", escape(said["why"]), *_scores(said, names), escape(_how(said))]
    parts += [f"note: {escape(notice)}" for notice in said["notices"]]
    parts += [f"saved <code>{escape(folder)}</code>"] if folder else []
    return "<div>" + "".join(part if part.startswith("<table") else f"<div>{part}</div>" for part in parts) + "</div>"


def _how(said: Mapping[str, Any]) -> str:
    rate = "" if said["rows_per_second"] is None else f", {said['rows_per_second']:,.0f} rows/s"
    work = f"{said['steps']:,} steps, {said['epochs']:.4g} epochs, {said['seconds']:.1f} s{rate}"
    return f"{work}; engine {said['engine']}: {said['engine_reason']}"


def _scores(said: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """A row a set of rows, and one a baseline; a score that one lacks is a dash."""
    rows = [(name.replace("_", " "), scores, ROLES.get(name, "")) for name, scores in said["scores"].items()]
    rows += [(name, scores, "baseline on the same rows") for name, scores in said["baselines"].items()]
    if not rows:
        return
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [f"<tr><th></th>{head}<th></th></tr>"]
    for name, scores, role in rows:
        cells = "".join(f"<td>{escape(_cell(scores.get(score)))}</td>" for score in names)
        lines.append(f"<tr><th{_LEFT}>{escape(name)}</th>{cells}<td{_LEFT}>{escape(role)}</td></tr>")
    yield f"<table>{''.join(lines)}</table>"


def _cell(value: float | None) -> str:
    return "-" if value is None else shown_score(value).strip()
