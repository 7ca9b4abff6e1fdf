"""From a path to a Flow: reads the bytes, unpacks them, and tells by their content what they are."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Final

from run.flow import commands_csv, itch, lobster
from run.flow.actions import Flow, FlowError

MAX_BYTES: Final = 1 << 30  # unpacked; a flow is held in memory, several times this while it is read

_GZIP_MAGIC: Final = b"\x1f\x8b"
_SYMBOL_IN_NAME: Final = re.compile(r"(?:^|_)([A-Z][A-Z.]{0,7})_\d{4}-?\d{2}-?\d{2}(?:_|\.|$)")


def load(path: str | Path, symbol: str | None = None) -> Flow:
    """The flow in the file at `path`: a commands CSV, raw Nasdaq TotalView-ITCH 5.0 or a raw LOBSTER message file.

    Each may be gzipped; names play no part, except that of a text file as a hint at its symbol. `symbol` picks one out
    of an ITCH file of several. Raises FlowError, saying where and what to do, for anything that cannot be read as one
    of the three. Costs about 3 us a row and is held in memory.
    """
    path = Path(path)
    data = _read(path)
    if not data:
        raise FlowError(f"{path} is empty")
    flow = _parse(data, path, symbol)
    if not len(flow.actions):
        raise FlowError(f"{path} ({flow.kind}): there is no order in it to replay")
    return flow


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as plain:
            if plain.read(2) != _GZIP_MAGIC:
                plain.seek(0)
                data = plain.read(MAX_BYTES + 1)
            else:
                plain.seek(0)
                with gzip.open(plain) as packed:
                    data = packed.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FlowError(f"{path} begins as gzip but does not unpack ({error}); fetch it again, or unpack it") from error
    except OSError as error:
        raise FlowError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise FlowError(f"{path} has more than {MAX_BYTES >> 20} MiB unpacked; cut a part of it and replay that")
    return data


def _parse(data: bytes, path: Path, symbol: str | None) -> Flow:
    if itch.recognises(data):
        return itch.parse(data, path.name, symbol)
    if symbol is None and (named := _SYMBOL_IN_NAME.search(path.name)):
        symbol = named[1]
    if commands_csv.recognises(data):
        return commands_csv.parse(data, path.name, symbol)
    if lobster.recognises(data):
        return lobster.parse(data, path.name, symbol)
    raise FlowError(
        f"{path} is none of what can be replayed: a commands CSV (first line `{commands_csv.HEADER}`), raw Nasdaq"
        " TotalView-ITCH 5.0 (2-byte big-endian length, then the message), or a raw LOBSTER message file (six columns:"
        f" time,type,id,size,price,direction). It begins with {data[:24]!r}"
    )
