"""Geometric optimal transport between nodes and learned prototypes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.dense_batch import DenseBatch
from stgraph.ops.sinkhorn import sinkhorn

__all__ = ["GOT", "TRANSPORTS"]

TRANSPORTS = ("balanced", "relaxed", "semi_relaxed")


class GOT(nn.Module):
    r"""Align nodes with learned prototypes by entropic optimal transport and read the prototypes back.

    The cost of moving node :math:`n` to prototype :math:`k` is the distance of their positions plus, optionally, the
    cosine distance of their embeddings,

    .. math::
        C_{nk} = \lVert x_n - y_k \rVert_2 + 1 - \cos(W_q z_n, W_p p_k).

    The plan is the solution of the entropic transport problem with regularisation :math:`\varepsilon / \tau` (see
    :func:`~stgraph.ops.sinkhorn.sinkhorn`). The mass of each node is always exact. That of the prototypes is exact as
    well (``"balanced"``), so that no prototype is left out or takes everything, or is drawn to its value by a KL
    penalty :math:`\rho` (``"relaxed"``), or is free (``"semi_relaxed"``, the row softmax
    :math:`\mathrm{softmax}_k(-\tau C_{nk} / \varepsilon)` of the original SpecTra-Net). With the rows :math:`T` of the
    plan scaled to sum 1,
    :math:`z \leftarrow \mathrm{LN}(z + T W_p p)` and :math:`z \leftarrow \mathrm{LN}(z + \mathrm{FFN}(z))` with one
    shared LayerNorm.

    Args:
        channels: Number of features d.
        num_prototypes: Number of prototypes K.
        pos_dim: Dimension D of the positions.
        transport: ``"balanced"``, ``"relaxed"`` or ``"semi_relaxed"``.
        eps: Entropic regularisation :math:`\varepsilon`, in units of the cost.
        tau: Factor :math:`\tau` on the cost.
        rho: Penalty :math:`\rho` of relaxed transport, in units of the cost.
        learn_marginal: Learn the mass of the prototypes instead of a uniform one.
        embedding_distance: Add the cosine distance of the embeddings to the cost.
        max_iter: Most Sinkhorn iterations.
        tol: Marginal error at which the iteration stops.
        gradient: ``"implicit"`` or ``"unrolled"`` differentiation of the plan.
        dropout: Dropout after the feed-forward network.

    Shapes:
        - **input:** features :math:`(..., N, d)`, positions :math:`(N, D)` or :math:`(..., N, D)`, optionally the graph
          of each node ``batch`` :math:`(N)`, sorted, and weights of the nodes :math:`(N)` or :math:`(..., N)`
        - **output:** features :math:`(..., N, d)`, rows of the plan :math:`(..., N, K)`, each of sum 1

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
        transport: str = "balanced",
        eps: float = 0.08,
        tau: float = 1.0,
        rho: float = 0.1,
        learn_marginal: bool = False,
        embedding_distance: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        gradient: str = "implicit",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("num_prototypes", num_prototypes), ("pos_dim", pos_dim)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        for name, number in (("eps", eps), ("tau", tau), ("rho", rho), ("tol", tol)):
            if not 0 < number < math.inf:
                raise InputError(f"{name} is {number}; expected a positive number")
        if transport not in TRANSPORTS:
            raise InputError(f"transport is {transport!r}; expected one of {TRANSPORTS}")
        self.channels, self.num_prototypes, self.pos_dim = channels, num_prototypes, pos_dim
        self.transport, self.eps, self.tau, self.rho = transport, eps, tau, rho
        self.embedding_distance = embedding_distance
        self.max_iter, self.tol, self.gradient = max_iter, tol, gradient
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, channels))
        self.prototype_pos = nn.Parameter(torch.empty(num_prototypes, pos_dim))
        self.marginal_logits = nn.Parameter(torch.empty(num_prototypes)) if learn_marginal else None
        self.lin_query = nn.Linear(channels, channels, bias=False)
        self.lin_prototype = nn.Linear(channels, channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels), nn.Dropout(dropout)
        )
        self._warned = False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        nn.init.normal_(self.prototypes, std=0.02)
        nn.init.normal_(self.prototype_pos, std=0.1)
        if self.marginal_logits is not None:
            nn.init.zeros_(self.marginal_logits)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()

    @torch.no_grad()
    def init_positions(self, pos: Tensor, seed: int = 0) -> None:
        """Put the prototypes at nodes far from each other, chosen by k-means++ (Arthur and Vassilvitskii, 2007).

        Positions of prototypes are kept within (-1, 1), so ``pos`` ought to be scaled to [-1, 1]. Prototypes beyond the
        number of different places keep their position.

        Args:
            pos: Coordinates ``[N, D]`` of the nodes.
            seed: Seed of the choice.
        """
        from sklearn.cluster import kmeans_plusplus

        self._check_pos(pos, pos.shape[0])
        places = pos.detach().double().cpu().unique(dim=0)
        count = min(self.num_prototypes, places.shape[0])
        chosen = torch.from_numpy(kmeans_plusplus(places.numpy(), count, random_state=seed)[0])
        self.prototype_pos[:count] = chosen.clamp(-0.999, 0.999).atanh().to(self.prototype_pos)

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

    def plan(self, z: Tensor, pos: Tensor, batch: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """Rows of the plan ``[..., N, K]``, each of sum 1: which share of a node goes to which prototype."""
        cost = self.cost(z, pos)
        if self.transport == "semi_relaxed":
            logits = cost * (-self.tau / (self.eps + 1e-6))
            if self.marginal_logits is not None:
                logits = logits + self.marginal_logits.log_softmax(dim=-1)
            return logits.softmax(dim=-1)
        if batch is None:
            return self._sinkhorn(cost, None, weight)
        graphs = DenseBatch.of(batch, cost.shape[-2])
        dense_weight = None if weight is None else graphs.pad(weight.unsqueeze(-1)).squeeze(-1)
        return graphs.unpad(self._sinkhorn(graphs.pad(cost), graphs.mask, dense_weight))

    def _sinkhorn(self, cost: Tensor, mask: Tensor | None, weight: Tensor | None) -> Tensor:
        """The rows for nodes that share one problem: ``mask`` and ``weight`` are ``[..., N]``."""
        if cost.numel() == 0:
            return cost.clone()
        work = torch.promote_types(cost.dtype, torch.float32)
        work_cost = cost.to(work).clamp(min=0)  # rounding takes one less the cosine below zero
        if weight is not None:
            weight = weight.to(work)
            weight = weight / weight.sum(dim=-1, keepdim=True)
        logits = work_cost.new_zeros(self.num_prototypes) if self.marginal_logits is None else self.marginal_logits
        log_marginal = logits.to(work).log_softmax(dim=-1)
        eps = self.eps / self.tau
        result = sinkhorn(
            work_cost,
            weight,
            log_marginal.exp(),
            eps=eps,
            rho=math.inf if self.transport == "balanced" else (math.inf, self.rho),
            row_mask=mask,
            max_iter=self.max_iter,
            tol=self.tol,
            gradient=self.gradient,
            warn=not self._warned,
        )
        if not torch.compiler.is_compiling() and not self._warned:
            self._warned = not bool(result.converged.all())
        # Rows from the potentials rather than the plan, so that nodes of weight zero have theirs.
        logits = log_marginal + (result.potentials[1].unsqueeze(-2) - work_cost) / eps
        return logits.softmax(dim=-1).to(cost.dtype)

    def forward(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the transported features and the rows of the plan.

        Args:
            z: Features of the nodes.
            pos: Coordinates of the nodes.
            batch: Graph of each node in a PyG mini-batch, sorted; each graph is a transport problem of its own.
            weight: Masses of the nodes, at least 0; uniform if not given. They are scaled to sum 1 in each graph.
        """
        self._check_pos(pos, z.shape[-2])
        if weight is not None and (weight.dim() < 1 or weight.shape[-1] != z.shape[-2]):
            raise InputError(f"weight has shape {tuple(weight.shape)}; expected (..., {z.shape[-2]})")
        plan = self.plan(z, pos, batch, weight)
        z = self.norm(z + plan @ self.lin_prototype(self.prototypes))
        out: Tensor = self.norm(z + self.ffn(z))
        return out, plan

    def _check_pos(self, pos: Tensor, nodes: int) -> None:
        if pos.dim() < 2 or pos.shape[-2] != nodes or pos.shape[-1] != self.pos_dim:
            raise InputError(f"pos has shape {tuple(pos.shape)}; expected (..., {nodes}, {self.pos_dim})")

    @staticmethod
    def effective_prototypes(plan: Tensor, weight: Tensor | None = None) -> Tensor:
        """How many prototypes a graph uses: the exponential of the entropy of their mass ``[...]``, from 1 to K.

        Args:
            plan: Rows of the plan ``[..., N, K]``.
            weight: Masses of the nodes ``[..., N]``; uniform if not given.

        Examples:
            >>> import torch
            >>> GOT.effective_prototypes(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).item()
            2.0
        """
        mass = plan.mean(dim=-2) if weight is None else (weight.unsqueeze(-1) * plan).sum(dim=-2)
        share = mass / mass.sum(dim=-1, keepdim=True)
        number: Tensor = torch.special.entr(share).sum(dim=-1).exp()
        return number

    def extra_repr(self) -> str:
        """Show the settings."""
        relaxed = f", rho={self.rho}" if self.transport == "relaxed" else ""
        return (
            f"{self.channels}, num_prototypes={self.num_prototypes}, pos_dim={self.pos_dim}, "
            f"transport={self.transport!r}, eps={self.eps}, tau={self.tau}{relaxed}, "
            f"embedding_distance={self.embedding_distance}"
        )
