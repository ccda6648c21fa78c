"""Errors of reconstructions, point by point."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.anomaly.flux_arrays import as_real_tensor

__all__ = ["compute_dynamic_anomaly_ratio", "compute_reconstruction_errors"]

Array = TypeVar("Array", np.ndarray, Tensor)


def compute_reconstruction_errors(
    original_fluxes: Array, reconstructed_fluxes: Array, method: Literal["mse", "mae"] = "mse"
) -> Array:
    r"""Squared or absolute error of each point of a reconstruction.

    Args:
        original_fluxes: Spectra, a NumPy array or a tensor.
        reconstructed_fluxes: Their reconstruction.
        method: ``"mse"`` squares the residuals, ``"mae"`` takes their absolute value.

    Shapes:
        - **original_fluxes**, **reconstructed_fluxes**, **output:** :math:`(N, L)`, or any other shape that they share

    Raises:
        InputError: If the shapes differ or the method is unknown.
        InputTypeError: If an argument holds no real numbers.

    Examples:
        >>> import numpy as np
        >>> compute_reconstruction_errors(np.array([[1.0, 2.0]]), np.array([[3.0, 2.0]])).tolist()
        [[4.0, 0.0]]
        >>> compute_reconstruction_errors(np.array([[1.0, 2.0]]), np.array([[3.0, 2.0]]), method="mae").tolist()
        [[2.0, 0.0]]
    """
    if method not in ("mse", "mae"):
        raise InputError(f"method is {method!r}; expected 'mse' or 'mae'")
    original = as_real_tensor("original_fluxes", original_fluxes)
    reconstructed = as_real_tensor("reconstructed_fluxes", reconstructed_fluxes)
    if original.shape != reconstructed.shape:
        raise InputError(
            f"reconstructed_fluxes has shape {tuple(reconstructed.shape)}; expected {tuple(original.shape)}, as "
            "original_fluxes"
        )
    if not (original.is_floating_point() or reconstructed.is_floating_point()):
        original = original.double()  # differences of unsigned whole numbers would wrap around
    residual = original - reconstructed.to(original.device)
    errors = residual.square() if method == "mse" else residual.abs()
    return errors.numpy() if isinstance(original_fluxes, np.ndarray) else errors


def compute_dynamic_anomaly_ratio(errors: np.ndarray | Tensor, mad_multiplier: float = 3.0) -> float:
    r"""Share of the errors above :math:`\mathrm{median} + k\,\mathrm{MAD}`.

    MAD is the median absolute deviation from the median as it is, not scaled to a standard deviation.

    Args:
        errors: Errors of a reconstruction, of any shape; NaN is left out.
        mad_multiplier: The multiple :math:`k`.

    Returns:
        The share, or NaN where there is no error to judge.

    Raises:
        InputError: If the multiplier is not a finite number that is at least 0, or an error is infinite.
        InputTypeError: If the errors are not real numbers.

    Examples:
        >>> import numpy as np
        >>> compute_dynamic_anomaly_ratio(np.array([[1.0, 2.0, 3.0, 4.0, 100.0]]))  # median 3, MAD 1
        0.2
    """
    if not 0 <= mad_multiplier < np.inf:
        raise InputError(f"mad_multiplier is {mad_multiplier}; expected a finite number that is at least 0")
    values = as_real_tensor("errors", errors).double().cpu().numpy()
    values = values[~np.isnan(values)]
    if np.isinf(values).any():
        raise InputError("errors holds infinite values; expected finite ones, or NaN where there is no error")
    if values.size == 0:
        return float("nan")
    median = np.median(values)
    spread = np.median(np.abs(values - median))
    return float(np.mean(values > median + mad_multiplier * spread))
