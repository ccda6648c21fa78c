"""A data set of three detectors whose file a local server has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from torch_geometric.data import Data

import stgraph.data.datasets.catalog as catalog_module
from stgraph.data import from_array
from stgraph.data.datasets.base import SeriesDataset

VALUES = np.arange(1.0, 31.0).reshape(10, 3)
CONTENT = "\n".join(",".join(map(str, row)) for row in VALUES).encode()


class SmallSpeeds(SeriesDataset):
    """Reads ``speed.csv``, multiplied by the option ``scale``, and counts how often."""

    name = "small_speeds"
    reads = 0

    def __init__(self, *arguments, scale: float = 1.0, **options) -> None:
        super().__init__(*arguments, scale=scale, **options)

    def read(self) -> Data:
        type(self).reads += 1
        values = np.loadtxt(self.raw_path("speed.csv"), delimiter=",") * self.options["scale"]
        coords = np.arange(6.0).reshape(3, 2)
        return from_array(values, coords=coords, node_names=["a", "b", "c"], time=np.arange(10) * 300 * 10**9 + 10**18)


def entry_values(more: str | None = None, **changes: object) -> dict[str, object]:
    file = {"name": "speed.csv", "urls": [], "source": "the page of the authors", **changes}
    files = [file] if more is None else [file, {"name": more, "source": "the page of the authors"}]
    texts = ("title", "official", "licence", "citation", "description", "shape")
    return {
        "dataset": f"{__name__}:SmallSpeeds",
        "files": files,
        "input_steps": 3,
        "horizon": 2,
        **{key: f"the {key}" for key in texts},
    }


@contextlib.contextmanager
def catalogued(folder: Path, **changes: object) -> Iterator[None]:
    """Let the catalogue have this data set alone, with these values of its file, and ``more``, the name of another."""
    folder.mkdir(exist_ok=True)
    (folder / "small_speeds.yaml").write_text(yaml.safe_dump(entry_values(**changes)))
    before = catalog_module._FOLDER
    catalog_module._FOLDER = folder
    catalog_module.catalog.cache_clear()
    SmallSpeeds.reads = 0
    try:
        yield
    finally:
        catalog_module._FOLDER = before
        catalog_module.catalog.cache_clear()
