from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import area_downsample, area_weights


def test_divisible_sizes_are_block_means() -> None:
    image = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    small = area_downsample(image, 4)
    assert small.shape == (2, 3, 2, 3)
    for row in range(2):
        for column in range(3):
            block = image[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            torch.testing.assert_close(small[..., row, column], block.mean(dim=(-2, -1)))


def test_other_sizes_count_fractions_of_pixels() -> None:
    # 5 pixels become 2: each covers two and a half.
    image = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]] * 2])
    torch.testing.assert_close(area_downsample(image, 2)[0, 0], torch.tensor([4.5 / 2.5, 10.5 / 2.5]))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 23), width=st.integers(1, 23), ratio=st.integers(1, 9), seed=st.integers(0, 99))
def test_mass_is_conserved(height: int, width: int, ratio: int, seed: int) -> None:
    ratio = min(ratio, height, width)
    image = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    small = area_downsample(image, ratio)
    assert small.shape == (2, height // ratio, width // ratio)
    torch.testing.assert_close(small.mean(dim=(-2, -1)), image.mean(dim=(-2, -1)))
    assert bool((small <= image.amax() + 1e-12).all())


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 40), data=st.data())
def test_weights_are_overlaps(size: int, data: st.DataObject) -> None:
    target = data.draw(st.integers(1, size))
    weights = area_weights(size, target)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(target, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(dim=0), torch.full((size,), target / size, dtype=torch.float64))
    # A coordinate that runs along the axis is mapped to the centres of the parts.
    centers = weights @ (torch.arange(size, dtype=torch.float64) + 0.5)
    parts = (torch.arange(target, dtype=torch.float64) + 0.5) * size / target
    assert float((centers - parts).abs().max()) < 0.5


def test_one_divisible_side_agrees_with_block_means() -> None:
    image = torch.rand(1, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = image.unflatten(1, (2, 3)).mean(dim=2)
    expected = rows @ area_weights(7, 2).T
    torch.testing.assert_close(area_downsample(image, 3), expected)


def test_ratio_one_changes_nothing() -> None:
    image = torch.rand(2, 3, 5)
    assert torch.equal(area_downsample(image, 1), image)


@pytest.mark.parametrize("size", [8, 9])
def test_gradients(size: int) -> None:
    image = torch.rand(1, size, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: area_downsample(x, 4), (image,))


def test_bad_inputs() -> None:
    image = torch.zeros(1, 6, 4)
    for ratio in (0, 5):
        with pytest.raises(InputError, match=rf"ratio must be 1..4 for 6 x 4 pixels, got {ratio}"):
            area_downsample(image, ratio)
    with pytest.raises(InputTypeError, match="ratio must be a whole number"):
        area_downsample(image, 2.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"target must be 1..3"):
        area_weights(3, 4)
