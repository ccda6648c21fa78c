"""The spectral layers pass the contract suite; convolutions and operators do in their own files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stgraph.nn import spectral
from stgraph.testing import Check, LayerCase, parametrize_with_checks

TOKENS, CHANNELS = 5, 4
MASKS = (torch.bool, torch.int64, torch.float32)
#: Tracing costs most of the time; where two cases share their code, one is traced.
TRACED = dict.fromkeys(("check_compile", "check_export"), "done for another case of this layer")


def random_weights(layer: nn.Module) -> None:
    """Other values for parameters that start at a constant."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "norm" not in name and not name.startswith("kernel."):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def tokens_case(name: str, make: Any, **claims: Any) -> LayerCase:
    """A layer over tokens, with masks and mini-batches of graphs."""
    defaults: dict[str, Any] = {
        "inputs": lambda generator: (torch.randn(2, TOKENS, CHANNELS, generator=generator),),
        "mask": "mask",
        "mask_dtypes": MASKS,
        "graph_batch": True,
        "any_dtype": True,
        "prepare": random_weights,
    }
    return LayerCase(name=name, make=make, **(defaults | claims))


def image_case(name: str, make: Any, size: tuple[int, ...] = (2, CHANNELS, 5, 6), **claims: Any) -> LayerCase:
    """A layer over images."""
    return LayerCase(
        name=name,
        make=make,
        inputs=lambda generator: (torch.randn(size, generator=generator),),
        token_axis=None,
        any_dtype=True,
        prepare=random_weights,
        **claims,
    )


def complex_as_real(out: Tensor) -> Tensor:
    return torch.view_as_real(out).flatten(-2)


COMPLEX: dict[str, Any] = {
    "output": complex_as_real,
    "shape": lambda inputs: (*inputs[0].shape[:-1], 2 * CHANNELS),
    "dtypes": (torch.float32, torch.float64),
}
MIXING = [
    tokens_case("FourierMixing", lambda: spectral.FourierMixing(CHANNELS)),
    tokens_case("FourierMixing-complex", lambda: spectral.FourierMixing(CHANNELS, keep_complex=True), **COMPLEX),
    tokens_case("FourierMixing1D", lambda: spectral.FourierMixing1D(CHANNELS), skip=TRACED),
    tokens_case("RealFourierMixing", lambda: spectral.RealFourierMixing(CHANNELS), skip=TRACED),
    tokens_case("SeparableFourierMixing", lambda: spectral.SeparableFourierMixing(CHANNELS, intermediate_real=True)),
    tokens_case("GlobalFilterMixing", lambda: spectral.GlobalFilterMixing(CHANNELS, TOKENS)),
    tokens_case("GlobalFilterMixing-other-length", lambda: spectral.GlobalFilterMixing(CHANNELS, 8, "tanh")),
    tokens_case("GlobalFilterMixing2D", lambda: spectral.GlobalFilterMixing2D(CHANNELS, 8)),
    tokens_case("AdaptiveGlobalFilter", lambda: spectral.AdaptiveGlobalFilter(CHANNELS, TOKENS), skip=TRACED),
    tokens_case("AFNOMixing", lambda: spectral.AFNOMixing(CHANNELS, 6, modes_seq=3)),
    tokens_case("AFNOMixing-dense", lambda: spectral.AFNOMixing(CHANNELS, 6, mixing="dense"), skip=TRACED),
    tokens_case("WaveletMixing-pointwise", lambda: spectral.WaveletMixing(CHANNELS, "db2", 2)),
    tokens_case("WaveletMixing-channel", lambda: spectral.WaveletMixing(CHANNELS, "haar", 1, "channel"), skip=TRACED),
    tokens_case("WaveletMixing-level", lambda: spectral.WaveletMixing(CHANNELS, "haar", 1, "level")),
]
ATTENTION = [
    tokens_case("LSTAttention-dct", lambda: spectral.LSTAttention(CHANNELS, 2), skip=TRACED),
    tokens_case("LSTAttention-mixed", lambda: spectral.LSTAttention(CHANNELS, 4, "mixed", normalize=False)),
    tokens_case("DCTAttention", lambda: spectral.DCTAttention(CHANNELS, 2, dct_type=4), skip=TRACED),
    tokens_case("HadamardAttention", lambda: spectral.HadamardAttention(CHANNELS, 2), skip=TRACED),
    tokens_case("MixedSpectralAttention", lambda: spectral.MixedSpectralAttention(CHANNELS, 4)),
]
FEATURES = [
    tokens_case(name, make, permutation_equivariant=True, prepare=None, skip=skip)
    for name, make, skip in (
        ("SpectralAttention", lambda: spectral.SpectralAttention(CHANNELS, 2, num_features=4), {}),
        ("SpectralAttention-gaussian", lambda: spectral.SpectralAttention(CHANNELS, 2, 4, 3, "gaussian"), TRACED),
        ("PerformerAttention", lambda: spectral.PerformerAttention(CHANNELS, 2), TRACED),
        ("PerformerAttention-generalized", lambda: spectral.PerformerAttention(CHANNELS, 2, 4, generalized=True), {}),
        ("KernelAttention-gaussian", lambda: spectral.KernelAttention(CHANNELS, 2), TRACED),
        ("KernelAttention-spectral", lambda: spectral.KernelAttention(CHANNELS, 2, "spectral"), {}),
        ("KernelAttention-polynomial", lambda: spectral.KernelAttention(CHANNELS, 2, "polynomial"), {}),
        ("KernelAttention-polynomial-linear", lambda: spectral.KernelAttention(CHANNELS, 4, "polynomial"), {}),
    )
]
RING = torch.stack([torch.arange(TOKENS), (torch.arange(TOKENS) + 1) % TOKENS])
OPERATORS = [
    tokens_case(
        "GraphFourierMixing",
        lambda: spectral.GraphFourierMixing(CHANNELS, num_modes=3),
        keywords={"edge_index": RING},
        permutation_equivariant=True,
        mask=None,
        # The modes are computed in float32.
        tolerances={torch.float64: 1e-5},
        skip=dict.fromkeys(("check_compile", "check_export"), "with modes only: test_graph_fourier_mixing.py"),
    ),
]
IMAGES = [
    image_case("WaveletMixing2D-subband", lambda: spectral.WaveletMixing2D(CHANNELS, "haar", 1)),
    image_case("WaveletMixing2D-cross", lambda: spectral.WaveletMixing2D(CHANNELS, "haar", 1, "cross"), skip=TRACED),
    image_case("WaveletMixing2D-attention", lambda: spectral.WaveletMixing2D(CHANNELS, "haar", 1, "attention")),
]


@parametrize_with_checks(MIXING + ATTENTION + FEATURES + OPERATORS + IMAGES)
def test_contract(case: LayerCase, check: Check) -> None:
    check(case)
