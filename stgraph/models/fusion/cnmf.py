"""Coupled non-negative matrix factorisation."""

from __future__ import annotations

from torch import Tensor

from stgraph.errors import InputError
from stgraph.models.fusion.base import ImageFusion
from stgraph.models.fusion.prior import enlarge
from stgraph.ops.fusion.blur import Boundary, blur
from stgraph.ops.fusion.downsample import area_downsample
from stgraph.ops.fusion.endmembers import extract_endmembers

__all__ = ["CNMF"]

# Nothing beside values of an image, and keeps divisions finite.
_SMALLEST = 1e-9


class CNMF(ImageFusion):
    r"""Coupled non-negative matrix factorisation (Yokoya, Yairi and Iwasaki, IEEE TGRS 50(2), 2012).

    Both images are mixtures of the same materials, :math:`Y_h \approx W H_h` and :math:`Y_m \approx W_m H` with the
    spectra :math:`W \ge 0` and the abundances :math:`H \ge 0`, coupled by the response, :math:`W_m = R W`, and by
    the blur, :math:`H_h = \mathrm{downsample}(\mathrm{blur}(H))`. The images are factorised in turn by the
    multiplicative updates of Lee and Seung, such as
    :math:`W \leftarrow W \odot Y_h H_h^\top \oslash (W H_h H_h^\top)`, each started from what the other has found;
    sums of abundances are drawn to 1 by a further row of equal numbers in the data and the spectra. W starts from
    vertex component analysis and H from the enlarged abundances of the low-resolution image. The result is
    :math:`W H`. Negative values of the images count as 0.

    Args:
        count: Number of materials K, at most the number of bands and of low-resolution pixels. More than there are
            leaves room for spectra that vary within a material.
        iterations: Number of updates each time that an image is factorised.
        rounds: How many times the spectra and abundances are handed from one image to the other.
        sum_weight: Value of the further row, relative to the root mean square of the low-resolution image. The
            abundances of a pixel then sum to about 1; 0 leaves them free.
        boundary: What lies beyond the edge in the blur of the abundances, see :func:`~stgraph.ops.fusion.blur`.
        seed: Seed of the vertex component analysis.

    Raises:
        InputError: If a number is below 1 or the weight is negative.

    Examples:
        >>> import torch
        >>> lr_hsi, hr_msi = torch.linspace(0, 1, 54).view(6, 3, 3), torch.linspace(0, 1, 72).view(2, 6, 6)
        >>> CNMF(count=2, iterations=3).fuse(lr_hsi, hr_msi, torch.full((2, 6), 1 / 6), torch.ones(1, 1), 2).shape
        torch.Size([6, 6, 6])
    """

    def __init__(
        self,
        count: int = 30,
        iterations: int = 200,
        rounds: int = 3,
        sum_weight: float = 1.0,
        boundary: Boundary = "reflect",
        seed: int = 42,
    ) -> None:
        for name, value in (("count", count), ("iterations", iterations), ("rounds", rounds)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if not sum_weight >= 0:
            raise InputError(f"sum_weight is {sum_weight}; expected at least 0")
        self.count, self.iterations, self.rounds = count, iterations, rounds
        self.sum_weight, self.boundary, self.seed = sum_weight, boundary, seed

    def _fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int) -> Tensor:
        low, high = lr_hsi.shape[1:], hr_msi.shape[1:]
        hyper, multi = lr_hsi.flatten(1).clamp(min=0), hr_msi.flatten(1).clamp(min=0)
        weight = self.sum_weight * float(hyper.square().mean().sqrt())
        # Updates multiply, so an abundance or a value of a spectrum that starts from 0 would stay there.
        spectra = extract_endmembers(hyper.T, self.count, "vca", self.seed).T.clamp(min=_SMALLEST)
        coarse = hyper.new_full((self.count, hyper.shape[1]), 1 / self.count)
        coarse = _fit_abundances(hyper, spectra, coarse, weight, self.iterations)
        spectra, coarse = _fit_both(hyper, spectra, coarse, weight, self.iterations)
        enlarged = enlarge(coarse.unflatten(1, low), (high[0], high[1]), "bicubic").flatten(1).clamp(min=_SMALLEST)
        fine = self._unmix_bands(multi, srf @ spectra, enlarged, weight)
        for _ in range(self.rounds - 1):
            maps = fine.unflatten(1, high)
            coarse = area_downsample(blur(maps, psf, self.boundary), ratio).flatten(1)
            coarse = coarse.clamp(min=_SMALLEST)
            spectra = _fit_spectra(hyper, spectra, coarse, self.iterations)
            spectra, coarse = _fit_both(hyper, spectra, coarse, weight, self.iterations)
            fine = self._unmix_bands(multi, srf @ spectra, fine, weight)
        return (spectra @ fine).view(-1, *high)

    def _unmix_bands(self, multi: Tensor, spectra: Tensor, fine: Tensor, weight: float) -> Tensor:
        """Abundances of the high-resolution pixels, first with the spectra as they are, then with both free."""
        fine = _fit_abundances(multi, spectra, fine, weight, self.iterations)
        return _fit_both(multi, spectra, fine, weight, self.iterations)[1]


def _fit_abundances(data: Tensor, spectra: Tensor, abundances: Tensor, weight: float, iterations: int) -> Tensor:
    # A further row of the data and of the spectra, both equal to the weight, adds its square to both products.
    toward = spectra.T @ data + weight**2
    gram = spectra.T @ spectra + weight**2
    for _ in range(iterations):
        abundances = abundances * toward / (gram @ abundances).clamp(min=_SMALLEST)
    return abundances


def _fit_spectra(data: Tensor, spectra: Tensor, abundances: Tensor, iterations: int) -> Tensor:
    toward, gram = data @ abundances.T, abundances @ abundances.T
    for _ in range(iterations):
        spectra = spectra * toward / (spectra @ gram).clamp(min=_SMALLEST)
    return spectra


def _fit_both(
    data: Tensor, spectra: Tensor, abundances: Tensor, weight: float, iterations: int
) -> tuple[Tensor, Tensor]:
    for _ in range(iterations):
        abundances = _fit_abundances(data, spectra, abundances, weight, 1)
        spectra = _fit_spectra(data, spectra, abundances, 1)
    return spectra, abundances
