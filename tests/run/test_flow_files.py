"""Recorded flow: each format is told by its content, read exactly, and refused with place and advice when it is wrong.

Small files are built here byte by byte, so nothing is needed but the checkout; the recorded sets come last. How their
fills compare is in test_flow_replay.py.
"""

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from run.flow import Flow, FlowError, Op, load
from run.flow import files as flow_files
from run.flow.actions import TAKER_ID
from run.flow.text import seconds_to_ns
from wire.enums import Side

# ---------------------------------------------------------------------------------------------- builders


def itch(kind: str, time_ns: int, body: bytes, locate: int = 13) -> bytes:
    """One ITCH message with its length in front."""
    message = kind.encode() + locate.to_bytes(2) + b"\0\0" + time_ns.to_bytes(6) + body
    return len(message).to_bytes(2) + message


def itch_add(
    time_ns: int, order_id: int, side: str, qty: int, price: int, stock: str = "AAPL", kind: str = "A", locate: int = 13
) -> bytes:
    body = order_id.to_bytes(8) + side.encode() + qty.to_bytes(4) + stock.ljust(8).encode() + price.to_bytes(4)
    return itch(kind, time_ns, body + (b"NSDQ" if kind == "F" else b""), locate)


def itch_execute(time_ns: int, order_id: int, qty: int, price: int | None = None) -> bytes:
    body = order_id.to_bytes(8) + qty.to_bytes(4) + bytes(8)
    return itch("E", time_ns, body) if price is None else itch("C", time_ns, body + b"N" + price.to_bytes(4))


def itch_reduce(time_ns: int, order_id: int, qty: int) -> bytes:
    return itch("X", time_ns, order_id.to_bytes(8) + qty.to_bytes(4))


def itch_delete(time_ns: int, order_id: int, locate: int = 13) -> bytes:
    return itch("D", time_ns, order_id.to_bytes(8), locate)


def itch_replace(time_ns: int, old_id: int, new_id: int, qty: int, price: int) -> bytes:
    return itch("U", time_ns, old_id.to_bytes(8) + new_id.to_bytes(8) + qty.to_bytes(4) + price.to_bytes(4))


def itch_hidden_trade(time_ns: int) -> bytes:
    return itch("P", time_ns, bytes(33))


def itch_directory(stock: str, locate: int = 13) -> bytes:
    return itch("R", 0, stock.ljust(8).encode() + bytes(20), locate)


# One story in three forms: two sellers, one of them reduced, a buyer who takes both, a rest that is cancelled.
STORY_ITCH = b"".join(
    [
        itch_directory("AAPL"),
        itch_add(1_000_000_001, 11, "S", 100, 3_210_000),
        itch_add(1_500_000_000, 12, "S", 50, 3_210_100, kind="F"),
        itch_reduce(2_000_000_000, 11, 40),
        itch_execute(3_000_000_000, 11, 60),
        itch_hidden_trade(3_000_000_000),
        itch_execute(3_000_000_000, 12, 20),
        itch_delete(4_000_000_000, 12),
    ]
)
STORY_LOBSTER = b"""1.000000001,1,11,100,3210000,-1
1.5,1,12,50,3210100,-1
2,2,11,40,3210000,-1
3.0,4,11,60,3210000,-1
3.0,5,0,100,3210000,-1
3.0,4,12,20,3210100,-1
3.5,7,0,0,-1,-1
4,3,12,30,3210100,-1
"""
STORY_CSV = b"""seq,op,id,side,qty,price,expected_fills,orig_row,time
0,A,11,S,100,3210000,,1,1000000001
1,A,12,S,50,3210100,,2,1500000000
2,R,11,S,40,3210000,,3,2000000000
3,I,900000000004,B,80,3210100,11:60:3210000;12:20:3210100,4,3000000000
4,X,12,S,30,3210100,,7,4000000000
"""
STORIES = {"ITCH 5.0": STORY_ITCH, "LOBSTER": STORY_LOBSTER, "commands CSV": STORY_CSV}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(data: bytes, name: str = "flow") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def rows(flow: Flow) -> list[tuple[str, int, str, int, int]]:
    """What the flow does, without times and rows."""
    return [
        (Op(row["op"]).name, int(row["id"]), Side(row["side"]).name, int(row["qty"]), int(row["price"]))
        for row in flow.actions
    ]


