"""The hyper-parameters of :class:`~stgraph.models.FNO`.

This file imports nothing heavy, so that the command line can print its help without loading torch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["FNOOptions"]


@dataclasses.dataclass
class FNOOptions:
    """Hyper-parameters of the Fourier neural operator; ``None`` takes the value in brackets.

    Args:
        width: Number of hidden channels (32).
        modes: Number of Fourier modes along each axis of the grid (12).
        num_layers: Number of blocks (4).
        mlp_ratio: Width of the hidden layer of each block's feed-forward network in units of ``width`` (2).
        dropout: Dropout probability (0).
        scaler: ``"min_max"``, ``"standard"``, ``"robust"``, ``"log1p"`` or ``"none"`` (``"standard"``).
        mask_input: Feed the mask of observed values to the network (on).
    """

    width: int | None = None
    modes: int | None = None
    num_layers: int | None = None
    mlp_ratio: float | None = None
    dropout: float | None = None
    scaler: str | None = None
    mask_input: bool | None = None

    def with_defaults(self) -> FNOOptions:
        """Return a copy in which every ``None`` has its value."""
        return FNOOptions(**{k: _FNO_DEFAULTS[k] if v is None else v for k, v in dataclasses.asdict(self).items()})


_FNO_DEFAULTS: dict[str, Any] = {
    "width": 32,
    "modes": 12,
    "num_layers": 4,
    "mlp_ratio": 2.0,
    "dropout": 0.0,
    "scaler": "standard",
    "mask_input": True,
}
