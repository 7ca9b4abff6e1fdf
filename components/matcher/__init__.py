"""The matcher: applies the sequenced groups to an engine, in order, and says what happened."""

from components.matcher.matcher import Action, Decision, Matcher

__all__ = ["Action", "Decision", "Matcher"]
