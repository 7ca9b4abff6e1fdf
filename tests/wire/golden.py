"""The bytes of every struct and every frame, kept in golden.txt, so that no change of a layout goes unnoticed.

Each stands below its fields and their values (a frame below those of its head), for whoever writes a client in
another language.

A change that is meant: `python -m tests.wire.golden`, and look at what it did. Journals already written still hold the
old bytes.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.wire.samples import KINDS, STRUCTS, sample_frame, sample_rows

PATH = Path(__file__).with_suffix(".txt")
LINE = 32  # bytes


def current() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every sample, as wire/ writes them today."""
    for name, dtype in STRUCTS.items():
        yield name, sample_rows(name, dtype, 1).tobytes()
    for name, kind in KINDS.items():
        head, lists = sample_frame(kind)
        yield name, kind.encode(head, **lists)


def kept() -> dict[str, bytes]:
    """What golden.txt says: a name on a line of its own, notes, then its bytes in hex, indented."""
    sections = re.findall(r"^(\w+)\n(?:# .*\n)*((?:  .*\n)+)", PATH.read_text(), re.MULTILINE)
    return {name: bytes.fromhex(content) for name, content in sections}


def text() -> str:
    """The whole of golden.txt."""
    lines = []
    for name, content in current():
        if name in STRUCTS:
            (row,), lists = np.frombuffer(content, STRUCTS[name]), ""
        else:
            (row,), lists = KINDS[name].decode(content).head, f"; lists {', '.join(KINDS[name].list_names)}"
        note = ", ".join(f"{field} {row[field]}" for field in row.dtype.names) + lists
        lines.append(name)
        lines += textwrap.wrap(note, 100, initial_indent="# ", subsequent_indent="# ")
        lines += [f"  {content[at : at + LINE].hex()}" for at in range(0, len(content), LINE)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
