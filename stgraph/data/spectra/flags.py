"""Which flags of pixels make a point bad."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError

__all__ = ["ANY_FLAG", "SDSS_BAD_PIXELS", "Bitmask", "check_bitmask", "flagged"]

Bitmask: TypeAlias = "Literal['default', 'none'] | int"

#: Every bit.
ANY_FLAG = -1
#: Bits of SDSS (SPPIXMASK) that say that a pixel itself is bad: FULLREJECT, NOSKY, BRIGHTSKY, NODATA, COMBINEREJ,
#: BADFLUXFACTOR, BADSKYCHI and REDMONSTER. Other bits describe the whole fibre (MANYBADCOLUMNS flags 45 % of a good
#: spectrum) or the pixel's surroundings.
SDSS_BAD_PIXELS = sum(1 << bit for bit in (18, 22, 23, 24, 25, 26, 27, 28))


def check_bitmask(bitmask: Bitmask) -> None:
    """Refuse anything that is not ``"default"``, ``"none"`` or a whole number.

    Raises:
        InputError: If it is something else.
    """
    whole = isinstance(bitmask, (int, np.integer)) and not isinstance(bitmask, bool)
    if not whole and bitmask not in ("default", "none"):
        raise InputError(f"bitmask must be 'default', 'none' or a whole number, got {bitmask!r}")


def flagged(flags: npt.NDArray[Any], bitmask: Bitmask, default: int) -> npt.NDArray[np.bool_]:
    """Points that have one of the bits; ``default`` are those that count by default.

    Examples:
        >>> flagged(np.array([0, 4, 8]), 8, default=ANY_FLAG)
        array([False, False,  True])
    """
    if bitmask == "none":
        return np.zeros(flags.shape, dtype=np.bool_)
    bits = default if bitmask == "default" else int(bitmask)
    bad: npt.NDArray[np.bool_] = (flags.astype(np.int64) & bits) != 0
    return bad
