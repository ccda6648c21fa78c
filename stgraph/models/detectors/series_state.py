"""Parts of the detector of series that hold what was learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["LearnedState"]


class LearnedState(nn.Module):
    """A module with tensors whose shapes come with the data: empty before a fit, and saved with the rest."""

    def register_state(self, *names: str) -> None:
        """Add such tensors."""
        for name in names:
            self.register_buffer(name, torch.empty(0))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None and prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args)
