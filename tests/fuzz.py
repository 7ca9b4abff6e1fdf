"""`python -m tests.fuzz`: the long form of the differential tests. Two engines, a few million commands.

The run is cut into lives of some ten thousands of commands, each with a seed, a venue and a crowd of its own, so that
a difference is found near its beginning. Prints the table of what led to what; exit code 1 and the shortest list of
commands found, as a scenario to play and to keep, where the engines part, 2 where a possible outcome was not reached or
an impossible one was.
"""

from __future__ import annotations

import argparse
import random
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from run import kernelcache


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--life", type=int, default=50_000, help="commands per life; life N has seed SEED + N")
    parser.add_argument("--state-every", type=int, default=20, help="groups between two comparisons of the state hash")
    parser.add_argument("--check-every", type=int, default=1, help="groups between two checks of all invariants")
    arguments = parser.parse_args()

    kernelcache.activate()  # before Numba is imported
    from components.engine.compiled import CompiledEngine
    from components.engine.readable import ReadableEngine
    from tests.engine.compare import Disagreement, live, report
    from tests.engine.outcomes import Outcomes

    outcomes = Outcomes()
    print(f"seed {arguments.seed}: {arguments.commands:,} commands in lives of {arguments.life:,}", flush=True)
    columns = (TextColumn("seed {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(str(arguments.seed), total=arguments.commands)
        done, seed = 0, arguments.seed
        while done < arguments.commands:
            progress.update(task, description=str(seed))
            commands = min(arguments.life, arguments.commands - done)
            try:
                live(
                    seed,
                    commands,
                    CompiledEngine,
                    outcomes,
                    check_every=arguments.check_every,
                    state_every=arguments.state_every,
                    progress=lambda count: progress.advance(task, count),
                )
            except Disagreement as parting:
                progress.stop()
                print(f"{parting}\nlooking for a short list of commands ...", flush=True)
                print(report(parting, ReadableEngine, CompiledEngine))
                print(f"\nagain: python -m tests.fuzz --seed {seed} --commands {commands} --life {arguments.life}")
                return 1
            done += commands
            seed += 1
            if not progress.console.is_terminal:
                print(f"{done:,} commands, the engines agree", flush=True)
    print(outcomes)
    for name, pairs in (("not reached", outcomes.missing()), ("not in the table", outcomes.unlisted())):
        for pair in pairs:
            print(f"{name}: {': '.join(pair)}")
    return 2 if outcomes.missing() or outcomes.unlisted() else 0


if __name__ == "__main__":
    sys.exit(main())
