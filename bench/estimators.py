"""scikit-learn's own estimators beside ours: test scores at equal settings over seeds, and seconds of a fit.

python bench/estimators.py [--quick] [--pairs N] [--seeds N] [--only scores|speed]
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flights_by_sklearn import TARGET, pipeline_for, with_calendar
from mbgd import MBGDClassifier, MBGDRegressor
from problems import PROBLEMS, arrays
from timing import PAIRS, Cell, alone, compare, in_fresh_processes, report

CLASSES = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}
BATCH, EPOCHS, HIDDEN, RATE = 32, 50, (32,), 0.003
FLIGHTS = Path(__file__).parent.parent / "examples" / "flights.parquet"
FLIGHTS_HIDDEN, FLIGHTS_BATCH, FLIGHTS_EPOCHS, RATE_OF_FLIGHTS = (128, 128), 256, 10, 0.001
ROWS_OF_SGD = 1  # a step of SGDClassifier
SGD_RATE, SGD_EPOCHS = 0.01, 20
"""Of both sides of a comparison of scores: Adam at one rate for networks, plain SGD row by row for linear models, no decay."""


def main() -> None:
    alone()
    warnings.simplefilter("ignore", ConvergenceWarning)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, three pairs, a tenth of the rows")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=("scores", "speed"))
    given = parser.parse_args()
    pairs, seeds = (3, 2) if given.quick else (given.pairs, given.seeds)
    share = 10 if given.quick else 1
    if given.only != "speed":
        found = [as_row(*pair) for pair in score_pairs(seeds, share)]
        print("\n".join(json.dumps(row) for row in found))
        what = f"Test scores, means over {seeds} seeds (accuracy; R2 of diabetes and of the flights)"
        print(f"{what}:\n\n{score_table(found)}\n", flush=True)
    if given.only != "scores":
        cells = (network_speed, linear_speed)
        report([cell for measure in cells for cell in in_fresh_processes(measure, [(pairs, share)])])


def score_pairs(seeds: int, share: int) -> Iterator[tuple[str, list[float], list[float]]]:
    """(what, our scores, their scores), one each a seed: of the split, the start values and the order."""
    for name, load in CLASSES.items():
        X, y = load(return_X_y=True)
        yield f"{name}, MLPClassifier", *scores(X, y, seeds, our_network(MBGDClassifier), their_network(MLPClassifier))
        yield f"{name}, SGDClassifier", *scores(X, y, seeds, our_linear, their_linear)
    X, y = load_diabetes(return_X_y=True)
    yield "diabetes, MLPRegressor", *scores(X, y, seeds, our_network(MBGDRegressor), their_regressor)
    yield "flights, MLPRegressor", *flights_scores(seeds, share)


def flights_scores(seeds: int, share: int) -> tuple[list[float], list[float]]:
    """The flights as a pipeline encodes them, learned on four fifths of the rows: the same matrix for both."""
    frame = with_calendar(pd.read_parquet(FLIGHTS).dropna(subset=TARGET)).iloc[::share]
    words: dict[str, Any] = {"hidden_layer_sizes": FLIGHTS_HIDDEN, "batch_size": FLIGHTS_BATCH}
    ours = {"optimizer": "adam", "schedule": "constant", "weight_decay": 0, "learning_rate": RATE_OF_FLIGHTS}
    theirs = {"max_iter": FLIGHTS_EPOCHS, "alpha": 0, "learning_rate_init": RATE_OF_FLIGHTS}
    found: tuple[list[float], list[float]] = ([], [])
    for seed in range(seeds):
        train, test = train_test_split(frame, test_size=0.2, random_state=seed)
        encoder = pipeline_for(train.drop(columns=TARGET), seed)[:-1]
        X, y = encoder.fit_transform(train.drop(columns=TARGET)).astype(np.float32), train[TARGET].to_numpy()
        X_test = encoder.transform(test.drop(columns=TARGET)).astype(np.float32)
        regressor = MLPRegressor(random_state=seed, **words, **theirs)
        sides = (
            MBGDRegressor(random_state=seed, epochs=FLIGHTS_EPOCHS, **words, **ours),
            TransformedTargetRegressor(regressor, transformer=StandardScaler()),
        )
        for side, one in enumerate(sides):
            found[side].append(float(one.fit(X, y).score(X_test, test[TARGET])))
    return found


def scores(
    X: Any, y: Any, seeds: int, ours: Callable[[int], Any], theirs: Callable[[int], Any]
) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = ([], [])
    for seed in range(seeds):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        for side, make in enumerate((ours, theirs)):
            found[side].append(float(make(seed).fit(X_train, y_train).score(X_test, y_test)))
    return found


def as_row(name: str, ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Means, and the mean of the differences seed by seed with a t interval of 95 %."""
    apart = [a - b for a, b in zip(ours, theirs, strict=True)]
    half = float(student.ppf(0.975, len(apart) - 1)) * stdev(apart) / len(apart) ** 0.5
    middle = mean(apart)
    ends = {"difference": middle, "low": middle - half, "high": middle + half}
    return {"name": name, "seeds": len(apart), "ours": mean(ours), "theirs": mean(theirs), **ends}


