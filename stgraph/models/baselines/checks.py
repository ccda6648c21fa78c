"""Checks of constructor arguments that published networks have in common."""

from __future__ import annotations

from stgraph.errors import InputError

__all__ = ["at_least", "check_calendar_channels"]


def at_least(least: int, **values: int) -> None:
    """Raise :class:`~stgraph.errors.InputError` for the first argument below ``least``, by its name.

    Examples:
        >>> at_least(1, num_layers=2, hidden_channels=64)
    """
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name} is {value}; expected at least {least}")


def check_calendar_channels(value: int) -> None:
    """Raise :class:`~stgraph.errors.InputError` unless 0, 1 (time of day) or 2 (and weekday) channels are asked for."""
    if not 0 <= value <= 2:
        raise InputError(f"calendar_channels is {value}; expected 0, 1 or 2")
