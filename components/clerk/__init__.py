"""The books: events in; orders, trades, journal entries, balances and positions out, as rows for a database."""

from components.clerk.clerk import Booked, Clerk
from components.clerk.invariant import BrokenInvariant

__all__ = ["Booked", "BrokenInvariant", "Clerk"]
