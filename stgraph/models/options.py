"""The hyper-parameters of :class:`~stgraph.models.SpecTraNet` and of its loss, in one place.

This file imports nothing heavy, so that the command line can print its help without loading torch.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, get_args

from stgraph.errors import InputError, InputTypeError

__all__ = [
    "PRESETS",
    "LossOptions",
    "SpecTraNetOptions",
    "TemporalLayer",
    "nearest_name",
    "options_from_keywords",
]

T = TypeVar("T")

#: What can be on the time axis of SpecTra-Net: spectral feature extraction, or a sequence layer of
#: :mod:`stgraph.nn.spectral`.
TemporalLayer = Literal[
    "sfe",
    "fourier",
    "fourier_1d",
    "real_fourier",
    "separable_fourier",
    "global_filter",
    "global_filter_2d",
    "adaptive_global_filter",
    "afno",
    "wavelet",
    "spectral_attention",
    "performer",
    "kernel_attention",
    "lst_attention",
    "dct_attention",
    "hadamard_attention",
    "mixed_spectral_attention",
    "spectral_conv",
    "fno",
    "fno_block",
]


@dataclasses.dataclass
class SpecTraNetOptions:
    """Hyper-parameters of SpecTra-Net; ``None`` takes the value of the preset.

    Args:
        preset: ``"default"``, or ``"reference"`` for the formulas of the original.
        d_model: Width of the hidden features.
        dropout: Dropout probability.
        scaler: ``"min_max"``, ``"standard"``, ``"robust"``, ``"log1p"`` or ``"none"``.
        scaler_per: ``"channel"`` or ``"node"``: what shares one scale.
        temporal: Layer on the time axis: "sfe" (spectral feature extraction) or a sequence layer by name.
        use_sfe: Use the layer on the time axis.
        num_frequencies: Number of lowest frequency bins that spectral feature extraction reads.
        use_tgating: Use the gating score in the pooling over time.
        tgating_gain: Gain of the gating score.
        tgating_normalization: ``"softmax"`` (reference) or ``"product"``.
        tgating_per_node: Score each node by its own changes instead of the mean over nodes.
        time_reference: ``"window"`` counts time steps from the start of the window, ``"absolute"`` from the calendar.
        periods: Periods of the time embedding in time steps. Without it the reference uses 48 and 168, the default
            those of day, week and year that the sampling can resolve.
        harmonics: Number of harmonics of each period in the time embedding.
        node_embedding: Width of the learned embedding of each node; 0 switches it off.
        mask_input: Feed the mask of observed values to the network.
        use_got: Use optimal transport to prototypes. Off skips the whole spatial part.
        num_prototypes: Number of prototypes.
        got_eps: Entropic regularisation.
        got_tau: Factor on the negative cost.
        got_transport: ``"balanced"``, ``"relaxed"`` or ``"semi_relaxed"`` (a row softmax): what the mass of the
            prototypes has to be.
        got_rho: Penalty on the mass of the prototypes in relaxed transport, in units of the cost.
        got_learn_marginal: Learn the mass of the prototypes instead of a uniform one.
        got_init: ``"normal"``, or ``"k-means++"`` for first positions of the prototypes among those of the nodes.
        got_embedding_distance: Add the cosine distance of the embeddings to the transport cost.
        use_mgat: Use anisotropic graph attention.
        num_neighbors: Neighbours of each node where the model builds the graph itself.
        both_directions: Attend against the given edges, too.
        mgat_heads: Number of attention heads.
        mgat_radius: Length scale of the spatial prior in units of ``pos``.
        normalize_pos: Centre the coordinates and scale them to [-1, 1] before use.
        level: What the nonlinear part sees of the level of a series: "absolute" values, values "relative" to the last
            step, or "auto", which is relative where the training series drifts (see SpecTraNet.fit).
        window_embedding: Add to the feature of each node a linear embedding of the window's differences from its last
            step.
        blocks_before: Number of residual blocks of each node before the spatial part.
        blocks_after: Number of residual blocks of each node after it.
        spatial_residual: Add what the spatial part returns to what it was given.
        residual_to_last: Predict the change from the last observed input.
        linear_path: Add a linear forecast from all input steps to all output steps.
        quantiles: Levels of quantile outputs, increasing, with 0.5 among them; none gives a point forecast.
    """

    preset: str = "default"
    d_model: int | None = None
    dropout: float | None = None
    scaler: str | None = None
    scaler_per: str | None = None
    temporal: TemporalLayer | None = None
    use_sfe: bool | None = None
    num_frequencies: int | None = None
    use_tgating: bool | None = None
    tgating_gain: float | None = None
    tgating_normalization: str | None = None
    tgating_per_node: bool | None = None
    time_reference: str | None = None
    periods: list[float] | None = None
    harmonics: int | None = None
    node_embedding: int | None = None
    mask_input: bool | None = None
    use_got: bool | None = None
    num_prototypes: int | None = None
    got_eps: float | None = None
    got_tau: float | None = None
    got_transport: str | None = None
    got_rho: float | None = None
    got_learn_marginal: bool | None = None
    got_init: str | None = None
    got_embedding_distance: bool | None = None
    use_mgat: bool | None = None
    num_neighbors: int | None = None
    both_directions: bool | None = None
    mgat_heads: int | None = None
    mgat_radius: float | None = None
    normalize_pos: bool | None = None
    level: str | None = None
    window_embedding: bool | None = None
    blocks_before: int | None = None
    blocks_after: int | None = None
    spatial_residual: bool | None = None
    residual_to_last: bool | None = None
    linear_path: bool | None = None
    quantiles: list[float] | None = None

    def resolve(self) -> SpecTraNetOptions:
        """Return a copy in which every ``None`` has the value of the preset."""
        if self.preset not in PRESETS:
            raise InputError(f"preset is {self.preset!r}; expected one of {sorted(PRESETS)}")
        chosen = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        resolved = SpecTraNetOptions(**{**PRESETS[self.preset], **chosen})
        if resolved.temporal not in get_args(TemporalLayer):
            raise InputError(f"temporal is {resolved.temporal!r}; expected one of {list(get_args(TemporalLayer))}")
        if self.preset == "reference" and resolved.temporal != "sfe":
            raise InputError(f"temporal is {resolved.temporal!r}; the preset 'reference' has 'sfe' alone")
        return resolved

    @classmethod
    def from_keywords(cls, **keywords: Any) -> SpecTraNetOptions:
        """Build options from keywords and name the nearest valid one when a keyword is unknown."""
        return options_from_keywords(cls, keywords)


def options_from_keywords(cls: type[T], keywords: dict[str, Any]) -> T:
    """Build a dataclass from keywords and name the nearest valid one when a keyword is unknown.

    Raises:
        InputTypeError: If a keyword is unknown.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in keywords:
        if key not in names:
            raise InputTypeError(f"unknown option {key!r}{nearest_name(key, names)}")
    return cls(**keywords)


