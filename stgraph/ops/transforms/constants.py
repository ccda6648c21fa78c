"""Tables that depend on sizes alone, built once for each dtype and device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

__all__ = ["constant_table"]


def constant_table(build: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep what ``build(*sizes, device)`` returns, by its arguments and the dtype asked for.

    The function that comes back takes ``(*sizes, dtype=..., device=...)``. The table is computed in its own precision
    (float64) and rounded once. Nothing is kept while a graph is traced: a table of the trace must not leave it.

    Examples:
        >>> halves = constant_table(lambda n, device: torch.arange(n, dtype=torch.float64, device=device) / 2)
        >>> halves(3, dtype=torch.float32, device=torch.device("cpu"))
        tensor([0.0000, 0.5000, 1.0000])
        >>> halves(3, dtype=torch.float32, device="cpu") is halves(3, dtype=torch.float32, device="cpu")
        True
    """
    kept: dict[tuple[Hashable, ...], Tensor] = {}

    @functools.wraps(build)
    def table(*sizes: float | str, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        if torch.compiler.is_compiling():
            return build(*sizes, device).to(dtype)
        key = (*sizes, dtype, str(device))
        if key not in kept:
            # A tensor made in inference mode could not take part in a later backward pass.
            with torch.inference_mode(False):
                made = build(*sizes, device).to(dtype)
            if type(made) is not Tensor:
                return made
            kept[key] = made
        return kept[key]

    return table
