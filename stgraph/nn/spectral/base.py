"""What the spectral layers have in common."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from stgraph.errors import InputError
from stgraph.nn.spectral.config import options_of

__all__ = [
    "AttentionLayer",
    "FilterMixingLayer",
    "MixingLayer",
    "SpectralComponent",
    "UnitaryMixingLayer",
    "drop",
    "dropout_module",
    "learned_properties",
]


class SpectralComponent(nn.Module, ABC):
    """Base class of the spectral layers; a subclass implements :meth:`forward`."""

    @abstractmethod
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Apply the layer."""

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Make the layer that ``config`` describes, an object with options as attributes or a mapping."""
        return cls(**options_of(config, inspect.signature(cls).parameters))


class AttentionLayer(SpectralComponent):
    """Base class of attention layers.

    Args:
        hidden_dim: Number of channels D, a multiple of ``num_heads``.
        num_heads: Number of heads H.
        dropout: Probability of dropout on the output.

    Raises:
        InputError: If ``hidden_dim`` is not a multiple of ``num_heads`` or a value is out of range.
    """

    def __init__(self, hidden_dim: int, num_heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        for name, value in (("hidden_dim", hidden_dim), ("num_heads", num_heads)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if hidden_dim % num_heads != 0:
            raise InputError(f"hidden_dim is {hidden_dim}; expected a multiple of num_heads = {num_heads}")
        self.hidden_dim, self.num_heads = hidden_dim, num_heads
        self.dropout = dropout_module(dropout)


class MixingLayer(SpectralComponent):
    """Base class of layers that mix tokens by a spectral transform.

    Args:
        hidden_dim: Number of channels D.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.

    Examples:
        >>> class Identity(MixingLayer):
        ...     def forward(self, x):
        ...         return x
        ...
        ...     def get_spectral_properties(self):
        ...         return {"unitary": True}
        >>> Identity(hidden_dim=4).compute_spectral_norm(3 * torch.eye(4))
        tensor(3.)
    """

    def __init__(self, hidden_dim: int, dropout: float = 0.0, norm_eps: float = 1e-5) -> None:
        super().__init__()
        if hidden_dim < 1:
            raise InputError(f"hidden_dim is {hidden_dim}; expected at least 1")
        if norm_eps <= 0:
            raise InputError(f"norm_eps is {norm_eps}; expected a positive number")
        self.hidden_dim, self.norm_eps = hidden_dim, norm_eps
        self.dropout = dropout_module(dropout)

    @abstractmethod
    def get_spectral_properties(self) -> dict[str, Any]:
        """Return true statements about this instance, such as ``unitary``, ``real_output``, ``energy_preserving``."""

    def verify_shape_consistency(self, input_tensor: Tensor, output_tensor: Tensor) -> bool:
        """Tell whether two tensors have the same shape."""
        return input_tensor.shape == output_tensor.shape

    def compute_spectral_norm(self, tensor: Tensor) -> Tensor:
        """Largest singular value of ``tensor`` ``[..., D]`` seen as a matrix with rows of D entries."""
        norm: Tensor = torch.linalg.matrix_norm(tensor.reshape(-1, tensor.shape[-1]), ord=2)
        return norm

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return f"{self.hidden_dim}"


class UnitaryMixingLayer(MixingLayer):
    """Base class of mixing layers that are, or come from, unitary transforms.

    Args:
        hidden_dim: Number of channels D.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        energy_tolerance: Largest relative error that the checks below accept.
    """

    def __init__(
        self, hidden_dim: int, dropout: float = 0.0, norm_eps: float = 1e-5, energy_tolerance: float = 1e-4
    ) -> None:
        super().__init__(hidden_dim, dropout, norm_eps)
        if energy_tolerance <= 0:
            raise InputError(f"energy_tolerance is {energy_tolerance}; expected a positive number")
        self.energy_tolerance = energy_tolerance

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return the properties of a unitary transform."""
        names = ("unitary", "energy_preserving", "invertible", "orthogonal", "spectrum_preserving")
        return dict.fromkeys(names, True)

    def verify_energy_preservation(
        self, input_tensor: Tensor, output_tensor: Tensor, dim: int | Sequence[int] | None = None
    ) -> bool:
        """Tell whether both tensors have the same energy, the sum of squared magnitudes (Parseval's theorem).

        Args:
            input_tensor: What went into the transform.
            output_tensor: What came out of it.
            dim: Axes to sum over; all but the first by default, so that each item of a batch is compared.
        """
        given = range(1, input_tensor.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
        axes = tuple(given)
        before, after = (t.abs().square().sum(dim=axes) for t in (input_tensor, output_tensor))
        error = (before - after).abs() / (torch.maximum(before, after) + self.norm_eps)
        return bool((error < self.energy_tolerance).all())

    def verify_orthogonality(self, transform_matrix: Tensor) -> bool:
        r"""Tell whether :math:`T T^H = I` for a matrix, or for each of a batch of matrices."""
        size = transform_matrix.shape[-2]
        identity = torch.eye(size, dtype=transform_matrix.dtype, device=transform_matrix.device)
        error = torch.linalg.matrix_norm(transform_matrix @ transform_matrix.mH - identity)
        return bool((error < self.energy_tolerance).all())


class FilterMixingLayer(MixingLayer):
    """Base class of layers that multiply the spectrum over the tokens with learned responses.

    Args:
        hidden_dim: Number of channels D.
        sequence_length: Number of tokens N that the filter is made for.
        dropout: Probability of dropout on the output.
        norm_eps: Small number added where energies are divided.
        learnable_filters: Train the filter.
    """

    def __init__(
        self,
        hidden_dim: int,
        sequence_length: int,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        learnable_filters: bool = True,
    ) -> None:
        super().__init__(hidden_dim, dropout, norm_eps)
        if sequence_length < 1:
            raise InputError(f"sequence_length is {sequence_length}; expected at least 1")
        self.sequence_length, self.learnable_filters = sequence_length, learnable_filters

    @abstractmethod
    def get_filter_response(self) -> Tensor:
        """Return the complex frequency response ``[N, D]``, in the order of :func:`torch.fft.fftfreq`."""

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return the properties of a learned filter."""
        return {
            "frequency_domain": True,
            "learnable_filters": self.learnable_filters,
            "selective_filtering": True,
            "complex_valued": True,
            "energy_preserving": False,
        }

    def analyze_frequency_response(self) -> dict[str, Tensor]:
        r"""Describe the response :math:`H` of each channel over the frequencies :math:`f` in cycles per token.

        Returns:
            dict[str, Tensor]: ``magnitude`` and ``phase`` ``[N, D]``; ``group_delay`` ``[N, D]`` in tokens, between
            each bin and the next (circularly); ``total_energy`` ``[1, D]``; its shares ``low_freq_energy``
            (:math:`|f| < 1/8`) and ``high_freq_energy`` (:math:`|f| \ge 3/8`), ``[1, D]``, and ``passband_energy``
            ``[4, D]`` of the bands that 1/8, 1/4 and 3/8 divide, which sum to 1.
        """
        response = self.get_filter_response()
        phase, energy = response.angle(), response.abs().square()
        step = phase.roll(-1, dims=0) - phase
        wrapped = step - 2 * torch.pi * torch.ceil(step / (2 * torch.pi) - 0.5)
        total = energy.sum(dim=0, keepdim=True)
        frequency = torch.fft.fftfreq(len(response), dtype=torch.float64, device=response.device).abs()
        band = (frequency * 8 // 1).clamp(max=3).long()
        shares = torch.zeros_like(energy[:1].expand(4, -1)).index_add(0, band, energy) / (total + self.norm_eps)
        return {
            "magnitude": response.abs(),
            "phase": phase,
            "group_delay": -wrapped * len(response) / (2 * torch.pi),
            "total_energy": total,
            "low_freq_energy": shares[:1],
            "high_freq_energy": shares[3:],
            "passband_energy": shares,
        }

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.hidden_dim}, sequence_length={self.sequence_length}"


def learned_properties(**more: Any) -> dict[str, Any]:
    """What holds for every layer with learned parameters on real coefficients, and ``more``.

    Examples:
        >>> learned_properties(levels=2)["levels"]
        2
    """
    return {
        "unitary": False,
        "real_output": True,
        "frequency_domain": True,
        "energy_preserving": False,
        "learnable_parameters": True,
        **more,
    }


def drop(dropout: nn.Module, y: Tensor) -> Tensor:
    """Apply dropout to a real or complex tensor; both parts of a complex number stay or fall together.

    Examples:
        >>> drop(nn.Dropout(1.0), torch.ones(2, dtype=torch.complex64))
        tensor([0.+0.j, 0.+0.j])
    """
    plain = not y.is_complex() or not dropout.training or isinstance(dropout, nn.Identity)
    out: Tensor = dropout(y) if plain else y * dropout(torch.ones_like(y.real))
    return out


def dropout_module(p: float) -> nn.Module:
    """Dropout, or the identity where nothing is dropped.

    Examples:
        >>> dropout_module(0.0)
        Identity()
    """
    if not 0 <= p <= 1:
        raise InputError(f"dropout is {p}; expected 0 to 1")
    return nn.Dropout(p) if p > 0 else nn.Identity()
