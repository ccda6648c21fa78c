"""Token mixing by learned filters over all frequencies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral.activations import activation_module
from stgraph.nn.spectral.base import FilterMixingLayer
from stgraph.nn.spectral.tokens import check_tokens, mix_tokens, over_grid
from stgraph.nn.spectral.transforms import FFT1D, FFT2D
from stgraph.nn.spectral.transforms.base import checked_norm
from stgraph.ops.transforms.filters import circular_filter, hermitian_half, resample_circular, resample_half
from stgraph.ops.transforms.precision import full_precision

__all__ = ["AdaptiveGlobalFilter", "GlobalFilterMixing", "GlobalFilterMixing2D"]


class _GlobalFilter(FilterMixingLayer):
    """The filter itself: two real tables, an activation, and the response they make."""

    filter_real: Tensor
    filter_imag: Tensor
    _axes: tuple[int, ...] = (-2,)

    def __init__(
        self,
        hidden_dim: int,
        sequence_length: int,
        activation: str = "sigmoid",
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        learnable_filters: bool = True,
        fft_norm: str | None = "ortho",
        filter_init_std: float = 0.02,
    ) -> None:
        super().__init__(hidden_dim, sequence_length, dropout, norm_eps, learnable_filters)
        if filter_init_std < 0:
            raise InputError(f"filter_init_std is {filter_init_std}; expected at least 0")
        self.activation, self.fft_norm = activation, checked_norm(fft_norm)
        self.filter_init_std = filter_init_std
        self.activation_fn = activation_module(activation, among=("sigmoid", "tanh", "identity"))
        for name in ("filter_real", "filter_imag"):
            table = torch.empty(sequence_length, hidden_dim)
            if learnable_filters:
                self.register_parameter(name, nn.Parameter(table))
            else:
                self.register_buffer(name, table)
        if len(self._axes) == 1:
            self.fft1d = FFT1D(norm=fft_norm)
        else:
            self.fft2d = FFT2D(norm=fft_norm)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new filters."""
        for table in (self.filter_real, self.filter_imag):
            table.normal_().mul_(self._initial_scale().unsqueeze(-1))

    def get_filter_response(self) -> Tensor:
        """Return the complex frequency response ``[N, D]``, in the order of :func:`torch.fft.fftfreq`."""
        return self._response(self.filter_real, self.filter_imag)

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        count = self.filter_real.numel() + self.filter_imag.numel()
        return {**super().get_spectral_properties(), "activation": self.activation, "parameter_count": count}

    def extra_repr(self) -> str:
        """Show the sizes and options."""
        return f"{super().extra_repr()}, activation={self.activation!r}, learnable_filters={self.learnable_filters}"

    def _initial_scale(self) -> Tensor:
        return self.filter_real.new_full((self.sequence_length,), self.filter_init_std)

    def _response(self, real: Tensor, imaginary: Tensor) -> Tensor:
        return torch.complex(self.activation_fn(real), self.activation_fn(imaginary))

    def _native_half(self, x: Tensor) -> Tensor:
        """What acts of the response, in the precision of ``x``."""
        response = self._response(self.filter_real.to(x.dtype), self.filter_imag.to(x.dtype))
        return hermitian_half(response, self._axes)

    @abstractmethod
    def _half(self, x: Tensor) -> Tensor:
        """The same for the size of ``x``."""

    def _filter(self, x: Tensor) -> Tensor:
        return _multiply_spectrum(x, self._half, self._axes, self.fft_norm)


