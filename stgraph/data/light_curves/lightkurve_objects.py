"""Light curves from objects of the package lightkurve, or any with the same attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.light_curves.headers import distinct_names, header_metadata, header_sky, star_name
from stgraph.data.light_curves.sources import Source, build
from stgraph.errors import InputError, InputTypeError

__all__ = ["from_lightkurve"]


def from_lightkurve(curves: Any, **options: Any) -> Data:
    """Build the graph of one or several light curves of the package ``lightkurve``.

    Times (``.time.value``, in days), fluxes (``.flux``), errors (``.flux_err``) and quality flags (``.quality``) are
    read; names, sky positions and metadata come from ``.meta``, which holds the header of the file. The package itself
    is not needed. Curves of the same star (sectors) are told apart by their quarter or sector.

    Args:
        curves: A light curve, or a collection or list of them.
        **options: Those of :func:`from_light_curves`; what is named there goes before what the objects say.

    Raises:
        InputError: If there are no curves, or :func:`from_light_curves` refuses them.
        InputTypeError: If something has no time or flux.

    Examples:
        >>> from types import SimpleNamespace as Object
        >>> curve = Object(time=Object(value=[1.0, 2.0]), flux=Object(value=[9.0, 8.0]), meta={"OBJECT": "TIC 7"})
        >>> from_lightkurve(curve).node_names
        ['TIC 7']
    """
    items = [curves] if hasattr(curves, "flux") else list(curves)
    if not items:
        raise InputError("curves must hold at least one light curve, got none")
    sources = [_source_of(item, number) for number, item in enumerate(items)]
    stars = [str(source.metadata["star"][0]) for source in sources]
    for source, name in zip(sources, distinct_names(stars, [s.metadata for s in sources]), strict=True):
        source.names = [name]
    return build(sources, options)


def _source_of(curve: Any, number: int) -> Source:
    for attribute in ("time", "flux"):
        if not hasattr(curve, attribute):
            raise InputTypeError(f"curves[{number}] must be a light curve with time and flux, got {type(curve)}")
    meta = getattr(curve, "meta", None)
    header: Mapping[str, Any] = meta if isinstance(meta, Mapping) else {}
    star = star_name(header, str(getattr(curve, "label", None) or number))
    error = getattr(curve, "flux_err", None)
    errors = None if error is None else _values(error)
    quality = getattr(curve, "quality", None)
    return Source(
        f"curves[{number}]",
        [_values(curve.time)],
        [_values(curve.flux)],
        # lightkurve fills errors that are not known with NaN.
        None if errors is None or not bool(np.isfinite(errors).any()) else [errors],
        None if quality is None else [_values(quality)],
        [star],
        header_sky(header),
        header_metadata(header, star),
    )


def _values(column: Any) -> npt.NDArray[np.float64]:
    """Plain numbers of a time, a quantity or an array; NaN where they are masked."""
    values = getattr(column, "value", column)
    if hasattr(values, "mask") and hasattr(values, "filled"):
        values = values.astype(np.float64).filled(np.nan)
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"times, fluxes and flags must be numbers: {error}") from error
