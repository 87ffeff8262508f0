"""The commands by name; each module is imported when its command runs, so that help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mbgd.cli.options import with_knobs
from mbgd.desk.table_plan import TABLE_DEFAULTS

app = typer.Typer(
    name="mbgd",
    help="Mini-batch gradient descent on a table, from the file to a scored model.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Data = Annotated[
    list[str], typer.Argument(metavar="DATA...", help="CSV, Parquet or Arrow file, a folder or glob of them")
]
# readable=False: whether a path may be read is said when it is read, with the exit code for that
OneRun = Annotated[Path, typer.Argument(metavar="RUN", help="run folder, or a model file", readable=False)]
Delimiter = Annotated[str | None, typer.Option(help="what separates CSV columns")]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="whether the first row of a CSV file is a header (default: as in training)"
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="names for a CSV file without a header: a,b,c (default: those of training)"),
]
Comment = Annotated[
    str | None, typer.Option(help="character from which on a line of a CSV file is skipped (default: as in training)")
]
_OUTPUT = "Output"  # the panels of the help, besides those of the knobs
Json = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else", rich_help_panel=_OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress, no notices", rich_help_panel=_OUTPUT)]
Force = Annotated[bool, typer.Option("--force", help="replace what exists", rich_help_panel=_OUTPUT)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="say what would be done; train nothing", rich_help_panel=_OUTPUT)
]
Plain = Annotated[
    bool, typer.Option("--plain", help="the textbook: SGD, constant rate, batch 32", rich_help_panel="Training")
]
Out = Annotated[
    Path | None,
    typer.Option(help="new run folder (default: runs/DATA-K)", rich_help_panel="Most used", readable=False),
]
Init = Annotated[
    Path | None,
    typer.Option(help="finished run whose weights to start from", rich_help_panel="Model", readable=False),
]
PlanFile = Annotated[
    Path | None, typer.Option(help="plan.json or run to repeat", rich_help_panel="Training", readable=False)
]


def _one(data: list[str]) -> Any:
    return data[0] if len(data) == 1 else data


def train(
    data: Data,
    *,
    words: Any,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    dry_run: DryRun = False,
    init: Init = None,
    plan: PlanFile = None,
    plain: Plain = False,
) -> None:
    """Train a model that predicts the column --target, and score it on rows it never saw."""
    from mbgd.cli.train import train_table

    how: dict[str, Any] = {"out": out, "init": init, "plan_file": plan, "plain": plain, "dry_run": dry_run}
    train_table(_one(data), words, json=json, quiet=quiet, force=force, **how)


app.command("train")(with_knobs(train, defaults=TABLE_DEFAULTS))


@app.command("resume")
def resume(
    run: OneRun,
    *,
    data: Annotated[str | None, typer.Option(help="where the data is now, if it has moved")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a stopped or killed run, to the same final bits."""
    from mbgd.cli.train import resume_table

    resume_table(run, data=data, json=json, quiet=quiet)


@app.command("verify")
def verify(
    run: OneRun,
    *,
    data: Annotated[str | None, typer.Option(help="where the data is now, if it has moved")] = None,
    json: Json = False,
) -> None:
    """Check every file of a run, and repeat its last steps to show that a resume is exact on this machine: those between
    its last two checkpoints, of several models and of a refit each, which takes as long as that training took."""
    from mbgd.cli.verify import verify_run

    verify_run(run, data=data, json=json)


@app.command("predict")
def predict(
    run: OneRun,
    data: Data,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="CSV, TSV, Parquet or Arrow file to write (default: CSV on stdout)", readable=False),
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="column to carry along; may be repeated")] = None,
    delimiter: Delimiter = None,
    header: Header = None,
    columns: Columns = None,
    comment: Comment = None,
    safe_csv: Annotated[
        bool, typer.Option("--safe-csv", help="put ' in front of text that a spreadsheet would compute")
    ] = False,
    force: Force = False,
) -> None:
    """Predict for the rows of DATA, in their order, with columns found by name."""
    from mbgd.cli.predict import predict_file

    written = {"delimiter": delimiter, "header": header, "columns": columns, "comment": comment}
    predict_file(run, _one(data), out=out, keep=keep or [], written=written, force=force, safe_csv=safe_csv)


@app.command("evaluate")
def evaluate(
    run: OneRun,
    data: Data,
    *,
    delimiter: Delimiter = None,
    header: Header = None,
    columns: Columns = None,
    comment: Comment = None,
    weight: Annotated[str | None, typer.Option(help="column of row weights")] = None,
    json: Json = False,
) -> None:
    """Score a trained model on the rows of DATA that have a target."""
    from mbgd.cli.predict import evaluate_file

    written = {"delimiter": delimiter, "header": header, "columns": columns, "comment": comment}
    evaluate_file(run, _one(data), written=written, weight=weight, json=json)


@app.command("explain")
def explain(
    run: OneRun,
    data: Data,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="CSV, TSV, Parquet or Arrow file for the contributions of rows", readable=False),
    ] = None,
    rows: Annotated[str, typer.Option(metavar="N", help="first rows of DATA to say the contributions of")] = "10",
    repeats: Annotated[str, typer.Option(metavar="N", help="times that each column is shuffled")] = "5",
    seed: Annotated[str, typer.Option(metavar="N", help="what all chance depends on")] = "0",
    column: Annotated[list[str] | None, typer.Option(help="column to explain alone; may be repeated")] = None,
    delimiter: Delimiter = None,
    header: Header = None,
    comment: Comment = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """What each column is worth to a trained model, what it does, and what it adds to the predictions of single rows: of a
    model of one number, of classes, or of quantiles by their median; not of several targets."""
    from mbgd.cli.explain import explain_file

    how: dict[str, Any] = {"columns": column or [], "delimiter": delimiter, "header": header, "comment": comment}
    numbers = {"rows": rows, "repeats": repeats, "seed": seed}
    explain_file(run, _one(data), numbers=numbers, out=out, json=json, force=force, **how)


@app.command("export")
def export(
    run: OneRun,
    out: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="file to write", readable=False)],
    *,
    force: Force = False,
) -> None:
    """Write the model with its encoder as one ONNX file, which predicts without Python."""
    from mbgd.cli.export import export_file

    export_file(run, out, force=force)


@app.command("info")
def info(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="run folder or model file", readable=False)
    ] = None,
    json: Json = False,
) -> None:
    """Versions, kernels and threads of this machine, or the facts of a run or model: for bug reports."""
    from mbgd.cli.info import show_info

    show_info(run, json=json)


@app.command("warmup")
def warmup(
    dtype: Annotated[str | None, typer.Option(help="float32 or float64 alone (default: both)")] = None,
    json: Json = False,
) -> None:
    """Compile ahead what the first training would compile, and say where it is kept."""
    from mbgd.cli.warmup import warm_up

    warm_up(dtype, json=json)


def inspect(data: Data, *, words: Any, json: Json = False) -> None:
    """What would be read and learned from: columns, rows left out, split sizes, model; trains nothing."""
    from mbgd.cli.train import inspect_table

    inspect_table(_one(data), words, json=json)


app.command("inspect")(with_knobs(inspect, defaults=TABLE_DEFAULTS))


@app.callback(invoke_without_command=True)
def front(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    """Mini-batch gradient descent on a table, from the file to a scored model."""
    if version:
        from importlib.metadata import version as of

        typer.echo(f"mbgd {of('mbgd')}")
        raise typer.Exit
