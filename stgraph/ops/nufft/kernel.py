"""The kernel that carries values between irregular points and a grid."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["OVERSAMPLING", "Kernel"]

OVERSAMPLING = 2
"""Points of a grid per mode that is used."""


class Kernel(NamedTuple):
    """The Kaiser-Bessel kernel over ``width`` grid points, whose Fourier transform is known in closed form.

    See Jackson et al. (1991), IEEE Transactions on Medical Imaging 10, 473; the shape parameter is that of Beatty et
    al. (2005), IEEE Transactions on Medical Imaging 24, 799.
    """

    width: int
    beta: float

    @classmethod
    def for_error(cls, eps: float) -> Kernel:
        """The narrowest kernel that keeps the relative error of spreading and interpolation below ``eps``."""
        width = math.ceil(-math.log10(eps)) + 2
        return cls(width, math.pi * math.sqrt((width * (1 - 0.5 / OVERSAMPLING)) ** 2 - 0.8))

    def spread(self, values: Tensor, position: Tensor, size: int) -> Tensor:
        """Add values ``[R, K, N]`` at positions ``[R, N]`` in grid steps to periodic grids ``[R, K, size]``."""
        num_rows, num_transforms, num_points = values.shape
        points = torch.view_as_real(values.transpose(1, 2).contiguous()).reshape(num_rows * num_points, -1)
        grid = points.new_zeros(num_rows * size, points.shape[-1])
        for target, weight in self._taps(position, size):
            grid = grid.index_add(0, target, points * weight.unsqueeze(-1))
        complex_grid = torch.view_as_complex(grid.reshape(num_rows, size, num_transforms, 2))
        return complex_grid.transpose(1, 2)

    def interpolate(self, grid: Tensor, position: Tensor) -> Tensor:
        """Values ``[R, K, F]`` of periodic grids ``[R, K, size]`` at positions ``[R, F]`` in grid steps."""
        num_rows, num_transforms, size = grid.shape
        points = torch.view_as_real(grid.transpose(1, 2).contiguous()).reshape(num_rows * size, -1)
        total = points.new_zeros(position.numel(), points.shape[-1])
        for source, weight in self._taps(position, size):
            total = total + points[source] * weight.unsqueeze(-1)
        values = torch.view_as_complex(total.reshape(num_rows, -1, num_transforms, 2))
        return values.transpose(1, 2)

    def _taps(self, position: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
        """For each of the kernel's points: the flat grid entries and the weights of all positions ``[R, P]``."""
        first = (position - self.width / 2).ceil()
        offset = torch.arange(self.width, device=position.device, dtype=position.dtype).reshape(-1, 1, 1)
        weight = self.value(first + offset - position).flatten(1)
        row = torch.arange(position.shape[0], device=position.device).unsqueeze(-1) * size
        entry = ((first + offset).long().remainder(size) + row).flatten(1)
        return list(zip(entry, weight, strict=True))

    def value(self, distance: Tensor) -> Tensor:
        """The kernel at a distance in grid steps, 1 at 0."""
        root = (1 - (2 * distance / self.width) ** 2).clamp_min(0).sqrt()
        bessel: Tensor = torch.special.i0e(self.beta * root)
        return bessel * torch.exp(self.beta * (root - 1)) / self._peak

    def transform(self, cycles: Tensor) -> Tensor:
        """The kernel's Fourier transform at frequencies in cycles per grid step, up to 1 / (2 OVERSAMPLING)."""
        root = (self.beta**2 - (math.pi * self.width * cycles) ** 2).sqrt()
        hyperbolic_sine = (torch.exp(root - self.beta) - torch.exp(-root - self.beta)) / 2  # scaled like the peak
        return self.width * hyperbolic_sine / (root * self._peak)

    @property
    def _peak(self) -> float:
        return float(torch.special.i0e(torch.tensor(self.beta, dtype=torch.float64)))
