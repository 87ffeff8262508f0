"""Kept outcomes in, the page for people out: everybody over all tables, the goals, each table, and who lost where.

python bench/accuracy/page.py [RESULTS.jsonl] [THREADS] > REPORT.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median
from typing import Any

from goals import BEST, Verdict, verdicts
from peers import BASE, OURS, PEERS, shown
from results import Kept, Result, failures, kept, read
from summary import Cell, Overall, cells, overall, seconds
from tables import ALL, TABLES

RESULTS = Path(__file__).parent / "RESULTS.jsonl"
OF_TRIED, OF_HELD_OUT = RESULTS.with_name("TRIED.jsonl"), RESULTS.with_name("HELD_OUT.jsonl")
NETWORK = "sklearn_mlp"  # who is to be beaten nearly everywhere
NONE = "–"
OVERALL = ["", "tables", "error / LightGBM's (95 %)", "wins", "sure wins", "sure losses"]
OPTIONS = ["", "tables", "splits", "error / mbgd's", "from", "to", "worse on"]
OVERALL += ["better than sklearn's MLP", "worst", "median s", "of the process"]


def page(results: list[Result], machines: list[dict[str, Any]], *, threads: int) -> str:
    found = kept(results, threads=threads)
    goals = [v for v in verdicts(found) if v.goal.table in ("", *found) or found.keys() <= TABLES.keys()]
    sections = {
        "Over all tables": over_all(found),
        "Goals": goals_table(goals),
        "Error, relative to LightGBM's": errors(found),
        "Where mbgd loses to LightGBM": losses(found),
        "What options change": options(found),
        "Seconds of a fit": fit_seconds(found),
        "What was predicted": what(found),
        "Fits without a result": fails(failures(results, threads=threads)),
    }
    head = ["# Accuracy without options", *machine_lines(machines, threads), busy(found)]
    body = (f"## {title}\n\n{text}" for title, text in sections.items() if text)
    return "\n\n".join([*(line for line in head if line), *body]) + "\n"


def machine_lines(machines: list[dict[str, Any]], threads: int) -> list[str]:
    """The facts of the last run; a warning where an earlier one was on another processor."""
    facts = machines[-1] if machines else {}
    listed = "\n".join(
        f"- {name}: {value}" for name, value in facts.items() if name != "threads"
    )  # of the parent alone
    others = {one.get("cpu") for one in machines} - {facts.get("cpu")}
    mixed = f"**Some fits ran on {', '.join(map(str, others))}: do not compare their seconds.**" if others else ""
    return [listed, f"{threads} {'thread' if threads == 1 else 'threads'} a fit.", mixed]


def busy(found: Kept) -> str:
    """A warning where other work ran beside the fits: it tells in their seconds."""
    crowded = [one.facts.get("load", 0.0) > one.threads + 1 for one in _all(found)]  # the fit before makes its own load
    many = sum(crowded)
    return f"**Other work ran beside {many} of {len(crowded)} fits: do not quote the seconds.**" if many else ""


def over_all(found: Kept) -> str:
    """Best first; each on the tables that it and LightGBM both have."""
    rows = {name: overall(found, name, against=BASE) for name in names(found)}
    those = sorted(((name, row) for name, row in rows.items() if row is not None), key=lambda pair: pair[1].ratio)
    return markdown(
        OVERALL,
        [
            [shown(name), *overall_row(row), better(found, name), *worst(row), process(found, name)]
            for name, row in those
        ],
    )


def overall_row(row: Overall) -> list[str]:
    ratio = f"{row.ratio:.3f} ({row.low:.3f} - {row.high:.3f})"
    return [str(row.n_tables), ratio, str(row.wins), str(row.sure_wins), str(row.sure_losses)]


def better(found: Kept, name: str) -> str:
    row = None if name == NETWORK else overall(found, name, against=NETWORK)
    return NONE if row is None else f"{row.wins} of {row.n_tables}"


def worst(row: Overall) -> list[str]:
    return [f"{row.worst:.3f} {row.worst_table}", shown_seconds(row.seconds)]


def process(found: Kept, name: str) -> str:
    """The median over tables of the median seconds from a process's start to its predictions."""
    there = [peers[name] for peers in found.values() if name in peers]
    return shown_seconds(median(median(one.facts["seconds_process"] for one in splits.values()) for splits in there))


