"""Token mixing by a network on the lowest frequencies."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.spectral.activations import activation_module
from stgraph.nn.spectral.base import MixingLayer, learned_properties
from stgraph.nn.spectral.functional_dtype import apply_in_dtype
from stgraph.nn.spectral.tokens import check_tokens, keep_mask, over_grid, over_padded_graphs
from stgraph.ops.transforms.constants import constant_table
from stgraph.ops.transforms.empty_fft import fftn
from stgraph.ops.transforms.fourier import irfft, rfft
from stgraph.ops.transforms.precision import full_precision

__all__ = ["AFNOMixing"]


class AFNOMixing(MixingLayer):
    r"""Adaptive Fourier neural operator: a network shared by the lowest frequencies of the tokens.

    The tokens are normalised, padded with zeros to ``max_sequence_length`` and transformed over tokens and channels. Of
    the token frequencies the :math:`m_s` lowest, positive and negative, are kept, each a vector of the first
    :math:`m_h` channel frequencies:

    .. math::
        Z_k = \mathrm{MLP}(W_k \odot \hat U_k), \qquad Y = X + F^{-1} Z

    The nodes of a grid (``grid=``) are transformed over rows and columns instead of one sequence, and keep the
    :math:`m_s` frequencies of the plane with the smallest length. From J. Guibas et al., "Adaptive Fourier neural
    operators: Efficient token mixers for transformers", ICLR 2022.

    Args:
        hidden_dim: Number of channels D.
        max_sequence_length: Largest number of tokens.
        modes_seq: Number :math:`m_s` of token frequencies; half of ``max_sequence_length`` by default.
        modes_hidden: Number :math:`m_h` of channel frequencies; half of ``hidden_dim`` by default.
        mlp_ratio: Width of the network over ``hidden_dim``.
        activation: Name of its activation.
        dropout: Probability of dropout inside the network and on its output.
        mixing: ``"shared"``, or ``"dense"`` for one network on all frequencies at once, of which it keeps only the
            :math:`m_s` lowest non-negative ones; it has :math:`O(m_s m_h D)` parameters and serves no grid.
        sparsity_threshold: Soft threshold on the network's output.

    Shapes:
        - **input, output:** :math:`(..., N, D)` with :math:`N \le` ``max_sequence_length``

    Raises:
        InputError: If an argument is out of range, or the input has other channels or too many tokens.

    Examples:
        >>> layer = AFNOMixing(hidden_dim=8, max_sequence_length=16, modes_seq=5)
        >>> layer(torch.randn(2, 12, 8)).shape
        torch.Size([2, 12, 8])
        >>> layer(torch.randn(2, 12, 8), grid=(3, 4)).shape
        torch.Size([2, 12, 8])
    """

    def __init__(
        self,
        hidden_dim: int,
        max_sequence_length: int,
        modes_seq: int | None = None,
        modes_hidden: int | None = None,
        mlp_ratio: float = 2.0,
        activation: str = "gelu",
        dropout: float = 0.0,
        mixing: str = "shared",
        sparsity_threshold: float = 0.0,
    ) -> None:
        super().__init__(hidden_dim, dropout)
        sizes = {"max_sequence_length": max_sequence_length, "modes_seq": modes_seq, "modes_hidden": modes_hidden}
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if mixing not in ("shared", "dense"):
            raise InputError(f"mixing is {mixing!r}; expected 'shared' or 'dense'")
        if int(hidden_dim * mlp_ratio) < 1:
            raise InputError(f"mlp_ratio is {mlp_ratio}; expected at least 1 / hidden_dim = 1 / {hidden_dim}")
        if sparsity_threshold < 0:
            raise InputError(f"sparsity_threshold is {sparsity_threshold}; expected at least 0")
        self.max_sequence_length, self.mlp_ratio = max_sequence_length, mlp_ratio
        self.mixing, self.sparsity_threshold = mixing, sparsity_threshold
        self.modes_seq = min(modes_seq or max(max_sequence_length // 2, 1), max_sequence_length)
        self.modes_hidden = min(modes_hidden or max(hidden_dim // 2, 1), hidden_dim // 2 + 1)
        self.fourier_weight = nn.Parameter(torch.empty(self.modes_seq, self.modes_hidden, 2))
        features = 2 * self.modes_hidden * (self.modes_seq if mixing == "dense" else 1)
        width = int(hidden_dim * mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(features, width),
            activation_module(activation),
            nn.Dropout(dropout),
            nn.Linear(width, features),
            nn.Dropout(dropout),
        )
        self.norm = nn.LayerNorm(hidden_dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new parameters; the weights of the frequencies start close to 1."""
        if self.mixing == "shared":
            self.fourier_weight.normal_(std=0.02)[..., 0].add_(1)
        else:
            self.fourier_weight.normal_(std=1 / (self.modes_seq * self.modes_hidden))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.norm.reset_parameters()

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None, grid: Any = None) -> Tensor:
        """Mix the tokens.

        Args:
            x: Tokens ``[..., N, D]``.
            mask: Non-zero where a token is real, ``[..., N]``; others count as padding and leave as 0.
            batch: Graph of each token, ``[N]``, sorted; each graph is then a sequence of its own.
            grid: ``(H, W)``, a list of such for a mini-batch of grids, or the graph that has it as ``grid``.
        """
        check_tokens(x, self.hidden_dim)
        if sum(argument is not None for argument in (mask, batch, grid)) > 1:
            raise InputError("more than one of mask, batch and grid is given; expected one of them")
        if batch is not None:
            return over_padded_graphs(self._mix, x, batch)
        if grid is not None:
            if self.mixing == "dense":
                raise InputError("mixing is 'dense'; expected 'shared' for a grid")
            return over_grid(self._mix_plane, x, grid, type(self).__name__, channels_last=True)
        return self._mix(x, mask)

    def _mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mix the sequences ``[..., N, D]``."""
        tokens = x.shape[-2]
        if tokens > self.max_sequence_length:
            raise InputError(
                f"x has {tokens} tokens; expected at most max_sequence_length = {self.max_sequence_length}"
            )
        keep = None if mask is None else keep_mask(mask, x).unsqueeze(-1)
        if keep is not None:
            x = torch.where(keep, x, 0)
        normal = self._normalized(x)
        if keep is not None:
            normal = torch.where(keep, normal, 0)
        missing = self.max_sequence_length - tokens
        padded = F.pad(normal, (0, 0, 0, missing)) if missing else normal
        mixed = _dense(padded, self) if self.mixing == "dense" else _shared(padded, (self.max_sequence_length,), self)
        out: Tensor = x + self.dropout(mixed.narrow(-2, 0, tokens))
        return out if keep is None else torch.where(keep, out, 0)

    def _mix_plane(self, x: Tensor) -> Tensor:
        """Mix the planes ``[..., H, W, D]``."""
        plane = (x.shape[-3], x.shape[-2])
        if math.prod(plane) > self.max_sequence_length:
            raise InputError(
                f"grid {plane} has {math.prod(plane)} cells; "
                f"expected at most max_sequence_length = {self.max_sequence_length}"
            )
        out: Tensor = x + self.dropout(_shared(self._normalized(x), plane, self))
        return out

    def _normalized(self, x: Tensor) -> Tensor:
        out: Tensor = apply_in_dtype(self.norm, x)
        return out.to(x.dtype)

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        return learned_properties(translation_equivariant=False, mode_truncation=True, adaptive=True)

    def extra_repr(self) -> str:
        """Show the sizes."""
        sizes = f"max_sequence_length={self.max_sequence_length}, modes_seq={self.modes_seq}"
        return f"{self.hidden_dim}, {sizes}, modes_hidden={self.modes_hidden}, mixing={self.mixing!r}"


@full_precision
def _shared(u: Tensor, plane: tuple[int, ...], layer: AFNOMixing) -> Tensor:
    """The branch with one network for every frequency, for ``[..., *plane, D]``."""
    axes = tuple(range(-1 - len(plane), -1))
    spectrum = fftn(rfft(u, -1, bins=layer.modes_hidden), axes, "ortho").flatten(axes[0], -2)
    count = min(layer.modes_seq, math.prod(plane))
    lowest = _lowest_frequencies(count, *plane, dtype=torch.int64, device=u.device)
    weight = torch.view_as_complex(layer.fourier_weight[:count].to(u.dtype))
    rows = torch.view_as_real(spectrum.index_select(-2, lowest) * weight).flatten(-2)
    rows = apply_in_dtype(layer.mlp, rows)
    if layer.sparsity_threshold:
        rows = F.softshrink(rows, layer.sparsity_threshold)
    mixed = torch.view_as_complex(rows.unflatten(-1, (-1, 2)))
    full = torch.zeros_like(spectrum).index_copy(-2, lowest, mixed).unflatten(-2, plane)
    return irfft(fftn(full, axes, "ortho", inverse=True), u.shape[-1], -1)


@full_precision
def _dense(u: Tensor, layer: AFNOMixing) -> Tensor:
    """The branch with one network for all frequencies together, for ``[..., N, D]``."""
    kept = (layer.modes_seq, layer.modes_hidden)
    spectrum = rfft(u, (-2, -1))[..., : kept[0], : kept[1]]
    weight = torch.view_as_complex(layer.fourier_weight.to(u.dtype))
    rows = apply_in_dtype(layer.mlp, torch.view_as_real(spectrum * weight).flatten(-3))
    if layer.sparsity_threshold:
        rows = F.softshrink(rows, layer.sparsity_threshold)
    mixed = torch.view_as_complex(rows.unflatten(-1, (*kept, 2)))
    return irfft(F.pad(mixed, (0, 0, 0, u.shape[-2] - kept[0])), (u.shape[-2], u.shape[-1]), (-2, -1))


@constant_table
def _lowest_frequencies(count: int, *plane_and_device: Any) -> Tensor:
    """Places of the ``count`` lowest frequencies of a line or plane; of a line, those from 0 up come first."""
    *plane, device = plane_and_device
    if len(plane) == 1:
        positive = torch.arange((count + 1) // 2, device=device)
        return torch.cat([positive, torch.arange(plane[0] - count // 2, plane[0], device=device)])
    rows, columns = (torch.fft.fftfreq(size, dtype=torch.float64, device=device) for size in plane)
    squared: Tensor = rows.square().unsqueeze(1) + columns.square()
    return squared.flatten().argsort(stable=True)[:count]
