"""Attention whose heads take turns in the Fourier, cosine and Hadamard domains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.spectral.transform_attention import TransformAttention
from stgraph.nn.spectral.transforms import DCT, FFT1D, HadamardTransform
from stgraph.nn.spectral.transforms.base import Transform

__all__ = ["MixedSpectralAttention"]

_KINDS: dict[str, type[Transform]] = {"fft": FFT1D, "dct": DCT, "hadamard": HadamardTransform}


class MixedSpectralAttention(TransformAttention):
    r"""Mix tokens by products of queries, keys and values in several transform domains, one for each head.

    Fourier heads compute :math:`F^{-1} (F q \odot \overline{F k} \odot s \odot F v)`, cosine and Hadamard heads
    :math:`T^{-1} (T q \odot T k \odot s \odot T v)`, with one scale s for all heads of a kind. Without ``normalize``
    the result is homogeneous of degree 3 in the input. The Hadamard transform of a number of tokens that is not a power
    of 2 is taken after padding with zeros. Queries, keys and values of masked tokens are 0.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H; the enabled kinds take turns.
        use_fft: Enable Fourier heads.
        use_dct: Enable cosine heads.
        use_hadamard: Enable Hadamard heads.
        dropout: Probability of dropout on the output.
        normalize: Divide the products of queries and keys by the sum of their magnitudes over the channels of a head,
            as :class:`LSTAttention` does.

    Shapes:
        - **input, output:** :math:`(..., N, D)`, mask :math:`(..., N)`

    Raises:
        InputError: If no kind is enabled, an argument is out of range or the input has another number of channels.

    Examples:
        >>> MixedSpectralAttention(hidden_dim=18, num_heads=3)(torch.randn(2, 10, 18)).shape
        torch.Size([2, 10, 18])
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 9,
        use_fft: bool = True,
        use_dct: bool = True,
        use_hadamard: bool = True,
        dropout: float = 0.0,
        normalize: bool = False,
    ) -> None:
        chosen = {"fft": use_fft, "dct": use_dct, "hadamard": use_hadamard}
        enabled = [kind for kind, wanted in chosen.items() if wanted]
        if not enabled:
            raise InputError("use_fft, use_dct and use_hadamard are all False; expected at least one of them")
        names = [enabled[i % len(enabled)] for i in range(num_heads)]
        super().__init__(hidden_dim, num_heads, [_KINDS[name]() for name in names], normalize, dropout, use_bias=True)
        self.enabled_transforms, self.head_transforms = enabled, names
        self.scales = nn.ParameterDict({kind: nn.Parameter(torch.ones(1, 1, self.head_dim)) for kind in enabled})

    def reset_parameters(self) -> None:
        """Draw new projections and return the scales to 1."""
        super().reset_parameters()
        for scale in self.scales.values():
            nn.init.ones_(scale)

    def _scales(self) -> list[Tensor]:
        kinds = [self.head_transforms[members[0]] for _, members in self._groups]
        counts = [len(members) for _, members in self._groups]
        return [self.scales[kind].flatten().repeat(count) for kind, count in zip(kinds, counts, strict=True)]
