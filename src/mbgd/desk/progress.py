"""Show the progress of a training: a bar on stderr or in a notebook, or plain lines where stderr is no terminal."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any, Protocol

from mbgd import signals
from mbgd.compiled.news import Compiling, told_of_compiling
from mbgd.desk.callback import Callback, asks_to_stop
from mbgd.desk.notebook import NotebookDisplay, in_notebook
from mbgd.desk.result import Run
from mbgd.desk.shown import Done, trained
from mbgd.desk.stderr import say
from mbgd.desk.train import Look, described
from mbgd.errors import plain

SECONDS_BETWEEN_LINES = 5.0


class Display(Protocol):
    def show(self, look: Look) -> None: ...

    def next(self, done: Done) -> None:
        """Say what one of several models has come to; the looks that follow are of the next."""
        ...

    def wait(self, why: str) -> None:
        """Say why nothing moves for some seconds."""
        ...


def watch(
    fitting: Generator[Any, bool | None, Run], *, models: int = 1, quiet: bool, callback: Callback | None = None
) -> Run:
    """Let a training go to its end, shown as it goes: it yields a `Look`, or a `Done` where one of several is trained. After
    each epoch `callback` is called; what it raises ends the training on a step boundary. Kernels that are compiled are told of
    also where it is quiet, as by any function of Python's: see `compiled.news`."""
    with (
        _display(models, quiet=quiet) as display,
        nullcontext() if quiet else told_of_compiling(Compiling(display.wait)),
        closing(fitting),
    ):
        stop = None
        while True:
            try:
                look = fitting.send(stop)
            except StopIteration as ended:
                run: Run = ended.value
                return run
            stop = None
            if isinstance(look, Look):
                display.show(look)
                stop = look.ends_epoch and asks_to_stop(callback, look)
            else:
                display.next(look)


@contextmanager
def _display(models: int, *, quiet: bool) -> Iterator[Display]:
    if quiet:
        yield _Nothing()
    elif in_notebook():
        yield NotebookDisplay(models)
    elif not sys.stderr.isatty():
        yield _Lines(models)
    else:
        with signals.undo_if_ended(_clear_terminal), _bar(models) as bar:
            yield bar


def _clear_terminal() -> None:
    """An empty line, and the cursor seen again, where the bar cannot be asked to end."""
    os.write(2, b"\r\x1b[2K\x1b[?25h")


class _Nothing:
    """Silent, but for what must not pass unnoticed."""

    def show(self, look: Look) -> None:
        for saved in look.saves:
            if saved.failure is not None:
                warnings.warn(plain(f"{saved}; training goes on"), RuntimeWarning, stacklevel=4)

    def next(self, done: Done) -> None:
        pass

    def wait(self, why: str) -> None:
        pass


def told(look: Look) -> list[str]:
    """A line for each checkpoint that was saved since the last look, or was not."""
    return [str(saved) if saved.failure is None else f"warning: {saved}; training goes on" for saved in look.saves]


class _Lines:
    """A line now and then, for logs."""

    def __init__(self, models: int) -> None:
        self._next = 0.0
        self._model, self._models = 1, models

    def show(self, look: Look) -> None:
        for line in told(look):
            say(line)
        now = time.monotonic()
        if now < self._next and not (look.epochs is not None and look.epoch >= look.epochs):
            return
        self._next = now + SECONDS_BETWEEN_LINES
        line = f"epoch {look.epoch:.2f}{_of(look)}  step {look.progress.steps_done:,}  {described(look)}  {look.seconds:.1f} s"
        say(_which(self._model, self._models) + line)

    def next(self, done: Done) -> None:
        self._model, self._next = done.number + 1, 0.0
        say(trained(done))

    def wait(self, why: str) -> None:
        say(f"note: {why}")


def _of(look: Look) -> str:
    return "" if look.epochs is None else f"/{look.epochs:.4g}"


def _which(model: int, models: int) -> str:
    return f"model {model}/{models}  " if models > 1 else ""


@contextmanager
def _bar(models: int) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[model]}epoch {task.fields[epoch]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5) as progress:
        task = progress.add_task("train", total=None, model=_which(1, models), epoch="0", said="")

        class _Bar:
            scores, before, epochs = "", 0, 0.0

            def show(self, look: Look) -> None:
                for line in told(look):
                    progress.console.print(plain(line), highlight=False, markup=False, soft_wrap=True)
                self.epochs = look.epochs or 0.0
                if look.scores:
                    self.scores = "  " + "  ".join(
                        f"{name} {value:.4f}" for name, value in list(look.scores.items())[1:3]
                    )
                said = f"loss {look.loss:.4f}  {look.rows_per_second:,.0f} rows/s{self.scores}"
                total = self.epochs * models or None
                completed = self.before * self.epochs + look.epoch
                progress.update(task, total=total, completed=completed, epoch=f"{look.epoch:.1f}{_of(look)}", said=said)

            def next(self, done: Done) -> None:
                self.before, self.scores = done.number, ""
                progress.refresh()  # a model may be trained between two drawings
                progress.console.print(plain(trained(done)), highlight=False, soft_wrap=True, markup=False)
                if done.number < done.of:
                    completed = done.number * self.epochs
                    progress.update(
                        task, completed=completed, model=_which(done.number + 1, models), epoch="0", said=""
                    )

            def wait(self, why: str) -> None:
                progress.update(task, said=why)
                progress.refresh()  # now: a compiler leaves little time to the thread that draws

        yield _Bar()
