"""Law: of a changed model file or run every door says one sentence or works; `load` and `load_light` refuse the same files with
the same sentence, and predict the same from all others.

Values are changed to odd ones and to likely ones, and the digests fit again: only what a file says can give it away.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mbgd
from changed_files import (
    bytes_changed,
    forge_checkpoint,
    forge_history,
    forge_json,
    forge_model,
    likely_changed,
    newest_checkpoint,
    value_changed,
)
from mbgd.cli import run
from mbgd.desk.load import load
from mbgd.desk.one_row import load_light
from mbgd.errors import MBGDError, SavedFileError

SECONDS = 5  # of a processor
SLACK = 64 << 20  # bytes that a file may take beside its own
CODES = {0, 2, 3, 4, 5, 6}
SMALL: dict[str, Any] = {"hidden_layer_sizes": (4,), "epochs": 1, "batch_size": 64, "seed": 3}
# changes in the quick tier, the slower and the soak
MODELS, RUNS = (20, 35, 1850), (5, 14, 150)  # in all 60, 595 and 19,650
Door = Callable[[Path], list[str]]


def table() -> pd.DataFrame:
    chance = np.random.default_rng(0)
    n = 150
    columns: dict[str, Any] = {"x": chance.normal(size=n).round(3), "truth": chance.random(n) < 0.5}
    columns |= {"c": chance.choice(["red", "green", "blue"], n), "k": [f"k{i % 12}" for i in range(n)]}
    columns |= {"when": pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(n) * 7, "h")}
    columns |= {"gaps": np.where(np.arange(n) % 5 == 0, np.nan, chance.normal(size=n)), "z": chance.normal(size=n)}
    return pd.DataFrame({**columns, "y": chance.normal(size=n).round(3), "label": chance.choice(["no", "yes"], n)})


def arrays() -> tuple[Any, Any]:
    chance = np.random.default_rng(1)
    return chance.normal(size=(60, 3)).astype(np.float32), chance.normal(size=60).astype(np.float32)


def of_table(**words: Any) -> Callable[[Path], object]:
    return lambda path: mbgd.fit_table(table(), **SMALL | words).save(path)


def of_arrays(path: Path) -> None:
    mbgd.fit(mbgd.mlp(3, hidden_layer_sizes=(4,)), arrays(), loss="squared_error", learning_rate=0.01, epochs=1).save(
        path
    )


def of_estimator(path: Path) -> None:
    x, y = arrays()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    mbgd.MBGDClassifier(hidden_layer_sizes=(3,), epochs=2).fit(frame, (y > 0).astype(int) + (y > 1)).save(path)


KINDS: dict[str, Callable[[Path], object]] = {
    "a number": of_table(target="y", drop=("label",)),
    "two classes": of_table(target="label", threshold_for="f1", drop=("y",)),
    "quantiles": of_table(target="y", quantiles=(0.1, 0.5, 0.9), drop=("label",), validation=0.4),
    "three classes": of_table(target="c", drop=("y",)),
    "two numbers": of_table(target=("y", "z"), drop=("label",)),
    "folds": of_table(target="label", folds=2, threshold_for="f1", drop=("y",)),
    "shared members": of_table(target="y", shared_members=2, drop=("label",)),
    "arrays": of_arrays,
    "an estimator": of_estimator,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("models")

    @cache
    def made(kind: str) -> Path:
        path = folder / f"{kind}.safetensors"
        KINDS[kind](path)
        both(path)  # all is imported and warm
        return path

    return made


def both(path: Path) -> tuple[Any, Any]:
    """What either door makes of a file: its predictions, or the sentence that refuses it."""
    return answer(load, path), answer(load_light, path)


def answer(door: Callable[[Path], Any], path: Path) -> Any:
    try:
        predictor = door(path)
    except SavedFileError as error:
        return str(error)
    return predicted(predictor)


def predicted(predictor: Any) -> Any:
    """Of three rows, one of them without anything: numbers or probabilities; the class of the error where it says one."""
    rows = table().iloc[[0, 7, 14]].drop(columns=["y", "label"]).astype(object)
    rows["when"] = rows["when"].astype(str)
    given: list[Any] = rows.to_dict("records")
    if predictor.columns:
        given[1] = dict.fromkeys(given[1])
    else:
        given = list(arrays()[0][:3].astype(float))
    word = "predict_proba" if len(predictor.classes) else "predict_quantiles" if levels_of(predictor) else "predict"
    try:
        if hasattr(predictor, "predict"):  # one row at a time: a column of text alone is no column of times
            alone = [pd.DataFrame([row]) if predictor.columns else np.array([row], np.float32) for row in given]
            return np.array([np.asarray(getattr(predictor, word)(one), np.float64)[0] for one in alone])
        return np.array([np.asarray(getattr(predictor, f"{word}_one")(row), np.float64) for row in given])
    except MBGDError as error:
        return type(error)


def levels_of(predictor: Any) -> Any:
    return predictor.levels if hasattr(predictor, "levels") else predictor.loss.levels


def check_model(whole: Path, seed: int, at: Path) -> str:
    """One change of a model file, and nothing or what is wrong."""
    chance = random.Random(f"{whole.stem} {seed}")
    path = at / whole.name
    shutil.copyfile(whole, path)
    if chance.random() < 0.1:
        path.write_bytes(bytes_changed(path.read_bytes(), chance))
    else:
        forge_model(path, chance.choice([value_changed, likely_changed, likely_changed]), chance, header_too=0.15)
    size, peak = path.stat().st_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        one, other = both(path)
    except BaseException as error:
        return f"{whole.stem} {seed}: {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 > SLACK + size:
        return f"{whole.stem} {seed}: took more memory than its {size} bytes and {SLACK}"
    COUNTS["refused" if isinstance(one, str) else "loaded"] += 1
    if isinstance(one, str) or isinstance(other, str):
        return (
            "" if same_text(one, other) and "\n" not in one else f"{whole.stem} {seed}: {one!r:.300} | {other!r:.300}"
        )
    if isinstance(one, type) or isinstance(other, type):
        return "" if one is other else f"{whole.stem} {seed}: {one} | {other}"
    # sums of float32 in another order; a number without bounds may be large
    alike = one.shape == other.shape and np.allclose(
        one, other, rtol=2e-3, atol=1e-4 * (1 + spread(one)), equal_nan=True
    )
    return "" if alike else f"{whole.stem} {seed}: {one.tolist()} | {other.tolist()}"


COUNTS = {"refused": 0, "loaded": 0}


@pytest.fixture(scope="module", autouse=True)
def _counted() -> Iterator[None]:
    yield
    print(f"\nchanged files: {COUNTS}")


def same_text(one: Any, other: Any) -> bool:
    return isinstance(one, str) and isinstance(other, str) and one == other


def spread(values: Any) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max()) if finite.size else 0.0


@pytest.fixture
def _timed() -> Iterator[None]:
    """Seconds of this process on a processor, whatever else the machine does."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"it took more than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, ring), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    for name, handler in zip((signal.SIGPROF, signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(name, handler)


def tiers(names: dict[str, Any], quickly: tuple[str, ...], numbers: tuple[int, int, int]) -> list[Any]:
    """(name, seeds): in the quick tier of a few alone, since each has to be trained."""
    quick, slow, soak = numbers
    found = [pytest.param(name, range(quick), id=f"{name}-quick") for name in quickly]
    for name in names:
        behind = range(quick, quick + slow), range(quick + slow, quick + slow + soak)
        found += [
            pytest.param(name, behind[0], marks=pytest.mark.slow, id=f"{name}-slow"),
            pytest.param(name, behind[1], marks=pytest.mark.soak, id=f"{name}-soak"),
        ]
    return found


def each(seeds: range) -> Any:
    only = os.environ.get("MBGD_FUZZ_SEED")  # to see one again
    return seeds if only is None else [int(only)]


@pytest.mark.filterwarnings("ignore::mbgd.errors.DataWarning")
@pytest.mark.usefixtures("_timed")
@pytest.mark.parametrize(("kind", "seeds"), tiers(KINDS, ("two classes", "arrays"), MODELS))
def test_both_doors_say_the_same_of_a_changed_model(
    models: Callable[[str], Path], tmp_path: Path, kind: str, seeds: range
) -> None:
    wrong = [said for seed in each(seeds) if (said := check_model(models(kind), seed, tmp_path))]
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended, one that was stopped, and one of two models stopped in the second of them."""
    folder = tmp_path_factory.mktemp("runs")
    table().to_csv(folder / "t.csv", index=False)
    words: dict[str, Any] = {**SMALL, "drop": ("label",), "checkpoint_every": 1, "epochs": 2, "optimizer": "adam"}
    mbgd.fit_table(str(folder / "t.csv"), "y", out=folder / "ended", **words)
    mbgd.fit_table(str(folder / "t.csv"), "y", out=folder / "stopped", time_limit=1e-6, **words)
    (folder / "stopped" / "result.json").unlink()
    mbgd.fit_table(str(folder / "t.csv"), "y", out=folder / "members", members=2, **words)
    for path in (folder / "members" / "result.json", folder / "members" / "models" / "2" / "result.json"):
        path.unlink()
    mbgd.fit_table(str(folder / "t.csv"), "y", out=folder / "begun", init=folder / "ended", time_limit=1e-6, **words)
    (folder / "begun" / "result.json").unlink()
    return folder


Change = Callable[[Path, Any, random.Random], None]


def in_file(name: str, forge: Change) -> Change:
    return lambda run, change, chance: forge(run / name, change, chance)


def of_newest(run: Path, change: Any, chance: random.Random) -> None:
    forge_checkpoint(newest_checkpoint(run), change, chance, tensors=chance.random() < 0.4)


def of_every(run: Path, change: Any, chance: random.Random) -> None:
    """Each checkpoint in its own way: there is none to fall back to."""
    for path in sorted((run / "checkpoints").iterdir()):
        forge_checkpoint(path, change, chance, tensors=chance.random() < 0.4)


RESUME = ("resume", "AT", "--quiet")
PREDICT = ("predict", "AT", "DATA", "--out", "OUT.csv")
TRAIN = ("train", "DATA", "--quiet", "--out", "OUT")
# run, what is changed in it, and the command that reads it
DOORS: dict[str, tuple[str, Change, tuple[str, ...]]] = {
    "a checkpoint": ("stopped", of_newest, RESUME),
    "all checkpoints": ("stopped", of_every, RESUME),
    "a checkpoint, verified": ("ended", of_newest, ("verify", "AT")),
    "the plan": ("stopped", in_file("plan.json", forge_json), RESUME),
    "the plan, shown": ("ended", in_file("plan.json", forge_json), ("info", "AT")),
    "the plan, repeated": ("ended", in_file("plan.json", forge_json), (*TRAIN, "--plan", "AT", "--time-limit", "0.2")),
    "the data manifest": ("stopped", in_file("manifest.json", forge_json), RESUME),
    "the history": ("stopped", forge_history, RESUME),
    "the history, verified": ("ended", forge_history, ("verify", "AT")),
    "the result": ("ended", in_file("result.json", forge_json), ("info", "AT", "--json")),
    "the result, verified": ("ended", in_file("result.json", forge_json), ("verify", "AT")),
    "a model of several": ("members", in_file("models/1/model.safetensors", forge_model), RESUME),
    "a result of several": ("members", in_file("models/1/result.json", forge_json), RESUME),
    "a history of several": ("members", lambda run, *rest: forge_history(run / "models" / "1", *rest), RESUME),
    "weights taken over": ("begun", in_file("init.safetensors", forge_model), RESUME),
    "the model, predicting": ("ended", in_file("model.safetensors", forge_model), PREDICT),
    "the model, explained": ("ended", in_file("model.safetensors", forge_model), ("explain", "AT", "DATA")),
    "the model, shown": ("ended", in_file("model.safetensors", forge_model), ("info", "AT/model.safetensors")),
    "the model, begun with": ("ended", in_file("model.safetensors", forge_model),
                              (*TRAIN, "--target", "y", "--drop", "label", "--init", "AT", "--steps", "1")),
    "the model, exported": ("ended", in_file("model.safetensors", forge_model), ("export", "AT", "OUT.onnx")),
}  # fmt: skip


def check_run(whole: Path, name: str, seed: int, at: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """One change of a run, and nothing or what is wrong."""
    which, change, words = DOORS[name]
    chance = random.Random(f"{name} {seed}")
    shutil.copytree(whole / which, at)
    if seed >= 0:
        change(at, chance.choice([value_changed, likely_changed, likely_changed]), chance)
    places = {"AT": str(at), "DATA": str(whole / "t.csv"), "OUT": str(at / "new")}
    for short, long in places.items():
        words = tuple(word.replace(short, long) if word.startswith(short) else word for word in words)
    capfd.readouterr()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    late = False
    try:
        code = run(list(words))
    except TimeoutError:
        code, late = -1, True
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    took = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    err = capfd.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("mbgd: ")]
    shutil.rmtree(at)
    late = late or f"more than {SECONDS} s" in err
    if late and "plan" in name:  # a plan may have been changed to one that trains for long
        return ""
    sound = code in CODES and (len(lines) == 1) == (code != 0) and "Traceback" not in err and "Warning" not in err
    COUNTS["refused" if code else "loaded"] += seed >= 0
    if seed < 0:
        return "" if code == 0 else f"{name}: the whole run ends with exit code {code}: {err}"
    if not sound or late or took > SLACK + (1 << 20):
        return f"{name} {seed}: exit code {code}, {took} bytes, {err[-600:]!r}"
    return ""


@pytest.mark.filterwarnings("ignore::mbgd.errors.DataWarning")
@pytest.mark.usefixtures("_timed")
@pytest.mark.parametrize(
    ("name", "seeds"), tiers(DOORS, ("a checkpoint", "the plan", "a result of several", "the model, begun with"), RUNS)
)
def test_every_door_of_a_changed_run_ends_in_one_line(
    runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, seeds: range
) -> None:
    """What is whole is read first: what the door imports and keeps is no file's."""
    assert not check_run(runs, name, -1, tmp_path / "whole", capfd)
    wrong = [said for seed in each(seeds) if (said := check_run(runs, name, seed, tmp_path / str(seed), capfd))]
    assert not wrong, "\n".join(wrong)
