"""Temporal gating: attention on the steps where much changes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.ops.gating import change_score

__all__ = ["TGating"]


class TGating(nn.Module):
    r"""Pool a series over time with learned weights that favour steps of large change.

    With the learned weights :math:`w = \mathrm{softmax}(p)` and the score :math:`c_t`
    (:func:`stgraph.ops.gating.change_score`) of the series in data units, the pooling weights are

    .. math::
        a_t \propto w_t (1 + \text{gain} \cdot c_t)

    or, with ``normalization="softmax"``, a second softmax of that product as in the original formulation, which makes
    the weights almost uniform.

    Args:
        steps: Number of time steps T.
        gain: Gain of the score; 0 gives the learned weights alone.
        normalization: ``"product"`` or ``"softmax"``.
        per_node: Score each node by its own changes.

    Shapes:
        - **input:** features :math:`(..., N, T, F)`, series in data units :math:`(..., N, T, C)`
        - **output:** :math:`(..., N, F)`

    Examples:
        >>> import torch
        >>> layer = TGating(steps=12)
        >>> layer(torch.randn(2, 5, 12, 8), torch.randn(2, 5, 12, 1)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, steps: int, gain: float = 0.2, normalization: str = "product", per_node: bool = False) -> None:
        super().__init__()
        if steps < 1:
            raise InputError(f"steps is {steps}; expected at least 1")
        if normalization not in ("product", "softmax"):
            raise InputError(f"normalization is {normalization!r}; expected 'product' or 'softmax'")
        if gain < 0:
            raise InputError(f"gain is {gain}; expected at least 0")
        self.steps, self.gain, self.normalization, self.per_node = steps, gain, normalization, per_node
        self.logits = nn.Parameter(torch.zeros(steps))

    def reset_parameters(self) -> None:
        """Return to equal weights."""
        nn.init.zeros_(self.logits)

    def weights(self, x: Tensor) -> Tensor:
        """Pooling weights for a series in data units: ``[..., 1, T]``, or ``[..., N, T]`` with ``per_node``."""
        if x.shape[-2] != self.steps:
            raise InputError(f"x has {x.shape[-2]} time steps; the layer was made for {self.steps}")
        learned = self.logits.softmax(dim=-1)
        if self.gain == 0:
            return learned.expand(*x.shape[:-3], 1, self.steps)
        score = change_score(x, self.per_node).to(learned.dtype)
        raised = learned * (1 + self.gain * (score if self.per_node else score.unsqueeze(-2)))
        if self.normalization == "softmax":
            return raised.softmax(dim=-1)
        return raised / raised.sum(dim=-1, keepdim=True)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """Pool the features ``h`` over time, scored by the series ``x``."""
        return (self.weights(x).unsqueeze(-2) @ h).squeeze(-2)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.steps}, gain={self.gain}, normalization={self.normalization!r}, per_node={self.per_node}"
