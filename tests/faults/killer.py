"""Trainings killed by SIGKILL in children of a process that has imported everything and never computed: what is left, as JSON.

    python killer.py events KIND FOLDER EVENT...      killed before that call that changes the disk, then resumed
    python killer.py random ENGINE FOLDER KILLS EPOCHS SEED

A child that trained would leave threads and locks of the libraries in an unknown state to a fork; hence this process.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # which an optimizer would import at its first step, for a second, in each child

sys.path[:0] = [str(Path(__file__).parent.parent)]

from command import LABEL, NUMBER, table  # noqa: E402
from mbgd.cli import run as command  # noqa: E402
from mbgd.desk.verify import verify  # noqa: E402, F401  # imports all that a run and a resume need
from short_runs import fit, resume, words  # noqa: E402

CALLS = ("fsync", "replace", "rename", "mkdir", "posix_fallocate", "unlink", "rmdir", "ftruncate")
SHORT = ("--epochs", "2", "--dropout", "0.2", "--checkpoint-every", "2", "--engine", "autograd", "--quiet")
KINDS = {
    "one model": (*NUMBER, *SHORT),
    "refit": (*LABEL, *SHORT, "--refit"),
    "folds": (*NUMBER, *SHORT, "--folds", "2"),
    "members, refit": (*LABEL, *SHORT, "--members", "2", "--refit"),
    "module": (),
}
NEVER_BEGAN = "whose training was ended before it began"


def in_child(work: Callable[[], int]) -> int:
    """The status that a child ends with; what it prints is thrown away."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            os._exit(work())
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    return os.waitpid(child, 0)[1]


def dies_before(event: int) -> None:
    """Kill this process before the call of that number that changes the disk, counted from 1."""
    left = [event]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **how: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **how)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def train(kind: str, folder: Path, data: Path) -> int:
    if kind == "module":
        fit(folder, epochs=1, checkpoint_every=8)
        return 0
    return command(["train", str(data), *KINDS[kind], "--out", str(folder)])


def go_on(kind: str, folder: Path) -> int:
    if kind == "module":
        resume(folder)
        return 0
    return command(["resume", str(folder), "--quiet"])


def killed_at(event: int, kind: str, folder: Path, data: Path) -> dict[str, Any]:
    """What became of a training killed there and gone on with: resumed, begun anew after the sentence that says so, or ended
    before the event."""
    shutil.rmtree(folder, ignore_errors=True)

    def dying() -> int:
        dies_before(event)
        return train(kind, folder, data)

    status = in_child(dying)
    if status == 0:
        return {"event": event, "how": "ended"}
    assert os.WIFSIGNALED(status), status
    if not folder.exists():
        return {"event": event, "how": "nothing"}
    if not (folder / "plan.json").exists():
        assert in_child(lambda: 0 if refused(folder) else 1) == 0
        assert in_child(lambda: train(kind, folder, data)) == 0
        return {"event": event, "how": "begun anew"}
    resumed = in_child(lambda: go_on(kind, folder))
    return {"event": event, "how": "resumed" if resumed == 0 else f"status {resumed}"}


def refused(folder: Path) -> bool:
    from mbgd.desk.folder import read_plan
    from mbgd.errors import SavedFileError

    try:
        read_plan(folder)
    except SavedFileError as error:
        return NEVER_BEGAN in str(error) or not any(folder.iterdir())
    return False


def events(kind: str, place: Path, wanted: list[int]) -> list[dict[str, Any]]:
    """Each of the wanted events; `outcome` of what is left is for the caller, who has the reference."""
    data = place / "t.csv"
    table(120).to_csv(data, index=False)
    assert in_child(lambda: train(kind, place / "whole", data)) == 0
    left = []
    for event in wanted:
        folder = place / f"run-{event}"
        left.append(killed_at(event, kind, folder, data))
        if left[-1]["how"] == "ended":
            break
    return left


def at_random(engine: str, folder: Path, *, kills: int, epochs: int, seed: int) -> dict[str, int]:
    """Killed so many times, half of them while a save is seen to be written, then trained to the end."""
    chance = random.Random(seed)

    def work() -> int:
        if (folder / "plan.json").exists():
            resume(folder)
        else:
            fit(folder, engine, epochs=epochs)
        return 0

    def names() -> list[str]:
        place = folder / "checkpoints"
        return os.listdir(place) if (folder / "plan.json").exists() and place.exists() else []

    def saved() -> int:
        return max((int(name[5:17]) for name in names() if name.startswith("step-")), default=-1)

    def saving() -> bool:
        return any(name.startswith(".tmp-") for name in names())

    inside = done = 0
    while done < kills:
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            work()
            os._exit(0)

        def lives(child: int = child) -> bool:
            return os.waitpid(child, os.WNOHANG) == (0, 0)

        wanted = saved() + chance.randrange(1, 5)
        while saved() < wanted and lives():
            time.sleep(0.0005)
        if done % 2:
            time.sleep(chance.uniform(0.0, 0.004))  # what it is at then is its own affair
        else:
            while not saving() and lives():
                pass
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        inside += saving()
        done += 1
    at = saved()
    assert in_child(work) == 0
    return {"at": at, "inside": inside}


if __name__ == "__main__":
    what, first, place = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    rest = [int(word) for word in sys.argv[4:]]
    assert words
    if what == "events":
        said: Any = events(first, place, rest)
    else:
        said = at_random(first, place, kills=rest[0], epochs=rest[1], seed=rest[2])
    print(json.dumps(said))
