"""Every failure that MBGD announces: a class and its exit code, raised with one sentence that says what to do."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from shlex import quote

_LONGEST_WORD, _LONGEST_SENTENCE = 400, 2000  # characters


def readable(sentence: str) -> str:
    """A sentence without the middle of what is too long to be read: the name of a column or file may have a megabyte."""
    sentence = _LONG.sub(lambda found: f"{found[0][:100]}...{found[0][-20:]}", sentence)
    return sentence if len(sentence) <= _LONGEST_SENTENCE else f"{sentence[:1500]} ... {sentence[-400:]}"


_LONG = re.compile(rf"\S{{{_LONGEST_WORD},}}")


class MBGDError(Exception):
    """Root of all announced failures; `exit_code` is what the command line leaves with."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(readable(message))

    def __str__(self) -> str:
        """Printable: it may quote names and cells of data, which are not to steer a terminal."""
        return plain(" ".join(map(str, self.args)))


class PlanError(MBGDError, ValueError):
    """An argument or option is wrong: a name, a bound, or two that exclude each other."""

    exit_code = 2


class DataError(MBGDError, ValueError):
    """The rows are wrong: a file, a column, a value, a shape."""

    exit_code = 3


class SavedFileError(MBGDError):
    """A model, checkpoint or run file is damaged, foreign, newer, or of another architecture."""

    exit_code = 4


class DamagedError(SavedFileError):
    """A saved file is not as it was written, or says what no such file says: an older one may serve."""


class StorageError(MBGDError, OSError):
    """The disk refused: full, read-only, no permission, in use."""

    exit_code = 5


class DivergenceError(MBGDError, ArithmeticError):
    """A loss or gradient was not finite; the parameters are those before that update."""

    exit_code = 6

    def __init__(
        self, message: str, *, step: int = 0, epoch: int = 0, rows: tuple[int, ...] = (), tried: str = ""
    ) -> None:
        super().__init__(message + tried)
        self.step, self.epoch = step, epoch  # the update that was not made, both counted from 1
        self.rows = rows  # the row numbers of its batch, counted from 0
        self.tried = tried  # what was done about it before, as a clause


class DataWarning(UserWarning):
    """Rows were read, and are hardly what was meant: one sentence a call."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The nearest known word as a clause to append to a message, or nothing where none is near."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


_at_the_command = [False]


@contextmanager
def speaking_as_the_command() -> Iterator[None]:
    """Inside, messages name options, `--drop x`, in place of arguments, `drop=['x']`."""
    before, _at_the_command[0] = _at_the_command[0], True
    try:
        yield
    finally:
        _at_the_command[0] = before


def at_the_command() -> bool:
    """Whether it is the command that speaks, which takes words and no objects of Python."""
    return _at_the_command[0]


def option(name: str, value: str, *, python: str | None = None) -> str:
    """An option with its value, or the argument of Python (`python` where there is none): a remedy that exists at this door."""
    return as_options(argument(name, value)) if at_the_command() else python or argument(name, value)


def argument(name: str, value: str) -> str:
    """An argument of Python with its value: so it stands in notes, which are kept with a run, whoever began it."""
    if value == "False":
        return f"{name}=False"
    if name == "columns":
        return f"{name}={value.split(',')}"
    return f"{name}=[{value!r}]" if name in ("categorical", "numeric", "drop") else f"{name}={value!r}"


_QUOTED = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_ARGUMENT = re.compile(
    r"\b(categorical|numeric|drop|split|task|target|threshold_for|delimiter|columns|comment)="
    rf"(\[{_QUOTED}(?:, {_QUOTED})*\]|{_QUOTED})|\b(\w+)=False"
)


def as_options(text: str) -> str:
    """A note as the command says it, with options in place of arguments."""
    return _ARGUMENT.sub(_as_option, text)


def _as_option(found: re.Match[str]) -> str:
    if found[3]:
        return f"--no-{found[3].replace('_', '-')}"
    given = literal_eval(found[2])
    value = given if isinstance(given, str) else ",".join(given)
    shown = value if value.isprintable() else repr(value)[1:-1]
    return f"--{found[1].replace('_', '-')} {repr(shown) if shown == ',' else quote(shown)}"


_UNCLEAR = re.compile(r"""[,;'"\\]|^\s|\s$|\s\s|^(\.\.\.)?$""")


def listed(names: Sequence[str]) -> str:
    """The first eight of some names; one that could be mistaken for two, for none or for another stands in quotes."""
    shown = [repr(name) if _UNCLEAR.search(name) or not name.isprintable() else name for name in names[:8]]
    return ", ".join(shown) + (", ..." if len(names) > 8 else "")


NONSENSE = (LookupError, TypeError, ValueError, AttributeError, AssertionError, ArithmeticError, RuntimeError)
"""What code raises that takes the JSON of a file at its word, where the file says what no such file says."""


@contextmanager
def taken_at_its_word(what: object) -> Iterator[None]:
    """Inside, JSON of a file is used as what it ought to be; where it is not, SavedFileError names the file."""
    try:
        yield
    except MBGDError:
        raise
    except NONSENSE as error:
        said = " ".join(str(error).split())[:200]
        raise SavedFileError(
            f"{what} says what no such file says ({type(error).__name__}: {said}); it is damaged, take another copy"
        ) from error


def is_utf8(text: str) -> bool:
    """Whether a text is all Unicode; a command's words may hold bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(text: str, *, lines: bool = False) -> str:
    """A text for people, on a terminal, in a notebook or a model card: what is no printable character is spelt out, as \\x1b, so
    that no name moves the cursor, turns the direction of writing or hides a part of itself; with `lines` but for line ends."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else c.encode("unicode_escape").decode() for c in text)
