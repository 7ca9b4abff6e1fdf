"""Whole exchanges in real processes: killed, stopped and talked nonsense to while others trade."""
