"""Recorded flow through an engine: the commands are right, the judge sees every difference, the venue's fills come out.

What is sent over sockets elsewhere goes straight into the engine here.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engine.compiled import CompiledEngine
from components.engine.contract import Engine
from components.engine.readable import ReadableEngine
from run.flow import FILL, Flow, FlowSession, Judge, Op, load
from run.flow.actions import TAKER_ID, FlowBuilder
from run.flow.replay import intended_totals
from wire.dtypes import COMMAND, EVENT, EXTENSION, INSTRUMENT_TERMS, PARTY_TERMS, PRICE_BANDS
from wire.enums import CommandKind, EventKind, ExtensionKind, Liquidity, OrderType, Side, TimeInForce
from wire.units import pack_name

SESSION, ACCOUNT, SYMBOL, GATEWAY = 3, 2, 7, 5
NO_EXTENSIONS = np.zeros(0, EXTENSION)

ENGINES: dict[str, Callable[[], Engine]] = {"readable": ReadableEngine, "compiled": CompiledEngine}


# ---------------------------------------------------------------------------------------------- an engine to drive


def opened(engine: Engine) -> Engine:
    """The engine with the instrument, account and session that the flow is replayed on."""
    commands, extensions = np.zeros(4, COMMAND), np.zeros(4, EXTENSION)
    commands["kind"] = [
        CommandKind.ADD_INSTRUMENT,
        CommandKind.ADD_ACCOUNT,
        CommandKind.ADD_SESSION,
        CommandKind.OPEN_SESSION,
    ]
    commands["extensions"] = [2, 1, 1, 0]
    commands["symbol"][0] = SYMBOL
    commands["account"][1] = ACCOUNT
    commands["price"][2] = SESSION
    commands["session"][3], commands["gateway"][3] = SESSION, GATEWAY
    terms = extensions[0:1].view(INSTRUMENT_TERMS)
    terms["kind"], terms["price_scale"], terms["quote_scale"] = ExtensionKind.INSTRUMENT_TERMS, 4, 2
    terms["name0"], terms["name1"] = pack_name("FLOW")
    terms["max_price"], terms["min_qty"], terms["max_qty"] = 10**10, 1, 10**7
    terms["protection_points"] = 100_000
    bands = extensions[1:2].view(PRICE_BANDS)
    bands["kind"], bands["tick0"], bands["lot0"] = ExtensionKind.PRICE_BANDS, 1, 1
    bands["from_price1"], bands["tick1"], bands["lot1"] = 10_000, 100, 1
    parties = extensions[2:4].view(PARTY_TERMS)
    parties["kind"], parties["firm"] = ExtensionKind.PARTY_TERMS, 1
    parties["name0"], parties["name1"] = pack_name("FLOW")
    events = apply(engine, commands, extensions)
    assert EventKind.REJECTED not in events["kind"]
    return engine


def apply(engine: Engine, commands: np.ndarray, extensions: np.ndarray = NO_EXTENSIONS) -> np.ndarray:
    """All events of one group."""
    return np.concatenate([part.copy() for part in engine.apply(engine.command_seq + 1, 1, commands, extensions)])


def session_of(flow: Flow, first_ref: int = 1) -> FlowSession:
    return FlowSession(flow, session=SESSION, account=ACCOUNT, symbol=SYMBOL, first_ref=first_ref, gateway=GATEWAY)


def replayed(flow: Flow, engine: Engine, batch: int = 1_000) -> Judge:
    session = session_of(flow)
    judge = Judge(session)
    for commands in session.batches(batch):
        assert not judge.finished
        for events in engine.apply(engine.command_seq + 1, 1, commands, NO_EXTENSIONS):
            judge.feed(events)
    assert judge.finished
    assert judge.answered_ref == session.last_ref
    return judge


# ---------------------------------------------------------------------------------------------- a little flow


def story() -> Flow:
    """Two sellers and a buyer who takes both; an add that matches on arrival; a reduction to nothing."""
    builder = FlowBuilder("story", "by hand")
    builder.act(Op.ADD, 11, Side.SELL, 100, 3_210_000, 1, 0)
    builder.act(Op.ADD, 12, Side.SELL, 50, 3_210_100, 1, 1)
    builder.act(Op.REDUCE, 11, Side.SELL, 10, 3_210_000, 2, 2)
    builder.take(TAKER_ID, Side.BUY, 20, 3_210_000, 3, 3, [(11, 20, 3_210_000)])
    builder.act(Op.REDUCE, 11, Side.SELL, 30, 3_210_000, 4, 4)
    builder.take(TAKER_ID + 1, Side.BUY, 60, 3_210_100, 5, 5, [(11, 40, 3_210_000), (12, 20, 3_210_100)])
    builder.act(Op.ADD, 13, Side.BUY, 15, 3_210_100, 6, 6)
    builder.act(Op.REDUCE, 12, Side.SELL, 15, 3_210_100, 7, 7)
    builder.act(Op.ADD, 14, Side.BUY, 5, 3_200_000, 8, 8)
    builder.act(Op.REDUCE, 14, Side.BUY, 5, 3_200_000, 8, 9)
    builder.take(TAKER_ID + 2, Side.SELL, 5, 3_200_000, 9, 10, [])
    builder.act(Op.ADD, 15, Side.BUY, 5, 3_200_000, 10, 11)
    builder.act(Op.CANCEL, 15, Side.BUY, 5, 3_200_000, 11, 12)
    return builder.build()


def changed_fills(flow: Flow, fills: list[list[tuple[int, int, int]]]) -> Flow:
    """The same flow at a venue that filled its takers like this."""
    counts = [len(each) for each in fills]
    return Flow(
        source=flow.source,
        kind=flow.kind,
        symbol=flow.symbol,
        actions=flow.actions,
        targets=flow.targets,
        takers=flow.takers,
        fill_start=np.concatenate([[0], np.cumsum(counts)]),
        fills=np.array([fill for each in fills for fill in each], FILL),
    )


def story_fills() -> list[list[tuple[int, int, int]]]:
    flow = story()
    return [[tuple(fill) for fill in flow.expected(taker).tolist()] for taker in range(len(flow.takers))]


# ---------------------------------------------------------------------------------------------- commands


def test_each_action_is_one_command() -> None:
    session = session_of(story(), first_ref=101)
    commands = session.commands
    assert commands.dtype is COMMAND
    assert len(session) == len(commands) == 13
    assert session.last_ref == 113
    assert commands["client_ref"].tolist() == list(range(101, 114))
    assert set(commands["session"]) == {SESSION}
    assert set(commands["gateway"]) == {GATEWAY}
    new = {"kind": CommandKind.NEW_ORDER, "account": ACCOUNT, "symbol": SYMBOL, "order_type": OrderType.LIMIT}
    cancel = {"kind": CommandKind.CANCEL}
    expected = {
        0: {**new, "tif": TimeInForce.GTC, "side": Side.SELL, "price": 3_210_000, "qty": 100},
        2: {**cancel, "target_ref": 101, "qty": 90},
        3: {**new, "tif": TimeInForce.IOC, "side": Side.BUY, "price": 3_210_000, "qty": 20},
        4: {**cancel, "target_ref": 101, "qty": 60},
        9: {**cancel, "target_ref": 109, "qty": 0},
        12: {**cancel, "target_ref": 112, "qty": 0},
    }
    for index, fields in expected.items():
        row = np.zeros(1, COMMAND)
        row["session"], row["gateway"], row["client_ref"] = SESSION, GATEWAY, 101 + index
        for name, value in fields.items():
            row[name] = value
        assert commands[index] == row[0], index


@pytest.mark.parametrize("size", [1, 2, 5, 13, 100])
def test_batches_are_all_commands_in_order(size: int) -> None:
    session = session_of(story())
    batches = list(session.batches(size))
    assert all(len(batch) == size for batch in batches[:-1])
    assert np.concatenate(batches).tobytes() == session.commands.tobytes()
    assert all(np.shares_memory(batch, session.commands) for batch in batches)


@given(
    st.lists(st.tuples(st.sampled_from([Op.ADD, Op.REDUCE, Op.CANCEL, Op.TAKE]), st.integers(1, 4), st.integers(1, 9)))
)
def test_targets_and_totals_are_those_of_a_plain_loop(steps: list[tuple[Op, int, int]]) -> None:
    builder = FlowBuilder("random", "by hand")
    entered: dict[int, int] = {}  # id -> index of its last ADD
    remaining: dict[int, int] = {}  # that index -> its quantity less its reductions
    targets: list[int] = []
    totals: list[int] = []
    for op, order_id, qty in steps:
        if op is Op.TAKE:
            builder.take(TAKER_ID + len(targets), Side.BUY, qty, 100, 0, 0, [])
        else:
            builder.act(op, order_id, Side.BUY, qty, 100, 0, 0)
        if op in (Op.ADD, Op.TAKE):
            target = len(targets)
            remaining[target] = qty
            if op is Op.ADD:
                entered[order_id] = target
        elif order_id in entered:
            target = entered[order_id]
            remaining[target] -= qty if op is Op.REDUCE else 0
        else:
            continue  # left out
        targets.append(target)
        totals.append(max(remaining[target], 0))
    flow = builder.build()
    assert flow.targets.tolist() == targets
    assert intended_totals(flow).tolist() == totals
    assert sum(flow.skipped.values()) == len(steps) - len(targets)


# ---------------------------------------------------------------------------------------------- the judge


@pytest.mark.parametrize("name", ENGINES)
def test_a_story_that_went_as_the_venue_says_is_exact(name: str) -> None:
    engine = opened(ENGINES[name]())
    result = replayed(story(), engine, batch=3).result()
    assert (result.takers, result.takers_exact, result.mismatches) == (3, 3, ())
    assert (result.commands, result.answered) == (13, 13)
    assert result.trades == 4  # one of them the add's that matched on arrival
    assert result.adds_matched == 1
    assert result.rejected == {}
    assert result.events == 13 + 2 * result.trades + 1  # an answer each, the trades, and the third taker's cancel
    assert str(result).startswith("3 of 3 takers exact; 13 commands (13 answered), 4 trades")


@pytest.mark.parametrize(
    ("taker", "fills"),
    [
        (0, [(12, 20, 3_210_000)]),  # another resting order
        (0, [(11, 19, 3_210_000)]),  # quantity
        (0, [(11, 20, 3_210_100)]),  # price
        (0, []),
        (0, [(11, 10, 3_210_000), (11, 10, 3_210_000)]),  # in two
        (0, [(11, 20, 3_210_000), (12, 1, 3_210_100)]),  # more than here
        (1, [(12, 20, 3_210_100), (11, 40, 3_210_000)]),  # the other way round
        (1, [(11, 40, 3_210_000)]),  # less than here
        (2, [(14, 5, 3_200_000)]),  # nothing here
    ],
)
def test_the_judge_sees_every_difference(taker: int, fills: list[tuple[int, int, int]]) -> None:
    venue = story_fills()
    venue[taker] = fills
    result = replayed(changed_fills(story(), venue), opened(ReadableEngine())).result()
    assert result.takers_exact == 2
    (mismatch,) = result.mismatches
    row = int(story().actions["row"][story().takers[taker]])
    assert mismatch.startswith(f"row {row}: ")
    assert mismatch in str(result)


def test_a_mismatch_reads_as_in_the_csv() -> None:
    venue = story_fills()
    venue[1] = [(11, 60, 3_210_000)]
    result = replayed(changed_fills(story(), venue), opened(ReadableEngine())).result()
    assert result.mismatches == (
        "row 5: buy 60 at 321.0100: the venue filled 11:60:3210000, here 11:40:3210000;12:20:3210100",
    )
    venue[2] = [(14, 5, 3_200_000)]
    result = replayed(changed_fills(story(), venue), opened(ReadableEngine())).result()
    assert result.mismatches[1] == "row 10: sell 5 at 320.0000: the venue filled 14:5:3200000, here nothing"


def test_only_the_first_mismatches_are_described() -> None:
    builder = FlowBuilder("wrong", "by hand")
    for row in range(25):
        builder.take(TAKER_ID + row, Side.BUY, 1, 100, 0, row, [(1, 1, 100)])
    result = replayed(builder.build(), opened(ReadableEngine())).result()
    assert (result.takers, result.takers_exact, len(result.mismatches)) == (25, 0, 10)
    assert str(result).endswith("... and 15 more takers")


def test_refused_commands_are_counted_by_reason() -> None:
    builder = FlowBuilder("refused", "by hand")
    builder.act(Op.ADD, 1, Side.BUY, 1, 10_050, 0, 0)  # off tick
    builder.act(Op.CANCEL, 1, Side.BUY, 1, 10_050, 0, 1)
    builder.act(Op.ADD, 2, Side.BUY, 10**8, 10_100, 0, 2)
    result = replayed(builder.build(), opened(ReadableEngine())).result()
    assert result.rejected == {"PRICE_NOT_ON_TICK": 1, "QTY_OUT_OF_RANGE": 1, "UNKNOWN_ORDER": 1}
    assert "1 commands refused: PRICE_NOT_ON_TICK" in str(result)


def reports(flow: Flow) -> np.ndarray:
    """All events of a replay in one array."""
    return apply(opened(ReadableEngine()), session_of(flow).commands)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_the_verdict_does_not_depend_on_how_reports_are_cut(size: int) -> None:
    flow = story()
    events = reports(flow)
    judge, whole = Judge(session_of(flow)), Judge(session_of(flow))
    whole.feed(events)
    for start in range(0, len(events), size):
        assert not judge.finished
        part = events[start : start + size].copy()
        judge.feed(part)
        part[:] = np.zeros(1, EVENT)  # the judge has kept what it needs
    assert judge.finished
    assert judge.result() == whole.result()


def test_reports_seen_before_and_session_events_change_nothing() -> None:
    flow = story()
    events = reports(flow)
    judge, whole = Judge(session_of(flow)), Judge(session_of(flow))
    whole.feed(events)
    opened_again = np.zeros(1, EVENT)
    opened_again["kind"], opened_again["client_ref"] = EventKind.SESSION_OPENED, 6
    opened_again["report_seq"] = events["report_seq"][8]
    judge.feed(events[:9])
    judge.feed(events[3:6])
    judge.feed(np.concatenate([events[6:9], opened_again, events[9:]]))
    judge.feed(events)
    judge.feed(events[:0])
    assert judge.result() == whole.result()
    judge = Judge(session_of(flow))
    judge.feed(np.concatenate([events[:9], opened_again, events[9:]]))
    assert judge.result() == whole.result()


def test_a_missing_report_is_no_guess() -> None:
    flow = story()
    events = reports(flow)
    judge = Judge(session_of(flow))
    with pytest.raises(ValueError, match="reports are missing"):
        judge.feed(np.delete(events, 5))
    judge = Judge(session_of(flow))
    judge.feed(events[:5])
    with pytest.raises(ValueError, match=r"missing after number \d+; resume"):
        judge.feed(events[6:])
    judge.feed(events[5:])
    assert judge.result().takers_exact == 3


def test_what_the_session_did_before_and_after_is_not_judged() -> None:
    flow, engine = story(), opened(ReadableEngine())
    before, after = session_of(flow), session_of(flow, first_ref=14)
    judges = Judge(before), Judge(after)
    for session in (before, after):
        events = apply(engine, session.commands)
        for judge in judges:
            judge.feed(events)
    assert judges[0].result() == judges[1].result()
    assert judges[0].answered_ref == 13
    assert judges[1].answered_ref == 26


def test_a_resting_order_of_another_session_is_a_mismatch() -> None:
    flow = story()
    events = reports(flow)
    is_maker = (events["kind"] == EventKind.EXECUTED) & (events["liquidity"] == Liquidity.MAKER)
    first = np.flatnonzero(is_maker)[0]
    events["client_ref"][first] = 10**6  # not one of this flow's orders
    judge = Judge(session_of(flow))
    judge.feed(events)
    assert judge.result().takers_exact == 2
    assert judge.result().trades == 4
    assert judge.result().mismatches[0].endswith("here 0:20:3210000")


@pytest.mark.parametrize(
    ("qty", "tif_op", "last_kind"),
    [
        (5, Op.ADD, EventKind.ACCEPTED),  # rests
        (5, Op.TAKE, EventKind.CANCELLED),  # nothing to take
    ],
)
def test_the_end_is_seen_in_the_last_report(qty: int, tif_op: Op, last_kind: EventKind) -> None:
    builder = FlowBuilder("end", "by hand")
    if tif_op is Op.ADD:
        builder.act(Op.ADD, 1, Side.BUY, qty, 100, 0, 0)
    else:
        builder.take(TAKER_ID, Side.BUY, qty, 100, 0, 0, [])
    assert_finished_by_last(builder.build(), last_kind)


@pytest.mark.parametrize("qty", [8, 10, 12])
@pytest.mark.parametrize("op", [Op.ADD, Op.TAKE])
def test_the_end_of_a_last_order_that_trades_is_seen_in_its_last_report(op: Op, qty: int) -> None:
    builder = FlowBuilder("end", "by hand")
    builder.act(Op.ADD, 1, Side.SELL, 4, 100, 0, 0)
    builder.act(Op.ADD, 2, Side.SELL, 6, 100, 0, 1)
    if op is Op.ADD:
        builder.act(Op.ADD, 3, Side.BUY, qty, 100, 0, 2)
    else:
        builder.take(TAKER_ID, Side.BUY, qty, 100, 0, 2, [])
    cancelled = op is Op.TAKE and qty > 10
    assert_finished_by_last(builder.build(), EventKind.CANCELLED if cancelled else EventKind.EXECUTED)


def assert_finished_by_last(flow: Flow, kind: EventKind) -> None:
    judge = Judge(session_of(flow))
    events = reports(flow)
    assert events["kind"][-1] == kind
    for event in np.split(events, len(events)):
        assert not judge.finished
        judge.feed(event)
    assert judge.finished


# ---------------------------------------------------------------------------------------------- the recorded sets


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("file", ["itch_AAPL_20200130_commands.csv", "itch50_AAPL_20200130_first10k.bin"])
def test_every_taker_of_the_itch_set_is_exact(shared_data: Path, file: str, name: str) -> None:
    result = replayed(load(shared_data / file), opened(ENGINES[name]())).result()
    assert (result.takers_exact, result.takers) == (687, 687)
    assert (result.commands, result.trades, result.adds_matched, result.rejected) == (9_550, 849, 0, {})


@pytest.mark.parametrize("name", ENGINES)
def test_the_lobster_set_is_as_exact_as_it_can_be(shared_data: Path, name: str) -> None:
    """The raw file gives the very same flow (test_flow_files.py), hence the same figures.

    The set's README states 6,571 exact and 7 adds matched on arrival; a bare price-time loop over this CSV, with
    nothing of ours in it, gives 6,576 and 1, and so do both engines.
    """
    flow = load(shared_data / "lobster_AMZN_20120621_commands.csv.gz")
    result = replayed(flow, opened(ENGINES[name]()), batch=4_096).result()
    assert (result.takers_exact, result.takers) == (6_576, 6_591)
    assert (result.commands, result.trades, result.adds_matched) == (146_974, 8_976, 1)
    assert result.rejected == {"UNKNOWN_ORDER": 2}  # cancels of orders that others' fills had used up here
