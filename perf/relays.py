"""The processes of the floor: what is left of each part of the exchange when it only carries bytes.

The same links (run/topology.py), socket types, options and queues (run/sockets.py, the configuration's), the same loop
and idle wait (run/loop.py), processors (run/pinning.py), record sizes, heartbeats and bounds of what is joined. Nothing
is decoded, checked, hashed, numbered or kept for a second try; perf/floor.py says what that leaves out.

    generator --orders--> gateway --intake--> sequencer: journal, fdatasync --commands--> matcher: event file
        ^                  |  ^  ^                |                                          |
        +-----reports------+  |  +-----acks-------+                                          |
                              +------------------------------events--------------------------+--> publisher
                                                                                             |        +--> subscriber
                                                                                             +--> follower: journal

A message is a head, as many bytes as the exchange's head of that link, and rows. What waits is put row behind row into
one buffer that is the next message (`Joined`). A matched row is the command's 64 bytes and zeros up to the size of an
event, so that a generator finds its refs in it. The gateway routes reports by the order in which it passed commands on:
it needs to look at no row.

Messages that find no room wait in their buffer, and what would come behind them waits in the queues before; only what a
PUB drops is lost, and the generator misses it.

What makes them fast, and what did not. First us from receiving to sending within one process (lower quartile, medians
of three; taken while others computed on both cores, so compare within a column):

    messages x rows                        1 x 1    8 x 1   8 x 64   2 x 1,024   2 x 4,096
    recv, copied into one buffer (kept)      3.8     14.6     21.7        21.8        66.3
    recv, b"".join, without a method         2.8     10.9     13.3        18.9        61.0
    recv_into the buffer, heads put back     4.1     19.9     21.2        19.4        55.4
    frames, copy=False both ways             4.4     19.2     19.8        19.9        37.9
    recv_multipart, send_multipart           6.7     29.6     23.1        24.8        72.5

Up to 1,024 rows all but the last are within about 1 us a message of each other, of the hundreds that an order takes.
Frames win at 256 KiB, which is some 250 messages a second at a million orders, and pay with a thread of pyzmq's that
frees what was sent.

- One part where the exchange sends topic and frame: the topic leads the head.
- A duty cycle that left nothing behind says 0, so that the loop waits at once. Where it says how many messages there
  were, the loop looks at every socket again, 7 us for an empty one: p50 3.5 to 3.9 ms instead of 2.5 to 3.1, at 10,000
  orders/s, three runs each in turn, under the load of that hour.
- A wait that acknowledgements don't end, and passing a group on before it is acknowledged: no difference that could be
  told from noise; they stayed as the exchange has them.
"""

from __future__ import annotations

import argparse
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import zmq

from run.cli.part import Stop, drive
from run.config import Config, load
from run.host import Host
from run.journalwriter import JournalWriter
from run.loop import Agent
from run.memory import keep_freed_memory
from run.records import segments
from run.sockets import bind, connect, why_not_sent
from run.storage import Data, File, Storage, write_all
from run.supervisor import follow_parent
from run.topology import ACKS, COMMANDS, EVENTS, EVENTS_TOPIC, INTAKE, MARKET, ORDERS, PULSE_TOPIC
from wire.constants import MAX_BATCH
from wire.dtypes import COMMAND, EVENT, LEVEL_DELTA, MARK, ORIGIN
from wire.frames import ACK, BROKER_FRAME, EVENT_FRAME, GATEWAY_FRAME, GROUP, MARKET_FRAME, REPORT_FRAME

# Bounds of what one duty cycle takes, as in run/parts (tests/perf/test_floor.py compares); others are settings.
ACKS_TAKEN: Final = 256
EVENT_FRAMES: Final = 64
EVENTS_TAKEN: Final = 8_192
GROUPS_TAKEN: Final = 64
EVENTS_JOINED: Final = 2_048
MARKS_DUE: Final = 512  # groups between two pulses, at most
COMMANDS_QUEUE: Final = 256
EVENTS_QUEUE: Final = 256  # the publisher's
PULSE_QUEUE: Final = 1_000

_MIB: Final = 1 << 20
_MS: Final = 1_000_000
_NUMBER: Final = struct.Struct("<q")
_COUNT: Final = struct.Struct("<i")
_ROOM: Final = 256  # in front of the first row: every head fits
_WORD: Final = 8

REF_WORD: Final = COMMAND.fields["client_ref"][1] // _WORD  # type: ignore[index] # of a row, on its whole way
MARKET_ROW: Final = LEVEL_DELTA.itemsize  # about one level changes for each order
COMMAND_WORDS: Final = COMMAND.itemsize // _WORD
MARKET_WORDS: Final = MARKET_ROW // _WORD
assert REF_WORD < MARKET_WORDS


