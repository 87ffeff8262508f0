"""What a library without dates is given: timestamps as calendar parts, text as pandas categories of the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

PARTS = ("hour", "day_of_week", "day_of_year")


@dataclass(frozen=True)
class Prepared:
    """Learned from training rows; a label that they do not hold is a missing value."""

    labels: dict[str, pd.Index]

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame = with_calendar(frame)
        return with_columns(
            frame, {name: pd.Categorical(frame[name], categories=labels) for name, labels in self.labels.items()}
        )

    @property
    def categories(self) -> list[str]:
        return list(self.labels)


def learn(frame: pd.DataFrame) -> Prepared:
    plain = with_calendar(frame)
    texts = [name for name in plain if not pd.api.types.is_numeric_dtype(plain[name])]
    return Prepared({name: pd.Index(sorted(plain[name].dropna().unique()), dtype="str") for name in texts})


def with_calendar(frame: pd.DataFrame) -> pd.DataFrame:
    """Each timestamp as hour, weekday and day of the year."""
    for name in frame.select_dtypes(["datetime", "datetimetz"]).columns:
        parts = {f"{name}_{part}": getattr(frame[name].dt, part) for part in PARTS}
        frame = with_columns(frame.drop(columns=name), parts)
    return frame


def with_columns(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Put in place of columns of these names, or behind the others; `assign` fails for a column called "self"."""
    frame = frame.copy()
    for name, values in columns.items():
        frame[name] = values
    return frame
