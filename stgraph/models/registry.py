"""Classes by the names that configuration files use, loaded when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from stgraph.errors import InputError
from stgraph.models.options import nearest_name

__all__ = ["find_class", "load_class"]


def find_class(kind: str, name: str, paths: Mapping[str, str]) -> Any:
    """Return the class called ``name``.

    Args:
        kind: What the classes are, for the message.
        name: A key of ``paths``.
        paths: Every class by name, as ``module:class``.

    Raises:
        InputError: If none has that name.

    Examples:
        >>> find_class("container", "counter", {"counter": "collections:Counter"}).__name__
        'Counter'
    """
    if name not in paths:
        raise InputError(f"unknown {kind} {name!r}{nearest_name(name, paths)}")
    return load_class(paths[name])


def load_class(path: str) -> Any:
    """Return the class that ``module:class`` names."""
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)
