"""Run the command with its arguments and leave with its exit code; every failure is one line on stderr."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import traceback
import warnings
from typing import Any

from mbgd import signals, threads
from mbgd.cli.stopped import Stopped
from mbgd.cli.streams import REFUSED, hear_no_more, open_streams
from mbgd.cli.surroundings import address_space, believe_width, check_working_folder
from mbgd.desk.stderr import say
from mbgd.errors import MBGDError, StorageError, did_you_mean, readable, speaking_as_the_command

INTERRUPTED = 130
_MEMORY_RAN_OUT = (  # what libraries say instead of raising MemoryError: torch, the loader, Arrow, Python's threads, LLVM
    "allocate memory",
    "failed to map segment",
    "Failed to launch worker thread",
    "can't start new thread",
    "load shared object",
)
_NOTHING_LEFT = b"mbgd: error: memory ran out; take fewer rows or columns, a smaller model, or a machine with more\n"


def call(arguments: list[str] | None) -> None:
    """Run, and end the process by the exit code."""
    warnings.showwarning = lambda message, *where: say(f"warning: {message}")
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except MemoryError:  # which ran out once more while that was told
        os.write(2, _NOTHING_LEFT)
        os._exit(StorageError.exit_code)
    signals.ended(code)
    if threads.is_any_at_work():  # a write that nobody wants, on a disk that does not answer
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of one call."""
    open_streams()
    believe_width()
    try:
        check_working_folder(arguments)
        from mbgd.cli.app import app

        with speaking_as_the_command():
            code = int(app(arguments, standalone_mode=False) or 0)
        sys.stdout.flush()  # here a full disk is heard of; at the end of the interpreter it would be too late
        return _stopped() if code == INTERRUPTED else code  # typer turns a KeyboardInterrupt into that number
    except MBGDError as error:
        return _say(str(error), error.exit_code)
    except Stopped as stopped:
        return _stopped(str(stopped))
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:
        return _unheard()
    except SystemExit as left:  # how typer ends where the pipe is closed
        if isinstance(left.__context__, BrokenPipeError):
            return _unheard()
        raise
    except MemoryError as error:
        return _no_memory(str(error))
    except Exception as error:
        if any(words in str(error) for words in _MEMORY_RAN_OUT):
            return _no_memory("" if isinstance(error, RuntimeError) else str(error))
        if isinstance(error, OSError) and error.errno in REFUSED:
            return _refused(error)
        if hasattr(error, "format_message"):
            return _say(_usage(error.format_message(), getattr(error, "ctx", None)), 2)
        return _our_fault()


def _unheard() -> int:
    """Whoever read our output has gone: that is no failure."""
    hear_no_more()
    return 0


def _refused(error: OSError) -> int:
    """What the system refused besides the files that `store` and `data` name: nearly always our own output."""
    hear_no_more()
    what = "the output" if error.filename is None else str(error.filename)
    return _say(
        f"the system refused {what}: {error.strerror}; check the room and the permissions there", StorageError.exit_code
    )


def _no_memory(said: str) -> int:
    limit = address_space()
    remedy = "take fewer rows or columns, a smaller model, or a machine with more"
    if limit is not None:
        remedy = f"this process may have {limit / 2**30:.1f} GiB of address space: raise 'ulimit -v', or {remedy}"
    return _say(f"memory ran out{f' ({said})' if said else ''}; {remedy}", StorageError.exit_code)


def _stopped(what: str = "interrupted; nothing was written") -> int:
    return _say(what, signals.exit_code(), word="stopped")


def _say(sentence: str, code: int, *, word: str = "error") -> int:
    with signals.deferred():  # one line, whatever comes meanwhile
        say(f"mbgd: {word}: {' '.join(readable(sentence).split())}")
        signals.ended(code)
    return code


def _usage(message: str, context: Any) -> str:
    """The parser's sentence, with the right word where the option is known from elsewhere."""
    from mbgd.desk.foreign import FOREIGN

    here = "mbgd" if context is None or context.parent is None else f"mbgd {context.info_name}"
    given = re.search(r"No such option:? '?(-{1,2}([\w-]+))", message)
    if given is None:
        return message if message.endswith("?") else f"{message.rstrip('.')}; see {here} --help"
    option, word = given.groups()
    known = [] if context is None else [name for parameter in context.command.params for name in parameter.opts]
    said = re.match(r"(\w+)(.*)", FOREIGN.get(word.replace("-", "_"), ""))
    meant = None if said is None else "--" + {"sample_weight": "weight"}.get(said[1], said[1]).replace("_", "-")
    if said is None or meant not in known:
        return f"{option} is not an option of {here}{did_you_mean(option, known) or f'; see {here} --help'}"
    more = re.sub("^='(.*)'$", r" \1", said[2])  # a value that goes with it
    return f"{option} is not an option of {here}; say {meant}{more} instead"


def _our_fault() -> int:
    kind, error, _ = sys.exc_info()
    what = f"an unexpected {kind.__name__ if kind is not None else 'error'} ({error}); this is a fault of mbgd"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mbgd-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            traceback.print_exc(file=file)
    except OSError as full:
        return _say(f"{what}, its traceback could not be kept ({full.strerror})", 1)
    return _say(f"{what}, its traceback is in {file.name}", 1)
