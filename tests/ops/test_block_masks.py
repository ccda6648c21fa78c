from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.block_masks import BlockMasks, block_masks, dynamic_block_mask, sample_seeds
from stgraph.ops.counter_random import random_bits, uniform


def full(batch: int, steps: int) -> torch.Tensor:
    return torch.full((batch,), steps)


def seeds_of(batch: int, epoch: int = 0) -> torch.Tensor:
    return sample_seeds(42, epoch, torch.arange(batch))


def assert_same(first: BlockMasks, second: BlockMasks) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_bits_are_those_of_splitmix64_and_look_random() -> None:
    counter = np.arange(5, dtype=np.uint64)
    # Published test values of the seed 1234567 (rosettacode.org, "Pseudo-random numbers/Splitmix64").
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert random_bits(np.array([1234567], np.uint64), counter).tolist() == expected
    bits = random_bits(np.arange(300, dtype=np.uint64)[:, None], np.arange(100, dtype=np.uint64))
    assert len(np.unique(bits)) == bits.size
    values = uniform(bits).ravel()
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    for other in (np.roll(uniform(bits), 1, axis=0), np.roll(uniform(bits), 1, axis=1)):
        assert abs(np.corrcoef(values, other.ravel())[0, 1]) < 4 / math.sqrt(bits.size)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 70), min_size=1, max_size=6),
    st.integers(0, 2**40),
    st.integers(1, 40),
    st.none() | st.integers(0, 90),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_every_mask_is_m_whole_blocks_of_real_points(
    lengths: list[int], seed: int, smallest: int, more: int | None, one: float, other: float
) -> None:
    length, low, high = torch.tensor(lengths), min(one, other), max(one, other)
    largest = None if more is None else smallest + more
    masks = block_masks(
        length,
        75,
        sample_seeds(seed, 3, torch.arange(len(lengths))),
        min_block_size=smallest,
        max_block_size=largest,
        min_mask_ratio=low,
        max_mask_ratio=high,
    )
    for count, mask, size, ratio in zip(lengths, masks.mask, masks.block_size.tolist(), masks.ratio, strict=True):
        assert not mask[count:].any()
        assert float(ratio) == int(mask.sum()) / max(count, 1)
        if count < 2:
            assert size == 0
            assert not mask.any()
            continue
        assert size < count
        assert size & (size - 1) == 0
        assert size <= max(smallest, count // 4 if largest is None else largest)
        assert 2 * size > smallest or 2 * size >= count
        blocks = mask[:count].split(size)
        hidden = sum(bool(block.all()) for block in blocks)
        assert sum(bool(block.any()) for block in blocks) == hidden
        clipped = [min(max(int(len(blocks) * r), 1), len(blocks) - 1) for r in (low, high)]
        assert clipped[0] <= hidden <= clipped[1]


def test_exponents_are_uniform_and_ratios_are_uniform() -> None:
    masks = block_masks(full(3000, 1024), 1024, seeds_of(3000), max_block_size=16, max_mask_ratio=0.9)
    observed = np.bincount(np.log2(masks.block_size.numpy()).astype(int), minlength=5)
    assert stats.chisquare(observed).pvalue > 1e-3
    fine = masks.ratio[masks.block_size == 1].numpy()
    # int(n rho) / n is below rho by half a block on average.
    assert stats.kstest(fine + 0.5 / 1024, stats.uniform(0.1, 0.8).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(masks.block_size.log2().numpy(), masks.ratio.numpy())[0, 1]) < 0.1


@pytest.mark.parametrize(("ratio", "subsets"), [(0.34, 15), (0.5, 20)])
def test_every_set_of_blocks_is_equally_likely(ratio: float, subsets: int) -> None:
    masks = block_masks(
        full(6000, 12),
        12,
        seeds_of(6000),
        min_block_size=2,
        max_block_size=2,
        min_mask_ratio=ratio,
        max_mask_ratio=ratio,
    )
    code = (masks.mask[:, ::2].long() << torch.arange(6)).sum(dim=-1)
    observed = np.unique(code.numpy(), return_counts=True)[1]
    assert len(observed) == subsets == math.comb(6, int(6 * ratio))
    assert stats.chisquare(observed).pvalue > 1e-3


def test_a_short_last_block_is_hidden_as_often_as_the_others() -> None:
    masks = block_masks(full(4000, 9), 9, seeds_of(4000), min_block_size=2, max_block_size=2)
    hidden = masks.mask[:, ::2].sum(dim=0)
    assert stats.chisquare(hidden.numpy()).pvalue > 1e-3


def test_a_sample_does_not_depend_on_its_batch() -> None:
    length, seeds = torch.tensor([50, 1, 64, 7, 0, 33]), seeds_of(6)
    whole = block_masks(length, 64, seeds)
    order = torch.tensor([4, 2, 2, 0])
    part = block_masks(length[order], 100, seeds[order])  # a wider batch
    assert_same(BlockMasks(part.mask[:, :64], *part[1:]), BlockMasks(*(value[order] for value in whole)))
    for i in range(6):
        single = block_masks(length[i : i + 1], 64, seeds[i : i + 1])
        assert_same(single, BlockMasks(*(value[i : i + 1] for value in whole)))


def test_epochs_and_samples_are_independent() -> None:
    ranges = {"max_block_size": 1, "min_mask_ratio": 0.5, "max_mask_ratio": 0.5}
    first, second = (block_masks(full(200, 100), 100, seeds_of(200, epoch), **ranges).mask for epoch in (0, 1))
    for a, b in ((first, second), (first[:-1], first[1:])):
        both = (a & b).sum(dim=-1).numpy()  # hypergeometric: 50 of 100 among 50
        assert both.mean() == pytest.approx(25, abs=4 * math.sqrt(50 * 0.25 * 50 / 99 / len(both)))
        assert both.var() == pytest.approx(50 * 0.25 * 50 / 99, rel=0.4)
    assert len(torch.cat([seeds_of(1000, epoch) for epoch in range(5)]).unique()) == 5000
    assert not set(sample_seeds(1, 0, torch.arange(9)).tolist()) & set(sample_seeds(0, 1, torch.arange(9)).tolist())


def test_default_blocks_are_a_quarter_of_each_series_at_most() -> None:
    length = torch.tensor([16, 400]).repeat(300)
    sizes = block_masks(length, 400, seeds_of(600)).block_size.view(-1, 2).T
    assert [row.unique().tolist() for row in sizes] == [[1, 2, 4], [1, 2, 4, 8, 16, 32, 64]]


def test_batches_without_samples_or_points() -> None:
    empty = torch.zeros(0, dtype=torch.long)
    assert block_masks(empty, 5, empty).mask.shape == (0, 5)
    masks = block_masks(torch.tensor([0, 0]), 0, torch.tensor([1, 2]))
    assert masks.mask.shape == (2, 0)
    assert masks.ratio.tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(64,), (5, 64)])
