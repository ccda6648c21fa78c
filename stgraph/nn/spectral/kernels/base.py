"""What kernels have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["KernelFunction", "RandomFeatureMap", "ShiftInvariantKernel", "private_generator"]


def private_generator(seed: int | None) -> torch.Generator | None:
    """Make a generator with the ``seed``, so that the global one stays as it is; without a seed, use the global one."""
    return None if seed is None else torch.Generator().manual_seed(seed)


class KernelFunction(ABC):
    r"""A kernel :math:`k(x, y)`; a subclass implements :meth:`compute`."""

    @abstractmethod
    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel ``[..., n, m]`` of the points ``x`` ``[..., n, d]`` and ``y`` ``[..., m, d]``."""

    def gram_matrix(self, x: Tensor) -> Tensor:
        """Kernel of the points with each other, ``[..., n, n]``."""
        return self.compute(x, x)

    def is_positive_definite(self, x: Tensor, eps: float = 1e-6) -> bool:
        """Tell whether all eigenvalues of the Gram matrix of these points exceed ``eps``."""
        gram = self.gram_matrix(x)
        return bool((torch.linalg.eigvalsh((gram + gram.mT) / 2) > eps).all())


class ShiftInvariantKernel(KernelFunction):
    """A kernel of the difference of two points; a subclass implements :meth:`evaluate_difference`.

    Args:
        bandwidth: Length scale of the kernel.

    Raises:
        InputError: If it is not positive.
    """

    def __init__(self, bandwidth: float = 1.0) -> None:
        super().__init__()
        if bandwidth <= 0:
            raise InputError(f"bandwidth is {bandwidth}; expected a positive number")
        self.bandwidth = bandwidth

    @abstractmethod
    def evaluate_difference(self, diff: Tensor) -> Tensor:
        """Kernel ``[...]`` of differences ``[..., d]``."""

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel ``[..., n, m]``, through all differences."""
        return self.evaluate_difference(x.unsqueeze(-2) - y.unsqueeze(-3))


class RandomFeatureMap(nn.Module, ABC):
    r"""A random map :math:`\phi` whose inner products estimate a kernel; a subclass implements :meth:`forward`.

    Args:
        input_dim: Dimension d of the points.
        num_features: Number of random directions.
        kernel_scale: Length scale of the kernel.
        seed: Seed of a generator of its own; the global one is used without.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(self, input_dim: int, num_features: int, kernel_scale: float = 1.0, seed: int | None = None) -> None:
        super().__init__()
        for name, value in (("input_dim", input_dim), ("num_features", num_features)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if kernel_scale <= 0:
            raise InputError(f"kernel_scale is {kernel_scale}; expected a positive number")
        self.input_dim, self.num_features, self.kernel_scale, self.seed = input_dim, num_features, kernel_scale, seed

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Features ``[..., n, F]`` of points ``[..., n, d]``."""

    def kernel_approximation(self, x: Tensor, y: Tensor) -> Tensor:
        """Estimate of the kernel ``[..., n, m]``, the inner products of the features."""
        product: Tensor = self(x) @ self(y).mT
        return product

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.input_dim}, {self.num_features}, kernel_scale={self.kernel_scale}"
