from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import io, ndimage
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.simulation.fusion import pair as pair_module
from stgraph.data.simulation.fusion import simulate_pair
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import normalise_kernel, psf_kernel, sensor_response

WAVELENGTHS = np.linspace(420.0, 900.0, 6)


def random_cube(height: int = 12, width: int = 16, dtype: Any = np.float32) -> np.ndarray:
    return (np.random.default_rng(0).random((height, width, 6)) * 1000).astype(dtype)


def pair_of(cube: Any, **options: Any) -> pair_module.FusionPair:
    return simulate_pair(cube, **{"wavelengths": WAVELENGTHS, "half_size": 2, "sigma": 1.5, **options})


def graph_of(cube: np.ndarray, **attributes: Any) -> Data:
    height, width, bands = cube.shape
    return Data(x=torch.from_numpy(cube).view(height * width, bands, 1), grid=(height, width), **attributes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("boundary", "mode"), [("reflect", "mirror"), ("replicate", "nearest"), ("zero", "constant")])
def test_without_noise_each_image_is_what_numpy_makes(dtype: Any, boundary: str, mode: str) -> None:
    cube = random_cube(dtype=dtype)
    psf = np.array([[0, 1, 0], [2, 3, 0], [0, 1, 4.0]])
    pair = pair_of(cube, psf=psf, boundary=boundary, snr_spatial=np.inf, snr_spectral=np.inf)
    low, high = np.percentile(cube, [1, 99])
    truth = (np.clip(cube, low, high) - low) / (high - low)
    srf = sensor_response(4, WAVELENGTHS).numpy()
    blurred = np.stack([ndimage.convolve(band, psf / psf.sum(), mode=mode) for band in np.moveaxis(truth, 2, 0)], -1)
    coarse = blurred.reshape(3, 4, 4, 4, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(pair.truth, truth, atol=1e-6)
    np.testing.assert_allclose(pair.hr_msi, truth @ srf.T, atol=1e-6)
    np.testing.assert_allclose(pair.lr_hsi, coarse, atol=1e-6)
    np.testing.assert_allclose(pair.srf, srf, atol=1e-6)
    assert pair.truth.numpy().dtype == dtype
    assert {image.dtype for image in pair[:5]} == {pair.truth.dtype}


def test_normalisation_reaches_from_zero_to_one() -> None:
    truth = pair_of(random_cube()).truth
    assert float(truth.min()) == 0
    assert float(truth.max()) == 1


def test_integers_become_float32_and_the_cube_is_left_alone() -> None:
    cube = random_cube(dtype=np.uint16)
    before = cube.copy()
    assert pair_of(cube).truth.dtype == torch.float32
    assert (cube == before).all()
    raw = torch.rand(8, 8, 6)
    pair = pair_of(raw, normalise=False)
    assert torch.equal(pair.truth, raw)
    assert pair.truth.data_ptr() != raw.data_ptr()


def test_noise_has_the_stated_power_and_that_of_the_msi_is_drawn_first() -> None:
    cube = random_cube(64, 64)
    options: dict[str, Any] = {"ratio": 1, "psf": "delta", "snr_spatial": 20.0, "snr_spectral": 30.0}
    noisy = pair_of(cube, **options)
    clean = pair_of(cube, **{**options, "snr_spatial": np.inf, "snr_spectral": np.inf})
    for name, snr in (("hr_msi", 30.0), ("lr_hsi", 20.0)):
        signal, noise = getattr(clean, name), getattr(noisy, name) - getattr(clean, name)
        power = signal.square().mean(dim=(0, 1)) / noise.square().mean(dim=(0, 1))
        np.testing.assert_allclose(10 * power.log10(), snr, atol=0.3)
    generator = torch.Generator().manual_seed(42)
    drawn = torch.randn(4, 64, 64, generator=generator)
    noise = (noisy.hr_msi - clean.hr_msi).permute(2, 0, 1)
    expected = drawn * (clean.hr_msi.square().mean(dim=(0, 1)) / 1000).sqrt()[:, None, None]
    np.testing.assert_allclose(noise, expected, atol=1e-6)


def test_the_same_seed_gives_the_same_bits() -> None:
    cube = random_cube()
    first, second, other = pair_of(cube), pair_of(cube), pair_of(cube, seed=1)
    assert torch.equal(first.lr_hsi, second.lr_hsi)
    assert torch.equal(first.hr_msi, second.hr_msi)
    assert not torch.equal(first.lr_hsi, other.lr_hsi)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bands_in_groups_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    cube = random_cube(dtype=dtype)
    whole = pair_of(cube)
    monkeypatch.setattr(pair_module, "_VALUES_AT_ONCE", 1)
    np.testing.assert_allclose(pair_of(cube).lr_hsi, whole.lr_hsi, atol=1e-6)


def test_other_sizes_are_cropped_and_this_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    cube = random_cube(14, 17)
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        pair = pair_of(cube)
    assert "cropped from 14 x 17 to 12 x 16" in caplog.text
    assert pair.truth.shape == (*pair.hr_msi.shape[:2], 6) == (12, 16, 6)
    low, high = np.percentile(cube, [1, 99])  # of the whole cube
    np.testing.assert_allclose(pair.truth, ((np.clip(cube, low, high) - low) / (high - low))[:12, :16], atol=1e-6)


def test_without_cropping_coarse_pixels_are_a_little_larger() -> None:
    pair = pair_of(random_cube(14, 17), crop=False, snr_spatial=np.inf)
    assert pair.truth.shape == (14, 17, 6)
    assert pair.lr_hsi.shape == (3, 4, 6)
    pos = pair.graphs()[1].pos
    assert pos[:2].tolist() == pytest.approx(torch.tensor([[11 / 6, 13 / 8], [11 / 6, 47 / 8]]))


def test_graphs_hold_pixels_row_by_row() -> None:
    pair = pair_of(random_cube(8, 12), ratio=4)
    sharp, coarse = pair.graphs()
    assert sharp.grid == (8, 12)
    assert coarse.grid == (2, 3)
    assert torch.equal(sharp.x.view(8, 12, 4), pair.hr_msi)
    assert torch.equal(coarse.x.view(2, 3, 6), pair.lr_hsi)
    assert sharp.pos[13].tolist() == [1.0, 1.0]
    # The centre of a coarse pixel is the mean of the centres of the fine pixels it averages.
    expected = sharp.pos.view(2, 4, 3, 4, 2).mean(dim=(1, 3)).view(-1, 2)
    torch.testing.assert_close(coarse.pos, expected)
    assert coarse.wavelength.tolist() == pytest.approx(WAVELENGTHS)
    assert "wavelength" not in sharp


def test_a_graph_is_read_like_its_array() -> None:
    cube = random_cube()
    graph = graph_of(cube, wavelength=torch.from_numpy(WAVELENGTHS))
    from_graph = simulate_pair(graph, half_size=2, sigma=1.5)
    for left, right in zip(from_graph, pair_of(cube), strict=True):
        assert torch.equal(torch.as_tensor(left), torch.as_tensor(right))


def test_a_graph_with_missing_values_is_refused() -> None:
    cube = random_cube()
    mask = torch.ones(192, 6, 1, dtype=torch.bool)
    mask[17, 2] = False
    with pytest.raises(InputError, match="1 NaN or infinite values, the first, nan, at row 1, column 1, band 2"):
        pair_of(graph_of(cube, mask=mask))
    with pytest.raises(InputError, match="graph of pixels"):
        pair_of(Data(x=torch.ones(4, 6, 1)))
    with pytest.raises(InputError, match="as many pixels as its grid 2 x 2, got 6"):
        pair_of(Data(x=torch.ones(6, 6, 1), grid=(2, 2)))


def test_own_response_and_kernel_are_normalised() -> None:
    srf = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 2, 0.0]])
    pair = simulate_pair(random_cube(), bands=srf.T, psf=psf_kernel("airy", compat=True) * 3)
    np.testing.assert_allclose(pair.srf, [[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0.25, 0.25, 0.5, 0]], atol=1e-7)
    torch.testing.assert_close(pair.psf, psf_kernel("airy", compat=True).float())
    assert pair.wavelengths is None


