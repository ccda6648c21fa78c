"""A straightforward dense SpecTra-Net: the formulas of the original, written the obvious way.

The benchmarks compare ``stgraph`` with this module. It is neither slowed down on purpose nor optimised: frequencies,
lags and scales are Python loops, and the attention gathers the keys, values and plan rows of all neighbours at once.
Module and parameter names are those of the original's checkpoints, so that ``load_state_dict`` takes them as they are.

Layout: windows are ``(B, P, H, W, C)``; sensor networks have ``H = 1`` and ``W = N``. ``P`` input steps, ``N = H * W``
nodes, ``C`` channels, width ``d``, ``K`` prototypes, ``k`` neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAGS = (1, 2, 4, 6)
EXACT = "donot_use_mm_for_euclid_dist"  # the default of cdist cancels digits where points are close
SCALES = ((1.5, 0.25, 0.20, 0.70), (2.5, 0.35, 0.20, 0.50), (4.0, 0.55, 0.25, 0.30))  # radius, s0, slope, centre bonus
QUANTILES = (0.2, 0.5, 0.8)


def robust_softplus(m: Tensor) -> Tensor:
    """Robust z-score over time (last axis), then softplus; an even count takes the lower middle value."""
    median = m.median(dim=-1, keepdim=True).values
    mad = (m - median).abs().median(dim=-1, keepdim=True).values
    return F.softplus((m - median) / (1.4826 * mad + 1e-6))


@torch.no_grad()
def gating_score(x_raw: Tensor) -> Tensor:
    """How unusual each step of a raw window ``(B, P, H, W, C)`` is: ``(B, P)`` in (0, 1)."""
    steps = x_raw.shape[1]
    base = torch.empty_like(x_raw)
    for t in range(steps):
        base[:, t] = x_raw[:, 0] if t < 2 else (x_raw[:, t - 2] + x_raw[:, t - 1] + x_raw[:, t]) / 3
    residual = x_raw - base
    total = torch.zeros(x_raw.shape[:2], dtype=x_raw.dtype, device=x_raw.device)
    for lag in LAGS:
        shifted = residual.clone()
        if lag < steps:
            shifted[:, lag:] = residual[:, :-lag]
        total = total + robust_softplus((residual - shifted).abs().mean(dim=(2, 3, 4)))
    mean = total / len(LAGS)
    smooth = [mean[:, 0]]
    for t in range(1, steps):
        smooth.append(0.6 * smooth[-1] + 0.4 * mean[:, t])
    score = torch.stack(smooth, dim=1)
    return torch.sigmoid(1.5 * (score - score.mean(dim=1, keepdim=True)))


class PeriodicEmbedding(nn.Module):
    """Sine and cosine of the step inside the window for each period, through a small MLP per period."""

    def __init__(self, width: int, periods: Sequence[int]) -> None:
        super().__init__()
        self.periods = tuple(periods)
        share, remainder = divmod(width, len(self.periods))
        sizes = [share + (i < remainder) for i in range(len(self.periods))]
        self.period_embeds = nn.ModuleList(
            nn.Sequential(nn.Linear(2, size), nn.GELU(), nn.Linear(size, size)) for size in sizes
        )

    def forward(self, steps: int) -> Tensor:
        """Embedding of steps 0 .. P-1: ``(P, width)``."""
        weight = self.period_embeds[0][0].weight
        t = torch.arange(steps, dtype=weight.dtype, device=weight.device)
        parts = []
        for period, embed in zip(self.periods, self.period_embeds, strict=True):
            angle = 2 * math.pi * t / period
            parts.append(embed(torch.stack([angle.sin(), angle.cos()], dim=-1)))
        return torch.cat(parts, dim=-1)


class DenseSFE(nn.Module):
    """Spectral feature extraction: one MLP for each frequency bin, then a combining MLP."""

    def __init__(self, width: int, num_frequencies: int) -> None:
        super().__init__()
        self.sfe_processors = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(num_frequencies)
        )
        self.combiner = nn.Sequential(nn.Linear(num_frequencies * width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, h: Tensor) -> Tensor:
        """From ``(B, P, N, d)`` to the spectral summary ``(B, N, d)``."""
        spectrum = torch.fft.rfft(h, dim=1)
        features = []
        for i, processor in enumerate(self.sfe_processors):
            if i < spectrum.shape[1]:
                features.append(processor(torch.cat([spectrum[:, i].real, spectrum[:, i].imag], dim=-1)))
            else:
                features.append(torch.zeros_like(h[:, 0]))
        return self.combiner(torch.cat(features, dim=-1))


class DenseTemporal(nn.Module):
    """Embedding, SFE and T-Gating: scaled and raw windows to node features."""

    def __init__(
        self, channels: int, steps: int, width: int, periods: Sequence[int], num_frequencies: int, gain: float
    ) -> None:
        super().__init__()
        self.gain = gain
        self.pool_param = nn.Parameter(torch.zeros(steps, 1))
        self.in_proj = nn.Linear(channels, width)
        self.periodic_embed = PeriodicEmbedding(width // 2, periods)
        self.noise_embed = nn.Linear(channels, width // 2)
        self.sfe = DenseSFE(width, num_frequencies)

    def forward(self, x: Tensor, score: Tensor) -> Tensor:
        """From ``x (B, P, H, W, C)`` and ``score (B, P)`` to ``(B, N, d)``."""
        batch, steps, _, _, channels = x.shape
        periodic = self.periodic_embed(steps).expand(batch, -1, -1)
        noise = self.noise_embed(x.mean(dim=(2, 3)))
        embedding = torch.cat([periodic, noise], dim=-1)
        h = self.in_proj(x.reshape(batch, steps, -1, channels)) + embedding.unsqueeze(2)
        h = h + 0.3 * self.sfe(h).unsqueeze(1)
        weight = torch.softmax(self.pool_param.squeeze(-1), dim=0)
        attention = torch.softmax(weight * (1 + self.gain * score), dim=1)
        return (h * attention[:, :, None, None]).sum(dim=1)


class DenseGOT(nn.Module):
    """Geometric optimal transport to prototypes in its semi-relaxed form (a row-wise softmax)."""

    def __init__(self, width: int, num_prototypes: int, eps: float, tau: float, dropout: float) -> None:
        super().__init__()
        self.eps, self.tau = eps, tau
        self.proto = nn.Parameter(torch.randn(num_prototypes, width) * 0.02)
        self.proto_xy = nn.Parameter(torch.randn(num_prototypes, 2) * 0.1)
        self.proj_q = nn.Linear(width, width, bias=False)
        self.proj_p = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, z: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        """From ``z (B, N, d)`` and ``pos (N, 2)`` to features ``(B, N, d)`` and the plan ``(B, N, K)``."""
        prototypes = self.proj_p(self.proto)
        similarity = F.normalize(self.proj_q(z), dim=-1) @ F.normalize(prototypes, dim=-1).T
        cost = torch.cdist(pos, torch.tanh(self.proto_xy), compute_mode=EXACT) + (1 - similarity)
        plan = torch.softmax(self.tau * (-cost / (self.eps + 1e-6)), dim=-1)
        out = self.norm(z + plan @ prototypes)
        return self.norm(out + self.ffn(out)), plan


class DenseMGAT(nn.Module):
    """Multi-graph attention over nearest neighbours with all neighbour features gathered."""

    def __init__(self, width: int, dropout: float, r0: float) -> None:
        super().__init__()
        self.r0 = r0
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.dropout = nn.Dropout(0.1)
        self.norm = nn.LayerNorm(width)
        self.s_summary = nn.Sequential(nn.Linear(2, 16), nn.GELU(), nn.Linear(16, 16), nn.GELU())
        self.z_gate = nn.Sequential(nn.Linear(width, 16), nn.GELU())
        self.param_head = nn.Linear(32, 3)
        self.scale_gate = nn.Linear(32, 3)

    def forward(self, z: Tensor, plan: Tensor, neighbors: Tensor, rel: Tensor, geod: Tensor) -> tuple[Tensor, Tensor]:
        """Attend over ``neighbors (N, k)``: features ``(B, N, d)`` and the node metrics ``A (B, N, 2, 2)``."""
        query, key, value = self.to_q(z), self.to_k(z), self.to_v(z)
        key_nb, value_nb, plan_nb = key[:, neighbors], value[:, neighbors], plan[:, neighbors]
        summary = self.s_summary(torch.stack([plan.mean(dim=-1), (plan**2).mean(dim=-1)], dim=-1))
        u = torch.cat([summary, self.z_gate(z)], dim=-1)
        a, b, c = self.param_head(u).unbind(dim=-1)
        zero = torch.zeros_like(a)
        lower = torch.stack([torch.stack([a.exp(), zero], dim=-1), torch.stack([b, c.exp()], dim=-1)], dim=-2)
        metric = lower @ lower.transpose(-1, -2)
        r_a_r = torch.einsum("nki,bnij,nkj->bnk", rel, metric, rel)
        content = (query.unsqueeze(2) * key_nb).sum(dim=-1) / math.sqrt(z.shape[-1])
        transport = (plan.unsqueeze(2) * plan_nb).sum(dim=-1)
        gate = torch.softmax(self.scale_gate(u), dim=-1)
        prior = torch.exp(-(geod**2) / self.r0**2)
        logit = torch.zeros_like(content)
        for s, (radius, s0, slope, bonus) in enumerate(SCALES):
            sigma = s0 + slope * geod
            scale = content - r_a_r / (sigma**2).clamp(min=1e-6) - 0.25 * geod + transport + bonus * prior
            scale = scale.masked_fill(geod > radius, -1e4)
            logit = logit + gate[..., s : s + 1] * scale
        attention = torch.softmax(logit, dim=-1)
        message = (attention.unsqueeze(-1) * value_nb).sum(dim=2)
        return self.norm(z + self.dropout(self.out(message))), metric


def grid_positions(height: int, width: int) -> Tensor:
    """Row and column coordinates in [-1, 1], row-major: ``(H * W, 2)``."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([rows, columns], dim=-1).reshape(-1, 2)


