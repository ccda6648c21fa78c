"""Options of fusion runs: their defaults, the presets, and what is refused before anything is read."""

from __future__ import annotations

import dataclasses
import math
import typing

import pytest
import yaml

from stgraph.cli.parser import describe_arguments, parse
from stgraph.errors import InputError
from stgraph.ops.fusion import PSF_NAMES
from stgraph.tasks.fusion_methods import FUSION_METHODS
from stgraph.tasks.fusion_options import FUSION_PRESETS, FusionOptions

# The keys and defaults of the published configuration files.
DOCUMENTED = {
    "synthetic": True,
    "provide_psf": False,
    "provide_srf": False,
    "mat_file": None,
    "mat_key": None,
    "psf_type": "gaussian",
    "sigma": 3.4,
    "kernel_size": 7,
    "num_msi_bands": 4,
    "fwhm_factor": 4.2,
    "downsample_ratio": 4,
    "snr_spatial": 35,
    "snr_spectral": 40,
    "seed": 42,
    "psf_file": None,
    "srf_file": None,
    "hr_msi_file": None,
    "lr_hsi_file": None,
    "num_bands_msi_non_synthetic": 3,
    "init_lr": 1e-3,
    "max_lr": 1e-2,
    "final_lr": 1e-6,
    "epochs": 2500,
    "hidden_size": 1024,
    "training_batch_size": None,
    "inference_batch_size": None,
    "num_endmembers": 7,
    "spec_prior": None,
    "prior_downsample": 4,
    "figure_format": "jpg",
    "output_file_type": "numpy",
    "output_dir": "outputs",
    "log_dir": "logs",
    "verbose": 1,
}

REFUSED = [
    ({"mat_file": None}, "no mat_file, but synthetic is true"),
    ({"synthetic": False}, "no hr_msi_file, but synthetic is false"),
    ({"provide_srf": True}, "no srf_file, but provide_srf is true"),
    ({"provide_psf": True}, "no psf_file, but provide_psf is true"),
    ({"psf_type": "round"}, "psf_type is 'round'; expected one of gaussian, kolmogorov"),
    ({"output_file_type": "zip"}, "output_file_type is 'zip'; expected one of numpy, h5, matlab"),
    ({"preset": "best"}, "preset is 'best'"),
    ({"method": "magic"}, "method is 'magic'"),
    ({"num_msi_bands": 5}, "num_msi_bands is 5; expected one of 1, 3, 4, 8, 16"),
    ({"sigma": 0.0}, "sigma is 0.0"),
    ({"kernel_size": -1}, "kernel_size is -1"),
    ({"epochs": 0}, "epochs is 0"),
    ({"max_lr": math.nan}, "max_lr is nan"),
    ({"snr_spatial": math.nan}, "snr_spatial is nan"),
    ({"held_out": 1.0}, "held_out is 1.0"),
    ({"verbose": 2}, "verbose is 2"),
    ({"wavelengths": [400.0]}, "expected a number for each band"),
    ({"wavelengths": []}, "wavelengths are empty"),
    ({"wavelengths": [400.0, "stretched"]}, "wavelengths hold 'stretched'"),
    ({"limits": [2.0, 1.0]}, "the lower first"),
    ({"limits": [0.0, 1.0], "normalise": False}, "limits are for normalise=true"),
    ({"sensor_bands": [2]}, "name it by sensor"),
    ({"sensor": "Landsat-8", "provide_srf": True, "srf_file": "a.npy"}, "expected one spectral response"),
    ({"layout": "bands_pixels", "rows": 3}, "expected rows and columns"),
    ({"rows": 3, "columns": 3}, "rows and columns are for layout"),
    ({"training_batch_size": 5, "training_tile": 5}, "expected one of them"),
    ({"preset": "published", "patience": 5}, "patience needs held-out pixels"),
    ({"method": "affine", "patience": 5}, "patience is for method='latent_estimation'"),
    ({"log_dir": "outputs/logs"}, "log_dir outputs/logs lies in output_dir outputs"),
]
REAL = {"synthetic": False, "lr_hsi_file": "low.mat", "hr_msi_file": "sharp.mat"}
REFUSED += [
    (REAL | {"num_bands_msi_non_synthetic": 2}, "num_bands_msi_non_synthetic is 2"),
    (REAL | {"crop": True}, "crop is for synthetic=true"),
    (REAL | {"estimate_psf": False, "correction": "guided"}, "needs the point-spread function"),
]


