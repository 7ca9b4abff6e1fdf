"""Commands CSV: a flow as commands for a price-time engine, with the fills that the venue made beside each taker.

    seq,op,id,side,qty,price,expected_fills,orig_row,time
    107,I,900000000028,S,47,2237500,11885113:21:2238100;11534792:26:2237500,28,34200.190226476

op: A add a resting limit order, R reduce by qty keeping priority, X cancel, I immediate-or-cancel. price in 1/10,000
dollar; expected_fills `resting id:qty:price` joined by `;`, in order; orig_row the row or message of the file that it
was made from. time is in seconds since midnight if any row of the file has a decimal point there, else in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from run.flow.actions import Fill, Flow, FlowBuilder, FlowError, Op
from run.flow.text import QTY_DIGITS, number, positive, seconds_to_ns, shown
from wire.enums import Side

HEADER: Final = "seq,op,id,side,qty,price,expected_fills,orig_row,time"

_OPS: Final = {b"A": Op.ADD, b"R": Op.REDUCE, b"X": Op.CANCEL, b"I": Op.TAKE}
_SIDES: Final = {b"B": Side.BUY, b"S": Side.SELL}


def recognises(data: bytes) -> bool:
    """Whether the first line is a commands CSV's."""
    return data.startswith(b"seq,op,id,")


def parse(data: bytes, source: str, symbol: str | None = None) -> Flow:
    """The flow in a commands CSV; raises FlowError naming the line."""
    header, *lines = data.splitlines()
    if header.decode("ascii", "replace") != HEADER:
        raise FlowError(f"{source}, line 1: expected the header `{HEADER}`, found {shown(header)}")
    builder = FlowBuilder(source, "commands CSV")
    builder.symbol = symbol
    is_seconds = any(b"." in line[line.rfind(b",") :] for line in lines)
    for at, line in enumerate(lines, 2):
        try:
            _read_row(builder, line, seconds_to_ns if is_seconds else number)
        except ValueError as error:
            raise FlowError(
                f"{source}, line {at}: {error}; nothing was replayed, mend or fetch the file again"
            ) from error
    return builder.build()


def _read_row(builder: FlowBuilder, line: bytes, time_of: Callable[[bytes], int]) -> None:
    fields = line.split(b",")
    if len(fields) != 9:
        raise ValueError(f"{len(fields)} columns where there are 9 ({HEADER})")
    _, op_text, id_text, side_text, qty_text, price_text, fills_text, row_text, time_text = fields
    op, side = _OPS.get(op_text), _SIDES.get(side_text)
    if op is None:
        raise ValueError(f"op is A, R, X or I, not {shown(op_text)}")
    if side is None:
        raise ValueError(f"side is B or S, not {shown(side_text)}")
    order_id, qty, price = positive(id_text), positive(qty_text, QTY_DIGITS), positive(price_text)
    time_ns, row = time_of(time_text), number(row_text)
    if op is Op.TAKE:
        fills = [_fill(part) for part in fills_text.split(b";")] if fills_text else []
        builder.take(order_id, side, qty, price, time_ns, row, fills)
    elif fills_text:
        raise ValueError("only an I has expected fills")
    else:
        builder.act(op, order_id, side, qty, price, time_ns, row)


def _fill(text: bytes) -> Fill:
    parts = text.split(b":")
    if len(parts) != 3:
        raise ValueError(f"a fill is `resting id:qty:price`, not {shown(text)}")
    return positive(parts[0]), positive(parts[1], QTY_DIGITS), positive(parts[2])
