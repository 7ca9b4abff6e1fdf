"""Operators and a running exchange: over the real socket, into the journal with a name and a cause, and back."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from components.client.operator import Fate, Request
from run.client.operator import NotDone, Operator, operator_terms
from run.client.sync import MarketData
from run.journal import JournalReader
from run.sockets import connect, try_receive
from run.supervisor import Exchange
from run.topology import EVENTS, MARKET, OPERATOR, REPLAY, SNAPSHOTS
from tests.run.exchange import Context, Pair
from wire.dtypes import COMMAND, OPERATOR_TERMS
from wire.enums import CommandKind, EventKind, Phase, Reason
from wire.units import unpack_text


@pytest.fixture
def operator(running: Exchange) -> Iterator[Operator]:
    where = running.config.runtime_dir
    ends = [link.endpoint(where) for link in (OPERATOR, EVENTS, REPLAY)]
    with Operator(*ends, who="carol") as operator:
        yield operator


def test_a_command_is_journalled_with_who_and_why_and_its_outcome_comes_back(
    running: Exchange, operator: Operator
) -> None:
    done = operator.command(CommandKind.END_OF_DAY, symbol=2, why="early close")
    assert done.raise_for_reject().events["kind"].tolist() == [EventKind.DAY_ENDED]
    (group,) = (
        group
        for group in JournalReader(running.config.journal_dir).groups(done.seq)
        if group.first_seq <= done.seq < group.first_seq + group.commands.size
    )
    assert group.commands["kind"][done.seq - group.first_seq] == CommandKind.END_OF_DAY
    terms = group.extensions.view(OPERATOR_TERMS)
    mine = terms[group.commands["extensions"][: done.seq - group.first_seq].sum()]
    assert unpack_text(mine["who0"], mine["who1"]) == "carol"
    assert unpack_text(*(mine[f"why{i}"] for i in range(5))) == "early close"
    after = operator.command(CommandKind.TICK)
    assert after.seq > done.seq
    assert not after.events.size, "a command without events is over as well"


def test_a_rejection_has_its_reason_and_what_is_a_brokers_is_not_taken(operator: Operator) -> None:
    assert operator.command(CommandKind.END_OF_DAY, symbol=999).reason is Reason.UNKNOWN_INSTRUMENT
    with pytest.raises(NotDone, match="did not act"):
        operator.command(CommandKind.CANCEL, session=1)


def test_a_halt_reaches_traders_and_subscribers(running: Exchange, operator: Operator) -> None:
    where = running.config.runtime_dir
    told = operator.command(CommandKind.SET_PHASE, symbol=2, qty=Phase.HALT, why="news pending").raise_for_reject()
    assert told.events[["kind", "symbol", "qty"]].tolist() == [(EventKind.PHASE_CHANGED, 2, Phase.HALT)]
    with MarketData(MARKET.endpoint(where), SNAPSHOTS.endpoint(where)) as market:
        name = next(each.name for each in market.instruments().values() if each.symbol == 2)
        while market.status(name).event_seq < told.events["seq"][0]:
            pass
        assert market.status(name).phase == Phase.HALT
    operator.command(CommandKind.SET_PHASE, symbol=2, qty=Phase.CONTINUOUS).raise_for_reject()


def test_only_this_user_may_open_the_socket(running: Exchange) -> None:
    path = running.config.runtime_dir / "operator.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_and_causes_have_their_limits() -> None:
    assert operator_terms("", "").size == 0
    assert operator_terms("é" * 8, "x" * 40).size == 1
    with pytest.raises(ValueError, match="17 bytes; there is room for 16"):
        operator_terms("é" * 8 + "x", "")
    with pytest.raises(ValueError, match="there is room for 40"):
        operator_terms("", "x" * 41)


def test_a_request_acts_once_though_the_sequencer_dies_before_it_answers(tmp_path: Path, context: Context) -> None:
    pair = Pair(tmp_path, context).start()
    rows = np.zeros(1, COMMAND)
    rows["kind"], rows["symbol"] = CommandKind.END_OF_DAY, 1
    dealer = connect(context, OPERATOR, OPERATOR.endpoint(pair.config.runtime_dir), 10)
    request = Request(77, rows)

    def say() -> None:
        if (frame := request.frame(pair.clock.monotonic_ns())) is not None:
            dealer.send(frame)

    def heard(until: Callable[[], object]) -> bool:
        say()
        while not until() and (parts := try_receive(dealer)) is not None:
            request.on_answer(parts[0])
        return bool(until())

    def journalled() -> bool:
        say()
        groups = JournalReader(pair.config.journal_dir).groups()
        return any(row[3] == request._token for group in groups for row in group.origins.tolist())

    try:
        pair.drive(lambda: heard(lambda: request._number))
        pair.drive(journalled)
        pair.stop_sequencer(crash=True)
        while try_receive(dealer) is not None:  # the answer is lost
            pass
        pair.start_sequencer()
        pair.drive(lambda: heard(lambda: request.fate is not Fate.OPEN))
        assert request.fate is Fate.TAKEN
        groups = list(JournalReader(pair.config.journal_dir).groups())
        assert sum(int((group.commands["kind"] == CommandKind.END_OF_DAY).sum()) for group in groups) == 1
    finally:
        dealer.close()
        pair.stop()


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as context:
        yield context
