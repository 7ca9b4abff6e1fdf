"""The exchange's transport before a broker's session that is played by hand: whose report is an order's answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perf.exchange import REPLACES, BrokerTransport, configured, flow
from perf.load import Plan, Void
from run.bootstrap import bootstrap
from run.config import check
from wire.dtypes import COMMAND, EVENT, STAMP
from wire.enums import CommandKind, EventKind, Reason, TimeInForce

PLAN = Plan(1_000, seconds=0.003, warmup_s=0.001)  # four orders, the first one warm-up
FIRST_REF = 101


class Session:
    """Hands out what it was told to, as run.client.sync.Broker and its core do."""

    def __init__(self) -> None:
        self.core = self
        self.last_report = 50
        self._events: np.ndarray = np.zeros(0, EVENT)
        self.sent: list[tuple[list[int], int]] = []

    def say(self, *reports: tuple[int, int], kind: EventKind = EventKind.ACCEPTED) -> None:
        """Reports with these (event number, ref of the command that it answers)."""
        self._events = np.zeros(len(reports), EVENT)
        self._events["seq"], self._events["request_ref"] = np.array(reports).T
        self._events["kind"] = kind
        self._events["report_seq"] = np.arange(self.last_report + 1, self.last_report + 1 + len(reports))
        self.last_report += len(reports)

    def refuse(self, ref: int) -> None:
        self._events = np.zeros(1, EVENT)
        row: Any = self._events[0]
        row["request_ref"], row["kind"], row["reason"] = ref, EventKind.REJECTED, Reason.BUSY

    def send(self, rows: np.ndarray, planned_ns: int) -> None:
        self.sent.append((rows["client_ref"].tolist(), planned_ns))

    def poll(self) -> None:
        pass

    def take_reports(self) -> np.ndarray:
        events, self._events = self._events, np.zeros(0, EVENT)
        return events

    def take_stamps(self) -> np.ndarray:
        return np.zeros(0, STAMP)


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def transport(session: Session) -> BrokerTransport:
    rows = np.zeros(PLAN.orders, COMMAND)
    rows["client_ref"] = np.arange(FIRST_REF, FIRST_REF + PLAN.orders)
    return BrokerTransport(session, rows, PLAN)  # type: ignore[arg-type]


def test_orders_leave_by_their_indexes(session: Session, transport: BrokerTransport) -> None:
    transport.send(0, 1, 7)
    transport.send(1, 3, 8)
    assert session.sent == [([101], 7), ([102, 103, 104], 8)]


def test_the_first_report_with_a_ref_is_the_answer(session: Session, transport: BrokerTransport) -> None:
    """An execution of one that stood in the book (ref 0), a taker's two reports, and one more of an earlier order."""
    session.say((9, 101), (10, 0), (11, 102), (12, 102))
    assert transport.receive()[0].tolist() == [0, 1]
    session.say((13, 0))
    assert transport.receive()[0].tolist() == []
    assert transport.receive()[0].tolist() == []
    session.say((14, 102), (15, 103), (16, 101), (17, 104))
    assert transport.receive()[0].tolist() == [2, 3]
    assert transport.event_seq.tolist() == [9, 11, 15, 17]
    assert transport.told_once()


def test_an_order_whose_answer_is_missing_is_noticed(session: Session, transport: BrokerTransport) -> None:
    session.say((9, 101), (10, 103), (11, 104))
    transport.receive()
    assert not transport.told_once()


def test_rejections_are_counted_and_refusals_end_the_run(session: Session, transport: BrokerTransport) -> None:
    session.say((9, 101), kind=EventKind.REJECTED)
    assert transport.receive()[0].tolist() == [0]
    assert transport.rejected == 1
    session.refuse(102)
    with pytest.raises(Void, match=r"1 orders were refused: BUSY: The gateway holds as many"):
        transport.receive()


def test_the_market_is_that_of_the_flow(tmp_path: Path) -> None:
    config = configured(tmp_path)
    check(config)
    commands, _ = bootstrap(config)
    assert commands["symbol"][commands["kind"] == CommandKind.ADD_INSTRUMENT].tolist() == [1]


def test_the_mix() -> None:
    """60 % new orders, 35 % cancels, of which one in seven is a replace, and 5 % takers, behind what stands."""
    rows = flow(Plan(20_000, seconds=1, warmup_s=0, standing=1_000, seed=3))
    assert rows["client_ref"].tolist() == list(range(1, 21_001))
    mix = rows[1_000:]
    takes = mix["tif"] == TimeInForce.IOC
    shares = [np.mean(mix["kind"] == kind) for kind in (CommandKind.CANCEL, CommandKind.REPLACE)]
    assert np.mean(takes) == pytest.approx(0.05, abs=0.01)
    assert shares == pytest.approx([0.35 * (1 - REPLACES), 0.35 * REPLACES], abs=0.01)
    assert set(rows["kind"][:1_000].tolist()) == {CommandKind.NEW_ORDER}
