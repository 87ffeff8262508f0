"""End the command when a signal asks for it: after training has saved where one is under way, otherwise at once.

A handler may run between any two instructions, so none of these raises: an exception inside an import is swallowed there, or
leaves a module half made or its lock held. Before training there is nothing to save; the process removes what it has made,
says one line and leaves by `os._exit`. A thread does the same where the main thread is inside of compiled code and runs no
handler. In a Python program that uses the library none of this is installed: see `desk.interrupt`.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name)]
HASTENING = (signal.SIGINT, signal.SIGTERM)  # the others a system repeats by itself: a closed terminal, a spent limit
SECONDS_APART = 0.25  # `timeout` sends to the process and to its group what is meant once, and launchers pass it on
PATIENCE = 1.0  # seconds until a signal that the main thread runs no handler for is obeyed by another thread


class _Now:
    """What a handler has to know, and can know in no other way; of this process alone, so never made."""

    process = 0  # the id of the process that handles signals, 0 where none does
    main = 0  # the thread that handlers run on
    first: int | None = None  # the signal that came first
    requested_at: float | None = None  # when training was asked to stop, on the monotonic clock
    can_save = False  # whether training asks between two chunks, and saves
    deferring = 0  # how many blocks are under way that no signal may cut in two
    late = False  # whether one has come meanwhile
    handled = 0  # how often a handler has run
    leaver = 0  # the thread that ends the process
    ended_with: int | None = None  # the exit code of a command that has said its last line


_leaving = _thread.RLock()
_undoing: dict[object, Callable[[], None]] = {}
_last_line: list[Callable[[], str]] = [lambda: "interrupted; nothing was written"]


def install() -> None:
    """Install the handlers of the command, once; a signal that the process ignores, as under nohup, stays ignored."""
    if _Now.process:
        return
    _Now.process, _Now.main = os.getpid(), _thread.get_ident()
    try:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _on_signal)
    except ValueError:  # not on the main thread, where Python allows no handler
        _Now.process = 0
        return
    atexit.register(_ignore)  # the first of them, so the last that is called
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)
    if os.name != "nt":
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            _thread.start_new_thread(_watch, (reader,))
        except RuntimeError:  # too little memory for a thread: then compiled code is waited for
            return


def are_installed() -> bool:
    """Whether this process is the command, and this its main thread."""
    return _Now.process != 0 and _thread.get_ident() == _Now.main


def exit_code() -> int:
    """The exit code of a command that was interrupted: 128 and the number of the first signal."""
    return 128 + (_Now.first or signal.SIGINT)


def ended(exit_code: int) -> None:
    """The command has said its last line: a signal from now on ends it in silence, by that code."""
    _Now.ended_with = exit_code


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yields a function by which training asks whether to stop. From its first call on a signal is only noted; a second one
    ends the process, if it is SIGINT or SIGTERM and comes a quarter of a second after the first or later."""

    def is_asked() -> bool:
        _Now.can_save = True
        return stop_was_requested()

    try:
        yield is_asked
    finally:
        _Now.can_save = False


def stop_was_requested() -> bool:
    """Whether a signal has come that training had to look at."""
    return _Now.requested_at is not None


@contextmanager
def undo_if_ended(undo: Callable[[], None]) -> Iterator[None]:
    """Inside, a signal that ends the process calls `undo` first, which takes no lock and imports nothing."""
    key = object()
    _undoing[key] = undo
    try:
        yield
    finally:
        _undoing.pop(key, None)


def set_last_line(words: Callable[[], str]) -> None:
    """From now on a signal that ends the process says that sentence; `words` takes no lock and imports nothing."""
    _last_line[0] = words


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, for milliseconds at most, a signal waits: what is made and how to undo it belong together."""
    if _thread.get_ident() != _Now.main:
        yield
        return
    _Now.deferring += 1
    try:
        yield
    finally:
        _Now.deferring -= 1
        if _Now.late and not _Now.deferring:
            _leave()


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _Now.process:  # a child of a fork that has not come to `_forget`
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    _Now.handled += 1
    _Now.first = _Now.first or number
    if _is_urgent(number):
        _Now.late = True
        if not _Now.deferring:
            _leave()
    elif _Now.requested_at is None:
        _Now.requested_at = time.monotonic()


def _is_urgent(number: int) -> bool:
    """Whether there is nothing to save, or somebody asks a second time, not to wait for it."""
    if not _Now.can_save or _Now.ended_with is not None:
        return True
    return (
        _Now.requested_at is not None and number in HASTENING and time.monotonic() - _Now.requested_at >= SECONDS_APART
    )


def _leave() -> None:
    """End the process; returns only where this thread is about to do so already."""
    _leaving.acquire()  # and never let go of: meanwhile the main thread must not go on
    if _Now.leaver == _thread.get_ident():  # another signal
        return
    _Now.leaver = _thread.get_ident()
    if _Now.ended_with is not None:
        os._exit(_Now.ended_with)
    try:
        for undo in list(_undoing.values()):
            try:
                undo()
            except Exception:
                continue  # what cannot be removed is swept by the next run
        os.write(2, f"mbgd: stopped: {_last_line[0]()}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(exit_code())


def _watch(reader: int) -> None:
    """Obey a signal that the main thread runs no handler for: it is inside of compiled code, for seconds or longer."""
    seen = 0
    while True:
        number = os.read(reader, 1)[0]
        until = time.monotonic() + PATIENCE
        while _Now.handled == seen and time.monotonic() < until:
            time.sleep(0.02)
        if _Now.handled == seen and number in ENDING and not _Now.deferring and _is_urgent(number):
            _Now.first = _Now.first or number
            _leave()
        _drain(reader)  # several may have come that one call of a handler was for
        seen = _Now.handled


def _drain(reader: int) -> None:
    os.set_blocking(reader, False)
    try:
        os.read(reader, 4096)
    except BlockingIOError:
        return
    finally:
        os.set_blocking(reader, True)


def _ignore() -> None:
    """At the very end of the interpreter, which then gives each handled signal its default action, and the code would be lost."""
    for number in ENDING:
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_IGN)


def _forget() -> None:
    """In a child of a fork, which is not the command."""
    _Now.process = 0
    _undoing.clear()
    signal.set_wakeup_fd(-1)
    for number in ENDING:
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
