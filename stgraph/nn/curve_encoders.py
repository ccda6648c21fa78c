"""Convolutions that turn the spectra of a star into a few numbers, and back."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["SpectralDecoder", "SpectralEncoder"]

_KERNEL, _STRIDE = 8, 4
_PADDING = (_KERNEL - _STRIDE) // 2  # so that a length divisible by the stride is divided by it


def _check(bins: int, widths: Sequence[int], **channels: int) -> int:
    """Check sizes and return the number of tokens that the spectrum becomes."""
    for name, value in channels.items():
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    if not widths or min(widths) < 1:
        raise InputError(f"widths is {list(widths)}; expected at least one positive width")
    factor: int = _STRIDE ** len(widths)
    if bins <= factor:
        # Two tokens, so that batch normalisation has two values to normalise even where there is one star.
        raise InputError(f"bins is {bins}; expected more than {factor} with {len(widths)} convolutions of stride 4")
    return -(-bins // factor)


class SpectralEncoder(nn.Module):
    r"""Encode spectra by a short convolutional network to a sequence of tokens, whose mean is the embedding.

    Each layer is a convolution of kernel 8 and stride 4, batch normalisation and GELU; a linear layer follows. This is
    the light encoder with which LC-Gen feeds power spectrum, harmonic F-statistic and autocorrelation to its model of
    the time series.

    Args:
        in_channels: Number of spectra C of a star that are read together.
        out_channels: Width d of a token.
        bins: Number of bins F of a spectrum.
        widths: Number of channels after each convolution.

    Shapes:
        - **input:** :math:`(B, C, F)`
        - **output:** :math:`(B, F', d)` with :math:`F' = \lceil F / 4^k \rceil` after :math:`k` convolutions

    Raises:
        InputError: If a size is too small.

    Examples:
        >>> import torch
        >>> tokens = SpectralEncoder(2)(torch.randn(5, 2, 1024))
        >>> tokens.shape, tokens.mean(dim=1).shape
        (torch.Size([5, 16, 32]), torch.Size([5, 32]))
    """

    def __init__(
        self, in_channels: int, out_channels: int = 32, *, bins: int = 1024, widths: Sequence[int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.num_tokens = _check(bins, widths, in_channels=in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels, self.bins = in_channels, out_channels, bins
        # The end of a spectrum is padded to a whole number of tokens.
        self.missing_bins = self.num_tokens * _STRIDE ** len(widths) - bins
        layers: list[nn.Module] = []
        for before, after in zip((in_channels, *widths), widths, strict=False):
            layers += [nn.Conv1d(before, after, _KERNEL, _STRIDE, _PADDING, bias=False), nn.BatchNorm1d(after)]
            layers += [nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.lin = nn.Linear(widths[-1], out_channels)

    def reset_parameters(self) -> None:
        """Draw new parameters and forget the statistics of the batches seen."""
        _reset(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens of spectra."""
        if x.dim() != 3 or x.shape[1:] != (self.in_channels, self.bins):
            raise InputError(f"x has shape {tuple(x.shape)}; expected (B, {self.in_channels}, {self.bins})")
        h = self.layers(nn.functional.pad(x, (0, self.missing_bins)))
        tokens: Tensor = self.lin(h.transpose(1, 2))
        return tokens


class SpectralDecoder(nn.Module):
    r"""Decode a latent vector to spectra: the layers of :class:`SpectralEncoder` in reverse.

    Args:
        in_channels: Width d of the latent vector.
        out_channels: Number of spectra C of a star.
        bins: Number of bins F of a spectrum.
        widths: Number of channels before each transposed convolution, in reverse.

    Shapes:
        - **input:** :math:`(B, d)`
        - **output:** :math:`(B, C, F)`

    Raises:
        InputError: If a size is too small.

    Examples:
        >>> import torch
        >>> SpectralDecoder(64, 2)(torch.randn(5, 64)).shape
        torch.Size([5, 2, 1024])
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, bins: int = 1024, widths: Sequence[int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.num_tokens = _check(bins, widths, in_channels=in_channels, out_channels=out_channels)
        self.bins = bins
        self.lin = nn.Linear(in_channels, self.num_tokens * widths[-1])
        layers: list[nn.Module] = []
        outward = tuple(widths[::-1])
        for before, after in zip(outward, (*outward[1:], out_channels), strict=True):
            layers += [nn.BatchNorm1d(before), nn.GELU()]
            layers += [nn.ConvTranspose1d(before, after, _KERNEL, _STRIDE, _PADDING)]
        self.layers = nn.Sequential(*layers)

    def reset_parameters(self) -> None:
        """Draw new parameters and forget the statistics of the batches seen."""
        _reset(self)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the spectra that belong to latent vectors."""
        h = self.lin(latent).unflatten(-1, (-1, self.num_tokens))
        spectra: Tensor = self.layers(h)
        return spectra[..., : self.bins]


def _reset(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d | nn.BatchNorm1d):
            module.reset_parameters()