class GlobalFilterMixing(_GlobalFilter):
    r"""Filter the tokens of each channel by a learned response over all frequencies, the mixing of GFNet.

    .. math::
        Y = \mathrm{Re}(F^{-1} (H \odot F X)), \qquad H = \sigma(W_r) + i\, \sigma(W_i)

    Only the Hermitian part :math:`\tfrac12 (H_k + \overline{H_{-k}})` acts on real signals; it is applied to the half
    spectrum of a real transform. For another number of tokens it is interpolated linearly over the frequency in
    cycles per token, so a low-pass filter keeps its cut-off. From Y. Rao et al., "Global filter networks for image
    classification", NeurIPS 2021.

    Args:
        hidden_dim: Number of channels D.
        sequence_length: Number of tokens N that the filter is made for.
        activation: :math:`\sigma`: ``"sigmoid"``, ``"tanh"`` or ``"identity"``. With the first, the layer starts close
            to half of the identity.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        learnable_filters: Train the filter; else it is a buffer.
        fft_norm: ``"ortho"``, ``"backward"`` or ``"forward"``, without influence on the result.
        filter_init_std: Standard deviation of the initial :math:`W_r, W_i`.

    Shapes:
        - **input, output:** :math:`(..., N', D)` for any :math:`N' \ge 1`

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> layer = GlobalFilterMixing(hidden_dim=8, sequence_length=12)
        >>> layer(torch.randn(2, 12, 8)).shape, layer(torch.randn(2, 30, 8)).shape
        (torch.Size([2, 12, 8]), torch.Size([2, 30, 8]))
    """

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        """Filter the tokens.

        Args:
            x: Tokens ``[..., N', D]``.
            mask: Non-zero where a token is real, ``[..., N']``; others enter and leave as 0.
            batch: Graph of each token, ``[N']``, sorted; each graph is then a sequence of its own length.
        """
        check_tokens(x, self.hidden_dim)
        out: Tensor = self.dropout(mix_tokens(self._filter, x, mask, batch))
        return out

    def _half(self, x: Tensor) -> Tensor:
        return resample_half(self._native_half(x), self.sequence_length, x.shape[-2], -2)


class GlobalFilterMixing2D(_GlobalFilter):
    r"""Filter a plane, tokens by channels or the cells of a grid, by a learned response over all its frequencies.

    .. math::
        Y = \mathrm{Re}(F_2^{-1} (H \odot F_2 X))

    For another size the part of the response that acts is interpolated linearly over the frequencies of both axes. From
    Y. Rao et al., "Global filter networks for image classification", NeurIPS 2021.

    Args:
        hidden_dim: Size D of the second axis (the width of a grid) that the filter is made for.
        sequence_length: Size N of the first axis (the height of a grid) that the filter is made for.
        activation: ``"sigmoid"``, ``"tanh"`` or ``"identity"``, applied to both parts of the response.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        learnable_filters: Train the filter; else it is a buffer.
        fft_norm: ``"ortho"``, ``"backward"`` or ``"forward"``, without influence on the result.
        filter_init_std: Standard deviation of the initial tables.

    Shapes:
        - **input, output:** :math:`(..., N', D')`, or node features :math:`(..., H W, C)` with ``grid``

    Raises:
        InputError: If an argument is out of range, or the graph has no grid.

    Examples:
        >>> layer = GlobalFilterMixing2D(hidden_dim=8, sequence_length=12)
        >>> layer(torch.randn(2, 12, 8)).shape
        torch.Size([2, 12, 8])
        >>> layer(torch.randn(2, 12 * 8, 3), grid=(12, 8)).shape  # the plane of a grid, 3 channels
        torch.Size([2, 96, 3])
    """

    _axes = (-2, -1)

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None, grid: Any = None) -> Tensor:
        """Filter the plane.

        Args:
            x: Tokens ``[..., N', D']``, or node features ``[..., H W, C]`` with ``grid``.
            mask: Non-zero where a token is real, ``[..., N']``; others enter and leave as 0.
            batch: Graph of each token, ``[N']``, sorted; each graph is then a plane of its own.
            grid: ``(H, W)``, a list of such for a mini-batch of grids, or the graph that has it as ``grid``.
        """
        if not x.is_floating_point():
            raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
        if x.dim() < 2:
            raise InputError(f"x has shape {tuple(x.shape)}; expected (..., N, D)")
        if grid is None:
            out = mix_tokens(self._filter, x, mask, batch)
        elif batch is None:
            out = mix_tokens(lambda nodes: over_grid(self._filter, nodes, grid, type(self).__name__), x, mask)
        else:
            raise InputError("both batch and grid are given; expected one of them, a list of grids for a mini-batch")
        dropped: Tensor = self.dropout(out)
        return dropped

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        return {**super().get_spectral_properties(), "two_dimensional": True}

    def _half(self, x: Tensor) -> Tensor:
        rows = resample_circular(self._native_half(x), x.shape[-2], -2)
        return resample_half(rows, self.hidden_dim, x.shape[-1], -1)


