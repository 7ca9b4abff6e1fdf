"""Market data: events in, numbered entries per topic out; snapshots and replay for whoever missed some."""

from components.publisher.books import BrokenInvariant
from components.publisher.core import INSTRUMENTS_TOPIC, PULSE_TOPIC, Publisher

__all__ = ["INSTRUMENTS_TOPIC", "PULSE_TOPIC", "BrokenInvariant", "Publisher"]
