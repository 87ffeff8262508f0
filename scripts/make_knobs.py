"""Write docs/knobs.md from the table of knobs that `mbgd.Plan` is: python scripts/make_knobs.py."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from mbgd.desk.knob_field import default, demand, meaning
from mbgd.desk.plan import Plan
from mbgd.desk.table_plan import TABLE_DEFAULTS

PAGE = Path(__file__).parent.parent / "docs" / "knobs.md"
GROUPS = {
    "Training": "Training",
    "Limits": "Limits: what ends a run, and which weights it ends with",
    "Machine": "Machine",
    "Output": "Output",
    "Data": "Data: of tables, and `validation` of both",
    "Model": "Model: of tables alone",
}
HEAD = """# Knobs

Arguments of `fit`, `steps` and `fit_table`, and options of `mbgd train` (`batch_size` is `--batch-size`). `help(mbgd.Plan)` and
`mbgd train --help` say the same, from the same table. A default of `none` leaves the choice to what the meaning says. Made by
`python scripts/make_knobs.py`.

A `schedule` of your own is one of three. A function is called with the updates done before each update, 0, 1, 2 and so on, and
returns the factor on `learning_rate`, as `LambdaLR` has it. A `torch.optim.lr_scheduler` is built on the optimizer that you give
as `optimizer`. A factory is called with the optimizer that trains and returns such a scheduler:
`functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3)`. `OneCycleLR` and `CyclicLR` are stepped after each update, which
makes each a chunk of its own and is slower than `schedule="one_cycle"`; all others after each epoch, `ReduceLROnPlateau` with the
validation score of the run's metric; `schedule_every` says it otherwise. `plan.json` keeps the name: give the schedule again to
`resume`, made anew; one that gives other rates is refused.

Where `patience` or `target_loss` is to end a run and no `epochs`, `steps` or `time_limit` is given, it has at most 1,000 epochs;
10 where a schedule or a decay moves towards the planned end.
"""


def page() -> str:
    lines = [HEAD]
    for group, title in GROUPS.items():
        lines += [f"## {title}\n", "| knob | meaning | takes | default | of `fit_table` |", "|---|---|---|---|---|"]
        for of in fields(Plan):
            if of.metadata["group"] == group:
                first, of_tables = default(of.default), default(TABLE_DEFAULTS.get(of.name, of.default))
                cells = (
                    f"`{of.name}`",
                    meaning(of),
                    demand(of),
                    f"`{first}`",
                    "" if of_tables == first else f"`{of_tables}`",
                )
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
