"""Polynomial kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.spectral.kernels.base import KernelFunction

__all__ = ["PolynomialKernel", "PolynomialSpectralKernel"]


class PolynomialKernel(KernelFunction):
    r"""The kernel :math:`(\alpha \, x \cdot y + c)^p`.

    Args:
        degree: Degree p, at least 1.
        alpha: Factor :math:`\alpha` of the inner product.
        coef0: Constant c.

    Raises:
        InputError: If the degree is below 1.

    Examples:
        >>> PolynomialKernel(degree=2, coef0=1.0).compute(torch.ones(1, 2), torch.ones(1, 2))
        tensor([[9.]])
    """

    def __init__(self, degree: int = 2, alpha: float = 1.0, coef0: float = 0.0) -> None:
        if degree < 1:
            raise InputError(f"degree is {degree}; expected at least 1")
        self.degree, self.alpha, self.coef0 = degree, alpha, coef0

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel ``[..., n, m]``."""
        return (self.alpha * (x @ y.mT) + self.coef0).pow(self.degree)


class PolynomialSpectralKernel(PolynomialKernel):
    r"""The kernel :math:`(\alpha \, x \cdot y + c)^p / (\lVert x \rVert \lVert y \rVert + 10^{-8})`.

    Args:
        rank: Number of principal axes that :meth:`compute_attention` keeps.
        degree: Degree p, at least 1.
        coef0: Constant c.
        alpha: Factor :math:`\alpha` of the inner product.
        normalize: Divide by the norms.

    Raises:
        InputError: If the rank or the degree is below 1.

    Examples:
        >>> kernel = PolynomialSpectralKernel(rank=2)
        >>> kernel.compute_attention(torch.randn(4, 3), torch.randn(5, 3)).shape
        torch.Size([4, 5])
    """

    def __init__(
        self, rank: int, degree: int = 2, coef0: float = 1.0, alpha: float = 1.0, normalize: bool = True
    ) -> None:
        super().__init__(degree, alpha, coef0)
        if rank < 1:
            raise InputError(f"rank is {rank}; expected at least 1")
        self.rank, self.normalize = rank, normalize

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel ``[..., n, m]``."""
        kernel = super().compute(x, y)
        if not self.normalize:
            return kernel
        of_x, of_y = (torch.linalg.vector_norm(t, dim=-1) for t in (x, y))
        normalized: Tensor = kernel / (of_x.unsqueeze(-1) * of_y.unsqueeze(-2) + 1e-8)
        return normalized

    def compute_attention(self, q: Tensor, k: Tensor) -> Tensor:
        """Weights ``[..., n, m]``: the kernel divided by its sum over the keys.

        With fewer axes than channels both are first projected on the same axes, the principal ones of queries and keys
        taken together.

        Raises:
            InputError: If the degree is odd, so that weights could be negative.
        """
        if self.degree % 2:
            raise InputError(f"degree is {self.degree}; expected an even one, as weights must not be negative")
        if self.rank < q.shape[-1]:
            joint = torch.cat([q, k], dim=-2)
            centred = joint - joint.mean(dim=-2, keepdim=True)
            axes = torch.linalg.eigh(centred.mT @ centred).eigenvectors[..., -self.rank :]
            q, k = q @ axes, k @ axes
        weights = self.compute(q, k) + torch.finfo(q.dtype).tiny
        return weights / weights.sum(dim=-1, keepdim=True)
