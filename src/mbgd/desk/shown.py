"""Which scores of a model are shown and what their rows were used for, on a terminal as in a notebook."""

from __future__ import annotations

from typing import Protocol

from mbgd.desk.ensemble import Predicting
from mbgd.measure.conformal import Covered, Widening

SHOWN = {
    "regression": ("r2", "rmse", "mae"),
    "classification": ("accuracy", "log_loss", "roc_auc"),
    "quantiles": ("pinball", "coverage", "mean_width"),
}
ROLES = {
    "validation": "used to stop",
    "out_of_fold": "each row by the model not trained on it; used to stop",
    "test": "never used",
}


class Done(Protocol):
    """One of several models that is trained, with the scores of its validation rows."""

    @property
    def number(self) -> int: ...

    @property
    def of(self) -> int: ...

    @property
    def scores(self) -> dict[str, float]: ...


def shown_names(predictor: Predicting) -> tuple[str, ...]:
    """The scores that are shown of a model of a table; its threshold's own is one of them."""
    assert predictor.target is not None
    names = SHOWN["quantiles" if predictor.loss.levels else predictor.target.task]
    return names if predictor.threshold is None else (*names, predictor.threshold.metric)


def trained(done: Done) -> str:
    """One of several models, once it is trained, in a line."""
    names = [name for group in SHOWN.values() for name in group if done.scores.get(name) is not None]
    said = "  ".join(f"{name} {shown_score(done.scores[name]).strip()}" for name in names)
    return f"model {done.number} of {done.of}: " + (f"validation {said}" if said else "trained")


def shown_coverage(pair: Covered, widening: Widening | None, *, models: int) -> str:
    """What an interval holds of the test rows, with the bounds of that, and by how much it was moved."""
    by = next((p.by for p in widening.pairs if p.low == pair.low), None) if widening is not None else None
    how = "as trained" if by is None else f"{'widened' if by >= 0 else 'narrowed'} by {abs(by):.4g} on either side"
    how += f", the mean of {models} models" if models else ""
    return (
        f"holds {pair.share:.4f} of {pair.rows:,} test rows ({pair.least:.4f} to {pair.most:.4f}), {pair.nominal:g} asked "
        f"for; {how}"
    )


def shown_score(value: float) -> str:
    """Eight characters wide."""
    return f"{value:>8.4f}" if abs(value) < 1000 else f"{value:>8.4g}"
