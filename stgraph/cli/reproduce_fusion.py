"""``stgraph reproduce fusion``: the published grid of image fusion on a cube of one's own."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stgraph.cli.files import require, short
from stgraph.cli.fuse_tables import metric_name
from stgraph.cli.tables import format_table
from stgraph.errors import InputError, OutputExistsError
from stgraph.tasks.published_fusion import PUBLISHED_SCENES, PUBLISHED_SETTINGS

if TYPE_CHECKING:
    from stgraph.tasks.fusion_grid import FusionGridRow

__all__ = ["ReproduceFusionOptions", "reproduce"]

_INTERRUPTED = 130  # what shells return after Ctrl-C
_NUMBER_OF_PSFS = 10
_TITLES = {"published": "stgraph", "default": "stgraph, default"}


@dataclasses.dataclass
class ReproduceFusionOptions:
    """Which part of the grid to run, and on which cube.

    Args:
        mat_file: File of the hyperspectral cube (.mat, .npy, .npz, .h5, .tif, .hdr).
        dataset: The scene, which says with what to compare and the number of endmembers.
        mat_key: Name of the array in the file, case-sensitive; not needed where there is only one.
        layout: How the array is stored: by default rows, columns, bands; or bands by pixels, column by column.
        rows: Rows of the image, for layout="bands_pixels".
        columns: Columns of the image, for layout="bands_pixels".
        all: Run all 80 runs, 8 settings with 10 point-spread functions each, of which the published values are means.
        settings: Ratios of the resolutions and numbers of multispectral bands, as 4x4,8x1; 4x4 by default.
        psf: Point-spread functions; gaussian by default.
        method: Run the published form of the method, the default form of stgraph on the same images, or both.
        num_endmembers: Number of endmembers; that of the scene by default.
        hidden_size: Width of the network.
        epochs: Number of epochs; 2500 in the published and 1000 in the default form by default.
        seed: Seed of the noise and of the network.
        output: CSV file of all runs; runs/reproduce-fusion-<dataset>.csv by default. Finished runs are kept beside it
            in a file of the same name that ends with .jsonl, and are not repeated unless their settings changed.
    """

    mat_file: str = ""
    dataset: (
        Literal["washington_dc_mall", "kennedy_space_center", "pavia_university", "pavia_center", "botswana", "other"]
        | None
    ) = None
    mat_key: str | None = None
    layout: Literal["bands_pixels"] | None = None
    rows: int | None = None
    columns: int | None = None
    all: bool = False
    settings: list[str] | None = None
    psf: list[str] | None = None
    method: Literal["published", "default", "both"] = "published"
    num_endmembers: int | None = None
    hidden_size: int = 1024
    epochs: int | None = None
    seed: int = 42
    output: str | None = None


def reproduce(options: ReproduceFusionOptions) -> None:
    """Run the grid, print it beside the published values, and write it as a table.

    Raises:
        InputError: If an option, the cube or the output cannot be used.
        OutputExistsError: If the output is there and not of such a grid.
    """
    example = (
        "as stgraph reproduce fusion paviaU.mat --dataset pavia_university; a run in a folder called fusion is "
        "repeated by stgraph reproduce ./fusion"
    )
    require(options.mat_file, f"a file of a hyperspectral cube, {example}")
    require(options.dataset or "", f"a dataset: {', '.join(PUBLISHED_SCENES)} or other, {example}")
    dataset = str(options.dataset)
    settings = _settings(options)
    from stgraph.cli.fuse_progress import ProgressBars
    from stgraph.data.files import existing
    from stgraph.ops.fusion import PSF_NAMES
    from stgraph.tasks.folder import replace_file
    from stgraph.tasks.fusion_grid import reproduce_fusion
    from stgraph.tasks.fusion_grid_methods import NETWORKS

    existing(options.mat_file)
    output = _output(options)
    psfs = list(PSF_NAMES) if options.all else options.psf or ["gaussian"]
    try:
        with ProgressBars() as bars:
            rows = reproduce_fusion(
                _read(options),
                dataset,
                settings=settings,
                psfs=psfs,
                methods=NETWORKS if options.method == "both" else (options.method,),
                num_endmembers=options.num_endmembers,
                hidden_size=options.hidden_size,
                epochs=options.epochs,
                seed=options.seed,
                runs=output.with_suffix(".jsonl"),
                progress=bars,
            )
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here")
        raise SystemExit(_INTERRUPTED) from None
    replace_file(output, _csv(rows))
    print(f"\n{_text(rows, dataset)}\n\nThe table is in {short(output)}")


def _settings(options: ReproduceFusionOptions) -> list[tuple[int, int]]:
    """Ratios and numbers of bands.

    >>> _settings(ReproduceFusionOptions(settings=["4x4", "8x1"]))
    [(4, 4), (8, 1)]
    """
    if options.all and (options.settings is not None or options.psf is not None):
        raise InputError("all is given with settings or psf; expected none of them with it, as it means every one")
    if options.all:
        return list(PUBLISHED_SETTINGS)
    found = []
    for setting in options.settings or ["4x4"]:
        match = re.fullmatch(r"(\d+)x(\d+)", setting)
        if match is None:
            raise InputError(f"settings holds {setting!r}; expected a ratio and a number of bands, as 8x4")
        found.append((int(match[1]), int(match[2])))
    return found


def _output(options: ReproduceFusionOptions) -> Path:
    """The file of the table, whose folder is made."""
    output = Path(options.output or f"runs/reproduce-fusion-{options.dataset}.csv").expanduser()
    if output.suffix != ".csv":
        raise InputError(f"output is {output}; expected a name that ends with .csv")
    if output.exists() and not output.with_suffix(".jsonl").is_file():
        raise OutputExistsError(f"output {output} exists and is not of such a grid; choose another one")
    if options.output is None:
        output.parent.mkdir(parents=True, exist_ok=True)
    return output


def _read(options: ReproduceFusionOptions) -> Any:
    from stgraph.data.images import read_image

    return read_image(
        options.mat_file, options.mat_key, layout=options.layout, rows=options.rows, columns=options.columns
    ).values


def _csv(rows: Sequence[FusionGridRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0]._fields)
    writer.writerows(["" if _missing(value) else value for value in row] for row in rows)
    return text.getvalue()


def _text(rows: Sequence[FusionGridRow], dataset: str) -> str:
    """The runs one by one, and their means beside the published ones."""
    from stgraph.tasks.fusion_grid import GRID_METRICS, grid_means

    means = grid_means(rows)
    runs: dict[tuple[int, int, str], list[FusionGridRow]] = {}
    for row in rows:
        runs.setdefault((row.ratio, row.bands, row.psf), []).append(row)
    lines = [
        [f"r {r} b {b} {psf}", *(_cell(row.psnr, row.sam, row.ergas) for row in group), _cell(*group[0][-3:])]
        for (r, b, psf), group in runs.items()
    ]
    names = [_TITLES.get(name, name) for name in means]
    table = format_table(["PSNR (dB) / SAM (degrees) / ERGAS", *names, "published"], lines)
    header = [f"mean of {len(runs)} runs" if len(runs) > 1 else "one run", *map(metric_name, GRID_METRICS)]
    summary = [
        [_TITLES.get(name, name), *(_number(values[metric]) for metric in GRID_METRICS)]
        for name, values in means.items()
    ]
    notes = []
    if dataset in PUBLISHED_SCENES:
        scene = PUBLISHED_SCENES[dataset]
        known = {"psnr": scene.psnr, "sam": scene.sam}
        summary.append(["published, mean of 80 runs", *(_number(known.get(metric)) for metric in GRID_METRICS)])
        if len(PUBLISHED_SETTINGS) * _NUMBER_OF_PSFS == len(runs):
            summary += [_difference(name, values, known) for name, values in means.items() if name in _TITLES]
        else:
            notes.append(f"The published means are of all 80 runs (--all), those above of {len(runs)}.")
    return "\n\n".join([table, format_table(header, summary), *notes])


def _difference(name: str, means: dict[str, float], known: dict[str, float]) -> list[str]:
    from stgraph.tasks.fusion_grid import GRID_METRICS

    values = [f"{means[metric] - known[metric]:+.3g}" if metric in known else "-" for metric in GRID_METRICS]
    return [f"{_TITLES[name]}, less published", *values]


def _cell(psnr: float | None, sam: float | None, ergas: float | None) -> str:
    """Show three metrics, or that there are none.

    >>> _cell(35.87, 3.24, None), _cell(None, None, None)
    ('35.87 / 3.240 / -', '-')
    """
    if psnr is None and sam is None and ergas is None:
        return "-"
    shown = ("-" if _missing(value) else f"{value:.{digits}f}" for value, digits in ((psnr, 2), (sam, 3), (ergas, 3)))
    return " / ".join(shown)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