def fills(flow: Flow) -> list[list[tuple[int, int, int]]]:
    return [[tuple(fill) for fill in flow.expected(taker).tolist()] for taker in range(len(flow.takers))]


# ---------------------------------------------------------------------------------------------- what is told by content


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", STORIES)
def test_a_format_is_told_by_content_and_all_tell_one_story(write: Write, kind: str, packed: bool) -> None:
    data = STORIES[kind]
    flow = load(write(gzip.compress(data, mtime=0) if packed else data, "any name.at all"))
    assert flow.kind == kind
    assert rows(flow)[:3] == [
        ("ADD", 11, "SELL", 100, 3_210_000),
        ("ADD", 12, "SELL", 50, 3_210_100),
        ("REDUCE", 11, "SELL", 40, 3_210_000),
    ]
    assert rows(flow)[3][0::2] == ("TAKE", "BUY", 3_210_100)
    assert rows(flow)[3][3] == 80
    assert rows(flow)[4:] == [("CANCEL", 12, "SELL", 30, 3_210_100)]
    assert fills(flow) == [[(11, 60, 3_210_000), (12, 20, 3_210_100)]]
    assert flow.targets.tolist() == [0, 1, 0, 3, 1]
    assert flow.actions["time_ns"].tolist() == [1_000_000_001, 1_500_000_000, 2 * 10**9, 3 * 10**9, 4 * 10**9]
    assert flow.price_scale == 4
    assert not flow.skipped


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("AMZN_2012-06-21_34200000_57600000_message_5.csv", "AMZN"),
        ("lobster_AMZN_20120621_message_5.csv.gz", "AMZN"),
        ("BRK.B_20120621.csv", "BRK.B"),
        ("message.csv", None),
        ("AMZN.csv", None),
    ],
)
def test_a_text_file_is_of_the_symbol_in_its_name(write: Write, name: str, symbol: str | None) -> None:
    assert load(write(STORY_LOBSTER, name)).symbol == symbol
    assert load(write(STORY_CSV, name)).symbol == symbol
    assert load(write(STORY_CSV, name), symbol="MSFT").symbol == "MSFT"
    assert load(write(STORY_ITCH, name)).symbol == "AAPL"  # which says so itself


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello", "none of what can be replayed"),
        (b"\0\0\0\0", "none of what can be replayed"),
        (b"1,2,3\n", "none of what can be replayed"),
        (b"1.5,9,1,1,1,1\n", "none of what can be replayed"),
        (b"time,type,id,size,price,direction\n", "none of what can be replayed"),
        (gzip.compress(STORY_CSV, mtime=0)[:-9], "does not unpack"),
        (gzip.compress(STORY_CSV, mtime=0)[:30] + b"???", "does not unpack"),
        (b"\x1f\x8b" + b"not gzip at all", "does not unpack"),
        (gzip.compress(b"", mtime=0), "empty"),
        (STORY_CSV.splitlines()[0], "no order in it"),
        (itch_directory("AAPL"), "no order in it; it has AAPL"),
        (b"1.5,5,0,1,3210000,1\n", "no order in it"),
    ],
)
def test_what_is_no_flow_is_refused(write: Write, data: bytes, says: str) -> None:
    with pytest.raises(FlowError, match=says) as error:
        load(write(data, "odd.bin"))
    assert "odd.bin" in str(error.value)


def test_a_file_that_is_not_there_or_too_large_is_refused(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FlowError, match=r"cannot read .*nothing.*No such file"):
        load(tmp_path / "nothing")
    with pytest.raises(FlowError, match="cannot read"):
        load(tmp_path)
    monkeypatch.setattr(flow_files, "MAX_BYTES", len(STORY_CSV) - 1)
    for data in (STORY_CSV, gzip.compress(STORY_CSV, mtime=0)):
        with pytest.raises(FlowError, match="unpacked; cut a part of it"):
            load(write(data))


# ---------------------------------------------------------------------------------------------- times


@given(st.integers(0, 10**9 - 1), st.text("0123456789", min_size=1, max_size=9))
def test_seconds_become_nanoseconds_exactly(whole: int, fraction: str) -> None:
    text = f"{whole}.{fraction}"
    assert seconds_to_ns(text.encode()) == int(Decimal(text) * 10**9)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (b"34200", 34_200 * 10**9),
        (b"34200.18960767", 34_200_189_607_670),
        (b"43002.632812672004", 43_002_632_812_672),  # a double's noise
        (b"43002.632812671996", 43_002_632_812_672),
        (b"1.9999999996", 2 * 10**9),
        (b"1.9999999995", 2 * 10**9),
        (b"1.9999999994", 1_999_999_999),
    ],
)
def test_digits_after_the_ninth_are_rounded_away(text: bytes, ns: int) -> None:
    assert seconds_to_ns(text) == ns


