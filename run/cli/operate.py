"""The operator's verbs: one command of the exchange itself, journalled with who and why, and what became of it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from run.cli.events import fields_of
from run.cli.failure import Failure
from run.cli.running import answered, endpoint, instruments_of, named
from run.cli.screen import cancelled, out, print_json
from run.client.operator import Operator, Outcome
from run.config import Config
from run.eventlog import EventLogReader
from run.storage import FileStorage
from run.topology import EVENTS, OPERATOR, REPLAY
from wire.dtypes import BREAKER_EVENT, BREAKER_TERMS, BUST_FEES, BUST_TERMS, EXTENSION, INDEX_EVENT, INDEX_TERMS
from wire.enums import CommandKind, EventKind, ExtensionKind, Phase, Reason, Scope, Side
from wire.reasons import explain
from wire.units import to_units

_LEVELS = 3
_NEAR = 8  # events between the two executions of a match, at most


def mass_cancel(
    config: Config, whose: tuple[str, int], symbol: str | None, side: str | None, who: str, why: str, as_json: bool
) -> None:
    """Cancel every order of a session, an account or a firm, or everyone's."""
    fields = {"symbol": _symbol(config, symbol) if symbol else 0, "side": Side[side.upper()] if side else 0}
    outcome = send(config, CommandKind.MASS_CANCEL, who, why, **fields, **_whose(*whose))
    tell(outcome, as_json, _swept(outcome, EventKind.MASS_CANCELLED))


def block(config: Config, scope: str, name: str, allow: bool, who: str, why: str, as_json: bool) -> None:
    """The kill switch of a session, an account, a firm or a symbol; or lift it."""
    if scope == "symbol":
        fields = {"scope": Scope.VENUE, "symbol": _symbol(config, name)}
    elif name.isdecimal():
        fields = _whose(scope, int(name))
    else:
        raise Failure(f"a {scope} is named by its number, not {name!r}")
    outcome = send(config, CommandKind.ALLOW_ENTRY if allow else CommandKind.BLOCK_ENTRY, who, why, **fields)
    text = "takes orders again" if allow else f"takes no orders; {_swept(outcome, EventKind.ENTRY_BLOCKED)}"
    tell(outcome, as_json, f"{scope} {name} {text}")


def phase(config: Config, symbol: str, into: str, who: str, why: str, as_json: bool) -> None:
    """Put an instrument, or all, into a phase."""
    number = 0 if symbol == "all" else _symbol(config, symbol)
    wanted = Phase[into.upper().replace("-", "_")]
    outcome = send(config, CommandKind.SET_PHASE, who, why, symbol=number, qty=wanted)
    tell(outcome, as_json, f"{symbol} in {into}")


def breaker(config: Config, symbol: str, texts: dict[str, str], rate: int, who: str, why: str, as_json: bool) -> None:
    """What stops trading in an instrument; `texts` are percentages, seconds and a price as people write them."""
    terms = np.zeros(1, BREAKER_TERMS)
    terms["kind"], terms["orders_per_second"] = ExtensionKind.BREAKER_TERMS, rate
    instrument = None if symbol == "venue" else named(instruments_of(config), symbol)
    with understood():
        for name in ("static", "dynamic"):
            terms[f"{name}_bp"] = to_units(texts[name], 2)
        for name in ("window", "limit_state", "pause", "call"):
            terms[f"{name}_ns"] = to_units(texts[name], 9)
        if instrument:
            terms["reference_price"] = instrument.price_units(texts["reference"])
        elif to_units(texts["reference"], 0):
            raise Failure("the venue has no price: --reference is an instrument's")
    number = instrument.symbol if instrument else 0
    outcome = send(config, CommandKind.SET_BREAKER, who, why, terms.view(EXTENSION), symbol=number)
    told = own_event(outcome, EventKind.BREAKER_SET, number).view(BREAKER_EVENT)
    text = f"the breaker of {symbol} is set"
    if instrument and told["high_price"][0]:
        low, high = (instrument.price_text(int(told[f"{end}_price"][0])) for end in ("low", "high"))
        text += f"; orders are taken from {low} to {high}"
    tell(outcome, as_json, text)


def weigh(config: Config, symbol: str, weight: int, who: str, why: str, as_json: bool) -> None:
    """How often an instrument's price counts in the index."""
    outcome = send(config, CommandKind.SET_INDEX, who, why, symbol=_symbol(config, symbol), qty=weight)
    tell(outcome, as_json, f"{symbol} counts {weight:,} times in the index, which is {_index(outcome):,}")


def watch_index(config: Config, levels: str, halt: str, call: str, who: str, why: str, as_json: bool) -> None:
    """At which falls of the index, in per cent, the whole market stops, and for how long; `off`: at none."""
    terms = np.zeros(1, INDEX_TERMS)
    terms["kind"] = ExtensionKind.INDEX_TERMS
    if levels != "off":
        points = levels.split(",")
        if len(points) != _LEVELS:
            raise Failure(f"there are three levels, such as 7,13,20, or off, not {levels!r}")
        with understood():
            for level, point in enumerate(points, 1):
                terms[f"level{level}_bp"] = to_units(point.strip(), 2)
            terms["halt_ns"], terms["call_ns"] = to_units(halt, 9), to_units(call, 9)
    outcome = send(config, CommandKind.SET_INDEX, who, why, terms.view(EXTENSION))
    if levels == "off":
        tell(outcome, as_json, "the index is watched no longer")
    else:
        tell(outcome, as_json, f"the index is watched from {_index(outcome):,} on; levels at {levels} per cent below")


