"""Check what a model file says against a schema and against itself, before anything is built: the one door that `load` and
`load_light` go through.

The facts are those that `Predictor.described` and `Ensemble.described` write.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbgd.data.encode.saved import Sizes, check_encoder, check_target
from mbgd.desk.run_files import PLAN, RESULT
from mbgd.errors import SavedFileError
from mbgd.measure.conformal import pairs_of
from mbgd.measure.threshold import SCORES
from mbgd.model.file import FILE_NAME, Described, damaged, describe
from mbgd.model.outline import SEVERAL
from mbgd.step.plain import TEMPERATURES, predicts_classes
from mbgd.store import check_name
from mbgd.store.schema import Absent, Demand, Entries, Flag, Items, Maybe, Named, OneOf, Real, Text, Tree, Whole, Word

OF_TABLES = ("table", "ensemble")
ROUNDED = 1e-9
_LEVELS = Items(Real(0.0, 1.0, above=True, below=True), least=2, rising=True)
_PLAN = Entries(
    {
        "header": Absent(Flag()),
        "delimiter": Absent(Maybe(Text(r"[\t !#-~]|\\t|tab", "one character"))),
        "comment": Absent(Maybe(Text(r"[\t !#-~]", "one character"))),
    }
)  # what of it says how files are written; the rest is for people
_COMMON: dict[str, Demand] = {
    "plan": Absent(Maybe(_PLAN)),
    "scores": Absent(Maybe(Named(OneOf("numbers by name", (Maybe(Real()), Named(Maybe(Real()))))))),
    "file_columns": Absent(Maybe(Items(Text()))),
    "threshold": Absent(
        Maybe(
            Entries(
                {
                    "metric": Word(tuple(SCORES)),
                    "positive": Whole(0, 1),
                    "probability": Real(0.0, 1.0),
                    "before": Maybe(Real()),
                    "after": Maybe(Real()),
                }
            )
        )
    ),
}
_OF_ONE = Entries(
    {
        **_COMMON,
        "class": Absent(Text()),
        "loss": Text(),
        "encoder": Absent(Maybe(OneOf("an encoder or the number of one", (Entries({}), Whole())))),
        "target": Absent(Maybe(Entries({}))),
        "temperature": Absent(Real(TEMPERATURES[0] * (1 - ROUNDED), TEMPERATURES[1] * (1 + ROUNDED))),
        "quantiles": Absent(
            OneOf("two rising levels between 0 and 1, at least, or none", (_LEVELS, Items(Flag(), most=0)))
        ),
        "widening": Absent(
            Maybe(Items(Entries({"low": Real(), "high": Real(), "by": Maybe(Real()), "rows": Whole()})))
        ),
        "multilabel": Absent(Flag()),
        "names": Absent(Items(Text(), distinct=True)),
    }
)
_OF_SEVERAL = Entries({**_COMMON, "encoders": Items(Entries({}), least=1), "models": Items(_OF_ONE, least=1)})
_KIND = Entries({"kind": Word(("module", *OF_TABLES))})
_SHAPE = Tree(8)
_DEEP = ("encoder", "encoders", "models")  # of many entries, each with a schema of its own
_FOR_PEOPLE = Tree(12)


def finished_model(place: Path) -> Path:
    """A model file, or the run folder that holds one. Raises SavedFileError where a run has not ended."""
    check_name(place, "model")
    if place.is_dir() and not (place / FILE_NAME).exists():
        why = "it is no run"
        if (place / RESULT).exists():
            why = "the run has ended: restore it from a copy, or train again"
        elif (place / PLAN).exists():
            why = f"the run has not ended: 'mbgd resume {place}' ends it"
        raise SavedFileError(f"{place} must hold {FILE_NAME}, got none; {why}")
    return place


def read_description(place: Path) -> Described:
    """What the model file or run folder at `place` says of itself; encoder, target, loss and architecture agree in every size,
    and so do the tensors. Raises SavedFileError, saying what does not."""
    said = describe(finished_model(place))
    try:
        _check(said.facts, said.architecture)
    except SavedFileError as error:
        raise SavedFileError(f"{said.path}: {error}") from None
    except ValueError as error:
        raise damaged(said.path, str(error)) from None
    return said


def of_own_module(path: Path, facts: Mapping[str, Any], *, place: object) -> SavedFileError:
    """The error for weights of a user's own module where no instance of it was given."""
    kind = str(facts.get("class"))[:80]
    return SavedFileError(
        f"{path} holds the weights of a module of your own, {kind}; give an instance of it: load({str(place)!r}, model)"
    )


