"""Those who are compared, a file each: `fit(job)` trains on the job's rows and returns the function that predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# rows without the target in, means (n,) or probabilities of all classes (n, C) out
Predict = Callable[[pd.DataFrame], NDArray[Any]]


@dataclass(frozen=True)
class Job:
    """Training rows with their target. `classes` in rising order, none for a number; `by_time` as in the table's data."""

    train: pd.DataFrame
    target: str
    classes: tuple[str | int, ...]
    by_time: str | None
    seed: int
    threads: int
    options: Mapping[str, Any]

    @property
    def inputs(self) -> pd.DataFrame:
        return self.train.drop(columns=self.target)

    @property
    def y(self) -> NDArray[Any]:
        return targets(self.train[self.target], self.classes)


def targets(column: pd.Series, classes: tuple[str | int, ...]) -> NDArray[Any]:
    """The numbers in float64, or the number of each label's class."""
    if not classes:
        return column.to_numpy(dtype=np.float64)
    return column.map({label: code for code, label in enumerate(classes)}).to_numpy(dtype=np.int64)