def test_stretched_wavelengths_are_used_for_the_response_only() -> None:
    cube = random_cube()
    stretched = simulate_pair(cube, wavelengths="stretched")
    torch.testing.assert_close(stretched.srf, sensor_response(4, "stretched", channels=6).float())
    assert stretched.wavelengths is None
    graph = graph_of(cube, wavelength=torch.from_numpy(WAVELENGTHS))
    assert simulate_pair(graph, wavelengths="stretched").wavelengths.tolist() == pytest.approx(WAVELENGTHS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wavelengths": None}, "wavelengths .* are needed for the spectral response of 4 bands"),
        ({"wavelengths": WAVELENGTHS[:5]}, "each of the 6 bands"),
        ({"wavelengths": "true"}, "or 'stretched'"),
        ({"bands": 16}, "'SWIR1'"),
        ({"bands": 5}, "one of 1, 3, 4, 8, 16"),
        ({"bands": np.ones((2, 5))}, "must have 6 columns"),
        ({"ratio": 13}, "ratio must be 1..12"),
        ({"psf": "box"}, "got 'box'"),
        ({"psf": np.ones((2, 2))}, "odd size"),
        ({"sigma": 0.0}, "sigma"),
        ({"boundary": "wrap"}, "boundary"),
        ({"snr_spatial": np.nan}, "snr_spatial"),
        ({"snr_spectral": -np.inf}, "snr_spectral"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair_of(random_cube(), **options)


def test_bad_types() -> None:
    with pytest.raises(InputTypeError, match="seed must be a whole number"):
        pair_of(random_cube(), seed=1.5)
    with pytest.raises(InputTypeError, match="ratio must be a whole number"):
        pair_of(random_cube(), ratio=2.5)
    for cube in (np.ones((4, 4, 6), dtype=complex), torch.ones(4, 4, 6, dtype=torch.bool), np.ones((4, 4, 6), bool)):
        with pytest.raises(InputTypeError, match="must hold real numbers"):
            pair_of(cube)


@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (-2, "negative")]
)
def test_bad_values_are_counted_and_the_first_is_named(value: float, what: str) -> None:
    cube = random_cube()
    cube[3, 5, 1] = cube[7, 0, 0] = value
    with pytest.raises(InputError, match=rf"cube holds 2 {what} values, the first, .*, at row 3, column 5, band 1"):
        pair_of(cube)


