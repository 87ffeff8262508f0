"""Where a run stands, as a value: position, best score and its weights; to and from what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor, nn

from mbgd.data.order import Cursor
from mbgd.loop.progress import Progress
from mbgd.loop.stop import Best
from mbgd.step.autograd import Engine
from mbgd.step.state import State, global_generators, model_tensors, set_global_generators

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


def from_checkpoint(engine: Engine, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Standing:
    """Put the engine back to where it was, and say where that is. Raises SavedFileError for another architecture."""
    own = {name: value for name, value in tensors.items() if not name.startswith((_BEST, _SNAPSHOT))}
    engine.restore(State(own, dict(facts["state"])))
    set_global_generators(facts["generators"])
    at, best = dict(facts["progress"]), dict(facts["best"])
    tensors_of_best = {name.removeprefix(_BEST): value for name, value in tensors.items() if name.startswith(_BEST)}
    cursor = dict(at.pop("cursor"))
    score, to_beat, loss = best.pop("score"), best.pop("to_beat", None), facts.get("loss")
    return Standing(
        progress=Progress(**_counts(at), cursor=Cursor(**_counts(cursor))),
        best=Best(_number(score), **_counts(best), to_beat=_number(to_beat)),
        best_tensors=tensors_of_best or None,
        loss=_number(loss),
        epoch_loss=_two(facts.get("epoch_loss", (0.0, 0.0))),
        scores=tuple(nan if score is None else float(score) for score in facts.get("scores", ())),
        seconds=float(facts["seconds"]),
        recoveries=tuple(Recovery(**one) for one in facts.get("recoveries", ())),
        snapshots=tuple(_snapshot(i, tensors, of) for i, of in enumerate(facts.get("snapshots", ()))),
    )


def snapshot(engine: Engine, standing: Standing) -> Snapshot:
    """Where training stands now, to go back to."""
    return Snapshot(*to_checkpoint(engine, replace(standing, recoveries=(), snapshots=(), seconds=0.0)))


def _snapshot(number: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Snapshot:
    name = f"{_SNAPSHOT}{number}."
    return Snapshot({k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}, dict(facts))


def _number(said: Any) -> float | None:
    return None if said is None else float(said)


def _two(said: Iterable[Any]) -> tuple[float, float]:
    first, second = said
    return float(first), float(second)


def _counts(said: Mapping[str, Any]) -> dict[str, int]:
    """Whole numbers of at least 0. Raises ValueError for any other, which arithmetic would take on its way further in."""
    if wrong := [name for name, value in said.items() if type(value) is not int or value < 0]:
        raise ValueError(f"{wrong[0]} is {said[wrong[0]]!r}")
    return dict(said)


def put_best(model: nn.Module, standing: Standing) -> None:
    """Give the model the tensors of its best score."""
    if standing.best_tensors is None:
        return
    with torch.no_grad():
        for name, value in model_tensors(model).items():
            value.copy_(standing.best_tensors[name])
