"""The network that tells the mixture of a pixel from its bands, the spectra around it, and its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.models.fusion.latent_estimation import LatentEstimationNetwork
from stgraph.nn.mgat import MGAT, EdgeGeometry
from stgraph.ops.stencil import grid_stencil

__all__ = ["SpatialEstimationNetwork"]


class SpatialEstimationNetwork(nn.Module):
    r"""Estimate the spectrum of a pixel from its bands, the coarse spectra there, and its neighbours on the pixel grid.

    The spatial form of :class:`~stgraph.models.fusion.LatentEstimationNetwork`. The features of a node are its
    multispectral bands and the first principal components of the spectra that a coarser image has there,
    :math:`\mathbf{u} = [\mathbf{x}, \mathbf{c}]`. A linear layer and layers of :class:`~stgraph.nn.mgat.MGAT` over the
    edges to the 8 neighbours make :math:`\mathbf{h}` of them, and the published network reads both,

    .. math::
        \mathbf{a} = W_2\, \mathrm{ReLU}(W_1 [\mathbf{u}, \mathbf{h}] + \mathbf{b}_1) + \mathbf{b}_2, \qquad
        \hat{\mathbf{y}} = \mathbf{a}^\top E .

    A pixel depends on those at most :obj:`layers` rows or columns away. Weights start from the uniform distribution of
    Glorot and Bengio (2010), biases from zero. The principal components are those of the low-resolution spectra;
    :func:`fit_spatial` sets them before it trains, and they are saved with the parameters.

    Args:
        in_channels: Number b of multispectral bands.
        endmembers: The spectra E; kept as a buffer.
        components: Number P of principal components.
        channels: Number of features of a node in the attention.
        hidden: Width of the hidden layer of the published network.
        layers: Number of attention layers.
        constraint: ``None``, ``"nonnegative"`` or ``"simplex"``, for the latent estimate.

    Shapes:
        - **endmembers:** :math:`(K, C)`
        - **x:** bands and components :math:`(\ldots, N, b + P)`
        - **output:** spectra :math:`(\ldots, N, C)` and latent estimates :math:`(\ldots, N, K)`

    Raises:
        InputError: If a size is below 1, there are more components than bands of the endmembers, the constraint is
            unknown, the endmembers are no finite matrix, or the input has another number of channels.
        InputTypeError: If the endmembers are not of a floating dtype.

    Examples:
        >>> network = SpatialEstimationNetwork(4, torch.ones(9, 156), components=8)
        >>> spectra, latent = network(torch.zeros(6 * 5, 4 + 8), network.pixel_graph(6, 5))
        >>> spectra.shape, latent.shape
        (torch.Size([30, 156]), torch.Size([30, 9]))
    """

    mean: Tensor
    axes: Tensor

    def __init__(
        self,
        in_channels: int,
        endmembers: Tensor,
        components: int = 8,
        channels: int = 32,
        hidden: int = 1024,
        layers: int = 1,
        constraint: str | None = None,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "components": components, "channels": channels, "layers": layers}
        for name, value in sizes.items():
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        width = in_channels + components
        self.head = LatentEstimationNetwork(width + channels, endmembers, hidden, constraint)
        if components > endmembers.shape[1]:
            raise InputError(f"components is {components}; expected at most the {endmembers.shape[1]} bands")
        self.in_channels, self.components = in_channels, components
        self.lin_in = nn.Linear(width, channels)
        self.layers = nn.ModuleList(MGAT(channels, dropout=0.0) for _ in range(layers))
        self.register_buffer("mean", endmembers.new_zeros(endmembers.shape[1]))
        self.register_buffer("axes", torch.eye(components, endmembers.shape[1]))
        self.to(dtype=endmembers.dtype, device=endmembers.device)
        self.reset_parameters()

    @property
    def endmembers(self) -> Tensor:
        """The spectra that are mixed, ``[K, C]``."""
        return self.head.endmembers

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, from ``generator`` where one is given, and set the biases to zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()

    def pixel_graph(self, height: int, width: int) -> EdgeGeometry:
        """Return the edges between the 8 neighbours in an image, row by row, as the attention layers take them.

        Positions are in pixels, so that steps to a neighbour are from -1 to 1.
        """
        edge_index = grid_stencil(height, width, 8)
        steps = torch.stack([edge_index // width, edge_index % width], dim=-1)
        relative = (steps[1] - steps[0]).to(self.mean.dtype)
        edge_attr = torch.cat([relative, relative.norm(dim=1, keepdim=True)], dim=1)
        layer = self.layers[0]
        assert isinstance(layer, MGAT)
        return layer.prepare(edge_index.to(self.mean.device), edge_attr.to(self.mean.device), height * width)

    def set_components(self, image: Tensor) -> None:
        """Take the principal components of the spectra of an image ``[C, h, w]``.

        All are divided by the standard deviation of the first.

        Raises:
            InputError: If the image does not fit the endmembers.
        """
        check_image("image", image, self.mean.shape[0])
        spectra = image.flatten(1).double()
        mean = spectra.mean(dim=1)
        variance, axes = torch.linalg.eigh((spectra - mean[:, None]).cov(correction=0))
        scale = variance[-1].clamp(min=0).sqrt()
        # Spectra that differ by rounding alone have no components.
        some = scale > torch.finfo(torch.float32).eps * mean.abs().max()
        self.mean.copy_(mean)
        self.axes.copy_(torch.where(some, axes[:, -self.components :].flip(1).T / scale, 0.0))

    def project(self, image: Tensor) -> Tensor:
        """Return the components ``[P, h, w]`` of the spectra of an image ``[C, h, w]``.

        Raises:
            InputError: If the image does not fit the endmembers.
        """
        check_image("image", image, self.mean.shape[0])
        components: Tensor = (self.axes @ (image.flatten(1) - self.mean[:, None])).unflatten(1, image.shape[1:])
        return components

    def forward(self, x: Tensor, graph: EdgeGeometry) -> tuple[Tensor, Tensor]:
        """Return the spectra and the latent estimates.

        Args:
            x: Bands and components of each node.
            graph: Edges, from :meth:`pixel_graph`, or from :meth:`stgraph.nn.mgat.MGAT.prepare` of other ones.
        """
        expected = self.in_channels + self.components
        if x.dim() < 2 or x.shape[-1] != expected:
            raise InputError(f"x has shape {tuple(x.shape)}; expected (..., nodes, {expected})")
        if x.shape[-2] != graph.structure.num_nodes:
            raise InputError(f"the graph has {graph.structure.num_nodes} nodes, but x has {x.shape[-2]}")
        features = self.lin_in(x)
        for layer in self.layers:
            features = layer(features, graph)
        spectra, latent = self.head(torch.cat([x, features], dim=-1))
        return spectra, latent


def check_image(name: str, image: Tensor, channels: int, size: tuple[int, ...] | None = None) -> None:
    """Refuse what is no image of so many channels and, where given, of that size.

    Raises:
        InputError: If it is none.
    """
    fits = image.dim() == 3 and image.shape[0] == channels and 0 not in image.shape
    if not fits or (size is not None and image.shape[1:] != size):
        expected = f"({channels}, rows, columns), none empty" if size is None else (channels, *size)
        raise InputError(f"{name} has shape {tuple(image.shape)}; expected {expected}")
