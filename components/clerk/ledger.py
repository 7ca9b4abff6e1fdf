"""Double entry: trades and payments to entries of the journal, each with lines that sum to zero in every asset.

The journal's accounts are the exchange's, account 0 (the venue's own, where fees go), and OUTSIDE, from which deposits
come and to which withdrawals go. An entry is one trade or one payment, whole; README.md shows them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from components.clerk.invariant import BrokenInvariant
from components.clerk.rows import BALANCE, ENTRY, LINE, OUTSIDE, VENUE, EntryKind, Part
from wire.dtypes import PAYMENT_EVENT
from wire.enums import EventKind

_KINDS: Final = {
    EventKind.DEPOSITED: EntryKind.DEPOSIT,
    EventKind.WITHDRAWN: EntryKind.WITHDRAWAL,
    EventKind.TRANSFERRED: EntryKind.TRANSFER,
}


class Postings(NamedTuple):
    """ENTRY rows, and their LINE rows (without balances)."""

    entries: np.ndarray
    lines: np.ndarray


class Ledger:
    """Every account's balance of every asset; `balances` is by (account, asset)."""

    def __init__(self, balances: dict[tuple[int, int], int]) -> None:
        self.balances = balances

    def post(self, postings: list[Postings]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ENTRY rows by number, LINE rows with the balance behind each, BALANCE rows of what has changed.

        Raises BrokenInvariant where an entry does not sum to zero, or an account would owe. 0.5 us a line.
        """
        entries = np.concatenate([each.entries for each in postings])
        lines = np.concatenate([each.lines for each in postings])
        if not entries.size:
            return entries, lines, np.empty(0, BALANCE)
        entries = entries[np.argsort(entries["entry"], kind="stable")]
        lines = lines[np.lexsort((lines["part"], lines["entry"], lines["asset"], lines["account"]))]
        _check_sums(lines)
        account, asset = lines["account"], lines["asset"]
        starts = np.flatnonzero(np.concatenate(([True], (account[1:] != account[:-1]) | (asset[1:] != asset[:-1]))))
        keys = list(zip(account[starts].tolist(), asset[starts].tolist(), strict=True))
        openings = np.array([self.balances.get(key, 0) for key in keys], "i8")
        running = np.cumsum(lines["amount"])  # may wrap around: only differences within a run count
        before = running[starts] - lines["amount"][starts]
        counts = np.diff(np.concatenate((starts, [lines.size])))
        lines["balance"] = running + np.repeat(openings - before, counts)
        owing = (lines["balance"] < 0) & (account != OUTSIDE)
        if owing.any():
            line = lines[int(np.argmax(owing))]
            raise BrokenInvariant(
                f"entry {line['entry']}: account {line['account']} would owe {-line['balance']} of asset"
                f" {line['asset']}"
            )
        last = lines[starts + counts - 1]
        balances = np.zeros(last.size, BALANCE)
        for name in ("account", "asset", "balance"):
            balances[name] = last[name]
        balances["event_seq"] = last["entry"]
        self.balances.update(zip(keys, last["balance"].tolist(), strict=True))
        return entries, lines, balances


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
            (Part.BUYER_PAYS, buyer, quote, -(notionals + trades["buy_fee"])),
            (Part.SELLER_GETS, seller, quote, notionals - trades["sell_fee"]),
            (Part.FEES, VENUE, quote, trades["buy_fee"] + trades["sell_fee"]),
            (Part.SELLER_GIVES, seller, base, -given),
            (Part.BUYER_GETS, buyer, base, given),
        ),
    )


def payments_of(events: np.ndarray) -> np.ndarray:
    """The PAYMENT_EVENT rows among EVENT[n]."""
    kinds = events["kind"]
    return events[(kinds >= EventKind.DEPOSITED) & (kinds <= EventKind.TRANSFERRED)].view(PAYMENT_EVENT)


def post_payments(payments: np.ndarray) -> Postings:
    """Entries of PAYMENT_EVENT[n]."""
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
        _lines(payments["seq"], (Part.FROM, giver, asset, -amount), (Part.TO, getter, asset, amount)),
    )


def check_payments(payments: np.ndarray, lines: np.ndarray) -> None:
    """What the engine says an account has behind a payment must be what the books say. Raises BrokenInvariant."""
    if not payments.size:
        return
    ours = {
        (entry, account): balance
        for entry, part, account, balance in zip(
            *(lines[name].tolist() for name in ("entry", "part", "account", "balance")), strict=True
        )
        if part in (Part.FROM, Part.TO)
    }
    for each in payments:
        said = [(int(each["account"]), int(each["total"]))]
        if each["kind"] == EventKind.TRANSFERRED:
            said.append((int(each["to_account"]), int(each["to_total"])))
        for account, total in said:
            if ours[int(each["seq"]), account] != total:
                raise BrokenInvariant(
                    f"event {each['seq']}: account {account} has {total} of asset {each['asset']} by the engine, and"
                    f" {ours[int(each['seq']), account]} by the books"
                )


def _lines(entry: np.ndarray, *parts: tuple[Part, np.ndarray | int, np.ndarray, np.ndarray]) -> np.ndarray:
    """LINE rows, those of one part after the other; a line of nothing is none."""
    lines = np.zeros((len(parts), entry.size), LINE)
    lines["entry"] = entry
    for rows, (part, account, asset, amount) in zip(lines, parts, strict=True):
        rows["part"], rows["account"], rows["asset"], rows["amount"] = part, account, asset, amount
    flat = lines.reshape(-1)
    moved: np.ndarray = flat[flat["amount"] != 0]
    return moved


def _check_sums(lines: np.ndarray) -> None:
    by_entry = lines[np.lexsort((lines["asset"], lines["entry"]))]
    entry, asset = by_entry["entry"], by_entry["asset"]
    starts = np.flatnonzero(np.concatenate(([True], (entry[1:] != entry[:-1]) | (asset[1:] != asset[:-1]))))
    sums = np.add.reduceat(by_entry["amount"], starts)
    if sums.any():
        at = int(starts[np.flatnonzero(sums)[0]])
        raise BrokenInvariant(f"entry {entry[at]}: the lines in asset {asset[at]} do not sum to zero")