def _check(facts: Mapping[str, Any], architecture: Mapping[str, Any] | None) -> None:
    """Raises ValueError, naming the entry."""
    more = {name: one for name, one in facts.items() if name not in _DEEP}
    if found := _KIND.fault(facts, "facts") or _FOR_PEOPLE.fault(more, "facts"):
        raise ValueError(found)
    if facts["kind"] == "ensemble":
        _check_several(facts, architecture)
        return
    if found := _OF_ONE.fault(facts, "facts"):
        raise ValueError(found)
    encoder, sizes = facts.get("encoder"), None
    if (encoder is not None) != (facts["kind"] == "table") or isinstance(encoder, int):
        raise ValueError(
            f"facts.encoder must be that of a table's model, and absent for any other, kind is {facts['kind']!r}"
        )
    if encoder is not None:
        sizes = check_encoder(encoder, "facts.encoder")
        if facts.get("target") is None:
            raise ValueError("facts.target must be that of a table's model, got none")
    if architecture is not None and architecture.get("kind") == SEVERAL:
        raise ValueError(f"architecture must be of one model, got {len(architecture['models'])}, facts are of one")
    _check_one(facts, architecture, sizes, at="facts")


def _check_several(facts: Mapping[str, Any], architecture: Mapping[str, Any] | None) -> None:
    """Of folds or members: each by itself, and all of one target."""
    if found := _OF_SEVERAL.fault(facts, "facts"):
        raise ValueError(found)
    models, encoders = facts["models"], facts["encoders"]
    if architecture is None or architecture.get("kind") != SEVERAL or len(architecture["models"]) != len(models):
        raise ValueError(f"architecture must be of {len(models)} models, as many as facts has")
    sizes = [check_encoder(encoder, f"facts.encoders[{k}]") for k, encoder in enumerate(encoders)]
    for k, (one, described) in enumerate(zip(models, architecture["models"], strict=True)):
        at = f"facts.models[{k}]"
        if found := Whole(0, len(encoders) - 1).fault(one.get("encoder"), f"{at}.encoder"):
            raise ValueError(found)
        if one.get("target") is None or one.get("multilabel"):
            raise ValueError(f"{at} must have a target of numbers or classes, as all models of a table")
        _check_one(one, described, sizes[one["encoder"]], at=at)
        if _together(one) != _together(models[0]):
            raise ValueError(f"{at} must be of the target, loss and outputs that the first model has")
    _check_threshold(facts, models[0], at="facts")