@pytest.mark.parametrize(
    "text", [b"", b".5", b"1.", b"-1.5", b"1e3", b"1,5", b" 1", b"nan", b"1_0.5", b"1.5.5", b"1" * 10]
)
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        seconds_to_ns(text)


def test_a_csv_with_any_decimal_point_in_its_times_is_in_seconds(write: Write) -> None:
    lines = STORY_CSV.splitlines()
    seconds = b"\n".join([lines[0], b"0,A,11,S,100,3210000,,1,34200.5", b"1,A,12,S,100,3210000,,2,34201"])
    assert load(write(seconds)).actions["time_ns"].tolist() == [34_200_500_000_000, 34_201_000_000_000]


# ---------------------------------------------------------------------------------------------- commands CSV


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"0,A,11,S,100,3210000,,1", "8 columns"),
        (b"", "1 columns"),
        (b"0,Z,11,S,100,3210000,,1,5", "op is A, R, X or I, not 'Z'"),
        (b"0,A,11,s,100,3210000,,1,5", "side is B or S, not 's'"),
        (b"0,A,-11,S,100,3210000,,1,5", "'-11' is not a whole number"),
        (b"0,A,11,S,0,3210000,,1,5", "0 is not a number above 0"),
        (b"0,A,11,S,1_0,3210000,,1,5", "'1_0' is not"),
        (b"0,A,11,S,10000000000,3210000,,1,5", "of 1 to 10 digits"),
        (b"0,A,11,S,10,3210000.5,,1,5", "'3210000.5' is not"),
        (b"0,A,11,S,10,1000000000000000,,1,5", "of 1 to 15 digits"),
        (b"0,A,11,S,10,\xff,,1,5", "is not a whole number"),
        (b"0,A,11,S,10,3210000,,x,5", "'x' is not"),
        (b"0,A,11,S,10,3210000,,1,x", "'x' is not"),
        (b"0,A,11,S,10,3210000,1:2:3,1,5", "only an I"),
        (b"0,I,11,S,10,3210000,1:2,1,5", "a fill is `resting id:qty:price`, not '1:2'"),
        (b"0,I,11,S,10,3210000,1:2:3;,1,5", "a fill is"),
        (b"0,I,11,S,10,3210000,1:0:3,1,5", "above 0"),
    ],
)
def test_a_bad_csv_line_is_named(write: Write, line: bytes, says: str) -> None:
    with pytest.raises(FlowError) as error:
        load(write(STORY_CSV + line + b"\n" + STORY_CSV[-40:], "commands.csv"))
    assert str(error.value).startswith("commands.csv, line 7: ")
    assert says in str(error.value)


def test_a_csv_with_another_header_is_refused(write: Write) -> None:
    with pytest.raises(FlowError, match="line 1: expected the header `seq,op,id,side,qty"):
        load(write(STORY_CSV.replace(b"expected_fills", b"fills")))


def test_removals_of_what_was_never_added_are_left_out_and_counted(write: Write) -> None:
    lost = b"5,X,99,S,30,3210100,,9,5\n6,R,900000000004,B,30,3210100,,9,5\n7,X,900000000004,B,30,3210100,,9,5\n"
    flow = load(write(STORY_CSV + lost))
    assert flow.skipped == {"removals of orders never added": 3}
    assert len(flow.actions) == 5
    assert flow.takers.tolist() == [3]


def test_an_id_used_again_means_the_later_order(write: Write) -> None:
    again = b"5,A,12,S,70,3210200,,9,5\n6,R,12,S,5,3210200,,9,5\n7,X,11,S,1,1,,9,5\n8,X,12,S,65,3210200,,9,5\n"
    assert load(write(STORY_CSV + again)).targets.tolist() == [0, 1, 0, 3, 1, 5, 5, 0, 5]


# ---------------------------------------------------------------------------------------------- ITCH


