"""`python -P -m tests.sabotage [WORDS]`: every row of the table whose name holds the words: red with it, green without.

Exit status 1 when one was not noticed.
"""

from __future__ import annotations

import sys

from tests.sabotage.judge import goes_red, is_green, processes
from tests.sabotage.table import TAKEN_OUT


def main(words: str) -> int:
    """Print a line per row."""
    failures = 0
    with processes() as executor:
        names = [name for name in TAKEN_OUT if words in name]
        verdicts = [(executor.submit(goes_red, name), executor.submit(is_green, name)) for name in names]
        for name, (red, green) in zip(names, verdicts, strict=True):
            wrong = red.result() or green.result()
            failures += bool(wrong)
            test = TAKEN_OUT[name].test.partition("::")[2]
            print(f"{'NOT NOTICED' if wrong else 'noticed':<12}without {name}: {test}", flush=True)
            if wrong:
                print(wrong)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