def test_dynamic_mask_zeroes_what_it_hides_and_follows_its_generator(shape: tuple[int, ...]) -> None:
    x = torch.full(shape, float("nan"))
    masked, mask, block_size, ratio = dynamic_block_mask(x, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(masked, torch.where(mask, 0.0, x), rtol=0, atol=0, equal_nan=True)
    assert mask.shape == shape
    assert block_size.shape == ratio.shape == shape[:-1]
    torch.testing.assert_close(ratio, mask.double().mean(dim=-1), rtol=0, atol=0)
    again = dynamic_block_mask(x, generator=torch.Generator().manual_seed(3))
    other = dynamic_block_mask(x, generator=torch.Generator().manual_seed(4))
    assert torch.equal(again[1], mask)
    assert not torch.equal(other[1], mask)


def test_dynamic_mask_uses_blocks_up_to_half_the_series_and_two_blocks_give_half() -> None:
    generator = torch.Generator().manual_seed(0)
    _, _, block_size, ratio = dynamic_block_mask(torch.zeros(300, 32), generator=generator)
    assert block_size.unique().tolist() == [1, 2, 4, 8, 16]
    assert (ratio[block_size == 16] == 0.5).all()
    _, mask, block_size, _ = dynamic_block_mask(torch.zeros(40, 6), 4, 5, generator=generator)
    assert block_size.unique().tolist() == [4]
    assert mask.sum(dim=-1).unique().tolist() == [2, 4]


@pytest.mark.parametrize(
    ("x", "arguments", "name"),
    [
        (torch.zeros(2, 2, 2), {}, "x has shape"),
        (torch.zeros(1), {}, "x has 1 points"),
        (torch.zeros(8), {"max_block_size": 8}, "one block would hide all"),
        (torch.zeros(8), {"max_block_size": 100}, "one block would hide all"),
        (torch.zeros(8), {"min_block_size": 5}, "max_block_size is 4"),
        (torch.zeros(8), {"min_block_size": 0}, "min_block_size is 0"),
        (torch.zeros(8), {"max_mask_ratio": 1.1}, "max_mask_ratio is 1.1"),
        (torch.zeros(8), {"min_mask_ratio": 0.95}, "min_mask_ratio is 0.95"),
    ],
)
def test_wrong_input_of_the_dynamic_mask_is_named(x: torch.Tensor, arguments: dict[str, float], name: str) -> None:
    with pytest.raises(InputError, match=name):
        dynamic_block_mask(x, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ((full(2, 4).int(), 8, full(2, 1)), InputTypeError, "length is of type"),
        ((full(2, 4), 8, full(2, 1).double()), InputTypeError, "seeds is of type"),
        ((full(2, 4).view(1, 2), 8, full(2, 1).view(1, 2)), InputError, "length has shape"),
        ((full(2, 4), 8, full(3, 1)), InputError, "seeds has shape"),
        ((full(2, 9), 8, full(2, 1)), InputError, "length has values from 9 to 9"),
        ((full(2, -1), 8, full(2, 1)), InputError, "length has values from -1"),
    ],
)
def test_wrong_batches_are_named(
    arguments: tuple[torch.Tensor, int, torch.Tensor], error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        block_masks(*arguments)


def test_wrong_seeds_are_named() -> None:
    with pytest.raises(InputError, match="seed is -1"):
        sample_seeds(-1, 0, torch.arange(2))
    with pytest.raises(InputError, match="epoch is 9223372036854775808"):
        sample_seeds(0, 2**63, torch.arange(2))
    with pytest.raises(InputTypeError, match="index is of type"):
        sample_seeds(0, 0, torch.zeros(2))
