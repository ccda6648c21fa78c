"""Numbers that the formulas gave elsewhere, in float64 and rounded to 8 decimals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stgraph.nn import spectral
from stgraph.nn.spectral import transforms

GOLDEN = json.loads((Path(__file__).resolve().parents[2] / "golden" / "spectral_golden.json").read_text())


def tensor(value: Any) -> Tensor:
    if isinstance(value, dict):
        return torch.complex(tensor(value["re"]), tensor(value["im"]))
    return torch.tensor(value, dtype=torch.float64)


def name(case: dict[str, Any]) -> str:
    options = case.get("kwargs") or {k: case[k] for k in ("normalized", "wavelet", "levels") if k in case}
    kind = case.get("class") or case["transform"]
    return "-".join([kind, *(f"{k}={v}" for k, v in options.items() if not k.endswith("dim"))])


def test_all_cases_are_there() -> None:
    assert (len(GOLDEN["layers"]), len(GOLDEN["transforms"])) == (47, 38)


@pytest.mark.parametrize("case", GOLDEN["layers"], ids=name)
def test_layer(case: dict[str, Any]) -> None:
    layer = getattr(spectral, case["class"])(**case["kwargs"]).double().eval()
    layer.load_state_dict({key: tensor(value) for key, value in case["state_dict"].items()})
    out = layer(tensor(case["input"]))
    torch.testing.assert_close(out.detach(), tensor(case["output"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", GOLDEN["transforms"], ids=name)
def test_transform(case: dict[str, Any]) -> None:
    kind, x = getattr(transforms, case["transform"]), tensor(case["input"])
    if case["transform"] == "DWT1D":
        approx, details = kind(case["wavelet"], case["levels"]).decompose(x, check_levels=False)
        found = [approx, *details]
        expected = [case["approx"], *case["details_finest_first"]]
    elif case["transform"] == "DWT2D":
        low, details = kind(case["wavelet"], case["levels"]).decompose(x)
        found, expected = [low, *details[0]], [case[band] for band in ("LL", "HL", "LH", "HH")]
    else:
        found = [kind(normalized=case["normalized"]).transform(x, dim=case["dim"])]
        expected = [case["output"]]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, tensor(theirs), rtol=0, atol=1e-6)