def test_an_itch_replace_is_a_cancel_and_an_add_under_the_new_id(write: Write) -> None:
    flow = load(
        write(
            itch_add(1, 11, "B", 100, 3_210_000)
            + itch_execute(2, 11, 30)
            + itch_replace(3, 11, 12, 500, 3_209_900)
            + itch_execute(4, 12, 500)
        )
    )
    assert rows(flow) == [
        ("ADD", 11, "BUY", 100, 3_210_000),
        ("TAKE", TAKER_ID + 1, "SELL", 30, 3_210_000),
        ("CANCEL", 11, "BUY", 70, 3_210_000),
        ("ADD", 12, "BUY", 500, 3_209_900),
        ("TAKE", TAKER_ID + 3, "SELL", 500, 3_209_900),
    ]
    assert flow.targets.tolist() == [0, 1, 0, 3, 4]
    assert flow.symbol == "AAPL"  # from the adds: there is no directory


def test_itch_executions_are_one_taker_while_time_and_side_stay(write: Write) -> None:
    adds = [
        itch_add(1, order_id, "BS"[order_id % 2], 100, 3_210_000 + 100 * (order_id % 2)) for order_id in range(1, 9)
    ]
    halt = itch("H", 6, bytes(14))
    flow = load(
        write(
            b"".join(adds)
            + itch_execute(5, 1, 10)
            + itch_execute(5, 3, 10, price=3_000_000)  # C: the resting order's own price counts
            + itch_execute(5, 2, 10)  # the other side
            + itch_execute(6, 4, 10)  # another time
            + halt
            + itch_hidden_trade(6)
            + itch_execute(6, 6, 10)
            + itch_add(6, 20, "S", 1, 3_220_000)  # the book changes in between
            + itch_execute(6, 8, 10)
            + itch_reduce(6, 8, 1)
            + itch_execute(6, 8, 10)
        )
    )
    assert fills(flow) == [
        [(1, 10, 3_210_100), (3, 10, 3_210_100)],
        [(2, 10, 3_210_000)],
        [(4, 10, 3_210_000), (6, 10, 3_210_000)],
        [(8, 10, 3_210_000)],
        [(8, 10, 3_210_000)],
    ]
    assert flow.actions["id"][flow.takers].tolist() == [TAKER_ID + row for row in (8, 10, 11, 16, 18)]


def test_an_itch_taker_goes_no_further_than_its_worst_fill(write: Write) -> None:
    adds = itch_add(1, 1, "B", 5, 3_000_200) + itch_add(1, 2, "B", 5, 3_000_100)
    flow = load(write(adds + itch_execute(2, 1, 5) + itch_execute(2, 2, 4)))
    assert rows(flow)[2] == ("TAKE", TAKER_ID + 2, "SELL", 9, 3_000_100)


def test_one_symbol_of_an_itch_file_is_picked_by_name(write: Write) -> None:
    path = write(
        itch_directory("AAPL", 13)
        + itch_directory("MSFT", 14)
        + itch_add(1, 1, "B", 5, 3_000_200)
        + itch_add(1, 2, "B", 5, 1_000_100, "MSFT", locate=14)
        + itch_delete(2, 2, locate=14)
        + itch_delete(3, 1)
    )
    assert rows(load(path, "AAPL")) == [("ADD", 1, "BUY", 5, 3_000_200), ("CANCEL", 1, "BUY", 5, 3_000_200)]
    assert rows(load(path, "MSFT")) == [("ADD", 2, "BUY", 5, 1_000_100), ("CANCEL", 2, "BUY", 5, 1_000_100)]
    assert load(path, "MSFT").symbol == "MSFT"
    with pytest.raises(FlowError, match=r"message 3 .*orders of AAPL and of MSFT; one symbol"):
        load(path)
    with pytest.raises(FlowError, match=r"no order of IBM in it; it has AAPL, MSFT"):
        load(path, "IBM")


