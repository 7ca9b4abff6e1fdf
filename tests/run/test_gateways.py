"""Several gateways at one sequencer, over real sockets and files: none starves another, a silent one is fenced off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from run import journal
from tests.run.exchange import Context, Crowd, GatewayEnd, Pair
from wire.constants import FENCED, HEARTBEAT, LOST
from wire.enums import CommandKind
from wire.frames import GATEWAY_FRAME

PATIENCE_MS = 3_000


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def pair(tmp_path: Path, context: Context) -> Iterator[Pair]:
    pair = Pair(tmp_path, context, patience_ms=PATIENCE_MS).start()
    yield pair
    pair.stop()


@pytest.fixture
def ends(pair: Pair, context: Context) -> Iterator[list[GatewayEnd]]:
    """Gateways 1 and 2, both known to the sequencer."""
    ends = [GatewayEnd(context, pair.config, number) for number in (1, 2)]
    for end in ends:
        end.send(Crowd(1).log_on(end.gateway))
        pair.drive(lambda end=end: end.hear() == 1)  # type: ignore[misc]
    yield ends
    for end in ends:
        end.close()


def beat(end: GatewayEnd) -> None:
    head = {"flags": HEARTBEAT, "gateway": end.gateway, "incarnation": end.incarnation, "frame": end.sent + 1}
    end.out.send(GATEWAY_FRAME.encode(head))


def is_fenced(end: GatewayEnd) -> bool:
    """Whether the gateway was told that its incarnation is lost."""
    end.hear()
    heads = [ack.head[0] for ack in end.acks]
    return any(head["flags"] & FENCED and head["incarnation"] == end.incarnation for head in heads)


def live(pair: Pair, speaking: list[GatewayEnd], ms: int) -> None:
    """So much time passes in small steps while some gateways beat; each beat is heard before the next."""
    assert pair.sequencer is not None
    counts = pair.sequencer.sequencer.counts
    for _ in range(ms // 100):
        heard = sum(counts.values())
        for end in speaking:
            beat(end)
        pair.clock.turn(100)
        pair.drive(lambda heard=heard: sum(counts.values()) >= heard + len(speaking))  # type: ignore[misc]
        for end in speaking:
            end.hear()
    pair.sequencer.do_work()


def origins(pair: Pair) -> list[tuple[int, int, int]]:
    """(gateway, incarnation, frame) of everything in the journal but the exchange's own, in order."""
    groups = journal.JournalReader(pair.config.journal_dir).groups()
    rows = [row for group in groups for row in group.origins.tolist()]
    return [(gateway, incarnation, frame) for gateway, _, _, incarnation, frame in rows if gateway]


def test_a_gateway_that_floods_does_not_keep_another_waiting(pair: Pair, ends: list[GatewayEnd]) -> None:
    flooding, other = ends
    crowd = Crowd(2)
    frames = [crowd.orders(64) for _ in range(900)]
    for rows in frames:
        flooding.send(rows)
    other.send(Crowd(3).log_on(3))
    pair.drive(lambda: other.hear() == 2)
    assert flooding.hear() < 700, "one frame of each in turn"
    pair.drive(lambda: flooding.hear() == 901)


def test_a_silent_gateway_is_fenced_and_the_fence_holds_after_a_restart(
    pair: Pair, ends: list[GatewayEnd], context: Context
) -> None:
    speaking, silent = ends
    live(pair, [speaking], PATIENCE_MS - 200)
    silent.send(Crowd(3).log_on(3))
    pair.drive(lambda: silent.hear() == 2)
    live(pair, [speaking], PATIENCE_MS - 200)
    assert not is_fenced(silent), "any frame says that it lives"
    live(pair, [speaking], 500)
    pair.drive(lambda: is_fenced(silent))
    silent.send(Crowd(4).log_on(4))
    live(pair, [speaking], 200)
    assert silent.hear() == 0, "never acknowledged"
    pair.stop_sequencer(crash=True)
    pair.start_sequencer()
    silent.acks.clear()
    silent.send(Crowd(4).log_on(4), number=3)
    pair.drive(lambda: is_fenced(silent))
    again = GatewayEnd(context, pair.config, 2, incarnation=2)
    again.send(Crowd(4).log_on(4))
    pair.drive(lambda: again.hear() == 1)
    again.close()
    pair.settle()
    pair.stop()
    assert origins(pair) == [(1, 1, 1), (2, 1, 1), (2, 1, 2), (2, 1, LOST), (2, 2, 1)]
    kinds = [shown.kind for shown in journal.show(pair.config.journal_dir) if shown.gateway]
    assert kinds.count(CommandKind.GATEWAY_LOST.name) == 1


def test_a_sequencer_that_was_stopped_blames_nobody(pair: Pair, ends: list[GatewayEnd]) -> None:
    assert pair.sequencer is not None
    pair.clock.turn(60_000)
    for _ in range(5):
        pair.sequencer.do_work()  # nothing that was sent meanwhile has come in yet
    for end in ends:
        beat(end)
    live(pair, ends, PATIENCE_MS + 500)
    assert not any(is_fenced(end) for end in ends)


def test_what_waits_unread_counts_as_heard(pair: Pair, ends: list[GatewayEnd]) -> None:
    speaking, other = ends
    live(pair, [speaking], PATIENCE_MS - 200)
    heard = len(speaking.acks)
    beat(other)
    assert pair.sequencer is not None
    assert pair.sequencer.inputs()[0].poll(5_000)
    pair.clock.turn(400)
    pair.drive(lambda: speaking.hear() and len(speaking.acks) > heard)
    assert not is_fenced(other)


def test_while_nothing_is_read_nobody_is_judged(
    pair: Pair, ends: list[GatewayEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is full for long: what the gateways say waits in the intake."""
    sequencer = pair.sequencer
    assert sequencer is not None
    monkeypatch.setattr(type(sequencer), "_drain_intake", lambda self: 0)
    sequencer._heard_all = False
    for _ in range(100):
        pair.clock.turn(100)
        sequencer.do_work()
    monkeypatch.undo()
    for end in ends:
        beat(end)
    live(pair, ends, 1_000)
    assert not any(is_fenced(end) for end in ends)


def test_a_broken_gateway_is_lost_and_named(
    pair: Pair, ends: list[GatewayEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    assert pair.sequencer is not None
    object.__setattr__(pair.sequencer._host, "notify", lambda **fields: said.append(fields.get("STATUS", "")))
    rows = Crowd(3).log_on(3)
    rows["extensions"] = 1
    ends[1].send(rows)
    pair.drive(lambda: is_fenced(ends[1]))
    assert any(line.startswith("gateway 2 sent frame 2, which is not well-formed") for line in said)
    ends[0].send(Crowd(3).log_on(4))
    pair.drive(lambda: ends[0].hear() == 2)
