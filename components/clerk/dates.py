"""Which day a trade belongs to, and which day it settles on.

Days are numbers, YYYYMMDD. What day it is in a market, and which days are its business days, is handed in as `Days`.
Neither falls as time goes on, so a run of trades is dated by its ends: where they agree, all between them do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final, NamedTuple

import numpy as np

_EPOCH: Final = date(1970, 1, 1)
_DAY_NS: Final = 86_400_000_000_000

Days = Callable[[int, int, int], int]
"""(symbol, n, time_ns) to the nth business day behind that moment's day in the instrument's market; n = 0: to that."""


def every_day(symbol: int, days: int, time_ns: int) -> int:
    """Where no market has a calendar: every day, by UTC.

    >>> every_day(1, 2, 0)
    19700103
    """
    day = _EPOCH + timedelta(days=time_ns // _DAY_NS + days)
    return day.year * 10_000 + day.month * 100 + day.day


def dated(days: Days, symbols: np.ndarray, ahead: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Int32[n]: of int[n] symbols, the day so many business days behind each of int64[n] times, which never fall."""
    found = np.zeros(times.size, "i4")
    for symbol in np.unique(symbols).tolist():
        rows = np.flatnonzero(symbols == symbol)
        found[rows] = _run(days, symbol, int(ahead[rows[0]]), times[rows])
    return found


def _run(days: Days, symbol: int, ahead: int, times: np.ndarray) -> np.ndarray:
    first, last = (days(symbol, ahead, int(times[end])) for end in (0, -1))
    if first == last or times.size <= 2:
        return np.where(np.arange(times.size) == times.size - 1, last, first)
    middle = times.size // 2
    return np.concatenate([_run(days, symbol, ahead, half) for half in (times[:middle], times[middle:])])


class SettleDate(NamedTuple):
    """A row of `settle_dates`: what is traded in an instrument from this match on settles on this day."""

    symbol: int
    match: int
    settle_date: int


class SettleDates:
    """When every match settles that ever was: a row for each day of an instrument rather than one for each match."""

    def __init__(self, rows: list[SettleDate] | None = None) -> None:
        """`rows` are by symbol, and then by match."""
        self._matches: dict[int, list[int]] = {}
        self._dates: dict[int, list[int]] = {}
        for row in rows or ():
            self._add(row)

    def add(self, trades: np.ndarray) -> list[SettleDate]:
        """Note what TRADE[n] says; the rows that are new."""
        new = list[SettleDate]()
        for symbol in np.unique(trades["symbol"]).tolist():
            own = trades[trades["symbol"] == symbol]
            dates = own["settle_date"]
            before = self._dates.get(symbol, [0])[-1]
            for at in np.flatnonzero(np.concatenate(([dates[0] != before], dates[1:] != dates[:-1]))).tolist():
                new.append(SettleDate(symbol, int(own["match"][at]), int(dates[at])))
                self._add(new[-1])
        return new

    def of(self, symbol: int, match: int) -> int:
        """When a match of an instrument settles; 0: it had none by then."""
        at = bisect_right(self._matches.get(symbol, []), match)
        return self._dates[symbol][at - 1] if at else 0

    def _add(self, row: SettleDate) -> None:
        self._matches.setdefault(row.symbol, []).append(row.match)
        self._dates.setdefault(row.symbol, []).append(row.settle_date)