@dataclasses.dataclass
class LossOptions:
    """Weights of the training loss; a weight of 0 switches a part off.

    Args:
        point: ``"huber"``, ``"mae"`` or ``"mse"``, in scaled units.
        huber_delta: Where the Huber loss turns from quadratic to linear, in scaled units.
        frequency_weight: Weight of the spatial-spectrum loss.
        quantile_weight: Weight of the pinball loss.
        quantile_levels: Levels of the pinball loss on a point forecast; quantile outputs bring their own levels.
        regulariser_weight: Weight of the regulariser that the model returns.
        num_modes: Number of graph Fourier modes in the spatial spectrum of a graph that is not a grid.
    """

    point: str = "huber"
    huber_delta: float = 0.8
    frequency_weight: float = 0.1
    quantile_weight: float = 0.3
    quantile_levels: list[float] = dataclasses.field(default_factory=lambda: [0.2, 0.5, 0.8])
    regulariser_weight: float = 1.0
    num_modes: int = 64


PRESETS: dict[str, dict[str, Any]] = {
    "reference": {
        "preset": "reference",
        "d_model": 128,
        "dropout": 0.1,
        "scaler": "min_max",
        "scaler_per": "channel",
        "temporal": "sfe",
        "use_sfe": True,
        "num_frequencies": 16,
        "use_tgating": True,
        "tgating_gain": 0.2,
        "tgating_normalization": "softmax",
        "tgating_per_node": False,
        "time_reference": "window",
        "periods": [48.0, 168.0],
        "harmonics": 1,
        "node_embedding": 0,
        "mask_input": False,
        "use_got": True,
        "num_prototypes": 128,
        "got_eps": 0.08,
        "got_tau": 1.4,
        "got_transport": "semi_relaxed",
        "got_rho": 0.1,
        "got_learn_marginal": False,
        "got_init": "normal",
        "got_embedding_distance": True,
        "use_mgat": True,
        "num_neighbors": 32,
        "both_directions": False,
        "mgat_heads": 1,
        "mgat_radius": 1.5,
        "normalize_pos": False,
        "level": "absolute",
        "window_embedding": False,
        "blocks_before": 0,
        "blocks_after": 0,
        "spatial_residual": False,
        "residual_to_last": True,
        "linear_path": False,
        "quantiles": None,
    },
    "default": {
        "preset": "default",
        "d_model": 64,
        "dropout": 0.1,
        "scaler": "standard",
        "scaler_per": "channel",
        "temporal": "sfe",
        "use_sfe": True,
        "num_frequencies": 16,
        "use_tgating": True,
        "tgating_gain": 0.2,
        "tgating_normalization": "product",
        "tgating_per_node": True,
        "time_reference": "absolute",
        "periods": None,
        "harmonics": 8,
        "node_embedding": 64,
        "mask_input": True,
        "use_got": True,
        "num_prototypes": 32,
        "got_eps": 0.08,
        "got_tau": 1.0,
        "got_transport": "relaxed",
        "got_rho": 0.1,
        "got_learn_marginal": False,
        "got_init": "normal",
        "got_embedding_distance": True,
        "use_mgat": True,
        "num_neighbors": 32,
        "both_directions": True,
        "mgat_heads": 4,
        "mgat_radius": 1.5,
        "normalize_pos": True,
        "level": "auto",
        "window_embedding": True,
        "blocks_before": 2,
        "blocks_after": 1,
        "spatial_residual": True,
        "residual_to_last": True,
        "linear_path": True,
        "quantiles": None,
    },
}


def nearest_name(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name nearest to ``name``, or all names if none is near.

    >>> nearest_name("d_modle", ["d_model", "dropout"])
    "; did you mean 'd_model'?"
    """
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; expected one of {names}"
