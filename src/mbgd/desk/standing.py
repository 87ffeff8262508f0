"""Where a run stands: position, best score and its weights, and how a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor, nn

from mbgd.data.order import Cursor
from mbgd.errors import DamagedError
from mbgd.loop.progress import Progress
from mbgd.loop.stop import Best
from mbgd.step.autograd import Engine
from mbgd.step.saved_state import GENERATORS, SCHEMA
from mbgd.step.state import State, check_fits, global_generators, model_tensors, set_global_generators
from mbgd.store.schema import ANY_NUMBER, Absent, Demand, Entries, Items, Maybe, Real, Row, Whole

MOST_RECOVERIES = 8  # times that the rate is halved: to a 256th
SNAPSHOT_STEPS = 1000  # between two snapshots that a divergence may go back to
_BEST, _SNAPSHOT = "best.", "snapshot."


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint of that step would hold, kept in memory."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Recovery:
    """One time that training went back: from which step, to after which, the rate halved from there on."""

    diverged_at: int
    step: int


@dataclass(frozen=True)
class Standing:
    """All that a run has come to, besides what the engine holds."""

    progress: Progress = field(default_factory=Progress)
    best: Best = field(default_factory=Best)
    best_tensors: dict[str, Tensor] | None = None  # the model's tensors at the best score
    loss: float | None = None  # training loss of the last look
    epoch_loss: tuple[float, float] = (0.0, 0.0)  # weighted losses and weights summed since the epoch began
    scores: tuple[float, ...] = ()  # that a scheduler was stepped with, one an epoch
    seconds: float = 0.0
    recoveries: tuple[Recovery, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()  # the older first; none unless a divergence may go back


def to_checkpoint(engine: Engine, standing: Standing) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors by name, JSON facts): a copy that later steps do not touch."""
    state = engine.capture()
    tensors = dict(state.tensors)
    for name, value in (standing.best_tensors or {}).items():
        tensors[_BEST + name] = value
    facts: dict[str, Any] = {
        "progress": asdict(standing.progress),
        "best": asdict(standing.best),
        "loss": standing.loss,
        "epoch_loss": list(standing.epoch_loss),
        "scores": [None if isnan(score) else score for score in standing.scores],
        "seconds": standing.seconds,
        "state": state.facts,
        "generators": global_generators(),
    }
    if standing.snapshots:
        facts["recoveries"] = [asdict(recovery) for recovery in standing.recoveries]
        facts["snapshots"] = [snapshot.facts for snapshot in standing.snapshots]
        for i, snapshot in enumerate(standing.snapshots):
            tensors |= {f"{_SNAPSHOT}{i}.{name}": value for name, value in snapshot.tensors.items()}
    return tensors, facts


_PROGRESS = Entries(
    {"steps_done": Whole(), "rows_seen": Whole(), "cursor": Entries({"epoch": Whole(), "row": Whole()})}
)
_BEST_SCORE = Entries(
    {
        "score": Maybe(ANY_NUMBER),
        "steps_done": Whole(),
        "epoch": Whole(),
        "looks_since": Whole(),
        "to_beat": Absent(Maybe(ANY_NUMBER)),
    }
)
_POINT: dict[str, Demand] = {
    "progress": _PROGRESS,
    "best": _BEST_SCORE,
    "loss": Maybe(ANY_NUMBER),
    "epoch_loss": Absent(Row((ANY_NUMBER, ANY_NUMBER))),
    "scores": Absent(Items(Maybe(ANY_NUMBER))),
    "seconds": Real(0.0),
    "state": SCHEMA,
    "generators": GENERATORS,
}
_FACTS = Entries(
    {
        **_POINT,
        "recoveries": Absent(Items(Entries({"diverged_at": Whole(), "step": Whole()}), most=MOST_RECOVERIES)),
        "snapshots": Absent(Items(Entries(_POINT), least=1, most=2)),
    }
)


def check_standing(engine: Engine, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """All that a checkpoint holds, against the engine that is to take it, which is not changed. Raises SavedFileError for
    another architecture or optimizer, DamagedError for what no checkpoint says."""
    if found := _FACTS.fault(facts, "facts"):
        raise DamagedError(found)
    at, best = facts["progress"], facts["best"]
    if best["steps_done"] > at["steps_done"]:
        raise DamagedError(f"facts.best must be of a step up to {at['steps_done']}, got {best['steps_done']}")
    check_fits(engine.updater, State(_own(tensors), facts["state"]))
    of_model = model_tensors(engine.updater.model)
    best_tensors = _behind(_BEST, tensors)
    _check_best(best_tensors, of_model)
    snapshots = facts.get("snapshots", [])
    numbers = {name.split(".", 2)[1] for name in tensors if name.startswith(_SNAPSHOT)}
    if numbers - {str(number) for number in range(len(snapshots))}:
        raise DamagedError(f"facts.snapshots must be of all snapshots that have tensors, got {len(snapshots)}")
    for number, snapshot in enumerate(snapshots):
        held = _behind(f"{_SNAPSHOT}{number}.", tensors)
        check_fits(engine.updater, State(_own(held), snapshot["state"]))
        _check_best(_behind(_BEST, held), of_model)


def _check_best(best: Mapping[str, Tensor], of_model: Mapping[str, Tensor]) -> None:
    """Weights of the best score are those of the whole model, or none."""
    for name in {*best, *of_model} if best else ():
        a, b = best.get(name), of_model.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            raise DamagedError(f"'{_BEST}{name[:80]}' must be there as the model has it, and no other")


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that an engine holds."""
    return {name: value for name, value in tensors.items() if not name.startswith((_BEST, _SNAPSHOT))}


def _behind(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, without that."""
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def from_checkpoint(engine: Engine, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Standing:
    """Put the engine back to where it was, and say where that is. Raises what `check_standing` does."""
    check_standing(engine, tensors, facts)
    engine.restore(State(_own(tensors), dict(facts["state"])))
    set_global_generators(facts["generators"])
    at, best = facts["progress"], facts["best"]
    first, second = facts.get("epoch_loss", (0.0, 0.0))
    return Standing(
        progress=Progress(at["steps_done"], at["rows_seen"], Cursor(at["cursor"]["epoch"], at["cursor"]["row"])),
        best=Best(
            _number(best["score"]),
            best["steps_done"],
            best["epoch"],
            best["looks_since"],
            to_beat=_number(best.get("to_beat")),
        ),
        best_tensors=_behind(_BEST, tensors) or None,
        loss=_number(facts["loss"]),
        epoch_loss=(float(first), float(second)),
        scores=tuple(nan if score is None else float(score) for score in facts.get("scores", ())),
        seconds=float(facts["seconds"]),
        recoveries=tuple(Recovery(one["diverged_at"], one["step"]) for one in facts.get("recoveries", ())),
        snapshots=tuple(_snapshot(i, tensors, of) for i, of in enumerate(facts.get("snapshots", ()))),
    )


def snapshot(engine: Engine, standing: Standing) -> Snapshot:
    """Where training stands now, to go back to."""
    return Snapshot(*to_checkpoint(engine, replace(standing, recoveries=(), snapshots=(), seconds=0.0)))


def _snapshot(number: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Snapshot:
    return Snapshot(_behind(f"{_SNAPSHOT}{number}.", tensors), dict(facts))


def _number(said: Any) -> float | None:
    return None if said is None else float(said)


def put_best(model: nn.Module, standing: Standing) -> None:
    """Give the model the tensors of its best score."""
    if standing.best_tensors is None:
        return
    with torch.no_grad():
        for name, value in model_tensors(model).items():
            value.copy_(standing.best_tensors[name])
