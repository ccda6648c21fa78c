"""Small spectra for the tests of detectors, and the comparison of what was found in them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.ops.anomaly.result import AnomalousRegions

OPTIONS: dict[str, Any] = {"k": 8, "components": 3}


def spectra(n: int = 60, length: int = 80, seed: int = 0, dtype: torch.dtype = torch.float64) -> Data:
    """Combinations of three smooth curves, with noise of known error and some bad points."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.linspace(0, 1, length, dtype=torch.float64)
    curves = torch.stack([1 + place, (7 * place).sin(), (11 * place).cos()])
    weights = torch.randn(n, 3, generator=generator, dtype=torch.float64) * torch.tensor([0.5, 1.0, 0.5]) + 3
    error = (0.05 + 0.1 * torch.rand(n, 1, generator=generator, dtype=torch.float64)).expand(n, length)
    noise = torch.randn(n, length, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, length, generator=generator) < 0.95
    flux, error = (weights @ curves + error * noise).to(dtype), error.to(dtype).contiguous()
    return Data(x=flux.unsqueeze(2), mask=mask.unsqueeze(2), flux_error=error.unsqueeze(2))


def planted() -> Data:
    data = spectra()
    data.x[5, 30:36] += 1.5
    data.x[20, 50:58] -= 2.0
    data.x[41, 10:30] += 2.0 * (-1.0) ** torch.arange(20).unsqueeze(1)
    data.x[7] = float("nan")
    data.mask[7] = False
    return data


def rows(data: Data, index: Tensor | slice) -> Data:
    return Data(**{name: data[name][index] for name in ("x", "mask", "flux_error") if name in data})


def same(found: AnomalousRegions, other: AnomalousRegions) -> None:
    assert found.anomalous.equal(other.anomalous)
    assert found.regions.equal(other.regions)
    assert found.no_data.equal(other.no_data)
    for name in ("score", "window_score", "expected", "deviation"):
        torch.testing.assert_close(getattr(found, name), getattr(other, name), rtol=1e-7, atol=1e-8, equal_nan=True)
