"""The exceptions that tell a user what was wrong with an input.

They subclass the built-in exceptions, so that ``except ValueError`` keeps working.
"""

from __future__ import annotations

__all__ = ["CheckpointError", "InputError", "InputTypeError", "OutputExistsError"]


class InputError(ValueError):
    """An argument or a file has a value that cannot be used."""


class InputTypeError(TypeError):
    """An argument or a file holds the wrong type of thing."""


class CheckpointError(InputError):
    """A checkpoint is damaged or does not fit the model or the data."""


class OutputExistsError(InputError):
    """An output would replace something that is already there."""
