"""The endmembers that the latent estimation network mixes."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.fusion.endmembers import check_spectra, extract_endmembers

__all__ = ["make_endmembers"]


def make_endmembers(spectra: Tensor, count: int, method: str = "nmf", seed: int = 42) -> Tensor:
    r"""Make ``count`` endmembers of the spectra, which are clipped to [0, 1] first.

    ``"nmf"`` factorises the pixels :math:`V \approx W E` with :math:`W, E \ge 0` by scikit-learn's
    :class:`sklearn.decomposition.NMF`: Frobenius loss, coordinate descent (Cichocki and Phan, IEICE Transactions 92,
    2009) from the non-negative double singular value decomposition with zeros replaced by the mean (Boutsidis and
    Gallopoulos, Pattern Recognition 41, 2008), at most 5000 iterations, tolerance 1e-4. The other methods are those
    of :func:`~stgraph.ops.fusion.endmembers.extract_endmembers`.

    Args:
        spectra: One spectrum per pixel, on the scale of reflectances.
        count: Number of endmembers K, at most the number of pixels and of bands.
        method: ``"nmf"``, ``"vca"``, ``"nfindr"``, ``"atgp"`` or ``"pca"``.
        seed: Seed of ``"nmf"`` (of its randomised singular value decomposition) and of ``"vca"``.

    Shapes:
        - **spectra:** :math:`(n, C)`
        - **output:** :math:`(K, C)`, with the dtype and device of the spectra

    Raises:
        InputError: If the count does not fit, no method has that name, or a value is not finite.
        InputTypeError: If the spectra are not of a floating dtype.

    Examples:
        >>> pixels = torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.5, 0.0], [1.0, 0.5, 0.5], [0.5, 0.5, 0.25]])
        >>> make_endmembers(pixels, 2).shape
        torch.Size([2, 3])
    """
    if method not in ("nmf", "vca", "nfindr", "atgp", "pca"):
        raise InputError(f"method is {method!r}; expected 'nmf', 'vca', 'nfindr', 'atgp' or 'pca'")
    if method != "nmf":
        return extract_endmembers(spectra, count, method, seed)
    check_spectra(spectra, count)
    from sklearn.decomposition import NMF

    # NumPy has no bfloat16; scikit-learn keeps float32 and float64.
    values = spectra.detach().clamp(0, 1).cpu()
    values = values if values.dtype == torch.float64 else values.float()
    model = NMF(count, init="nndsvda", solver="cd", max_iter=5000, tol=1e-4, random_state=seed)
    model.fit(values.numpy())
    return torch.from_numpy(model.components_).to(spectra)
