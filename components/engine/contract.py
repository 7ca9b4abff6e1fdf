"""The one door to an engine, compiled or readable, for the matcher, journal replay, tests and benchmarks alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from wire.state import CanonicalState

MIN_EVENT_CAPACITY = 16  # events; no single step of the engine gives more than this


class Engine(Protocol):
    """A deterministic state machine over command groups. Rules: README.md beside this file."""

    @property
    def command_seq(self) -> int:
        """Number of the last command applied; 0 at the beginning."""

    @property
    def event_seq(self) -> int:
        """Number of the last event given; 0 at the beginning."""

    @property
    def event_hash(self) -> int:
        """Running hash over all events that `apply` has yielded so far, a signed 64-bit integer."""

    @property
    def next_deadline_ns(self) -> int:
        """When time alone changes something next: an order expires, a grace or a breaker's time ends; 0: never."""

    def apply(self, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray) -> Iterator[np.ndarray]:
        """Apply a group: COMMAND[n] with numbers from `first_seq`, EXTENSION[m] in the commands' order.

        Yields EVENT arrays (one or more events each, valid until the next is asked for). The group is applied only
        once the iterator is exhausted. Raises BrokenInvariant when numbers do not continue or extensions do not add
        up: what was journalled is never refused, so the process must stop.
        """

    def canonical(self) -> CanonicalState:
        """The logical content in canonical order; `wire.state.state_hash` of it is the state hash."""

    def state_hash(self) -> str:
        """`wire.state.state_hash(self.canonical())`."""

    def snapshot(self) -> dict[str, np.ndarray]:
        """The whole state as arrays; `restore` of another engine of the same class takes them."""

    def arrays(self) -> dict[str, np.ndarray]:
        """What `snapshot` copies: the state itself where it is arrays. To be read only, until the next `apply`."""

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Become what the snapshot was taken of. The arrays are the engine's from then on, and not for anyone else."""

    def check(self) -> None:
        """Raise BrokenInvariant, naming it, unless every invariant in README.md holds. Slow."""


class BrokenInvariant(Exception):
    """The engine's state or input contradicts what must always hold. Never caught: the process stops."""
