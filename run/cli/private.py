"""A place for an exchange of one's own: no tcp, its own sockets, its own journal on the disk of the real one."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from run.config import Config, Place, default_data_dir

_SEGMENT_MIB = 16  # of the journal: such an exchange is short-lived, and zeroing a larger one would delay its start


@contextmanager
def private(config: Config, name: str, *, keep: bool = False) -> Iterator[Config]:
    """The same settings in directories of their own, which are gone afterwards unless `keep`."""
    base = Path(default_data_dir())
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    data_dir = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
    runtime_dir = Path(tempfile.mkdtemp(prefix="zmx-"))
    try:
        yield dataclasses.replace(
            config,
            place=Place(str(runtime_dir), str(data_dir)),
            gateway=tuple(dataclasses.replace(each, tcp="") for each in config.gateway),
            sequencer=dataclasses.replace(config.sequencer, segment_mib=_SEGMENT_MIB),
            publisher=dataclasses.replace(config.publisher, tcp="", snapshots_tcp=""),
            supervisor=dataclasses.replace(config.supervisor, spares=False),  # short-lived: nothing loads beside it
            latency=dataclasses.replace(config.latency, log=keep),
        )
    finally:
        shutil.rmtree(runtime_dir, ignore_errors=True)
        if not keep:
            shutil.rmtree(data_dir, ignore_errors=True)
