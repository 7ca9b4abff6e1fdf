"""The readable engine: README.md said in plain objects. It judges the compiled one, and explains it."""

from components.engine.readable.engine import ReadableEngine

__all__ = ["ReadableEngine"]
