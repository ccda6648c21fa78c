"""Random features of attention kernels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.spectral.kernels.base import RandomFeatureMap, private_generator
from stgraph.ops.random_features import orthogonal_gaussian, positive_log_features

__all__ = ["RFFAttentionKernel"]

_TYPES = ("softmax", "gaussian", "relu", "elu")


class RFFAttentionKernel(RandomFeatureMap):
    r"""Non-negative random features of kernels that weigh tokens.

    With :math:`\omega_i \sim N(0, I_d)`, points :math:`\tilde x = x d^{-1/4}` and m directions:

    - ``"softmax"``: :math:`\exp(\omega_i \cdot \tilde x - \lVert \tilde x \rVert^2 / 2) / \sqrt m`, in the mean
      :math:`\exp(x \cdot y / \sqrt d)`;
    - ``"gaussian"``: :math:`\exp(\omega_i \cdot x / \sigma - \lVert x \rVert^2 / \sigma^2) / \sqrt m`, in the mean
      :math:`\exp(-\lVert x - y \rVert^2 / 2 \sigma^2)`;
    - ``"relu"``: :math:`\sqrt{2/m} \max(0, \omega_i \cdot \tilde x)`;
    - ``"elu"``: :math:`(\mathrm{elu}(\omega_i \cdot \tilde x) + 1) / \sqrt m`.

    From Choromanski et al., *Rethinking Attention with Performers*, ICLR 2021.

    Args:
        input_dim: Dimension d of the points.
        num_features: Number m of random directions.
        kernel_type: Which features.
        use_orthogonal: Draw blocks of orthogonal directions.
        redraw: Draw new directions at each call in training mode.
        seed: Seed of a generator of its own, for the first directions.
        sigma: Length scale of ``"gaussian"``, :math:`d^{1/4}` by default.

    Shapes:
        - **input:** :math:`(..., n, d)`
        - **output:** :math:`(..., n, m)`

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> kernel = RFFAttentionKernel(4, 16)
        >>> bool((kernel(torch.randn(2, 5, 4)) > 0).all()), list(kernel.state_dict())
        (True, ['projection'])
    """

    projection: Tensor

    def __init__(
        self,
        input_dim: int,
        num_features: int,
        kernel_type: str = "softmax",
        use_orthogonal: bool = True,
        redraw: bool = False,
        seed: int | None = None,
        sigma: float | None = None,
    ) -> None:
        if kernel_type not in _TYPES:
            raise InputError(f"kernel_type is {kernel_type!r}; expected one of {list(_TYPES)}")
        if sigma is not None and kernel_type != "gaussian":
            raise InputError(f"sigma is {sigma} with kernel_type {kernel_type!r}; only 'gaussian' has one")
        if sigma is not None and not 0 < sigma < math.inf:
            raise InputError(f"sigma is {sigma}; expected a positive number")
        super().__init__(input_dim, num_features, sigma or max(input_dim, 1) ** 0.25, seed)
        self.kernel_type, self.use_orthogonal, self.redraw = kernel_type, use_orthogonal, redraw
        self.register_buffer("projection", torch.empty(input_dim, num_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw directions; with a seed, the same ones."""
        generator = private_generator(self.seed)
        self._draw(generator, "cpu" if generator is not None else self.projection.device)

    def redraw_features(self, generator: torch.Generator | None = None) -> None:
        """Draw new directions, on the device of the old ones unless ``generator`` has another."""
        self._draw(generator, self.projection.device if generator is None else generator.device)

    @torch.no_grad()
    def _draw(self, generator: torch.Generator | None, device: torch.device | str) -> None:
        size = (self.input_dim, self.num_features)
        self.projection.copy_(orthogonal_gaussian(*size, self.use_orthogonal, generator, device))

    def scaled_projection(self, dtype: torch.dtype) -> Tensor:
        """The directions, divided by the length scale, in a tensor of its own."""
        return self.projection.to(dtype) / self.kernel_scale

    @property
    def decay(self) -> float:
        """Factor of the squared norm in the logarithm of the features."""
        return (1.0 if self.kernel_type == "gaussian" else 0.5) / self.kernel_scale**2

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[..., n, m]`` of points ``[..., n, d]``."""
        self._redraw_in_training()
        return self._features(x)

    def kernel_approximation(self, x: Tensor, y: Tensor) -> Tensor:
        """Estimate of the kernel ``[..., n, m]``, with the same directions for both."""
        self._redraw_in_training()
        return self._features(x) @ self._features(y).mT

    def _redraw_in_training(self) -> None:
        if self.redraw and self.training:
            self.redraw_features()

    def _features(self, x: Tensor) -> Tensor:
        projection, root = self.scaled_projection(x.dtype), math.sqrt(self.num_features)
        if self.kernel_type == "relu":
            return F.relu(x @ projection) * (math.sqrt(2) / root)
        if self.kernel_type == "elu":
            return (F.elu(x @ projection) + 1) / root
        return positive_log_features(x, projection, self.decay).exp() / root

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.input_dim}, {self.num_features}, {self.kernel_type}, use_orthogonal={self.use_orthogonal}"
