"""Spectra on another grid: what is kept, what is replaced, and the grid that covers all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.spectra.resampling import common_wavelengths, resample_spectra
from stgraph.errors import InputError, InputTypeError


def spectra() -> Data:
    """Three spectra of 12 points from 4000 angstrom, the last without a good point."""
    x = torch.randn(3, 12, 1, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 12, 1, dtype=torch.bool)
    mask[2] = False
    mask[0, 10:] = False
    return Data(
        x=x,
        mask=mask,
        flux_error=torch.full((3, 12, 1), 0.5) * mask,
        wavelength=torch.arange(4000.0, 4012.0, dtype=torch.float64),
        no_data=~mask.any(dim=(1, 2)),
        pos=torch.eye(3),
        redshift=torch.tensor([0.0, 0.5, torch.nan], dtype=torch.float64),
        node_names=["a", "b", "c"],
        metadata={"kind": np.array(["x", "y", "z"])},
        edge_index=torch.tensor([[0], [1]]),
    )


def steps(start: float, step: float, count: int) -> Tensor:
    return start + step * torch.arange(count, dtype=torch.float64)


def test_values_are_replaced_and_the_rest_is_kept():
    data = spectra()
    before = data.x.clone()
    found = resample_spectra(data, steps(4000.5, 2.0, 6))
    pairs = data.x[..., 0].unflatten(1, (6, 2)).mean(dim=2)
    torch.testing.assert_close(found.x[1, :, 0], pairs[1])
    assert found.mask[..., 0].tolist() == [[True] * 5 + [False], [True] * 6, [False] * 6]
    torch.testing.assert_close(found.flux_error[1, :, 0], torch.full((6,), 0.5 / 2**0.5))
    assert found.x.dtype == found.flux_error.dtype == torch.float32
    assert found.wavelength.dtype == torch.float64
    assert found.no_data.tolist() == [False, False, True]
    assert found.node_names == ["a", "b", "c"]
    assert found.metadata["kind"].tolist() == ["x", "y", "z"]
    assert torch.equal(found.pos, data.pos)
    assert torch.equal(found.edge_index, data.edge_index)
    assert torch.equal(data.x, before)
    assert data.wavelength.shape == (12,)


def test_a_bin_is_anomalous_if_more_than_half_of_it_is():
    data = spectra()
    data.anomaly_mask = torch.zeros_like(data.mask)
    data.anomaly_mask[1, [1, 4, 5, 7, 8]] = True
    found = resample_spectra(data, steps(4001.0, 3.0, 4))  # points 0-2, 3-5, 6-8, 9-11
    assert found.anomaly_mask[..., 0].tolist() == [[False] * 4, [False, True, True, False], [False] * 4]
    half = resample_spectra(data, steps(4000.5, 2.0, 6)).anomaly_mask
    assert half[1, :, 0].tolist() == [False, False, True, False, False, False]


def test_wavelengths_of_each_spectrum_and_no_mask():
    data = Data(x=torch.ones(2, 4, 1), wavelength=torch.stack([steps(1.0, 1.0, 4), steps(3.0, 1.0, 4)]))
    found = resample_spectra(data, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert found.x[..., 0].tolist() == found.mask[..., 0].tolist() == [[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]]


def test_spectra_beside_the_grid_are_counted_in_a_warning(caplog):
    data = Data(x=torch.ones(2, 4, 1), wavelength=torch.stack([steps(1.0, 1.0, 4), steps(30.0, 1.0, 4)]))
    found = resample_spectra(data, [1.0, 2.0])
    assert found.no_data.tolist() == [False, True]
    assert "1 of 2 spectra have no good point left" in caplog.text


def test_padding_is_gone():
    data = spectra()
    data.length = torch.tensor([12, 12, 12])
    assert "length" not in resample_spectra(data, [4001.0, 4003.0])


def test_the_common_grid_covers_the_good_points_by_the_median_step():
    data = spectra()
    assert torch.equal(common_wavelengths(data, spacing="linear"), data.wavelength)
    data.mask[1, 9:] = data.mask[0, 9:] = False
    data.mask[0, :2] = data.mask[1, :1] = False
    assert torch.equal(common_wavelengths(data, spacing="linear"), steps(4001.0, 1.0, 8))
    log = common_wavelengths(data)
    torch.testing.assert_close(log[[0, -1]], torch.tensor([4001.0, 4008.0], dtype=torch.float64))
    assert log.shape == (8,)
    torch.testing.assert_close(log.log().diff(), (log[-1] / log[0]).log().expand(7) / 7, rtol=1e-9, atol=0)
    assert common_wavelengths(data, points=5).shape == (5,)


def test_the_common_grid_of_spectra_with_their_own_wavelengths():
    rows = torch.stack([steps(1000.0, 2.0, 6), steps(1001.0, 2.0, 6), steps(1004.0, 50.0, 6)])
    data = Data(x=torch.ones(3, 6, 1), wavelength=rows, mask=torch.ones(3, 6, 1, dtype=torch.bool))
    data.mask[2, 2:] = False  # padding, as it may be
    assert torch.equal(common_wavelengths(data, spacing="linear"), steps(1000.0, 2.0, 28))


def test_the_common_grid_in_the_rest_frame():
    data = spectra()
    grid = common_wavelengths(data, spacing="linear", rest_frame=True)
    torch.testing.assert_close(grid[[0, -1]], torch.tensor([4000 / 1.5, 4009.0], dtype=torch.float64))
    log = common_wavelengths(data, rest_frame=True)
    torch.testing.assert_close(
        log[1:] / log[:-1], (1 + 1 / 4005.5) * torch.ones(log.numel() - 1).double(), rtol=1e-6, atol=0
    )


def test_a_single_good_point_tells_no_step_but_the_others_do():
    data = Data(
        x=torch.ones(2, 5, 1), wavelength=steps(10.0, 1.0, 5).expand(2, 5), mask=torch.ones(2, 5, 1, dtype=torch.bool)
    )
    data.mask[0, 1:] = False
    assert torch.equal(common_wavelengths(data, spacing="linear"), steps(10.0, 1.0, 5))
    data.mask[1, :4] = False
    grid = common_wavelengths(data, spacing="linear", points=3)
    assert grid.tolist() == [10, 12, 14]
    with pytest.raises(InputError, match="no step can be told; give points"):
        common_wavelengths(data, spacing="linear")


def test_wrong_input_is_refused_by_name():
    data = spectra()
    for grid in ([4003.0, 4001.0], [], [[4000.0, 4001.0]], [4000.0, float("nan")]):
        with pytest.raises(InputError, match="wavelength_grid"):
            resample_spectra(data, grid)
    with pytest.raises(InputTypeError, match="wavelength_grid"):
        resample_spectra(data, ["4000", "4001"])
    with pytest.raises(InputError, match="spacing is 'square'"):
        common_wavelengths(data, spacing="square")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="points is 1"):
        common_wavelengths(data, points=1)
    with pytest.raises(InputError, match="2 channels"):
        resample_spectra(Data(x=torch.ones(2, 3, 2), wavelength=torch.arange(3.0)), [0.5, 1.5])
    with pytest.raises(InputError, match=r"wavelength has shape \(4,\)"):
        resample_spectra(Data(x=torch.ones(2, 3, 1), wavelength=torch.arange(4.0)), [0.5, 1.5])
    with pytest.raises(InputError, match="positive wavelengths"):
        common_wavelengths(Data(x=torch.ones(2, 3, 1), wavelength=torch.arange(3.0)))
    one = Data(
        x=torch.ones(2, 3, 1), wavelength=torch.arange(3.0), mask=(torch.arange(3) == 1).view(1, 3, 1).expand(2, 3, 1)
    )
    with pytest.raises(InputError, match="more than one wavelength"):
        common_wavelengths(one)
    data.mask[:] = False
    with pytest.raises(InputError, match="no good point"):
        common_wavelengths(data)
    del data.wavelength
    for call in (common_wavelengths, lambda d: resample_spectra(d, [1.0, 2.0])):
        with pytest.raises(InputError, match="data has no wavelength"):
            call(data)