def options(found: Kept) -> str:
    """MBGD with other options beside MBGD with none, on the tables and splits that both have: above 1, the default is better."""
    rows = []
    for name in (name for name in all_names(found) if name not in PEERS and name != BEST):
        row, each = overall(found, name, against=OURS), cells(found, name, against=OURS)
        if row is None:
            continue
        least, most = (end(each, key=lambda table: each[table].ratio) for end in (min, max))
        ends = [f"{each[table].ratio:.3f} {table}" for table in (least, most)]
        worse = f"{sum(cell.ratio > 1 for cell in each.values())} of {len(each)}"
        splits = sum(cell.n_splits for cell in each.values())
        rows.append([name, str(row.n_tables), str(splits), f"{row.ratio:.3f}", *ends, worse])
    return markdown(OPTIONS, rows)


def goals_table(all_verdicts: list[Verdict]) -> str:
    rows = []
    for verdict in all_verdicts:
        goal = verdict.goal
        limit = f"{'>=' if goal.at_least else '<='} {goal.limit:g}"
        value = NONE if verdict.value is None else f"{verdict.value:.3f}"
        word = {True: "met", False: "**missed**", None: "not measured"}[verdict.met]
        rows.append([goal.what, limit, value, str(verdict.n_tables), word])
    return markdown(["", "goal", "measured", "tables", ""], rows)


def errors(found: Kept) -> str:
    """A row a table, a column a peer; bold where the whole interval of three splits or more is above LightGBM's error."""
    columns = {name: cells(found, name, against=BASE) for name in names(found) if name != BASE}
    rows = []
    for table in there(found):
        base = found[table].get(BASE)
        own = NONE if not base else f"{fmean(one.error or 0 for one in base.values()):.4g}"
        rows.append([table, own, *(shown_cell(columns[name].get(table)) for name in columns)])
    return markdown(["", "LightGBM's own", *map(shown, columns)], rows)


def shown_cell(cell: Cell | None) -> str:
    if cell is None:
        return NONE
    text = f"{cell.ratio:.3f} ({cell.low:.3f} - {cell.high:.3f})"
    return f"**{text}**" if cell.sure_loss else text


def losses(found: Kept) -> str:
    """The worst first, with who is best there."""
    lost = sorted(
        ((c.ratio, table) for table, c in cells(found, OURS, against=BASE).items() if c.ratio > 1), reverse=True
    )
    lines = []
    for ratio, table in lost:
        others = {name: cells({table: found[table]}, name, against=BASE).get(table) for name in found[table]}
        best = min((c.ratio, name) for name, c in others.items() if c is not None)
        lines.append(f"- {table}: {ratio:.3f}; best there: {shown(best[1])}, {best[0]:.3f}")
    return "\n".join(lines) or ("Nowhere." if cells(found, OURS, against=BASE) else "")


def fit_seconds(found: Kept) -> str:
    """The median of the splits."""
    columns = names(found)
    rows = [
        [table, *(shown_seconds(seconds(found[table][n])) if n in found[table] else NONE for n in columns)]
        for table in there(found)
    ]
    return markdown(["", *map(shown, columns)], rows)


def what(found: Kept) -> str:
    rows = []
    for table in there(found):
        spec, one = ALL[table], next(_all({table: found[table]}))
        left_out = "; ".join(f"{', '.join(columns)}: {why}" for why, columns in reasons(spec.left_out).items())
        place = spec.place if isinstance(spec.place, str) else spec.place.name
        facts = [
            f"{one.facts['rows']:,}",
            f"{one.facts['test_rows']:,}",
            str(one.facts["columns"]),
            one.facts["metric"],
        ]
        rows.append([table, place, spec.target, *facts, left_out])
    return markdown(["", "from", "target", "training rows", "test rows", "columns", "error", "left out"], rows)


def reasons(left_out: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column, why in left_out.items():
        found.setdefault(why, []).append(column)
    return found


def fails(failed: list[Result]) -> str:
    return "\n".join(f"- {one.table}, {shown(one.peer)}, split {one.split}: {one.failed}" for one in failed)


def names(found: Kept) -> list[str]:
    """Who is compared with LightGBM: the peers in their order, and MBGD at its best."""
    return [name for name in all_names(found) if name in PEERS or name == BEST]


def all_names(found: Kept) -> list[str]:
    """Everybody who has a result: those of the data in its order, then variants of MBGD."""
    seen = dict.fromkeys(name for peers in found.values() for name in peers)
    return [*(name for name in PEERS if name in seen), *(name for name in seen if name not in PEERS)]


def there(found: Kept) -> list[str]:
    return [table for table in ALL if table in found]


def shown_seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if len(lines) > 2 else ""


def _all(found: Kept) -> Iterable[Result]:
    return (one for peers in found.values() for splits in peers.values() for one in splits.values())


def main() -> None:
    results, machines = read(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else results[-1].threads
    print(page(results, machines, threads=threads), end="")


if __name__ == "__main__":
    main()
