"""`python -P -m tests.sabotage [WORDS]`: every row of the table whose name holds the words: red with it, green without.

Exit status 1 when one was not noticed.
"""

from __future__ import annotations

import sys

from tests.sabotage.judge import goes_red, is_green
from tests.sabotage.table import TAKEN_OUT


def main(words: str) -> int:
    """Print a line per row."""
    failures = 0
    for name, row in TAKEN_OUT.items():
        if words not in name:
            continue
        wrong = goes_red(name) or is_green(name)
        failures += bool(wrong)
        print(f"{'NOT NOTICED' if wrong else 'noticed':<12}without {name}: {row.test.partition('::')[2]}", flush=True)
        if wrong:
            print(wrong)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
