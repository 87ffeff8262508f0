"""The command as a user calls it in a process of its own, what a call leaves behind, and a small table to call it on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

N = 400
QUICK = ("--epochs", "2", "--quiet")
PROGRAM = (sys.executable, "-c", "from mbgd.cli import main; main()")
SETS = ["train"] * 6 + ["validation"] + ["test"] * 2 + ["train"]


@dataclass(frozen=True)
class Said:
    """What one call left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


def table(n: int = N, seed: int = 1) -> pd.DataFrame:
    """Two numbers, one of them with gaps, a category, a date, a key, and columns to weigh, group and mark by."""
    chance = np.random.default_rng(seed)
    x, z = chance.normal(size=n).round(3), chance.normal(size=n).round(3)
    c = chance.choice(["red", "green", "blue"], n)
    y = (2 * x - z + 1.5 * (c == "red") + 0.1 * chance.normal(size=n)).round(3)
    return pd.DataFrame(
        {
            "key": [f"k{i:05d}" for i in range(n)],
            "x": np.where(np.arange(n) % 11 == 3, np.nan, x),
            "z": z,
            "c": c,
            "when": pd.date_range("2024-01-01", periods=n, freq="7h").astype(str),
            "group": chance.integers(0, 40, n),
            "part": [SETS[i % len(SETS)] for i in range(n)],
            "two": 2,
            "y": y,
            "label": np.where(y > 0.5, "yes", "no"),
        }
    )


COLUMNS = ("key", "x", "z", "c", "when", "group", "part", "two", "y", "label")


def lean(target: str, *keep: str) -> tuple[str, ...]:
    """Options for a small model of x, z and c, and of the columns to keep, in batches of 32."""
    left_out = (name for name in COLUMNS if name not in (target, "x", "z", "c", *keep))
    return ("--target", target, "--batch-size", "32", *(word for name in left_out for word in ("--drop", name)))


NUMBER, LABEL = lean("y"), lean("label")


def start(*words: object, cwd: Path, cache: Path | None = None, **how: object) -> subprocess.Popen[str]:
    """Begin the command in a process of its own, with another folder for its kernels if one is given."""
    kernels = {} if cache is None else {"MBGD_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **kernels}, **how,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float = 120) -> Said:
    out, err = process.communicate(timeout=seconds)
    return Said(process.returncode, out, err)