def _index(outcome: Outcome) -> int:
    """The value that was told."""
    return int(outcome.events[outcome.events["kind"] == EventKind.INDEX_SET].view(INDEX_EVENT)["value"][-1])


def bust(config: Config, match: int, who: str, why: str, as_json: bool) -> None:
    """Have a match count as never made."""
    log = EventLogReader(FileStorage(config.events_dir))
    try:
        sides = find_match(log, match)
    finally:
        log.close()
    if sides is None:
        raise Failure(f"the event log has no match {match}: {explain(Reason.UNKNOWN_MATCH)}")
    terms = np.zeros(1, BUST_TERMS)
    terms["kind"], terms["match"] = ExtensionKind.BUST_TERMS, match
    terms["price"], terms["qty"] = sides["price"][0], sides["qty"][0]
    for event in sides:
        side = Side(int(event["side"])).name.lower()
        for word in ("session", "account", "order_id"):
            terms[f"{side}_{word}"] = event[word]
    symbol = int(sides["symbol"][0])
    extensions = [terms.view(EXTENSION)]
    if sides["fee"].any() or any(each.symbol == symbol and each.base for each in config.instrument):  # it is paid for
        fees = np.zeros(1, BUST_FEES)
        fees["kind"] = ExtensionKind.BUST_FEES
        for event in sides:
            fees[f"{Side(int(event['side'])).name.lower()}_fee"] = event["fee"]
        extensions.append(fees.view(EXTENSION))
    outcome = send(config, CommandKind.BUST_TRADE, who, why, *extensions, symbol=symbol)
    buyer, seller = int(terms["buy_session"][0]), int(terms["sell_session"][0])
    tell(outcome, as_json, f"match {match} is busted; sessions {buyer} and {seller} are told")


def find_match(log: EventLogReader, match: int) -> np.ndarray | None:
    """The two executions of a match, as EVENT rows; None where the log does not have it.

    Match numbers rise with event numbers, so it is found by bisection: some 30 reads however long the log is.
    """
    low, high = log.first_seq, log.last_seq + 1  # the match stands at or behind `low`, before `high`, if anywhere
    while low < high:
        middle = (low + high) // 2
        found = _first_execution(log, middle, high)
        if found is None or int(found["match"]) >= match:
            if found is not None and int(found["match"]) == match:
                return _both_sides(log, int(found["seq"]), match)
            high = middle
        else:
            low = int(found["seq"]) + 1
    return None


def _both_sides(log: EventLogReader, seq: int, match: int) -> np.ndarray | None:
    """The executions of a match of which one is event `seq`; they may stand in two segments."""
    found: list[np.ndarray] = []
    at, last = max(seq - _NEAR, log.first_seq), seq + _NEAR
    while at <= last and (events := log.read(at, last)).size:
        found.append(events.take(np.flatnonzero((events["kind"] == EventKind.EXECUTED) & (events["match"] == match))))
        at += events.size
    pair: np.ndarray = np.concatenate(found)
    return pair if pair.size == 2 else None


def _first_execution(log: EventLogReader, first_seq: int, end_seq: int) -> np.void | None:
    """The first execution from an event on; None where there is none before another."""
    while first_seq < end_seq and (events := log.read(first_seq, min(first_seq + 4_095, end_seq - 1))).size:
        rows = np.flatnonzero(events["kind"] == EventKind.EXECUTED)
        if rows.size:
            row: np.void = events[rows[0]]
            return row
        first_seq += events.size
    return None


# ------------------------------------------------------------------------------------------------ what they share


def _whose(scope: str, number: int) -> dict[str, int]:
    """The fields that say whose orders are meant."""
    if scope == "venue":
        return {"scope": Scope.VENUE}
    return {"scope": Scope[scope.upper()], "account" if scope == "account" else "price": number}


def _symbol(config: Config, name: str) -> int:
    return named(instruments_of(config), name).symbol


def send(config: Config, kind: CommandKind, who: str, why: str, *extensions: np.ndarray, **fields: int) -> Outcome:
    """One command, in somebody's name: the user's of this process where none is given."""
    # Replay only mends gaps of the stream: nobody waits for the follower to stop a market.
    ends = endpoint(config, OPERATOR), endpoint(config, EVENTS), REPLAY.endpoint(config.runtime_dir)
    with answered(), Operator(*ends, who=who or getpass.getuser()[:16]) as operator, understood():
        return operator.command(kind, *extensions, why=why, **fields).raise_for_reject()


@contextmanager
def understood() -> Iterator[None]:
    """What is no number, a text too long, a number that no field holds: said in a line."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise Failure(str(error)) from error


def own_event(outcome: Outcome, kind: EventKind, symbol: int = 0) -> np.ndarray:
    """EVENT[1]: what the command did; before it, under its number, may stand what time had done."""
    of_kind = (outcome.events["kind"] == kind) & (outcome.events["symbol"] == symbol)
    return outcome.events.take(np.flatnonzero(of_kind)[-1:])


def _swept(outcome: Outcome, kind: EventKind) -> str:
    """How many orders an event of that kind says it cancelled."""
    told = outcome.events[outcome.events["kind"] == kind]
    return cancelled(int(told["qty"][0]) if told.size else 0)


def tell(outcome: Outcome, as_json: bool, text: str) -> None:
    """What a command has done, for people in a line, for programs event by event."""
    if as_json:
        events: list[dict[str, Any]] = [fields_of(event) for event in outcome.events]
        print_json({"command_seq": outcome.seq, "events": events})
    else:
        out().print(f"[green]✓[/green] command {outcome.seq}: {text}", soft_wrap=True)