def test_itch_messages_about_unseen_orders_are_left_out_and_counted(write: Write) -> None:
    flow = load(
        write(
            itch_add(1, 1, "B", 5, 3_000_200)
            + itch_execute(2, 90, 5)
            + itch_delete(2, 91)
            + itch_reduce(2, 92, 5)
            + itch_replace(2, 93, 94, 5, 3_000_000)
            + itch_delete(3, 1)
        )
    )
    assert len(flow.actions) == 2
    assert flow.skipped == {"executions of orders never added": 1, "removals of orders never added": 3}


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (itch("Z", 5, bytes(8)), "'Z' is no message type"),
        (itch("D", 5, bytes(9)), "a 'D' message has 19 bytes, not 20"),
        (itch_execute(5, 1, 101), "101 shares are taken from order 1, which has 100"),
        (itch_execute(5, 1, 0), "0 shares are taken"),
        (itch_add(5, 1, "B", 5, 3_000_000), "order 1 is added while it rests"),
        (itch_add(5, 2, "Q", 5, 3_000_000), "a side is B or S"),
        (itch_add(5, 2, "B", 0, 3_000_000), "0 shares"),
        (itch_add(5, 1 << 63, "B", 5, 3_000_000), "an order with id"),
        (b"\0\0" + itch_delete(5, 1), "an end mark with 42 bytes behind it"),
    ],
)
def test_a_bad_itch_message_is_named_with_its_offset(write: Write, message: bytes, says: str) -> None:
    start = itch_directory("AAPL") + itch_add(1, 1, "S", 100, 3_210_000)
    with pytest.raises(FlowError) as error:
        load(write(start + message + itch_delete(9, 1), "day.bin"))
    assert str(error.value).startswith(f"day.bin, message 2 at offset {len(start)}: ")
    assert says in str(error.value)


def test_an_itch_file_cut_anywhere_is_read_up_to_a_message_or_refused(write: Write) -> None:
    end = 2 + STORY_ITCH[1]
    ends = set()  # of a message that has an order before it
    while end < len(STORY_ITCH):
        end += 2 + STORY_ITCH[end + 1]
        ends.add(end)
    assert len(load(write(STORY_ITCH + b"\0\0")).actions) == 5  # with the end mark
    for cut in range(1, len(STORY_ITCH)):
        if cut in ends:
            assert len(load(write(STORY_ITCH[:cut])).actions) <= 5
        else:
            with pytest.raises(FlowError, match=r"cut|none of what|no order in it"):
                load(write(STORY_ITCH[:cut]))


# ---------------------------------------------------------------------------------------------- LOBSTER


def test_lobster_orders_that_were_never_added_are_entered_before_the_next_higher_id(write: Write) -> None:
    flow = load(
        write(
            b"1,1,20,5,1000000,1\n"  # before it: 10, then 15
            b"2,1,30,5,1000100,1\n"  # before it: 25
            b"3,3,15,7,1000200,1\n"
            b"4,2,10,3,1000300,1\n"
            b"4,4,10,4,1000300,1\n"
            b"4,3,25,1,1000400,1\n"
            b"5,3,99,1,1000500,-1\n"  # higher than all: entered at its removal
            b"6,4,98,2,1000600,-1\n"
            b"6,4,98,2,1000600,-1\n"
            b"7,3,20,5,1000000,1\n"
            b"7,3,30,5,1000100,1\n"
        )
    )
    assert [(op, order_id, qty) for op, order_id, _, qty, _ in rows(flow)] == [
        ("ADD", 10, 7),
        ("ADD", 15, 7),
        ("ADD", 20, 5),
        ("ADD", 25, 1),
        ("ADD", 30, 5),
        ("CANCEL", 15, 7),
        ("REDUCE", 10, 3),
        ("TAKE", TAKER_ID + 4, 4),
        ("CANCEL", 25, 1),
        ("ADD", 99, 1),
        ("CANCEL", 99, 1),
        ("ADD", 98, 4),
        ("TAKE", TAKER_ID + 7, 4),
        ("CANCEL", 20, 5),
        ("CANCEL", 30, 5),
    ]
    assert rows(flow)[0] == ("ADD", 10, "BUY", 7, 1_000_300)
    assert rows(flow)[11:13] == [
        ("ADD", 98, "SELL", 4, 1_000_600),
        ("TAKE", TAKER_ID + 7, "BUY", 4, 1_000_600),
    ]
    assert fills(flow)[1] == [(98, 2, 1_000_600), (98, 2, 1_000_600)]


def test_lobster_adds_that_never_return_are_left_out_and_others_hold_what_is_removed(write: Write) -> None:
    flow = load(write(b"1,1,20,5,1000000,1\n1,1,21,5,1000000,1\n2,4,21,2,1000000,1\n"))
    assert [(op, order_id, qty) for op, order_id, _, qty, _ in rows(flow)] == [
        ("ADD", 21, 2),
        ("TAKE", TAKER_ID + 2, 2),
    ]
    assert flow.skipped == {"adds that never return": 1}


