"""The optional libraries for TIFF and ENVI files."""

from __future__ import annotations

from typing import Any

__all__ = ["import_envi", "import_tifffile"]


def import_tifffile() -> Any:
    """The library tifffile.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import tifffile
    except ImportError:
        raise ImportError('TIFF files need tifffile: pip install "stgraph-pyg[images]"') from None
    return tifffile


def import_envi() -> Any:
    """The module for ENVI files of the library Spectral Python.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        from spectral.io import envi
    except ImportError:
        raise ImportError('ENVI files need Spectral Python: pip install "stgraph-pyg[images]"') from None
    return envi
