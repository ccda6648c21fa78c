"""Attention whose kernel is estimated by random features, in time linear in the number of tokens."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.spectral.base import AttentionLayer
from stgraph.nn.spectral.functional_dtype import linear_in_dtype
from stgraph.nn.spectral.kernels import RFFAttentionKernel
from stgraph.nn.spectral.tokens import check_tokens, keep_mask, over_padded_graphs, refuse_both
from stgraph.ops.random_features import kernel_feature_attention, random_feature_attention
from stgraph.ops.transforms.precision import full_precision

__all__ = ["HeadAttention", "PerformerAttention", "SpectralAttention"]


class HeadAttention(AttentionLayer):
    """Attention of several heads between linear projections; a subclass implements :meth:`attend`.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        head_dim: Channels of a head, D / H by default.
        dropout: Probability of dropout on the output.
        use_bias: Give the projections a bias.
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 8,
        head_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
    ) -> None:
        super().__init__(hidden_dim, num_heads, dropout)
        if head_dim is not None and head_dim < 1:
            raise InputError(f"head_dim is {head_dim}; expected at least 1")
        self.head_dim = head_dim or hidden_dim // num_heads
        inner = num_heads * self.head_dim
        self.q_proj = nn.Linear(hidden_dim, inner, bias=use_bias)
        self.k_proj = nn.Linear(hidden_dim, inner, bias=use_bias)
        self.v_proj = nn.Linear(hidden_dim, inner, bias=use_bias)
        self.out_proj = nn.Linear(inner, hidden_dim, bias=use_bias)

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for module in self.children():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        """Attention of heads ``[..., H, N, d]``; ``keep`` ``[..., 1, N]`` is False where a key does not count."""

    def weights(self, q: Tensor, k: Tensor, keep: Tensor | None) -> Tensor | None:
        """The weights ``[..., H, N, N]``, or None where no such matrix exists."""
        return None

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        return_attention: bool = False,
        batch: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Apply the layer.

        Args:
            x: Tokens ``[..., N, D]``.
            mask: Non-zero where a token is real, ``[..., N]``, of any dtype.
            return_attention: Return the pair of output and weights, None where no matrix of weights exists.
            batch: Graph of each token ``[N]``, as in a PyG mini-batch; tokens attend to those of their own graph.

        Raises:
            InputError: If the input does not fit.
        """
        check_tokens(x, self.hidden_dim)
        refuse_both(mask, batch)
        weights = None
        if batch is None:
            out, weights = self._attention(x, None if mask is None else keep_mask(mask, x), return_attention)
        else:
            self._check_batched_weights(return_attention)
            out = over_padded_graphs(lambda dense, keep: self._attention(dense, keep, False)[0], x, batch)
        out = self.dropout(out)
        return (out, weights) if return_attention else out

    def _check_batched_weights(self, return_attention: bool) -> None:
        """Refuse to return weights of a mini-batch of graphs, in layers that have weights."""

    def _attention(self, x: Tensor, keep: Tensor | None, with_weights: bool) -> tuple[Tensor, Tensor | None]:
        if keep is not None:
            x = torch.where(keep.unsqueeze(-1), x, 0)  # whatever stands there, it must not reach a gradient
            keep = keep.unsqueeze(-2)
        q, k, v = self._heads(x)
        mixed = full_precision(self.attend)(q, k, v, keep)
        weights = self.weights(q, k, keep) if with_weights else None
        return linear_in_dtype(self.out_proj, mixed.transpose(-3, -2).flatten(-2)).to(x.dtype), weights

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[..., H, N, d]``, by one product."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        weight = torch.cat([layer.weight for layer in layers]).to(x.dtype)
        bias = None if self.q_proj.bias is None else torch.cat([layer.bias for layer in layers]).to(x.dtype)
        split = F.linear(x, weight, bias).unflatten(-1, (3, self.num_heads, self.head_dim))
        q, k, v = split.movedim(-3, 0).transpose(-3, -2).unbind()
        return q, k, v

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.hidden_dim}, num_heads={self.num_heads}, head_dim={self.head_dim}"


class SpectralAttention(HeadAttention):
    r"""Softmax or Gaussian attention through positive random features, in linear time and memory.

    Each head computes

    .. math::
        o_n = \frac{\sum_j \kappa(q_n, k_j) v_j}{\sum_j \kappa(q_n, k_j)}, \qquad
        \kappa(q, k) \approx \phi(q) \cdot \phi(k), \qquad
        \phi_i(x) = \exp(\omega_i \cdot \tilde x - \lambda \lVert \tilde x \rVert^2)

    where :math:`\kappa = \exp(q \cdot k / \sqrt d)` (``"softmax"``) or
    :math:`\exp(-\lVert q - k \rVert^2 / 2 \sigma^2)` (``"gaussian"``). The estimate has no bias, and its error falls
    as :math:`1/\sqrt m` with the number of features. It grows with the norms of queries and keys; the result stays a
    convex combination of values at any scale.

    From Choromanski et al., *Rethinking Attention with Performers*, ICLR 2021, and Peng et al., *Random Feature
    Attention*, ICLR 2021.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        num_features: Number m of random features, :math:`d \lceil \ln d \rceil` (at least d) by default.
        head_dim: Channels d of a head, D / H by default.
        kernel_type: ``"softmax"`` or ``"gaussian"``.
        use_orthogonal: Draw blocks of orthogonal directions, which lowers the variance.
        feature_redraw: Draw new directions at each call in training mode.
        dropout: Probability of dropout on the output.
        use_bias: Give the projections a bias.
        sigma: Length scale of the Gaussian kernel, :math:`d^{1/4}` by default.

    Shapes:
        - **input:** :math:`(..., N, D)`, mask :math:`(..., N)` or graph of each token :math:`(N)`
        - **output:** :math:`(..., N, D)`; with ``return_attention`` the pair of it and None, as no weights are formed

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> layer = SpectralAttention(16, num_heads=4, num_features=32)
        >>> layer(torch.randn(2, 50, 16)).shape
        torch.Size([2, 50, 16])
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 8,
        num_features: int | None = None,
        head_dim: int | None = None,
        kernel_type: str = "softmax",
        use_orthogonal: bool = True,
        feature_redraw: bool = False,
        dropout: float = 0.0,
        use_bias: bool = True,
        sigma: float | None = None,
    ) -> None:
        if kernel_type not in ("softmax", "gaussian"):
            raise InputError(f"kernel_type is {kernel_type!r}; expected 'softmax' or 'gaussian'")
        super().__init__(hidden_dim, num_heads, head_dim, dropout, use_bias)
        size = self.head_dim
        self.num_features = size * max(1, math.ceil(math.log(size))) if num_features is None else num_features
        self.kernel_type, self.use_orthogonal, self.feature_redraw = kernel_type, use_orthogonal, feature_redraw
        self.kernel = RFFAttentionKernel(
            size, self.num_features, kernel_type, use_orthogonal, redraw=feature_redraw, sigma=sigma
        )

    def redraw_features(self, generator: torch.Generator | None = None) -> None:
        """Draw new directions, the same for queries and keys."""
        self.kernel.redraw_features(generator)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        """Attention of heads ``[..., H, N, d]``; ``keep`` ``[..., 1, N]`` is False where a key does not count."""
        if self.feature_redraw and self.training:
            self.redraw_features()
        return random_feature_attention(q, k, v, self.kernel.scaled_projection(q.dtype), self.kernel.decay, keep)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{super().extra_repr()}, num_features={self.num_features}, kernel_type={self.kernel_type}"


