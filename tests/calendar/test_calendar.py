"""Calendars: what their tables mean in moments, over years, through clocks that jump; and what is due of them, once."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.calendar import Calendar, Change, Timetable, Weekly
from wire.enums import Phase

NEW_YORK, TEHRAN, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Asia/Tehran"), ZoneInfo("Europe/Berlin")
MON_FRI = frozenset(range(5))
SAT_WED = frozenset({5, 6, 0, 1, 2})
EVERY_DAY = frozenset(range(7))
PRE_OPEN, OPENING, CONTINUOUS, CLOSED = (
    int(Phase[name]) for name in ("PRE_OPEN", "OPENING_AUCTION", "CONTINUOUS", "CLOSED")
)
HOUR, MINUTE = 3_600, 60


def at(text: str, zone: ZoneInfo | None = None) -> int:
    """A moment from local (or universal) time."""
    moment = datetime.fromisoformat(text).replace(tzinfo=zone or UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * 10**9


def tehran() -> Calendar:
    """A Tehran week: Saturday to Wednesday, pre-opening 08:45, trading 09:00 to 12:30."""
    week = [
        Weekly(SAT_WED, 8 * HOUR + 45 * MINUTE, PRE_OPEN),
        Weekly(SAT_WED, 9 * HOUR, CONTINUOUS),
        Weekly(SAT_WED, 12 * HOUR + 30 * MINUTE, CLOSED),
    ]
    return Calendar(TEHRAN, week)


def us(**more: object) -> Calendar:
    """A US day: 09:30 to 16:00 in New York."""
    week = [Weekly(MON_FRI, 9 * HOUR + 30 * MINUTE, CONTINUOUS), Weekly(MON_FRI, 16 * HOUR, CLOSED)]
    return Calendar(NEW_YORK, week, **more)  # type: ignore[arg-type]


def test_a_tehran_week() -> None:
    calendar = tehran()
    saturday = "2026-11-21"
    assert calendar.phase_at(at(f"{saturday} 08:44:59", TEHRAN)) == CLOSED
    assert calendar.phase_at(at(f"{saturday} 08:45", TEHRAN)) == PRE_OPEN
    assert calendar.phase_at(at(f"{saturday} 12:29:59", TEHRAN)) == CONTINUOUS
    assert calendar.phase_at(at(f"{saturday} 12:30", TEHRAN)) == CLOSED
    wednesday_noon = at("2026-11-25 13:00", TEHRAN)
    assert calendar.next_change(wednesday_noon) == Change(at("2026-11-28 08:45", TEHRAN), PRE_OPEN), "not on Thursday"
    assert at("2026-11-28 05:15") == at("2026-11-28 08:45", TEHRAN), "three and a half hours east, no summer time"


def test_a_us_day_moves_with_the_clock() -> None:
    calendar = us()
    assert calendar.next_change(at("2026-03-06 20:00")) == Change(at("2026-03-06 21:00"), CLOSED), "winter"
    assert calendar.next_change(at("2026-03-07 00:00")) == Change(at("2026-03-09 13:30"), CONTINUOUS), "summer"
    assert calendar.next_change(at("2026-10-31 12:00")) == Change(at("2026-11-02 14:30"), CONTINUOUS), "and back"


def test_around_the_clock_nothing_ever_changes() -> None:
    always = Calendar(UTC, [Weekly(EVERY_DAY, 0, CONTINUOUS)])
    assert always.phase_at(at("2026-11-21 17:00")) == CONTINUOUS
    assert always.next_change(at("2026-11-21 17:00")) is None
    with_a_holiday = Calendar(UTC, [Weekly(EVERY_DAY, 0, CONTINUOUS)], frozenset({date(2026, 12, 25)}))
    assert with_a_holiday.next_change(at("2026-12-01 00:00")) == Change(at("2026-12-25 00:00"), CLOSED)
    assert with_a_holiday.next_change(at("2026-12-25 12:00")) == Change(at("2026-12-26 00:00"), CONTINUOUS)


def test_holidays_and_short_days() -> None:
    thanksgiving, friday = date(2026, 11, 26), date(2026, 11, 27)
    calendar = us(
        holidays=frozenset({thanksgiving}),
        short_days={friday: [(9 * HOUR + 30 * MINUTE, CONTINUOUS), (13 * HOUR, CLOSED)]},
    )
    assert calendar.next_change(at("2026-11-25 22:00")) == Change(at("2026-11-27 09:30", NEW_YORK), CONTINUOUS)
    assert calendar.next_change(at("2026-11-27 10:00", NEW_YORK)) == Change(at("2026-11-27 13:00", NEW_YORK), CLOSED)
    assert calendar.next_change(at("2026-11-27 13:00", NEW_YORK)) == Change(
        at("2026-11-30 09:30", NEW_YORK), CONTINUOUS
    )


def test_a_night_that_begins_before_the_holiday_ends_there() -> None:
    night = [Weekly(EVERY_DAY, 18 * HOUR, CONTINUOUS), Weekly(EVERY_DAY, 17 * HOUR, CLOSED)]
    calendar = Calendar(NEW_YORK, night, frozenset({date(2026, 12, 25)}))
    assert calendar.phase_at(at("2026-12-24 23:59:59", NEW_YORK)) == CONTINUOUS
    assert calendar.phase_at(at("2026-12-25 00:00", NEW_YORK)) == CLOSED
    assert calendar.next_change(at("2026-12-25 00:00", NEW_YORK)) == Change(
        at("2026-12-26 18:00", NEW_YORK), CONTINUOUS
    )


def test_a_time_that_the_clock_jumps_over_comes_when_it_jumps_and_one_shown_twice_the_first_time() -> None:
    sundays = [
        Weekly(frozenset({6}), 2 * HOUR + 30 * MINUTE, PRE_OPEN),
        Weekly(frozenset({6}), 3 * HOUR, CONTINUOUS),
        Weekly(frozenset({6}), 23 * HOUR, CLOSED),
    ]
    calendar = Calendar(BERLIN, sundays)
    jump = at("2026-03-29 01:00")  # 02:00 to 03:00 in Berlin
    assert calendar.changes_on(date(2026, 3, 29))[0] == Change(jump, CONTINUOUS), "both at once: the later holds"
    assert calendar.phase_at(jump - 1) == CLOSED
    assert calendar.changes_on(date(2026, 10, 25))[0] == Change(at("2026-10-25 00:30"), PRE_OPEN), "the first 02:30"


def test_a_calendar_without_a_change_is_none() -> None:
    with pytest.raises(ValueError, match="at least one phase"):
        Calendar(UTC, [])
    with pytest.raises(ValueError, match="at least one day"):
        Calendar(UTC, [Weekly(frozenset(), 0, CLOSED)])


# ------------------------------------------------------------------------------------------ properties


zones = st.sampled_from([NEW_YORK, TEHRAN, BERLIN, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/Sao_Paulo")])
weeks = st.lists(
    st.builds(
        Weekly,
        st.frozensets(st.integers(0, 6), min_size=1),
        st.integers(0, 24 * 60 - 1).map(lambda minutes: 60 * minutes),
        st.integers(1, 7),
    ),
    min_size=1,
    max_size=6,
)
moments = st.integers(at("2015-01-01 00:00") // 10**9, at("2030-01-01 00:00") // 10**9).map(lambda s: s * 10**9)
holidays = st.frozensets(st.dates(date(2015, 1, 1), date(2030, 1, 1)), max_size=5)


@given(zones, weeks, holidays, moments)
def test_between_two_changes_it_is_one_phase(
    zone: ZoneInfo, week: list[Weekly], free: frozenset[date], moment: int
) -> None:
    calendar = Calendar(zone, week, free)
    phase, change = calendar.phase_at(moment), calendar.next_change(moment)
    if change is None:
        assert calendar.phase_at(moment + 200 * 86_400 * 10**9) == phase
        return
    assert change.when_ns > moment
    assert calendar.phase_at(change.when_ns) == change.phase != phase
    assert calendar.phase_at(change.when_ns - 1) == phase
    for step in range(1, 8):
        assert calendar.phase_at(moment + (change.when_ns - moment) * step // 8) == phase


@given(zones, weeks, st.dates(date(2015, 1, 1), date(2030, 1, 1)))
def test_every_change_is_when_the_wall_shows_its_time_or_jumps_over_it(
    zone: ZoneInfo, week: list[Weekly], day: date
) -> None:
    changes = Calendar(zone, week).changes_on(day)
    assert changes == sorted(changes)
    shown = {each.at_s for each in week if day.weekday() in each.days}
    for change in changes:
        local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=change.when_ns // 10**9)).astimezone(zone)
        before = (local.astimezone(UTC) - timedelta(seconds=1)).astimezone(zone)
        midnight = datetime(day.year, day.month, day.day)
        seconds = (local.replace(tzinfo=None) - midnight) // timedelta(seconds=1)
        jumped = (before.replace(tzinfo=None) - midnight) // timedelta(seconds=1) + 1
        assert any(jumped <= at_s <= seconds for at_s in shown), "shown now, or jumped over just now"
    assert len(changes) <= len(shown)


def test_a_timetable_says_each_change_once_and_of_those_missed_only_the_last() -> None:
    calendar = tehran()
    table = Timetable({7: calendar, 2: calendar, 3: us()}, at("2026-11-21 02:00", TEHRAN))
    assert table.next_ns == at("2026-11-21 08:45", TEHRAN)
    assert table.due(at("2026-11-21 08:44:59", TEHRAN)) == []
    assert table.due(at("2026-11-21 08:45", TEHRAN)) == [(2, PRE_OPEN), (7, PRE_OPEN)]
    assert table.due(at("2026-11-21 08:46", TEHRAN)) == []
    assert table.due(at("2026-11-22 10:00", TEHRAN)) == [(2, CONTINUOUS), (7, CONTINUOUS)]
    assert table.due(at("2026-11-24 10:00", TEHRAN)) == [], "a day there and back again, New York's too"
    again = Timetable({7: calendar}, at("2026-11-21 09:00", TEHRAN))
    assert again.due(at("2026-11-22 10:00", TEHRAN)) == [], "there and back again while nobody looked"


def test_what_was_never_said_is_said_where_it_is_not_what_the_engine_begins_with() -> None:
    always = Calendar(UTC, [Weekly(EVERY_DAY, 0, CONTINUOUS)])
    table = Timetable({1: always, 2: tehran()}, None)
    assert table.next_ns == 0
    assert table.due(at("2026-11-20 12:00", TEHRAN)) == [(2, CLOSED)]
    assert Timetable({}, None).next_ns is None


@pytest.mark.parametrize("seed", range(10))
def test_however_often_it_starts_anew_the_phases_said_are_those_of_the_calendar(seed: int) -> None:
    chance = random.Random(seed)
    now = at("2026-03-01 00:00")
    calendars = {1: us(), 2: tehran(), 3: us()}
    table, phases = Timetable(calendars, None), dict.fromkeys(calendars, CONTINUOUS)
    for _ in range(300):
        before, now = now, now + chance.choice((1, 600, 3_600, 86_400)) * chance.randint(1, 10) * 10**9
        for symbol, phase in table.due(now):
            assert phases[symbol] != phase, "never what it is already"
            phases[symbol] = phase
        assert phases == {symbol: calendar.phase_at(now) for symbol, calendar in calendars.items()}
        assert table.next_ns is not None
        assert table.next_ns > now
        if chance.random() < 0.1:
            table = Timetable(calendars, now)
        assert before < now
