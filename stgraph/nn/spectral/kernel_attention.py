"""Attention whose weights are a kernel of queries and keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.spectral.feature_attention import HeadAttention
from stgraph.nn.spectral.kernels import LearnableSpectralKernel, PolynomialSpectralKernel, RFFAttentionKernel
from stgraph.ops.quadratic_kernel import num_quadratic_features, quadratic_attention, quadratic_weights
from stgraph.ops.random_features import kernel_feature_attention, random_feature_attention
from stgraph.ops.transforms.precision import full_precision

__all__ = ["KernelAttention"]


class KernelAttention(HeadAttention):
    r"""Attention :math:`o_n = \sum_j \kappa(q_n, k_j) v_j / \sum_j \kappa(q_n, k_j)`, in time linear in the tokens.

    - ``"gaussian"``: :math:`\kappa = \exp(-\lVert q - k \rVert^2 / 2 \sqrt d)`, estimated by positive random features
      (Choromanski et al., *Rethinking Attention with Performers*, ICLR 2021);
    - ``"polynomial"``: :math:`\kappa = (q \cdot k + 1)^2 / \lVert q \rVert \lVert k \rVert`, exactly, through its own
      finite features where these are fewer than the tokens;
    - ``"spectral"``: :math:`\kappa = \phi(q) \cdot \phi(k)`, :math:`\phi(x) = \mathrm{elu}(x U \sqrt{|\lambda|}) + 1`
      with learned :math:`U`, :math:`\lambda`; the positive map is that of Katharopoulos, Vyas, Pappas and Fleuret,
      *Transformers are RNNs*, ICML 2020.

    All weights are non-negative, so that each head returns convex combinations of its values.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        kernel_type: ``"gaussian"``, ``"polynomial"`` or ``"spectral"``.
        rank: Rank of the spectral kernel, at most d = D / H; min(64, d) by default. The others have no use of it.
        num_features: Number of random features of the Gaussian kernel, d by default.
        dropout: Probability of dropout on the output.

    Shapes:
        - **input:** :math:`(..., N, D)`, mask :math:`(..., N)` or graph of each token :math:`(N)`
        - **output:** :math:`(..., N, D)`; with ``return_attention`` the pair of it and the weights
          :math:`(..., H, N, N)` of the polynomial kernel, None for the others

    Raises:
        InputError: If a value is out of range, or weights are wanted of a mini-batch of graphs.

    Examples:
        >>> layer = KernelAttention(16, num_heads=4, kernel_type="polynomial")
        >>> out, weights = layer(torch.randn(2, 5, 16), return_attention=True)
        >>> out.shape, weights.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 4, 5, 5]))
    """

    kernel: RFFAttentionKernel | LearnableSpectralKernel | PolynomialSpectralKernel

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int = 8,
        kernel_type: str = "gaussian",
        rank: int | None = None,
        num_features: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        if kernel_type not in ("gaussian", "polynomial", "spectral"):
            raise InputError(f"kernel_type is {kernel_type!r}; expected 'gaussian', 'polynomial' or 'spectral'")
        super().__init__(hidden_dim, num_heads, dropout=dropout)
        size = self.head_dim
        self.kernel_type = kernel_type
        self.rank = min(64, size) if rank is None else rank
        self.num_features = size if num_features is None else num_features
        if kernel_type == "gaussian":
            self.kernel = RFFAttentionKernel(size, self.num_features, "gaussian", use_orthogonal=False)
        elif kernel_type == "spectral":
            self.kernel = LearnableSpectralKernel(size, self.rank)
        else:
            self.kernel = PolynomialSpectralKernel(self.rank)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        """Attention of heads ``[..., H, N, d]``; ``keep`` ``[..., 1, N]`` is False where a key does not count."""
        if isinstance(self.kernel, RFFAttentionKernel):
            return random_feature_attention(q, k, v, self.kernel.scaled_projection(q.dtype), self.kernel.decay, keep)
        if isinstance(self.kernel, LearnableSpectralKernel):
            q_features, k_features = (_ShiftedELU.apply(self.kernel.extract_features(t)) for t in (q, k))  # type: ignore[no-untyped-call]
            return kernel_feature_attention(q_features, k_features, v, keep)
        if num_quadratic_features(q.shape[-1]) < k.shape[-2]:
            return quadratic_attention(q, k, v, keep)
        values = v if keep is None else torch.where(keep.unsqueeze(-1), v, 0)
        return quadratic_weights(q, k, keep) @ values

    def weights(self, q: Tensor, k: Tensor, keep: Tensor | None) -> Tensor | None:
        """The weights ``[..., H, N, N]`` of the polynomial kernel."""
        if self.kernel_type != "polynomial":
            return None
        weights: Tensor = full_precision(quadratic_weights)(q, k, keep)
        return weights

    def _check_batched_weights(self, return_attention: bool) -> None:
        if return_attention and self.kernel_type == "polynomial":
            raise InputError(
                "return_attention is set with batch; expected a mask, as the graphs' weights have different sizes"
            )

    def extra_repr(self) -> str:
        """Show the options."""
        options = {"gaussian": f", num_features={self.num_features}", "spectral": f", rank={self.rank}"}
        return f"{super().extra_repr()}, kernel_type={self.kernel_type}{options.get(self.kernel_type, '')}"


class _ShiftedELU(torch.autograd.Function):
    """The function elu(x) + 1, without the loss of digits where it is close to 0, and its derivative from its value."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(max=0).exp_().add_(x.clamp(min=0))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        value: Tensor = ctx.saved_tensors[0]
        return grad * value.clamp(max=1)
