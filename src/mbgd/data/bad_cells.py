"""The first cell that keeps a column of text from being the numbers or dates that the others are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.order import IntArray
from mbgd.data.timestamps import BEGINS_LIKE_A_DATE, read_timestamps

MOSTLY = 0.8  # share of cells from which a column of text was meant to be something else
LOOKED_AT = 100  # texts that decide whether dates are written otherwise
NOT_A_NUMBER = "is not a number"
NOT_AS_WRITTEN = "is not a number written like -1234.5, without separators, currency, percent signs or brackets"
NOT_A_DATE = "is not a date such as 2013-01-31 or 2013-01-31 17:05:00"
PLAIN = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_MONEY = r"(?:US|CA|AU|NZ|HK|[RCAS])?\p{Sc}|" + "|".join((
    "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "CNY", "INR", "BRL", "MXN", "SEK", "NOK", "DKK", "PLN", "CZK",
    "HUF", "RUB", "TRY", "KRW", "ZAR", "SGD", "HKD", "ILS", "THB", r"kr\.?", "zł", "Kč", "Ft", r"Rs\.?",
))  # fmt: skip
_BLANK = r"\s\x{a0}\x{2007}\x{2009}\x{202f}"
_SIGN = r"\-\x{2212}\x{2010}-\x{2015}\x{fe63}\x{ff0d}"  # minus, and the dashes that stand for it
_CORE = (  # 1,5 and 1.234,5 and 1,234.5 and 12,34,567.5 and 1 234,5 and 1'234.5
    r"(?:\d+[.,]?\d*|[.,]\d+|\d{1,3}(?:\.\d{3})+(?:,\d*)?|\d{1,3}(?:,\d{2,3})+(?:\.\d*)?"
    rf"|\d{{1,3}}(?:[{_BLANK}'\x{{2019}}]\d{{3}})+(?:[.,]\d*)?)(?:[eE][+{_SIGN}]?\d+)?"
)
WRITTEN = (  # a number with a currency, a percent sign, brackets or a minus of any kind on either side
    rf"^(?:[{_BLANK}(+{_SIGN}]|{_MONEY})*{_CORE}(?:[{_BLANK}){_SIGN}%\x{{2030}}]|{_MONEY})*$"
)
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[ap]\.?m\.?)?"
_WRITTEN_OTHERWISE = re.compile(  # 31/1/2020, 01.31.20, 2020/01/31, 31-01-2020, 31-Jan-20, Jan 31, 2020, 2020-01, 2020Q1
    r"((mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? )?"
    r"(\d{1,2}([./-])\d{1,2}\4\d{4}|\d\d([./-])\d\d\5\d\d|\d{4}([./])\d{1,2}\6\d{1,2}|\d{4}-(0[1-9]|1[0-2])|\d{4}[ -]?q[1-4]"
    rf"|\d{{1,2}}(st|nd|rd|th)?[ -]{_MONTH}[ ,-]{{1,2}}(\d{{4}}|\d\d)|{_MONTH} \d{{1,2}}(st|nd|rd|th)?(, ?| )(?=\d)(\d{{4}})?"
    rf"|{_MONTH}[ -]\d{{4}})(( ?T?|, ?){_TIME}( \d{{4}})?( ?(z|utc|gmt|[+-]\d\d:?\d\d))?)?",
    re.IGNORECASE,
)
_MEASURED = re.compile(  # a number with a unit or a sign: 5 kg, 12K, 1.5M, 20°C, <5, ~5, 1_000
    r"(?P<before>[<>~\u2248\u2264\u2265=#*]*) ?[+-]?\d[\d,_']*(?:\.\d+)? ?"
    r"(?P<unit>[^\W\d_]{0,5}[%\u00b0\u00b2\u00b3/*+]?[^\W\d_]{0,5}\.?)"
)
_UNITS = 5  # different ones, beyond which letters behind a number are no unit of it


@dataclass(frozen=True)
class BadCell:
    """The text of number `code` is not what it was meant to be, as `why` says."""

    code: int
    why: str


def are_dates_otherwise(texts: Sequence[str]) -> bool:
    """Whether four of five of the first texts are dates, but not written as 2020-01-31."""
    head = texts[:LOOKED_AT]
    return sum(_WRITTEN_OTHERWISE.fullmatch(text) is not None for text in head) >= MOSTLY * max(1, len(head))


def are_measures(texts: Sequence[str]) -> bool:
    """Whether nearly all of the first texts are numbers with one of few units behind them, or a sign before."""
    found = [match for text in texts[:LOOKED_AT] if (match := _MEASURED.fullmatch(text)) is not None]
    units = {(match["before"], match["unit"]) for match in found}
    return len(found) >= MOSTLY * max(1, len(texts[:LOOKED_AT])) and len(units) <= _UNITS


def first_bad_cell(texts: pa.Array, *, rows: IntArray, first: IntArray) -> BadCell | None:
    """Where four of five cells are numbers, however written, or begin like dates: the first that is none; else None.

    `texts` are distinct; `rows` says how many rows hold each and `first` which row is the first to.
    """
    plain = _matches(texts, PLAIN)
    written = ~plain & _matches(texts, WRITTEN)  # 1.234 is a number as it is
    total = MOSTLY * rows.sum()
    if rows[plain | written].sum() >= total:
        words = ~plain & ~written
        if rows[written].sum() > rows[words].sum():
            return BadCell(_earliest(written, first), NOT_AS_WRITTEN)
        return BadCell(_earliest(words, first), NOT_A_NUMBER) if words.any() else None
    dates = _matches(texts, BEGINS_LIKE_A_DATE)
    if rows[dates].sum() >= total and not (known := read_timestamps(texts).known).all():
        return BadCell(_earliest(~known, first), NOT_A_DATE)
    return None


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    return np.asarray(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False), dtype=bool)


def _earliest(these: NDArray[np.bool_], first: IntArray) -> int:
    found = np.flatnonzero(these)
    return int(found[first[found].argmin()])
