"""The supervisor over small programs that stand for parts: order, readiness, restarts, giving up, stopping."""

import contextlib
import dataclasses
import os
import queue
import selectors
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from run import config, supervisor
from run.config import Config
from run.sockets import RuntimeDirInUse
from run.supervisor import Exchange, ExchangeFailed, News, State, parts_of
from tests.run.test_hlog import lines

# A part that serves until SIGTERM: blocked in the kernel, as a real one is when idle.
SERVES = """
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    notify(STATUS="replaying")
    notify(READY=1)
    signal.sigwait([signal.SIGTERM])
"""
CANNOT_RUN = """
    print("the journal is not ours", flush=True)
    raise SystemExit(3)
"""
FAILS = "raise SystemExit(9)"
SPEAKS = """
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    notify(READY=1)
    notify(STATUS="the disk is full")
    signal.sigwait([signal.SIGTERM])
"""
DEAF = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    notify(READY=1)
    signal.sigwait([signal.SIGUSR1])
"""
# A part that can be a spare: it loads nothing, and then is the part or waits to be.
HAS_SPARE = (
    """
    from run.supervisor import wait_as_spare
    wait_as_spare()
"""
    + SERVES
)
DEADLINE_S = 20.0


@pytest.fixture
def small(tmp_path: Path) -> Config:
    place = config.Place(str(tmp_path / "run"), str(tmp_path / "data"))
    limits = config.Supervisor(grace_ms=5_000, restart_ms=1, max_restarts=3, spares=False)
    return dataclasses.replace(config.default(), place=place, supervisor=limits)


class Watched(Exchange):
    """An exchange of programs, and its news as a queue."""

    def __init__(self, settings: Config, **programs: str) -> None:
        self.news: queue.Queue[News] = queue.Queue()
        self.programs = programs
        super().__init__(settings, self.news.put, settings.runtime_dir / "log", self.program)

    def program(self, part: str, config_file: Path) -> list[str]:
        program = textwrap.dedent(self.programs.get(part.partition("-")[0], SERVES))
        return [sys.executable, "-P", "-c", f"from run.notify import notify\n{program}"]

    def next(self, part: str, state: State) -> str:
        while True:
            news = self.news.get(timeout=DEADLINE_S)
            if (news.part, news.state) == (part, state):
                return news.text


def states(exchange: Watched) -> list[tuple[str, State]]:
    seen = []
    with contextlib.suppress(queue.Empty):
        while True:
            news = exchange.news.get_nowait()
            if news.text != "replaying":
                seen.append((news.part, news.state))
    return seen


def test_parts_start_in_order_and_stop_in_reverse(small: Config) -> None:
    with Watched(small) as exchange:
        exchange.wait_ready("follower", DEADLINE_S)  # nobody else waits for it
        assert all(exchange.pid(part) for part in exchange.parts)
        begun = states(exchange)
    assert begun == [(part, state) for part in exchange.parts for state in (State.STARTING, State.READY)]
    assert states(exchange) == [(part, State.STOPPED) for part in reversed(exchange.parts)]
    assert not list(small.runtime_dir.glob("notify-*")), "nothing is left behind"


def test_every_gateway_is_a_part(small: Config) -> None:
    several = dataclasses.replace(small, gateway=(config.Gateway(), config.Gateway(id=12, tcp="")))
    assert parts_of(several) == ("sequencer", "matcher", "gateway-1", "gateway-12", "publisher", "follower")
    assert supervisor._command("gateway-12", Path("file"))[-5:] == ["gateway", "--id", "12", "--config", "file"]
    with Watched(several) as exchange:
        exchange.kill("gateway-12")
        exchange.wait_ready("gateway-12", DEADLINE_S)
        assert exchange.next("gateway-12", State.DIED) == "was ended by SIGKILL; restart 1 of at most 3"


def test_what_a_part_says_while_it_serves_is_passed_on(small: Config) -> None:
    with Watched(small, matcher=SPEAKS) as exchange:
        assert exchange.next("matcher", State.READY).startswith("ready in ")
        assert exchange.next("matcher", State.READY) == "the disk is full"


def test_a_part_that_is_killed_is_started_again(small: Config) -> None:
    with Watched(small) as exchange:
        exchange.wait_ready("follower", DEADLINE_S)
        before = {part: exchange.pid(part) for part in exchange.parts}
        exchange.kill("matcher")
        exchange.wait_ready("matcher", DEADLINE_S)
        after = {part: exchange.pid(part) for part in exchange.parts}
        assert exchange.next("matcher", State.DIED) == "was ended by SIGKILL; restart 1 of at most 3"
    assert [part for part in exchange.parts if before[part] != after[part]] == ["matcher"]


@pytest.fixture
def with_spares(small: Config) -> Config:
    return dataclasses.replace(small, supervisor=dataclasses.replace(small.supervisor, spares=True))


ROLES = ("sequencer", "matcher", "gateway", "publisher", "follower")


def test_a_spare_takes_over_and_is_followed_by_another(with_spares: Config) -> None:
    with Watched(with_spares, **dict.fromkeys(ROLES, HAS_SPARE)) as exchange:
        for _ in range(2):
            spare = exchange.wait_spare("matcher", DEADLINE_S)
            exchange.kill("matcher")
            exchange.wait_ready("matcher", DEADLINE_S)
            assert exchange.pid("matcher") == spare
        spares = [exchange.wait_spare(part, DEADLINE_S) for part in exchange.parts]
        assert len({*spares, *map(exchange.pid, exchange.parts)}) == 2 * len(exchange.parts)
    for spare in spares:
        with pytest.raises(ProcessLookupError):
            os.kill(spare, 0)


def test_a_spare_that_died_is_no_loss(with_spares: Config) -> None:
    with Watched(with_spares, **dict.fromkeys(ROLES, HAS_SPARE)) as exchange:
        spare = exchange.wait_spare("matcher", DEADLINE_S)
        with open(f"/proc/{spare}/stat") as alive, contextlib.suppress(ProcessLookupError):  # or reaped already
            os.kill(spare, signal.SIGKILL)
            while alive.read().split()[2] not in "ZX":
                alive.seek(0)
        exchange.kill("matcher")
        exchange.wait_ready("matcher", DEADLINE_S)
        assert exchange.pid("matcher") != spare
        assert exchange.wait_spare("matcher", DEADLINE_S) != spare


def test_nobody_waits_for_the_follower(small: Config) -> None:
    with Watched(small, follower="import signal; signal.sigwait([signal.SIGTERM])") as exchange:
        assert exchange.next("publisher", State.READY)


def test_a_part_that_keeps_dying_ends_the_exchange(small: Config) -> None:
    exchange = Watched(small, matcher=FAILS)
    with pytest.raises(ExchangeFailed, match="matcher exited with status 9, 4 times in 60 s"):
        exchange.start()
    seen = states(exchange)
    assert seen.count(("matcher", State.STARTING)) == 4
    assert seen[-1] == ("sequencer", State.STOPPED), "what had started is stopped"
    assert "gateway-1" not in {part for part, _ in seen}


def test_one_that_dies_later_too_often_ends_the_wait(small: Config) -> None:
    with Watched(small) as exchange:
        for _ in range(3):
            exchange.kill("gateway-1")
            exchange.wait_ready("gateway-1", DEADLINE_S)
        exchange.kill("gateway-1")
        with pytest.raises(ExchangeFailed, match="gateway-1 was ended by SIGKILL, 4 times"):
            exchange.wait()


def test_a_part_that_says_what_must_be_done_is_not_started_again(small: Config) -> None:
    exchange = Watched(small, sequencer=CANNOT_RUN)
    with pytest.raises(ExchangeFailed, match="sequencer cannot run: the journal is not ours"):
        exchange.start()
    assert states(exchange) == [("sequencer", State.STARTING), ("sequencer", State.STOPPED)]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (CANNOT_RUN, "clerk cannot run: the journal is not ours"),
        (FAILS, "clerk exited with status 9, 4 times in 60 s"),
    ],
)
def test_the_exchange_goes_on_without_its_clerk(with_spares: Config, program: str, why: str) -> None:
    kept = dataclasses.replace(with_spares, clerk=config.Clerk(database="sqlite"))
    with Watched(kept, **{**dict.fromkeys(ROLES, HAS_SPARE), "clerk": program}) as exchange:
        assert exchange.next("clerk", State.GIVEN_UP) == f"{why}. The exchange goes on without it"
        with pytest.raises(ExchangeFailed, match="clerk is not started again"):
            exchange.wait_ready("clerk", DEADLINE_S)
        spare = exchange.wait_spare("publisher", DEADLINE_S)
        exchange.kill("publisher")
        exchange.wait_ready("publisher", DEADLINE_S)
        assert exchange.pid("publisher") == spare
        assert exchange.pid("clerk") is None
    assert ("clerk", State.STARTING) not in states(exchange)


def test_a_part_that_does_not_stop_is_killed(small: Config) -> None:
    limits = dataclasses.replace(small.supervisor, grace_ms=1)
    with Watched(dataclasses.replace(small, supervisor=limits), gateway=DEAF) as exchange:
        pass
    assert exchange.next("gateway-1", State.STOPPED) == "was ended by SIGKILL"


def test_a_stopped_process_still_stops(small: Config) -> None:
    with Watched(small) as exchange:
        exchange.kill("publisher", signal.SIGSTOP)
    assert exchange.next("publisher", State.STOPPED) == ""


def test_a_second_exchange_in_the_same_place_is_refused(small: Config) -> None:
    with Watched(small) as exchange:
        with pytest.raises(RuntimeDirInUse, match="another exchange is running there"):
            Watched(small).start()
        assert exchange.pid("matcher"), "the first one is unharmed"
    with Watched(small):
        pass


def test_parts_die_with_whoever_started_them(small: Config, tmp_path: Path) -> None:
    """The parent is killed -9; its part, which watches for that, is gone soon after."""
    program = f"""
        import os, signal, subprocess, sys
        part = "import signal; from run.supervisor import follow_parent as f; f(); print(flush=True); signal.pause()"
        os.environ["{supervisor._PARENT}"] = str(os.getpid())
        child = subprocess.Popen([sys.executable, "-P", "-c", part], stdout=subprocess.PIPE)
        child.stdout.readline()
        print(child.pid, flush=True)
        signal.pause()
    """
    with ended(program) as (parent, first_line):
        pidfd = os.pidfd_open(int(first_line))
        parent.kill()
        with selectors.DefaultSelector() as selector:
            selector.register(pidfd, selectors.EVENT_READ)
            assert selector.select(DEADLINE_S), "the part outlived its parent"
        os.close(pidfd)


def test_a_part_whose_parent_is_gone_already_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(supervisor._PARENT, "1")
    program = "from run.supervisor import follow_parent; follow_parent()"
    answer = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (1, "the supervisor that started this part is gone\n")


@contextlib.contextmanager
def ended(program: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program in a process of its own, once it has said one line; it is gone afterwards."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(program)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# A part that counts an order before it is ready, and two when it is asked to stop.
COUNTS = """
    import os, signal, sys
    from pathlib import Path
    from run import kernelcache
    kernelcache.activate()
    import numpy as np
    from run.latency import STAGES, SharedRecorder
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    recorder = SharedRecorder(Path(os.environ["NOTIFY_SOCKET"]).parent, "sequencer", STAGES["sequencer"])
    recorder.record(0, np.array([1_000]))
    notify(READY=1)
    signal.sigwait([signal.SIGTERM])
    recorder.record(0, np.array([2_000, 2_000]))
    recorder.close()
"""


def test_what_parts_count_is_logged_to_the_end(small: Config) -> None:
    settings = dataclasses.replace(small, latency=config.Latency(interval_ms=3_600_000))
    with Watched(settings, sequencer=COUNTS):
        pass
    found = [(tag, each.total_count) for tag, _, _, each in lines(small.latency_dir / "latency-0000000001.hlog")]
    assert found == [("sequencer.gateway_to_sequenced", 1), ("sequencer.gateway_to_sequenced", 2)]


def test_no_latency_is_logged_unless_wanted(small: Config) -> None:
    settings = dataclasses.replace(small, latency=config.Latency(log=False, interval_ms=3_600_000))
    before = set(threading.enumerate())
    with Watched(settings) as exchange:
        assert exchange._latency_log is None
        assert "latency log" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_a_latency_log_without_a_place_is_said_and_stops_nothing(small: Config) -> None:
    settings = dataclasses.replace(small, latency=config.Latency(interval_ms=3_600_000))
    small.latency_dir.parent.mkdir(parents=True)
    small.latency_dir.write_text("in the way")
    with Watched(settings, sequencer=COUNTS) as exchange:
        assert "latencies are not logged" in exchange.next("latency log", State.READY)
