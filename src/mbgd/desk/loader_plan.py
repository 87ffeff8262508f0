"""A DataLoader's settings as knobs of a plan, and the rows that its own sampler draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from mbgd.data.loader import Draws, check_words, loading, streams
from mbgd.data.order import IntArray
from mbgd.errors import DataError, PlanError


def words_of(data: Any, words: Mapping[str, Any]) -> dict[str, Any]:
    """What a DataLoader was made to do, as words of a plan; its sampler draws the rows where it is one of your own. An iterable
    dataset has the order in which it comes."""
    if not isinstance(data, DataLoader):
        return {"sampling": "natural"} if streams(data) else {}
    found = loading(data)
    if found.batch_sampler is not None:
        raise DataError(
            f"data must be a DataLoader whose batches are cut from the rows of a sampler, got {type(found.batch_sampler).__name__} "
            "as its batch_sampler; give its sampler and batch_size, or write the loop around mbgd.batches, which takes it"
        )
    check_words(found, words)
    drops = found.words["tail"] == "drop" and not {"batch_size", "tail"} & set(words)
    if drops and not streams(data.dataset) and not len(data):
        raise DataError(
            f"data must have at least one batch, got a DataLoader with drop_last and batch_size={found.words['batch_size']} "
            "over fewer rows; give a smaller one"
        )
    return {word: value for word, value in found.words.items() if value is not None}


def draws_of(data: Any, *, seed: int, chosen: IntArray | None) -> Draws | None:
    """What a loader's sampler of one's own draws, in place of an order of ours, where all rows may be drawn."""
    if not isinstance(data, DataLoader) or (sampler := loading(data).sampler) is None:
        return None
    if chosen is not None:
        raise PlanError(
            f"validation must be (X, y) for a loader with {type(sampler).__name__}, which would draw the rows held out, got "
            "a share or a mask; hold out rows with a Subset, and give those"
        )
    return Draws(sampler, len(data.dataset), seed)  # type: ignore[arg-type]  # its length is known here


def rows_of_a_sampler(given: Any, seed: int) -> IntArray | None:
    """The validation rows that a loader's own sampler draws once, as a SubsetRandomSampler its subset; None where they are all."""
    if not isinstance(given, DataLoader) or (found := loading(given)).own is None:
        return None
    draws = Draws(found.own, len(given.dataset), seed)  # type: ignore[arg-type]  # its length is known here
    return np.sort(draws.rows(0) if found.batch_sampler is None else np.concatenate(draws.batches(0)))
