"""Discrete wavelet transforms as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from stgraph.ops.transforms.wavelets import check_count, check_mode, wavedec, wavelet_filters, waverec
from stgraph.ops.transforms.wavelets_2d import Details, wavedec2, waverec2

__all__ = ["DWT1D", "DWT2D"]

_FILTERS = ("dec_lo", "dec_hi", "rec_lo", "rec_hi")


class _Wavelet(nn.Module):
    """What both transforms hold: the options, and the filters for inspection."""

    dec_lo: Tensor
    dec_hi: Tensor
    rec_lo: Tensor
    rec_hi: Tensor

    def __init__(self, wavelet: str = "db4", levels: int = 1, mode: str = "symmetric") -> None:
        super().__init__()
        check_count(levels)
        check_mode(mode)
        self.wavelet, self.levels, self.mode = wavelet, levels, mode
        for name, taps in zip(_FILTERS, wavelet_filters(wavelet), strict=True):
            self.register_buffer(name, taps.float(), persistent=False)

    @property
    def filter_length(self) -> int:
        """Number of taps."""
        return self.dec_lo.numel()

    @property
    def is_orthogonal(self) -> bool:
        """False: the extension of the signal adds coefficients."""
        return False

    @property
    def is_unitary(self) -> bool:
        """False, as :attr:`is_orthogonal`."""
        return False

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Accept filters in a state, which follow from the name of the wavelet and are not saved."""
        for name in _FILTERS:
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.wavelet!r}, levels={self.levels}, mode={self.mode!r}"


class DWT1D(_Wavelet):
    r"""Discrete wavelet transform along one axis.

    See :func:`~stgraph.ops.transforms.wavelets.dwt` for the formula and its source. The buffers ``dec_lo``, ``dec_hi``,
    ``rec_lo`` and ``rec_hi`` show the filters; the transform itself computes with filters in the precision of its
    input.

    Args:
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        levels: Number J of levels.
        mode: ``"symmetric"`` or ``"periodization"``.

    Raises:
        InputError: If the wavelet is unknown or there is less than one level.
        NotImplementedError: If the mode is another.

    Shapes:
        - **input:** :math:`(..., N, ...)`
        - **output:** approximation and list of details, finest first, :math:`(..., K_j, ...)`

    Examples:
        >>> import torch
        >>> dwt, x = DWT1D("db2", levels=2), torch.randn(4, 50, 3, dtype=torch.float64)
        >>> coefficients = dwt.decompose(x, dim=1)
        >>> torch.allclose(dwt.reconstruct(coefficients, dim=1, output_len=50), x)
        True
    """

    def decompose(
        self, x: Tensor, levels: int | None = None, dim: int = -1, check_levels: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Decompose signals; see :func:`~stgraph.ops.transforms.wavelets.wavedec`."""
        count = self.levels if levels is None else levels
        out: tuple[Tensor, list[Tensor]] = wavedec(x, self.wavelet, count, dim, self.mode, check_levels)
        return out

    def reconstruct(
        self, coefficients: tuple[Tensor, Sequence[Tensor]], dim: int = -1, output_len: int | None = None
    ) -> Tensor:
        """Reconstruct signals; see :func:`~stgraph.ops.transforms.wavelets.waverec`."""
        return waverec(coefficients, self.wavelet, dim, self.mode, output_len)


class DWT2D(_Wavelet):
    """Separable discrete wavelet transform along two axes; see :class:`DWT1D`.

    Args:
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        levels: Number J of levels.
        mode: ``"symmetric"`` or ``"periodization"``.

    Raises:
        InputError: If the wavelet is unknown or there is less than one level.
        NotImplementedError: If the mode is another.

    Shapes:
        - **input:** :math:`(..., H, W)`
        - **output:** LL and a list of (HL, LH, HH), finest first

    Examples:
        >>> import torch
        >>> dwt, x = DWT2D("haar"), torch.randn(2, 5, 6)
        >>> ll, [(hl, lh, hh)] = dwt.decompose(x)
        >>> ll.shape, dwt.reconstruct((ll, [(hl, lh, hh)]), output_size=(5, 6)).shape
        (torch.Size([2, 3, 3]), torch.Size([2, 5, 6]))
    """

    def decompose(
        self, x: Tensor, levels: int | None = None, dim: tuple[int, int] = (-2, -1), check_levels: bool = True
    ) -> tuple[Tensor, list[Details]]:
        """Decompose images; see :func:`~stgraph.ops.transforms.wavelets_2d.wavedec2`."""
        count = self.levels if levels is None else levels
        out: tuple[Tensor, list[Details]] = wavedec2(x, self.wavelet, count, dim, self.mode, check_levels)
        return out

    def reconstruct(
        self,
        coefficients: tuple[Tensor, Sequence[Details]],
        dim: tuple[int, int] = (-2, -1),
        output_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Reconstruct images; see :func:`~stgraph.ops.transforms.wavelets_2d.waverec2`."""
        return waverec2(coefficients, self.wavelet, dim, self.mode, output_size)
