"""What fusion runs read: units, responses, and what is refused before training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import savemat

from stgraph.data.images import normalise_image
from stgraph.data.simulation.fusion import simulate_pair
from stgraph.errors import InputError
from stgraph.ops.fusion import psf_kernel, sensor_response
from stgraph.tasks.fusion_input import read_fusion_input
from tests.tasks.small_fusions import WAVELENGTHS, fusion_options, make_cube, write_pair, write_scene


def read(options):
    options.check()
    return read_fusion_input(options)[1]


def test_a_synthetic_pair_is_that_of_the_normalised_cube(tmp_path):
    pair = read(fusion_options(tmp_path, write_scene(tmp_path), psf_type="moffat", sigma=2.0, num_msi_bands=3))
    wanted = simulate_pair(make_cube(), psf="moffat", sigma=2.0, bands=3, wavelengths=WAVELENGTHS)
    assert torch.equal(pair.truth, wanted.truth)
    assert torch.equal(pair.lr_hsi, wanted.lr_hsi.permute(2, 0, 1))
    assert torch.equal(pair.hr_msi, wanted.hr_msi.permute(2, 0, 1))
    assert pair.name == "super_resolved_hsi_cube_moffat_4_3"
    assert pair.scaling["cube"] == pytest.approx(np.percentile(make_cube(), [1, 99]))
    assert pair.wavelength.tolist() == WAVELENGTHS.tolist()


def test_the_published_preset_stretches_wavelengths_darkens_the_border_and_does_not_crop(tmp_path):
    path = write_scene(tmp_path, height=34)
    pair = read(fusion_options(tmp_path, path, preset="published", psf_type="airy"))
    kernel = psf_kernel("airy", compat=True)
    wanted = simulate_pair(make_cube(height=34), psf=kernel, wavelengths="stretched", boundary="zero", crop=False)
    assert torch.equal(pair.lr_hsi, wanted.lr_hsi.permute(2, 0, 1))
    assert pair.hr_msi.shape == (4, 34, 32)
    assert pair.wavelength.tolist() == WAVELENGTHS.tolist()  # of the result: the true ones


def test_limits_replace_the_percentiles(tmp_path):
    pair = read(fusion_options(tmp_path, write_scene(tmp_path), limits=[0.0, 1000.0]))
    torch.testing.assert_close(pair.truth, torch.from_numpy(make_cube() / 1000))


def test_a_measured_response_is_that_of_the_bands_asked_for(tmp_path, monkeypatch):
    rows = ["sensor,band,wavelength_nm,response"]
    rows += [f"A,{band},{nm},1" for band, ends in {"2": (400, 500), "3": (500, 900)}.items() for nm in ends]
    (tmp_path / "spectral_response").mkdir()
    (tmp_path / "spectral_response" / "srf.csv").write_text("\n".join(rows))
    monkeypatch.setenv("STGRAPH_DATA", str(tmp_path))
    options = fusion_options(tmp_path, write_scene(tmp_path), sensor="A", sensor_bands=[3])
    inside = torch.from_numpy(WAVELENGTHS >= 500)
    torch.testing.assert_close(read(options).srf, (inside / inside.sum()).float()[None])
    options.wavelengths = "stretched"
    with pytest.raises(InputError, match="needs the true wavelengths"):
        read(options)


@pytest.mark.parametrize("kind", ["numbers", "ends", "npy", "csv"])
def test_wavelengths_are_given_as_numbers_ends_or_files(tmp_path, kind):
    np.savez(tmp_path / "scene.npz", cube=make_cube())
    np.save(tmp_path / "nm.npy", WAVELENGTHS)
    (tmp_path / "nm.csv").write_text("\n".join(map(str, WAVELENGTHS)))
    given = {"numbers": WAVELENGTHS.tolist(), "ends": [420.0, 880.0]}.get(kind, [str(tmp_path / f"nm.{kind}")])
    pair = read(fusion_options(tmp_path, tmp_path / "scene.npz", wavelengths=given))
    np.testing.assert_allclose(pair.wavelength, WAVELENGTHS)
    torch.testing.assert_close(pair.srf, sensor_response(4, WAVELENGTHS).float())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"wavelengths of the 12 hyperspectral bands are not known.*wavelengths='stretched'"),
        ([1.0, 2.0, 3.0], "wavelengths has 3 numbers, and .* has 12 bands"),
        ([0.4, 0.9], "must be in nm"),
        ("missing.csv", "a file .npy, .csv or .txt that exists"),
    ],
)
def test_unknown_wavelengths_are_refused_with_the_ways_to_give_them(tmp_path, given, message):
    np.savez(tmp_path / "scene.npz", cube=make_cube())
    with pytest.raises(InputError, match=message):
        read(fusion_options(tmp_path, tmp_path / "scene.npz", wavelengths=given))


def test_bands_by_pixels_need_rows_and_columns(tmp_path):
    cube = make_cube(height=32, width=36)
    savemat(tmp_path / "scene.mat", {"Y": cube.reshape(-1, 12, order="F").T})
    options = fusion_options(tmp_path, tmp_path / "scene.mat", wavelengths=[420.0, 880.0])
    with pytest.raises(InputError, match=r"Y has one band .* needs layout='bands_pixels'"):
        read(options)
    options.layout, options.rows, options.columns = "bands_pixels", 32, 36
    assert torch.equal(read(options).truth, simulate_pair(cube, wavelengths=WAVELENGTHS).truth)


def test_a_missing_key_is_refused_with_those_there_are(tmp_path):
    savemat(tmp_path / "scene.mat", {"pavia": make_cube(), "labels": np.ones((2, 2))})
    with pytest.raises(InputError, match=r"(?s)pavia"):
        read(fusion_options(tmp_path, tmp_path / "scene.mat", mat_key="paviaU"))


@pytest.mark.parametrize(("value", "message"), [(np.nan, "1 NaN or infinite values"), (-3.0, "1 negative values")])
def test_bad_radiances_are_refused_with_their_place(tmp_path, value, message):
    cube = make_cube()
    cube[4, 5, 6] = value
    np.savez(tmp_path / "bad.npz", cube=cube, wavelength=WAVELENGTHS)
    with pytest.raises(InputError, match=rf"bad.npz: .*{message}.* row 4, column 5, band 6"):
        read(fusion_options(tmp_path, tmp_path / "bad.npz"))


@pytest.mark.parametrize(("shape", "message"), [((4, 4), "odd"), ((3, 5), "square")], ids=["even", "not square"])
def test_kernels_that_are_even_or_not_square_are_refused(tmp_path, shape, message):
    np.save(tmp_path / "psf.npy", np.ones(shape))
    options = fusion_options(tmp_path, write_scene(tmp_path), provide_psf=True, psf_file=str(tmp_path / "psf.npy"))
    with pytest.raises(InputError, match=message):
        read(options)


def test_kernels_and_responses_of_ones_own_are_normalised(tmp_path):
    np.save(tmp_path / "psf.npy", np.full((3, 3), 2.0))
    np.save(tmp_path / "srf.npy", 3.0 * np.eye(12)[:5])
    files = {"psf_file": str(tmp_path / "psf.npy"), "srf_file": str(tmp_path / "srf.npy")}
    pair = read(fusion_options(tmp_path, write_scene(tmp_path), provide_psf=True, provide_srf=True, **files))
    assert torch.equal(pair.srf, torch.eye(12)[:5])
    torch.testing.assert_close(pair.psf, torch.full((3, 3), 1 / 9))
    assert pair.name == "super_resolved_hsi_cube_custom_4_5"


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"num_endmembers": 13}, "at most 12"), ({"spec_prior": True, "prior_downsample": 9}, "at most 8")],
)
def test_numbers_that_the_image_cannot_fulfil_are_refused(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        read(fusion_options(tmp_path, write_scene(tmp_path), **changed))


@pytest.mark.parametrize(
    ("bands", "asked", "spatial", "prior"),
    [
        (1, {}, "mgat", None),
        (3, {}, "none", False),
        (1, {"spatial": "none"}, "none", True),
        (1, {"spec_prior": False}, "none", False),
        (1, {"training_tile": 2}, "none", True),
    ],
)
def test_few_bands_get_neighbours_or_the_prior(tmp_path, bands, asked, spatial, prior):
    # The panchromatic band, and three.
    options = fusion_options(tmp_path, write_scene(tmp_path), num_msi_bands=bands, prior_downsample=2, **asked)
    resolved = read_fusion_input(options)[0]
    assert (resolved.spatial, resolved.spec_prior) == (spatial, prior)


def test_a_real_pair_is_brought_to_one_scale(tmp_path):
    made = write_pair(tmp_path, gain=0.01)
    pair = read(fusion_options(tmp_path))
    assert (pair.ratio, pair.name, pair.truth) == (4, "super_resolved_hsi", None)
    low, high = pair.scaling["lr_hsi"]
    assert [low, high] == pytest.approx(np.percentile(made.lr_hsi, [1, 99]))
    torch.testing.assert_close(pair.lr_hsi.permute(1, 2, 0), (made.lr_hsi - low) / (high - low))
    # The kernel was found in the images, a Gaussian of 2 pixels.
    assert pair.psf_estimate["sigma1"] == pytest.approx(2.0, abs=0.5)
    assert min(pair.radiometric_match["correlation"]) > 0.99
    wanted = (made.hr_msi - low) / (high - low)
    torch.testing.assert_close(pair.hr_msi.permute(1, 2, 0), wanted, atol=0.02, rtol=0)


def test_the_published_preset_clips_each_real_image_to_its_own_percentiles(tmp_path):
    made = write_pair(tmp_path, gain=0.01)
    pair = read(fusion_options(tmp_path, preset="published"))
    np.testing.assert_array_equal(pair.lr_hsi.permute(1, 2, 0), normalise_image(made.lr_hsi.numpy())[0])
    np.testing.assert_array_equal(pair.hr_msi.permute(1, 2, 0), normalise_image(0.01 * made.hr_msi.numpy())[0])
    assert (pair.psf, pair.radiometric_match) == (None, None)


def test_real_images_may_be_taken_as_they_are(tmp_path):
    pair = write_pair(tmp_path)
    np.savez(tmp_path / "low.npz", cube=pair.lr_hsi.numpy() / 1000, wavelength=WAVELENGTHS)
    np.save(tmp_path / "sharp.npy", pair.hr_msi.numpy() / 1000)
    raw = read(fusion_options(tmp_path, normalise=False, estimate_psf=False, match_radiometry=False))
    assert (raw.scaling, raw.psf, raw.radiometric_match) == ({}, None, None)
    np.testing.assert_array_equal(raw.hr_msi.permute(1, 2, 0), np.load(tmp_path / "sharp.npy"))


def test_real_images_in_other_units_need_normalising(tmp_path):
    write_pair(tmp_path)
    with pytest.raises(InputError, match="expected about 0 to 1"):
        read(fusion_options(tmp_path, normalise=False))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((30, 32, 4), r"no multiple of lr_hsi, 8 x 8; expected .* hr_msi 28 x 32 and lr_hsi 7 x 8 for a ratio of 4"),
        ((32, 16, 4), "no multiple"),
        ((4, 4, 4), "wrong way round"),
        ((32, 32, 3), "has 3 bands, and num_bands_msi_non_synthetic is 4"),
    ],
)
def test_real_images_that_do_not_fit_are_refused(tmp_path, shape, message):
    write_pair(tmp_path)
    np.save(tmp_path / "sharp.npy", np.random.default_rng(0).random(shape))
    with pytest.raises(InputError, match=message):
        read(fusion_options(tmp_path))


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.inf, "sharp.npy holds 1 NaN .*"), (-2.0, "sharp.npy has negative radiance: 1 value, the first, -2, at")],
)
@pytest.mark.parametrize("preset", ["default", "published"])
def test_bad_radiances_of_a_real_image_are_refused_with_their_place(tmp_path, preset, value, message):
    write_pair(tmp_path)
    sharp = np.load(tmp_path / "sharp.npy")
    sharp[1, 2, 3] = value
    np.save(tmp_path / "sharp.npy", sharp)
    with pytest.raises(InputError, match=rf"{message} row 1, column 2, band 3; .*(cut them away|normalise=false)"):
        read(fusion_options(tmp_path, preset=preset))


def test_noise_below_zero_is_no_radiance_where_images_are_normalised_already(tmp_path):
    pair = write_pair(tmp_path)
    np.savez(tmp_path / "low.npz", cube=pair.lr_hsi.numpy() / 1000, wavelength=WAVELENGTHS)
    sharp = pair.hr_msi.numpy() / 1000
    sharp[1, 2, 3] = -0.01
    np.save(tmp_path / "sharp.npy", sharp)
    assert read(fusion_options(tmp_path, normalise=False, match_radiometry=False)).hr_msi[3, 1, 2] == sharp[1, 2, 3]
    sharp[1, 2, 3] = -0.6
    np.save(tmp_path / "sharp.npy", sharp)
    with pytest.raises(InputError, match=r"too far from it are 1 value, the first, -0.6, at row 1, column 2, band 3"):
        read(fusion_options(tmp_path, normalise=False, match_radiometry=False))
