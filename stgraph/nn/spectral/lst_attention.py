"""Attention by products in the cosine, sine and Hadamard domains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.spectral.transform_attention import TransformAttention
from stgraph.nn.spectral.transforms import DCT, DST, HadamardTransform
from stgraph.nn.spectral.transforms.base import Transform

__all__ = ["DCTAttention", "HadamardAttention", "LSTAttention"]

_KINDS: dict[str, tuple[type[Transform], ...]] = {
    "dct": (DCT,),
    "dst": (DST,),
    "hadamard": (HadamardTransform,),
    "mixed": (DCT, DST, HadamardTransform),
}


class LSTAttention(TransformAttention):
    r"""Mix tokens by products of queries, keys and values in a transform domain, at a cost of :math:`O(N \log N)`.

    With an orthonormal transform T along the tokens, for each head with scale s:

    .. math::
        A = T q \odot T k \odot s, \qquad A \leftarrow A / (\textstyle\sum_c |A_c| + 10^{-6}), \qquad
        Y = T^{-1} (A \odot T v)

    Products in these domains are symmetric (for Hadamard, dyadic) convolutions of queries, keys and values, so the
    result is no weighted mean over tokens: it is called attention by analogy. The Hadamard transform of a number of
    tokens that is not a power of 2 is taken after padding with zeros. Queries, keys and values of masked tokens are 0.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        transform_type: ``"dct"``, ``"dst"``, ``"hadamard"``, or ``"mixed"`` for these three in turn over the heads.
        learnable_scale: Train s; else it is a buffer of ones.
        normalize: Divide by the sum over the channels of a head, as above.
        dropout: Probability of dropout on the output.
        use_bias: Projections with bias.

    Shapes:
        - **input, output:** :math:`(..., N, D)`, mask :math:`(..., N)`

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> layer = LSTAttention(hidden_dim=16, num_heads=4, transform_type="dst")
        >>> layer(torch.randn(2, 10, 16)).shape
        torch.Size([2, 10, 16])
    """

    scale: Tensor

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 8,
        transform_type: str = "dct",
        learnable_scale: bool = True,
        normalize: bool = True,
        dropout: float = 0.0,
        use_bias: bool = True,
    ) -> None:
        if transform_type not in _KINDS:
            raise InputError(f"transform_type is {transform_type!r}; expected one of {list(_KINDS)}")
        kinds = _KINDS[transform_type]
        heads = [kinds[i % len(kinds)]() for i in range(num_heads)]
        self._set_up(hidden_dim, heads, learnable_scale, normalize, dropout, use_bias)
        self.transform_type = transform_type

    def _set_up(
        self,
        hidden_dim: int,
        heads: list[Transform],
        learnable_scale: bool,
        normalize: bool,
        dropout: float,
        use_bias: bool,
        initial_scale: float = 1.0,
    ) -> None:
        super().__init__(hidden_dim, len(heads), heads, normalize, dropout, use_bias)
        self.transforms = nn.ModuleList(heads)
        self.initial_scale = initial_scale
        scale = torch.full((self.num_heads, 1, self.head_dim), initial_scale)
        if learnable_scale:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    def reset_parameters(self) -> None:
        """Draw new projections and return the scale to its start."""
        super().reset_parameters()
        with torch.no_grad():
            self.scale.fill_(self.initial_scale)

    def _scales(self) -> list[Tensor]:
        if len(self._groups) == 1:
            return [self.scale.flatten()]
        return list(self.scale.flatten()[self._columns].split([self.head_dim * len(m) for _, m in self._groups]))


class DCTAttention(LSTAttention):
    """:class:`LSTAttention` with the discrete cosine transform in all heads.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        dct_type: Type of the transform: 2, 3 or 4.
        learnable_scale: Train the scale.
        dropout: Probability of dropout on the output.

    Shapes:
        - **input, output:** :math:`(..., N, D)`, mask :math:`(..., N)`

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> DCTAttention(hidden_dim=16, num_heads=4)(torch.randn(2, 10, 16)).shape
        torch.Size([2, 10, 16])
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 8,
        dct_type: int = 2,
        learnable_scale: bool = True,
        dropout: float = 0.0,
    ) -> None:
        if dct_type not in (2, 3, 4):
            raise InputError(f"dct_type is {dct_type}; expected 2, 3 or 4")
        heads: list[Transform] = [DCT(type=dct_type) for _ in range(num_heads)]
        self._set_up(hidden_dim, heads, learnable_scale, True, dropout, True)
        self.transform_type, self.dct_type = "dct", dct_type


class HadamardAttention(LSTAttention):
    """:class:`LSTAttention` with the Walsh-Hadamard transform in all heads.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        scale_by_sqrt: Start the scale at one over the square root of D / H instead of 1. Since the products are
            normalised, a common factor cancels but for the small number in the denominator.
        learnable_scale: Train the scale.
        dropout: Probability of dropout on the output.

    Shapes:
        - **input, output:** :math:`(..., N, D)`, mask :math:`(..., N)`

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> HadamardAttention(hidden_dim=16, num_heads=4)(torch.randn(2, 10, 16)).shape
        torch.Size([2, 10, 16])
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 8,
        scale_by_sqrt: bool = True,
        learnable_scale: bool = True,
        dropout: float = 0.0,
    ) -> None:
        heads: list[Transform] = [HadamardTransform() for _ in range(num_heads)]
        initial = (num_heads / hidden_dim) ** 0.5 if scale_by_sqrt and hidden_dim > 0 else 1.0
        self._set_up(hidden_dim, heads, learnable_scale, True, dropout, True, initial_scale=initial)
        self.transform_type, self.scale_by_sqrt = "hadamard", scale_by_sqrt
