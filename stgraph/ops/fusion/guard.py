"""Back-projection that is done only where the blur explains how two images of one place differ."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.fusion.backprojection import Upsampling, back_project
from stgraph.ops.fusion.blur import Boundary
from stgraph.ops.fusion.psf_estimation import PSFEstimate
from stgraph.ops.fusion.radiometry import observation_misfit

__all__ = ["GuardedBackProjection", "PSFAgreement", "back_project_guarded", "psf_agreement"]


class PSFAgreement(NamedTuple):
    r"""Whether two images agree through a point-spread function.

    Attributes:
        agrees: Whether the residual is no more than noise explains.
        reason: Why, in words.
        residual: Root mean square of what the two images differ by through the point-spread function.
        noise: What the noise of the hyperspectral image lets expect of it.
    """

    agrees: bool
    reason: str
    residual: float
    noise: float


class GuardedBackProjection(NamedTuple):
    r"""What a guarded back-projection did.

    Attributes:
        image: The corrected image :math:`(C, H, W)`, or the estimate itself.
        applied: Whether it was corrected.
        reason: Why, in words.
        residual: Root mean square of what the two images differ by through the point-spread function.
        noise: What the noise of the hyperspectral image lets expect of it.
    """

    image: Tensor
    applied: bool
    reason: str
    residual: float
    noise: float


def back_project_guarded(
    estimate: Tensor,
    lr_hsi: Tensor,
    hr_msi: Tensor,
    srf: Tensor,
    ratio: int,
    psf: Tensor | PSFEstimate,
    *,
    tolerance: float = 3.0,
    steps: int = 1,
    upsample: Upsampling = "bicubic",
    boundary: Boundary = "reflect",
) -> GuardedBackProjection:
    r"""Back-project only where the point-spread function explains how the two images differ.

    With a wrong one back-projection makes an image worse. The multispectral image seen through the right one is like
    the hyperspectral image seen through the spectral response up to its noise, which
    :func:`~stgraph.ops.fusion.radiometry.band_noise` estimates; where it cannot, of fewer than 3 bands or 5 pixels,
    nothing is corrected. Match the radiometry of real pairs before
    (:func:`~stgraph.ops.fusion.match_radiometry`).

    Args:
        estimate: High-resolution hyperspectral image.
        lr_hsi: Low-resolution hyperspectral image.
        hr_msi: High-resolution multispectral image.
        srf: Spectral response.
        ratio: Multispectral pixels r along the edge of a hyperspectral one.
        psf: Point-spread function, as estimated by :func:`estimate_psf` or known.
        tolerance: The residual may be this many times the noise.
        steps: Number of corrections.
        upsample: See :func:`~stgraph.ops.fusion.back_project`.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Shapes:
        - **estimate:** :math:`(C, H, W)`, **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:**
          :math:`(b, C)`, **psf:** :math:`(m, m)`
        - **output:** see :class:`GuardedBackProjection`

    Raises:
        InputError: If shapes do not fit, a value is not finite or an argument is out of range.
        InputTypeError: If the images are not all float32 or all float64.

    Examples:
        >>> from stgraph.ops.fusion import psf_kernel
        >>> from stgraph.ops.fusion.observation import observe
        >>> image = (torch.arange(144.0).view(1, 12, 12) % 5).double().expand(3, -1, -1)
        >>> response = torch.full((1, 3), 1 / 3)
        >>> blurred = observe(image, psf_kernel("gaussian", 2.0, 3), 2)
        >>> back_project_guarded(image, blurred, image[:1], response, 2, psf_kernel("delta", half_size=3)).applied
        False
    """
    agreement = psf_agreement(lr_hsi, hr_msi, srf, psf, ratio, tolerance=tolerance, boundary=boundary)
    _, reason, residual, noise = agreement
    if not agreement.agrees:
        return GuardedBackProjection(estimate, False, f"not back-projected: {reason}", residual, noise)
    kernel = psf.kernel if isinstance(psf, PSFEstimate) else psf
    image = back_project(estimate, lr_hsi, kernel, ratio, steps=steps, upsample=upsample, boundary=boundary)
    return GuardedBackProjection(image, True, f"back-projected: {reason}", residual, noise)


def psf_agreement(
    lr_hsi: Tensor,
    hr_msi: Tensor,
    srf: Tensor,
    psf: Tensor | PSFEstimate,
    ratio: int,
    *,
    tolerance: float = 3.0,
    boundary: Boundary = "reflect",
) -> PSFAgreement:
    r"""Say whether a point-spread function explains how two images of one place differ, up to their noise.

    Args:
        lr_hsi: Low-resolution hyperspectral image.
        hr_msi: High-resolution multispectral image.
        srf: Spectral response.
        psf: Point-spread function, as estimated by :func:`estimate_psf` or known.
        ratio: Multispectral pixels r along the edge of a hyperspectral one.
        tolerance: The residual may be this many times the noise.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Shapes:
        - **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:** :math:`(b, C)`, **psf:** :math:`(m, m)`

    Raises:
        InputError: If shapes do not fit, a value is not finite or the tolerance is not positive.
        InputTypeError: If the images are not both float32 or both float64.

    Examples:
        >>> lr_hsi, hr_msi = torch.arange(9.0).view(1, 3, 3).expand(3, -1, -1), torch.arange(9.0).view(1, 3, 3)
        >>> psf_agreement(lr_hsi, hr_msi, torch.full((1, 3), 1 / 3), torch.ones(1, 1), 1).agrees
        True
    """
    if not tolerance > 0:
        raise InputError(f"tolerance must be positive, got {tolerance}")
    kernel = psf.kernel if isinstance(psf, PSFEstimate) else psf
    misfits = observation_misfit(lr_hsi, hr_msi, srf, kernel, ratio, boundary)
    residual, noise = _mean(misfits[0]), _mean(misfits[1])
    # Rounding is no misfit where there is no noise.
    rounding = 100 * torch.finfo(hr_msi.dtype).eps * float(hr_msi.double().square().mean().sqrt())
    agrees = residual <= max(tolerance * noise, rounding)
    reason = f"the images differ by {residual:.3g} through the point-spread function, and noise explains {noise:.3g}"
    if not agrees:
        reason += f"; at most {tolerance:g} times that is allowed"
    return PSFAgreement(agrees, reason, residual, noise)


def _mean(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