def score_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| | ours | theirs | difference (95 %) |", "|---|---|---|---|"]
    for row in rows:
        ends = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
        lines.append(f"| {row['name']} | {row['ours']:.4f} | {row['theirs']:.4f} | {ends} |")
    return "\n".join(lines)


def our_network(kind: Any) -> Callable[[int], Any]:
    words = {"optimizer": "adam", "learning_rate": RATE, "schedule": "constant"}
    return lambda seed: kind(
        hidden_layer_sizes=HIDDEN, batch_size=BATCH, epochs=EPOCHS, random_state=seed, weight_decay=0, **words
    )


def their_network(kind: Any) -> Callable[[int], Any]:
    words = {"batch_size": BATCH, "max_iter": EPOCHS, "n_iter_no_change": EPOCHS, "alpha": 0}
    return lambda seed: make_pipeline(
        StandardScaler(), kind(hidden_layer_sizes=HIDDEN, learning_rate_init=RATE, random_state=seed, **words)
    )


def their_regressor(seed: int) -> Any:
    """Its target is scaled, as ours is by itself."""
    return TransformedTargetRegressor(their_network(MLPRegressor)(seed), transformer=StandardScaler())


def our_linear(seed: int) -> Any:
    words = {"optimizer": "sgd", "learning_rate": SGD_RATE, "schedule": "constant"}
    return MBGDClassifier(
        hidden_layer_sizes=(), batch_size=ROWS_OF_SGD, epochs=SGD_EPOCHS, weight_decay=0, random_state=seed, **words
    )


def their_linear(seed: int) -> Any:
    words = {"learning_rate": "constant", "eta0": SGD_RATE, "max_iter": SGD_EPOCHS, "tol": None, "penalty": None}
    return make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=seed, **words))


def network_speed(pairs: int, share: int) -> Cell:
    """One pass of 28-128-128-1 at m = 32; scaling and all else that a fit does counted."""
    problem = PROBLEMS["reference"]
    (X,), y = arrays(problem)
    X, y = X[: len(X) // share], y[: len(y) // share].astype(int)
    hidden, rate = problem.widths[1:-1], problem.rates[BATCH]
    ours = MBGDClassifier(
        hidden_layer_sizes=hidden,
        optimizer="sgd",
        momentum=0.9,
        learning_rate=rate,
        batch_size=BATCH,
        epochs=1,
        schedule="constant",
    )
    theirs = MLPClassifier(
        hidden,
        solver="sgd",
        momentum=0.9,
        nesterovs_momentum=False,
        learning_rate_init=rate,
        batch_size=BATCH,
        max_iter=1,
    )
    return compare(
        lambda: ours.fit(X, y),
        lambda: theirs.fit(X, y),
        name=f"a fit of one epoch, {len(X):,} x {X.shape[1]}, m = {BATCH}",
        labels=("MBGDClassifier", "MLPClassifier"),
        amount=(len(X), len(X)),
        goal=5.0,
        pairs=pairs,
    )


def linear_speed(pairs: int, share: int) -> Cell:
    """To the log loss that SGDClassifier has after its pass, or below: it is printed, and a worse one of ours is no result."""
    (X,), y = arrays(PROBLEMS["logistic"])
    X, y = X[: len(X) // share], y[: len(y) // share].astype(int)
    ours = MBGDClassifier(
        hidden_layer_sizes=(), optimizer="sgd", learning_rate=0.05, batch_size=BATCH, epochs=1, schedule="constant"
    )
    words = {"learning_rate": "constant", "eta0": 0.002, "max_iter": 1, "tol": None, "penalty": None}
    theirs = SGDClassifier(loss="log_loss", random_state=0, **words)  # its default rate ends far above this loss
    losses = [log_loss(y, one.fit(X, y).predict_proba(X)) for one in (ours, theirs)]
    print(f"log loss: ours {losses[0]:.5f}, SGDClassifier {losses[1]:.5f}")
    reached = losses[0] <= losses[1] + 1e-3  # the last steps' noise
    return compare(
        lambda: ours.fit(X, y),
        lambda: theirs.fit(X, y),
        name=f"a fit to log loss {losses[1]:.4f}, {len(X):,} x {X.shape[1]}" + ("" if reached else ", NOT REACHED"),
        labels=("MBGDClassifier", "SGDClassifier"),
        amount=(len(X), len(X)),
        goal=3.0,
        pairs=pairs,
    )


if __name__ == "__main__":
    main()
