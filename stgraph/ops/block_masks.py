"""Masks that hide blocks of a series, for training by reconstruction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.counter_random import Bits, check_integers, random_bits, sample_seeds, uniform

__all__ = ["BlockMasks", "block_masks", "dynamic_block_mask", "sample_seeds"]

Integers = NDArray[np.int64]

# A key is the number of the sample, then 40 bits that order its blocks.
_KEY_BITS = 40
# The first random numbers of a sample give its block size and its ratio, the others the keys of its blocks.
_DRAWS = np.array([[0], [1]], np.uint64)
_MOST_SAMPLES = 2 ** (63 - _KEY_BITS)


class BlockMasks(NamedTuple):
    """What :func:`block_masks` hides.

    Args:
        mask: True where a point is hidden, ``[B, L]``.
        block_size: Points in a block, int64 ``[B]``; 0 where nothing is hidden.
        ratio: Share of the real points that is hidden, float64 ``[B]``.
    """

    mask: Tensor
    block_size: Tensor
    ratio: Tensor


def block_masks(
    length: Tensor,
    steps: int,
    seeds: Tensor,
    *,
    min_block_size: int = 1,
    max_block_size: int | None = None,
    min_mask_ratio: float = 0.1,
    max_mask_ratio: float = 0.7,
) -> BlockMasks:
    r"""Hide blocks of random size of every series of a batch, with draws that depend on its own seed alone.

    For a series of :math:`\ell` real points the block size is :math:`b = 2^p` with :math:`p` uniform over the integers
    :math:`\lfloor\log_2 b_{min}\rfloor \dots \lfloor\log_2 b_{max}\rfloor`. The series is cut into
    :math:`n = \lceil \ell / b \rceil` blocks, of which the last may be short, and
    :math:`m = \mathrm{clip}(\lfloor n\rho \rfloor, 1, n - 1)` different ones are hidden, with :math:`\rho` uniform
    between the two ratios. The share that is hidden can leave that range where there are few blocks: of two, one is
    hidden.

    A series always has at least two blocks, so its largest block is smaller where it is short; one of fewer than 2
    points stays visible. Padding is never hidden.

    Args:
        length: Number of real points of each series; they stand first.
        steps: Number of points L of a series with its padding.
        seeds: Seed of each series, see :func:`~stgraph.ops.counter_random.sample_seeds`.
        min_block_size: Points in the smallest block; rounded down to a power of two.
        max_block_size: Points in the largest block; rounded down to a power of two. ``None`` stands for a quarter of
            each series, though not less than ``min_block_size``.
        min_mask_ratio: Smallest share of the blocks to hide.
        max_mask_ratio: Largest share of the blocks to hide.

    Shapes:
        - **length:** :math:`(B)`, int64; **seeds:** :math:`(B)`, int64
        - **output:** ``mask`` :math:`(B, L)`, ``block_size`` :math:`(B)`, ``ratio`` :math:`(B)`

    Raises:
        InputError: If a shape does not fit, a length is not in ``0 ... steps``, or a range is empty.
        InputTypeError: If ``length`` or ``seeds`` is not int64.

    Examples:
        >>> import torch
        >>> length, seeds = torch.tensor([64, 10]), torch.tensor([7, 8])
        >>> masks = block_masks(length, 64, seeds, min_block_size=2, max_block_size=2, max_mask_ratio=0.1)
        >>> masks.mask.sum(dim=-1), masks.mask[1, 10:].any()
        (tensor([6, 2]), tensor(False))
    """
    _check_ranges(min_block_size, max_block_size, min_mask_ratio, max_mask_ratio)
    real = _check_batch(length, steps, seeds)
    limit = _log2(real - 1)
    low = np.minimum(_power(min_block_size), limit)
    largest = _log2(np.maximum(real // 4, min_block_size)) if max_block_size is None else _power(max_block_size)
    high = np.minimum(largest, limit)
    stream = seeds.numpy(force=True).view(np.uint64)
    first, second = uniform(random_bits(stream, _DRAWS))
    exponent = low + (first * (high - low + 1)).astype(np.int64)
    ratio = min_mask_ratio + (max_mask_ratio - min_mask_ratio) * second
    mask, block_size, share = (torch.from_numpy(part) for part in _hide(real, steps, stream, exponent, ratio))
    return BlockMasks(mask.to(length.device), block_size.to(length.device), share.to(length.device))


def dynamic_block_mask(
    x: Tensor,
    min_block_size: int = 1,
    max_block_size: int | None = None,
    min_mask_ratio: float = 0.1,
    max_mask_ratio: float = 0.9,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hide random blocks of a series, or of each series of a batch, and set their values to 0.

    The draws are those of :func:`block_masks`, with seeds from a generator and without padding.

    Args:
        x: Series.
        min_block_size: Points in the smallest block; rounded down to a power of two.
        max_block_size: Points in the largest block; rounded down to a power of two. ``None`` stands for half the
            series.
        min_mask_ratio: Smallest share of the blocks to hide.
        max_mask_ratio: Largest share of the blocks to hide.
        generator: Where the seeds come from; ``None`` stands for the default generator of torch on the CPU.

    Shapes:
        - **x:** :math:`(L)` or :math:`(B, L)`
        - **output:** the series with 0 where hidden, the mask (True where hidden), both of the shape of ``x``; block
          size, int64, and the share of hidden points, float64, :math:`()` or :math:`(B)`

    Raises:
        InputError: If the largest block would be the whole series, so that everything would be hidden, or if an
            argument does not fit.

    Examples:
        >>> import torch
        >>> masked, mask, block_size, ratio = dynamic_block_mask(torch.ones(8), min_block_size=4)
        >>> int(mask.sum()), int(masked.sum()), block_size, ratio
        (4, 4, tensor(4), tensor(0.5000, dtype=torch.float64))
    """
    if x.dim() not in (1, 2):
        raise InputError(f"x has shape {tuple(x.shape)}; expected (L) or (B, L)")
    steps = x.shape[-1]
    if steps < 2:
        raise InputError(f"x has {steps} points; expected at least 2, so that not all are hidden")
    largest = steps // 2 if max_block_size is None else max_block_size
    _check_ranges(min_block_size, largest, min_mask_ratio, max_mask_ratio)
    if 2 ** _power(largest) >= steps:
        raise InputError(f"max_block_size is {largest} and x has {steps} points; one block would hide all of them")
    device = "cpu" if generator is None else generator.device
    batch = x.shape[0] if x.dim() == 2 else 1
    seeds = torch.randint(2**63 - 1, (batch,), generator=generator, device=device).cpu()
    masks = block_masks(
        torch.full((batch,), steps),
        steps,
        seeds,
        min_block_size=min_block_size,
        max_block_size=largest,
        min_mask_ratio=min_mask_ratio,
        max_mask_ratio=max_mask_ratio,
    )
    mask, block_size, ratio = (part.to(x.device) if x.dim() == 2 else part[0].to(x.device) for part in masks)
    return x.masked_fill(mask, 0), mask, block_size, ratio


