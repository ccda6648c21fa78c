"""Images of many bands: from files to the graph of a grid and back.

Each pixel is a node, and its series is its spectrum along the wavelength. The parts are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.data.images.custom import read_kernel, read_response
    from stgraph.data.images.graphs import from_image, to_image
    from stgraph.data.images.image import Image
    from stgraph.data.images.measured import measured_bands, measured_response
    from stgraph.data.images.outputs import check_image_path
    from stgraph.data.images.preview import rgb_preview
    from stgraph.data.images.reading import read_image
    from stgraph.data.images.scaling import normalise_image
    from stgraph.data.images.tiles import ImageWriter
    from stgraph.data.images.writing import write_image

_MODULES = {
    "custom": ("read_kernel", "read_response"),
    "graphs": ("from_image", "to_image"),
    "image": ("Image",),
    "measured": ("measured_bands", "measured_response"),
    "outputs": ("check_image_path",),
    "preview": ("rgb_preview",),
    "reading": ("read_image",),
    "scaling": ("normalise_image",),
    "tiles": ("ImageWriter",),
    "writing": ("write_image",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Image",
    "ImageWriter",
    "check_image_path",
    "from_image",
    "measured_bands",
    "measured_response",
    "normalise_image",
    "read_image",
    "read_kernel",
    "read_response",
    "rgb_preview",
    "to_image",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
