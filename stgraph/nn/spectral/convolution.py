"""Convolutions in the frequency domain, with learned weights on the lowest modes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral.tokens import check_tokens, mix_tokens, over_grid
from stgraph.ops.transforms.low_modes import low_mode_convolution, low_mode_convolution_2d

__all__ = ["SpectralConv1d", "SpectralConv2d"]


class SpectralConv1d(nn.Module):
    r"""Convolution of sequences by learned weights on their lowest Fourier modes.

    .. math::
        Y_{o, k} = \sum_i X_{i, k} W_{i, o, k} \quad (k < \text{modes}), \qquad y = \mathrm{irfft}(Y)

    with :math:`X = \mathrm{rfft}(x)`. Modes that a sequence of N points does not have (:math:`k > N/2`) are not used,
    so the same weights serve every resolution.

    From Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        modes: Number of modes.
        init_scale: Standard deviation of the real and the imaginary parts of the first weights;
            :math:`\sqrt{1 / (2\, \text{in\_channels})}` by default, which keeps the variance of the kept modes.

    Shapes:
        - **input:** :math:`(..., \text{in\_channels}, N)`
        - **output:** :math:`(..., \text{out\_channels}, N)`

    Raises:
        InputError: If a size is below 1.

    Examples:
        >>> layer = SpectralConv1d(in_channels=3, out_channels=5, modes=4)
        >>> layer(torch.randn(2, 3, 20)).shape
        torch.Size([2, 5, 20])
    """

    def __init__(self, in_channels: int, out_channels: int, modes: int, *, init_scale: float | None = None) -> None:
        super().__init__()
        _check_sizes(in_channels=in_channels, out_channels=out_channels, modes=modes)
        self.in_channels, self.out_channels, self.modes = in_channels, out_channels, modes
        self.init_scale = init_scale
        self.weights = nn.Parameter(torch.empty(in_channels, out_channels, modes, 2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        nn.init.normal_(self.weights, std=_scale(self.init_scale, self.in_channels))

    @property
    def weights_complex(self) -> Tensor:
        """The weights as a complex view ``[in_channels, out_channels, modes]``."""
        return torch.view_as_complex(self.weights)

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        """Convolve sequences.

        Args:
            x: Sequences ``[..., in_channels, N]``.
            mask: Non-zero where a token is real, ``[..., N]``; others enter and leave as 0.
            batch: Graph of each token, ``[N]``, sorted; each graph is then a sequence of its own length.
        """
        _check_image(x, self.in_channels, axes=1)
        if mask is not None or batch is not None:
            return mix_tokens(self.convolve_tokens, x.mT, mask, batch).mT
        out: Tensor = low_mode_convolution(x, self.weights)
        return out

    def convolve_tokens(self, x: Tensor) -> Tensor:
        """Convolve sequences whose channels come last, ``[..., N, in_channels]``."""
        check_tokens(x, self.in_channels, "in_channels")
        out: Tensor = low_mode_convolution(x, self.weights, True)
        return out

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.in_channels}, {self.out_channels}, modes={self.modes}"


class SpectralConv2d(nn.Module):
    r"""Convolution of images by learned weights on their lowest Fourier modes.

    As :class:`SpectralConv1d`, with the modes :math:`(k_1, k_2)`, :math:`|k_1| < m_1` or :math:`k_1 = -m_1`,
    :math:`0 \le k_2 < m_2`. The weights of :math:`k_1 \ge 0` are ``weights``, those of :math:`k_1 < 0` are
    ``weights_neg``. Modes beyond the Nyquist frequencies of an image are not used, so the same weights serve every
    resolution.

    From Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        modes: Numbers of modes :math:`(m_1, m_2)`, vertical and horizontal.
        two_sided: Keep the negative vertical frequencies. Without them the first :math:`m_1` rows of the spectrum
            alone are kept, and with them only waves that run one way.
        init_scale: Standard deviation of the real and the imaginary parts of the first weights;
            :math:`\sqrt{1 / (2\, \text{in\_channels})}` by default, which keeps the variance of the kept modes.

    Shapes:
        - **input:** :math:`(..., \text{in\_channels}, H, W)`, or node features :math:`(..., N, \text{in\_channels})`
          of a grid, row-major, with ``grid``
        - **output:** the same with ``out_channels``

    Raises:
        InputError: If a size is below 1 or ``modes`` are not two.

    Examples:
        >>> layer = SpectralConv2d(in_channels=3, out_channels=5, modes=(4, 4))
        >>> layer(torch.randn(2, 3, 12, 10)).shape
        torch.Size([2, 5, 12, 10])
        >>> layer(torch.randn(2, 120, 3), grid=(12, 10)).shape
        torch.Size([2, 120, 5])
    """

    weights_neg: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: Sequence[int],
        *,
        two_sided: bool = True,
        init_scale: float | None = None,
    ) -> None:
        super().__init__()
        if isinstance(modes, int) or len(modes) != 2:
            raise InputError(f"modes is {modes}; expected two numbers")
        self.modes1, self.modes2 = modes
        _check_sizes(in_channels=in_channels, out_channels=out_channels, modes1=self.modes1, modes2=self.modes2)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.init_scale = init_scale
        shape = (in_channels, out_channels, self.modes1, self.modes2, 2)
        self.weights = nn.Parameter(torch.empty(shape))
        self.register_parameter("weights_neg", nn.Parameter(torch.empty(shape)) if two_sided else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        for weights in self.parameters():
            nn.init.normal_(weights, std=_scale(self.init_scale, self.in_channels))

    @property
    def weights_complex(self) -> Tensor:
        """The weights as a complex view ``[in_channels, out_channels, modes1, modes2]``."""
        return torch.view_as_complex(self.weights)

    def forward(self, x: Tensor, grid: Any = None) -> Tensor:
        """Convolve images, or node features on a grid.

        Args:
            x: Images, or node features.
            grid: ``(H, W)`` where ``x`` are node features, a list of such for a mini-batch of grids, or the graph whose
                attribute ``grid`` says it.
        """
        if grid is not None:
            check_tokens(x, self.in_channels, "in_channels")
            return over_grid(self._convolve_last, x, grid, "SpectralConv2d", channels_last=True)
        _check_image(x, self.in_channels, axes=2)
        out: Tensor = low_mode_convolution_2d(x, self.weights, self.weights_neg)
        return out

    def convolve_tokens(self, x: Tensor) -> Tensor:
        """Convolve images whose channels come last, ``[..., H, W, in_channels]``."""
        check_tokens(x, self.in_channels, "in_channels")
        return self._convolve_last(x)

    def _convolve_last(self, x: Tensor) -> Tensor:
        out: Tensor = low_mode_convolution_2d(x, self.weights, self.weights_neg, True)
        return out

    def extra_repr(self) -> str:
        """Show the sizes."""
        sides = "" if self.weights_neg is not None else ", two_sided=False"
        return f"{self.in_channels}, {self.out_channels}, modes=({self.modes1}, {self.modes2}){sides}"


def _scale(init_scale: float | None, channels: int) -> float:
    return math.sqrt(1 / (2 * channels)) if init_scale is None else init_scale


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")


def _check_image(x: Tensor, channels: int, axes: int) -> None:
    """Require ``[..., channels, N]`` or ``[..., channels, H, W]``."""
    if not x.is_floating_point():
        raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
    if x.dim() < axes + 1 or x.shape[-1 - axes] != channels:
        points = "N" if axes == 1 else "H, W"
        raise InputError(f"x has shape {tuple(x.shape)}; expected (..., {channels}, {points}) as in_channels says")