def _head(frame: bytes, topic: bytes = b"") -> bytes:
    """A head in place of `frame` and its list's tag, led by the topic that the exchange sends as a part of its own."""
    return topic.ljust(_WORD, b"\0")[: _WORD if topic else 0] + frame + bytes(_WORD)


ORDERS_HEAD: Final = _head(BROKER_FRAME.encode({}))
REPORTS_HEAD: Final = _head(REPORT_FRAME.encode({}))
_INTAKE_HEAD: Final = _head(GATEWAY_FRAME.encode({}))
_GROUP_HEAD: Final = _head(GROUP.encode({})) + bytes(_WORD + ORIGIN.itemsize)
_EVENTS_HEAD: Final = _head(EVENT_FRAME.encode({}), EVENTS_TOPIC)
_PULSE_HEAD: Final = _head(EVENT_FRAME.encode({}), PULSE_TOPIC)
_PULSE: Final = PULSE_TOPIC[0]  # no other head begins so
_ACK_TOPIC: Final = (1).to_bytes(2, "little")
_ACK: Final = _ACK_TOPIC.ljust(_WORD, b"\0") + ACK.encode({})
MARKET_HEAD: Final = _head(MARKET_FRAME.encode({}), b"l2.")
MARKET_TOPIC: Final = b"l2."


def _at(frame_dtype: np.dtype[np.void], field: str) -> int:
    """Where a field of a frame's head stands in the frame."""
    assert frame_dtype.fields is not None
    return 16 + int(frame_dtype.fields[field][1])


# The three numbers that a relay needs: the journal's writer names files by the first, the gateway has a bound of
# commands that are not acknowledged, and the follower reads as many bytes of the journal as the matcher has taken.
_FIRST_SEQ: Final = _at(GROUP.head_dtype, "first_seq")
_GROUP_COUNT: Final = _at(GROUP.head_dtype, "count")
_ACKED: Final = _WORD + _at(ACK.head_dtype, "last_seq")
_MATCHED_BYTES: Final = _WORD + _at(EVENT_FRAME.head_dtype, "command_seq")


class Joined:
    """Rows of messages, one behind another in one buffer, with room for a head in front."""

    def __init__(self, head: bytes, row_bytes: int, max_rows: int) -> None:
        """Of messages with a head as long as `head`, and at most `max_rows` rows together."""
        self.rows = 0
        self._skip = len(head)
        self._row = row_bytes
        memory = bytearray(_ROOM + row_bytes * max_rows)
        self._buffer = memoryview(memory)
        self._end = _ROOM
        self.words = np.frombuffer(memory, np.int64, offset=_ROOM).reshape(max_rows, row_bytes // _WORD)

    def receive(self, socket: zmq.Socket[bytes]) -> bool:
        """Take the message that waits, or the rest of it; False when none does. A pulse counts, and has no rows."""
        try:
            message = socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return False
        if message[0] != _PULSE:
            begin, end = self._end, self._end + len(message) - self._skip
            assert end <= len(self._buffer), "a message longer than its sender's bound"
            self._buffer[begin:end] = memoryview(message)[self._skip :]
            self._end = end
            self.rows += (end - begin) // self._row
        return True

    def message(self, head: bytes, first: int = 0, count: int | None = None) -> memoryview:
        """The message of `count` rows from row `first` on, else of all behind it; its head covers the rows before."""
        at = _ROOM + first * self._row
        self._buffer[at - len(head) : at] = head
        return self._buffer[at - len(head) : self._end if count is None else at + count * self._row]

    def clear(self) -> None:
        """Begin anew."""
        self.rows, self._end = 0, _ROOM


class Segments:
    """The journal's bytes in their order, for whoever reads behind its writer and looks at none."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._opened = 0  # segments
        self._file: File | None = None
        self._offset = 0

    def read(self, count: int) -> int:
        """Read the next `count` bytes, a mebibyte at a time, or as many as there are; returns how many."""
        read = 0
        while read < count and (self._file is not None or self._next()):
            assert self._file is not None
            got = len(self._file.pread(min(count - read, _MIB), self._offset))
            self._offset, read = self._offset + got, read + got
            if not got and not self._next():
                break
        return read

    def close(self) -> None:
        """Give back the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self) -> bool:
        names = segments(self._storage)
        if len(names) == self._opened:
            return False
        self.close()
        self._file, self._offset = self._storage.open(names[self._opened]), 0
        self._opened += 1
        return True


