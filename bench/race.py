"""Peers and a task in, the seconds of each in interleaved rounds out: a process a peer, all on one core, one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timing import FORCED, ONE_THREAD

CHILD = Path(__file__).parent / "child.py"
MORE_ROUNDS = 50  # for whoever has not learnt yet: few rounds on a busy machine are few updates


@dataclass(frozen=True)
class Lane:
    """One peer's process, what it said when it was ready, and its rounds."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def go(self) -> dict[str, Any]:
        ask(self.process, "go")
        return answer(self.process)

    def loss_once_learnt(self, *, level: float) -> float | None:
        """The last round's loss; where that is not below the level, after some more rounds that do not count."""
        done = self.rounds[-1]
        for _ in range(MORE_ROUNDS):
            if done["loss"] is None or done["loss"] < level:
                break
            done = self.go()
        return done["loss"]


def race(
    peers: list[str], task: dict[str, Any], *, rounds: int, cores: list[int], loss_below: float
) -> tuple[dict[str, Lane], dict[str, float | None]]:
    """Every peer once a round, in an order that changes; then the loss of each, given time to fall below a level.

    They start side by side, on all cores; then all move to one core, the last, or stay on all of them where the task
    has several threads.
    """
    with ExitStack() as stack:
        started = {
            peer: stack.enter_context(child({**task, "peer": peer, "core": core_of(task, cores, number)}))
            for number, peer in enumerate(peers)
        }
        lanes = {peer: Lane(process, answer(process)) for peer, process in started.items()}
        if task["threads"] == 1:
            for lane in lanes.values():
                move(lane.process.pid, cores[-1])
        for number in range(rounds):
            for peer in order(peers, number):
                lanes[peer].rounds.append(lanes[peer].go())
        losses = {peer: lane.loss_once_learnt(level=loss_below) for peer, lane in lanes.items()}
    return lanes, losses


def order(peers: list[str], number: int) -> list[str]:
    """Who runs when in a round: two rounds mirror each other, the next two begin one further on."""
    turn = number // 2 % len(peers)
    turned = [*peers[turn:], *peers[:turn]]
    return turned if number % 2 == 0 else turned[::-1]


def core_of(task: dict[str, Any], cores: list[int], number: int) -> int | None:
    return cores[-1 - number % len(cores)] if task["threads"] == 1 else None


@contextmanager
def child(task: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    threads = dict.fromkeys(ONE_THREAD, str(task["threads"]))
    environment = {name: value for name, value in os.environ.items() if name not in FORCED} | threads
    command = [sys.executable, str(CHILD), json.dumps(task)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a peer must answer, got nothing from {process.args}; its error is above")
    return json.loads(line)


def move(pid: int, core: int) -> None:
    """Every thread of a process to one core."""
    if hasattr(os, "sched_setaffinity"):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
