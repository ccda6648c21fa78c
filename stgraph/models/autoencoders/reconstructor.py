"""From a batch of masked series to their reconstruction, by any autoencoder."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.autoencoders import get_autoencoder
from stgraph.nn.neighbor_context import NeighborContext

__all__ = ["SeriesReconstructor"]

# What the data says of a network, so that nobody has to.
_FROM_DATA = ("in_channels", "out_channels", "input_length")


class SeriesReconstructor(nn.Module):
    r"""Reconstruct the hidden points of series from the visible ones and, with edges, from those of neighbours.

    The network sees, for every channel, the visible values and a mask that is 1 where a value is not given. With
    ``neighbors`` it also sees the output of :class:`~stgraph.nn.neighbor_context.NeighborContext`, of which a linear
    map, zero at first, is added to the reconstruction. A series without edges gets zeros there, so that the result is
    that of the network alone. Hidden values have no influence.

    Args:
        name: Name of the autoencoder, a key of :data:`~stgraph.models.autoencoders.AUTOENCODERS`.
        channels: Number of channels C of the series.
        steps: Number of points L of the series, for networks that must know it.
        arguments: Hyper-parameters of the autoencoder, by the names of its constructor.
        uncertainty: Predict a variance for every value, too.
        neighbors: Number of weightings of the neighbours' values; 0 leaves the neighbours out.
        edge_channels: Number of edge attributes.

    Shapes:
        - **batch:** as :class:`~stgraph.data.series_loader.SeriesLoader` yields it, with B samples
        - **output:** a dictionary with ``mean`` :math:`(B, L, C)`, ``log_variance`` alike (with ``uncertainty``) and
          what the autoencoder returns

    Raises:
        InputError: If the name is unknown, a hyper-parameter is, or the batch does not fit.

    Examples:
        >>> model = SeriesReconstructor("mlp", channels=1, steps=16, arguments={"encoder_hidden_dims": [8]})
        >>> x = torch.zeros(2, 16, 1)
        >>> mask = torch.ones_like(x, dtype=torch.bool)
        >>> model(Data(x=x, mask=mask, hidden=~mask, batch_size=2))["mean"].shape
        torch.Size([2, 16, 1])
    """

    def __init__(
        self,
        name: str,
        channels: int,
        steps: int | None = None,
        arguments: dict[str, Any] | None = None,
        *,
        uncertainty: bool = False,
        neighbors: int = 0,
        edge_channels: int = 0,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels is {channels}; expected at least 1")
        if neighbors < 0:
            raise InputError(f"neighbors is {neighbors}; expected 0 or more")
        self.channels, self.steps, self.uncertainty = channels, steps, uncertainty
        self.context: NeighborContext | None = None
        self.context_skip: nn.Linear | None = None
        extra = 0
        if neighbors:
            self.context = NeighborContext(channels, neighbors, edge_channels)
            extra = self.context.out_channels
            self.context_skip = nn.Linear(extra, channels, bias=False)
            nn.init.zeros_(self.context_skip.weight)
        outputs = 2 * channels if uncertainty else channels
        self.autoencoder = _build(name, 2 * channels + extra, outputs, steps, arguments or {})

    def forward(self, batch: Data) -> dict[str, Tensor]:
        """Return the reconstruction of the samples of a batch."""
        count = int(batch.batch_size) if batch.get("batch_size") is not None else batch.x.shape[0]
        visible = batch.mask & ~batch.hidden
        values = batch.x[:count].masked_fill(~visible[:count], 0.0)
        parts = [values, (~visible[:count]).to(values.dtype)]
        context: Tensor | None = None
        if self.context is not None:
            edges = batch.get("edge_index")
            if edges is None:
                raise InputError("the model takes neighbours into account; expected a batch with edge_index")
            context = self.context(batch.x, visible, edges, batch.get("edge_attr"), num_targets=count)
            parts.append(context)
        time, padding = batch.get("time"), batch.get("padding")
        output: dict[str, Tensor] = self.autoencoder(
            torch.cat(parts, dim=-1),
            time=None if time is None else time[:count],
            key_padding_mask=None if padding is None else padding[:count],
        )
        flat = output["reconstructed"]
        full = flat if flat.dim() == 3 else flat.unsqueeze(-1)
        mean = full[..., : self.channels]
        if context is not None and self.context_skip is not None:
            mean = mean + self.context_skip(context)
        result = {**output, "mean": mean}
        if self.uncertainty:
            result["log_variance"] = full[..., self.channels :]
        return result


def _build(name: str, in_channels: int, out_channels: int, steps: int | None, arguments: dict[str, Any]) -> nn.Module:
    kind = get_autoencoder(name)
    known = inspect.signature(kind).parameters
    unknown = sorted(set(arguments) - set(known) | set(arguments) & set(_FROM_DATA))
    if unknown:
        free = ", ".join(key for key in known if key not in _FROM_DATA)
        raise InputError(f"{name} has no hyper-parameter {unknown[0]!r}; it has {free}")
    from_data = {"in_channels": in_channels, "out_channels": out_channels}
    if steps is not None and "input_length" in known:
        from_data["input_length"] = steps
    return kind(**from_data, **arguments)
