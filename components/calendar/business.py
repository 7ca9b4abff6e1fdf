"""Business days: the days on which a market has a session, counted from one to another.

>>> days = BusinessDays()
>>> days.number(2, 0)
19700103
"""

from __future__ import annotations

from datetime import UTC, date, timedelta
from typing import Final

from components.calendar.calendar import Calendar, Weekly
from wire.enums import Phase

_DAY: Final = timedelta(days=1)
_FAR: Final = 400  # days: no market is closed for longer
_ALWAYS: Final = Weekly(frozenset(range(7)), 0, int(Phase.CONTINUOUS))


class BusinessDays:
    """A market's; without a calendar: every day, by UTC."""

    def __init__(self, calendar: Calendar | None = None) -> None:
        self._calendar = calendar or Calendar(UTC, [_ALWAYS])
        self._numbers: dict[tuple[date, int], int] = {}  # as they were asked for
        self._today = date.min
        self._from_ns = self._to_ns = 0  # when it is that day

    def number(self, days: int, time_ns: int) -> int:
        """The nth business day behind a moment's local day, as YYYYMMDD; n = 0: that day, whatever it is.

        Raises ValueError where there is none for more than a year. 0.3 us for times of one day.
        """
        if not self._from_ns <= time_ns < self._to_ns:
            self._today = self._calendar.day_of(time_ns)
            self._from_ns, self._to_ns = (self._calendar.start_of(self._today + n * _DAY) for n in (0, 1))
        asked = self._today, days
        if (known := self._numbers.get(asked)) is None:
            day = self.ahead(*asked)
            known = self._numbers[asked] = day.year * 10_000 + day.month * 100 + day.day
        return known

    def ahead(self, day: date, days: int) -> date:
        """The nth business day behind a day."""
        for _ in range(days):
            start = day
            day += _DAY
            while not self._calendar.has_session(day):
                day += _DAY
                if (day - start).days > _FAR:
                    raise ValueError(f"the calendar has no session for {_FAR} days behind {start}")
        return day
