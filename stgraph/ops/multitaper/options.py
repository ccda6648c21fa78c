"""Checks of the parameters of a multitaper spectrum."""

from __future__ import annotations

import math
import operator
import warnings

from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.multitaper.curves import curve_names

__all__ = ["check_tapers"]

_LARGEST_BANDWIDTH = 500
_FTEST_TAPERS = 2
_JACKKNIFE_TAPERS = 4


def check_tapers(NW: float, K: int, length: Tensor, *, ftest: bool, jackknife: bool) -> None:
    """Refuse impossible numbers of tapers for curves of a ``length`` ``[B]``, and warn of doubtful ones."""
    if isinstance(NW, bool) or not isinstance(NW, (int, float)):
        raise InputTypeError(f"NW is {NW!r}; expected a number")
    if not math.isfinite(NW) or NW < 0.5:
        raise InputError(f"NW is {NW}; expected a time-bandwidth product of at least 0.5")
    try:
        operator.index(K)
    except TypeError:
        raise InputTypeError(f"K is {K!r}; expected an integer") from None
    if K < 1:
        raise InputError(f"K is {K}; expected at least one taper")
    if ftest and K < _FTEST_TAPERS:
        raise InputError(f"K is {K}; the F-test needs at least {_FTEST_TAPERS} tapers (or ftest=False)")
    if jackknife and K < _JACKKNIFE_TAPERS:
        raise InputError(f"K is {K}; the jackknife needs at least {_JACKKNIFE_TAPERS} tapers")
    short = length < K
    if short.any():
        raise InputError(f"K is {K}, more tapers than points in {curve_names(short)}")
    if NW > _LARGEST_BANDWIDTH:
        warnings.warn(f"NW is {NW}; above {_LARGEST_BANDWIDTH} tapers are hard to compute", stacklevel=3)
    wide = length <= 2 * NW
    if wide.any():
        warnings.warn(
            f"NW is {NW}, half or more of the number of points in {curve_names(wide)}: the band of the tapers covers"
            " all frequencies",
            stacklevel=3,
        )
    if K > 2 * NW + 1.5:
        warnings.warn(f"K is {K} with NW {NW}; tapers beyond 2 NW - 1 leak most of their energy", stacklevel=3)