def grid_total_variation(values: Tensor) -> Tensor:
    """Mean absolute difference between vertical and horizontal neighbours of ``(B, H, W)``."""
    return values.diff(dim=1).abs().mean() + values.diff(dim=2).abs().mean()


class DenseSpatial(nn.Module):
    """GOT and MGAT on positions that do not change; neighbours are searched once, here."""

    def __init__(
        self,
        height: int,
        width: int,
        coords: Tensor | None,
        *,
        features: int,
        num_prototypes: int,
        eps: float,
        tau: float,
        dropout: float,
        k: int,
        r0: float,
    ) -> None:
        super().__init__()
        self.shape = (height, width)
        self.is_grid = coords is None
        self.got = DenseGOT(features, num_prototypes, eps, tau, dropout)
        self.mgat = DenseMGAT(features, dropout, r0)
        if coords is None:
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            search = torch.stack([rows, columns], dim=-1).reshape(-1, 2).float()
            pos = grid_positions(height, width)
        else:
            search = pos = coords
        distance = torch.cdist(search, search, compute_mode=EXACT).fill_diagonal_(float("inf"))
        neighbors = distance.topk(k, dim=-1, largest=False).indices
        offset = search.unsqueeze(1) - search[neighbors]
        if coords is None:
            rel = offset * torch.tensor([2 / max(height - 1, 1), 2 / max(width - 1, 1)])
            geod = rel.norm(dim=-1)
        else:
            rel = offset / offset.abs().amax(dim=(0, 1)).clamp(min=1e-6)
            geod = offset.norm(dim=-1)
        self.register_buffer("pos", pos, persistent=False)
        self.register_buffer("neighbors", neighbors, persistent=False)
        self.register_buffer("rel", rel, persistent=False)
        self.register_buffer("geod", geod, persistent=False)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """From ``(B, N, d)`` to ``(B, N, d)`` and the regulariser."""
        out, plan = self.got(z, self.pos)
        out, metric = self.mgat(out, plan, self.neighbors, self.rel, self.geod)
        if not self.is_grid:
            return out, out.new_zeros(())
        norm = metric.flatten(-2).norm(dim=-1)
        return out, 1e-3 * grid_total_variation(norm.reshape(-1, *self.shape))


