"""Nasdaq TotalView-ITCH 5.0 as published: a 2-byte big-endian length, then the message; the book by order.

Source of the layouts: "Nasdaq TotalView-ITCH 5.0", sections 1.1 to 1.9. Every message begins with its type (1 byte),
stock locate (2), tracking number (2) and nanoseconds since midnight (6), all big-endian.

    A F  add                          -> ADD
    X    cancel part                  -> REDUCE
    D    delete                       -> CANCEL
    U    replace                      -> CANCEL and, under the new id, ADD
    E C  executed (C: at a price that is not the order's)
                                      -> consecutive ones with one timestamp and resting side are one TAKE
    P Q  trade against a hidden order, cross trade: no book changes, so they part no takers either
    R    stock directory: which locate is which symbol
    rest system, halts, imbalances, participants: no book changes

A taker is visible only in what it was filled with: its quantity is their sum, its limit the worst resting price among
them. A fill's price is the resting order's own, also for C: that is what a price-time engine gives. Executions of a
cross come as E and C like others and are taken for takers; a day's file is therefore best cut before the opening cross.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from run.flow.actions import TAKER_ID, Fill, Flow, FlowBuilder, FlowError, Op
from wire.enums import Side

LENGTHS: Final = {
    ord(kind): length
    for kind, length in {
        "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21,
        "A": 36, "F": 40, "E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19,
        "I": 50, "N": 20, "O": 48,
    }.items()
}  # fmt: skip

_HEAD: Final = Struct(">HBHHHI")  # length, type, locate, tracking, time: upper 2 and lower 4 of its 6 bytes
_ADD: Final = Struct(">QcI8sI")  # id, side, shares, stock, price
_ID_QTY: Final = Struct(">QI")
_REPLACE: Final = Struct(">QQII")  # old id, new id, shares, price
_DIRECTORY, _DELETE, _PARTLY, _REPLACED = b"RDXU"
_ADDS, _EXECUTIONS = frozenset(b"AF"), frozenset(b"EC")
_SIDES: Final = {b"B": Side.BUY, b"S": Side.SELL}


class _Resting:
    """An order in the venue's book."""

    __slots__ = ("price", "qty", "side")

    def __init__(self, side: Side, qty: int, price: int) -> None:
        self.side = side
        self.qty = qty
        self.price = price


class _Run:
    """Executions, one after another, that are one taker's as long as time and side stay."""

    __slots__ = ("fills", "row", "side", "time_ns")

    def __init__(self, side: Side, time_ns: int, row: int) -> None:
        self.side = side
        self.time_ns = time_ns
        self.row = row
        self.fills: list[Fill] = []


def recognises(data: bytes) -> bool:
    """Whether the first message's length and type go together."""
    return len(data) >= 3 and LENGTHS.get(data[2]) == int.from_bytes(data[:2], "big")


def parse(data: bytes, source: str, symbol: str | None = None) -> Flow:
    """The flow of `symbol` (may be left out where the file has orders of one only).

    Raises FlowError naming message and offset for a cut, unknown or contradictory message, and for orders of several
    symbols when none was picked.
    """
    reader = _Reader(source, symbol)
    at = row = 0
    while at < len(data):
        try:
            length = _length(data, at)
            if not length:
                break  # "End of Session" of Nasdaq's BinaryFILE
            reader.read(data, at, row)
        except ValueError as error:
            raise FlowError(
                f"{source}, message {row} at offset {at}: {error}; nothing was replayed, mend or fetch the file again"
            ) from error
        at += 2 + length
        row += 1
    return reader.flow()


def _length(data: bytes, at: int) -> int:
    """The length of the message at `at`, checked against its type and what is left of the file; 0 at the end mark."""
    left = len(data) - at - 2
    if left < 0:
        raise ValueError("the file is cut within a length")
    length = data[at] << 8 | data[at + 1]
    if not length:
        if left:
            raise ValueError(f"an end mark with {left} bytes behind it")
        return 0
    if not left:
        raise ValueError(f"the file is cut: a message of {length} bytes should follow")
    expected = LENGTHS.get(data[at + 2])
    if expected is None:
        raise ValueError(f"{chr(data[at + 2])!r} is no message type of ITCH 5.0")
    if length != expected:
        raise ValueError(f"a {chr(data[at + 2])!r} message has {expected} bytes, not {length}")
    if left < length:
        raise ValueError(f"the file is cut: {left} of the message's {length} bytes are there")
    return length


