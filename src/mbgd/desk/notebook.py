"""Show a training's progress in a notebook: one line with a bar, redrawn a few times a second."""

from __future__ import annotations

import sys
import time
from typing import Any

from mbgd.desk.run_html import escape
from mbgd.desk.shown import Done, trained
from mbgd.desk.train import Look, described

SECONDS_BETWEEN_DRAWINGS = 0.25


def in_notebook() -> bool:
    """Whether what is displayed appears under a cell, as HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookDisplay:
    """A `Display`. The last line stays: how far training came, and how it went."""

    def __init__(self, models: int) -> None:
        self._models, self._done = models, 0
        self._next, self._handle = 0.0, None
        self._lines: list[str] = []

    def show(self, look: Look) -> None:
        now = time.monotonic()
        if now < self._next and (look.epochs is None or look.epoch < look.epochs):
            return
        self._next = now + SECONDS_BETWEEN_DRAWINGS
        of = "" if look.epochs is None else f"/{look.epochs:.4g}"
        which = f"model {self._done + 1}/{self._models}  " if self._models > 1 else ""
        said = f"{which}epoch {look.epoch:.1f}{of}  {described(look)}  {look.seconds:.1f} s"
        whole = "" if look.epochs is None else _bar((self._done + look.epoch / look.epochs) / self._models)
        self._draw(f"{whole} {escape(said)}")

    def next(self, done: Done) -> None:
        self._done, self._next = done.number, 0.0
        self._lines.append(escape(trained(done)))
        self._draw("")

    def wait(self, why: str) -> None:
        self._draw(escape(why))

    def _draw(self, last: str) -> None:
        from IPython.display import HTML, display

        page: Any = HTML("<br>".join([*self._lines, last]))
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


def _bar(share: float) -> str:
    return f'<progress value="{min(max(share, 0.0), 1.0):.4f}" max="1"></progress>'
