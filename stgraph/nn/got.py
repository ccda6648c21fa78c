"""Geometric optimal transport between nodes and learned prototypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError

__all__ = ["GOT"]


class GOT(nn.Module):
    r"""Align nodes with learned prototypes by entropic optimal transport and read the prototypes back.

    The cost of moving node :math:`n` to prototype :math:`k` is the distance of their positions plus, optionally, the
    cosine distance of their embeddings,

    .. math::
        C_{nk} = \lVert x_n - y_k \rVert_2 + 1 - \cos(W_q z_n, W_p p_k).

    The plan is the semi-relaxed one, which fixes the mass of each node and leaves that of the prototypes free:
    :math:`T_{n \cdot} = \mathrm{softmax}(-\tau C_{n \cdot} / \varepsilon)`, each row summing to 1. Then
    :math:`z \leftarrow \mathrm{LN}(z + T W_p p)` and :math:`z \leftarrow \mathrm{LN}(z + \mathrm{FFN}(z))` with one
    shared LayerNorm.

    Args:
        channels: Number of features d.
        num_prototypes: Number of prototypes K.
        pos_dim: Dimension D of the positions.
        eps: Entropic regularisation :math:`\varepsilon`, in units of the cost.
        tau: Factor :math:`\tau` on the cost.
        embedding_distance: Add the cosine distance of the embeddings to the cost.
        dropout: Dropout after the feed-forward network.

    Shapes:
        - **input:** features :math:`(..., N, d)`, positions :math:`(N, D)` or :math:`(..., N, D)`
        - **output:** features :math:`(..., N, d)`, plan :math:`(..., N, K)`

    Examples:
        >>> import torch
        >>> layer = GOT(8, num_prototypes=4)
        >>> out, plan = layer(torch.randn(2, 5, 8), pos=torch.rand(5, 2))
        >>> out.shape, plan.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 5, 4]))
    """

    def __init__(
        self,
        channels: int,
        num_prototypes: int = 128,
        pos_dim: int = 2,
        *,
        eps: float = 0.08,
        tau: float = 1.0,
        embedding_distance: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("num_prototypes", num_prototypes), ("pos_dim", pos_dim)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        for name, number in (("eps", eps), ("tau", tau)):
            if not number > 0:
                raise InputError(f"{name} is {number}; expected a positive number")
        self.channels, self.num_prototypes, self.pos_dim = channels, num_prototypes, pos_dim
        self.eps, self.tau, self.embedding_distance = eps, tau, embedding_distance
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, channels))
        self.prototype_pos = nn.Parameter(torch.empty(num_prototypes, pos_dim))
        self.lin_query = nn.Linear(channels, channels, bias=False)
        self.lin_prototype = nn.Linear(channels, channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels), nn.Dropout(dropout)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        nn.init.normal_(self.prototypes, std=0.02)
        nn.init.normal_(self.prototype_pos, std=0.1)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()

    def cost(self, z: Tensor, pos: Tensor) -> Tensor:
        """Transport cost ``[..., N, K]`` between nodes and prototypes."""
        # The matrix-product form of the distance would lose digits that the division by eps magnifies.
        work = torch.promote_types(z.dtype, torch.float32)  # cdist knows no half precision
        distance = torch.cdist(
            pos.to(work), self.prototype_pos.tanh().to(work), compute_mode="donot_use_mm_for_euclid_dist"
        ).to(z.dtype)
        if not self.embedding_distance:
            return distance.expand(*z.shape[:-1], self.num_prototypes)
        query = self.lin_query(z)
        prototypes = F.normalize(self.lin_prototype(self.prototypes), dim=-1)
        cosine = (query @ prototypes.T) / query.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        cost: Tensor = distance + 1 - cosine
        return cost

    def forward(self, z: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        """Return the transported features and the plan, whose rows sum to 1."""
        if pos.dim() < 2 or pos.shape[-2] != z.shape[-2] or pos.shape[-1] != self.pos_dim:
            raise InputError(f"pos has shape {tuple(pos.shape)}; expected (..., {z.shape[-2]}, {self.pos_dim})")
        plan = (self.cost(z, pos) * (-self.tau / (self.eps + 1e-6))).softmax(dim=-1)
        z = self.norm(z + plan @ self.lin_prototype(self.prototypes))
        out: Tensor = self.norm(z + self.ffn(z))
        return out, plan

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"{self.channels}, num_prototypes={self.num_prototypes}, pos_dim={self.pos_dim}, eps={self.eps}, "
            f"tau={self.tau}, embedding_distance={self.embedding_distance}"
        )
