"""Random Fourier features of shift-invariant kernels."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.spectral.kernels.base import RandomFeatureMap, ShiftInvariantKernel, private_generator
from stgraph.ops.random_features import orthogonal_gaussian
from stgraph.ops.transforms.hadamard import fwht

__all__ = ["GaussianRFFKernel", "LaplacianRFFKernel", "OrthogonalRandomFeatures"]


class _FourierFeatures(RandomFeatureMap):
    """Cosines of random projections, with random phases."""

    omega: Tensor
    bias: Tensor

    def __init__(
        self, input_dim: int, num_features: int, sigma: float, use_cos_sin: bool, trainable: bool, seed: int | None
    ) -> None:
        if sigma <= 0:
            raise InputError(f"sigma is {sigma}; expected a positive number")
        super().__init__(input_dim, num_features, sigma, seed)
        self.sigma, self.use_cos_sin, self.trainable = sigma, use_cos_sin, trainable
        self.output_features = num_features * (2 if use_cos_sin else 1)
        self._keep("omega", torch.empty(input_dim, num_features))
        self._keep("bias", torch.empty(num_features))
        self.reset_parameters()

    def _keep(self, name: str, tensor: Tensor) -> None:
        if self.trainable:
            self.register_parameter(name, nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw directions and phases; with a seed, the same ones."""
        generator = private_generator(self.seed)
        self.omega.copy_(self._directions(generator))
        self.bias.copy_(2 * math.pi * torch.rand(self.num_features, generator=generator))

    @abstractmethod
    def _directions(self, generator: torch.Generator | None) -> Tensor:
        """Draw the directions ``[d, m]``, or what they are made of."""

    def _project(self, x: Tensor) -> Tensor:
        return x @ self.omega.to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[..., n, output_features]`` of points ``[..., n, d]``."""
        angle = self._project(x) + self.bias.to(x.dtype)
        if self.use_cos_sin:
            return torch.cat([angle.cos(), angle.sin()], dim=-1) / math.sqrt(self.num_features)
        return angle.cos() * math.sqrt(2 / self.num_features)


class GaussianRFFKernel(_FourierFeatures, ShiftInvariantKernel):
    r"""The kernel :math:`\exp(-\lVert x - y \rVert^2 / 2 \sigma^2)` and its random Fourier features.

    .. math::
        \phi(x) = \sqrt{2/m} \cos(x \omega + b) \quad \text{or} \quad
        \sqrt{1/m} \, [\cos(x \omega + b), \sin(x \omega + b)], \qquad \omega_i \sim N(0, \sigma^{-2} I), \;
        b_i \sim U[0, 2 \pi)

    from Rahimi and Recht, *Random Features for Large-Scale Kernel Machines*, NeurIPS 2007.

    Args:
        input_dim: Dimension d of the points.
        num_features: Number m of random directions.
        sigma: Length scale.
        use_cos_sin: Use cosine and sine of each direction: 2m features, less variance.
        orthogonal: Draw blocks of orthogonal directions.
        trainable: Make directions and phases parameters.
        seed: Seed of a generator of its own.

    Shapes:
        - **input:** :math:`(..., n, d)`
        - **output:** :math:`(..., n, m)` or :math:`(..., n, 2m)`

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> kernel = GaussianRFFKernel(3, 4096, use_cos_sin=True, seed=0)
        >>> x = torch.tensor([[0.0, 0.0, 0.0], [0.5, 1.0, 0.0]])
        >>> bool((kernel.kernel_approximation(x, x) - kernel.compute(x, x)).abs().max() < 0.05)
        True
    """

    def __init__(
        self,
        input_dim: int,
        num_features: int,
        sigma: float = 1.0,
        use_cos_sin: bool = False,
        orthogonal: bool = False,
        trainable: bool = False,
        seed: int | None = None,
    ) -> None:
        self.orthogonal = orthogonal
        super().__init__(input_dim, num_features, sigma, use_cos_sin, trainable, seed)
        self.bandwidth = sigma

    def _directions(self, generator: torch.Generator | None) -> Tensor:
        return orthogonal_gaussian(self.input_dim, self.num_features, self.orthogonal, generator) / self.sigma

    def evaluate_difference(self, diff: Tensor) -> Tensor:
        """Kernel ``[...]`` of differences ``[..., d]``."""
        return torch.exp(-diff.square().sum(dim=-1) / (2 * self.sigma**2))

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """The exact kernel ``[..., n, m]``, through the squared distances."""
        centre = x.mean(dim=-2, keepdim=True).detach()  # smaller numbers cancel less
        x, y = x - centre, y - centre
        norms = x.square().sum(dim=-1).unsqueeze(-1) + y.square().sum(dim=-1).unsqueeze(-2)
        return torch.exp((2 * (x @ y.mT) - norms).clamp(max=0) / (2 * self.sigma**2))

    def spectral_density(self, omega: Tensor) -> Tensor:
        r"""Fourier transform :math:`(2 \pi \sigma^2)^{d/2} \exp(-\sigma^2 \lVert \omega \rVert^2 / 2)` of the kernel.

        Divided by :math:`(2 \pi)^d` it is the density from which the directions are drawn.
        """
        factor = float((2 * math.pi * self.sigma**2) ** (self.input_dim / 2))
        return factor * torch.exp(-0.5 * self.sigma**2 * omega.square().sum(dim=-1))


class LaplacianRFFKernel(_FourierFeatures, ShiftInvariantKernel):
    r"""The kernel :math:`\exp(-\lVert x - y \rVert_1 / \sigma)` and its random Fourier features.

    The features are those of :class:`GaussianRFFKernel` with Cauchy distributed :math:`\omega` (Rahimi and Recht,
    *Random Features for Large-Scale Kernel Machines*, NeurIPS 2007).

    Args:
        input_dim: Dimension d of the points.
        num_features: Number m of random directions.
        sigma: Length scale.
        use_cos_sin: Use cosine and sine of each direction: 2m features, less variance.
        trainable: Make directions and phases parameters.
        seed: Seed of a generator of its own.

    Shapes:
        - **input:** :math:`(..., n, d)`
        - **output:** :math:`(..., n, m)` or :math:`(..., n, 2m)`

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> LaplacianRFFKernel(3, 8)(torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        input_dim: int,
        num_features: int,
        sigma: float = 1.0,
        use_cos_sin: bool = False,
        trainable: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(input_dim, num_features, sigma, use_cos_sin, trainable, seed)
        self.bandwidth = sigma

    def _directions(self, generator: torch.Generator | None) -> Tensor:
        uniform = torch.rand(self.input_dim, self.num_features, generator=generator, dtype=torch.float64)
        return torch.tan(math.pi * (uniform - 0.5)) / self.sigma

    def evaluate_difference(self, diff: Tensor) -> Tensor:
        """Kernel ``[...]`` of differences ``[..., d]``."""
        return torch.exp(-diff.abs().sum(dim=-1) / self.sigma)

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """The exact kernel ``[..., n, m]``, through the distances."""
        return torch.exp(-torch.cdist(x, y, p=1.0) / self.sigma)

    def spectral_density(self, omega: Tensor) -> Tensor:
        r"""Density :math:`\prod_i \sigma / \pi (1 + \sigma^2 \omega_i^2)` from which the directions are drawn."""
        return (self.sigma / math.pi / (1 + (self.sigma * omega).square())).prod(dim=-1)


class OrthogonalRandomFeatures(_FourierFeatures):
    r"""Random Fourier features of the Gaussian kernel from orthogonal directions.

    Directions come in orthogonal blocks with :math:`\chi` distributed norms. With ``use_hadamard`` a block is
    :math:`H D_1 H D_2 H D_3`, of Hadamard matrices and random signs on the next power of two, which takes
    :math:`O(m \log d)` per point and no matrix; such directions are Gaussian only in the limit of large d, and
    estimates in a few dimensions have a bias. From Yu, Suresh, Choromanski, Holtmann-Rice and Kumar, *Orthogonal Random
    Features*, NeurIPS 2016.

    Args:
        input_dim: Dimension d of the points.
        num_features: Number m of random directions.
        kernel_type: ``"gaussian"``. The directions of the Laplacian kernel have independent Cauchy coordinates, which
            no rotation keeps, so they cannot be made orthogonal: :class:`LaplacianRFFKernel` serves that kernel.
        sigma: Length scale.
        use_hadamard: Use fast structured directions.
        trainable: Make the directions (their norms with ``use_hadamard``) and phases parameters.
        seed: Seed of a generator of its own.

    Shapes:
        - **input:** :math:`(..., n, d)`
        - **output:** :math:`(..., n, m)`

    Raises:
        InputError: If a value is out of range or the kernel is another.

    Examples:
        >>> OrthogonalRandomFeatures(3, 8, use_hadamard=True)(torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 8])
    """

    signs: Tensor

    def __init__(
        self,
        input_dim: int,
        num_features: int,
        kernel_type: str = "gaussian",
        sigma: float = 1.0,
        use_hadamard: bool = False,
        trainable: bool = False,
        seed: int | None = None,
    ) -> None:
        if kernel_type != "gaussian":
            hint = "; LaplacianRFFKernel serves the Laplacian kernel" if kernel_type == "laplacian" else ""
            raise InputError(f"kernel_type is {kernel_type!r}; expected 'gaussian'{hint}")
        self.kernel_type, self.use_hadamard = kernel_type, use_hadamard
        super().__init__(input_dim, num_features, sigma, False, trainable, seed)

    def _keep(self, name: str, tensor: Tensor) -> None:
        if name == "omega" and self.use_hadamard:
            size = 1 << (self.input_dim - 1).bit_length()
            self.register_buffer("signs", torch.empty(3, -(-self.num_features // size), size))
            tensor = tensor.new_empty(self.num_features)  # the norms are all there is to keep beside the signs
        super()._keep(name, tensor)

    def _directions(self, generator: torch.Generator | None) -> Tensor:
        if not self.use_hadamard:
            return orthogonal_gaussian(self.input_dim, self.num_features, True, generator) / self.sigma
        self.signs.copy_(2 * torch.randint(0, 2, self.signs.shape, generator=generator) - 1)
        gaussian = torch.randn(self.signs.shape[-1], self.num_features, generator=generator)
        norms: Tensor = torch.linalg.vector_norm(gaussian, dim=0)
        return norms / self.sigma

    def _project(self, x: Tensor) -> Tensor:
        if not self.use_hadamard:
            return super()._project(x)
        signs = self.signs.to(x.dtype)
        blocks = torch.nn.functional.pad(x, (0, signs.shape[-1] - self.input_dim)).unsqueeze(-2)
        for flip in signs:
            blocks = fwht(flip * blocks, dim=-1, norm="ortho")
        return blocks.flatten(-2)[..., : self.num_features] * self.omega.to(x.dtype)
