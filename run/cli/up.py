"""`zmx up`: the exchange in the foreground, one line for whatever happens to a part."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

from rich.console import Console
from rich.status import Status

from run.cli.screen import err
from run.config import Config
from run.notify import notify
from run.supervisor import Exchange, News, State

_MARKS = {
    State.READY: "[green]✓[/green]",
    State.DIED: "[red]✗[/red]",
    State.GIVEN_UP: "[red]✗[/red]",
    State.STOPPED: "[dim]·[/dim]",
    State.STARTING: "[yellow]…[/yellow]",
}


def main(config: Config) -> None:
    """Run until SIGTERM or Ctrl-C; raises ExchangeFailed when a part cannot be kept alive."""
    console = err()
    stop_on_signals()
    console.print(f"zmx: journal in {config.data_dir}, sockets in {config.runtime_dir}")
    began = time.monotonic()
    teller = Teller(console)
    try:
        with Exchange(config, teller.tell) as exchange:
            teller.settle()
            console.print(f"zmx: open for business after {time.monotonic() - began:.1f} s; Ctrl-C stops")
            for line in _doors(exchange.config):
                console.print(f"  {line}")
            notify(READY=1, STATUS="open")
            exchange.wait()
    except KeyboardInterrupt:
        notify(STOPPING=1)
        teller.settle()
        console.print("zmx: stopped")
        sys.exit(0)
    finally:
        teller.settle()


def stop_on_signals() -> None:
    """Have what ends a foreground program (SIGTERM, Ctrl-C, a terminal that is closed) raise KeyboardInterrupt."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)  # over the terminal's ^C
    raise KeyboardInterrupt


def _doors(config: Config) -> list[str]:
    """Where brokers and subscribers find this exchange."""
    doors = [(f"orders, gateway {each.id}", each.tcp) for each in config.gateway]
    doors += [("market data", config.publisher.tcp), ("snapshots", config.publisher.snapshots_tcp)]
    widest = max(len(name) for name, _ in doors)
    return [f"{name:<{widest}}  {endpoint or 'ipc only'}" for name, endpoint in doors]


class Teller:
    """Writes what the supervisor tells: a line per part, which moves while the part says what it is at."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None

    def tell(self, news: News) -> None:
        """Called in the supervisor's thread."""
        line = f"{news.part:<12}{_said(news)}"
        if news.state is State.STARTING:
            if not self._console.is_terminal:
                if news.text:  # on a terminal "starting" is shown while it lasts; elsewhere only what a part says
                    self._console.print(f"  … {line}")
                return
            self.settle()
            self._status = self._console.status(line)
            self._status.start()
            return
        self.settle()
        mark = "[yellow]![/yellow]" if news.said else _MARKS[news.state]
        self._console.print(f"  {mark} {line}", soft_wrap=news.said)

    def settle(self) -> None:
        """Stop the line that moves."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def _said(news: News) -> str:
    match news.state:
        case State.READY:
            return news.text
        case State.STARTING:
            return news.text or "starting"
        case State.STOPPED:
            return news.text or "stopped"
        case State.DIED | State.GIVEN_UP:
            return news.text
