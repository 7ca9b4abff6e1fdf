"""Words of 64 bits as sets of numbers below 64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from components.kernels.kernel import JIT, Word


def _highest_bit(word: Word) -> Word:
    return np.int64((int(word) & (2**64 - 1)).bit_length() - 1)


@intrinsic
def _compiled_highest_bit(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], cgutils.false_bit)
        return builder.sub(cgutils.intp_t(63), zeros)

    return types.int64(types.int64), generate


# Number of the highest bit that is set, the sign bit being 63; -1 of an empty word. One instruction.
highest_bit = _compiled_highest_bit if JIT else _highest_bit
