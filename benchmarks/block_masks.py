"""Block masks for a whole batch against masks that are drawn for one sample after another.

A step is an epoch of 25 batches of series without padding, one batch after another: it draws masks with blocks of 1 to
half the series and 10 to 90 % of the blocks hidden. ``ours`` works on all samples of a batch at once, with the seeds of
the samples among its work. ``loop`` draws block size and ratio of each sample in a Python loop. ``validated`` first
makes, for each sample, the table of all pairs of block size and number of blocks whose share of hidden points is within
the range, and draws a pair from it. The draws of the three differ, so before they are timed each is held to its own
rule: whole blocks of a power of two, at least one hidden and one visible, and for ``validated`` a share within the
range.

Workers of a DataLoader have one thread, so ``--threads 1`` is what training sees.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks import measure
from stgraph.ops.block_masks import block_masks, sample_seeds

SIZES = ((128, 512), (128, 1024), (32, 512))
QUICK = ((4, 32),)
MIN_RATIO, MAX_RATIO = 0.1, 0.9
#: Batches in a step, so that what is timed is the pace of a loader and not its first batch.
BATCHES = 25
#: Fewest times that the loops shall take of ours.
TARGETS = {"loop": None, "validated": 20.0}


class Drawn(NamedTuple):
    """Masks ``[B, L]`` and block sizes ``[B]``."""

    mask: Tensor
    block_size: Tensor


def ours(batch: int, steps: int) -> Callable[[], Drawn]:
    """All samples at once."""
    length, index = torch.full((batch,), steps), torch.arange(batch)
    calls = itertools.count()
    ranges = {"max_block_size": steps // 2, "min_mask_ratio": MIN_RATIO, "max_mask_ratio": MAX_RATIO}

    def step() -> Drawn:
        epoch, number = divmod(next(calls), BATCHES)
        masks = block_masks(length, steps, sample_seeds(0, epoch, index + number * batch), **ranges)
        return Drawn(masks.mask, masks.block_size)

    return step


def spread(size: int, hidden: int, steps: int, generator: torch.Generator) -> Tensor:
    """The mask ``[L]`` of one sample with ``hidden`` random blocks."""
    blocks = torch.zeros(-(-steps // size), dtype=torch.bool)
    blocks[torch.randperm(len(blocks), generator=generator)[:hidden]] = True
    return blocks.repeat_interleave(size)[:steps]


def in_turn(batch: int, steps: int, draw: Callable[[int, torch.Generator], tuple[int, int]]) -> Callable[[], Drawn]:
    """One sample after another, each with a size of blocks and a number of hidden ones from ``draw``."""
    generator = torch.Generator().manual_seed(0)

    def step() -> Drawn:
        masks, sizes = [], []
        for _ in range(batch):
            size, hidden = draw(steps, generator)
            masks.append(spread(size, hidden, steps, generator))
            sizes.append(size)
        return Drawn(torch.stack(masks), torch.tensor(sizes))

    return step


def rounded(steps: int, generator: torch.Generator) -> tuple[int, int]:
    """A size and a share, of which the number of blocks follows."""
    size = 2 ** int(torch.randint((steps // 2).bit_length(), (), generator=generator))
    ratio = MIN_RATIO + (MAX_RATIO - MIN_RATIO) * float(torch.rand((), generator=generator))
    count = -(-steps // size)
    return size, min(max(int(count * ratio), 1), count - 1)


def tabulated(steps: int, generator: torch.Generator) -> tuple[int, int]:
    """One of all allowed pairs."""
    allowed = []
    for power in range((steps // 2).bit_length()):
        size = 2**power
        for hidden in range(1, -(-steps // size)):
            if MIN_RATIO <= hidden * size / steps <= MAX_RATIO:
                allowed.append((size, hidden))
    return allowed[int(torch.randint(len(allowed), (), generator=generator))]


def loop(batch: int, steps: int) -> Callable[[], Drawn]:
    """One sample after another."""
    return in_turn(batch, steps, rounded)


def validated(batch: int, steps: int) -> Callable[[], Drawn]:
    """One sample after another, each with a table of what is allowed."""
    return in_turn(batch, steps, tabulated)


ALTERNATIVES = {"ours": ours, "loop": loop, "validated": validated}


def check(name: str, drawn: Drawn) -> float:
    """Hold masks of series of ``2 ** k`` points to the rule; returns the mean share of hidden points."""
    share = drawn.mask.double().mean(dim=-1)
    kept = bool(((share > 0) & (share < 1)).all())
    for mask, size in zip(drawn.mask, drawn.block_size.tolist(), strict=True):
        blocks = mask.view(-1, size)
        kept &= size & (size - 1) == 0 and torch.equal(blocks.all(dim=-1), blocks.any(dim=-1))
    if name == "validated":
        kept &= bool(((share >= MIN_RATIO) & (share <= MAX_RATIO)).all())
    if not kept:
        raise AssertionError(f"{name} does not keep to its rule")
    return float(share.mean())


def repeat(step: Callable[[], Drawn]) -> None:
    """What is timed."""
    for _ in range(BATCHES):
        step()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all sizes."""
    parser = measure.argument_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny batch, to see that everything runs")
    args = parser.parse_args(arguments)
    report = measure.Report("block_masks", args.threads, args.results)
    for batch, steps in QUICK if args.quick else SIZES:
        alternatives = {name: make(batch, steps) for name, make in ALTERNATIVES.items()}
        shares = ", ".join(f"{name} {check(name, step()):.2f}" for name, step in alternatives.items())
        report.note(f"{batch} x {steps}: share of points hidden in one batch: {shares}")
        turns = {name: functools.partial(repeat, step) for name, step in alternatives.items()}
        seconds = measure.time_in_turns(turns, args.repeats, args.warmup)
        for name, target in TARGETS.items():
            report.compare(f"{BATCHES} batches of {batch} x {steps}", "ours", name, seconds, faster=target)
    report.finish()


if __name__ == "__main__":
    main()
