"""Write a run's history and checkpoints beside the training, and announce a checkpoint once it is safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.ctypeslib  # noqa: F401  safetensors asks for it where it saves, in a thread that must not import
from torch import Tensor

from mbgd import signals
from mbgd.desk.run_files import HISTORY
from mbgd.desk.standing import Standing, to_checkpoint
from mbgd.errors import StorageError
from mbgd.loop.progress import Progress
from mbgd.record.aside import Aside
from mbgd.record.checkpoint import save
from mbgd.record.history import History, HistoryWriter
from mbgd.record.loggers import GuardedLogger
from mbgd.step.autograd import Engine
from mbgd.store import Digest

SECONDS_BETWEEN_SAVES = 60.0
SECONDS_TO_FIRST_SAVE = 5.0  # of training, so that it is announced within ten also where a look takes some


@dataclass(frozen=True)
class Saved:
    """A checkpoint of this step is on disk, read back and found whole; or it is not, and `failure` says why."""

    step: int
    failure: str | None = None

    def __str__(self) -> str:
        return f"saved step {self.step:,}" if self.failure is None else f"step {self.step:,} {self.failure}"


class Recorder:
    """Writes history and checkpoints of one run, where it has a folder. A disk that refuses does not end the training."""

    def __init__(
        self,
        folder: Path | None,
        *,
        checkpoint_every: int | str | None,
        history: History | None = None,
        saved_at: float = 0.0,
        saved_step: int | None = None,
        logger: GuardedLogger | None = None,
    ) -> None:
        self._folder = folder
        self._steps = checkpoint_every if isinstance(checkpoint_every, int) else None
        self._seconds = float(checkpoint_every[:-1]) if isinstance(checkpoint_every, str) else SECONDS_BETWEEN_SAVES
        self._saved_at, self._saved_step = saved_at, saved_step
        self._has_begun = bool(saved_step)  # whether a step behind the start has been saved, or was to be
        self._writer = None if folder is None else HistoryWriter(folder / HISTORY)
        self._unwritten: list[dict[str, Any]] = []  # lines that the disk has refused so far
        self._aside, self._news = Aside(), deque[Saved]()
        self._last: Saved | None = None
        self._logger = logger
        self.lines = history if history is not None else History()

    def history(self, record: dict[str, Any]) -> None:
        self.lines.append(record)
        if self._writer is not None:
            self._unwritten.append(record)
            with suppress(StorageError):  # said by the next save, which tries again
                self._write_lines(self._writer)
        if self._logger is not None:
            self._logger.add(record)

    @property
    def written(self) -> dict[str, Digest]:
        """What the history's file must be, by its name; nothing without a folder."""
        return {} if self._writer is None else {HISTORY: self._writer.digest}

    def close(self, *, ended: bool) -> None:
        """Training is over, as planned or cut off."""
        if self._logger is not None:
            self._logger.close(ended=ended)

    def is_due(self, progress: Progress, seconds: float) -> bool:
        """Whether a checkpoint belongs here: every so many steps exactly, or at the first look after so many seconds, sooner
        for the first one, but not while one is being written."""
        if self._folder is None:
            return False
        if self._steps is not None:
            return progress.steps_done % self._steps == 0
        due = self._seconds if self._has_begun else min(self._seconds, SECONDS_TO_FIRST_SAVE)
        return seconds - self._saved_at >= due and not self._aside.is_at_it

    def save(self, engine: Engine, standing: Standing) -> None:
        """Copy all that later updates change, and have it written beside training; a save that goes on is waited for."""
        if self._folder is None or self._writer is None:
            return
        folder, writer, step = self._folder, self._writer, standing.progress.steps_done
        self._aside.wait()
        self._saved_at, self._has_begun = standing.seconds, self._has_begun or step > 0
        tensors, facts = to_checkpoint(engine, standing)
        try:
            self._write_lines(writer)  # no checkpoint without the lines that led to it
        except StorageError as error:
            self._tell(Saved(step, self._why(error)))
            return
        words: dict[str, Any] = {"step": step, "recoveries": len(standing.recoveries), "history": writer.digest}
        self._aside.start(lambda: self._write(folder, writer, words=words, state=(tensors, facts)))

    def news(self) -> tuple[Saved, ...]:
        """What became of saves since this was last asked. Raises what they failed by, unless the disk refused."""
        self._aside.raise_failure()
        return tuple(self._news.popleft() for _ in range(len(self._news)))

    def wait(self) -> str | None:
        """Let the save that goes on come to its end; why the last one failed, where it did."""
        self._aside.wait()
        return None if self._last is None or self._last.failure is None else str(self._last)

    def wait_or_raise(self) -> None:
        """`wait`; raises StorageError where the last save failed."""
        failure = self.wait()
        if failure is not None:
            raise StorageError(failure)

    @property
    def notices(self) -> tuple[str, ...]:
        """What of the writing failed without harm to the run: the last save, a logger."""
        last = () if self._last is None or self._last.failure is None else (str(self._last),)
        return last if self._logger is None else (*last, *self._logger.notices)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Ends when nothing is being written and every line is; but a second Ctrl-C waits for nothing."""
        try:
            with signals.undo_if_ended(self._aside.give_up):
                yield
                self._aside.wait()
        except KeyboardInterrupt:
            self._aside.give_up()
            raise
        except BaseException:
            with suppress(Exception):
                self._aside.wait()
            raise
        if self._writer is not None:
            with self.last_step_named():
                self._write_lines(self._writer)

    @contextmanager
    def last_step_named(self) -> Iterator[None]:
        """What the disk refuses at the end is told with what there is to go on from."""
        try:
            yield
        except StorageError as error:
            raise StorageError(f"{error}; {self._kept()}") from error

    def _write(
        self,
        folder: Path,
        writer: HistoryWriter,
        *,
        words: Mapping[str, Any],
        state: tuple[Mapping[str, Tensor], Mapping[str, Any]],
    ) -> None:
        tensors, facts = state
        step = words["step"]
        try:
            writer.sync()
            save(folder, tensors=tensors, facts=facts, is_wanted=lambda: self._aside.is_wanted, **words)
        except StorageError as error:
            self._tell(Saved(step, self._why(error)))
        else:
            self._saved_step = step
            self._tell(Saved(step))

    def _write_lines(self, writer: HistoryWriter) -> None:
        while self._unwritten:
            writer.append(self._unwritten[0])
            del self._unwritten[0]

    def _tell(self, saved: Saved) -> None:
        self._last = saved
        self._news.append(saved)

    def _why(self, error: StorageError) -> str:
        return f"was not saved: {error}; {self._kept()}"

    def _kept(self) -> str:
        if self._saved_step is None:
            return "no step is saved, 'mbgd resume' begins anew"
        return f"the last saved step is {self._saved_step:,}, 'mbgd resume' goes on from it"
