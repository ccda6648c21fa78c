"""Fourier neural operators: learned maps between functions that are sampled on regular points."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.spectral.activations import activation_module
from stgraph.nn.spectral.base import SpectralComponent
from stgraph.nn.spectral.convolution import SpectralConv1d, SpectralConv2d
from stgraph.nn.spectral.functional_dtype import apply_in_dtype
from stgraph.nn.spectral.tokens import check_tokens, keep_mask, mix_tokens, over_grid

__all__ = ["FNOBlock", "FourierNeuralOperator"]

_NORMS = {
    "layernorm": "layernorm",
    "layer": "layernorm",
    "batchnorm": "batchnorm",
    "batch": "batchnorm",
    "none": "none",
}


class _Operator(SpectralComponent):
    """What both operators do with masks, graphs and grids.

    Args:
        hidden_dim: Number of channels D.
        modes: Number of modes of sequences, or two numbers for images.
    """

    def __init__(self, hidden_dim: int, modes: int | Sequence[int]) -> None:
        super().__init__()
        if hidden_dim < 1:
            raise InputError(f"hidden_dim is {hidden_dim}; expected at least 1")
        self.hidden_dim = hidden_dim
        self.modes: int | tuple[int, ...] = modes if isinstance(modes, int) else tuple(modes)
        if isinstance(self.modes, tuple) and len(self.modes) != 2:
            raise InputError(f"modes is {modes}; expected a number, or two for images")
        self.dim = 1 if isinstance(self.modes, int) else 2

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None, grid: Any = None) -> Tensor:
        """Apply the operator.

        Args:
            x: Sequences ``[..., N, D]`` if ``modes`` is a number; otherwise images ``[..., H, W, D]``, or node features
                ``[..., N, D]`` of a grid.
            mask: Non-zero at the real tokens of sequences, ``[..., N]``; the others enter as 0 and leave as 0.
            batch: PyG batch vector ``[N]``; each graph is a sequence of its own length.
            grid: ``(H, W)`` where ``x`` are node features of a grid, a list of such for a mini-batch of grids, or the
                graph whose attribute ``grid`` says it.

        Raises:
            InputError: If a shape does not fit, or an argument belongs to the other kind of operator.
        """
        check_tokens(x, self.hidden_dim)
        name = type(self).__name__
        if self.dim == 1:
            if grid is not None:
                raise InputError(
                    f"grid is given, but modes = {self.modes} makes {name} one-dimensional; give two modes"
                )
            return mix_tokens(self._operate, x, mask, batch)
        if mask is not None or batch is not None:
            raise InputError(
                f"mask or batch is given, but {name} with modes = {self.modes} takes whole grids; use grid"
            )
        if grid is not None:
            return over_grid(self._operate, x, grid, name, channels_last=True)
        if x.dim() < 3:
            raise InputError(f"x has shape {tuple(x.shape)}; expected (..., H, W, {self.hidden_dim}), or grid as well")
        return self._operate(x)

    @abstractmethod
    def _operate(self, x: Tensor) -> Tensor:
        """Apply the operator to sequences or images."""

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.hidden_dim}, modes={self.modes}"


class FourierNeuralOperator(_Operator):
    r"""Layer of a Fourier neural operator, a global convolution and a pointwise linear map of functions.

    .. math::
        y = \sigma\left(K x + W x + b\right)

    where :math:`K` is a :class:`~stgraph.nn.spectral.SpectralConv1d` or
    :class:`~stgraph.nn.spectral.SpectralConv2d`. No parameter depends on the number of points, so the same layer
    serves every resolution.

    From Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021.

    Args:
        hidden_dim: Number of channels D.
        modes: Number of modes of sequences, or two numbers for images.
        activation: Name of :math:`\sigma`: ``"gelu"``, ``"relu"``, ``"silu"`` (``"swish"``), ``"mish"``, ``"tanh"``,
            ``"sigmoid"`` or ``"identity"``.
        use_spectral_conv: Use :math:`K`.
        use_linear: Use :math:`W` and :math:`b`.
        init_scale: Standard deviation of the first spectral weights; by default that of the convolution.

    Shapes:
        - **input, output:** :math:`(..., N, D)` with one number of modes; :math:`(..., H, W, D)`, or
          :math:`(..., N, D)` with ``grid``, with two

    Raises:
        InputError: If an option is unknown or both parts are off.

    Examples:
        >>> layer = FourierNeuralOperator(hidden_dim=8, modes=4)
        >>> layer(torch.randn(2, 50, 8)).shape
        torch.Size([2, 50, 8])
        >>> FourierNeuralOperator(hidden_dim=8, modes=(4, 4))(torch.randn(2, 120, 8), grid=(12, 10)).shape
        torch.Size([2, 120, 8])
    """

    spectral_conv: SpectralConv1d | SpectralConv2d | None
    linear: nn.Conv1d | nn.Conv2d | None

    def __init__(
        self,
        hidden_dim: int,
        modes: int | Sequence[int] = 16,
        activation: str = "gelu",
        use_spectral_conv: bool = True,
        use_linear: bool = True,
        *,
        init_scale: float | None = None,
    ) -> None:
        super().__init__(hidden_dim, modes)
        if not (use_spectral_conv or use_linear):
            raise InputError("use_spectral_conv and use_linear are both off; expected at least one of them")
        self.spectral_conv = self.linear = None
        if use_spectral_conv and isinstance(self.modes, int):
            self.spectral_conv = SpectralConv1d(hidden_dim, hidden_dim, self.modes, init_scale=init_scale)
        elif use_spectral_conv and not isinstance(self.modes, int):
            self.spectral_conv = SpectralConv2d(hidden_dim, hidden_dim, self.modes, init_scale=init_scale)
        if use_linear:
            convolution = nn.Conv1d if self.dim == 1 else nn.Conv2d
            self.linear = convolution(hidden_dim, hidden_dim, kernel_size=1)
        self.activation = activation_module(activation)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        if self.spectral_conv is not None:
            self.spectral_conv.reset_parameters()
        if self.linear is not None:
            nn.init.xavier_uniform_(self.linear.weight)
            assert self.linear.bias is not None
            nn.init.zeros_(self.linear.bias)

    def _operate(self, x: Tensor) -> Tensor:
        parts = []
        if self.linear is not None:
            # The convolution with kernel 1 is a linear map of the last axis. It comes first because the sum takes its
            # layout in memory from the first of its terms, and the transform leaves the points next to each other.
            assert self.linear.bias is not None
            weight = self.linear.weight.flatten(1)
            parts.append(F.linear(x, weight.to(x.dtype), self.linear.bias.to(x.dtype)))
        if self.spectral_conv is not None:
            parts.append(self.spectral_conv.convolve_tokens(x))
        out: Tensor = self.activation(sum(parts[1:], parts[0]))
        return out.to(x.dtype)


class FNOBlock(_Operator):
    r"""Block of a Fourier neural operator and a feed-forward network, with residual connections.

    .. math::
        x \leftarrow x + \mathrm{Dropout}(\mathrm{FNO}(\mathrm{norm}_1(x))), \qquad
        x \leftarrow x + \mathrm{FFN}(\mathrm{norm}_2(x))

    with :class:`FourierNeuralOperator` and a network of two layers.

    From Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021; the residual
    form with normalisation is that of transformers.

    Args:
        hidden_dim: Number of channels D.
        modes: Number of modes of sequences, or two numbers for images.
        mlp_ratio: Width of the hidden layer of the feed-forward network in units of D; 0 leaves the network out.
        activation: Name of the activation, as in :class:`FourierNeuralOperator`.
        dropout: Probability of dropout.
        norm_type: ``"layernorm"``, ``"batchnorm"`` or ``"none"``.
        init_scale: Standard deviation of the first spectral weights; by default that of the convolution.

    Shapes:
        - **input, output:** :math:`(..., N, D)` with one number of modes; :math:`(..., H, W, D)`, or
          :math:`(..., N, D)` with ``grid``, with two

    Raises:
        InputError: If an option is unknown or out of range.

    Examples:
        >>> block = FNOBlock(hidden_dim=8, modes=4, mlp_ratio=2.0)
        >>> block(torch.randn(2, 50, 8)).shape
        torch.Size([2, 50, 8])
    """

    norm1: nn.Module
    norm2: nn.Module | None
    ffn: nn.Sequential | None

    def __init__(
        self,
        hidden_dim: int,
        modes: int | Sequence[int] = 16,
        mlp_ratio: float = 2.0,
        activation: str = "gelu",
        dropout: float = 0.0,
        norm_type: str = "layernorm",
        *,
        init_scale: float | None = None,
    ) -> None:
        super().__init__(hidden_dim, modes)
        if norm_type not in _NORMS:
            raise InputError(f"norm_type is {norm_type!r}; expected one of {list(_NORMS)}")
        if not 0 <= dropout <= 1:
            raise InputError(f"dropout is {dropout}; expected 0 to 1")
        self.norm_type = _NORMS[norm_type]
        self.fno = FourierNeuralOperator(hidden_dim, modes, activation, init_scale=init_scale)
        self.dropout = nn.Dropout(dropout)
        self.norm1 = self._norm()
        self.norm2 = self.ffn = None
        if mlp_ratio > 0:
            width = int(hidden_dim * mlp_ratio)
            if width < 1:
                raise InputError(f"mlp_ratio is {mlp_ratio}; expected at least 1 / hidden_dim = {1 / hidden_dim}, or 0")
            self.norm2 = self._norm()
            self.ffn = nn.Sequential(
                nn.Linear(hidden_dim, width),
                activation_module(activation),
                nn.Dropout(dropout),
                nn.Linear(width, hidden_dim),
                nn.Dropout(dropout),
            )

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for part in (self.fno, self.norm1, self.norm2, *(self.ffn or ())):
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None, grid: Any = None) -> Tensor:
        """Apply the block; the arguments are those of :class:`FourierNeuralOperator`."""
        if mask is None or batch is not None or self.dim == 2:
            return super().forward(x, mask, batch, grid)
        check_tokens(x, self.hidden_dim)
        keep = keep_mask(mask, x).unsqueeze(-1)
        # Normalisation may turn zeros into something else.
        return torch.where(keep, self._residuals(torch.where(keep, x, 0), keep), 0)

    def _operate(self, x: Tensor) -> Tensor:
        return self._residuals(x, None)

    def _residuals(self, x: Tensor, keep: Tensor | None) -> Tensor:
        normal = self._normalise(self.norm1, x)
        if keep is not None:
            normal = torch.where(keep, normal, 0)
        y = x + self.dropout(self.fno._operate(normal))
        if self.ffn is not None and self.norm2 is not None:
            y = y + apply_in_dtype(self.ffn, self._normalise(self.norm2, y))
        out: Tensor = y.to(x.dtype)
        return out

    def _normalise(self, norm: nn.Module, x: Tensor) -> Tensor:
        if self.norm_type == "batchnorm":
            # Channels second; every point counts alike, whatever the shape.
            flat = x.reshape(-1, self.hidden_dim, *[1] * (2 * self.dim - 2))
            out: Tensor = apply_in_dtype(norm, flat).reshape(x.shape)
        else:
            out = apply_in_dtype(norm, x)
        return out.to(x.dtype)

    def _norm(self) -> nn.Module:
        if self.norm_type == "layernorm":
            return nn.LayerNorm(self.hidden_dim)
        if self.norm_type == "none":
            return nn.Identity()
        return nn.BatchNorm1d(self.hidden_dim) if self.dim == 1 else nn.BatchNorm2d(self.hidden_dim)
