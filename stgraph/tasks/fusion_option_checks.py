"""Which options of a fusion run are out of range, exclude each other, or would have no effect.

This file imports nothing heavy, as the options themselves.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stgraph.errors import InputError

if TYPE_CHECKING:
    from stgraph.tasks.fusion_options import FusionOptions

__all__ = ["NETWORK_ONLY", "SYNTHETIC_ONLY", "check_fusion_options"]

_SENSOR_BANDS = (1, 3, 4, 8, 16)
_AT_LEAST_ONE = (
    "rows",
    "columns",
    "downsample_ratio",
    "num_endmembers",
    "hidden_size",
    "prior_downsample",
    "epochs",
    "training_batch_size",
    "training_tile",
    "inference_batch_size",
    "patience",
    "members",
)
_POSITIVE = ("sigma", "fwhm_factor")
_RATES = ("init_lr", "max_lr", "final_lr")
# Configurations of the published code hold all of its options, so only others can be told from their defaults.
#: Options that have an effect on synthetic images only.
SYNTHETIC_ONLY = ("layout", "rows", "columns", "crop")
#: Options that have an effect on the network only.
NETWORK_ONLY = (
    "constraint",
    "endmembers",
    "prior_upsample",
    "spatial",
    "schedule",
    "training_tile",
    "held_out",
    "patience",
    "members",
    "denoise",
    "correction",
)


def check_fusion_options(options: FusionOptions) -> None:
    """Refuse values that can be seen to be wrong without the data.

    Raises:
        InputError: If a value is out of range, or an option has no effect beside the others.
    """
    _check_choices(options)
    _check_ranges(options)
    _check_inputs(options)
    _check_wavelengths(options.wavelengths)
    _check_limits(options)
    _check_effect(options)
    _check_training(options)


def _check_choices(options: FusionOptions) -> None:
    """Refuse values that are none of the choices of an option."""
    for name, kind in typing.get_type_hints(type(options)).items():
        kinds = [kind, *typing.get_args(kind)]
        choices = [c for k in kinds if typing.get_origin(k) is typing.Literal for c in typing.get_args(k)]
        value = getattr(options, name)
        if choices and value not in choices and not (value is None and type(None) in kinds):
            raise InputError(f"{name} is {value!r}; expected one of {', '.join(choices)}")


def _check_ranges(options: FusionOptions) -> None:
    for name in _AT_LEAST_ONE:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    for name in _POSITIVE:
        value = getattr(options, name)
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; expected a positive number")
    for name in _RATES:
        value = getattr(options, name)
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} is {value}; expected a finite number, at least 0")
    for name in ("snr_spatial", "snr_spectral"):
        value = getattr(options, name)
        if math.isnan(value) or value == -math.inf:
            raise InputError(f"{name} is {value}; expected dB, or .inf for no noise")
    if options.kernel_size < 0:
        raise InputError(f"kernel_size is {options.kernel_size}; expected at least 0")
    if _inside(options.log_dir, options.output_dir):
        raise InputError(f"log_dir {options.log_dir} lies in output_dir {options.output_dir}; expected another place")
    if options.verbose not in (0, 1):
        raise InputError(f"verbose is {options.verbose}; expected 0 or 1")
    if options.held_out is not None and not 0 <= options.held_out < 1:
        raise InputError(f"held_out is {options.held_out}; expected a share from 0 to below 1")


def _inside(folder: str, other: str) -> bool:
    """Whether a folder is another one or lies in it."""
    inner, outer = (Path(path).expanduser().absolute() for path in (folder, other))
    return inner == outer or outer in inner.parents


def _check_inputs(options: FusionOptions) -> None:
    needed = ["mat_file"] if options.synthetic else ["hr_msi_file", "lr_hsi_file"]
    needed += [f"{part}_file" for part in ("psf", "srf") if getattr(options, f"provide_{part}")]
    for name in needed:
        if not getattr(options, name):
            why = f"provide_{name[:3]} is true" if name[:3] in ("psf", "srf") else f"synthetic is {options.synthetic}"
            raise InputError(f"no {name}, but {why}: name the file".replace("True", "true").replace("False", "false"))
    if options.sensor is not None and options.provide_srf:
        raise InputError("sensor and provide_srf are both given; expected one spectral response")
    if options.sensor is None and options.sensor_bands is not None:
        raise InputError("sensor_bands are the bands of a sensor; name it by sensor")
    name = "num_msi_bands" if options.synthetic else "num_bands_msi_non_synthetic"
    bands = getattr(options, name)
    if not options.provide_srf and options.sensor is None and bands not in _SENSOR_BANDS:
        raise InputError(
            f"{name} is {bands}; expected one of {', '.join(map(str, _SENSOR_BANDS))}, or the spectral response by "
            "provide_srf and srf_file"
        )
    if options.layout is not None and (options.rows is None or options.columns is None):
        raise InputError(f"layout is {options.layout!r}; expected rows and columns beside it")
    if options.layout is None and (options.rows is not None or options.columns is not None):
        raise InputError("rows and columns are for layout='bands_pixels'")


def _check_wavelengths(wavelengths: Any) -> None:
    if not isinstance(wavelengths, list):
        return
    texts = [value for value in wavelengths if isinstance(value, str)]
    if texts and len(wavelengths) > 1:
        raise InputError(f"wavelengths hold {texts[0]!r}; expected numbers in nm, one file, or 'stretched'")
    if len(wavelengths) == 1 and not texts:
        raise InputError(f"wavelengths are {wavelengths}; expected a number for each band, or the first and the last")
    if not wavelengths:
        raise InputError("wavelengths are empty; expected a number for each band, or the first and the last")


def _check_limits(options: FusionOptions) -> None:
    limits = options.limits
    if limits is None:
        return
    if not options.normalise:
        raise InputError("limits are for normalise=true")
    if len(limits) != 2 or not all(map(math.isfinite, limits)) or not limits[0] < limits[1]:
        raise InputError(f"limits are {limits}; expected two radiances, the lower first")


def _check_training(options: FusionOptions) -> None:
    if options.training_batch_size is not None and options.training_tile is not None:
        raise InputError("training_batch_size and training_tile are both given; expected one of them")
    if options.spatial == "mgat":
        for name in ("spec_prior", "training_batch_size", "training_tile"):
            if getattr(options, name) not in (None, True):
                raise InputError(f"{name} is {getattr(options, name)} with spatial; expected null")
    resolved = options.resolved()
    if options.patience is not None and not resolved.held_out:
        raise InputError("patience needs held-out pixels, and held_out is 0")
    unknown = not options.synthetic and not options.provide_psf and not resolved.estimate_psf
    if unknown and options.correction not in (None, "none"):
        raise InputError(
            f"correction is {options.correction!r} and needs the point-spread function; expected provide_psf with "
            "psf_file, or estimate_psf=true"
        )


def _check_effect(options: FusionOptions) -> None:
    """Refuse what was asked for and would not be done."""
    default = type(options)()
    changed = {f.name for f in dataclasses.fields(options) if getattr(options, f.name) != getattr(default, f.name)}
    if not options.synthetic:
        for name in SYNTHETIC_ONLY:
            if name in changed:
                raise InputError(f"{name} is for synthetic=true; the sizes of real images are those of their files")
    if options.method != "latent_estimation":
        for name in NETWORK_ONLY:
            if name in changed:
                raise InputError(f"{name} is for method='latent_estimation', and the method is {options.method!r}")
