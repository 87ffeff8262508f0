"""The knobs of `Plan` as options of the command: one place says what a knob is, and the help follows it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from mbgd.desk.bounds import Switch
from mbgd.desk.knob_field import meaning
from mbgd.desk.plan import Plan
from mbgd.errors import PlanError

HIDDEN = {
    "workers",
    "prefetch",
    "allow_batch_norm",
    "schedule_every",
}  # of data sets and modules of one's own, which the command has none of
_LISTS = ("hidden_layer_sizes", "quantiles")  # of numbers, with commas between them
_TEXT = ("target", "weight", "delimiter", "comment", "split")  # names of columns, which may look like numbers
_READING = (
    "delimiter",
    "header",
    "columns",
    "comment",
    "na_values",
    "keep_default_na",
)  # long names: a panel of their own
PANELS = {
    "first": "Most used",
    "Data": "Data",
    "Reading": "How files are read",
    "Model": "Model",
    "Training": "Training",
    "Limits": "Limits",
    "Machine": "Machine",
    "Output": "Output",
}


def knobs() -> list[Field[Any]]:
    """The knobs that are options, those that are used most first."""
    shown = [knob for knob in fields(Plan) if knob.name not in HIDDEN]
    return sorted(shown, key=lambda knob: not knob.metadata["first"])


def with_knobs(command: Callable[..., Any], *, defaults: Mapping[str, Any]) -> Callable[..., Any]:
    """`command(own..., words=...)` with every knob as an option; those given are collected in `words`."""
    own = [p for p in signature(command, eval_str=True).parameters.values() if p.name != "words"]
    ours = {knob.name: knob for knob in knobs()}

    def wrapped(**given: Any) -> Any:
        words = {name: _value(ours[name], given.pop(name)) for name in list(given) if name in ours}
        return command(**given, words={name: value for name, value in words.items() if value is not None})

    parameters = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own if p.name != "data"]
    first = [p for p in own if p.name == "data"]
    options = [_option(knob, defaults.get(knob.name, knob.default)) for knob in ours.values()]
    front = [o for o in options if ours[o.name].metadata["first"]]
    rest = [o for o in options if not ours[o.name].metadata["first"]]
    everything = [*first, *front, *parameters, *rest]
    wrapped.__signature__ = Signature(everything)  # type: ignore[attr-defined]  # what typer reads
    wrapped.__annotations__ = {p.name: p.annotation for p in everything}
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    return wrapped


def _option(knob: Field[Any], default: Any) -> Parameter:
    """One option, without a default of its own: what is not given is the plan's."""
    flag = "--" + knob.name.replace("_", "-")
    group = "Reading" if knob.name in _READING else knob.metadata["group"]
    panel = PANELS["first" if knob.metadata["first"] else group]
    bound, unsaid = knob.metadata["bound"], default is None or default is False or default == ()
    help = meaning(knob) + ("" if unsaid else f" (default: {_text(default)})")
    names: tuple[str, ...] = (flag,)
    kind: Any
    if isinstance(bound, Switch):
        names, kind = (flag,), bool | None
        if knob.default:  # said in words as well: 80 columns cut a long name short
            names, help = (f"{flag}/--no-{flag[2:]}",), f"{meaning(knob)} (default: True; off: --no-{flag[2:]})"
    else:
        kind = list[str] | None if isinstance(knob.default, tuple) else str | None
    option = typer.Option(*names, help=help, rich_help_panel=panel, show_default=False)
    return Parameter(knob.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _text(default: Any) -> str:
    return ",".join(str(part) for part in default) if isinstance(default, tuple) else str(default)


def _value(knob: Field[Any], given: Any) -> Any:
    """The value that the text of an option stands for; what it must be is for the plan to say."""
    if given is None or isinstance(given, bool):
        return given
    if not isinstance(given, list):
        return given if knob.name in _TEXT else _number(given)
    if knob.name == "columns":
        return names_in(given)
    if not given or knob.name not in _LISTS:
        return tuple(given) or None
    parts = [part for text in given for part in text.split(",") if part]
    return () if parts == ["none"] else tuple(_number(part) for part in parts)


def names_in(given: list[str] | None) -> tuple[str, ...] | None:
    """The names between the commas of an option, which may stand in quotes as in a CSV file; None of no option. Raises
    PlanError."""
    try:
        return tuple(name for row in csv.reader(given or []) for name in row) or None
    except csv.Error as error:
        raise PlanError(
            f"columns must be names as in a CSV file, with commas between them, got others: {error}"
        ) from None


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