class PerformerAttention(SpectralAttention):
    r"""Performer attention: positive orthogonal random features (FAVOR+) of the softmax kernel, in linear time.

    With ``generalized`` the features are :math:`m^{-1/2} \, \mathrm{relu}(\omega_i \cdot x d^{-1/4}) + 10^{-3}`
    instead, a kernel of its own that does not estimate softmax attention.

    From Choromanski et al., *Rethinking Attention with Performers*, ICLR 2021.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        num_features: Number m of random features, :math:`d \lceil \ln d \rceil` (at least d) by default.
        generalized: Use the features with relu.
        dropout: Probability of dropout on the output.

    Shapes:
        - **input:** :math:`(..., N, D)`, mask :math:`(..., N)` or graph of each token :math:`(N)`
        - **output:** :math:`(..., N, D)`; with ``return_attention`` the pair of it and None, as no weights are formed

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> layer = PerformerAttention(16, num_heads=4, generalized=True)
        >>> layer(torch.randn(2, 50, 16), return_attention=True)[1] is None
        True
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 8,
        num_features: int | None = None,
        generalized: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(hidden_dim, num_heads, num_features, dropout=dropout)
        self.generalized = generalized

    def attend(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        """Attention of heads ``[..., H, N, d]``; ``keep`` ``[..., 1, N]`` is False where a key does not count."""
        if not self.generalized:
            return super().attend(q, k, v, keep)
        projection = self.kernel.scaled_projection(q.dtype) / math.sqrt(self.num_features)
        q_features, k_features = (F.relu(t @ projection, inplace=True) for t in (q, k))
        return kernel_feature_attention(q_features, k_features, v, keep, offset=1e-3)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{super().extra_repr()}, generalized={self.generalized}"
