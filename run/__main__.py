"""`python -P -m run VERB ...`, which is what run/zmx executes: the verbs of run/cli, and those that measure."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from run import kernelcache

kernelcache.activate()  # before anything imports Numba, which reads the name of its cache only then

import typer  # noqa: E402

from run.cli.app import PROVE, app  # noqa: E402


@app.command(
    rich_help_panel=PROVE,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def bench(arguments: Annotated[list[str] | None, typer.Argument(metavar="VERB ...")] = None) -> None:
    """Measure the wire, the kernels, the whole chain."""
    from perf.verbs import app as verbs  # the one place where the command line knows perf

    verbs(arguments or ["--help"], prog_name="zmx bench")


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
