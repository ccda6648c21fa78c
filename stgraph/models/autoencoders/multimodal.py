"""Autoencoder of a time series and the spectra of the same star, with one latent vector for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders import get_autoencoder
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.options import nearest_name
from stgraph.nn.curve_encoders import SpectralDecoder, SpectralEncoder
from stgraph.nn.modality_fusion import CrossAttentionFusion, GatedFusion
from stgraph.ops.pooling import pool_sequence

__all__ = ["FUSIONS", "MultimodalAutoencoder"]

#: The ways in which spectra and time series meet.
FUSIONS = ("concat", "cross_attention", "hierarchical")


class MultimodalAutoencoder(Autoencoder):
    r"""Reconstruct a masked time series and the spectra of the same star from one latent vector.

    A branch for the time series, any other autoencoder, gives features of every step and a latent sequence. Spectra
    are read by short convolutional networks (:class:`~stgraph.nn.curve_encoders.SpectralEncoder`), one for each group
    of ``modalities``, to tokens and, averaged, to an embedding. They meet in one of three ways:

    - ``"concat"``: the embeddings are further input channels of every step of the time series and stand beside the
      pooled latent sequence, as in LC-Gen;
    - ``"cross_attention"``: the positions of the latent sequence are queries over the tokens of all spectra;
    - ``"hierarchical"``: each embedding is added through a learned gate, first at every position of the latent
      sequence, then to the pooled latent vector.

    The latent vector :math:`z` is decoded to every spectrum, also to those that were not given. The series is
    :math:`W\, \mathrm{GELU}(f_t + U z)` with the features :math:`f_t` of the branch at step t.

    A modality that is absent for a star is replaced by a learned token, so is the time series of a row that is all
    padding. Absent rows have no influence on the others, not even through batch normalisation. In training each group
    is dropped from each star with probability ``modality_dropout``; the draw is from PyTorch's global generator.

    Spectra computed from all points of a series tell of its hidden points. Where that must not be, compute them from
    the visible points.

    Args:
        branch: Name of the autoencoder of the time series, see :data:`stgraph.models.autoencoders.AUTOENCODERS`.
        branch_options: Further arguments of that autoencoder, other than its numbers of channels.
        modalities: Names of the spectra; those in a tuple of names are read and decoded together and count as absent
            unless all are present.
        bins: Number of bins F of each spectrum.
        fusion: ``"concat"``, ``"cross_attention"`` or ``"hierarchical"``.
        latent_dim: Width d of the latent vector.
        embedding_dim: Width of tokens and embeddings of spectra.
        spectral_widths: Numbers of channels of the convolutions.
        step_features: Number of features of each step that the branch gives.
        num_heads: Number of attention heads; for ``"cross_attention"`` alone.
        modality_dropout: Probability of dropping a group of spectra in training.
        in_channels: Number of input channels of the time series.
        out_channels: Number of output channels of the time series.

    Shapes:
        - **x:** :math:`(B, L, C_{in})`, **time:** :math:`(B, L)` in days, **key_padding_mask:** :math:`(B, L)`, True
          at padding, **spectra:** :math:`(B, F)` for each name, **present:** :math:`(B, M)`, True where the star has
          the spectrum, in the order of the M names of :attr:`modalities`
        - **output:** ``reconstructed`` :math:`(B, L, C_{out})`, ``encoded`` :math:`(B, L', d')` or :math:`(B, d')` as
          the branch gives it, with the spectra in it, ``latent`` :math:`(B, d)`, ``spectra`` with :math:`(B, F)` for
          each name

    Raises:
        InputError: If an argument cannot be used.

    Examples:
        >>> import torch
        >>> model = MultimodalAutoencoder(
        ...     "mlp", {"input_length": 16, "encoder_hidden_dims": [8]}, modalities=[("psd", "fstat"), "acf"], bins=128
        ... )
        >>> model.modalities
        ('psd', 'fstat', 'acf')
        >>> output = model(torch.randn(4, 16, 2), spectra={"acf": torch.randn(4, 128)})
        >>> output["reconstructed"].shape, output["latent"].shape
        (torch.Size([4, 16, 1]), torch.Size([4, 64]))
        >>> {name: tuple(values.shape) for name, values in output["spectra"].items()}
        {'psd': (4, 128), 'fstat': (4, 128), 'acf': (4, 128)}
    """

    def __init__(
        self,
        branch: str = "transformer",
        branch_options: Mapping[str, Any] | None = None,
        *,
        modalities: Sequence[str | Sequence[str]] = (("psd", "fstat"), "acf"),
        bins: int = 1024,
        fusion: str = "concat",
        latent_dim: int = 64,
        embedding_dim: int = 32,
        spectral_widths: Sequence[int] = (16, 32, 64),
        step_features: int = 32,
        num_heads: int = 4,
        modality_dropout: float = 0.1,
        in_channels: int = 2,
        out_channels: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, latent_dim)
        self.groups = _check_modalities(modalities)
        self.modalities = tuple(name for group in self.groups for name in group)
        if fusion not in FUSIONS:
            raise InputError(f"fusion is {fusion!r}; expected one of {list(FUSIONS)}")
        if not 0 <= modality_dropout < 1:
            raise InputError(f"modality_dropout is {modality_dropout}; expected a number from 0 to below 1")
        if step_features < 1:
            raise InputError(f"step_features is {step_features}; expected at least 1")
        self.bins, self.fusion, self.modality_dropout = bins, fusion, modality_dropout
        widths = tuple(spectral_widths)
        self.encoders = nn.ModuleList(
            SpectralEncoder(len(group), embedding_dim, bins=bins, widths=widths) for group in self.groups
        )
        self.decoders = nn.ModuleList(
            SpectralDecoder(latent_dim, len(group), bins=bins, widths=widths) for group in self.groups
        )
        appended = len(self.groups) * embedding_dim if fusion == "concat" else 0
        self.branch = _build(branch, branch_options, in_channels + appended, step_features)
        width = self.branch.latent_channels
        self.missing_spectrum = nn.Parameter(torch.empty(len(self.groups), embedding_dim))
        self.missing_series = nn.Parameter(torch.empty(width))
        if fusion == "cross_attention":
            self.position = nn.Parameter(torch.empty(len(self.groups), self._num_tokens, embedding_dim))
            self.attention = CrossAttentionFusion(width, embedding_dim, num_heads)
        elif fusion == "hierarchical":
            self.sequence_gate = GatedFusion(width, embedding_dim, len(self.groups))
            self.latent_gate = GatedFusion(latent_dim, embedding_dim, len(self.groups))
        self.lin_latent = nn.Linear(width + appended, latent_dim)
        self.lin_steps = nn.Linear(latent_dim, step_features)
        self.lin_out = nn.Linear(step_features, out_channels)
        self._reset_tokens()

    @property
    def _num_tokens(self) -> int:
        found: int = self.encoders[0].num_tokens  # type: ignore[assignment]
        return found

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        super().reset_parameters()
        self._reset_tokens()

    def _reset_tokens(self) -> None:
        for name, token in self.named_parameters(recurse=False):
            if name in ("missing_spectrum", "missing_series", "position"):
                nn.init.normal_(token, std=0.02)

    def forward(
        self,
        x: Tensor,
        time: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        spectra: Mapping[str, Tensor] | None = None,
        present: Tensor | None = None,
    ) -> dict[str, Any]:
        """Return the reconstructions and the latent features; spectra left out of ``spectra`` are absent."""
        spectra = {} if spectra is None else spectra
        self._check(x, spectra, present)
        tokens = torch.stack([self._tokens(i, x, spectra, present) for i in range(len(self.groups))], dim=1)
        embedding = tokens.mean(dim=2)  # [B, G, e]
        inputs = x
        if self.fusion == "concat":
            every_step = embedding.flatten(1).unsqueeze(1).expand(-1, x.shape[1], -1)
            inputs = torch.cat([x, every_step.to(x.dtype)], dim=-1)
        output = self.branch(inputs, time, key_padding_mask)
        encoded, latent = self._fuse(output["encoded"], key_padding_mask, tokens, embedding)
        steps = output["reconstructed"]
        if steps.dim() == 2:  # a single feature
            steps = steps.unsqueeze(-1)
        steps = nn.functional.gelu(steps + self.lin_steps(latent).unsqueeze(1))
        decoded: dict[str, Tensor] = {}
        for group, decoder in zip(self.groups, self.decoders, strict=True):
            decoded |= zip(group, decoder(latent).unbind(dim=1), strict=True)
        return {"reconstructed": self.lin_out(steps), "encoded": encoded, "latent": latent, "spectra": decoded}

    def latent_mask(self, key_padding_mask: Tensor | None, encoded: Tensor) -> Tensor | None:
        """Return where the positions of a latent sequence are padding, as the branch defines it."""
        return self.branch.latent_mask(key_padding_mask, encoded)

    def extra_repr(self) -> str:
        """Show what is fused, and how."""
        return f"modalities={self.groups}, fusion={self.fusion!r}, latent_dim={self.latent_channels}"

    def _tokens(self, number: int, x: Tensor, spectra: Mapping[str, Tensor], present: Tensor | None) -> Tensor:
        """Tokens ``[B, S, e]`` of one group of spectra; the learned one where it is absent."""
        group, encoder = self.groups[number], self.encoders[number]
        missing = self.missing_spectrum[number].expand(x.shape[0], self._num_tokens, -1)
        known = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        if present is not None:
            known = present[:, [self.modalities.index(name) for name in group]].all(dim=1)
        if self.training and self.modality_dropout > 0:
            known = known & (torch.rand(x.shape[0], device=x.device) >= self.modality_dropout)
        rows = known.nonzero().squeeze(1)
        if len(rows) == 0 or any(name not in spectra for name in group):
            # Every parameter takes part in every step, as distributed training requires.
            return missing + 0.0 * torch.stack([p.sum() for p in encoder.parameters()]).sum()
        values = torch.stack([spectra[name][rows].to(x.dtype) for name in group], dim=1)
        return missing.index_copy(0, rows, encoder(values).to(missing.dtype))

    def _fuse(
        self, encoded: Tensor, key_padding_mask: Tensor | None, tokens: Tensor, embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The latent sequence or vector with the spectra in it, and the shared latent vector ``[B, d]``."""
        padding = self.latent_mask(key_padding_mask, encoded)
        sequence = encoded if encoded.dim() == 3 else encoded.unsqueeze(1)
        if key_padding_mask is not None:
            given = ~key_padding_mask.all(dim=1, keepdim=True)
            sequence = torch.where(given.unsqueeze(-1), sequence, self.missing_series.to(sequence.dtype))
            padding = None if padding is None else padding & given
        if self.fusion == "cross_attention":
            sequence = self.attention(sequence, (tokens + self.position).flatten(1, 2))
        elif self.fusion == "hierarchical":
            sequence = self.sequence_gate(sequence, embedding)
        pooled = pool_sequence(sequence, key_padding_mask=padding)
        if self.fusion == "concat":
            pooled = torch.cat([pooled, embedding.flatten(1).to(pooled.dtype)], dim=-1)
        latent: Tensor = self.lin_latent(pooled)
        if self.fusion == "hierarchical":
            latent = self.latent_gate(latent, embedding)
        return (sequence if encoded.dim() == 3 else sequence.squeeze(1)), latent

    def _check(self, x: Tensor, spectra: Mapping[str, Tensor], present: Tensor | None) -> None:
        if x.dim() != 3 or x.shape[-1] != self.in_channels:
            raise InputError(f"x has shape {tuple(x.shape)}; expected (B, L, {self.in_channels})")
        for name, values in spectra.items():
            if name not in self.modalities:
                raise InputError(f"spectra has an unknown name {name!r}{nearest_name(name, self.modalities)}")
            if values.shape != (x.shape[0], self.bins):
                raise InputError(f"spectrum {name!r} has shape {tuple(values.shape)}; expected {(len(x), self.bins)}")
        if present is not None and present.dtype != torch.bool:
            raise InputTypeError(f"present is of {present.dtype}; expected torch.bool")
        if present is not None and present.shape != (x.shape[0], len(self.modalities)):
            raise InputError(
                f"present has shape {tuple(present.shape)}; expected {(len(x), len(self.modalities))}, one column for "
                f"each of {list(self.modalities)}"
            )


def _check_modalities(modalities: Sequence[str | Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    if isinstance(modalities, str):
        raise InputTypeError(f"modalities is {modalities!r}; expected a sequence of names or of groups of names")
    groups = tuple((group,) if isinstance(group, str) else tuple(group) for group in modalities)
    names = [name for group in groups for name in group]
    if not groups or not all(groups) or len(set(names)) != len(names):
        raise InputError(f"modalities is {list(modalities)}; expected different names, at least one in each group")
    return groups


def _build(name: str, options: Mapping[str, Any] | None, in_channels: int, out_channels: int) -> Autoencoder:
    options = dict(options or {})
    for key in ("in_channels", "out_channels"):
        if key in options:
            raise InputError(f"branch_options has {key!r}, which follows from the other arguments")
    return get_autoencoder(name)(in_channels=in_channels, out_channels=out_channels, **options)
