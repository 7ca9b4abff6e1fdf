"""Calendars from the configuration: [[calendar]] as text becomes components/calendar.

[[calendar]]
name = "tehran"
zone = "Asia/Tehran"
phases = [
  { days = "sat-wed", at = "08:45", phase = "pre_open" },
  { days = "sat-wed", at = "08:55", phase = "opening_auction" },
  { days = "sat-wed", at = "09:00", phase = "continuous" },
  { days = "sat-wed", at = "12:30", phase = "closed" },
]
holidays = ["2027-03-21"]
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from components.calendar import BusinessDays, Calendar, Weekly
from wire.enums import Phase

if TYPE_CHECKING:
    from components.clerk.dates import Days
    from run.market import Calendar as Settings
    from run.market import Market

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PHASES: Final = tuple(phase.name.lower() for phase in Phase if phase)


def calendars_of(market: Market) -> dict[int, Calendar]:
    """The calendar of each symbol that has one. Raises ValueError, naming what cannot be used."""
    made = {each.name: calendar(each) for each in market.calendar}
    return {each.symbol: made[each.calendar] for each in market.instrument if each.calendar}


def days_of(market: Market) -> Days:
    """The business days of every symbol's calendar; without one: every day, by UTC. 1 us."""
    made = {each.name: BusinessDays(calendar(each)) for each in market.calendar}
    of = {each.symbol: made[each.calendar] for each in market.instrument if each.calendar}
    every_day = BusinessDays()
    return lambda symbol, days, time_ns: of.get(symbol, every_day).number(days, time_ns)


def calendar(settings: Settings) -> Calendar:
    """One calendar. Raises ValueError, naming what cannot be used."""
    try:
        zone = ZoneInfo(settings.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"zone: {settings.zone!r} is no time zone of this system's (like Asia/Tehran)") from error
    week = [Weekly(_days(row["days"]), _seconds(row["at"]), _phase(row["phase"])) for row in settings.phases]
    short: dict[date, list[tuple[int, int]]] = {}
    for row in settings.short_days:
        short.setdefault(_date(row["date"]), []).append((_seconds(row["at"]), _phase(row["phase"])))
    return Calendar(zone, week, frozenset(map(_date, settings.holidays)), short)


def _days(text: str) -> frozenset[int]:
    """`sat-wed`, `mon,wed,fri`, or `all`."""
    if text == "all":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"days: {text!r} is not like sat-wed, or mon,wed, or all ({', '.join(DAYS)})")
        start, count = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1
        found |= {(start + step) % 7 for step in range(count)}
    return frozenset(found)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", text)
    if found is None:
        raise ValueError(f"at: {text!r} is not a time from 00:00 to 23:59, like 09:30 or 09:30:15")
    hours, minutes, seconds = (int(each or 0) for each in found.groups())
    return 3_600 * hours + 60 * minutes + seconds


def _phase(text: str) -> int:
    if text not in PHASES:
        raise ValueError(f"phase: {text!r} is not one of {', '.join(PHASES)}")
    return int(Phase[text.upper()])


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date like 2027-03-21") from None
