"""When a market's phases change: a week of local times, holidays and short days, and the moments that they mean.

A change is a phase that begins at a local time on some days of the week. On a holiday none of that day's happens and
the market is closed from its first moment; on a short day another list takes the place of the week's. The phase at a
moment is that of the last change at or before it, however many days back.

Local times become moments by the time zone that is handed in. A time that the clock jumps over (a spring's night) comes
when it jumps; one that it shows twice comes the first time. Of two changes at one moment the later in the list holds.

Pure: no clock is read, and the zone's table was read by whoever made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

from wire.enums import Phase

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_SECOND_NS: Final = 1_000_000_000
_SESSIONS: Final = frozenset(phase for phase in Phase if phase not in (Phase.NONE, Phase.CLOSED, Phase.HALT))
_FAR: Final = 400  # days that are looked through for a change: a week's table has one in eight, but for holidays


class Change(NamedTuple):
    """From `when_ns` on it is that phase."""

    when_ns: int
    phase: int


class Weekly(NamedTuple):
    """A change that comes back: on these days (0 is Monday), so many seconds after midnight on the wall's clock."""

    days: frozenset[int]
    at_s: int
    phase: int


class Calendar:
    """One market's days. Raises ValueError where no change would ever come."""

    def __init__(
        self,
        zone: tzinfo,
        week: Sequence[Weekly],
        holidays: frozenset[date] = frozenset(),
        short_days: Mapping[date, Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        if not any(each.days for each in week):
            raise ValueError("a calendar has at least one phase, on at least one day")
        self._zone = zone
        self._week = tuple(week)
        self._holidays = holidays
        self._short_days = dict(short_days or {})

    def changes_on(self, day: date) -> list[Change]:
        """The changes of a local day, each at a moment of its own, in order; also those to the phase that it is."""
        if day in self._holidays:
            wanted = [(0, int(Phase.CLOSED))]
        elif day in self._short_days:
            wanted = list(self._short_days[day])
        else:
            wanted = [(each.at_s, each.phase) for each in self._week if day.weekday() in each.days]
        found = {_moment_ns(day, at_s, self._zone): phase for at_s, phase in sorted(wanted, key=lambda each: each[0])}
        return [Change(when_ns, phase) for when_ns, phase in sorted(found.items())]

    def phase_at(self, time_ns: int) -> int:
        """The phase at a moment; CLOSED where no change came before it for more than a year."""
        today = self.day_of(time_ns)
        for back in range(-1, _FAR):
            for change in reversed(self.changes_on(today - back * _DAY)):
                if change.when_ns <= time_ns:
                    return change.phase
        return int(Phase.CLOSED)

    def next_change(self, time_ns: int) -> Change | None:
        """The first moment after this one at which the phase is another; None where there is none for a year."""
        phase, today = self.phase_at(time_ns), self.day_of(time_ns)
        for ahead in range(-1, _FAR):
            for change in self.changes_on(today + ahead * _DAY):
                if change.when_ns > time_ns and change.phase != phase:
                    return change
        return None

    @property
    def has_sessions(self) -> bool:
        """Whether in any ordinary week there is one."""
        return any(each.days and each.phase in _SESSIONS for each in self._week)

    def has_session(self, day: date) -> bool:
        """Whether on a local day anybody may trade, or enter for an auction: a business day."""
        if self.phase_at(self.start_of(day)) in _SESSIONS:
            return True
        return any(change.phase in _SESSIONS for change in self.changes_on(day))

    def day_of(self, time_ns: int) -> date:
        """The local day of a moment."""
        return (_EPOCH + timedelta(seconds=time_ns // _SECOND_NS)).astimezone(self._zone).date()

    def start_of(self, day: date) -> int:
        """The first moment of a local day."""
        return _moment_ns(day, 0, self._zone)


class Timetable:
    """Which symbols' phases are due, as time goes on: each change once, and of those that were missed only the last.

    `behind_ns` is up to when all was said already; None: nothing was, and every symbol is in `continuous` trading, as
    the engine begins.
    """

    def __init__(self, calendars: Mapping[int, Calendar], behind_ns: int | None) -> None:
        self._symbols: dict[Calendar, list[int]] = {}
        for symbol, calendar in sorted(calendars.items()):
            self._symbols.setdefault(calendar, []).append(symbol)
        self._phases: dict[Calendar, int] = {}  # as they were said last
        self._next_ns: dict[Calendar, int | None] = {}
        for calendar in self._symbols:
            if behind_ns is None:
                self._phases[calendar], self._next_ns[calendar] = int(Phase.CONTINUOUS), 0
            else:
                self._phases[calendar] = calendar.phase_at(behind_ns)
                self._look_ahead(calendar, behind_ns)

    @property
    def next_ns(self) -> int | None:
        """When something is due next; None: never."""
        return min((when for when in self._next_ns.values() if when is not None), default=None)

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        """(symbol, phase) of what has changed up to now since the last call, by symbol."""
        found: list[tuple[int, int]] = []
        for calendar, symbols in self._symbols.items():
            when_ns = self._next_ns[calendar]
            if when_ns is None or when_ns > now_ns:
                continue
            phase = calendar.phase_at(now_ns)
            self._look_ahead(calendar, now_ns)
            if phase != self._phases[calendar]:
                self._phases[calendar] = phase
                found += [(symbol, phase) for symbol in symbols]
        return sorted(found)

    def _look_ahead(self, calendar: Calendar, now_ns: int) -> None:
        change = calendar.next_change(now_ns)
        self._next_ns[calendar] = None if change is None else change.when_ns


def _moment_ns(day: date, at_s: int, zone: tzinfo) -> int:
    """When a zone's clocks show that time on that day."""
    midnight = datetime(day.year, day.month, day.day)
    local = midnight + timedelta(seconds=at_s)
    early, late = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    before_s, after_s = _seconds(early), _seconds(late)
    if before_s <= after_s:  # shown once, or twice: the first time
        return before_s * _SECOND_NS
    # Jumped over: read with the offset before the jump it lies behind it, with the one after it before.
    shown = early.utcoffset()
    low, high = after_s, before_s
    while high - low > 1:
        middle = (low + high) // 2
        there = (_EPOCH + timedelta(seconds=middle)).astimezone(zone).utcoffset()
        low, high = (middle, high) if there == shown else (low, middle)
    return high * _SECOND_NS


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)
