"""A trained model and its validation rows in, what they settle once its weights stand out: temperature, widths, threshold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mbgd.desk.parts import Held, Parts
from mbgd.desk.plan import Plan
from mbgd.desk.train import scored
from mbgd.measure.calibrate import Calibration, calibrate, tempered
from mbgd.measure.conformal import Widening, conformal
from mbgd.measure.evaluate import outputs, predict
from mbgd.measure.threshold import Threshold, best_threshold

Array = NDArray[np.float64]
NONE_TO_CHOOSE_BY = "without validation rows no threshold is chosen: it stays 0.5"


@dataclass(frozen=True)
class Settled:
    """What the validation rows said of outputs, each where it was asked for and could be found; a sentence where not."""

    calibration: Calibration | None = None
    widening: Widening | None = None
    threshold: Threshold | None = None
    notices: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # of several targets, each of which has scores of its own

    @property
    def temperature(self) -> float:
        return 1.0 if self.calibration is None else self.calibration.temperature

    def scored(self, parts: Parts, held: Held) -> dict[str, float]:
        """`scored` with all of it."""
        words: dict[str, Any] = {"widening": self.widening, "threshold": self.threshold, "names": self.names}
        return scored(parts, held, temperature=self.temperature, **words)


def settle(parts: Parts, plan: Plan, *, rarer: int = 1) -> Settled:
    """By the validation rows of `parts`, with the weights that the model has; `rarer` is the class that a threshold is for."""
    calibration = _calibrated(parts)
    found = Settled(calibration, names=plan.targets if len(plan.targets) > 1 else ())
    if parts.loss.kind == "quantiles":
        return _widened(parts)
    if plan.threshold_for is None:
        return found
    if parts.validation is None:
        return Settled(calibration, notices=(NONE_TO_CHOOSE_BY,))
    threshold, said = chosen(
        plan.threshold_for, *_predicted(parts, parts.validation, temperature=found.temperature), rarer=rarer
    )
    return Settled(calibration, threshold=threshold, notices=said)


def chosen(
    metric: str, p_N: Array, y_N: Array, w_N: Array | None, *, rarer: int
) -> tuple[Threshold | None, tuple[str, ...]]:
    """The threshold that is best for held-out rows, from their probabilities of class 1; a sentence where there is none."""
    p_N = p_N if rarer == 1 else 1.0 - p_N
    threshold = best_threshold(metric, p_N, y_N == rarer, w_N, positive=rarer)
    return threshold, () if threshold else ("validation rows hold one class alone: the threshold stays 0.5",)


def _widened(parts: Parts) -> Settled:
    """Rows without weight have no say, all others the same."""
    if parts.validation is None:
        return Settled(notices=("without validation rows no interval is widened: each is as the network has it",))
    q_NQ, y_N, w_N = _predicted(parts, parts.validation)
    (center, scale), ends = parts.target_scale, parts.target_range
    there = w_N > 0
    found = conformal(parts.loss.levels, np.clip(q_NQ * scale + center, *ends)[there], (y_N * scale + center)[there])
    return Settled(widening=found, notices=tuple(_too_few(found)))


def _too_few(found: Widening) -> Iterator[str]:
    for pair in found.pairs:
        if pair.by is None:
            yield (
                f"{pair.rows:,} validation rows are too few to widen {pair.low:g} to {pair.high:g}, which takes "
                f"{pair.rows_needed:,}: that interval is as the network has it"
            )


def _calibrated(parts: Parts) -> Calibration | None:
    """The temperature by the validation rows, with the weights that the model has; None where there are no such rows, or no
    probabilities that a log loss has taught."""
    held = parts.validation
    if held is None or parts.loss.name != "log_loss":
        return None
    coming = outputs(
        parts.model,
        held.source,
        rows=held.rows,
        device=parts.device,
        batch_rows=parts.rows_at_once(held.source),
        forward=parts.engine.predicting(),
    )
    return calibrate(*_joined(coming))


def _predicted(parts: Parts, held: Held, *, temperature: float = 1.0) -> tuple[Array, Array, Array]:
    """(what the loss makes of outputs, y, weights) of all held rows."""
    coming = predict(
        parts.model,
        held.source,
        loss=tempered(parts.loss, temperature),
        rows=held.rows,
        device=parts.device,
        batch_rows=parts.rows_at_once(held.source),
        forward=parts.engine.predicting(),
    )
    found_N, y_N, w_N = _joined(coming)
    return found_N, y_N.astype(np.float64), w_N


def _joined(coming: Iterator[tuple[Tensor, Tensor | None, Tensor | None]]) -> tuple[Any, Any, Any]:
    """(found, y, weights) of all batches, one behind the other."""
    found, ys, ws = [], [], []
    for each, y, w in coming:
        assert y is not None  # the desk refuses data without a target
        found.append(each.numpy())
        ys.append(y.numpy())
        ws.append(np.ones(len(y)) if w is None else w.double().numpy())
    return np.concatenate(found), np.concatenate(ys), np.concatenate(ws)
