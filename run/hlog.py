"""Latency histograms as HdrHistogram logs (format 1.3): what HistogramLogAnalyzer, hdrh and their like read.

A line for each stage and interval in which it counted anything, tagged `part.stage`; values in ns. Times are seconds
since the log's base time (Unix), measured by the monotonic clock, so that a step of the wall clock bends no interval.
Nothing here is ever synced, and nobody who handles orders writes it: whoever looks at the parts' counts does.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from run.clock import Clock
from run.config import Latency
from run.latency import Look, NotALatencyFile, Stage, Watch, histogram
from run.storage import File, Storage, remedy, write_all

_MIB = 1 << 20
_PREFIX, _SUFFIX = "latency-", ".hlog"
_NAME = re.compile(rf"{_PREFIX}\d{{10}}{_SUFFIX}")


def header(time_ns: int) -> bytes:
    """How a log begins, whose base time is that Unix time."""
    seconds = f"{time_ns / 1e9:.3f} (seconds since epoch)"
    when = datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(" ", "milliseconds")
    return (
        "#[zmx: latencies in ns; a tag is PART.STAGE]\n"
        f"#[BaseTime: {seconds}]\n"
        "#[Histogram log format version 1.3]\n"
        f"#[StartTime: {seconds}, {when}]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    ).encode()


def line(tag: str, start_s: float, length_s: float, stage: Stage) -> bytes:
    """An interval of a stage that counted something; the longest value is in ms there, for people. About 0.3 ms."""
    made = histogram(stage.counts)
    return (
        f"Tag={tag},{start_s:.3f},{length_s:.3f},{made.get_max_value() / 1e6:.3f},{made.encode().decode()}\n".encode()
    )


class HlogWriter:
    """One log. `time_ns` is the Unix time at which the monotonic clock showed `base_ns`. Raises OSError."""

    def __init__(self, file: File, time_ns: int, base_ns: int) -> None:
        self._file = file
        self._base_ns = base_ns
        self.size = 0  # bytes
        self._append(header(time_ns))

    def write(self, looks: Iterable[Look], since_ns: int, now_ns: int, longest: int | None = None) -> bool:
        """What was counted between two times of the monotonic clock. An error leaves nothing of it.

        False, and nothing written, when the log would grow beyond `longest` bytes.
        """
        start_s, length_s = (since_ns - self._base_ns) / 1e9, (now_ns - since_ns) / 1e9
        text = b"".join(
            line(f"{look.part}.{stage}", start_s, length_s, counted)
            for look in looks
            for stage, counted in look.counted.items()
            if counted.count
        )
        if longest is not None and self.size + len(text) > longest:
            return False
        self._append(text)
        return True

    def _append(self, text: bytes) -> None:
        try:
            write_all(self._file, text, self.size)
        except OSError:
            with contextlib.suppress(OSError):  # then a reader finds a line that is cut
                self._file.truncate(self.size)
            raise
        self.size += len(text)

    def close(self) -> None:
        """Give back the file."""
        self._file.close()


class LatencyLog:
    """The logs of an exchange: one more each time it starts or one is full, the oldest removed beyond so many.

    What cannot be written is left out; `say` hears of it once, and once when it can be written again. `start` has a
    thread of its own do what is due.
    """

    def __init__(
        self, settings: Latency, storage: Storage, watch: Watch, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._watch = watch
        self._clock = clock
        self._say = say
        self._log: HlogWriter | None = None
        self._since_ns = clock.monotonic_ns()
        self._failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="latency log", daemon=True)

    def start(self) -> None:
        """Log what was counted so far, then go on."""
        self.tick()
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stop.set()
        self._thread.join()
        self.tick()
        self._watch.close()
        if self._log is not None:
            self._log.close()

    def _run(self) -> None:
        while not self._stop.wait(self._settings.interval_ms / 1000):
            self.tick()

    def tick(self) -> None:
        """Log what was counted since the last tick. About a millisecond of this process for a busy exchange."""
        now_ns = self._clock.monotonic_ns()
        since_ns, self._since_ns = self._since_ns, now_ns
        try:
            looks = self._watch.look()
            if any(stage.count for look in looks for stage in look.counted.values()):
                self._write(looks, since_ns, now_ns)
        except (OSError, NotALatencyFile) as error:
            if not self._failed:
                self._say(f"{self._why(error)}; until then latencies are not logged")
            self._failed = True
        else:
            if self._failed:
                self._say("latencies are logged again")
            self._failed = False

    def _write(self, looks: list[Look], since_ns: int, now_ns: int) -> None:
        if self._log is not None and self._log.write(looks, since_ns, now_ns, self._settings.file_mib * _MIB):
            return
        log = self._next_log(since_ns, now_ns)
        if self._log is not None:
            self._log.close()
        self._log = log
        self._log.write(looks, since_ns, now_ns)

    def _next_log(self, since_ns: int, now_ns: int) -> HlogWriter:
        kept = logs(self._storage)
        for name in kept[: max(0, len(kept) + 1 - self._settings.files)]:
            self._storage.remove(name)
        number = int(kept[-1][len(_PREFIX) : -len(_SUFFIX)]) + 1 if kept else 1
        name = f"{_PREFIX}{number:010}{_SUFFIX}"
        file = self._storage.create(name)
        try:
            return HlogWriter(file, self._clock.time_ns() - (now_ns - since_ns), since_ns)
        except OSError:
            file.close()
            with contextlib.suppress(OSError):
                self._storage.remove(name)
            raise

    def _why(self, error: OSError | NotALatencyFile) -> str:
        """What is wrong, and what to do about it."""
        if isinstance(error, OSError):
            return f"{error.filename or self._storage.path}: {error.strerror}. {remedy(error)}"
        return str(error)


def logs(storage: Storage) -> list[str]:
    """The names of the logs that are kept, the oldest first."""
    return [name for name in storage.names() if _NAME.fullmatch(name)]
