"""The exchange under open-loop load: a run of it, from its start in an empty folder to the judgement of its journal.

    generator --DEALER--> gateway -> sequencer (journal, fdatasync) -> matcher -> publisher --XPUB--> subscriber
              <--reports---+<-------------------------------------------+             (its own process)

The parts are the processes that `zmx up` starts; generator and subscriber are processes of their own. The flow is that
of perf/workload.py, with replaces in it: one session, which is on both sides of every trade, so that every event is a
report of its own. A run is worth nothing (`Result.void`) when an order was refused, lost or answered twice, when the
subscriber missed market data, when the generator was late, or when the journal, verified and replayed here, does not
give the events that the matcher gave.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import zmq

from components.engine.compiled import CompiledEngine
from perf.apart import Apart, Told
from perf.load import Plan, Result, Trace, Void, exact_timers, first_shown, generate, result_of
from perf.stages import Stages
from perf.traders import last_pulse
from perf.workload import mixed
from run import journal
from run.client.sync import Broker
from run.clock import SystemClock
from run.config import Config, Gateway, Place, default
from run.market import Instrument, Party
from run.sockets import connect, try_receive
from run.supervisor import Exchange
from run.topology import MARKET, ORDERS
from wire.dtypes import COMMAND
from wire.enums import EventKind
from wire.frames import MARKET_FRAME
from wire.reasons import explain

REPLACES: Final = 1 / 7  # of the cancels: 5 % of the flow
SYMBOL: Final = "S1"
TOPIC: Final = b"l2." + SYMBOL.encode()
_PULSE: Final = b"heartbeat"
_QUEUE: Final = 100_000  # market frames that wait for the subscriber
_PATIENCE_S: Final = 60.0  # for what is under way when the load ends: the publisher may be far behind
_STANDING_FRAME: Final = 1_024


def configured(folder: Path) -> Config:
    """An exchange in `folder` with the market of perf/workload.py: one instrument, one account, one session."""
    ready = default()
    instrument = Instrument(
        symbol=1,
        name=SYMBOL,
        price_scale=0,
        qty_scale=0,
        quote_scale=0,
        max_price=str(1 << 30),
        min_qty="1",
        max_qty=str(1 << 30),
        protection="1000",
        bands=[{"from": "0", "tick": "1", "lot": "1"}],
    )
    return dataclasses.replace(
        ready,
        place=Place(str(folder / "run"), str(folder / "data")),
        gateway=(Gateway(tcp=""),),
        publisher=dataclasses.replace(ready.publisher, tcp="", snapshots_tcp=""),
        supervisor=dataclasses.replace(ready.supervisor, max_restarts=0, spares=False),
        instrument=(instrument,),
        account=(Party(1, 1, "ACCOUNT-1"),),
        session=(Party(1, 1, "SESSION-1"),),
    )


@functools.lru_cache(maxsize=1)
def flow(plan: Plan) -> np.ndarray:
    """COMMAND[standing + orders]: the standing book, then the plan's orders; refs from 1. Kept for the next run."""
    return mixed(plan.orders, standing=plan.standing, seed=plan.seed, replaces=REPLACES)


# ------------------------------------------------------------------------------------------------ the generator


class BrokerTransport:
    """A plan's orders over a broker's session. What the reports say beside the time is kept for after the run."""

    def __init__(self, broker: Broker, rows: np.ndarray, plan: Plan) -> None:
        """`rows` are the plan's orders, their refs contiguous."""
        self._broker = broker
        self._rows = rows
        self._clock = SystemClock()
        self._first_ref = int(rows["client_ref"][0])
        self._next_ref = self._first_ref
        self._last_report = broker.last_report
        self.event_seq = np.zeros(plan.orders, np.int64)
        self.stages = Stages()
        self.rejected = 0

    def send(self, first: int, count: int, planned_ns: int) -> None:
        """See Transport. A frame has one stamp."""
        self._broker.send(self._rows[first : first + count], planned_ns=planned_ns)

    def receive(self) -> tuple[np.ndarray, int]:
        """See Transport. An order's answer is the first report with its ref; commands act in the order of refs."""
        self._broker.poll()
        events = self._broker.core.take_reports()
        here_ns = self._clock.monotonic_ns()
        if not events.size:
            return _NOTHING, here_ns
        if self._broker.last_report != self._last_report + events.size:
            self._refused(events)
        self._last_report = self._broker.last_report
        self.rejected += int(np.count_nonzero(events["kind"] == _REJECTED))
        highest = np.maximum.accumulate(events["request_ref"])
        refs = np.arange(self._next_ref, highest[-1] + 1)
        answers = np.searchsorted(highest, refs)
        orders = refs - self._first_ref
        self.event_seq[orders] = events["seq"][answers]
        self._next_ref += refs.size
        self.stages.record(self._broker.core.take_stamps(), answers, self._next_ref - self._first_ref, here_ns)
        return orders, here_ns

    def wait(self, timeout_ns: int) -> None:
        """See Transport."""
        self._broker.wait(timeout_ns / 1e9)

    def told_once(self) -> bool:
        """Whether every order was answered by an event of its own: one that is missing shares the next one's."""
        return bool(np.all(np.diff(self.event_seq) > 0))

    @staticmethod
    def _refused(events: np.ndarray) -> None:
        """Some of these have no report number: they were never sequenced."""
        refused = events[events["report_seq"] == 0]
        if not refused.size:
            raise Void("reports are missing, or came twice")
        raise Void(f"{refused.size:,} orders were refused: {explain(int(refused['reason'][0]))}")


