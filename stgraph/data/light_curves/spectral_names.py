"""Names of what the spectra of light curves hold."""

from __future__ import annotations

__all__ = ["CHANNELS", "STATIC_NAMES"]

#: Channels of the spectra.
CHANNELS = ("psd", "acf", "fstat")

#: Features of each curve; in covariance mode the fifth is ``acf_zero``, the autocovariance at lag 0.
STATIC_NAMES = (
    "median_flux",
    "iqr_flux",
    "psd_integral",
    "psd_peak",
    "flux_variance",
    "acf_timescale",
    "duration",
    "num_points",
    "median_step",
)
