"""The engine that runs: Python once per group around the kernels, growing arrays between steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from components.engine.compiled import apply as doors
from components.engine.compiled.canonical import canonical_state
from components.engine.compiled.check import AUCTIONS, check_state
from components.engine.compiled.ladder import BITS_AT
from components.engine.compiled.pegcheck import out_of_book
from components.engine.compiled.state import (
    BROKEN,
    COLUMNS,
    DONE,
    HEAD,
    INITIAL,
    NEED_ACCOUNTS,
    NEED_ASSETS,
    NEED_BALANCES,
    NEED_BOOKS,
    NEED_BUSTS,
    NEED_LIMITS,
    NEED_POSITIONS,
    NEED_ROOM,
    NEED_SESSIONS,
    NEED_TIMERS,
    OUT_OF_TURN,
    ROWS_OF_A_SYMBOL,
    SCATTERED,
    SLOT,
    STATE_ARRAYS,
    UNREAD,
    WORD,
    empty_state,
)
from components.engine.contract import MIN_EVENT_CAPACITY, BrokenInvariant
from components.kernels.kernel import JIT, StateTable, cache_aligned, is_cache_aligned
from wire.constants import RULES_VERSION
from wire.dtypes import COMMAND, EVENT, EXTENSION, STATE_ORDER
from wire.state import CanonicalState, state_hash

_WORD = {name: index for index, name in enumerate(HEAD.names or ())}  # every field of the head is one word
_WRITTEN, _INDEX, _EXTENSION = (_WORD[name] for name in ("written", "index", "extension"))

_GROWTHS = 64  # in a row without an event: each doubles something, so that no group of commands needs as many


class CompiledEngine:
    """An `Engine` (contract.py) in Numba kernels. One kernel call per group and buffer of events.

    Cost: about 0.5 us a call and tens of nanoseconds a command; see perf/README.md.
    """

    def __init__(self, event_capacity: int = 4_096, expected_orders: int = 1_024) -> None:
        """`event_capacity` events are given at once at most; room for `expected_orders` is made, and touched, now."""
        if event_capacity < MIN_EVENT_CAPACITY:
            raise ValueError(f"an event buffer holds at least {MIN_EVENT_CAPACITY} events")
        self._table = StateTable(len(COLUMNS))
        self._events = cache_aligned(event_capacity, EVENT)
        self._table[COLUMNS["events"]] = self._events
        self._table[COLUMNS["words"]] = self._events.view(WORD)
        self._no_extensions = np.zeros(0, EXTENSION)
        self._table[COLUMNS["extensions"]] = self._no_extensions
        self._has_extensions = False
        self._adopt(empty_state(expected_orders))

    def _adopt(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        for name, array in arrays.items():
            self._table[COLUMNS[name]] = array
        self._table[COLUMNS["ticks"]] = arrays["windows"].view(SLOT)
        # the head's words as plain integers: reading one from the record would cost ten times as much
        self._words = memoryview(arrays["head"].view(WORD).data)

    def _number(self, name: str) -> int:
        return int(self._words[_WORD[name]])

    def _set(self, name: str, value: int) -> None:
        self._words[_WORD[name]] = value

    @property
    def command_seq(self) -> int:
        """Number of the last command applied."""
        return self._number("command_seq")

    @property
    def event_seq(self) -> int:
        """Number of the last event given."""
        return self._number("event_seq")

    @property
    def event_hash(self) -> int:
        """Running hash over all events."""
        return self._number("event_hash")

    @property
    def next_deadline_ns(self) -> int:
        """When time alone changes something next: an order expires, a grace or a breaker's time ends; 0: never."""
        return int(doors.next_deadline_entry(self._table.address))

    def apply(
        self, first_seq: int, time_ns: int, commands: np.ndarray, extensions: np.ndarray | None = None
    ) -> Iterator[np.ndarray]:
        """Apply a group; see `Engine.apply`."""
        if not len(commands):
            return
        if commands.dtype is not COMMAND and commands.dtype != COMMAND:
            raise TypeError("a group is COMMAND and EXTENSION records")
        if self._has_extensions or (extensions is not None and len(extensions)):
            self._bring(self._no_extensions if extensions is None else extensions)
        address, words = self._table.address, self._words
        status = _apply(address, id(commands), int(first_seq), int(time_ns))
        in_vain = 0
        while True:
            if status >= BROKEN:
                commands = self._arrange(status, first_seq, commands)
                status = _apply(address, id(commands), int(first_seq), int(time_ns))
                continue
            written = words[_WRITTEN]
            if written:
                yield self._events[:written]
            if status == DONE:
                break
            if status == NEED_ROOM:
                in_vain = 0 if written else in_vain + 1
                if in_vain > _GROWTHS:
                    raise BrokenInvariant(f"command {self.command_seq} finds no room, however much is made")
                self._grow()
                words = self._words
            else:
                in_vain = 0
            status = _apply(address, 0, 0, 0)
        words[_INDEX] = words[_EXTENSION] = 0

    def _bring(self, extensions: np.ndarray) -> None:
        """Put a group's extensions where the kernel looks for them."""
        if extensions.dtype != EXTENSION:
            raise TypeError("a group is COMMAND and EXTENSION records")
        self._table[COLUMNS["extensions"]] = np.ascontiguousarray(extensions)
        self._has_extensions = len(extensions) > 0

    def _arrange(self, status: int, first_seq: int, commands: np.ndarray) -> np.ndarray:
        """The commands so that the kernel can read them, where that was what it lacked; else the group is refused."""
        if status == SCATTERED:
            return np.ascontiguousarray(commands)
        if status == UNREAD:
            raise BrokenInvariant(f"the group before command {first_seq} was not read to its end")
        if status == OUT_OF_TURN:
            raise BrokenInvariant(f"command {first_seq} follows command {self.command_seq}")
        raise BrokenInvariant(f"group {first_seq}: its commands' extensions are not the group's")

    # ------------------------------------------------------------------------------------------------ looking

    def canonical(self) -> CanonicalState:
        """The logical content in canonical order."""
        sleeping = self._number("dormant_live") + len(out_of_book(self._arrays))
        orders = np.zeros(self._number("orders_live") - sleeping, STATE_ORDER)
        self._table[COLUMNS["rows"]] = orders
        count = doors.canonical_orders_entry(self._table.address)
        if count != len(orders):
            raise BrokenInvariant(f"{count} orders stand in the books, {len(orders)} are counted")
        dormant = np.zeros(sleeping, STATE_ORDER)
        self._table[COLUMNS["rows"]] = dormant
        count = doors.canonical_dormant_entry(self._table.address)
        if count != len(dormant):
            raise BrokenInvariant(f"{count} orders wait, {len(dormant)} are counted")
        return canonical_state(self._arrays, orders, dormant)

    def state_hash(self) -> str:
        """`wire.state.state_hash(self.canonical())`."""
        return state_hash(self.canonical())

    def check(self) -> None:
        """Raise BrokenInvariant, naming it, unless every invariant in README.md holds. Slow."""
        check_state(self._arrays)
        for symbol in np.flatnonzero(np.isin(self._arrays["books"]["phase"], AUCTIONS)):
            if not doors.is_told_entry(self._table.address, int(symbol)):
                raise BrokenInvariant(f"symbol {symbol}: what was told of its auction is not what it gives")
        for symbol in np.flatnonzero(self._arrays["pegs"]["live"]):
            slot = doors.first_out_of_place_entry(self._table.address, int(symbol))
            if slot >= 0:
                order_id = self._arrays["orders"][slot]["order_id"]
                raise BrokenInvariant(f"symbol {symbol}: pegged order {order_id} has another price than it should")
        state = self.canonical()
        for order in np.concatenate([state.orders, state.dormant]):
            by_id = doors.find_by_id_entry(self._table.address, int(order["order_id"]))
            by_ref = doors.find_by_ref_entry(self._table.address, int(order["session"]), int(order["client_ref"]))
            if by_id < 0 or by_id != by_ref or self._arrays["orders"][by_id]["order_id"] != order["order_id"]:
                raise BrokenInvariant(f"order {order['order_id']} lives but is not found by its id and ref")

    def snapshot(self) -> dict[str, np.ndarray]:
        """A copy of every state array, between groups."""
        return {name: array.copy() for name, array in self._arrays.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """The state arrays themselves, between groups; see `Engine.arrays`."""
        return dict(self._arrays)

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Become what the snapshot was taken of."""
        if set(arrays) != set(STATE_ARRAYS):
            raise BrokenInvariant("the snapshot's arrays are not those of this engine")
        for name, dtype in STATE_ARRAYS.items():
            if arrays[name].dtype != dtype:
                raise BrokenInvariant(f"the snapshot's {name} are of another layout")
        if arrays["head"][0]["rules_version"] != RULES_VERSION:
            raise BrokenInvariant(f"rules version {arrays['head'][0]['rules_version']} is not implemented here")
        self._adopt({name: _aligned(arrays[name], dtype) for name, dtype in STATE_ARRAYS.items()})

    # ------------------------------------------------------------------------------------------------ growing

    def _grow(self) -> None:
        """Make the room that the kernel asked for. Capacity never shows in an event."""
        needed = self._number("needed_table")
        if needed == NEED_BOOKS:
            for name, rows in ROWS_OF_A_SYMBOL.items():
                self._reach(name, rows)
        elif needed == NEED_ACCOUNTS:
            self._reach("accounts", 1)
        elif needed == NEED_SESSIONS:
            self._reach("sessions", 1)
        elif needed == NEED_BUSTS:
            self._reach("busts", 1)
        elif needed == NEED_TIMERS:
            self._reach("timers", 1)
        elif needed == NEED_ASSETS:
            self._reach("assets", 1)
        elif needed == NEED_BALANCES:
            self._grow_found("balances", "holdings")
        elif needed == NEED_POSITIONS:
            self._grow_found("positions", "stakes")
        elif needed == NEED_LIMITS:
            self._grow_found("limits", "bounds")
        else:
            self._grow_orders()
        self._adopt(self._arrays)

    def _reach(self, name: str, rows_per_id: int) -> None:
        """Double a table until it holds the needed id, or is longer than needed."""
        length = len(self._arrays[name]) // rows_per_id
        while length <= self._number("needed_id"):
            length *= 2
        self._enlarge(name, rows_per_id * length)

    def _grow_orders(self) -> None:
        """Lengthen what is nearly full, and give the ladder room.

        The orders, which are most of the state, grow by an eighth or less, everything else to twice its length: with
        ten million that is 128 bytes an order.
        """
        arrays = self._arrays
        live = self._number("orders_live") + 2
        if 16 * live > 15 * len(arrays["orders"]):
            self._enlarge("orders", _next_length(len(arrays["orders"])))
        if 8 * live > 5 * len(arrays["ids"]):
            for name in ("ids", "refs"):
                self._rehash(name)
        if self._number("levels_live") + 2 > len(arrays["levels"]) // 2:
            self._enlarge("levels", 2 * len(arrays["levels"]))
        if self._number("timers_used") + 2 > len(arrays["timers"]) // 2:
            self._enlarge("timers", 2 * len(arrays["timers"]))
        if self._number("special_live") + 2 > len(arrays["special"]) // 2:
            self._enlarge("special", 2 * len(arrays["special"]))
            self._enlarge("trails", len(arrays["special"]))
        for name, by in (("balances", "holdings"), ("positions", "stakes")):  # late: doubling a million takes a second
            if 64 * (self._number(f"{name}_used") + 2) > 63 * len(arrays[name]):
                self._grow_found(name, by)
        sides = arrays["sides"]
        if self._number("needed_rungs"):
            self._repack("ladder", "start", sides["capacity"], sides["run"], "needed_rungs")
        if self._number("needed_words"):
            ticks = sides["ticks"]
            words = np.where(ticks > 0, BITS_AT + (ticks >> 6) + (ticks >> 1), 0)
            self._repack("windows", "window", words, words, "needed_words")
        self._set("safe_orders", 0)

    def _grow_found(self, name: str, by: str) -> None:
        """Twice as many rows, and the map that finds them with them: so it is never more than half full."""
        self._enlarge(name, 2 * len(self._arrays[name]))
        self._rehash(by)

    def _rehash(self, name: str) -> None:
        """A map of twice the length with the same entries."""
        larger = cache_aligned(2 * len(self._arrays[name]), WORD)
        doors.rehash_entry(self._arrays[name], larger)
        self._arrays[name] = larger

    def _repack(self, name: str, place: str, reserved: np.ndarray, used: np.ndarray, needed: str) -> None:
        """Lay what each side has of a table end to end in a new one, with room for what is asked for."""
        sides, old = self._arrays["sides"], self._arrays[name]
        total = int(reserved.sum())
        new = cache_aligned(2 * (total + self._number(needed)) + INITIAL[name], old.dtype)
        starts = np.cumsum(reserved) - reserved
        some = np.flatnonzero(used)
        columns = (sides[place], used, starts)
        for start, size, target in zip(*(each[some].tolist() for each in columns), strict=True):
            new[target : target + size] = old[start : start + size]
        sides[place] = starts
        self._set(f"{name}_used", total)
        self._set(needed, 0)
        self._arrays[name] = new

    def _enlarge(self, name: str, length: int) -> None:
        old = self._arrays[name]
        larger = cache_aligned(length, old.dtype)
        larger[: len(old)] = old
        self._arrays[name] = larger


def _next_length(length: int) -> int:
    """The next length in steps of an eighth: 8, 9, ... 16 times a power of two."""
    step = 1 << max(length.bit_length() - 4, 0)
    return (length // step + 1) * step


def _aligned(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """The array itself where it lies as kernels want it, else a copy that does."""
    if is_cache_aligned(array):
        return array.view(dtype)  # an equal but different dtype object (np.load makes one) would cost every kernel call
    copy = cache_aligned(len(array), dtype)
    copy.view("B")[:] = np.ascontiguousarray(array).view("B")
    return copy


def _uncompiled(address: int, commands: int, first_seq: int, time_ns: int) -> int:
    """The kernel's Python, with NUMBA_DISABLE_JIT, where hashes overflow as they should without a warning."""
    with np.errstate(over="ignore"):
        return int(doors.apply_entry(address, commands, first_seq, time_ns))


_apply: Callable[[int, int, int, int], int] = doors.apply_entry if JIT else _uncompiled