def _sent(socket: zmq.Socket[bytes], message: Data) -> bool:
    """Send one part without ever blocking; False when the queue is full."""
    try:
        socket.send(message, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def _last(socket: zmq.Socket[bytes], most: int) -> bytes:
    """Take what waits, up to `most` messages; returns the last, empty when none waits."""
    last = b""
    try:
        for _ in range(most):
            last = socket.recv(zmq.NOBLOCK)
    except zmq.Again:
        pass
    return last


class _Relay:
    """What all relays share. `do_work` returns 0 unless it left something behind: all else that comes ends the wait."""

    role_name = ""

    def __init__(self, config: Config, host: Host) -> None:
        self._config = config
        self._host = host
        self._opened = ExitStack()

    def on_close(self) -> None:
        """Close what on_start has opened, however far it came."""
        self._opened.close()

    def _keep(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        self._opened.callback(socket.close)
        return socket

    def _subscribe(self, queue: int, *topics: bytes) -> zmq.Socket[bytes]:
        endpoint = EVENTS.endpoint(self._config.runtime_dir)
        return self._keep(connect(self._host.context, EVENTS, endpoint, queue, topics))


class GatewayRelay(_Relay):
    """orders -> intake, at most `max_unacked` rows not acknowledged; events -> reports, in the order of the orders."""

    role_name = "gateway"

    def on_start(self) -> None:
        """Listen to the others, then to generators."""
        keep_freed_memory()
        config, context = self._config, self._host.context
        settings, where = config.gateway_of(), config.runtime_dir
        self._acks = self._keep(connect(context, ACKS, ACKS.endpoint(where), settings.queue, [_ACK_TOPIC]))
        self._events = self._subscribe(settings.queue, EVENTS_TOPIC, PULSE_TOPIC)
        self._intake = self._keep(connect(context, INTAKE, INTAKE.endpoint(where), settings.queue))
        self._orders = self._keep(bind(context, ORDERS.at(settings.id), where, settings.queue))
        self._slice, self._max_unacked = settings.slice, settings.max_unacked
        self._coming = Joined(ORDERS_HEAD, COMMAND.itemsize, 2 * MAX_BATCH)
        self._going = Joined(_EVENTS_HEAD, EVENT.itemsize, EVENTS_TAKEN + 2 * config.matcher.event_buffer)
        self._reported = 0  # rows of `_going` that have left
        self._turns: deque[tuple[bytes, int]] = deque()  # whose the next rows are, and how many
        self._passed_on = self._acked = 0  # rows
        self._hears_sequencer = self._hears_matcher = False

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """See run/parts/gateway.py."""
        return self._orders, self._acks, self._events

    def do_work(self) -> int:
        """One duty cycle."""
        if ack := _last(self._acks, ACKS_TAKEN):
            self._hears_sequencer = True
            (self._acked,) = _NUMBER.unpack_from(ack, _ACKED)
        more = self._take_events()
        if self._hears_sequencer and self._hears_matcher:  # else what comes of the first order would be missed
            more += self._take_orders()
        return more

    def _take_events(self) -> int:
        """Events are taken when those before have left."""
        going, frames = self._going, 0
        if not going.rows:
            while frames < EVENT_FRAMES and going.rows < EVENTS_TAKEN and going.receive(self._events):
                frames += 1
            self._hears_matcher |= frames > 0
        if going.rows:
            self._report()
        return int(frames == EVENT_FRAMES or going.rows >= EVENTS_TAKEN)

    def _report(self) -> None:
        """Each generator's run of rows in a message; what finds no room is tried again in the next cycle."""
        going, turns = self._going, self._turns
        while (left := going.rows - self._reported) > 0:
            identity, count = turns[0]
            now = min(left, count)
            message = going.message(REPORTS_HEAD, self._reported, now)
            if why_not_sent(self._orders, (identity, message)) == zmq.EAGAIN:
                return
            self._reported += now
            if now == count:
                turns.popleft()
            else:
                turns[0] = (identity, count - now)
        going.clear()
        self._reported = 0

    def _take_orders(self) -> int:
        """Orders are taken when those before have left, and while there is room for a whole message of them."""
        coming, frames = self._coming, 0
        if not coming.rows:
            room = min(self._max_unacked - (self._passed_on - self._acked) - MAX_BATCH, MAX_BATCH - 1)
            while frames < self._slice and coming.rows <= room:
                try:
                    identity = self._orders.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                frames += 1
                before = coming.rows
                coming.receive(self._orders)
                self._note(identity, coming.rows - before)
            self._passed_on += coming.rows
        if coming.rows and _sent(self._intake, coming.message(_INTAKE_HEAD)):
            coming.clear()
        return int(frames == self._slice)

    def _note(self, identity: bytes, rows: int) -> None:
        turns = self._turns
        if turns and turns[-1][0] == identity:
            turns[-1] = (identity, turns[-1][1] + rows)
        else:
            turns.append((identity, rows))


class SequencerRelay(_Relay):
    """intake -> journal, fdatasync -> acks, commands: one group for all that waits, up to `max_group` rows."""

    role_name = "sequencer"

    def on_start(self) -> None:
        """Open the journal with its first segment on disk, then listen."""
        keep_freed_memory()
        config, context = self._config, self._host.context
        settings, where = config.sequencer, config.runtime_dir
        self._journal = JournalWriter(
            self._host.storage(config.journal_dir),
            settings.segment_mib * _MIB,
            settings.policy,
            self._host.background("journal"),
        )
        self._opened.callback(self._journal.close)
        self._journal.open()
        self._rows = 0  # journalled
        self._group = Joined(_INTAKE_HEAD, COMMAND.itemsize, settings.max_group + 2 * MAX_BATCH)
        self._write()
        self._intake = self._keep(bind(context, INTAKE, where, settings.queue))
        self._acks = self._keep(bind(context, ACKS, where, settings.queue))
        self._commands = self._keep(connect(context, COMMANDS, COMMANDS.endpoint(where), COMMANDS_QUEUE))
        self._pulses = self._subscribe(settings.queue, PULSE_TOPIC)
        self._unsent: memoryview | None = None
        self._ack = bytearray(_ACK)
        self._max_group = settings.max_group
        self._beat_ns, self._beats_ns = 0, settings.heartbeat_ms * _MS

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """See run/parts/sequencer.py."""
        return self._intake, self._pulses

    def do_work(self) -> int:
        """One group."""
        group, frames = self._group, 0
        if self._unsent is None:
            while frames < self._max_group and group.rows < self._max_group and group.receive(self._intake):
                frames += 1
            if group.rows:
                self._unsent = self._write()
                self._acknowledge()
        if self._unsent is not None and _sent(self._commands, self._unsent):
            self._unsent = None
            group.clear()
        _last(self._pulses, ACKS_TAKEN)
        now_ns = self._host.clock.monotonic_ns()
        if now_ns >= self._beat_ns:
            self._beat_ns = now_ns + self._beats_ns
            self._acknowledge()
        return int(frames == self._max_group or group.rows >= self._max_group)

    def _write(self) -> memoryview:
        """The group's rows as a record, on disk when this returns."""
        record = self._group.message(_GROUP_HEAD)
        _NUMBER.pack_into(record, _FIRST_SEQ, self._rows + 1)
        _COUNT.pack_into(record, _GROUP_COUNT, self._group.rows)
        self._journal.append(record)
        self._journal.sync()
        self._rows += self._group.rows
        return record

    def _acknowledge(self) -> None:
        _NUMBER.pack_into(self._ack, _ACKED, self._rows)
        _sent(self._acks, self._ack)


class MatcherRelay(_Relay):
    """commands -> event file -> events: a row of an event for each row of a command."""

    role_name = "matcher"

    def on_start(self) -> None:
        """Open the event file, then listen."""
        keep_freed_memory()
        config, context = self._config, self._host.context
        settings, where = config.matcher, config.runtime_dir
        self._capacity = 2 * settings.event_buffer
        self._coming = Joined(_GROUP_HEAD, COMMAND.itemsize, EVENTS_JOINED + config.sequencer.max_group + 2 * MAX_BATCH)
        self._going = Joined(_EVENTS_HEAD, EVENT.itemsize, self._capacity)
        self._log = self._host.storage(config.events_dir).create("events")
        self._opened.callback(self._log.close)
        self._log_end = 0
        self._events = self._keep(bind(context, EVENTS, where, settings.queue))
        self._commands = self._keep(bind(context, COMMANDS, where, COMMANDS_QUEUE))
        self._pulse = bytearray(_PULSE_HEAD)
        self._matched_bytes = self._groups = 0  # of the journal; since the last pulse
        self._pulse_ns, self._pulses_ns = 0, settings.heartbeat_ms * _MS

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """See run/parts/matcher.py."""
        return (self._commands,)

    def do_work(self) -> int:
        """What waits, up to a bound, in one message."""
        coming, groups = self._coming, 0
        while groups < GROUPS_TAKEN and coming.rows < EVENTS_JOINED and coming.receive(self._commands):
            groups += 1
        more = groups == GROUPS_TAKEN or coming.rows >= EVENTS_JOINED
        for first in range(0, coming.rows, self._capacity):
            self._publish(first, min(self._capacity, coming.rows - first))
        self._groups += groups
        self._matched_bytes += groups * len(_GROUP_HEAD) + coming.rows * COMMAND.itemsize
        coming.clear()
        now_ns = self._host.clock.monotonic_ns()
        if now_ns >= self._pulse_ns or self._groups >= MARKS_DUE:
            self._pulse_ns = now_ns + self._pulses_ns
            _NUMBER.pack_into(self._pulse, _MATCHED_BYTES, self._matched_bytes)
            _sent(self._events, bytes(self._pulse) + bytes(MARK.itemsize * self._groups))
            self._groups = 0
        return int(more)

    def _publish(self, first: int, count: int) -> None:
        """Into the file first, as bytes that nobody syncs."""
        going = self._going
        going.words[:count, :COMMAND_WORDS] = self._coming.words[first : first + count]
        message = going.message(_EVENTS_HEAD, 0, count)
        events = message[len(_EVENTS_HEAD) :]
        write_all(self._log, events, self._log_end)
        self._log_end += len(events)
        _sent(self._events, message)


class PublisherRelay(_Relay):
    """events -> market: a row of market data for each event, all that were taken in one message on one topic."""

    role_name = "publisher"

    def on_start(self) -> None:
        """Listen to the matcher, then to subscribers."""
        keep_freed_memory()
        config, context = self._config, self._host.context
        rows = EVENTS_TAKEN + 2 * config.matcher.event_buffer
        self._coming = Joined(_EVENTS_HEAD, EVENT.itemsize, rows)
        self._going = Joined(MARKET_HEAD, MARKET_ROW, rows)
        self._events = self._subscribe(EVENTS_QUEUE, EVENTS_TOPIC, PULSE_TOPIC)
        self._market = self._keep(bind(context, MARKET, config.runtime_dir, config.publisher.queue))
        self._hears_matcher = self._to_greet = False

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """See run/parts/publisher.py."""
        return self._events, self._market

    def do_work(self) -> int:
        """One duty cycle."""
        coming, frames = self._coming, 0
        while frames < EVENT_FRAMES and coming.rows < EVENTS_TAKEN and coming.receive(self._events):
            frames += 1
        more = frames == EVENT_FRAMES or coming.rows >= EVENTS_TAKEN
        self._hears_matcher |= frames > 0
        if coming.rows:
            self._going.words[: coming.rows] = coming.words[: coming.rows, :MARKET_WORDS]
            _sent(self._market, self._going.message(MARKET_HEAD, 0, coming.rows))
            coming.clear()
        self._to_greet |= bool(_last(self._market, ACKS_TAKEN))
        if self._to_greet and self._hears_matcher:  # whoever is greeted misses nothing from here on
            self._to_greet = not _sent(self._market, MARKET_HEAD)
        return int(more)


class FollowerRelay(_Relay):
    """Reads as much of the journal's files as the matcher says that it has taken."""

    role_name = "follower"

    def on_start(self) -> None:
        """Listen to the matcher's pulses."""
        keep_freed_memory()
        self._journal = Segments(self._host.storage(self._config.journal_dir))
        self._opened.callback(self._journal.close)
        self._pulses = self._subscribe(PULSE_QUEUE, PULSE_TOPIC)
        self.bytes_read = 0

    def inputs(self) -> Sequence[zmq.Socket[bytes]]:
        """See run/parts/follower.py."""
        return (self._pulses,)

    def do_work(self) -> int:
        """Up to where the last pulse says."""
        if pulse := _last(self._pulses, PULSE_QUEUE):
            (matched_bytes,) = _NUMBER.unpack_from(pulse, _MATCHED_BYTES)
            self.bytes_read += self._journal.read(matched_bytes - self.bytes_read)
        return 0


RELAYS: Final[dict[str, Callable[[Config, Host], Agent]]] = {
    "sequencer": SequencerRelay,
    "matcher": MatcherRelay,
    "gateway": GatewayRelay,
    "publisher": PublisherRelay,
    "follower": FollowerRelay,
}


def main() -> int:
    """Run one of them until SIGTERM, as run/cli/part.py runs a part."""
    parser = argparse.ArgumentParser(prog="relays", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("role", choices=RELAYS)
    parser.add_argument("--config", type=Path, required=True)
    given = parser.parse_args()
    follow_parent()
    config = load(given.config)
    drive(given.role, config, lambda host: RELAYS[given.role](config, host), Stop())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
