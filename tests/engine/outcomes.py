"""What each kind of command can lead to, as a table, and the counts of what it did lead to.

An outcome is an event's kind with what tells apart its cases: the reason, the side of the match, whether what is left
rests. What the passing of time does is counted under `time`, not under the command that happened to come first; what
becomes of dormant orders that wake up and of exits, under `woken`, of pegged orders that move, under `pegged`, and what
breakers do, under `breaker`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

import numpy as np

from tests.engine.groups import Group, named
from wire.constants import RESTS
from wire.enums import CommandKind, EventKind, Liquidity, Reason
from wire.enums import Reason as R

Pair = tuple[str, str]  # (command kind, outcome)


def rejected(*reasons: Reason) -> set[str]:
    """Rejections."""
    return {f"rejected {reason.name}" for reason in reasons}


def cancelled(*reasons: Reason) -> set[str]:
    """Cancellations."""
    return {f"cancelled {reason.name}" for reason in reasons}


FENCE = rejected(R.UNKNOWN_SESSION, R.SESSION_CLOSED, R.SESSION_MOVED, R.INVALID_REF) | {"repeated REPEATED_REF"}
TRADES = {"executed maker", "executed maker, rests", "executed taker", "executed taker, rests"}
PRICE_AND_QTY = rejected(
    R.PRICE_OUT_OF_RANGE, R.PRICE_NOT_ON_TICK, R.QTY_OUT_OF_RANGE, R.QTY_NOT_ON_LOT, R.NOTIONAL_OUT_OF_RANGE
)

WHOSE = rejected(
    R.RESERVED_NOT_ZERO,
    R.INVALID_SCOPE,
    R.UNKNOWN_SESSION,
    R.UNKNOWN_ACCOUNT,
    R.UNKNOWN_FIRM,
    R.UNKNOWN_INSTRUMENT,
)

STATUSES = (R.ACCOUNT_RESTRICTED, R.ACCOUNT_SUSPENDED, R.CLOSING_ONLY, R.ACCOUNT_CLOSED)
OF_LIMITS = (R.FAT_FINGER, R.ORDER_TOO_LARGE, R.POSITION_LIMIT, R.DAILY_LIMIT, R.RATE_EXCEEDED)
NEAR = {f"limit_near {reason.name}" for reason in (R.POSITION_LIMIT, R.DAILY_LIMIT, R.RATE_EXCEEDED)}
PAYMENT = rejected(
    R.NOT_PERMITTED,
    R.UNKNOWN_ACCOUNT,
    R.EXTENSION_MISMATCH,
    R.INVALID_TERMS,
    R.REPEATED_PAYMENT,
    R.UNKNOWN_ASSET,
    R.AMOUNT_OUT_OF_RANGE,
    R.ACCOUNT_CLOSED,
)
PAYMENT_OUT = PAYMENT | rejected(R.ACCOUNT_SUSPENDED, R.INSUFFICIENT_BALANCE, R.NOT_SETTLED)

POSSIBLE: dict[str, set[str]] = {
    "new_order": FENCE
    | TRADES
    | PRICE_AND_QTY
    | rejected(
        R.NOT_PERMITTED,
        R.UNKNOWN_INSTRUMENT,
        R.UNKNOWN_ACCOUNT,
        R.ACCOUNT_NOT_OF_FIRM,
        R.INVALID_SIDE,
        R.INVALID_ORDER_TYPE,
        R.INVALID_TIME_IN_FORCE,
        R.INVALID_FLAGS,
        R.RESERVED_NOT_ZERO,
        R.EXTENSION_MISMATCH,
        R.INVALID_TRIGGER,
        R.INVALID_EXPIRY,
        R.INVALID_MIN_QTY,
        R.WRONG_PHASE,
        R.ENTRY_BLOCKED,
        R.INVALID_STP,
        R.INVALID_DISPLAY_QTY,
        R.WOULD_TAKE,
        R.EXIT_MISSING,
        R.TOO_MANY_PEGS,
        R.PRICE_OUTSIDE_BANDS,
        R.THROTTLED,
        R.WORST_PRICE_MISSING,
        R.INSUFFICIENT_BALANCE,
        *STATUSES,
        *OF_LIMITS,
        R.TOO_MANY_ORDERS,
    )
    | NEAR
    | {"limit_near TOO_MANY_ORDERS"}
    | {"accepted", "accepted, rests", "cancelled SELF_TRADE, rests", "displayed"}
    | cancelled(R.REMAINDER_CANCELLED, R.NO_LIQUIDITY, R.MIN_QTY_NOT_MET, R.FOK_NOT_FILLED, R.FUNDS_EXHAUSTED)
    | cancelled(R.SELF_TRADE),
    "cancel": FENCE
    | rejected(R.RESERVED_NOT_ZERO, R.QTY_OUT_OF_RANGE, R.UNKNOWN_ORDER, R.NOT_SMALLER)
    | cancelled(R.REQUESTED)
    | {"cancelled REDUCED, rests", "cancelled REDUCED", "displayed"},  # the second of a dormant order
    "replace": FENCE
    | TRADES
    | PRICE_AND_QTY
    | rejected(R.NOT_PERMITTED, R.RESERVED_NOT_ZERO, R.UNKNOWN_ORDER, R.INVALID_DISPLAY_QTY, R.WOULD_TAKE)
    | rejected(R.WRONG_PHASE, R.INVALID_TRIGGER, R.PRICE_OUTSIDE_BANDS, R.THROTTLED)
    | rejected(R.WORST_PRICE_MISSING, R.INSUFFICIENT_BALANCE, R.ACCOUNT_RESTRICTED, R.CLOSING_ONLY)
    | rejected(*OF_LIMITS)
    | NEAR
    | {"replaced", "replaced, rests", "cancelled SELF_TRADE, rests", "displayed"}
    | cancelled(R.REPLACED_BELOW_EXECUTED, R.SELF_TRADE),
    "mass_cancel": FENCE
    | WHOSE
    | rejected(R.ACCOUNT_NOT_OF_FIRM, R.INVALID_SIDE)
    | cancelled(R.MASS_CANCELLED)
    | {"mass_cancelled", "displayed"},
    "block_entry": FENCE
    | WHOSE
    | rejected(R.ACCOUNT_NOT_OF_FIRM)
    | cancelled(R.KILLED)
    | {"entry_blocked", "displayed"},
    "allow_entry": WHOSE | rejected(R.NOT_PERMITTED) | {"entry_allowed"},
    "bust_trade": rejected(
        R.NOT_PERMITTED,
        R.EXTENSION_MISMATCH,
        R.UNKNOWN_INSTRUMENT,
        R.UNKNOWN_MATCH,
        R.ALREADY_BUSTED,
        R.NOTIONAL_OUT_OF_RANGE,
        R.UNKNOWN_SESSION,
        R.UNKNOWN_ACCOUNT,
        R.ACCOUNT_NOT_OF_FIRM,
        R.UNKNOWN_ORDER,
        R.PRICE_OUT_OF_RANGE,
        R.QTY_OUT_OF_RANGE,
        R.INVALID_TERMS,
        R.ACCOUNT_CLOSED,
        R.BALANCE_OVERFLOW,
    )
    | {"trade_busted", "overdrawn"},
    "set_breaker": rejected(R.NOT_PERMITTED, R.UNKNOWN_INSTRUMENT, R.EXTENSION_MISMATCH, R.INVALID_TERMS)
    | {"breaker_set"},
    "tick": rejected(R.NOT_PERMITTED) | {"nothing"},
    "end_of_day": rejected(R.NOT_PERMITTED, R.UNKNOWN_INSTRUMENT)
    | cancelled(R.END_OF_DAY)
    | {"day_ended", "displayed"},
    "open_session": rejected(
        R.NOT_PERMITTED, R.UNKNOWN_SESSION, R.RESERVED_NOT_ZERO, R.EXTENSION_MISMATCH, R.INVALID_TERMS
    )
    | {"session_opened"},
    "close_session": rejected(
        R.NOT_PERMITTED, R.UNKNOWN_SESSION, R.RESERVED_NOT_ZERO, R.SESSION_CLOSED, R.SESSION_MOVED
    )
    | {"session_closed"},
    "gateway_lost": rejected(R.NOT_PERMITTED) | {"gateway_lost"},
    "add_instrument": rejected(
        R.NOT_PERMITTED,
        R.ID_OUT_OF_RANGE,
        R.ALREADY_EXISTS,
        R.EXTENSION_MISMATCH,
        R.INVALID_TERMS,
        R.NOTIONAL_OVERFLOW,
        R.UNKNOWN_ASSET,
    )
    | {"instrument_added", "band_added", "clearing_added"},
    "add_account": rejected(R.NOT_PERMITTED, R.ID_OUT_OF_RANGE, R.ALREADY_EXISTS, R.EXTENSION_MISMATCH, R.PARTY_MISSING)
    | {"account_added"},
    "add_session": rejected(R.NOT_PERMITTED, R.ID_OUT_OF_RANGE, R.ALREADY_EXISTS, R.EXTENSION_MISMATCH, R.PARTY_MISSING)
    | {"session_added"},
    "set_rules": rejected(R.NOT_PERMITTED, R.UNSUPPORTED_RULES) | {"rules_set"},
    "set_index": rejected(R.NOT_PERMITTED, R.UNKNOWN_INSTRUMENT, R.EXTENSION_MISMATCH, R.INVALID_TERMS) | {"index_set"},
    "set_phase": rejected(R.NOT_PERMITTED, R.UNKNOWN_INSTRUMENT, R.INVALID_TERMS)
    | cancelled(R.AUCTION_MISSED)
    | {"phase_changed", "auctioned", "executed none", "executed none, rests", "displayed", "nothing"},
    "add_asset": rejected(R.NOT_PERMITTED, R.ID_OUT_OF_RANGE, R.ALREADY_EXISTS, R.EXTENSION_MISMATCH, R.INVALID_TERMS)
    | {"asset_added"},
    "set_fees": rejected(R.NOT_PERMITTED, R.EXTENSION_MISMATCH, R.INVALID_TERMS) | {"fees_set"},
    "set_account": rejected(
        R.NOT_PERMITTED,
        R.UNKNOWN_ACCOUNT,
        R.EXTENSION_MISMATCH,
        R.INVALID_TERMS,
        R.ACCOUNT_CLOSED,
        R.NOT_EMPTY,
    )
    | cancelled(R.ACCOUNT_SUSPENDED, R.CLOSING_ONLY)
    | {"account_set", "displayed"},
    "set_limits": rejected(
        R.NOT_PERMITTED, R.UNKNOWN_ACCOUNT, R.UNKNOWN_INSTRUMENT, R.EXTENSION_MISMATCH, R.INVALID_TERMS
    )
    | {"limits_set"},
    "deposit": PAYMENT | rejected(R.BALANCE_OVERFLOW) | {"deposited"},
    "withdraw": PAYMENT_OUT | {"withdrawn"},
    "transfer": PAYMENT_OUT | {"transferred"},
    "settle": PAYMENT | {"settled", "settle_failed ACCOUNT_SUSPENDED", "settle_failed NOT_SETTLED"},
    "auction": {"indicative"},  # whatever changed its book
    "breaker": {
        "breaker_set",
        "limit_state",
        "index_set MARKET_WIDE_HALT",
    }  # whoever traded, or what time ended
    | {f"phase_changed {reason.name}" for reason in (R.VOLATILITY_PAUSE, R.LIMIT_PAUSE, R.MARKET_WIDE_HALT)}
    | {"phase_changed", "auctioned", "executed none", "executed none, rests", "displayed"}
    | cancelled(R.PRICE_OUTSIDE_BANDS, R.AUCTION_MISSED),
    "woken": TRADES  # whatever woke them
    | {"triggered", "triggered, rests"}
    | {"cancelled SELF_TRADE, rests", "displayed"}
    | cancelled(R.REMAINDER_CANCELLED, R.NO_LIQUIDITY, R.SELF_TRADE)
    | cancelled(
        R.ENTRY_MISSING, R.ENTRY_ENDED, R.INSUFFICIENT_BALANCE
    ),  # whatever ended the entry, or came in its place
    "pegged": TRADES  # whatever moved them
    | {"repegged", "repegged, rests", "cancelled SELF_TRADE, rests"}
    | cancelled(R.SELF_TRADE),
    "unknown": rejected(R.UNKNOWN_COMMAND),
    "time": cancelled(R.EXPIRED, R.DISCONNECTED) | {"displayed"},
}
PAIRS: set[Pair] = {(kind, outcome) for kind, outcomes in POSSIBLE.items() for outcome in outcomes}
ACTORS: dict[int, str] = {EventKind.TRIGGERED: "woken", EventKind.REPEGGED: "pegged"}  # what follows is theirs
_LABELS = {**ACTORS, EventKind.BREAKER_SET: "breaker"}
_KNOWN = {*range(CommandKind.NEW_ORDER, CommandKind.SETTLE + 1)} - {CommandKind.ORDER_STATUS}


ASKED_FOR = (
    Reason.REQUESTED,
    Reason.REDUCED,
    Reason.MASS_CANCELLED,
    Reason.KILLED,
    Reason.END_OF_DAY,
    Reason.REPLACED_BELOW_EXECUTED,
    Reason.AUCTION_MISSED,
    Reason.ACCOUNT_SUSPENDED,
    Reason.CLOSING_ONLY,
)


def marks(members: Iterable[int]) -> np.ndarray:
    """bool[256]: which kinds or reasons are meant; to look up many at once."""
    table = np.zeros(256, np.bool_)
    table[list(members)] = True
    return table


ACTS = marks(ACTORS)
ANSWERS = marks({*EventKind} - {EventKind.EXECUTED, EventKind.CANCELLED, EventKind.DISPLAYED, *ACTORS})
ASKED = marks(ASKED_FOR)
BY_TIME = marks((R.EXPIRED, R.DISCONNECTED))
OF_EXITS = marks((R.ENTRY_MISSING, R.ENTRY_ENDED, R.INSUFFICIENT_BALANCE))  # of `cancelled`
OF_PHASES = marks((EventKind.PHASE_CHANGED, EventKind.AUCTIONED))
OF_PAUSES = marks((R.VOLATILITY_PAUSE, R.LIMIT_PAUSE, R.MARKET_WIDE_HALT))
OF_REFERENCE_DATA = marks((EventKind.INSTRUMENT_ADDED, EventKind.BREAKER_SET, EventKind.INDEX_SET))


def latest_of(marked: np.ndarray) -> np.ndarray:
    """int64[n]: for each row the place of the last marked one up to it, or -1."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1)) if len(marked) else np.zeros(0, np.int64)


