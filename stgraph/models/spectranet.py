"""SpecTra-Net: spectral features in time, optimal transport and anisotropic attention in space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data
from typing_extensions import Self

from stgraph.errors import InputError
from stgraph.models import spectranet_parts as parts
from stgraph.models.base import Forecaster
from stgraph.models.options import SpecTraNetOptions
from stgraph.models.spectranet_graph import GraphGeometry
from stgraph.nn import GOT, MGAT
from stgraph.ops.drift import share_out_of_range
from stgraph.ops.missing import fill_with_nearest_observed

__all__ = ["SpecTraNet"]

_REGULARISER = 1e-3
_WELL_OBSERVED = 0.5  # share of the training steps from which on a node has an embedding of its own
_DRIFT = 0.05  # share of late values outside the earlier range above which a series drifts


class SpecTraNet(Forecaster):
    r"""Forecast a graph series with SpecTra-Net.

    A temporal encoder (:class:`~stgraph.nn.SFE` or, by the option ``temporal``, another sequence layer, and
    :class:`~stgraph.nn.TGating`) turns the window of each node into one feature; :class:`~stgraph.nn.GOT` aligns the
    nodes with learned prototypes by optimal transport; :class:`~stgraph.nn.MGAT` attends over neighbouring nodes; a
    linear head gives Q steps, as changes from the last observed input. With ``preset="reference"`` the formulas are
    those of the original.

    Missing inputs never influence a forecast: only the mask of what is observed enters beside the observed values.

    Args:
        in_channels: Number of channels of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        num_nodes: Number of nodes N, needed by the node embedding and by scalers per node.
        pos_dim: Dimension of the coordinates.
        calendar_periods: Periods in steps to embed the time by where the option ``periods`` is not given.
        **options: Fields of :class:`~stgraph.models.SpecTraNetOptions`.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``pos`` :math:`(N, D)`, optionally ``x_mask``, ``x_time``
          :math:`(B, P)`, ``edge_index`` :math:`(2, E)`, ``grid``
        - **output:** :math:`(B, N, Q, C)`, or :math:`(B, N, Q, C, L)` with L quantiles

    Examples:
        >>> import torch
        >>> model = SpecTraNet(in_channels=1, input_steps=12, horizon=3, num_nodes=6, num_neighbors=2)
        >>> model.predict(torch.randn(4, 6, 12, 1), pos=torch.rand(6, 2)).shape
        torch.Size([4, 6, 3, 1])
    """

    drifts: Tensor | None
    well_observed: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        out_channels: int | None = None,
        num_nodes: int | None = None,
        pos_dim: int = 2,
        calendar_periods: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        chosen = SpecTraNetOptions.from_keywords(**options).resolve()
        super().__init__(
            in_channels,
            input_steps,
            horizon,
            out_channels=out_channels,
            scaler=str(chosen.scaler),
            scaler_per=str(chosen.scaler_per),
            num_nodes=num_nodes,
            quantiles=chosen.quantiles,
        )
        self.options, self.pos_dim = chosen, pos_dim
        if chosen.time_reference not in ("window", "absolute"):
            raise InputError(f"time_reference is {chosen.time_reference!r}; expected 'window' or 'absolute'")
        if chosen.level not in ("absolute", "relative", "auto"):
            raise InputError(f"level is {chosen.level!r}; expected 'absolute', 'relative' or 'auto'")
        if chosen.got_init not in ("normal", "k-means++"):
            raise InputError(f"got_init is {chosen.got_init!r}; expected 'normal' or 'k-means++'")
        periods = chosen.periods or list(calendar_periods or ())
        # Without a period the place in absolute time says nothing that holds beyond the training series.
        self._absolute_time = chosen.time_reference == "absolute" and bool(periods)
        periods = periods or [float(input_steps)]
        self.register_buffer("drifts", torch.zeros((), dtype=torch.bool) if chosen.level == "auto" else None)
        self.temporal = parts.temporal_encoder(chosen, self._in_features, input_steps, periods)
        d = parts.required(chosen.d_model, "d_model")
        self.node_embedding = parts.node_embedding(chosen, num_nodes, d)
        if self.node_embedding is not None:
            self.register_buffer("well_observed", torch.ones(int(num_nodes or 0), 1))
        self.got: GOT | None = None
        self.mgat: MGAT | None = None
        if chosen.use_got:
            self.got = parts.got(chosen, d, pos_dim)
            if chosen.use_mgat:
                self.mgat = parts.mgat(chosen, d, pos_dim)
        self.geometry = GraphGeometry(
            num_neighbors=parts.required(chosen.num_neighbors, "num_neighbors"),
            normalize=bool(chosen.normalize_pos),
            both_directions=bool(chosen.both_directions),
        )
        self.lin_window: nn.Linear | None = None
        if chosen.window_embedding:
            self.lin_window = nn.Linear(input_steps * self._in_features, d)
        self.before = parts.blocks(chosen.blocks_before, d)
        self.after = parts.blocks(chosen.blocks_after, d)
        self.lin_out = nn.Linear(d, horizon * self.out_channels * self._outputs)
        self.lin_path: nn.Linear | None = None
        if chosen.linear_path:
            self.lin_path = nn.Linear(input_steps * self._in_features, horizon * self.out_channels)
            nn.init.zeros_(self.lin_path.weight)
            nn.init.zeros_(self.lin_path.bias)

    @property
    def _outputs(self) -> int:
        return 1 if self.quantiles is None else len(self.quantiles)

    @property
    def _in_features(self) -> int:
        return self.in_channels * (2 if self.options.mask_input else 1)

    @classmethod
    def from_reference_checkpoint(
        cls, path: str | os.PathLike[str], pos: Any = None, grid: tuple[int, int] | None = None
    ) -> SpecTraNet:
        """Load a checkpoint that the original implementation wrote; nothing in the file is executed.

        Args:
            path: The ``.pt`` file.
            pos: Coordinates ``(N, D)`` of the nodes, where the original was given some.
            grid: ``(H, W)`` of a grid; by default what the checkpoint says.

        Raises:
            CheckpointError: If the file is not such a checkpoint, or needs ``pos``.
        """
        from stgraph.models.reference_checkpoint import load_reference_checkpoint

        return load_reference_checkpoint(cls, path, pos, grid)

    def forward_scaled(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Return the forecast in scaled units and the regulariser."""
        mask = getattr(batch, "x_mask", None)
        self._check(batch.x)
        x_data = fill_with_nearest_observed(batch.x, mask)
        x = self.scaler.transform(x_data)
        if mask is not None:
            x = _mean_where_unknown(x, mask.any(dim=-2, keepdim=True))
        change = x - x[..., -1:, :]
        z = self.temporal(
            self._with_mask(self._seen(x, change), mask), x_data, self._time(batch, x), self._node_features()
        )
        if self.lin_window is not None:
            z = z + self.lin_window(self._with_mask(change, mask).flatten(-2))
        z = self.before(z)
        spatial, regulariser = self._spatial(z, batch)
        z = self.after(z + spatial if self.options.spatial_residual else spatial)
        return self._head(z, self._with_mask(x, mask), x[..., -1, : self.out_channels]), regulariser

    def _with_mask(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if not self.options.mask_input:
            return x
        return torch.cat([x, torch.ones_like(x) if mask is None else mask.to(x.dtype)], dim=-1)

    def _seen(self, x: Tensor, change: Tensor) -> Tensor:
        """What the nonlinear part sees of the values."""
        if self.options.level == "absolute":
            return x
        return change if self.drifts is None else torch.where(self.drifts, change, x)

    def fit(self, data: Data, starts: Tensor | None = None) -> Self:
        """Fit the scaler, the time axis and the scale of the coordinates on the training series.

        With the option ``level="auto"`` this decides, too, whether the series drifts: whether more than 5 % of the last
        fifth of the values lie outside the range that their node had before. Then the nonlinear part, which cannot
        know what lies beyond the levels of training, sees differences from the last step alone; the linear path and
        the change from the last observed input carry the level on.

        Nodes of which training observes less than half of the values have no embedding of their own: where stations
        open and close, what was learned of one of them says little of the test period.
        """
        super().fit(data, starts)
        mask = getattr(data, "mask", None)
        if self.node_embedding is not None:
            share = data.x.new_ones(len(data.x)) if mask is None else mask.double().mean(dim=(1, 2))
            self.well_observed.copy_(share.unsqueeze(1) >= _WELL_OBSERVED)
        if self.drifts is not None:
            self.drifts.copy_(share_out_of_range(data.x, mask) > _DRIFT)
        if getattr(data, "pos", None) is not None:
            self.geometry.fit(data.pos)
            if self.got is not None and self.options.got_init == "k-means++":
                place = self.geometry.place(data.pos, data.pos.shape[0])
                self.got.init_positions(place, seed=torch.initial_seed() % 2**32)
        return self

    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[2:] != (self.input_steps, self.in_channels):
            expected = f"(B, N, {self.input_steps}, {self.in_channels})"
            raise InputError(f"batch.x has shape {tuple(x.shape)}; expected {expected}")
        if self.node_embedding is not None and x.shape[1] != self.num_nodes:
            raise InputError(
                f"batch.x has {x.shape[1]} nodes; this model has an embedding for each of num_nodes = {self.num_nodes}"
            )

    def _time(self, batch: Data, x: Tensor) -> Tensor:
        time = getattr(batch, "x_time", None)
        if time is None or not self._absolute_time:
            return torch.arange(self.input_steps, device=x.device)
        return self.time_in_steps(time)

    def _node_features(self) -> Tensor | None:
        if self.node_embedding is None:
            return None
        table, linear = self.node_embedding
        features: Tensor = linear(table.get_parameter("weight") * self.well_observed)
        return features

    def _spatial(self, z: Tensor, batch: Data) -> tuple[Tensor, Tensor]:
        none = z.new_zeros(())
        if self.got is None:
            return z, none
        geometry = self.geometry(batch, self.mgat)
        z, plan = self.got(z, geometry.pos.to(z.dtype))
        if self.mgat is None or geometry.edges is None:
            return z, none
        out: Tensor = self.mgat(z, geometry.edges, plan=plan)
        if z.shape[0] == 0:
            return out, none
        norm = torch.linalg.matrix_norm(self.mgat.metric(z, plan))
        return out, _REGULARISER * geometry.total_variation(norm, graph=self.options.preset != "reference")

    def _head(self, z: Tensor, features: Tensor, last: Tensor) -> Tensor:
        change: Tensor = self.lin_out(z).unflatten(-1, (self.horizon, self.out_channels, self._outputs))
        level = last.unsqueeze(-2) * float(bool(self.options.residual_to_last))
        if self.lin_path is not None:
            level = level + self.lin_path(features.flatten(-2)).unflatten(-1, (self.horizon, self.out_channels))
        if self.quantiles is None:
            return level + change.squeeze(-1)
        middle = self.quantiles.index(0.5)
        center = level + change[..., middle]
        # Steps between neighbouring levels are positive, so quantiles cannot cross.
        above = center.unsqueeze(-1) + F.softplus(change[..., middle + 1 :]).cumsum(dim=-1)
        below = center.unsqueeze(-1) - F.softplus(change[..., :middle].flip(-1)).cumsum(dim=-1).flip(-1)
        return torch.cat([below, center.unsqueeze(-1), above], dim=-1)


def _mean_where_unknown(x: Tensor, known: Tensor) -> Tensor:
    """Put the mean of the other nodes at each step in the place of nodes without any observation in the window.

    Their number then has no influence on the spatial mean. Where nothing is known it is 0, the centre of training.
    """
    count = known.sum(dim=1, keepdim=True).clamp(min=1)
    mean = torch.where(known, x, 0.0).sum(dim=1, keepdim=True) / count
    return torch.where(known, x, mean)
