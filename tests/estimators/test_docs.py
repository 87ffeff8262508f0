"""The page on scikit-learn: its code runs as it stands, and each word of its tables is what the estimators answer."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from mbgd import MBGDClassifier, MBGDRegressor, PlanError

PAGE = (Path(__file__).parents[2] / "docs" / "scikit-learn.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
KNOWN = set(inspect.signature(MBGDClassifier).parameters) | set(inspect.signature(MBGDRegressor).parameters)
OTHERWISE = {"eval_set", "categorical_feature"}  # a word of `fit` here; a matter of the frame


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    assert names["accuracy"] > 0.9
    assert names["by_frame"].score(names["cars"], names["price"]) > 0.9
    assert names["own"].score(names["X_test"], names["y_test"]) > 0.9
    assert names["stopped"].n_epochs_ == len(names["stopped"].validation_curve_)


def foreign_words() -> list[str]:
    """Words of the tables' left columns that no estimator here has."""
    rows = re.findall(r"^\| (`.*?) \| ", PAGE, flags=re.MULTILINE)
    words = {re.sub(r"=.*", "", word) for row in rows for word in re.findall(r"`([a-z_]\w*(?:=[^`]*)?)`", row)}
    return sorted(word for word in words if word not in KNOWN and not word.endswith("_"))


@pytest.mark.parametrize("word", [word for word in foreign_words() if word not in OTHERWISE])
def test_each_foreign_word_of_the_tables_is_answered(word: str) -> None:
    with pytest.raises(PlanError, match=r"; say \w+") as caught:
        MBGDClassifier(**{word: 1})
    said = re.findall(r"say (\w+)", str(caught.value))[0]
    assert said in KNOWN


def test_the_words_of_the_tables_are_found() -> None:
    assert {"max_iter", "n_estimators", "eta0", "num_leaves", "early_stopping", "is_unbalance"} <= set(foreign_words())