def _together(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """What models have to share whose mean is taken."""
    targets = one["target"].get("several", [one["target"]])
    each = [(target["name"], target["task"], target["classes"]) for target in targets]
    return one["loss"], one["output_shape"], one.get("quantiles", []), each


def _check_one(facts: Mapping[str, Any], described: Mapping[str, Any] | None, sizes: Sizes | None, *, at: str) -> None:
    """Of one network, which is a user's own where nothing describes it."""
    if found := _SHAPE.fault(facts.get("output_shape"), f"{at}.output_shape") or _wrong_shape(facts, at):
        raise ValueError(found)
    levels = tuple(facts.get("quantiles", ()))
    if levels and facts["loss"] != "quantile":
        raise ValueError(f"{at}.quantiles must be of loss 'quantile', got {facts['loss'][:40]!r}")
    if (widening := facts.get("widening")) is not None:
        pairs = [(levels[low], levels[high]) for low, high in pairs_of(levels)]
        if [(one["low"], one["high"]) for one in widening] != pairs:
            raise ValueError(f"{at}.widening must be of the {len(pairs)} pairs that {at}.quantiles has, got others")
    shape = facts["output_shape"]
    if described is not None:
        outputs = described["n_outputs"]
        if shape != [outputs] and not (outputs == 1 and shape == []):
            raise ValueError(f"{at}.output_shape must be that of the network, which has {outputs} outputs, got {shape}")
        _check_inputs(facts, described, sizes, at=at)
    if levels and shape != [len(levels)]:
        raise ValueError(f"{at}.quantiles must be {shape or 1}, one an output, got {len(levels)}")
    if facts.get("target") is not None:
        _check_target(facts, shape, levels, at=at)
    _check_threshold(facts, facts, at=at)


def _wrong_shape(facts: Mapping[str, Any], at: str) -> str:
    """Of outputs: whole numbers, in lists and objects where a module of the user's own returns several tensors."""
    waiting = [facts.get("output_shape")]
    if not isinstance(waiting[0], (list, dict)):
        return f"{at}.output_shape must be a list, got {type(waiting[0]).__name__}"
    while waiting:
        one = waiting.pop()
        if isinstance(one, (list, dict)):
            waiting += one.values() if isinstance(one, dict) else one
        elif found := Whole().fault(one, f"{at}.output_shape"):
            return found
    return ""


def _check_inputs(facts: Mapping[str, Any], described: Mapping[str, Any], sizes: Sizes | None, *, at: str) -> None:
    """The network takes the numbers and codes that the encoder makes; of arrays, as many numbers as columns have names."""
    if (described["kind"] == "table") != (sizes is not None):
        raise ValueError(
            f"{at}.encoder must be there for a network over a table, and for no other, got {described['kind']!r}"
        )
    names = facts.get("names", ())
    if sizes is None:
        if names and len(names) != described["n_inputs"]:
            raise ValueError(
                f"{at}.names must be {described['n_inputs']}, one an input of the network, got {len(names)}"
            )
        return
    if sizes.numbers != described["n_numbers"]:
        raise ValueError(
            f"{at}.encoder makes {sizes.numbers} numbers of a row, the network takes {described['n_numbers']}"
        )
    if list(sizes.cardinalities) != described["cardinalities"]:
        ours, theirs = (
            f"{len(each)} columns, {sum(each):,} codes" for each in (sizes.cardinalities, described["cardinalities"])
        )
        raise ValueError(f"{at}.encoder makes codes of {ours}, the network takes those of {theirs}")


def _check_target(facts: Mapping[str, Any], shape: Any, levels: tuple[float, ...], *, at: str) -> None:
    """The outputs are those of its classes, its quantiles or its numbers, and the loss is of such."""
    classes, numbers = check_target(facts["target"], f"{at}.target")
    several = shape not in ([], [1])
    n_outputs = shape[0] if several and isinstance(shape, list) and len(shape) == 1 else 1 if not several else None
    wanted = len(classes) if len(classes) > 2 else len(levels) or numbers
    if n_outputs != wanted and not (len(classes) == 2 == n_outputs):
        what = f"{len(classes)} classes" if classes else f"{len(levels)} quantiles" if levels else f"{numbers} numbers"
        raise ValueError(f"{at}.output_shape must be that of a target of {what}, got {shape}")
    if facts.get("multilabel"):
        if classes:
            raise ValueError(f"{at}.target must be a number a label where there are several labels a row, got classes")
    elif predicts_classes(facts["loss"], several=several) != bool(classes):
        what = "classes" if classes else "numbers"
        raise ValueError(f"{at}.loss must be one of {what}, as the target is, got {facts['loss'][:40]!r}")


def _check_threshold(facts: Mapping[str, Any], of: Mapping[str, Any], *, at: str) -> None:
    """It parts two classes."""
    if facts.get("threshold") is not None and len((of.get("target") or {}).get("classes", ())) != 2:
        raise ValueError(f"{at}.threshold must be of a target of two classes, got another")
