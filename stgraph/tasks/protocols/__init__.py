"""Protocols of the literature by name: how each splits, scales, counts nulls and averages errors."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stgraph.tasks.protocols.protocol import (
    FAMILIES,
    PROTOCOLS,
    Family,
    Protocol,
    choose_protocols,
    family_of,
    get_protocol,
)

if TYPE_CHECKING:
    from stgraph.tasks.protocols.description import describe
    from stgraph.tasks.protocols.scaling import fit_under_protocol, step_weights
    from stgraph.tasks.protocols.scoring import score
    from stgraph.tasks.protocols.training import protocol_datamodule

__all__ = [
    "FAMILIES",
    "PROTOCOLS",
    "Family",
    "Protocol",
    "choose_protocols",
    "describe",
    "family_of",
    "fit_under_protocol",
    "get_protocol",
    "protocol_datamodule",
    "score",
    "step_weights",
]

_MODULES = {
    "describe": "description",
    "fit_under_protocol": "scaling",
    "protocol_datamodule": "training",
    "score": "scoring",
    "step_weights": "scaling",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that the names of the protocols can be read without loading torch.
    if name in _MODULES:
        return getattr(importlib.import_module(f"stgraph.tasks.protocols.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stgraph.tasks.protocols' has no attribute {name!r}")