def by_breaker(kinds: np.ndarray, events: np.ndarray) -> np.ndarray:
    """bool[n]: what a breaker does behind a taker, or when its time is up; `kinds` are those of the commands."""
    kind, reason = events["kind"], events["reason"]
    at_auction = (kind == EventKind.EXECUTED) & (events["liquidity"] == Liquidity.NONE)
    of_phases = at_auction | OF_PHASES[kind] | (reason == R.AUCTION_MISSED)
    marked = of_phases & (kinds != CommandKind.SET_PHASE)
    marked |= (kind == EventKind.BREAKER_SET) & (kinds != CommandKind.SET_BREAKER)
    marked |= OF_PAUSES[reason] | (kind == EventKind.LIMIT_STATE)
    marked |= (kind == EventKind.CANCELLED) & (reason == R.PRICE_OUTSIDE_BANDS)
    marked[1:] |= (kind[1:] == EventKind.DISPLAYED) & marked[:-1]  # of an iceberg that was just cancelled or traded
    return np.asarray(marked)


@cache
def pair_of(command: int, kind: int, reason: int, actor: int, what: int) -> Pair:
    """The words for an event of a command; `what`: of time, whether it rests, and the liquidity above these bits."""
    outcome = named(EventKind, kind)
    if kind == EventKind.EXECUTED:
        outcome += f" {named(Liquidity, what >> 2)}"
    elif reason:
        outcome += f" {Reason(reason).name}"
    if what & 2:
        outcome += ", rests"
    label = "time" if what & 1 else named(CommandKind, command) if command in _KNOWN else "unknown"
    return "auction" if kind == EventKind.INDICATIVE else _LABELS.get(actor, label), outcome


