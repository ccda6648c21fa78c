"""Edges between spectra that look alike, or objects near each other on the sky."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from stgraph.data.graph import series_of
from stgraph.data.series_scaling import ScaleSeries
from stgraph.data.spectra.resampling import good_points, wavelengths_of
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.neighbors import knn_graph
from stgraph.ops.spectral_components import spectral_components

__all__ = ["SpectralNeighborGraph"]

Metric = Literal["euclidean", "cosine"]


class SpectralNeighborGraph(BaseTransform):
    r"""Connects each spectrum to the :math:`k` that are most like it.

    Each spectrum is scaled by its median and interquartile range; what is compared are the scores of its first
    principal components, which :func:`stgraph.ops.spectral_components.spectral_components` finds from the good points
    with Huber's weights, so that an anomaly hardly chooses the neighbours of its spectrum. Objects at different
    redshift are compared feature by feature only in the rest frame (:func:`to_rest_frame`). Spectra without any good
    point get no edges. Edges there were are replaced, and all that belonged to them is dropped.

    Args:
        k: Number of neighbours; with fewer other spectra, all of them.
        components: Number of principal components.
        metric: Distance of spectra: ``"euclidean"``, or ``"cosine"`` for the angle between scores.
        source: ``"spectra"``; ``"sky"`` for the nearest objects by ``pos``, :math:`k` of them; ``"both"`` for the edges
            of either; or the name of an attribute :math:`(N, D)`, such as latents of a network, to compare instead of
            the scores.

    Shapes:
        - **input:** ``x`` :math:`(N, L, 1)` with ``wavelength`` :math:`(L)` common to all spectra
        - **output:** ``edge_index`` :math:`(2, E)`, row 0 the neighbour, row 1 the spectrum it is one of; sorted by
          row 1

    Raises:
        InputError: If a number is less than 1, the metric is unknown, the graph lacks what is compared, spectra have
            no common wavelengths, or what is compared is not finite.
        InputTypeError: If an attribute to compare is no tensor of numbers.

    Examples:
        >>> up, down = torch.linspace(1, 2, 8), torch.linspace(2, 1, 8)
        >>> x = torch.stack([up, down, up + 0.01 * up.square(), down + 0.01 * down.square()]).unsqueeze(2)
        >>> data = SpectralNeighborGraph(k=1)(Data(x=x, wavelength=torch.arange(4000.0, 4008.0)))
        >>> data.edge_index.tolist()
        [[2, 3, 0, 1], [0, 1, 2, 3]]
    """

    def __init__(
        self, k: int = 16, components: int = 10, metric: Metric = "euclidean", source: str = "spectra"
    ) -> None:
        for name, number in (("k", k), ("components", components)):
            if number < 1:
                raise InputError(f"{name} is {number}; expected at least 1")
        if metric not in get_args(Metric):
            raise InputError(f"metric is {metric!r}; expected one of {', '.join(get_args(Metric))}")
        self.k, self.components, self.metric, self.source = k, components, metric, source

    def forward(self, data: Data) -> Data:
        """Return the graph with these edges."""
        series_of(data)
        nodes = good_points(data).any(dim=1).nonzero().flatten()
        parts = []
        if self.source in ("sky", "both"):
            parts.append(knn_graph(_attribute(data, "pos")[nodes], self.k))
        if self.source != "sky":
            scores = self._scores(data, nodes)
            if self.metric == "cosine":
                # Of points on the unit sphere the nearest are those at the smallest angle.
                scores = torch.nn.functional.normalize(scores.double(), dim=1)
            parts.append(knn_graph(scores, self.k))
        edges = parts[0] if len(parts) == 1 else _united(parts, nodes.numel())
        for key in data.keys():  # noqa: SIM118 - not a dictionary
            if key.startswith("edge_"):
                del data[key]
        data.edge_index = nodes[edges]
        return data

    def _scores(self, data: Data, nodes: Tensor) -> Tensor:
        if self.source not in ("spectra", "both"):
            return _attribute(data, self.source)[nodes]
        if wavelengths_of(data).dim() != 1:
            raise InputError(
                "wavelength has a row for each spectrum; neighbours among spectra need a common grid (to_rest_frame or "
                "resample_spectra)"
            )
        scaled = ScaleSeries("robust")(data)
        error = scaled.get("flux_error")
        return spectral_components(
            scaled.x[nodes, :, 0],
            good_points(data)[nodes],
            self.components,
            error=None if error is None else error[nodes, :, 0],
            robust=True,
        ).scores

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(k={self.k}, components={self.components}, metric={self.metric!r}, "
            f"source={self.source!r})"
        )


def _attribute(data: Data, name: str) -> Tensor:
    value: Any = data.get(name)
    count = data.x.shape[0]
    if value is None:
        raise InputError(f"data has no {name}; there are {', '.join(map(str, data.keys()))}")
    if not isinstance(value, Tensor) or value.is_complex() or value.dtype == torch.bool:
        raise InputTypeError(f"{name} is {type(value).__name__}; expected a tensor of numbers to compare objects by")
    if value.dim() != 2 or value.shape[0] != count:
        raise InputError(f"{name} has shape {tuple(value.shape)}; expected [N, D] = [{count}, D]")
    return value


def _united(parts: list[Tensor], count: int) -> Tensor:
    """Edges of all parts, once each, by target, then by source."""
    numbers = torch.cat([edges[1] * count + edges[0] for edges in parts]).unique()
    return torch.stack([numbers % count, numbers // count])
