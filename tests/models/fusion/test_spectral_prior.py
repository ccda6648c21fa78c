"""The coarse spectral prior."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.models.fusion import coarse_prior, enlarge


def test_nearest_takes_the_documented_rows_and_columns() -> None:
    image = torch.rand(2, 3, 5)
    result = enlarge(image, (11, 13))
    # q is 11 // 3 = 3 for rows and 13 // 5 = 2 for columns: the last pixel fills the rest.
    rows = [min(i // 3, 2) for i in range(11)]
    columns = [min(j // 2, 4) for j in range(13)]
    assert torch.equal(result, image[:, rows][:, :, columns])


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_prior_is_the_mean_of_blocks(factor: int) -> None:
    image = torch.rand(3, 8, 12)
    means = image.unflatten(2, (-1, factor)).mean(dim=3).unflatten(1, (-1, factor)).mean(dim=2)
    expected = means.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    assert torch.allclose(coarse_prior(image, factor), expected, atol=1e-6)


def test_sizes_that_are_no_multiples_stay() -> None:
    assert coarse_prior(torch.rand(3, 22, 23), 4).shape == (3, 22, 23)


@pytest.mark.parametrize(("mode", "tolerance"), [("bilinear", 1e-6), ("bicubic", 0.05)])
def test_the_other_modes_interpolate_between_centres(mode: str, tolerance: float) -> None:
    # A ramp over pixel centres stays one, away from the edges; the cubic kernel of PyTorch keeps it only nearly.
    ramp = torch.arange(8.0).expand(1, 8, 8)
    result = enlarge(ramp, (32, 32), mode)[0, 16, 8:-8]
    assert torch.allclose(result, (torch.arange(8.0, 24.0) + 0.5) / 4 - 0.5, atol=tolerance)
    assert torch.allclose(coarse_prior(ramp, 2, mode), enlarge(F.avg_pool2d(ramp, 2), (8, 8), mode), atol=1e-6)


def test_bad_input() -> None:
    image = torch.rand(3, 8, 6)
    with pytest.raises(InputError, match="factor is 7; expected 1 to 6"):
        coarse_prior(image, 7)
    with pytest.raises(InputError, match="upsample is 'cubic'"):
        coarse_prior(image, 2, "cubic")
    with pytest.raises(InputError, match=r"size is \(4, 8\)"):
        enlarge(image, (4, 8))
    with pytest.raises(InputError, match=r"the image has shape \(3, 8\)"):
        enlarge(image[..., 0], (8, 8))