class Outcomes:
    """Counts of (command kind, outcome). Cheap: distinct rows are counted first and named afterwards."""

    def __init__(self) -> None:
        self.counts: Counter[Pair] = Counter()

    def add(self, group: Group, events: np.ndarray) -> None:
        """Count what became of a group."""
        kinds = group.commands["kind"][events["command_seq"] - group.first_seq]
        kind, reason = (np.ascontiguousarray(events[word]) for word in ("kind", "reason"))
        rests = ((events["flags"] & RESTS) != 0) & ((kind <= EventKind.REPLACED) | ACTS[kind])
        by_time = BY_TIME[reason]
        by_time[1:] |= (kind[1:] == EventKind.DISPLAYED) & by_time[:-1]  # of the order just cancelled
        of_exits = OF_EXITS[reason] & (kind == EventKind.CANCELLED)
        by_command = ANSWERS[kind] | ASKED[reason] | by_time
        latest = latest_of(ACTS[kind] | of_exits)
        # Who acted last: in this command, or by time, which elects before it goes on, and before the command's answer.
        acted = (latest >= np.searchsorted(events["command_seq"], events["command_seq"])) & (
            latest > latest_of(by_command)
        )
        actor = np.where(of_exits[latest], EventKind.TRIGGERED, kind[latest]) * acted
        actor[by_breaker(kinds, events)] = EventKind.BREAKER_SET
        what = events["liquidity"].astype(np.int64) << 2 | rests << 1
        what[OF_REFERENCE_DATA[kind]] = 0  # these bytes mean something else there
        keys = (kinds, kind, reason, actor, what | by_time)
        for key, count in Counter(zip(*(each.tolist() for each in keys), strict=True)).items():
            self.counts[pair_of(*key)] += count
        silent = np.setdiff1d(np.arange(len(group.commands)), events["command_seq"] - group.first_seq)
        for command, count in Counter(group.commands["kind"][silent].tolist()).items():
            self.counts[named(CommandKind, command), "nothing"] += count

    def missing(self) -> list[Pair]:
        """Possible pairs that were never reached."""
        return sorted(PAIRS - self.counts.keys())

    def unlisted(self) -> list[Pair]:
        """Pairs that were reached and that the table above says are impossible."""
        return sorted(self.counts.keys() - PAIRS)

    def __str__(self) -> str:
        width = max(len(outcome) for _, outcome in PAIRS | self.counts.keys())
        lines = [
            f"{kind:<15} {outcome:<{width}} {self.counts[kind, outcome]:>12,}"
            for kind, outcome in sorted(PAIRS | self.counts.keys())
        ]
        return "\n".join(lines)