def test_lobster_executions_are_one_taker_while_time_and_direction_stay(write: Write) -> None:
    flow = load(
        write(
            b"1,1,1,9,1000100,1\n1,1,2,9,1000000,1\n1,1,3,9,1000200,-1\n"
            b"2.5,4,1,1,1000100,1\n"
            b"2.50,6,0,1,1000000,1\n"
            b"2.500,4,2,2,1000000,1\n"
            b"2.5,4,3,3,1000200,-1\n"
            b"2.500000001,4,3,4,1000200,-1\n"
            b"2.500000001,2,3,1,1000200,-1\n"
            b"2.500000001,4,3,1,1000200,-1\n"
        )
    )
    assert rows(flow)[3] == ("TAKE", TAKER_ID + 3, "SELL", 3, 1_000_000)
    assert fills(flow) == [
        [(1, 1, 1_000_100), (2, 2, 1_000_000)],
        [(3, 3, 1_000_200)],
        [(3, 4, 1_000_200)],
        [(3, 1, 1_000_200)],
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"2,1,30,5,1000000", "5 columns"),
        (b"", "1 columns"),
        (b"x,1,30,5,1000000,1", "'x' is not a time in seconds"),
        (b"2,0,30,5,1000000,1", "the type is 1 to 7, not '0'"),
        (b"2,8,30,5,1000000,1", "the type is 1 to 7, not '8'"),
        (b"2,1,30,5,1000000,0", "the direction is 1 or -1, not '0'"),
        (b"2,1,30,5,-1,1", "'-1' is not a whole number"),
        (b"2,1,30,0,1000000,1", "0 is not a number above 0"),
        (b"2,1,0,5,1000000,1", "0 is not a number above 0"),
        (b"2,1,20,5,1000000,1", "order 20 is added a second time"),
        (b"2,1,21,5,1000000,1", "order 21 is added a second time"),
    ],
)
def test_a_bad_lobster_line_is_named(write: Write, line: bytes, says: str) -> None:
    with pytest.raises(FlowError) as error:
        load(write(b"1,1,20,5,1000000,1\n1,3,21,5,1000000,1\n" + line + b"\n3,3,20,5,1000000,1\n", "message.csv"))
    assert str(error.value).startswith("message.csv, line 3: ")
    assert says in str(error.value)


# ---------------------------------------------------------------------------------------------- the recorded sets


def test_raw_itch_gives_the_commands_csv_row_by_row(shared_data: Path) -> None:
    from_csv = load(shared_data / "itch_AAPL_20200130_commands.csv")
    from_raw = load(shared_data / "itch50_AAPL_20200130_first10k.bin")
    assert (len(from_csv.actions), len(from_csv.takers), len(from_csv.fills)) == (9_550, 687, 849)
    assert from_raw.symbol == from_csv.symbol == "AAPL"
    assert_same(from_raw, from_csv)
    assert not from_raw.skipped


def test_raw_lobster_gives_the_commands_csv_row_by_row(shared_data: Path) -> None:
    from_csv = load(shared_data / "lobster_AMZN_20120621_commands.csv.gz")
    from_raw = load(shared_data / "lobster_AMZN_20120621_message_5.csv.gz")
    assert (len(from_csv.actions), len(from_csv.takers), len(from_csv.fills)) == (146_974, 6_591, 8_974)
    assert from_raw.symbol == from_csv.symbol == "AMZN"
    assert_same(from_raw, from_csv)
    assert from_raw.skipped == {"adds that never return": 12_154}


def assert_same(flow: Flow, other: Flow) -> None:
    """Made-up ids of takers and rows of origin included."""
    for name in ("actions", "targets", "takers", "fill_start", "fills"):
        np.testing.assert_array_equal(getattr(flow, name), getattr(other, name), name)


@pytest.mark.parametrize("name", ["itch_AAPL_20200130_commands.csv", "lobster_AMZN_20120621_commands.csv.gz"])
def test_every_recorded_price_is_on_the_cent(shared_data: Path, name: str) -> None:
    """So the instruments of the default configuration (a tick of 0.01 from a dollar upwards) take them all."""
    flow = load(shared_data / name)
    assert not (flow.actions["price"] % 100).any()
    assert not (flow.fills["price"] % 100).any()
