"""A raw LOBSTER message file: six columns without a header, what happened within the best few levels of one day.

    time,type,order id,size,price,direction        34200.18960767,1,11885113,21,2238100,1

Source: "LOBSTER output structure", lobsterdata.com. Types: 1 add, 2 partial cancel (size: the amount removed), 3
delete, 4 execution of a visible order, 5 of a hidden one, 6 cross trade, 7 halt; direction is the resting order's side,
1 buy, -1 sell. 5, 6 and 7 change no visible book.

The file is a view through a window, so three things have to be inferred, all of them from what comes later:

- Orders are removed that never were added: they stood in the starting book or came in while outside the window. Ids
  rise with time, so such an order is entered before the first add with a higher id (lower ids first), at the latest
  before the row that first removes from it; its quantity is all that is ever removed from it.
- Orders are added that never return. They left the window, and nobody can know when they were cancelled; kept, they
  would stand in the way of everything that trades there later. They are left out.
- An add's quantity is likewise what is later removed from it: some lose less than they were added with before they
  vanish, and would be left standing.

So the quantities of the resting orders are the venue's own hindsight; what a replay tests is who meets whom, at which
price and in which order. On AMZN 2012-06-21 (6,591 takers) 6,576 come out exact. Without the first rule it is 5,605
(8,021 orders were never added), without the second 2,366 (12,154 never return), without the third 6,325 (45 lose less).
The other 15: queue positions that the file does not show (ids of one instant that did not arrive in their order, orders
of the starting book whose place is guessed from their id) and what follows from them.

Takers show only as runs of type 4 rows with one time and direction (rows that change no book do not part a run). A
taker is an immediate-or-cancel order for their sum, no further than the worst of their prices; that it may have wanted
more, or rested with the remainder (which then is an add of its own), makes no difference to its fills.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from run.flow.actions import Fill, Flow, FlowBuilder, FlowError, Op
from run.flow.text import QTY_DIGITS, positive, seconds_to_ns, shown
from wire.enums import Side

_ADD, _REDUCE, _DELETE, _EXECUTE, _HIDDEN, _CROSS, _HALT = range(1, 8)
_BOOK_CHANGES: Final = frozenset((_ADD, _REDUCE, _DELETE, _EXECUTE))
_KINDS: Final = {b"%d" % kind: kind for kind in range(_ADD, _HALT + 1)}
_SIDES: Final = {b"1": Side.BUY, b"-1": Side.SELL}


class _Row(NamedTuple):
    """A row that changes the book."""

    row: int
    time_ns: int
    kind: int
    order_id: int
    qty: int
    price: int
    side: Side


class _Unseen(NamedTuple):
    """An order as far as its removals tell of it."""

    side: Side
    price: int


def recognises(data: bytes) -> bool:
    """Whether the first line has six columns, a time in front and a type second."""
    fields = data[:200].partition(b"\n")[0].rstrip(b"\r").split(b",")
    if len(fields) != 6 or fields[1] not in _KINDS:
        return False
    try:
        seconds_to_ns(fields[0])
    except ValueError:
        return False
    return True


def parse(data: bytes, source: str, symbol: str | None = None) -> Flow:
    """The flow in a LOBSTER message file; raises FlowError naming the line."""
    rows = _read(data, source)
    removed: dict[int, int] = {}  # order id -> all that is ever removed from it
    unseen: dict[int, _Unseen] = {}  # removed, and not added before
    added: set[int] = set()
    for row in rows:
        if row.kind == _ADD:
            if row.order_id in added or row.order_id in unseen:
                raise FlowError(f"{source}, line {row.row + 1}: order {row.order_id} is added a second time")
            added.add(row.order_id)
        else:
            removed[row.order_id] = removed.get(row.order_id, 0) + row.qty
            if row.order_id not in added:
                unseen.setdefault(row.order_id, _Unseen(row.side, row.price))
    return _replayed(rows, removed, unseen, source, symbol)


def _replayed(
    rows: list[_Row], removed: dict[int, int], unseen: dict[int, _Unseen], source: str, symbol: str | None
) -> Flow:
    builder = FlowBuilder(source, "LOBSTER")
    builder.symbol = symbol
    waiting = sorted(unseen, reverse=True)  # the lowest id last, to be popped

    def enter(order_id: int, at: _Row) -> None:
        order = unseen.pop(order_id)
        builder.act(Op.ADD, order_id, order.side, removed[order_id], order.price, at.time_ns, at.row)

    def enter_below(order_id: int, at: _Row) -> None:
        while waiting and waiting[-1] < order_id:
            if (lowest := waiting.pop()) in unseen:
                enter(lowest, at)

    index = 0
    while index < len(rows):
        row = rows[index]
        index += 1
        if row.kind == _ADD:
            enter_below(row.order_id, row)
            if row.order_id in removed:
                builder.act(Op.ADD, row.order_id, row.side, removed[row.order_id], row.price, row.time_ns, row.row)
            else:
                builder.skip("adds that never return")
        elif row.kind == _EXECUTE:
            run = [row]
            while index < len(rows) and _is_same_taker(rows[index], row):
                run.append(rows[index])
                index += 1
            for each in run:
                if each.order_id in unseen:
                    enter(each.order_id, each)
            fills: list[Fill] = [(each.order_id, each.qty, each.price) for each in run]
            builder.take_seen_as(row.side, fills, row.time_ns, row.row)
        else:
            if row.order_id in unseen:
                enter(row.order_id, row)
            op = Op.REDUCE if row.kind == _REDUCE else Op.CANCEL
            builder.act(op, row.order_id, row.side, row.qty, row.price, row.time_ns, row.row)
    return builder.build()


def _is_same_taker(row: _Row, first: _Row) -> bool:
    return row.kind == _EXECUTE and row.time_ns == first.time_ns and row.side is first.side


def _read(data: bytes, source: str) -> list[_Row]:
    """The rows that change the book."""
    rows: list[_Row] = []
    for at, line in enumerate(data.splitlines()):
        try:
            row = _read_row(at, line)
        except ValueError as error:
            raise FlowError(
                f"{source}, line {at + 1}: {error}; nothing was replayed, mend or fetch the file again"
            ) from error
        if row is not None:
            rows.append(row)
    return rows


def _read_row(at: int, line: bytes) -> _Row | None:
    fields = line.split(b",")
    if len(fields) != 6:
        raise ValueError(f"{len(fields)} columns where there are six (time,type,id,size,price,direction)")
    time_text, kind_text, id_text, qty_text, price_text, side_text = fields
    time_ns, kind, side = seconds_to_ns(time_text), _KINDS.get(kind_text), _SIDES.get(side_text)
    if kind is None:
        raise ValueError(f"the type is 1 to 7, not {shown(kind_text)}")
    if kind not in _BOOK_CHANGES:
        return None  # a halt's other columns are codes
    if side is None:
        raise ValueError(f"the direction is 1 or -1, not {shown(side_text)}")
    qty = positive(qty_text, QTY_DIGITS)
    return _Row(at, time_ns, kind, positive(id_text), qty, positive(price_text), side)
