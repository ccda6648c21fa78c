"""Losses of reconstructed spectra."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError

__all__ = ["LossDenominator", "SpectralLoss", "SpectralLossKind"]

SpectralLossKind = Literal["gradient", "chi2", "gaussian_nll", "huber", "mse"]
LossDenominator = Literal["good", "all"]

# What the published loss in units of the errors adds to them.
_ERROR_OFFSET = 1e-5

# Logarithm of the first variance of the floor: a standard deviation of a tenth.
_FIRST_LOG_FLOOR = math.log(0.01)


class SpectralLoss(nn.Module):
    r"""Mean error of reconstructed spectra :math:`\hat x` over their good points.

    ============== =====================================================================================
    kind           error of point j
    ============== =====================================================================================
    gradient       :math:`(\hat x_j - x_j)^2 (1 + f |x_j - x_{j - 1}|)`, without the first point
    chi2           :math:`((\hat x_j - x_j) / (\sigma_j + 10^{-5}))^2`
    gaussian_nll   :math:`\frac{1}{2} ((\hat x_j - x_j)^2 / v_j + \log 2 \pi v_j)` with
                   :math:`v_j = \sigma_j^2 + e^s`, where s is a parameter of the loss
    huber          :math:`\frac{1}{2} (\hat x_j - x_j)^2`, linear beyond :obj:`huber_delta`
    mse            :math:`(\hat x_j - x_j)^2`
    ============== =====================================================================================

    ``"gradient"`` is the documented loss of the spectral autoencoder, which counts lines and edges for more, and
    ``"chi2"`` with ``l1=1e-5`` its later one; both divided by the number of all points, ``denominator="all"``. In the
    gradient a point next to a bad one has the weight 1. The floor :math:`e^s` of ``"gaussian_nll"`` is learnt
    together with the network, so the optimizer needs the parameters of the loss, too. What stands at bad points has
    no influence, NaN included, and a batch without good points has the loss 0.

    Args:
        kind: See the table.
        weight_factor: Factor f of the gradient.
        l1: Weight of the sum of the absolute values of the network's parameters, which is added to the mean.
        denominator: ``"good"`` divides the sum by the number of good points, ``"all"`` by that of all points. With
            ``"gradient"`` the first point of a spectrum is in neither.
        huber_delta: Where the Huber loss turns from squares to absolute values.

    Shapes:
        - **reconstructed, target, mask** (True = good point)**, error:** :math:`(B, L, C)` or :math:`(B, L)`
        - **output:** a number

    Raises:
        InputError: If an option is unknown or out of range, shapes differ, or what the loss needs is missing.
        InputTypeError: If the mask is not of dtype bool.

    Examples:
        >>> target = torch.tensor([[0.0, 0.5, 0.5, 9.0]])
        >>> mask = torch.tensor([[True, True, True, False]])
        >>> SpectralLoss("gradient")(target + 1, target, mask).item()  # weights 6 and 1 of the second and third point
        3.5
        >>> SpectralLoss("mse", denominator="all")(target + 1, target, mask).item()
        0.75
    """

    def __init__(
        self,
        kind: SpectralLossKind = "gradient",
        weight_factor: float = 10.0,
        l1: float = 0.0,
        denominator: LossDenominator = "good",
        huber_delta: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("kind", kind, get_args(SpectralLossKind)),
            ("denominator", denominator, get_args(LossDenominator)),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        for name, number in (("weight_factor", weight_factor), ("l1", l1)):
            if not 0 <= number < math.inf:
                raise InputError(f"{name} is {number}; expected a finite number, 0 or more")
        if not huber_delta > 0:
            raise InputError(f"huber_delta is {huber_delta}; expected more than 0")
        self.kind, self.weight_factor, self.l1 = kind, weight_factor, l1
        self.denominator, self.huber_delta = denominator, huber_delta
        self.log_floor: nn.Parameter | None = None
        if kind == "gaussian_nll":
            self.log_floor = nn.Parameter(torch.empty(()))
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the floor back to its first value."""
        if self.log_floor is not None:
            nn.init.constant_(self.log_floor, _FIRST_LOG_FLOOR)

    def forward(
        self,
        reconstructed: Tensor,
        target: Tensor,
        mask: Tensor,
        error: Tensor | None = None,
        parameters: nn.Module | Iterable[Tensor] | None = None,
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            reconstructed: The reconstruction.
            target: The spectra.
            mask: True at good points.
            error: Standard errors of the spectra in their units; needed by ``"chi2"``, and added to the floor by
                ``"gaussian_nll"`` where given. The other kinds do not use them.
            parameters: The network or its parameters, for ``l1``.
        """
        _check(reconstructed, target, mask, error)
        dtype = torch.promote_types(reconstructed.dtype, torch.float32)
        # Whatever stands at bad points must not reach the value nor the gradient.
        bad = ~mask
        reconstructed, target = (value.to(dtype).masked_fill(bad, 0.0) for value in (reconstructed, target))
        error = None if error is None else error.to(dtype).masked_fill(bad, 1.0)
        points = self._points(reconstructed, target, mask, error)
        counted = mask[:, 1:] if self.kind == "gradient" else mask
        number = counted.sum().clamp(min=1) if self.denominator == "good" else max(counted.numel(), 1)
        loss = points.masked_fill(~counted, 0.0).sum() / number
        return loss + self.l1 * self._absolute(parameters) if self.l1 else loss

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.kind!r}, denominator={self.denominator!r}, l1={self.l1}"

    def _points(self, reconstructed: Tensor, target: Tensor, mask: Tensor, error: Tensor | None) -> Tensor:
        """Return the error of every point; of all but the first for the gradient."""
        if self.kind == "huber":
            return F.huber_loss(reconstructed, target, reduction="none", delta=self.huber_delta)
        square = (reconstructed - target).square()
        if self.kind == "gradient":
            known = mask[:, 1:] & mask[:, :-1]
            gradient = target.diff(dim=1).abs().masked_fill(~known, 0.0)
            return square[:, 1:] * (1 + self.weight_factor * gradient)
        if self.kind == "chi2":
            if error is None:
                raise InputError("error is None; the loss 'chi2' needs the errors of the spectra")
            return square / (error + _ERROR_OFFSET).square()
        if self.log_floor is not None:
            variance = self.log_floor.to(square.dtype).exp()
            variance = variance if error is None else error.square() + variance
            return 0.5 * (square / variance + (2 * math.pi * variance).log())
        return square

    def _absolute(self, parameters: nn.Module | Iterable[Tensor] | None) -> Tensor:
        """Return the sum of the absolute values of the network's parameters."""
        if parameters is None:
            raise InputError(f"parameters is None; l1={self.l1} needs the network or its parameters")
        tensors = parameters.parameters() if isinstance(parameters, nn.Module) else parameters
        sums = [tensor.abs().sum() for tensor in tensors]
        if not sums:
            raise InputError(f"parameters is empty; l1={self.l1} needs the network or its parameters")
        return torch.stack(sums).sum()


def _check(reconstructed: Tensor, target: Tensor, mask: Tensor, error: Tensor | None) -> None:
    if mask.dtype != torch.bool:
        raise InputTypeError(f"mask has dtype {mask.dtype}; expected torch.bool")
    given = {"target": target, "mask": mask} | ({} if error is None else {"error": error})
    for name, tensor in given.items():
        if tensor.shape != reconstructed.shape:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)}; expected {tuple(reconstructed.shape)}, that of reconstructed"
            )
    if reconstructed.dim() < 2:
        raise InputError(f"reconstructed has shape {tuple(reconstructed.shape)}; expected (B, L, C) or (B, L)")