_REJECTED: Final = int(EventKind.REJECTED)  # an enumeration is slow to ask
_NOTHING: Final = np.empty(0, np.int64)


def send_all(told: Told, plan: Plan, endpoint: str, rows_file: str) -> Trace:
    """The generator's process: log on, enter the standing book, say that it stands, and once told to, run the plan."""
    rows = np.load(rows_file).view(COMMAND)
    exact_timers()
    with Broker(endpoint, session=1, account=1, window=len(rows) + 1, timeout_s=_PATIENCE_S) as broker:
        standing = rows[: plan.standing]
        for start in range(0, len(standing), _STANDING_FRAME):
            broker.send(standing[start : start + _STANDING_FRAME])
            if not broker.drained(_PATIENCE_S):
                raise TimeoutError(f"the standing book was not entered within {_PATIENCE_S:g} s")
        broker.receive(0)
        told.say("ready")
        told.hear()
        reports = broker.last_report
        transport = BrokerTransport(broker, rows[plan.standing :], plan)
        trace = generate(plan, transport, SystemClock())
        trace.event_seq = transport.event_seq
        trace.stages = transport.stages.taken(plan, trace.start_ns)
        trace.counts = {"rejected": transport.rejected, "reports": broker.last_report - reports}
        if not trace.void and not transport.told_once():
            trace.void = "some orders were answered by another one's report"
        return trace


# ------------------------------------------------------------------------------------------------ the subscriber


def watch(told: Told, endpoint: str) -> tuple[dict[str, np.ndarray], str]:
    """The subscriber's process: note each entry's event and when it came, up to the event that it is told at the end.

    Returns `event_seq` and `received_ns` of every entry in order, and what was missed, if anything. Keeps 16 bytes an
    entry.
    """
    clock = SystemClock()
    events: list[np.ndarray] = []
    frames_ns: list[int] = []
    next_entry = last_seq = heard_seq = 0
    void = ""
    with zmq.Context() as context:
        sub = connect(context, MARKET, endpoint, _QUEUE, [TOPIC, _PULSE])
        try:
            poller = zmq.Poller()
            poller.register(sub, zmq.POLLIN)
            poller.register(told.fileno(), zmq.POLLIN)
            ready, end_ns = False, 0
            while not last_seq or (heard_seq < last_seq and clock.monotonic_ns() < end_ns):
                poller.poll(100)
                while (parts := try_receive(sub)) is not None:
                    batch = MARKET_FRAME.decode(parts[1])
                    here_ns = clock.monotonic_ns()
                    heard_seq = int(batch.head["event_seq"][0])
                    entries = batch["levels"]
                    if entries.size:
                        first = int(batch.head["first_seq"][0])
                        if next_entry and first != next_entry:
                            void = f"the subscriber missed market data: entries {next_entry} to {first - 1}"
                        next_entry = first + entries.size
                        events.append(entries["event_seq"].copy())
                        frames_ns.append(here_ns)
                    if not ready:
                        ready = True
                        told.say("ready")
                if told.told():
                    last_seq = told.hear()
                    end_ns = clock.monotonic_ns() + int(_PATIENCE_S * 1e9)
        finally:
            sub.close()
    if heard_seq < last_seq:
        void = f"the subscriber heard of events up to {heard_seq:,} of {last_seq:,} within {_PATIENCE_S:g} s"
    seqs = np.concatenate(events) if events else _NOTHING
    came_ns = np.repeat(np.array(frames_ns, np.int64), [each.size for each in events])
    return {"event_seq": seqs, "received_ns": came_ns}, void


# ------------------------------------------------------------------------------------------------ a run


def run_exchange(plan: Plan, config: Config) -> Result:
    """Start an exchange by `config`, in a folder that is empty; load it; stop it; judge it.

    Raises what starting an exchange raises; that the run proves nothing is said by the result.
    """
    rows = flow(plan)
    config.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="flow-", suffix=".npy", dir=config.data_dir) as file:
        np.save(file, rows.view(np.uint8))
        file.flush()
        with (
            Exchange(config, log_dir=config.data_dir / "log") as exchange,
            Apart(watch, MARKET.endpoint(exchange.config.runtime_dir), timeout_s=_PATIENCE_S + 30) as watcher,
            Apart(
                send_all,
                plan,
                ORDERS.at(1).endpoint(exchange.config.runtime_dir),
                file.name,
                timeout_s=plan.warmup_s + plan.seconds + _PATIENCE_S + 30,
            ) as generator,
        ):
            exchange.wait_ready("follower")  # its start is no load of a running exchange
            generator.hear()
            watcher.hear()
            generator.tell("go")
            trace = generator.result()
            if trace.void:
                return result_of(plan, trace)
            pulse = last_pulse(exchange.config)
            watcher.tell(pulse.event_seq)
            market, void = watcher.result()
    void = "; ".join(filter(None, (void, _disagreement(plan, config, pulse.event_hash))))
    return result_of(plan, trace, first_shown(trace, market), void)


def _disagreement(plan: Plan, config: Config, event_hash: int) -> str:
    """What the journal says that the matcher and the plan do not, if anything."""
    engine = CompiledEngine(expected_orders=config.matcher.expected_orders)
    report = journal.replay(config.journal_dir, engine)
    if report.event_hash != event_hash:
        return f"the journal gives event hash {report.event_hash}, the matcher said {event_hash}"
    wanted = plan.standing + plan.orders
    return "" if report.commands >= wanted else f"the journal has {report.commands:,} commands, {wanted:,} were sent"
