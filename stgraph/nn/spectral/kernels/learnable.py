"""A kernel whose eigenvectors are learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.spectral.kernels.base import KernelFunction

__all__ = ["LearnableSpectralKernel"]


class LearnableSpectralKernel(nn.Module, KernelFunction):
    r"""The kernel :math:`x U |\Lambda| U^T y^T` of rank r with learned :math:`U` and :math:`\lambda`.

    Its features are :math:`x U \sqrt{|\lambda| + 10^{-8}}`.

    Args:
        input_dim: Dimension d of the points.
        rank: Number r of eigenvectors, at most d.
        init_scale: Factor of the first eigenvalues, which fall from 1 to 0.1.
        trainable_eigenvectors: Train the eigenvectors as well.
        normalize: Scale features to norm 1 in :meth:`compute`.

    Shapes:
        - **input:** :math:`(..., n, d)` and, for the kernel, :math:`(..., m, d)`
        - **output:** :math:`(..., n, r)`, or the kernel :math:`(..., n, m)`

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> kernel = LearnableSpectralKernel(6, rank=3)
        >>> x = torch.randn(5, 6)
        >>> kernel(x).shape, kernel(x, x).shape
        (torch.Size([5, 3]), torch.Size([5, 5]))
    """

    def __init__(
        self,
        input_dim: int,
        rank: int,
        init_scale: float = 1.0,
        trainable_eigenvectors: bool = True,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        if input_dim < 1 or not 1 <= rank <= input_dim:
            raise InputError(f"rank is {rank} with input_dim {input_dim}; expected 1 to input_dim")
        if init_scale <= 0:
            raise InputError(f"init_scale is {init_scale}; expected a positive number")
        self.input_dim, self.rank, self.init_scale, self.normalize = input_dim, rank, init_scale, normalize
        self.eigenvectors = nn.Parameter(torch.empty(input_dim, rank), requires_grad=trainable_eigenvectors)
        self.eigenvalues = nn.Parameter(torch.empty(rank))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw orthonormal eigenvectors and set the eigenvalues to their start."""
        self.eigenvectors.normal_()
        self.orthogonalize_eigenvectors()
        self.eigenvalues.copy_(torch.linspace(1, 0.1, self.rank) * self.init_scale)

    @torch.no_grad()
    def orthogonalize_eigenvectors(self) -> None:
        """Replace the eigenvectors by orthonormal ones of the same span."""
        dtype = torch.promote_types(self.eigenvectors.dtype, torch.float32)
        self.eigenvectors.copy_(torch.linalg.qr(self.eigenvectors.to(dtype))[0])

    def extract_features(self, x: Tensor) -> Tensor:
        """Features ``[..., n, r]``."""
        scaled = self.eigenvectors.to(x.dtype) * (self.eigenvalues.to(x.dtype).abs() + 1e-8).sqrt()
        return x @ scaled

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel ``[..., n, m]``."""
        of_x, of_y = self.extract_features(x), self.extract_features(y)
        if self.normalize:
            of_x, of_y = F.normalize(of_x, dim=-1), F.normalize(of_y, dim=-1)
        return of_x @ of_y.mT

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Features of ``x``, or the kernel of ``x`` and ``y``."""
        return self.extract_features(x) if y is None else self.compute(x, y)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.input_dim}, rank={self.rank}, normalize={self.normalize}"
