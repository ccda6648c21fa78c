"""What a fusion run writes: the image, what is known about it, and how good it is."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stgraph.data.images import ImageWriter, read_image, write_image
from stgraph.data.images.extras import import_envi, import_tifffile
from stgraph.data.images.outputs import array_name
from stgraph.data.images.tiles import chunk_side
from stgraph.errors import InputError, OutputExistsError
from stgraph.metrics.image import angle_map
from stgraph.tasks.checkpoints import write_atomically
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.fusion_input import FusionInput
from stgraph.tasks.fusion_methods import WholeImage, image_pieces
from stgraph.tasks.fusion_options import FusionOptions

if TYPE_CHECKING:
    from stgraph.models.fusion.estimate import FusionEstimate

__all__ = [
    "FusionFolder",
    "Progress",
    "check_size_of_file",
    "read_result",
    "write_errors",
    "write_estimate",
    "write_image_file",
]

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

_ENDINGS = {"numpy": ".npy", "h5": ".h5", "matlab": ".mat", "tif": ".tif", "envi": ".hdr"}
_MATLAB_LIMIT = 2**31 - 1


class FusionFolder(RunFolder):
    """Paths inside the folder of a fusion run.

    Args:
        path: The folder.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.uncertainty = self.path / "uncertainty.npy"
        self.latent = self.path / "latent.npz"
        self.inputs = self.path / "inputs.npz"
        self.losses = self.path / "losses.csv"
        self.bands = self.path / "bands.csv"
        self.error_maps = self.path / "error_maps.npz"

    @property
    def is_fusion(self) -> bool:
        """Whether the run is one of fusion, whose options have a number of endmembers."""
        return self._has_group("num_endmembers")

    def result(self, name: str, kind: str) -> Path:
        """Return the path of the image."""
        return self.path / f"{name}{_ENDINGS[kind]}"

    def check_output(self, options: FusionOptions) -> None:
        """Refuse a folder or a kind of file that cannot be used, before anything is read.

        Raises:
            OutputExistsError: If something is there that would be lost.
            InputError: If the folder cannot be written.
            ImportError: If the kind of file needs an extra that is missing.
        """
        if self.is_run and not (options.overwrite and self.is_fusion):
            remedy = "use --overwrite to replace it or " if self.is_fusion else ""
            what = "a run" if self.is_fusion else "another kind of run"
            raise OutputExistsError(f"output_dir {self.path} holds {what}; {remedy}choose another --output_dir")
        self.check(overwrite=options.overwrite, resume=False)
        if options.output_file_type == "tif":
            import_tifffile()
        elif options.output_file_type == "envi":
            import_envi()

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Undo what is written, also that an older run was set aside, if not all of it can be written."""
        try:
            yield
        except BaseException:
            if self._replaced is None:
                shutil.rmtree(self.path)
            self.rollback()
            raise
        self.commit()


def check_size_of_file(options: FusionOptions, pair: FusionInput) -> None:
    """Refuse an image that is too large for its kind of file.

    Raises:
        InputError: If it is.
    """
    size = 4 * pair.hr_msi.shape[1] * pair.hr_msi.shape[2] * pair.lr_hsi.shape[0]
    if options.output_file_type == "matlab" and size > _MATLAB_LIMIT:
        raise InputError(
            f"output_file_type is 'matlab', whose files hold 2 GB at most, and the image needs {size / 2**30:.1f} GB; "
            "expected 'h5', which MATLAB reads as well"
        )


def write_image_file(
    path: Path, estimate: FusionEstimate | WholeImage, pair: FusionInput, progress: Progress | None = None
) -> npt.NDArray[np.float32] | None:
    """Write the image, piece by piece where the kind of file allows this.

    Args:
        path: The file.
        estimate: Where the pieces come from.
        pair: The images that were fused.
        progress: Called after each piece.

    Returns:
        The uncertainty ``[H, W]``, where the method tells it.
    """
    height, width = estimate.size
    shape = (height, width, estimate.bands)
    uncertainty = None if isinstance(estimate, WholeImage) else np.empty((height, width), dtype=np.float32)

    def write(target: Callable[[int, npt.NDArray[np.float32]], None]) -> None:
        for window in image_pieces(estimate.size, estimate.bands, chunk_side(estimate.bands)):
            target(window[0].start, estimate.spectra(window).permute(1, 2, 0).cpu().numpy())
            if uncertainty is not None and not isinstance(estimate, WholeImage):
                uncertainty[window] = estimate.uncertainty(window).cpu().numpy()
            if progress is not None:
                progress("writing", window[0].stop, height)

    known: dict[str, Any] = {"wavelength": pair.wavelength, "georeference": pair.georeference}
    if path.suffix in (".npy", ".h5"):
        # In a folder of its own, as the data set of an HDF5 file is named like the file.
        partial = path.parent / ".partial"
        partial.mkdir()
        with ImageWriter(partial / path.name, shape, **known) as writer:
            write(lambda row, piece: writer.write(row, 0, piece))
        if path.suffix == ".h5":
            _write_scaling(partial / path.name, pair)
        (partial / path.name).replace(path)
        partial.rmdir()
    else:
        image = np.empty(shape, dtype=np.float32)

        def put(row: int, piece: npt.NDArray[np.float32]) -> None:
            image[row : row + len(piece)] = piece

        write(put)
        write_image(path, image, **known)
    return uncertainty


def _write_scaling(path: Path, pair: FusionInput) -> None:
    """Add to an HDF5 file which radiances became 0 and 1."""
    import h5py

    limits = pair.scaling.get("lr_hsi", pair.scaling.get("cube"))
    if limits is not None:
        with h5py.File(path, "r+") as file:
            file[array_name(path)].attrs.update({"radiance_of_0": limits[0], "radiance_of_1": limits[1]})


def write_estimate(
    folder: FusionFolder,
    estimate: FusionEstimate | WholeImage,
    pair: FusionInput,
    uncertainty: npt.NDArray[np.float32] | None,
) -> None:
    """Write the images that were fused, and what is known of the result: uncertainty, latent estimates, losses."""
    inputs: dict[str, Any] = {
        "lr_hsi": pair.lr_hsi.permute(1, 2, 0).numpy(),
        "hr_msi": pair.hr_msi.permute(1, 2, 0).numpy(),
        "srf": pair.srf.numpy(),
    }
    if pair.psf is not None:
        inputs["psf"] = pair.psf.numpy()
    _write_arrays(folder.inputs, inputs, pair)
    if isinstance(estimate, WholeImage):
        return
    if uncertainty is not None:
        write_atomically(folder.uncertainty, lambda path: np.save(path, uncertainty))
    arrays = {"endmembers": estimate.endmembers.cpu(), "latent": estimate.latent.permute(1, 2, 0).cpu()}
    _write_arrays(folder.latent, {name: np.ascontiguousarray(value.numpy()) for name, value in arrays.items()}, pair)
    rows = [
        {"member": member, "epoch": epoch, "loss": loss, "held_out_loss": outside}
        for member, record in enumerate(estimate.records, 1)
        for epoch, (loss, outside) in enumerate(zip_longest(record.losses, record.held_out_losses), 1)
    ]
    _write_table(folder.losses, ["member", "epoch", "loss", "held_out_loss"], rows)


def write_errors(
    folder: FusionFolder, image: npt.NDArray[np.float32], pair: FusionInput, metrics: dict[str, Tensor]
) -> None:
    """Write the metrics of each band, and maps of the error and the spectral angle of each pixel."""
    truth: Any = pair.truth
    bands = {name: values.tolist() for name, values in metrics.items()}
    rows = [
        {"band": band, "wavelength_nm": None if pair.wavelength is None else float(pair.wavelength[band - 1])}
        | {name: values[band - 1] for name, values in bands.items()}
        for band in range(1, image.shape[2] + 1)
    ]
    _write_table(folder.bands, ["band", "wavelength_nm", *bands], rows)
    error = np.empty(image.shape[:2], dtype=np.float32)
    for window in image_pieces(image.shape[:2], image.shape[2]):
        difference = np.asarray(image[window], dtype=np.float64) - truth[window].numpy()
        error[window] = np.sqrt(np.square(difference).mean(axis=2))
    angles = angle_map(image, truth).float().numpy()
    write_atomically(folder.error_maps, lambda path: np.savez(path, rmse=error, spectral_angle=angles))


def read_result(path: Path) -> npt.NDArray[np.float32]:
    """Read the image ``[H, W, C]`` of a run; a large ``.npy`` stays on disk."""
    return read_image(path).values


def _write_arrays(path: Path, arrays: dict[str, Any], pair: FusionInput) -> None:
    known: dict[str, Any] = {} if pair.wavelength is None else {"wavelength": pair.wavelength}
    write_atomically(path, lambda temporary: np.savez(temporary, **arrays, **known))


def _write_table(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)