def test_the_published_configuration_has_its_keys_and_defaults():
    values = dataclasses.asdict(FusionOptions())
    assert {name: values[name] for name in DOCUMENTED} == DOCUMENTED


def test_every_option_is_described():
    assert set(describe_arguments(FusionOptions)) == {field.name for field in dataclasses.fields(FusionOptions)}


def test_choices_are_those_of_the_methods_and_the_point_spread_functions():
    hints = typing.get_type_hints(FusionOptions)
    assert set(typing.get_args(hints["method"])) == set(FUSION_METHODS)
    assert typing.get_args(hints["psf_type"]) == tuple(PSF_NAMES)


@pytest.mark.parametrize(("changed", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_options_are_refused_before_anything_is_read(changed, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        FusionOptions(**{"mat_file": "scene.mat", **changed}).check()


def test_presets_fill_in_what_is_null():
    default, published = (FusionOptions(mat_file="a.mat", preset=name).resolved() for name in FUSION_PRESETS)
    assert (default.boundary, default.crop, default.held_out, default.correction) == ("reflect", True, 0.1, "guided")
    assert (published.boundary, published.crop, published.held_out) == ("zero", False, 0.0)
    assert (published.wavelengths, published.denoise, published.spec_prior) == ("stretched", False, False)
    assert default.wavelengths is None
    assert default.spec_prior is None


def test_what_is_given_wins_over_the_preset():
    chosen = FusionOptions(mat_file="a.mat", preset="published", boundary="reflect", spec_prior=True, held_out=0.2)
    resolved = chosen.resolved()
    assert (resolved.boundary, resolved.spec_prior, resolved.held_out) == ("reflect", True, 0.2)


def test_real_images_without_a_kernel_get_an_estimated_one():
    assert FusionOptions(**REAL).resolved().estimate_psf is True
    assert FusionOptions(**REAL).resolved().match_radiometry is True
    assert FusionOptions(**REAL, provide_psf=True, psf_file="psf.mat").resolved().estimate_psf is False
    assert FusionOptions(**REAL, estimate_psf=False).resolved().correction == "none"


@pytest.mark.parametrize("given", [REAL, {"mat_file": "a.mat"}, {"mat_file": "a.mat", "method": "cnmf"}])
@pytest.mark.parametrize("preset", list(FUSION_PRESETS))
def test_the_filled_in_options_are_good_options_that_say_the_same(given, preset):
    resolved = FusionOptions(**given, preset=preset).resolved()
    resolved.check()
    again = FusionOptions.from_dict(yaml.safe_load(yaml.safe_dump(dataclasses.asdict(resolved))))
    assert again == resolved
    assert again.resolved() == resolved


def test_flags_and_files_give_lists_and_names(tmp_path):
    words = ["--mat_file", "a.mat", "--sensor", "Sentinel-2A", "--sensor_bands", "2,3,8A", "--snr_spatial", ".inf"]
    options = parse(FusionOptions, [*words, "--wavelengths", "400,900"], prog="fuse")
    assert (options.wavelengths, options.sensor_bands, options.snr_spatial) == ([400.0, 900.0], [2, 3, "8A"], math.inf)
    (tmp_path / "run.yaml").write_text("mat_file: a.mat\nwavelengths: stretched\nspec_prior: null\n")
    assert parse(FusionOptions, ["--config", str(tmp_path / "run.yaml")], prog="fuse").wavelengths == "stretched"


def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "run.yaml").write_text("mat_file: a.mat\nnum_endmember: 5\n")
    with pytest.raises(InputError, match="did you mean num_endmembers"):
        parse(FusionOptions, ["--config", str(tmp_path / "run.yaml")], prog="fuse")
