"""A broker in the middle: the words of both protocols, cut anywhere; each server that is installed, for a moment; and
what is said of one that is not. Nothing is said here of times."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perf import brokers
from perf.brokers import BROKERS, Broken, Link, Missing, NatsLink, RedisLink, run_broker
from perf.load import Plan

PLAN = Plan(rate_per_s=2_000, seconds=0.1, warmup_s=0.05)
REDIS = (
    b"$3\r\n1-0\r\n"
    b"*1\r\n*2\r\n$6\r\norders\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$4\r\na\r\nb\r\n"
    b"*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nc\r\n"
    b"*3\r\n$7\r\nmessage\r\n$6\r\nevents\r\n$2\r\n\r\n\r\n"
    b":2\r\n$3\r\n1-1\r\n"
)
NATS = (
    b"MSG _INBOX 1 7\r\n{stored\r\nMSG orders 2 $JS.ACK.x 4\r\na\r\nb\r\nPING\r\n"
    b"MSG orders 2 1\r\nc\r\nMSG events 2 2\r\n\r\n\r\nMSG _INBOX 1 2\r\n{}\r\n"
)


def heard(link_type: type[Link], pieces: list[bytes]) -> tuple[list[bytes], int, bytes]:
    """What a link makes of it: the data, how many entries were stored, what it said itself."""
    ours, theirs = socket.socketpair()
    link = object.__new__(link_type)
    link._socket, link._going, link._came, link.fd = ours, bytearray(), bytearray(), ours.fileno()
    ours.setblocking(False)
    data, stored = list[bytes](), 0
    with ours, theirs:
        for piece in pieces:
            theirs.sendall(piece)
            found, more = link.take()
            data, stored = data + found, stored + more
        link.flush()
        theirs.setblocking(False)
        try:
            return data, stored, theirs.recv(1 << 16)
        except BlockingIOError:
            return data, stored, b""


@pytest.mark.parametrize(("link_type", "said"), [(RedisLink, REDIS), (NatsLink, NATS)])
def test_messages_come_whole_wherever_they_are_cut(link_type: type[Link], said: bytes) -> None:
    whole = heard(link_type, [said])
    assert whole[:2] == ([b"a\r\nb", b"c", b"\r\n"], 2)
    for at in range(1, len(said)):
        assert heard(link_type, [said[:at], said[at:]]) == whole
    assert heard(link_type, [said[at : at + 1] for at in range(len(said))]) == whole


def test_redis_is_asked_for_what_follows_the_last_entry() -> None:
    asked = heard(RedisLink, [REDIS])[2]
    assert asked.startswith(b"*8\r\n$5\r\nXREAD\r\n")
    assert asked.endswith(b"$3\r\n1-1\r\n")


def test_nats_is_answered_when_it_asks_who_is_there() -> None:
    assert heard(NatsLink, [NATS])[2] == b"PONG\r\n"


@pytest.mark.parametrize(
    ("link_type", "said"),
    [
        (RedisLink, b"-MISCONF no room\r\n"),
        (NatsLink, b"-ERR 'Maximum Payload Violation'\r\n"),
        (NatsLink, b'MSG _INBOX 1 22\r\n{"error":{"code":503}}\r\n'),
    ],
)
def test_what_a_server_complains_of_ends_the_run(link_type: type[Link], said: bytes) -> None:
    with pytest.raises(Broken):
        heard(link_type, [said])


@pytest.mark.parametrize("name", BROKERS)
def test_every_order_comes_back_and_is_shown(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("b")  # a short path: it holds sockets
    try:
        result, _ = run_broker(name, PLAN, folder)
    except Missing as missing:
        pytest.skip(str(missing))
    assert result.counts["answered"] == result.counts["shown"] == PLAN.measured
    assert "lost" not in result.void
    assert (folder / "events.log").stat().st_size == PLAN.orders * 128


def test_a_server_that_is_missing_is_named_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def none(name: str, **_: object) -> None:
        return None

    monkeypatch.setattr("shutil.which", none)
    monkeypatch.setattr(brokers, "describe_disk", lambda path: {"filesystem": "ext4", "sync_p50_us": 100.0})
    monkeypatch.setattr(sys, "argv", ["brokers", "--json", "--dir", str(tmp_path)])
    main: Callable[[], int] = brokers.main
    assert main() == 0
    found = json.loads(capsys.readouterr().out)
    for name, package in (("redis", "redis-server"), ("nats", "nats-server")):
        assert found[name] == {"missing": f"{package} is not installed: apt-get install {package}"}
    assert not list(tmp_path.iterdir()), "nothing is left behind"
