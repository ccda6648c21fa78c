"""The figures of a fusion run, drawn from the files in its folder."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.tasks.fusion_outputs import FusionFolder

__all__ = ["draw_run"]

# More pixels than this along a side of an image do not show.
_MOST_PIXELS = 600


def draw_run(folder: FusionFolder, result: str, kind: str) -> list[Path]:
    """Draw what there is in the folder of a run, and return the files of the figures.

    Args:
        folder: The folder.
        result: Name of the file of the image in it.
        kind: ``"jpg"`` or ``"png"``.
    """
    from stgraph.report import fusion, fusion_maps

    inputs, latent, errors = _arrays(folder.inputs), _arrays(folder.latent), _arrays(folder.error_maps)
    wavelength = inputs.get("wavelength")
    uncertainty = _arrays(folder.uncertainty).get("values")
    error = errors.get("rmse")
    figures = {
        "previews": fusion_maps.draw_fusion(
            inputs["lr_hsi"],
            inputs["hr_msi"],
            _thinned(folder.path / result),
            error=error,
            uncertainty=uncertainty,
            wavelengths=wavelength,
            msi_wavelengths=None if wavelength is None else inputs["srf"] @ wavelength,
        )
    }
    if latent:
        figures["endmember_signatures"] = fusion.draw_endmembers(latent["endmembers"], wavelength)
        figures["alle"] = fusion.draw_latent(latent["latent"])
        figures["training"] = fusion.draw_fusion_training(*_losses(folder.losses))
    if uncertainty is not None:
        figures["uncertainty"] = fusion_maps.draw_uncertainty(uncertainty, error=error)
    if error is not None:
        bands = _columns(folder.bands)
        rmse, psnr = ([float(value) for value in bands[name]] for name in ("rmse", "psnr"))
        figures["errors"] = fusion_maps.draw_errors(error, errors["spectral_angle"], rmse, psnr, wavelength)
    return [fusion.save_fusion_figure(figure, folder.path / f"{name}.{kind}") for name, figure in figures.items()]


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays of a file by name, an only one as ``values``; none if it is not there."""
    import numpy as np

    if not path.is_file():
        return {}
    loaded = np.load(path, allow_pickle=False)
    if path.suffix == ".npy":
        return {"values": loaded}
    with loaded as file:
        return {name: file[name] for name in file.files}


def _thinned(path: Path) -> Any:
    """The image, of which rows and columns that a figure would not show are left out; a large one is never held."""
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            (name,) = file
            step = -(-max(file[name].shape[:2]) // _MOST_PIXELS)
            return file[name][::step, ::step]
    from stgraph.data.images import read_image

    return read_image(path).values


def _losses(path: Path) -> tuple[list[list[float]], list[list[float]]]:
    """The losses and the held-out losses of each network."""
    losses: dict[str, list[float]] = {}
    held_out: dict[str, list[float]] = {}
    columns = _columns(path)
    for member, loss, outside in zip(columns["member"], columns["loss"], columns["held_out_loss"], strict=True):
        losses.setdefault(member, []).append(float(loss))
        if outside:
            held_out.setdefault(member, []).append(float(outside))
    return list(losses.values()), list(held_out.values())


def _columns(path: Path) -> dict[str, list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    return {name: [row[name] for row in rows] for name in reader.fieldnames or ()}
