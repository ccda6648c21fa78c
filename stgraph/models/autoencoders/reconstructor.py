"""From a batch of masked series to their reconstruction, by any autoencoder."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.autoencoders import get_autoencoder
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.nn.neighbor_context import NeighborContext
from stgraph.nn.reconstruction_loss import LOG_VARIANCE_RANGE

__all__ = ["SeriesReconstructor"]


class SeriesReconstructor(nn.Module):
    r"""Reconstruct the hidden points of series from the visible ones and, with edges, from those of neighbours.

    The network sees, for every channel, the visible values and a mask that is 1 where a value is not given. With
    ``neighbors`` it also sees the output of :class:`~stgraph.nn.neighbor_context.NeighborContext`. A linear map of
    that, at first the regression of the series on its neighbours, is subtracted from the values that the network sees
    and added to its reconstruction, so that the network works on what the neighbours do not tell. A series without
    edges gets zeros there, and the result is that of the network alone. Hidden values have no influence.

    A network of several modalities also gets the spectra of the series, where the batch has some. Spectra that were
    computed from all points of a series tell of its hidden ones.

    Args:
        name: Name of the autoencoder, a key of :data:`~stgraph.models.autoencoders.AUTOENCODERS`.
        channels: Number of channels C of the series.
        steps: Number of points L of the series, for networks that must know it.
        arguments: Hyper-parameters of the autoencoder, by the names of its constructor.
        uncertainty: Predict a variance for every value, too.
        neighbors: Number of weightings of the neighbours' values; 0 leaves the neighbours out.
        edge_channels: Number of edge attributes.
        bins: Number of bins F of the spectra, for networks of several modalities.
        spectra: Names of the spectra in the batch.
        frequency_range: Lowest and highest frequency in 1/day of the bins of series that are spectra themselves; kept
            with the model, so that other spectra can be compared with it.

    Shapes:
        - **batch:** as :class:`~stgraph.data.series_loader.SeriesLoader` yields it, with B samples; ``spectra``
          :math:`(B, F, M)` and ``present`` :math:`(B)` where there are spectra
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
        bins: int | None = None,
        spectra: Sequence[str] = (),
        frequency_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels is {channels}; expected at least 1")
        if neighbors < 0:
            raise InputError(f"neighbors is {neighbors}; expected 0 or more")
        self.channels, self.steps, self.uncertainty = channels, steps, uncertainty
        self.spectra = tuple(spectra)
        self.frequency_range: tuple[float, ...] | None = None if frequency_range is None else tuple(frequency_range)
        self.context: NeighborContext | None = None
        self.context_skip: nn.Linear | None = None
        extra = 0
        if neighbors:
            self.context = NeighborContext(channels, neighbors, edge_channels)
            extra = self.context.out_channels
            self.context_skip = nn.Linear(extra, channels, bias=False)
            nn.init.zeros_(self.context_skip.weight)
            nn.init.eye_(self.context_skip.weight[:, -channels:])
        from_data = {"in_channels": 2 * channels + extra, "out_channels": channels, "input_length": steps, "bins": bins}
        if uncertainty and not get_autoencoder(name).predicts_variance:
            from_data["out_channels"] = 2 * channels
        self.autoencoder = _build(name, from_data, arguments or {})

    def forward(self, batch: Data) -> dict[str, Any]:
        """Return the reconstruction of the samples of a batch."""
        count = int(batch.batch_size) if batch.get("batch_size") is not None else batch.x.shape[0]
        visible = batch.mask & ~batch.hidden
        values, shown = batch.x[:count], visible[:count]
        common: Tensor | float = 0.0
        extra = []
        if self.context is not None and self.context_skip is not None:
            edges = batch.get("edge_index")
            if edges is None:
                raise InputError("the model takes neighbours into account; expected a batch with edge_index")
            context = self.context(
                batch.x, visible, edges, batch.get("edge_attr"), batch.get("time"), num_targets=count
            )
            common = self.context_skip(context)
            extra = [context]
        own = (values - common).masked_fill(~shown, 0.0)
        parts = [own, (~shown).to(own.dtype), *extra]
        time, padding = batch.get("time"), batch.get("padding")
        output: dict[str, Any] = self.autoencoder(
            torch.cat(parts, dim=-1),
            time=None if time is None else time[:count],
            key_padding_mask=None if padding is None else padding[:count],
            **self._modalities(batch),
        )
        flat = output["reconstructed"]
        full = flat if flat.dim() == 3 else flat.unsqueeze(-1)
        mean = full[..., : self.channels] + common
        result = {**output, "mean": mean}
        if self.uncertainty and not self.autoencoder.predicts_variance:
            result["log_variance"] = full[..., self.channels :]
        if "log_variance" in result:
            result["log_variance"] = result["log_variance"].clamp(*LOG_VARIANCE_RANGE)
        return result

    def _modalities(self, batch: Data) -> dict[str, Any]:
        """The spectra that the network takes, by name."""
        names = getattr(self.autoencoder, "modalities", ())
        given = batch.get("spectra")
        if not names or given is None:
            return {}
        unknown = sorted(set(names) - set(self.spectra))
        if unknown:
            raise InputError(f"the network takes the spectra {list(names)}; the data has {list(self.spectra)}")
        spectra = {name: given[..., self.spectra.index(name)] for name in names}
        return {"spectra": spectra, "present": batch.present[:, None].expand(-1, len(names))}


def _build(name: str, from_data: dict[str, int | None], arguments: dict[str, Any]) -> Autoencoder:
    kind = get_autoencoder(name)
    known = inspect.signature(kind).parameters
    unknown = sorted(set(arguments) - set(known) | set(arguments) & set(from_data))
    if unknown:
        free = ", ".join(key for key in known if key not in from_data)
        raise InputError(f"{name} has no hyper-parameter {unknown[0]!r}; it has {free}")
    sizes: dict[str, Any] = {key: value for key, value in from_data.items() if value is not None and key in known}
    return kind(**sizes, **arguments)