def _hide(
    length: Integers, steps: int, seeds: Bits, exponent: Integers, ratio: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], Integers, NDArray[np.float64]]:
    """Choose the blocks to hide: those with the m smallest random keys of a series.

    The blocks of all series stand one after another, so that series of few large blocks cost little. Each series ends
    with an entry for its padding, whose key is larger than those of its blocks.
    """
    usable = length >= 2
    length = length * usable
    size = usable << exponent
    blocks = (length + size - usable) >> exponent
    hidden = np.maximum(np.minimum(np.maximum((blocks * ratio).astype(np.int64), 1), blocks - 1), 0)
    padding = np.cumsum(blocks + 1) - 1
    start = padding - blocks
    sample = np.repeat(np.arange(len(length)), blocks + 1)
    key = _keys(sample, np.arange(len(sample)) - start[sample], seeds, blocks)
    key[padding] = ((np.arange(len(length)) + 1) << _KEY_BITS) - 1
    threshold = np.where(usable, np.sort(key)[start + hidden - 1], -1)
    chosen = key <= threshold[sample]
    missing = blocks * size - length  # the last block may be short
    points = size[sample]
    points[padding - 1] -= missing
    points[padding] = steps - length
    mask = np.repeat(chosen, points).reshape(len(length), steps)
    return mask, size, (hidden * size - chosen[padding - 1] * missing) / np.maximum(length, 1)


def _keys(sample: Integers, number: Integers, seeds: Bits, blocks: Integers) -> Integers:
    """Return the keys of blocks: the sample in the first bits, so that one sort is enough for all, then random bits.

    The number of the block in the last bits makes the keys of a sample different from each other.
    """
    bits = random_bits(seeds[sample], number.view(np.uint64) + np.uint64(len(_DRAWS))) >> np.uint64(64 - _KEY_BITS)
    random = bits.view(np.int64)
    random &= (-2 << _log2(blocks))[sample]
    random |= number
    random |= sample << _KEY_BITS
    return random


def _power(block_size: int) -> int:
    """Return the binary logarithm of a block size, rounded down."""
    return block_size.bit_length() - 1


def _log2(value: Integers) -> Integers:
    """Return the binary logarithm of integers below ``2 ** 53``, rounded down; that of less than 1 is 0."""
    return np.frexp(np.maximum(value, 1))[1].astype(np.int64) - 1


def _check_ranges(smallest: int, largest: int | None, min_ratio: float, max_ratio: float) -> None:
    if smallest < 1:
        raise InputError(f"min_block_size is {smallest}; expected at least 1")
    if largest is not None and largest < smallest:
        raise InputError(f"max_block_size is {largest}; expected at least min_block_size = {smallest}")
    if not 0 <= min_ratio <= max_ratio <= 1:
        raise InputError(
            f"min_mask_ratio is {min_ratio} and max_mask_ratio is {max_ratio}; expected 0 <= min <= max <= 1"
        )


def _check_batch(length: Tensor, steps: int, seeds: Tensor) -> Integers:
    """Return the lengths as an array."""
    check_integers("length", length)
    check_integers("seeds", seeds)
    if length.dim() != 1 or len(length) >= _MOST_SAMPLES:
        raise InputError(f"length has shape {tuple(length.shape)}; expected (B) with B < {_MOST_SAMPLES}")
    if seeds.shape != length.shape:
        raise InputError(f"seeds has shape {tuple(seeds.shape)}; expected {tuple(length.shape)}")
    real: Integers = length.numpy(force=True)
    if len(real) and real.view(np.uint64).max() > steps:  # as unsigned numbers, negative ones are large
        raise InputError(f"length has values from {real.min()} to {real.max()}; expected 0 to steps = {steps}")
    return real
