"""A simulated exchange from the command line: the long form of tests/simulation.

    python -m tests.simulate --seed 7 --steps 4000            one run; prints what happened and its digest
    python -m tests.simulate --seed 0 --seeds 1000            a thousand; stops at the first that fails
    python -m tests.simulate --seed 7 --trace -               what happened in which step

The seed is the bug report: the same seed and steps give the same run, byte for byte.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from run import kernelcache


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 1 where a run failed."""
    parser = argparse.ArgumentParser("tests.simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the run, or the first of several")
    parser.add_argument("--steps", type=int, default=3_000, help="with trouble, before everything is healed")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first seed that fails")
    parser.add_argument("--trace", metavar="FILE", help="write down what happened; - is the screen")
    given = parser.parse_args(arguments)
    kernelcache.activate()
    from tests.simulation.run import SimulationFailed, simulate, table

    counts: Counter[str] = Counter()
    failed = 0
    with ExitStack() as opened:
        trace = None
        if given.trace:
            trace = sys.stdout if given.trace == "-" else opened.enter_context(Path(given.trace).open("w"))
        for seed in range(given.seed, given.seed + given.seeds):
            try:
                with tempfile.TemporaryDirectory() as folder:
                    run = simulate(seed, given.steps, Path(folder), trace)
            except SimulationFailed as failure:
                failed += 1
                print(failure, flush=True)
                if not given.keep_going:
                    if given.seeds == 1:
                        raise
                    return 1
                continue
            counts += run.counts
            print(
                f"seed {seed}: {run.steps} steps, {run.commands} commands, {run.events} events, digest {run.digest}",
                flush=True,
            )
    print(table(counts))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
