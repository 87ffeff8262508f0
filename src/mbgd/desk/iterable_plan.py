"""An iterable dataset under a plan: its rows as they come; what needs rows by number is refused by name."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.data import DataLoader, default_collate

from mbgd.data.chance import drawing
from mbgd.data.iterable import IterableSource
from mbgd.data.loader import loading, makes_its_own, streams
from mbgd.desk.batch_norm import has_batch_norm
from mbgd.desk.mean_weight import OUTSIDE_OF_STEPS
from mbgd.desk.plan import Plan
from mbgd.errors import PlanError
from mbgd.seeds import step_seed


def as_stream(data: Any, model: nn.Module, *, plan: Plan, sample_weight: Any) -> IterableSource | None:
    """The rows of an iterable dataset, or of a DataLoader over one; None of anything else. Raises PlanError and DataError."""
    if not _streams(data):
        return None
    _check(plan, model, sample_weight)
    loader = data if isinstance(data, DataLoader) else None
    own_collate = loader is not None and makes_its_own(loader)
    with drawing(step_seed(plan.seed, OUTSIDE_OF_STEPS)):  # its first rows are read now
        return IterableSource(
            data if loader is None else loader.dataset,
            batch_size=32 if plan.batch_size == "auto" else plan.batch_size,
            tail="drop" if plan.tail == "drop" or (plan.tail == "auto" and has_batch_norm(model)) else "short",
            passes=int(plan.epochs) if isinstance(plan.epochs, int | float) else 1,
            seed=plan.seed,
            workers=plan.workers,
            collate=loader.collate_fn if loader is not None and own_collate else default_collate,
            **({} if loader is None else loading(loader).of_workers),
        )


def check_numbered(data: Any, word: str) -> None:
    """Raises PlanError for an iterable dataset, beside what goes on with a run."""
    if _streams(data):
        raise PlanError(
            f"{word} needs rows by number to go on with, got an iterable dataset; train it without a folder, and keep the model "
            "by run.save(path)"
        )


def said_of_stream(stream: IterableSource, plan: Plan, *, weighted: bool) -> tuple[str, ...]:
    """What is otherwise than with numbered rows, in sentences."""
    said = [
        "an iterable dataset is gone through as it comes: its rows are not shuffled here, an epoch is what it yields in one pass, "
        "and the run cannot be resumed"
    ]
    if stream.workers > 1:
        said.append(
            f"each of the {stream.workers} workers goes through the iterable dataset by itself: it must yield each of them other "
            "rows, by torch.utils.data.get_worker_info()"
        )
    if stream.tail == "drop" and plan.tail == "auto":
        said.append("batches of fewer than batch_size rows are left out: BatchNorm might meet a single row there")
    if weighted:
        said.append(
            "an update divides by batch_size times the mean weight of the rows read so far, since that of all rows is not known "
            "beforehand"
        )
    return tuple(said)


def _streams(data: Any) -> bool:
    return streams(data.dataset if isinstance(data, DataLoader) else data)


def _check(plan: Plan, model: nn.Module, sample_weight: Any) -> None:
    if sample_weight is not None:
        raise PlanError("sample_weight needs rows by number, got an iterable dataset; let it yield (x, y, weight)")
    for word, refused, remedy in (
        ("batch_size", ("full",), "give a number of rows"),
        ("sampling", ("reshuffle", "iid"), "shuffle in the dataset, and leave it out"),
        ("tail", ("even",), "give 'short' or 'drop'"),
        ("on_divergence", ("recover",), "lower learning_rate, or set clip_norm"),
    ):
        if (given := getattr(plan, word)) in refused:
            raise PlanError(f"{word} must go without rows by number for an iterable dataset, got {given!r}; {remedy}")
    if plan.tail == "short" and has_batch_norm(model):
        raise PlanError(
            "tail must be 'drop' for a model with BatchNorm and an iterable dataset, whose last batch may have one row, got "
            "'short'; leave it out"
        )
    if isinstance(plan.epochs, int | float) and plan.epochs != int(plan.epochs):
        raise PlanError(
            f"epochs must be whole for an iterable dataset, of which nobody knows the half, got {plan.epochs:g}; give steps"
        )
    to_an_end = {
        "schedule": isinstance(plan.schedule, str) and plan.schedule != "constant",
        "warmup": plan.warmup > 0,
        "weight_decay_fades": plan.weight_decay_fades,
    }
    for word, given in to_an_end.items():
        if given and plan.steps is None:
            raise PlanError(
                f"{word} needs a planned end, got {getattr(plan, word)!r} for an iterable dataset, which does not say how many "
                "rows it has; give steps"
            )
