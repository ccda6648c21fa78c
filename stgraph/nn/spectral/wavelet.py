"""Token mixing in the wavelet domain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.spectral.base import MixingLayer, learned_properties
from stgraph.nn.spectral.tokens import check_tokens, mix_tokens
from stgraph.nn.spectral.transforms.wavelet import DWT1D
from stgraph.nn.spectral.wavelet_levels import Alignment, attend
from stgraph.ops.transforms.precision import full_precision

__all__ = ["WaveletMixing"]

_MODES = ("pointwise", "channel", "level")


class WaveletMixing(MixingLayer):
    r"""Mix tokens by weights on their wavelet coefficients.

    With the wavelet transform :math:`\mathcal{W}` along the tokens (Stéphane Mallat, A theory for multiresolution
    signal decomposition, IEEE Transactions on Pattern Analysis and Machine Intelligence, 1989),

    .. math::
        y = x + \mathrm{Dropout}\left(\mathcal{W}^{-1} \, \mathrm{mix}(\mathcal{W} x)\right),

    where the mixing of the coefficients :math:`c_j` of level j is one of

    - ``"pointwise"``: :math:`c_j \odot w_j` with one weight for each channel, all 1 at the start;
    - ``"channel"``: :math:`c_j W_j` with a matrix over the channels, the identity at the start;
    - ``"level"``: attention across the J + 1 levels, between the coefficients that belong to the same place.

    With the first two the layer starts as :math:`y = 2x`, and without the residual as the identity.

    Args:
        hidden_dim: Number of channels D.
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        levels: Number J of levels.
        mixing_mode: ``"pointwise"``, ``"channel"`` or ``"level"``.
        dropout: Dropout of the result, and of the attention weights.
        residual: Add the input.

    Shapes:
        - **input:** :math:`(..., N, D)` with any :math:`N \ge 1`, optionally ``mask`` :math:`(..., N)`, or ``batch``
          :math:`(N)`, the graph of each token
        - **output:** :math:`(..., N, D)`

    Raises:
        InputError: If an option is unknown or out of range, or in :meth:`forward` if the channels, the mask or the
            batch do not fit.

    Examples:
        >>> layer, x = WaveletMixing(8, wavelet="db2", levels=2), torch.randn(3, 50, 8)
        >>> torch.allclose(layer(x), 2 * x, atol=1e-5)
        True
    """

    def __init__(
        self,
        hidden_dim: int,
        wavelet: str = "db4",
        levels: int = 3,
        mixing_mode: str = "pointwise",
        dropout: float = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__(hidden_dim, dropout)
        if mixing_mode not in _MODES:
            raise InputError(f"mixing_mode is {mixing_mode!r}; expected one of {_MODES}")
        self.wavelet, self.levels, self.mixing_mode, self.residual = wavelet, levels, mixing_mode, residual
        self.dropout = nn.Dropout(dropout)
        self.dwt = DWT1D(wavelet, levels)
        if mixing_mode == "level":
            self.level_mixer = nn.MultiheadAttention(hidden_dim, 1, dropout=dropout, batch_first=True)
        else:
            rows = 1 if mixing_mode == "pointwise" else hidden_dim
            weights = {name: nn.Parameter(torch.empty(1, rows, hidden_dim)) for name in self._names()}
            self.mixing_weights = nn.ParameterDict(weights)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to 1 or the identity, or draw those of the attention."""
        if self.mixing_mode == "level":
            self.level_mixer._reset_parameters()
            self.level_mixer.out_proj.reset_parameters()
            nn.init.zeros_(self.level_mixer.out_proj.bias)
            return
        for weight in self.mixing_weights.values():
            if self.mixing_mode == "pointwise":
                nn.init.ones_(weight)
            else:
                nn.init.eye_(weight[0])

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        """Mix the tokens.

        Args:
            x: Tokens ``[..., N, D]``.
            mask: Which tokens are real, ``[..., N]``; the others count as 0 and come out as 0.
            batch: Sorted graph of each token ``[N]``; each graph is mixed by itself.
        """
        check_tokens(x, self.hidden_dim)
        if x.shape[-2] == 0 and batch is None:
            raise InputError(f"x has shape {tuple(x.shape)}; expected at least one token")
        return mix_tokens(self._mix, x, mask, batch)

    def _mix(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.dropout(_filtered(x, self))
        return x + mixed if self.residual else mixed

    def mix_coefficients(self, approximation: Tensor, details: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mix coefficients ``[..., L_j, D]`` of all levels."""
        bands = [approximation, *details]
        if self.mixing_mode == "level":
            mixed = self._across_levels(bands)
        else:
            pairs = [
                (band, self.mixing_weights[name].to(band.dtype))
                for name, band in zip(self._names(), bands, strict=True)
            ]
            if self.mixing_mode == "pointwise":
                mixed = [band * weight[0] for band, weight in pairs]
            else:
                mixed = [band @ weight[0] for band, weight in pairs]
        return mixed[0], mixed[1:]

    def _names(self) -> list[str]:
        return ["approx", *(f"detail_{level}" for level in range(self.levels))]

    def _across_levels(self, bands: list[Tensor]) -> list[Tensor]:
        lengths = [band.shape[-2] for band in bands]
        alignment = Alignment([(length,) for length in lengths], bands[0].device)
        joined = torch.cat(bands, dim=-2)
        mixed = attend(self.level_mixer, joined.reshape(-1, *joined.shape[-2:]), alignment)
        return list(mixed.view(joined.shape).split(lengths, dim=-2))

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return the properties of the layer and its options."""
        return learned_properties(
            multi_resolution=True, levels=self.levels, wavelet=self.wavelet, mixing_mode=self.mixing_mode
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.hidden_dim}, mixing_mode={self.mixing_mode!r}, residual={self.residual}"


@full_precision
def _filtered(x: Tensor, layer: WaveletMixing) -> Tensor:
    """Transform, mix, transform back."""
    coefficients = layer.dwt.decompose(x, dim=-2, check_levels=False)
    return layer.dwt.reconstruct(layer.mix_coefficients(*coefficients), dim=-2, output_len=x.shape[-2])
