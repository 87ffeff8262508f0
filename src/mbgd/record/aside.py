"""A piece of work in, done in a thread beside training; what became of it out, once, at the next look."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mbgd import threads


class Aside:
    """One piece of work at a time, in a thread of its own; the end of the interpreter gives up what goes on then."""

    def __init__(self) -> None:
        self._over: threading.Event | None = None
        self._given_up = threading.Event()
        self._error: BaseException | None = None

    @property
    def is_at_it(self) -> bool:
        """Whether the last piece of work goes on."""
        return self._over is not None and not self._over.is_set()

    @property
    def is_wanted(self) -> bool:
        """For the work itself: False once nobody waits for it."""
        return not self._given_up.is_set()

    def start(self, work: Callable[[], None]) -> None:
        """Begin once the work before is over and its failure is known; raises that."""
        self.wait()
        over = self._over = threading.Event()
        threads.begin(lambda: self._do(work, over), name="mbgd-aside", enough=self.give_up)

    def raise_failure(self) -> None:
        """Raise what the work failed by, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Return when the work is over; raises its failure. A signal's handler may break the waiting off."""
        if self._over is not None:
            self._over.wait()
        self.raise_failure()

    def give_up(self) -> None:
        """Let go of work that goes on: it ends as soon as it looks, and leaves nothing."""
        self._given_up.set()

    def _do(self, work: Callable[[], None], over: threading.Event) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error
        finally:
            over.set()
