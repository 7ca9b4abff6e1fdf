"""`zmx calendar`: the phases of an instrument in the next days, in its market's time and in this machine's."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from run.calendars import calendar
from run.cli.failure import Failure
from run.cli.screen import out, print_json, table
from run.config import Config
from wire.enums import Phase


def main(config: Config, symbol: str, days: int, as_json: bool) -> None:
    """Print the changes of each day from today on."""
    instrument = next((each for each in config.instrument if each.name == symbol), None)
    if instrument is None:
        names = ", ".join(each.name for each in config.instrument)
        raise Failure(f"there is no instrument {symbol!r} in the configuration; there are {names or 'none'}")
    settings = next((each for each in config.calendar if each.name == instrument.calendar), None)
    if settings is None:
        if as_json:
            print_json([])
        else:
            out().print(f"{symbol} has no calendar: it is always in continuous trading.")
        return
    market, zone = calendar(settings), ZoneInfo(settings.zone)
    today = datetime.now(zone).date()
    rows: list[tuple[date, datetime, str]] = []
    for ahead in range(days):
        day = today + timedelta(days=ahead)
        for change in market.changes_on(day):
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=change.when_ns // 1_000_000_000)
            rows.append((day, moment, Phase(change.phase).name.lower()))
    if as_json:
        print_json([{"time": moment.isoformat(), "phase": phase} for _, moment, phase in rows])
        return
    shown = table("day", f"{settings.zone}", "here", "phase", title=f"{symbol}, calendar {settings.name}")
    for day, moment, phase in rows:
        local, here = moment.astimezone(zone), moment.astimezone()
        shown.add_row(f"{day:%a %d %b %Y}", f"{local:%H:%M:%S}", f"{here:%a %H:%M:%S}", phase)
    out().print(shown if rows else f"{symbol}: nothing changes in the next {days} days")
