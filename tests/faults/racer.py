"""Pairs of trainings that begin in one folder at the same moment, in children of a process that never computed: what became
of each pair, as JSON.

    python racer.py FOLDER SEED KIND PAIRS [KIND PAIRS...]

Who has the folder goes on when the other has ended, so that each pair meets.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # which an optimizer would import at its first step, for a second, in each child

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

from killer import in_child  # noqa: E402

from command import NUMBER, table  # noqa: E402
from mbgd.cli import run as command  # noqa: E402
from mbgd.desk.run import fitting, module_plan  # noqa: E402
from mbgd.desk.table_plan import table_plan  # noqa: E402
from mbgd.desk.tables import table_fitting, table_resuming  # noqa: E402
from mbgd.errors import MBGDError, StorageError  # noqa: E402
from short_runs import W, X, Y, net, words  # noqa: E402

SECONDS = 60.0  # that a child waits for the other at most
PLAN = {"target": "y", "batch_size": 128, "epochs": 1, "engine": "autograd", "hidden_layer_sizes": (4,)}


def begin(out: Path, data: Path, *, force: bool = False) -> Iterator[Any]:
    return table_fitting(str(data), plan=table_plan(PLAN), out=out, replace_out=force)


def of_a_module(out: Path, data: Path) -> Iterator[Any]:
    return fitting(net(), (X, Y, W), plan=module_plan(words("autograd", epochs=1), None), out=out)


def by_force(out: Path, data: Path) -> Iterator[Any]:
    return begin(out, data, force=True)


def gone_on_with(out: Path, data: Path) -> Iterator[Any]:
    return table_resuming(out)


def failing(out: Path, data: Path) -> Iterator[Any]:
    """Its plan is refused by the disk: what it has made is removed again."""
    from mbgd.desk import tables

    def refuse(*_: object, **__: object) -> None:
        time.sleep(0.005)
        raise StorageError("disk must have room, it is full")

    tables.write_plan = refuse  # type: ignore[assignment]
    return begin(out, data)


Way = Callable[[Path, Path], Iterator[Any]]
WAYS: dict[str, tuple[Way, Way]] = {
    "new": (begin, begin),
    "empty": (begin, begin),
    "module": (of_a_module, of_a_module),
    "never began": (begin, begin),
    "one fails": (failing, begin),
    "force": (by_force, by_force),
    "resume and force": (gone_on_with, by_force),
    "names": (begin, begin),
}


def run_one(way: Way, out: Path, data: Path, meet: Path, who: int) -> int:
    """Train, and say what became of it in a file: as the other ends it is waited for."""
    said: dict[str, Any] = {"code": 0, "message": ""}
    try:
        training = way(out, data)
        next(training)
        end = time.monotonic() + SECONDS
        while not (meet / f"{1 - who}").exists() and time.monotonic() < end:
            time.sleep(0.001)
        for _ in training:
            pass
    except MBGDError as error:
        said = {"code": error.exit_code, "message": str(error)}
    tell(meet / str(who), said)
    return 0


def run_named(data: Path, meet: Path, who: int) -> int:
    os.chdir(meet)
    said = {"code": command(["train", str(data), *NUMBER, "--epochs", "1", "--engine", "autograd", "--quiet"])}
    tell(meet / str(who), {**said, "message": ""})
    return 0


def tell(path: Path, said: dict[str, Any]) -> None:
    path.with_suffix(".part").write_text(json.dumps(said))
    path.with_suffix(".part").rename(path)


def together(works: list[Callable[[], int]], delays: list[float]) -> list[int]:
    """The statuses of two children that are let go at once."""
    reader, writer = os.pipe()
    children = []
    for work, delay in zip(works, delays, strict=True):
        child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)
            time.sleep(delay)
            status = in_child(work)  # of its own, so that what it raises is told
            os._exit(0 if status == 0 else 1)
        children.append(child)
    os.close(reader)
    os.close(writer)
    return [os.waitpid(child, 0)[1] for child in children]


def killed_before_its_plan(out: Path, data: Path) -> None:
    from mbgd.desk import tables

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        tables.write_plan = die  # type: ignore[assignment]
        next(begin(out, data))
        return 0

    assert os.WIFSIGNALED(in_child(work))


def prepare(kind: str, out: Path, place: Path) -> None:
    """What stands at `out` before the two come."""
    if kind == "empty":
        out.mkdir()
    elif kind == "never began":
        killed_before_its_plan(out, place / "t.csv")
    elif kind == "force":
        shutil.copytree(place / "ended", out)
    elif kind == "resume and force":
        shutil.copytree(place / "stopped", out)


def race(kind: str, place: Path, *, chance: random.Random) -> dict[str, Any]:
    """One pair."""
    meet, data = place / "meet", place / "t.csv"
    shutil.rmtree(meet, ignore_errors=True)
    meet.mkdir()
    out = meet / "run"
    prepare(kind, out, place)
    delays = [chance.choice([0.0, chance.uniform(0, 0.03)]) for _ in range(2)]
    if kind == "names":
        works: list[Callable[[], int]] = [lambda who=who: run_named(data, meet, who) for who in (0, 1)]  # type: ignore[misc]
    else:
        works = [lambda who=who: run_one(WAYS[kind][who], out, data, meet, who) for who in (0, 1)]  # type: ignore[misc]
    statuses = together(works, delays)
    ends = [json.loads(path.read_text()) if (path := meet / str(who)).exists() else None for who in (0, 1)]
    folders = sorted(str(path.parent.relative_to(meet)) for path in meet.rglob("result.json"))
    left = [str(path.relative_to(meet)) for path in meet.rglob(".tmp-*")]
    names = sorted(path.name for path in meet.iterdir() if not path.name.isdecimal())
    said = {"kind": kind, "statuses": statuses, "ends": ends, "ended": folders, "left": left, "names": names}
    return {**said, "inside": sorted(os.listdir(out)) if out.exists() else []}


def make(place: Path) -> None:
    """The table, a run that has ended and one that was stopped."""
    table(200).to_csv(place / "t.csv", index=False)

    def end() -> int:
        for _ in begin(place / "ended", place / "t.csv"):
            pass
        return 0

    def stop() -> int:
        next(begin(place / "stopped", place / "t.csv"))
        return 0

    assert in_child(end) == 0
    assert in_child(stop) == 0


if __name__ == "__main__":
    place, chance = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    torch.set_num_threads(1)
    make(place)
    said = []
    for kind, pairs in zip(sys.argv[3::2], sys.argv[4::2], strict=True):
        said += [race(kind, place, chance=chance) for _ in range(int(pairs))]
    print(json.dumps(said))
