"""The network that tells from a few bands of a pixel how much of each endmember is in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError

__all__ = ["CONSTRAINTS", "LatentEstimationNetwork"]

#: What the latent estimate may be held to.
CONSTRAINTS = (None, "nonnegative", "simplex")


class LatentEstimationNetwork(nn.Module):
    r"""Estimate the spectrum of a pixel from its multispectral bands as a mixture of fixed endmembers.

    Node by node, with one hidden layer:

    .. math::
        \mathbf{a} = W_2\, \mathrm{ReLU}(W_1 \mathbf{x} + \mathbf{b}_1) + \mathbf{b}_2, \qquad
        \hat{\mathbf{y}} = \mathbf{a}^\top E

    with the K endmembers E, which are not trained. The latent estimate a is like an abundance, but any real number by
    default; holding it to non-negative numbers or to sums of 1 is offered as an ablation and makes fusion worse. The
    input may have the coarse spectral prior beside the bands (:func:`~stgraph.models.fusion.coarse_prior`). Weights
    start from the uniform distribution of Glorot and Bengio (2010), biases from zero. There are
    :math:`(c_{in} + 1) d + (d + 1) K` parameters.

    Args:
        in_channels: Number of input channels: b bands, or b + C with the prior.
        endmembers: The spectra E; kept as a buffer.
        hidden: Width d of the hidden layer.
        constraint: ``None``; ``"nonnegative"``, a ReLU on the latent estimate; or ``"simplex"``, a softmax.

    Shapes:
        - **endmembers:** :math:`(K, C)`
        - **x:** :math:`(\ldots, c_{in})`
        - **output:** spectrum :math:`(\ldots, C)` and latent estimate :math:`(\ldots, K)`

    Raises:
        InputError: If a size is below 1, the endmembers are no finite matrix, the constraint is unknown, or the input
            has another number of channels.
        InputTypeError: If the endmembers are not of a floating dtype.

    Examples:
        >>> network = LatentEstimationNetwork(4, torch.ones(9, 156))
        >>> sum(parameter.numel() for parameter in network.parameters())
        14345
        >>> spectrum, latent = network(torch.zeros(10, 4))
        >>> spectrum.shape, latent.shape
        (torch.Size([10, 156]), torch.Size([10, 9]))
    """

    endmembers: Tensor

    def __init__(self, in_channels: int, endmembers: Tensor, hidden: int = 1024, constraint: str | None = None) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("hidden", hidden)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if not endmembers.is_floating_point():
            raise InputTypeError(f"endmembers have dtype {endmembers.dtype}; expected a floating dtype")
        if endmembers.dim() != 2 or 0 in endmembers.shape or not endmembers.isfinite().all():
            raise InputError(
                f"endmembers have shape {tuple(endmembers.shape)}; expected finite values of shape (endmembers, bands)"
            )
        if constraint not in CONSTRAINTS:
            raise InputError(f"constraint is {constraint!r}; expected one of {list(CONSTRAINTS)}")
        self.in_channels, self.hidden, self.constraint = in_channels, hidden, constraint
        self.register_buffer("endmembers", endmembers.detach().clone())
        dtype, device = endmembers.dtype, endmembers.device
        self.lin_hidden = nn.Linear(in_channels, hidden, dtype=dtype, device=device)
        self.lin_latent = nn.Linear(hidden, endmembers.shape[0], dtype=dtype, device=device)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, from ``generator`` where one is given, and set the biases to zero."""
        for layer in (self.lin_hidden, self.lin_latent):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spectra and the latent estimates."""
        if x.dim() < 1 or x.shape[-1] != self.in_channels:
            raise InputError(f"x has shape {tuple(x.shape)}; expected (..., {self.in_channels})")
        latent: Tensor = self.lin_latent(self.lin_hidden(x).relu())
        if self.constraint == "nonnegative":
            latent = latent.relu()
        elif self.constraint == "simplex":
            latent = latent.softmax(dim=-1)
        return latent @ self.endmembers, latent

    def extra_repr(self) -> str:
        """Show the sizes and the constraint."""
        count, bands = self.endmembers.shape
        return f"{self.in_channels}, endmembers={count}, bands={bands}, constraint={self.constraint!r}"