class DenseSpecTraNet(nn.Module):
    """The whole network in scaled units, one step ahead.

    Args:
        height: Rows of the grid; 1 for a sensor network.
        width: Columns of the grid, or the number of sensors.
        channels: Channels of the series.
        steps: Input steps of a window.
        coords: Positions ``(N, 2)`` of a sensor network; None means the grid view.
        features: Width of the model.
        periods: Periods of the time embedding in steps.
        num_frequencies: Frequency bins that have an MLP.
        gain: Gain of the T-Gating score.
        num_prototypes: Prototypes of GOT.
        eps: Entropic scale of the plan.
        tau: Sharpness of the plan.
        k: Neighbours in MGAT, the node itself excluded.
        r0: Range of the distance prior in MGAT.
        dropout: Dropout probability.

    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        steps: int,
        coords: Tensor | None = None,
        *,
        features: int = 128,
        periods: Sequence[int] = (48, 168),
        num_frequencies: int = 16,
        gain: float = 0.2,
        num_prototypes: int = 128,
        eps: float = 0.08,
        tau: float = 1.4,
        k: int = 32,
        r0: float = 1.5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.temporal = DenseTemporal(channels, steps, features, periods, num_frequencies, gain)
        self.spatial = DenseSpatial(
            height,
            width,
            coords,
            features=features,
            num_prototypes=num_prototypes,
            eps=eps,
            tau=tau,
            dropout=dropout,
            k=k,
            r0=r0,
        )
        self.out_proj = nn.Linear(features, channels)

    def forward(self, x: Tensor, x_raw: Tensor) -> tuple[Tensor, Tensor]:
        """From scaled and raw windows ``(B, P, H, W, C)`` to the next step ``(B, H, W, C)`` and the regulariser."""
        z = self.temporal(x, gating_score(x_raw))
        out, regulariser = self.spatial(z)
        return x[:, -1] + self.out_proj(out).reshape(x[:, -1].shape), regulariser


def frequency_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Weighted absolute difference of the two-dimensional spectra of ``(B, H, W, C)``."""
    height, width = prediction.shape[1:3]
    difference = torch.fft.rfft2(prediction, dim=(1, 2)) - torch.fft.rfft2(target, dim=(1, 2))
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    radius = torch.sqrt(yy**2 + xx**2)[:, : width // 2 + 1]
    weight = torch.exp(-3 * radius).to(prediction).unsqueeze(-1)
    return (weight * difference.abs()).mean()


def pinball_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of the pinball losses of the single output at three levels."""
    error = target - prediction
    losses = [torch.maximum(level * error, (level - 1) * error).mean() for level in QUANTILES]
    return torch.stack(losses).mean()


def training_loss(prediction: Tensor, target: Tensor, regulariser: Tensor, delta: float = 0.8) -> Tensor:
    """The loss of the original in scaled units."""
    huber = F.huber_loss(prediction, target, delta=delta)
    return huber + regulariser + 0.1 * frequency_loss(prediction, target) + 0.3 * pinball_loss(prediction, target)


def scale(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Min-max scaling per channel as the original does it."""
    return (x - low) / (_span(low, high) + 1e-6)


def unscale(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Back from scaled to data units."""
    return low + x * (_span(low, high) + 1e-6)


def _span(low: Tensor, high: Tensor) -> Tensor:
    span = high - low
    return torch.where(span < 1e-6, torch.ones_like(span), span)
