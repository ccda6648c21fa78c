"""Tables of ``stgraph fuse`` for a terminal, and as files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stgraph.cli.tables import format_table

__all__ = ["band_table", "fusion_table", "metric_name", "result_tables"]

#: How the metrics are shown, and in which unit.
_NAMES = {
    "rmse": "RMSE",
    "psnr": "PSNR (dB)",
    "mpsnr": "MPSNR (dB)",
    "ssim": "SSIM",
    "uiqi": "UIQI",
    "ergas": "ERGAS",
    "sam": "SAM (degrees)",
    "zero_spectra": "Zero spectra",
    "scc": "SCC",
    "rase": "RASE (%)",
    "ms_ssim": "MS-SSIM",
    "vif": "VIF",
    "spectral_distortion": "Spectral distortion",
    "spatial_distortion": "Spatial distortion",
    "qnr": "QNR",
}
#: What tables of the metrics are headed with, by the name of the metrics among the results.
_HEADINGS = {"metrics": "default", "published_metrics": "compat", "quality_without_reference": "without truth"}


def fusion_table(results: Mapping[str, Mapping[str, float]], heading: str = "") -> str:
    """Show metrics in rows, and several results or several ways to reckon in columns.

    >>> print(fusion_table({"default": {"psnr": 40.0, "mpsnr": 41.5}, "compat": {"psnr": 39.13}}))
                 default  compat
    PSNR (dB)         40   39.13
    MPSNR (dB)      41.5       -
    """
    metrics = list(dict.fromkeys(name for values in results.values() for name in values))
    rows = [[metric_name(name), *(_number(values.get(name)) for values in results.values())] for name in metrics]
    return format_table([heading, *results], rows)


def result_tables(results: Mapping[str, Any]) -> str:
    """Show how good the image of a run is, beside those of the two simplest methods.

    It is judged against the truth, or against the two images that it was made from where there is none.

    >>> known = {"published_metrics": None, "quality_without_reference": None}
    >>> baselines = {name: {"metrics": {"psnr": psnr}, **known} for name, psnr in (("bicubic", 20.0), ("affine", 38.0))}
    >>> print(result_tables({"method": "cnmf", "metrics": {"psnr": 40.0}, "baselines": baselines, **known}))
    default     cnmf  bicubic  affine
    PSNR (dB)     40       20      38
    """
    judged = {results["method"]: results, **(results["baselines"] or {})}
    tables = []
    for name, heading in _HEADINGS.items():
        known = {method: values[name] for method, values in judged.items() if values[name] is not None}
        if known:
            tables.append(fusion_table(known, heading))
    return "\n\n".join(tables) or "The image is too small for metrics."


def metric_name(name: str) -> str:
    """Name a metric for a reader, with its unit.

    >>> metric_name("sam"), metric_name("new")
    ('SAM (degrees)', 'new')
    """
    return _NAMES.get(name, name)


def band_table(metrics: Mapping[str, Sequence[float]], wavelength: Sequence[float] | None) -> str:
    """Return the metrics of each band as the text of a CSV file, with the wavelength in nm where it is known.

    >>> print(band_table({"rmse": [0.5, 0.25]}, [450.0, 550.0]), end="")
    band,wavelength_nm,rmse
    1,450.0,0.5
    2,550.0,0.25
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    known = {} if wavelength is None else {"wavelength_nm": wavelength}
    columns: dict[str, Sequence[float]] = {**known, **metrics}
    writer.writerow(["band", *columns])
    writer.writerows([i, *row] for i, row in enumerate(zip(*columns.values(), strict=True), 1))
    return text.getvalue()


def _number(value: Any) -> str:
    if value is None or math.isnan(value):
        return "-"
    return "no error" if value == math.inf else f"{value:.4g}"
