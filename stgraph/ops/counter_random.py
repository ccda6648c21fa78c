"""Random numbers that are a pure function of a seed and a counter.

No state is advanced: number ``i`` of seed ``s`` is a hash of both. So every sample of a batch has its own numbers,
which do not depend on the other samples, on the order in which they are asked for, or on the number of workers.

The generator is SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, "Fast Splittable Pseudorandom Number Generators",
OOPSLA 2014). It runs in NumPy, which has unsigned integers and, for the short arrays of a batch, takes less time per
operation than torch.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["check_integers", "random_bits", "sample_seeds", "uniform"]

Bits = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def random_bits(seeds: Bits, counter: Bits) -> Bits:
    """Return 64 random bits for every pair of a seed and a counter.

    The bits of a seed with the counters 0, 1, 2 ... are those that SplitMix64 gives one after another.

    Args:
        seeds: Seeds, an array (not a scalar) of uint64.
        counter: Number of the draw, an array of uint64 of a shape that broadcasts with that of ``seeds``.

    Examples:
        >>> import numpy as np
        >>> bits = random_bits(np.zeros(1, np.uint64), np.arange(2, dtype=np.uint64))
        >>> [f"{value:x}" for value in bits]
        ['e220a8397b1dcdaf', '6e789e6aa1b965f4']
    """
    bits = seeds + (counter + np.uint64(1)) * _GOLDEN
    bits ^= bits >> np.uint64(30)
    bits *= _FIRST
    bits ^= bits >> np.uint64(27)
    bits *= _SECOND
    bits ^= bits >> np.uint64(31)
    return bits


def uniform(bits: Bits) -> NDArray[np.float64]:
    """Turn random bits into numbers in [0, 1), multiples of ``2 ** -53``.

    >>> import numpy as np
    >>> uniform(np.array([0, 2**63], np.uint64))
    array([0. , 0.5])
    """
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample_seeds(seed: int, epoch: int, index: Tensor) -> Tensor:
    """Return the seed of each sample in an epoch.

    Args:
        seed: Seed of the run, 0 or more, less than ``2 ** 63``.
        epoch: Number of the epoch, likewise; keep it fixed where the draws shall not change, as in validation.
        index: Numbers of the samples in the data set.

    Shapes:
        - **index:** :math:`(B)`, int64
        - **output:** :math:`(B)`, int64, on the device of ``index``

    Raises:
        InputError: If ``seed`` or ``epoch`` is out of range.
        InputTypeError: If ``index`` is not int64.

    Examples:
        >>> import torch
        >>> seeds = sample_seeds(42, epoch=3, index=torch.arange(8))
        >>> torch.equal(seeds[5:6], sample_seeds(42, epoch=3, index=torch.tensor([5])))
        True
    """
    check_integers("index", index)
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**63:
            raise InputError(f"{name} is {value}; expected at least 0 and less than 2**63")
    bits = random_bits(_epoch_seed(seed, epoch), index.numpy(force=True).reshape(-1).view(np.uint64))
    return torch.from_numpy(bits.view(np.int64)).view(index.shape).to(index.device)


@functools.lru_cache(maxsize=64)  # all batches of an epoch ask for the same
def _epoch_seed(seed: int, epoch: int) -> Bits:
    """Return the seed of an epoch, ``[1]``."""
    return random_bits(random_bits(np.zeros(1, np.uint64), np.array([seed], np.uint64)), np.array([epoch], np.uint64))


def check_integers(name: str, value: Tensor) -> None:
    """Raise an error that names a tensor that is not int64."""
    if value.dtype != torch.int64:
        raise InputTypeError(f"{name} is of type {value.dtype}; expected torch.int64")
