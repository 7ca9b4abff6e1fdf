"""The brokers' door: who speaks, is it well-formed, is there room; and each report to its session. See README.md."""

from components.gateway.gateway import Gateway
from components.gateway.index import SessionIndex
from components.gateway.uplink import Limits

__all__ = ["Gateway", "Limits", "SessionIndex"]
