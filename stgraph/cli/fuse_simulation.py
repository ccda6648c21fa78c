"""``stgraph fuse simulate``: both images of a scene made from one, as files."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stgraph.cli.files import require, short
from stgraph.cli.fuse_options import SimulatePairOptions
from stgraph.cli.tables import format_table
from stgraph.errors import InputError, OutputExistsError
from stgraph.tasks.fusion_options import FusionOptions

if TYPE_CHECKING:
    from torch import Tensor

    from stgraph.tasks.fusion_input import FusionInput

__all__ = ["simulate"]

_RECIPE = "simulation.json"


def simulate(options: SimulatePairOptions) -> None:
    """Make a pair of images from a cube."""
    example = "as stgraph fuse simulate cube.mat pair/"
    require(options.cube, f"a file of a hyperspectral cube, {example}")
    require(options.output, f"an output folder, {example}")
    folder = Path(options.output).expanduser()
    _check_folder(folder, options)
    wanted = _run_options(options)
    wanted.check()
    from stgraph.tasks.fusion_input import read_fusion_input

    pair = read_fusion_input(wanted)[1]
    folder.mkdir(parents=True, exist_ok=True)
    print(format_table(["", "size"], _write(folder, pair, options)))
    print(f"\nfuse it: {_command(folder, options.format)}")


def _run_options(options: SimulatePairOptions) -> FusionOptions:
    """The options of a run that makes the same pair; its method has no options of its own that could be refused."""
    shared = {field.name for field in dataclasses.fields(FusionOptions)} - {"overwrite"}
    values = {name: value for name, value in dataclasses.asdict(options).items() if name in shared}
    return FusionOptions(
        **values,
        mat_file=options.cube,
        provide_srf=options.srf_file is not None,
        provide_psf=options.psf_file is not None,
        method="affine",
    )


def _check_folder(folder: Path, options: SimulatePairOptions) -> None:
    """Refuse an output folder that cannot be written, or that holds something that would be replaced."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output {folder} is a file; expected a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (options.overwrite and (folder / _RECIPE).is_file()):
        hint = "use --overwrite to replace the pair in it" if (folder / _RECIPE).is_file() else "choose another one"
        raise OutputExistsError(f"output folder {folder} exists and is not empty; {hint}")
    parent = next(place for place in [folder, *folder.absolute().parents] if place.is_dir())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"output {folder} cannot be written: no permission for the folder {parent.absolute()}")
    from stgraph.data.images import check_image_path

    check_image_path(parent / f"truth.{options.format}")  # also says what tif needs


def _write(folder: Path, pair: FusionInput, options: SimulatePairOptions) -> list[list[str]]:
    """Write what belongs to a pair, remove what was left of an older one; return the rows of the table of files."""
    from stgraph.data.images import write_image

    assert pair.truth is not None
    assert pair.psf is not None
    # Only two kinds of files have a place for wavelengths; the others have them beside.
    known = pair.wavelength if options.format in ("h5", "mat") else None
    images: dict[str, tuple[Tensor, Any, Any]] = {
        "truth": (pair.truth, known, pair.georeference),
        "hr_msi": (pair.hr_msi.permute(1, 2, 0), None, pair.georeference),
        "lr_hsi": (pair.lr_hsi.permute(1, 2, 0), known, None),
    }
    sizes: dict[Path, Any] = {}
    for name, (image, wavelength, georeference) in images.items():
        path = folder / f"{name}.{options.format}"
        write_image(path, image.numpy(), wavelength=wavelength, georeference=georeference)
        sizes[path] = image.shape
    kind = "npy" if options.format == "tif" else options.format
    arrays: dict[str, Any] = {f"srf.{kind}": pair.srf.numpy(), f"psf.{kind}": pair.psf.numpy()}
    if pair.wavelength is not None:
        arrays["wavelengths.npy"] = pair.wavelength
    for file, values in arrays.items():
        sizes[_write_array(folder / file, values)] = values.shape
    for name in (*images, "srf", "psf", "wavelengths"):
        for older in {folder / f"{name}.{kind}" for kind in ("h5", "npy", "mat", "tif")} - set(sizes):
            older.unlink(missing_ok=True)
    _write_recipe(folder / _RECIPE, pair, options)
    rows = [[short(path), " x ".join(map(str, size))] for path, size in sizes.items()]
    return [*rows, [short(folder / _RECIPE), ""]]


def _command(folder: Path, kind: str) -> str:
    """The command that fuses a pair, whose images lie on one scale already."""
    other = "npy" if kind == "tif" else kind
    files = {"hr_msi": kind, "lr_hsi": kind, "srf": other, "psf": other}
    words = [f"--{name}_file {shlex.quote(short(folder / f'{name}.{ending}'))}" for name, ending in files.items()]
    fixed = "--synthetic false --normalise false --match_radiometry false --provide_srf --provide_psf"
    return " ".join(["stgraph fuse run", fixed, *words])


def _write_array(path: Path, values: Any) -> Path:
    """Write a vector or a matrix as the only array of a file."""
    from stgraph.report.files import write_then_rename

    return write_then_rename(path, lambda temporary: _save(temporary, path.stem, values))


def _save(path: Path, name: str, values: Any) -> None:
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset(name, data=values)
    elif path.suffix == ".mat":
        from scipy.io import savemat

        savemat(path, {name: values})
    else:
        import numpy as np

        with path.open("wb") as stream:
            np.save(stream, values)


def _write_recipe(path: Path, pair: FusionInput, options: SimulatePairOptions) -> None:
    import stgraph
    from stgraph.tasks.folder import write_json

    recipe = {name: value for name, value in dataclasses.asdict(options).items() if name != "overwrite"}
    assert pair.truth is not None
    # JSON has no infinity: a ratio that is null means no noise.
    write_json(
        path,
        {
            "stgraph": stgraph.__version__,
            "options": recipe,
            "size": list(pair.truth.shape),
            "radiances_that_became_0_and_1": pair.scaling.get("cube"),
            "wavelengths_nm": None if pair.wavelength is None else pair.wavelength.tolist(),
        },
    )
