"""Token mixing by Fourier transforms without parameters."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.spectral.base import UnitaryMixingLayer, drop
from stgraph.nn.spectral.tokens import check_tokens, mix_tokens
from stgraph.nn.spectral.transforms import FFT1D, FFT2D, RFFT, RFFT2D
from stgraph.nn.spectral.transforms.base import checked_norm
from stgraph.ops.transforms.fourier import hartley, real_fft

__all__ = ["FourierMixing", "FourierMixing1D", "RealFourierMixing", "SeparableFourierMixing"]


class _FourierLayer(UnitaryMixingLayer):
    """The common part: what the mixing layers take and how they treat padding and graphs."""

    def __init__(
        self, hidden_dim: int, dropout: float, norm_eps: float, energy_tolerance: float, fft_norm: str | None
    ) -> None:
        super().__init__(hidden_dim, dropout, norm_eps, energy_tolerance)
        self.fft_norm = checked_norm(fft_norm)

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        """Mix the tokens.

        Args:
            x: Tokens ``[..., N, D]``.
            mask: Non-zero where a token is real, ``[..., N]``; others enter and leave as 0.
            batch: Graph of each token, ``[N]``, sorted; each graph is then a sequence of its own length.
        """
        check_tokens(x, self.hidden_dim)
        return drop(self.dropout, mix_tokens(self._mix, x, mask, batch))

    @abstractmethod
    def _mix(self, x: Tensor) -> Tensor:
        """Transform tokens without padding."""


class _SpectrumLayer(_FourierLayer):
    """The common part of the layers that return the spectrum itself, or its real part."""

    _axes: tuple[int, ...]

    def __init__(
        self,
        hidden_dim: int,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        energy_tolerance: float = 1e-4,
        fft_norm: str | None = "ortho",
        keep_complex: bool = False,
    ) -> None:
        super().__init__(hidden_dim, dropout, norm_eps, energy_tolerance, fft_norm)
        self.keep_complex = keep_complex
        if len(self._axes) == 1:
            self.fft1d = FFT1D(norm=fft_norm)
        else:
            self.fft2d = FFT2D(norm=fft_norm)

    def _mix(self, x: Tensor) -> Tensor:
        return self._spectrum(x) if self.keep_complex else real_fft(x, self._axes, self.fft_norm)

    @abstractmethod
    def _spectrum(self, x: Tensor) -> Tensor:
        """The complex spectrum."""

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        unitary = self.keep_complex and self.fft_norm == "ortho"
        return {
            "unitary": unitary,
            "real_output": not self.keep_complex,
            "frequency_domain": True,
            "energy_preserving": unitary,
            "translation_equivariant": False,
            "magnitude_shift_invariant": True,
            "learnable_parameters": False,
        }


class FourierMixing(_SpectrumLayer):
    r"""Real part of the Fourier transform over tokens and channels, the mixing of FNet.

    .. math::
        Y = \mathrm{Re}(F_N X F_D^\top)

    The real part keeps the part of X that is even under reversal of both axes, on average half of the energy of noise.
    The result is a spectrum, so a shift of the tokens changes it; of the complex spectrum only the magnitude is kept by
    shifts. From J. Lee-Thorp et al., "FNet: Mixing tokens with Fourier transforms", NAACL 2022.

    Args:
        hidden_dim: Number of channels D.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        energy_tolerance: Largest relative error that :meth:`verify_energy_preservation` accepts.
        fft_norm: ``"ortho"``, ``"backward"`` or ``"forward"``.
        keep_complex: Return the complex spectrum instead of its real part.

    Shapes:
        - **input, output:** :math:`(..., N, D)`; the output is complex with ``keep_complex``

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> import torch
        >>> FourierMixing(hidden_dim=8)(torch.randn(2, 12, 8)).shape
        torch.Size([2, 12, 8])
    """

    _axes = (-2, -1)

    def _spectrum(self, x: Tensor) -> Tensor:
        return self.fft2d.transform(x)


class FourierMixing1D(_SpectrumLayer):
    r"""Real part of the Fourier transform over the tokens, :math:`Y = \mathrm{Re}(F_N X)`.

    Channels do not mix. From J. Lee-Thorp et al., "FNet: Mixing tokens with Fourier transforms", NAACL 2022.

    Args:
        hidden_dim: Number of channels D.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        energy_tolerance: Largest relative error that :meth:`verify_energy_preservation` accepts.
        fft_norm: ``"ortho"``, ``"backward"`` or ``"forward"``.
        keep_complex: Return the complex spectrum instead of its real part.

    Shapes:
        - **input, output:** :math:`(..., N, D)`; the output is complex with ``keep_complex``

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> import torch
        >>> FourierMixing1D(hidden_dim=8)(torch.randn(2, 12, 8)).shape
        torch.Size([2, 12, 8])
    """

    _axes = (-2,)

    def _spectrum(self, x: Tensor) -> Tensor:
        return self.fft1d.transform(x, dim=-2)

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        return {**super().get_spectral_properties(), "sequence_mixing_only": True, "feature_preserving": True}


class RealFourierMixing(_FourierLayer):
    r"""Hartley transform over tokens and channels: real, orthogonal and its own inverse.

    .. math::
        Y = \mathrm{Re}\,S - \mathrm{Im}\,S, \qquad S = F_N X F_D^\top

    Unlike the real part alone (:class:`FourierMixing`) it keeps all of the input and, with ``fft_norm="ortho"``, its
    energy. From R. N. Bracewell, "Discrete Hartley transform", J. Opt. Soc. Am. 73, 1983.

    Args:
        hidden_dim: Number of channels D.
        use_real_fft: The Hartley transform; ``False`` gives the real part alone, as :class:`FourierMixing`.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        energy_tolerance: Largest relative error that :meth:`verify_energy_preservation` accepts.
        fft_norm: ``"ortho"``, ``"backward"`` or ``"forward"``.

    Shapes:
        - **input, output:** :math:`(..., N, D)`

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.
        InputTypeError: If the input is not of a real floating dtype.

    Examples:
        >>> import torch
        >>> layer, x = RealFourierMixing(hidden_dim=8), torch.randn(2, 12, 8)
        >>> torch.allclose(layer(layer(x)), x, atol=1e-5)
        True
    """

    def __init__(
        self,
        hidden_dim: int,
        use_real_fft: bool = True,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        energy_tolerance: float = 1e-4,
        fft_norm: str | None = "ortho",
    ) -> None:
        super().__init__(hidden_dim, dropout, norm_eps, energy_tolerance, fft_norm)
        self.use_real_fft = use_real_fft
        self.rfft, self.rfft2d = RFFT(norm=fft_norm), RFFT2D(norm=fft_norm)

    def _mix(self, x: Tensor) -> Tensor:
        return (hartley if self.use_real_fft else real_fft)(x, (-2, -1), self.fft_norm)

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        orthogonal = self.use_real_fft and self.fft_norm == "ortho"
        return {
            "unitary": orthogonal,
            "energy_preserving": orthogonal,
            "hermitian_symmetry": self.use_real_fft,
            "memory_efficient": self.use_real_fft,
            "real_output": True,
            "frequency_domain": True,
            "learnable_parameters": False,
        }


class SeparableFourierMixing(_FourierLayer):
    r"""Real part of the Fourier transform over the tokens, the channels or both.

    With both, the real part is taken once at the end, which is :class:`FourierMixing`; ``intermediate_real`` takes it
    after each of the two, :math:`Y = C_N X C_D` with :math:`C = \mathrm{Re}\,F`, and keeps on average a quarter of the
    energy of noise. From J. Lee-Thorp et al., "FNet: Mixing tokens with Fourier transforms", NAACL 2022.

    Args:
        hidden_dim: Number of channels D.
        mix_features: Transform over the channels.
        mix_sequence: Transform over the tokens.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        energy_tolerance: Largest relative error that :meth:`verify_energy_preservation` accepts.
        fft_norm: ``"ortho"``, ``"backward"`` or ``"forward"``.
        intermediate_real: Take the real part after each transform.

    Shapes:
        - **input, output:** :math:`(..., N, D)`

    Raises:
        InputError: If nothing is to be mixed, an argument is out of range or the input has another number of channels.

    Examples:
        >>> import torch
        >>> SeparableFourierMixing(hidden_dim=8, mix_features=False)(torch.randn(2, 12, 8)).shape
        torch.Size([2, 12, 8])
    """

    def __init__(
        self,
        hidden_dim: int,
        mix_features: bool = True,
        mix_sequence: bool = True,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        energy_tolerance: float = 1e-4,
        fft_norm: str | None = "ortho",
        intermediate_real: bool = False,
    ) -> None:
        super().__init__(hidden_dim, dropout, norm_eps, energy_tolerance, fft_norm)
        if not (mix_features or mix_sequence):
            raise InputError("mix_features and mix_sequence are both False; expected at least one of them")
        self.mix_features, self.mix_sequence, self.intermediate_real = mix_features, mix_sequence, intermediate_real
        self.fft1d = FFT1D(norm=fft_norm)

    def _mix(self, x: Tensor) -> Tensor:
        axes = (-2,) * self.mix_sequence + (-1,) * self.mix_features
        if not self.intermediate_real:
            return real_fft(x, axes, self.fft_norm)
        for axis in axes:
            x = real_fft(x, axis, self.fft_norm)
        return x

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        return {
            "unitary": False,
            "real_output": True,
            "frequency_domain": True,
            "energy_preserving": False,
            "separable": True,
            "sequence_mixing": self.mix_sequence,
            "feature_mixing": self.mix_features,
            "learnable_parameters": False,
        }
