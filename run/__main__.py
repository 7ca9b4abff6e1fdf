"""`python -P -m run VERB ...`, which is what run/zmx executes: the verbs of run/cli, and those that measure."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated

from run import kernelcache

try:
    kernelcache.activate()  # before anything imports Numba, which reads the name of its cache only then
except OSError as error:
    print(f"zmx: {error}", file=sys.stderr)
    sys.exit(3)  # somebody has to mend it first (run/cli/failure.py)

import typer

from run.cli.app import PROVE, app

# What perf measures: each is a module of that name with `main()`. The one place where the
# command line knows perf, and nothing of it is loaded before it is asked for.
BENCHES = {
    "latency": "Orders at a steady rate, from when they should have left: to report, to market data, stage by stage.",
    "ladder": "Raise the rate until the latency bends.",
    "wire": "Encode and decode batches, beside pycapnp.",
    "kernel": "Match in one process, without sockets or disk.",
    "money": "What checks of money cost the kernel, and a million accounts.",
    "chain": "Gateway frames through sequencer, journal and matcher, synced to disk.",
    "throughput": "Orders a second through the whole exchange over real sockets, as fast as it goes, beside the floor.",
    "resume": "Resume a session at a gateway over an event log of any length, with its indexes on disk.",
    "recover": "kill -9 of each part under load: until orders are accepted again, and that nothing is lost or doubled.",
    "clerk": "Events a second into the books, in SQLite and in a PostgreSQL of its own.",
    "settle": "Settle what many trades have left, from the books and into the books.",
    "floor": "The same processes as bare ZeroMQ relays: what every figure is compared with.",
    "brokers": "The same orders with a broker in the middle: Redis streams, NATS JetStream.",
    "plot": "Draw the pictures of published runs again.",
    "show": "Published runs as a table, against the run before of the same kind and machine.",
}
bench = typer.Typer(no_args_is_help=True, help="Measure the exchange and its parts, and show what was measured.")


def _bench(name: str) -> Callable[[list[str] | None], None]:
    def measure(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        sys.argv[1:] = arguments or []  # the module reads the rest of the line, as under `python -m`
        raise typer.Exit(importlib.import_module(f"perf.{name}").main() or 0)

    return measure


for _name, _help in BENCHES.items():
    bench.command(
        _name,
        help=_help,
        add_help_option=False,  # the module has its own
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_bench(_name))
app.add_typer(bench, name="bench", rich_help_panel=PROVE)


def main() -> None:
    """Run the verb. What somebody can mend is one line on standard error; anything else keeps its traceback."""
    try:
        app(prog_name="zmx")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        from run.cli.failure import expected

        if (known := expected(error)) is None:
            raise
        line, status = known
        print(f"zmx: {line}", file=sys.stderr)
        sys.exit(status)


if __name__ == "__main__":
    main()
