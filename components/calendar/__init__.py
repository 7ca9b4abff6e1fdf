"""Calendars: when a market's phases change."""

from components.calendar.calendar import Calendar, Change, Timetable, Weekly

__all__ = ["Calendar", "Change", "Timetable", "Weekly"]
