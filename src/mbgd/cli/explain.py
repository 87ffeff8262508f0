"""`mbgd explain`: show what a model's columns are worth and do, and what they add to single rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mbgd.cli.predict import writer
from mbgd.cli.show import print_json
from mbgd.cli.streams import tell, tell_table
from mbgd.desk.explain import explain
from mbgd.desk.explanation import Dependence, Explanation, Value
from mbgd.desk.output import files_read, output_file
from mbgd.desk.shown import SHOWN
from mbgd.desk.stderr import say
from mbgd.store import writing

BARS = "▁▂▃▄▅▆▇█"
ROWS, TERMS, LABELS, CLASSES = 3, 4, 6, 5  # shown: rows with contributions, the greatest of these, labels, classes


def explain_file(
    run: Path, data: Any, *, numbers: dict[str, str], out: Path | None, json: bool, force: bool, **how: Any
) -> None:
    """Explain, write the contributions of the first rows where there is a file for them, and show it all."""
    how |= {name: _whole(text) for name, text in numbers.items()}
    if out is None:
        found = explain(run, data, **how)
    else:
        write = writer(out)
        with (
            writing(output_file(out, inputs=files_read(run, data), force=force)) as temporary,
            temporary.open("wb") as file,
        ):  # first: a place that cannot be written is said at once
            found = explain(run, data, **how)
            write(iter([found.contributions.to_table()]), file)
    if json:
        print_json(found.to_json())
        return
    for notice in found.notices:
        say(f"note: {notice}")
    _print_importance(found)
    _print_dependence(found)
    _print_contributions(found)
    if out is not None:
        tell(f"saved {out}")


def _whole(text: str) -> Any:
    """The number that a text stands for; what it must be is for `explain` to say."""
    try:
        return int(text)
    except ValueError:
        return text


def _print_importance(found: Explanation) -> None:
    """Of numbers as a share of the variance, of classes in log loss: what the scores are in."""
    task = "classification" if found.classes else "regression"
    scored = "  ".join(f"{name} {found.scores[name]:.4f}" for name in SHOWN[task] if name in found.scores)
    lost = "log_loss rises by" if found.classes else "r2 falls by"
    tell(f"{found.measured_rows:,} rows  {scored or 'against the predictions as they are'}")
    each = [(one.column, one.loss if one.r2 is None else one.r2) for one in found.importance]
    rows = [(name, f"{ends.estimate:.4f}", f"{ends.low:.4f} to {ends.high:.4f}") for name, ends in each]
    tell_table(("column", lost, "95 % interval"), rows, right=(lost, "95 % interval"))


def _print_dependence(found: Explanation) -> None:
    """A line a column: the ends of its values with bars between them, or labels with their means; of each class, if many."""
    if not found.dependence:
        return
    several = len(found.classes) > 2
    said = f"probability of each {found.target}" if several else found.explained
    tell()
    tell(f"mean {said} of {found.dependence_rows:,} rows, if all had that value")
    rows = [
        (one.column, *([name] if several else []), _curve(one, means), f"{min(means):.4g}", f"{max(means):.4g}")
        for one in found.dependence
        for name, means in _of_classes(one, found)
    ]
    headings = ("column", *(["class"] if several else []), "values", "least", "greatest")
    tell_table(headings, rows, right=("least", "greatest"))


def _of_classes(one: Dependence, found: Explanation) -> list[tuple[str, list[float]]]:
    """(class, means) of the first few classes; one entry without a name where there is one output."""
    if one.means.ndim == 1:
        return [("", one.means.tolist())]
    return [(str(label), one.means[:, k].tolist()) for k, label in enumerate(found.classes[:CLASSES])]


def _curve(one: Dependence, means: list[float]) -> str:
    pairs = list(zip(one.values, means, strict=True))
    if one.kind == "category":
        named = [f"{_said(value)} {mean:.4g}" for value, mean in pairs[:LABELS]]
        return ", ".join(named) + (f", {len(pairs) - LABELS} more" if len(pairs) > LABELS else "")
    there = [(value, mean) for value, mean in pairs if value is not None]
    missing = [f"; missing {mean:.4g}" for value, mean in pairs if value is None]
    if not there:
        return "".join(missing)[2:]
    return f"{_said(there[0][0])} {_bars([mean for _, mean in there])} {_said(there[-1][0])}{''.join(missing)}"


def _said(value: Value) -> str:
    return "(missing)" if value is None else f"{value:g}" if isinstance(value, float) else value


def _bars(means: list[float]) -> str:
    """A bar for each mean, the lowest for the least."""
    low, high = min(means), max(means)
    steps = [(mean - low) / (high - low) if high > low else 0.0 for mean in means]
    return "".join(BARS[min(len(BARS) - 1, int(step * len(BARS)))] for step in steps)


def _print_contributions(found: Explanation) -> None:
    """A line a row: the prediction, the base, and what the columns of the greatest contributions add."""
    rows = found.contributions
    if not len(rows):
        return
    more = f", the first {min(ROWS, len(rows))} of {len(rows)} rows" if len(rows) > ROWS else ""
    tell()
    tell(f"{found.explained} = mean of {found.background_rows} background rows + what the columns add{more}")
    for row in range(min(ROWS, len(rows))):
        terms = sorted(((name, float(v[row])) for name, v in rows.columns.items()), key=lambda term: -abs(term[1]))
        said = [f"{'+' if value >= 0 else '-'} {abs(value):.4g} {name}" for name, value in terms[:TERMS]]
        rest = sum(value for _, value in terms[TERMS:])
        if terms[TERMS:]:
            said.append(f"{'+' if rest >= 0 else '-'} {abs(rest):.4g} from {len(terms) - TERMS} more")
        label = f" {rows.found[row]}" if rows.found else ""
        tell(f"row {rows.rows[row]}:{label} {rows.predictions[row]:.4g} = {rows.base[row]:.4g} {' '.join(said)}")
