"""Double entry: trades, busts and payments to entries of the journal, each with lines that sum to zero in every asset.

The journal's accounts are the exchange's, account 0 (the venue's own, where fees go), and OUTSIDE, from which deposits
come and to which withdrawals go. An entry is one trade, one bust or one payment, whole; README.md shows them.

Beside its balance an account has what of it is unsettled, and what busts have lent it: so far the balance may be below
zero, and no further.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from components.clerk.invariant import BrokenInvariant
from components.clerk.rows import BALANCE, ENTRY, LINE, OUTSIDE, VENUE, EntryKind, Part
from components.clerk.sums import run_starts
from wire.dtypes import PAYMENT_EVENT
from wire.enums import EventKind

Key = tuple[int, int]  # account and asset

_KINDS: Final = {
    EventKind.DEPOSITED: EntryKind.DEPOSIT,
    EventKind.WITHDRAWN: EntryKind.WITHDRAWAL,
    EventKind.TRANSFERRED: EntryKind.TRANSFER,
}
_MOVE: Final = np.dtype([("account", "i4"), ("asset", "i4"), ("seq", "i8"), ("amount", "i8")])


class Postings(NamedTuple):
    """ENTRY rows, and their LINE rows (without balances)."""

    entries: np.ndarray
    lines: np.ndarray


class Payments(NamedTuple):
    """PAYMENT_EVENT rows by what they are."""

    moved: np.ndarray  # deposited, withdrawn, transferred
    settled: np.ndarray
    failed: np.ndarray  # to settle
    overdrawn: np.ndarray


class Ledger:
    """Every account's balance of every asset. All three are by (account, asset), and what is missing is 0."""

    def __init__(
        self,
        balances: dict[Key, int] | None = None,
        unsettled: dict[Key, int] | None = None,
        lent: dict[Key, int] | None = None,
    ) -> None:
        self.balances = balances or {}
        self.unsettled = unsettled or {}
        self.lent = lent or {}
        self._untold: set[tuple[int, int, int]] = set()  # (command, account, asset) below zero by a bust

    def post(self, postings: list[Postings], payments: Payments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ENTRY rows by number, LINE rows with the balance behind each, BALANCE rows of what has changed.

        Raises BrokenInvariant where an entry does not sum to zero, an account would owe, or has something else than
        the engine tells. 0.6 us a line, 5 us a payment.
        """
        entries = np.concatenate([each.entries for each in postings])
        lines = np.concatenate([each.lines for each in postings])
        entries = entries[np.argsort(entries["entry"], kind="stable")]
        lines = lines[np.lexsort((lines["part"], lines["entry"], lines["asset"], lines["account"]))]
        _check_sums(lines)
        totals = _Running(_moves(lines, lines["entry"]), self.balances)
        lines["balance"] = totals.behind
        unsettled = _Running(_unsettled_moves(lines, payments), self.unsettled)
        self._lend(lines, entries, payments.overdrawn)
        _check_told(payments, totals, unsettled)
        return entries, lines, self._changed(totals, unsettled)

    def check_overdrawn(self, busts: np.ndarray, below: np.ndarray, overdrawn: np.ndarray, last_command: int) -> None:
        """Whoever a bust has taken below zero is told so by the same command. Raises BrokenInvariant.

        `busts` are EVENT rows, the second of each; `below` LINE rows of who is below zero by them. A bust at the end of
        a batch may be told of in the next; `last_command` is the number of this one's last.
        """
        commands = dict(zip(busts["seq"].tolist(), busts["command_seq"].tolist(), strict=True))
        for entry, account, asset in below[["entry", "account", "asset"]].tolist():
            self._untold.add((commands[entry], account, asset))
        self._untold -= set(overdrawn[["command_seq", "account", "asset"]].tolist())
        for command, account, asset in sorted(self._untold):
            if command < last_command:
                raise BrokenInvariant(
                    f"command {command}: its bust has left account {account} below zero in asset {asset}, and the"
                    " engine says nothing of it"
                )

    def _lend(self, lines: np.ndarray, entries: np.ndarray, overdrawn: np.ndarray) -> None:
        """Nobody has less than nothing, but by what busts took and nothing has made up for since."""
        account, asset = lines["account"], lines["asset"]
        below = (lines["balance"] < 0) & (account != OUTSIDE)
        looked = {*zip(account[below].tolist(), asset[below].tolist(), strict=True), *self.lent}
        looked |= set(overdrawn[["account", "asset"]].tolist())
        busts = set(entries["entry"][entries["kind"] == EntryKind.BUST].tolist()) if looked else set()
        for key in sorted(looked):
            own = lines[(account == key[0]) & (asset == key[1])]
            told = overdrawn[(overdrawn["account"] == key[0]) & (overdrawn["asset"] == key[1])]
            if lent := _lent_behind(self.lent.pop(key, 0), own, told, busts):
                self.lent[key] = lent

    def _changed(self, totals: _Running, unsettled: _Running) -> np.ndarray:
        self.balances |= totals.last
        self.unsettled |= unsettled.last
        keys = sorted(totals.last_seq.keys() | unsettled.last_seq.keys())
        rows = [
            (
                *key, self.balances.get(key, 0), self.unsettled.get(key, 0), self.lent.get(key, 0),
                max(totals.last_seq.get(key, 0), unsettled.last_seq.get(key, 0)),
            )
            for key in keys
        ]  # fmt: skip
        return np.array(rows, BALANCE)


class _Running:
    """Sums by account and asset, as they go on from what they were."""

    def __init__(self, moves: np.ndarray, openings: dict[Key, int]) -> None:
        """`moves` are sorted by account, asset and seq."""
        starts = run_starts(moves["account"], moves["asset"])
        ends = np.concatenate((starts[1:], [moves.size])) if starts.size else starts
        keys = list(zip(moves["account"][starts].tolist(), moves["asset"][starts].tolist(), strict=True))
        opened = np.array([openings.get(key, 0) for key in keys], "i8")
        running = np.cumsum(moves["amount"])  # may wrap around: only differences within a run count
        before = running[starts] - moves["amount"][starts]
        self.behind = running + np.repeat(opened - before, ends - starts)
        self.last = dict(zip(keys, self.behind[ends - 1].tolist(), strict=True))
        self.last_seq = dict(zip(keys, moves["seq"][ends - 1].tolist(), strict=True))
        self._runs = dict(zip(keys, zip(starts.tolist(), ends.tolist(), strict=True), strict=True))
        self._seqs = moves["seq"]
        self._openings = openings

    def at(self, key: Key, seq: int) -> int:
        """The sum behind event `seq`."""
        start, end = self._runs.get(key, (0, 0))
        at = start + int(np.searchsorted(self._seqs[start:end], seq, side="right"))
        return int(self.behind[at - 1]) if at > start else self._openings.get(key, 0)


def _lent_behind(lent: int, lines: np.ndarray, overdrawn: np.ndarray, busts: set[int]) -> int:
    """How far an account may be below zero behind LINE[n] of one asset, and what PAYMENT_EVENT[m] tell of it.

    What comes in makes up for it first; a bust takes what it has to; and what its orders hold counts as lacking, too,
    so that `overdrawn` tells at least as much. Raises BrokenInvariant where a line goes further.
    """
    told = dict(zip(overdrawn["seq"].tolist(), overdrawn["amount"].tolist(), strict=True))
    steps = [*lines[["entry", "amount", "balance"]].tolist(), *((seq, 0, 0) for seq in told)]
    for seq, amount, balance in sorted(steps, key=lambda step: step[0]):  # lines of one entry stay in order
        if seq in told:
            lent = told[seq]
            continue
        lent = max(0, lent - max(0, amount))
        if balance < -lent:
            if seq not in busts:
                line = lines[0]
                raise BrokenInvariant(
                    f"entry {seq}: account {line['account']} would owe {-balance} of asset {line['asset']}"
                    + (f", and busts have lent it {lent}" if lent else "")
                )
            lent = -balance
    return lent


def post_trades(trades: np.ndarray, notionals: np.ndarray, terms: np.ndarray) -> Postings:
    """Entries of TRADE[n] that are paid for: `notionals` int64[n]; `terms` has base and quote asset and base unit."""
    entries = np.zeros(trades.size, ENTRY)
    entries["entry"], entries["time_ns"], entries["kind"] = trades["event_seq"], trades["time_ns"], EntryKind.TRADE
    entries["symbol"], entries["reference"] = trades["symbol"], trades["match"]
    quote, base, given = terms["quote_asset"], terms["base_asset"], trades["qty"] * terms["base_unit"]
    buyer, seller = trades["buy_account"], trades["sell_account"]
    return Postings(
        entries,
        _lines(
            trades["event_seq"],
            trades["settle_date"],
            (Part.BUYER_PAYS, buyer, quote, -(notionals + trades["buy_fee"])),
            (Part.SELLER_GETS, seller, quote, notionals - trades["sell_fee"]),
            (Part.FEES, VENUE, quote, trades["buy_fee"] + trades["sell_fee"]),
            (Part.SELLER_GIVES, seller, base, -given),
            (Part.BUYER_GETS, buyer, base, given),
        ),
    )


def post_busts(trades: np.ndarray, notionals: np.ndarray, terms: np.ndarray) -> Postings:
    """Entries that take TRADE[n] back; arguments as of `post_trades`, events those of the busts."""
    entries, lines = post_trades(trades, notionals, terms)
    entries["kind"], lines["amount"] = EntryKind.BUST, -lines["amount"]
    return Postings(entries, lines)


def payments_of(events: np.ndarray) -> Payments:
    """The PAYMENT_EVENT rows among EVENT[n]."""
    kinds = events["kind"]
    moved = (kinds >= EventKind.DEPOSITED) & (kinds <= EventKind.TRANSFERRED)
    others = (kinds == kind for kind in (EventKind.SETTLED, EventKind.SETTLE_FAILED, EventKind.OVERDRAWN))
    return Payments(*(events[rows].view(PAYMENT_EVENT) for rows in (moved, *others)))


def post_payments(payments: np.ndarray) -> Postings:
    """Entries of PAYMENT_EVENT[n]: deposited, withdrawn, transferred."""
    entries = np.zeros(payments.size, ENTRY)
    entries["entry"], entries["time_ns"], entries["reference"] = payments["seq"], payments["time_ns"], payments["id"]
    entries["channel"] = payments["channel"]
    kinds = payments["kind"]
    for told, kind in _KINDS.items():
        entries["kind"][kinds == told] = kind
    giver = np.where(kinds == EventKind.DEPOSITED, OUTSIDE, payments["account"])
    getter = np.where(kinds == EventKind.DEPOSITED, payments["account"], payments["to_account"])
    getter = np.where(kinds == EventKind.WITHDRAWN, OUTSIDE, getter)
    asset, amount = payments["asset"], payments["amount"]
    return Postings(
        entries,
        _lines(payments["seq"], 0, (Part.FROM, giver, asset, -amount), (Part.TO, getter, asset, amount)),
    )


def _check_told(payments: Payments, totals: _Running, unsettled: _Running) -> None:
    """What the engine says an account has behind a payment must be what the books say. Raises BrokenInvariant."""
    for event in np.concatenate(payments):
        seq, asset = int(event["seq"]), int(event["asset"])
        key = int(event["account"]), asset
        _same(event, key, "", int(event["total"]), totals.at(key, seq))
        _same(event, key, " unsettled", int(event["unsettled"]), unsettled.at(key, seq))
        if event["kind"] == EventKind.TRANSFERRED:
            key = int(event["to_account"]), asset
            _same(event, key, "", int(event["to_total"]), totals.at(key, seq))
        elif event["kind"] == EventKind.OVERDRAWN and not event["amount"] == event["held"] - event["total"] > 0:
            raise BrokenInvariant(
                f"event {seq}: account {key[0]} lacks {event['amount']} of asset {asset} by the engine, which says that"
                f" it has {event['total']} and that its orders hold {event['held']}"
            )


def _same(event: np.void, key: Key, what: str, theirs: int, ours: int) -> None:
    if theirs != ours:
        raise BrokenInvariant(
            f"event {event['seq']}: account {key[0]} has {theirs} of asset {key[1]}{what} by the engine, and"
            f" {ours} by the books"
        )


def _moves(rows: np.ndarray, seqs: np.ndarray) -> np.ndarray:
    moves = np.zeros(rows.size, _MOVE)
    moves["seq"] = seqs
    for name in ("account", "asset", "amount"):
        moves[name] = rows[name]
    return moves


def _unsettled_moves(lines: np.ndarray, payments: Payments) -> np.ndarray:
    """What lines of later days add, and what settlements take over to account 0; overdrawn tells, and moves nothing."""
    due = lines[lines["settle_date"] != 0]
    of_account, of_venue = (_moves(payments.settled, payments.settled["seq"]) for _ in range(2))
    of_account["amount"] *= -1
    of_venue["account"] = VENUE
    told = _moves(payments.overdrawn, payments.overdrawn["seq"])
    told["amount"] = 0
    moves = np.concatenate((_moves(due, due["entry"]), of_account, of_venue, told))
    return moves[np.lexsort((moves["seq"], moves["asset"], moves["account"]))]


def _lines(
    entry: np.ndarray, settle_date: np.ndarray | int, *parts: tuple[Part, np.ndarray | int, np.ndarray, np.ndarray]
) -> np.ndarray:
    """LINE rows, those of one part after the other; a line of nothing is none."""
    lines = np.zeros((len(parts), entry.size), LINE)
    lines["entry"], lines["settle_date"] = entry, settle_date
    for rows, (part, account, asset, amount) in zip(lines, parts, strict=True):
        rows["part"], rows["account"], rows["asset"], rows["amount"] = part, account, asset, amount
    flat = lines.reshape(-1)
    moved: np.ndarray = flat[flat["amount"] != 0]
    return moved


def _check_sums(lines: np.ndarray) -> None:
    by_entry = lines[np.lexsort((lines["asset"], lines["entry"]))]
    starts = run_starts(by_entry["entry"], by_entry["asset"])
    sums = np.add.reduceat(by_entry["amount"], starts) if starts.size else starts
    if sums.any():
        at = int(starts[np.flatnonzero(sums)[0]])
        raise BrokenInvariant(
            f"entry {by_entry['entry'][at]}: the lines in asset {by_entry['asset'][at]} do not sum to zero"
        )
