"""What the clerk stops with, rather than book what cannot be."""


class BrokenInvariant(Exception):
    """Events contradict the books or one another. Never caught: the process stops, and nothing of it is written."""
