"""What the processes of tests/sabotage/judge.py are forked with: packages that are not ours."""

from run import kernelcache

kernelcache.activate()  # before Numba is imported

import capnp  # noqa: E402, F401
import hypothesis  # noqa: E402, F401
import numba  # noqa: E402, F401
import pytest  # noqa: E402, F401
import sortedcontainers  # noqa: E402, F401
import zmq  # noqa: E402, F401
