"""Calendars: when a market's phases change."""

from components.calendar.business import BusinessDays
from components.calendar.calendar import Calendar, Change, Timetable, Weekly

__all__ = ["BusinessDays", "Calendar", "Change", "Timetable", "Weekly"]