class AdaptiveGlobalFilter(GlobalFilterMixing):
    r""":class:`GlobalFilterMixing` that starts with larger responses at low frequencies, with penalty and dropout.

    The initial standard deviation at frequency f is proportional to :math:`1 / (|f| + 0.1)`, with ``filter_init_std``
    as its mean. Spectral dropout removes whole frequencies, each together with its negative and from all channels
    alike, in training only. From Y. Rao et al., "Global filter networks for image classification", NeurIPS 2021.

    Args:
        hidden_dim: Number of channels D.
        sequence_length: Number of tokens N that the filter is made for.
        activation: ``"sigmoid"``, ``"tanh"`` or ``"identity"``.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        learnable_filters: Train the filter; else it is a buffer.
        fft_norm: ``"ortho"``, ``"backward"`` or ``"forward"``, without influence on the result.
        filter_init_std: Mean standard deviation of the initial tables.
        filter_regularization: Strength of the penalty that :meth:`get_regularization_loss` returns.
        adaptive_initialization: Start as said; else as :class:`GlobalFilterMixing`.
        spectral_dropout_p: Probability that a frequency is dropped.

    Shapes:
        - **input, output:** :math:`(..., N', D)` for any :math:`N' \ge 1`

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> layer = AdaptiveGlobalFilter(hidden_dim=8, sequence_length=12, filter_regularization=0.1)
        >>> layer(torch.randn(2, 12, 8)).shape, layer.get_regularization_loss().shape
        (torch.Size([2, 12, 8]), torch.Size([]))
    """

    def __init__(
        self,
        hidden_dim: int,
        sequence_length: int,
        activation: str = "sigmoid",
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        learnable_filters: bool = True,
        fft_norm: str | None = "ortho",
        filter_init_std: float = 0.02,
        filter_regularization: float = 0.0,
        adaptive_initialization: bool = True,
        spectral_dropout_p: float = 0.0,
    ) -> None:
        if not 0 <= spectral_dropout_p <= 1:
            raise InputError(f"spectral_dropout_p is {spectral_dropout_p}; expected 0 to 1")
        # Read by reset_parameters, which the parent's constructor calls.
        self.adaptive_initialization = adaptive_initialization
        super().__init__(
            hidden_dim, sequence_length, activation, dropout, norm_eps, learnable_filters, fft_norm, filter_init_std
        )
        self.filter_regularization = filter_regularization
        self.spectral_dropout_p = spectral_dropout_p
        self.spectral_dropout = nn.Dropout(spectral_dropout_p) if spectral_dropout_p > 0 else nn.Identity()

    def get_regularization_loss(self) -> Tensor:
        """Strength times the squared norm of both tables; 0 where the strength is not positive."""
        if self.filter_regularization <= 0:
            return self.filter_real.new_zeros(())
        return self.filter_regularization * (self.filter_real.square().sum() + self.filter_imag.square().sum())

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        return {
            **super().get_spectral_properties(),
            "adaptive_initialization": self.adaptive_initialization,
            "regularization": self.filter_regularization > 0,
            "spectral_dropout": self.spectral_dropout_p > 0,
        }

    def _initial_scale(self) -> Tensor:
        scale = super()._initial_scale()
        if not self.adaptive_initialization:
            return scale
        frequency: Tensor = torch.fft.fftfreq(self.sequence_length, dtype=scale.dtype, device=scale.device)
        weight = (frequency.abs() + 0.1).reciprocal()
        return scale * weight / weight.mean()

    def _half(self, x: Tensor) -> Tensor:
        half = super()._half(x)
        if not self.training or self.spectral_dropout_p == 0:
            return half
        keep: Tensor = self.spectral_dropout(torch.ones_like(half.real[:, :1]))
        return half * keep


@full_precision
def _multiply_spectrum(x: Tensor, half: Callable[[Tensor], Tensor], axes: tuple[int, ...], norm: str | None) -> Tensor:
    return circular_filter(x, half(x), axes, norm)