def test_masked_values_are_refused() -> None:
    cube = np.ma.masked_greater(random_cube(dtype=np.uint16), 990)
    with pytest.raises(InputError, match="NaN or infinite"):
        pair_of(cube)


def test_bad_shapes_and_constants() -> None:
    with pytest.raises(InputError, match=r"\(rows, columns, bands\), got \(4, 4\)"):
        pair_of(np.ones((4, 4)))
    with pytest.raises(InputError, match=r"must not be constant: .* both 1"):
        pair_of(np.ones((4, 4, 6)))


def test_read_only_and_swapped_arrays_are_read() -> None:
    cube = random_cube()
    expected = pair_of(cube).lr_hsi
    cube.flags.writeable = False
    assert torch.equal(pair_of(cube).lr_hsi, expected)
    assert torch.equal(pair_of(cube.astype(">f4")).lr_hsi, expected)
    assert torch.equal(pair_of(np.asfortranarray(cube)).lr_hsi, expected)


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA names no folder with data")
def test_a_real_cube_is_predicted_by_its_affine_fit() -> None:
    file = Path(os.environ["STGRAPH_DATA"]) / "hsi_samson" / "Samson.mat"
    values = io.loadmat(file)["Y"].reshape(156, 95, 95).transpose(2, 1, 0)[:88, :88]
    pair = simulate_pair(values, wavelengths="stretched", boundary="zero", crop=False)
    ones = [
        torch.cat([image.flatten(0, 1), torch.ones(image.shape[0] * image.shape[1], 1)], 1)
        for image in (pair.lr_hsi @ pair.srf.T, pair.hr_msi)
    ]
    fit: Tensor = torch.linalg.lstsq(ones[0], pair.lr_hsi.flatten(0, 1)).solution
    estimate, truth = ((255 * image.clamp(0, 1)).floor() for image in (ones[1] @ fit, pair.truth.flatten(0, 1)))
    quality = 10 * torch.log10(255**2 / (estimate - truth).square().mean())
    assert float(quality) == pytest.approx(40.65, abs=0.3)


def test_own_kernel_stays_in_place() -> None:
    """A kernel off its centre shifts the coarse image: convolution moves light towards the kernel's mass."""
    cube = np.zeros((9, 9, 6), dtype=np.float32)
    cube[4, 4] = 1
    shift = normalise_kernel([[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    pair = pair_of(cube, psf=shift, ratio=1, snr_spatial=np.inf, normalise=False, boundary="zero")
    assert pair.lr_hsi[..., 0].nonzero().tolist() == [[4, 5]]