class _Reader:
    """The venue's book while the messages go by, as far as it takes to say what each did."""

    def __init__(self, source: str, symbol: str | None) -> None:
        self._builder = FlowBuilder(source, "ITCH 5.0")
        self._wanted = symbol
        self._symbols: dict[int, str] = {}
        self._locate: int | None = None  # whose orders are read
        self._resting: dict[int, _Resting] = {}
        self._run: _Run | None = None

    def flow(self) -> Flow:
        """All that was read."""
        self._end_run()
        if self._locate is None:
            named = f"of {self._wanted} " if self._wanted else ""
            present = f"; it has {', '.join(sorted(self._symbols.values())[:10])}" if self._symbols else ""
            raise FlowError(f"{self._builder.source} (ITCH 5.0): there is no order {named}in it{present}")
        self._builder.symbol = self._symbols[self._locate]
        return self._builder.build()

    def read(self, data: bytes, at: int, row: int) -> None:
        """Take the message at `at`, whose length is right."""
        _, kind, locate, _, upper, lower = _HEAD.unpack_from(data, at)
        time_ns = upper << 32 | lower
        body = at + 13
        if kind == _DIRECTORY:
            self._symbols[locate] = _name(data[body : body + 8])
        elif kind in _ADDS:
            order_id, side, qty, stock, price = _ADD.unpack_from(data, body)
            if self._is_wanted(locate, _name(stock)):
                self._end_run()
                self._add(order_id, _side(side), qty, price, time_ns, row)
        elif locate != self._locate:
            return
        elif kind in _EXECUTIONS:
            order_id, qty = _ID_QTY.unpack_from(data, body)
            self._execute(order_id, qty, time_ns, row)
        elif kind == _DELETE:
            self._end_run()
            self._remove(int.from_bytes(data[body : body + 8], "big"), time_ns, row)
        elif kind == _PARTLY:
            self._end_run()
            order_id, qty = _ID_QTY.unpack_from(data, body)
            self._reduce(order_id, qty, time_ns, row)
        elif kind == _REPLACED:
            self._end_run()
            old_id, new_id, qty, price = _REPLACE.unpack_from(data, body)
            if (old := self._remove(old_id, time_ns, row)) is not None:
                self._add(new_id, old.side, qty, price, time_ns, row)

    def _is_wanted(self, locate: int, symbol: str) -> bool:
        if locate == self._locate:
            return True
        self._symbols.setdefault(locate, symbol)
        if self._wanted is not None:
            if symbol != self._wanted:
                return False
        elif self._locate is not None:
            raise ValueError(
                f"orders of {self._symbols[self._locate]} and of {symbol}; one symbol is replayed at a time, name it"
            )
        self._locate = locate
        return True

    def _add(self, order_id: int, side: Side, qty: int, price: int, time_ns: int, row: int) -> None:
        if not (qty and price and 0 < order_id < TAKER_ID):
            raise ValueError(f"an order with id {order_id}, {qty} shares and price {price}")
        if order_id in self._resting:
            raise ValueError(f"order {order_id} is added while it rests")
        self._resting[order_id] = _Resting(side, qty, price)
        self._builder.act(Op.ADD, order_id, side, qty, price, time_ns, row)

    def _remove(self, order_id: int, time_ns: int, row: int) -> _Resting | None:
        order = self._resting.pop(order_id, None)
        if order is None:
            self._builder.skip("removals of orders never added")
        else:
            self._builder.act(Op.CANCEL, order_id, order.side, order.qty, order.price, time_ns, row)
        return order

    def _reduce(self, order_id: int, qty: int, time_ns: int, row: int) -> None:
        order = self._take_away(order_id, qty)
        if order is None:
            self._builder.skip("removals of orders never added")
        else:
            self._builder.act(Op.REDUCE, order_id, order.side, qty, order.price, time_ns, row)

    def _execute(self, order_id: int, qty: int, time_ns: int, row: int) -> None:
        order = self._take_away(order_id, qty)
        if order is None:
            self._builder.skip("executions of orders never added")
            return
        run = self._run
        if run is None or run.time_ns != time_ns or run.side != order.side:
            self._end_run()
            run = self._run = _Run(order.side, time_ns, row)
        run.fills.append((order_id, qty, order.price))

    def _take_away(self, order_id: int, qty: int) -> _Resting | None:
        order = self._resting.get(order_id)
        if order is not None:
            if not 0 < qty <= order.qty:
                raise ValueError(f"{qty} shares are taken from order {order_id}, which has {order.qty}")
            order.qty -= qty
            if not order.qty:
                del self._resting[order_id]
        return order

    def _end_run(self) -> None:
        run = self._run
        if run is not None:
            self._run = None
            self._builder.take_seen_as(run.side, run.fills, run.time_ns, run.row)


def _side(code: bytes) -> Side:
    side = _SIDES.get(code)
    if side is None:
        raise ValueError(f"a side is B or S, not {code!r}")
    return side


def _name(stock: bytes) -> str:
    return stock.decode("ascii", "replace").rstrip()
