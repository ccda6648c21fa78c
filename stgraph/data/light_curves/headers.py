"""What the headers of Kepler and TESS files say about a star."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stgraph.data.light_curves.metadata import Metadata

__all__ = ["distinct_names", "header_metadata", "header_sky", "star_name"]

#: Keywords that become metadata of the same name in small letters, where they hold a number.
_NUMBERS = (
    *("TEFF", "LOGG", "FEH", "MH", "RADIUS", "KEPMAG", "TESSMAG", "PMRA", "PMDEC", "PMTOTAL", "PARALLAX"),
    *("QUARTER", "SECTOR", "CAMERA", "CCD", "CHANNEL", "MODULE", "OUTPUT"),
)


def star_name(header: Mapping[str, Any], default: str) -> str:
    """The star's name, from OBJECT, KEPLERID or TICID.

    Examples:
        >>> star_name({"TICID": 358108509}, "file"), star_name({"OBJECT": "KIC 10002792"}, "file")
        ('TIC 358108509', 'KIC 10002792')
    """
    if str(header.get("OBJECT") or "").strip():
        return str(header["OBJECT"]).strip()
    for keyword, catalogue in (("KEPLERID", "KIC"), ("TICID", "TIC")):
        if header.get(keyword) is not None:
            return f"{catalogue} {header[keyword]}"
    return default


def header_metadata(header: Mapping[str, Any], star: str) -> Metadata:
    """One-entry vectors: ``star``, ``mission``, properties, and the Julian date ``bjd_reference`` of time 0."""
    metadata: Metadata = {"star": np.array([star])}
    if header.get("TELESCOP"):
        metadata["mission"] = np.array([str(header["TELESCOP"]).strip()])
    numbers = {keyword.lower(): _number(header.get(keyword)) for keyword in _NUMBERS}
    if header.get("BJDREFI") is not None:
        numbers["bjd_reference"] = _number(header["BJDREFI"]) + np.nan_to_num(_number(header.get("BJDREFF")))
    return metadata | {name: np.array([value]) for name, value in numbers.items() if np.isfinite(value)}


def header_sky(header: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Right ascension and declination [1, 2] in degrees, if known."""
    sky = np.array([[_number(header.get("RA_OBJ")), _number(header.get("DEC_OBJ"))]])
    return sky if bool(np.isfinite(sky).all()) else None


def distinct_names(stars: Sequence[str], metadata: Sequence[Metadata]) -> list[str]:
    """Names of curves: that of the star, with the quarter or sector where several curves are of one star.

    Examples:
        >>> quarters = [{"quarter": np.array([float(q)])} for q in (2, 5)]
        >>> distinct_names(["KIC 1", "KIC 1"], quarters)
        ['KIC 1 quarter 2', 'KIC 1 quarter 5']
    """
    repeated = {star for star, count in Counter(stars).items() if count > 1}
    return [
        star + "".join(f" {key} {properties[key][0]:g}" for key in ("quarter", "sector") if key in properties)
        if star in repeated
        else star
        for star, properties in zip(stars, metadata, strict=True)
    ]


def _number(value: Any) -> float:
    # Headers hold text such as "UNKNOWN", and cards without a value, where a number is not known.
    return float(value) if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else float("nan")
