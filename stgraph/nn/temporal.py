"""The temporal part of SpecTra-Net, computed without features for every time step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.sfe import SFE, real_spectrum
from stgraph.nn.spectral.temporal import SpectralTemporal
from stgraph.nn.tgating import TGating
from stgraph.nn.time import PeriodicTimeEmbedding

__all__ = ["TemporalEncoder"]


class TemporalEncoder(nn.Module):
    r"""Embed each series, extract spectral features and pool over time.

    In formulas: :math:`h_t = W x_t + e_t + v`, with an embedding :math:`e_t` of the time and of the spatial mean of
    :math:`x_t` and a feature :math:`v` of the node; then :class:`SFE`, then pooling by :class:`TGating`. Up to the
    first nonlinearity all of this is linear in :math:`x`, so the Fourier transform and the pooling act on the C
    channels of the input, and the :math:`N \times T \times d` tensor of step features never exists. The result is that
    of the layers applied one after another.

    Any other sequence layer can take the place of :class:`SFE`, :math:`h \leftarrow h + \gamma\, \mathrm{layer}(h)`
    with a learned gain :math:`\gamma`. It is applied to the features of every step.

    Args:
        in_channels: Number of input channels C, including masks.
        channels: Number of features d, even.
        steps: Number of time steps T.
        periods: Periods of the time embedding in steps.
        harmonics: Number of harmonics of each period.
        sfe: The spectral layer; ``None`` leaves it out.
        tgating: The pooling layer.
        layer: A sequence layer on :math:`(B, T, d)` instead of ``sfe``.
        gain: Initial value of :math:`\gamma`.

    Shapes:
        - **input:** :math:`(B, N, T, C)`, series in data units :math:`(B, N, T, C')`, times in steps :math:`(T)` or
          :math:`(B, T)`, node features :math:`(N, d)`
        - **output:** :math:`(B, N, d)`

    Examples:
        >>> import torch
        >>> encoder = TemporalEncoder(1, 8, steps=12, periods=[24], sfe=SFE(8), tgating=TGating(12))
        >>> x = torch.randn(2, 5, 12, 1)
        >>> encoder(x, x, torch.arange(12)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        steps: int,
        periods: Sequence[float],
        sfe: SFE | None,
        tgating: TGating,
        *,
        layer: nn.Module | None = None,
        gain: float = 0.3,
        harmonics: int = 1,
    ) -> None:
        super().__init__()
        if sfe is not None and layer is not None:
            raise InputError("both sfe and layer are given; expected one of them")
        self.lin_in = nn.Linear(in_channels, channels)
        self.time_embedding = PeriodicTimeEmbedding(channels // 2, periods, harmonics)
        self.mean_embedding = nn.Linear(in_channels, channels - channels // 2)
        self.sfe = sfe
        self.tgating = tgating
        self.layer: SpectralTemporal | None = None
        if layer is not None:
            self.layer = SpectralTemporal(layer)
            self.gain = nn.Parameter(torch.tensor(float(gain)))

    def forward(self, x: Tensor, x_data: Tensor, time: Tensor, node: Tensor | None = None) -> Tensor:
        """Encode windows; ``x_data`` is the series in data units that the gating score reads."""
        common = self._common(x, time)
        weights = self.tgating.weights(x_data)  # [B, 1 or N, T]
        if self.layer is not None:
            h = self.lin_in(x) + common.unsqueeze(1)
            if node is not None:
                h = h + node.unsqueeze(1)
            h = h + self.gain * self.layer(h)
            out: Tensor = (weights.unsqueeze(-2) @ h).squeeze(-2)
            return out
        pooled = (weights.unsqueeze(-2) @ x).squeeze(-2)  # [B, N, C]
        z: Tensor = self.lin_in(pooled) + weights @ common
        if node is not None:
            z = z + node
        if self.sfe is not None:
            z = z + self.sfe.gain * self._spectral(x, common, node, self.sfe)
        return z

    def _common(self, x: Tensor, time: Tensor) -> Tensor:
        """The part ``[B, T, d]`` of the step features that all nodes share, without the bias of the input layer."""
        embedded = self.time_embedding(time).expand(x.shape[0], -1, -1)
        mean = self.mean_embedding(x.mean(dim=1))
        return torch.cat([embedded, mean], dim=-1)

    def _spectral(self, x: Tensor, common: Tensor, node: Tensor | None, sfe: SFE) -> Tensor:
        """The spectral feature ``[B, N, d]`` of ``lin_in(x) + common + node``."""
        batch, nodes, steps = x.shape[:3]
        real, imaginary = real_spectrum(x, sfe.num_frequencies)
        hidden = sfe.first_layer(real.flatten(1, 2), imaginary.flatten(1, 2), projection=self.lin_in.weight)
        shared = sfe.first_layer(*real_spectrum(common + self.lin_in.bias, sfe.num_frequencies))
        parts = [h.unflatten(1, (batch, nodes)) + s.unsqueeze(2) for h, s in zip(hidden, shared, strict=True)]
        if node is not None:
            # A constant has its whole spectrum in bin 0.
            constant = (steps * node) @ sfe.weight1[0, :, : sfe.channels].T
            parts[0] = parts[0] + constant
        feature = sfe.combine(tuple(part.flatten(1, 2) for part in parts))
        return feature.reshape(batch, nodes, sfe.channels)
