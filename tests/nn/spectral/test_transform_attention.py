from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.spectral import DCTAttention, HadamardAttention, LSTAttention, MixedSpectralAttention

SIZES = [1, 2, 7, 8, 31, 64, 100]
LAYERS = [
    *(lambda kind=kind: LSTAttention(12, 3, kind) for kind in ("dct", "dst", "hadamard", "mixed")),
    lambda: LSTAttention(12, 4, "mixed", normalize=False, use_bias=False, learnable_scale=False),
    lambda: DCTAttention(12, 3, dct_type=3),
    lambda: DCTAttention(12, 3, dct_type=4),
    lambda: HadamardAttention(12, 3),
    lambda: MixedSpectralAttention(12, 4),
    lambda: MixedSpectralAttention(12, 3, use_dct=False, normalize=True),
]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def one_head(kind: str, dct_type: int, parts: list[np.ndarray], scale: np.ndarray, normalize: bool) -> np.ndarray:
    """The definition for one head: dense or SciPy transforms along the first axis of ``[N, d]``."""
    size = len(parts[0])
    padded = 1 << (size - 1).bit_length()
    matrix = scipy.linalg.hadamard(padded) / math.sqrt(padded)
    forward = {
        "dct": lambda x: scipy.fft.dct(x, type=dct_type, axis=0, norm="ortho"),
        "dst": lambda x: scipy.fft.dst(x, type=2, axis=0, norm="ortho"),
        "fft": lambda x: np.fft.fft(x, axis=0, norm="ortho"),
        "hadamard": lambda x: matrix @ np.pad(x, ((0, padded - size), (0, 0))),
    }[kind]
    inverse = {
        "dct": lambda x: scipy.fft.idct(x, type=dct_type, axis=0, norm="ortho"),
        "dst": lambda x: scipy.fft.idst(x, type=2, axis=0, norm="ortho"),
        "fft": lambda x: np.fft.ifft(x, axis=0, norm="ortho").real,
        "hadamard": lambda x: (matrix @ x)[:size],
    }[kind]
    q, k, v = (forward(part) for part in parts)
    product = q * np.conj(k) * scale
    if normalize:
        product = product / (np.abs(product).sum(axis=-1, keepdims=True) + 1e-6)
    return inverse(product * v)


def by_heads(layer: LSTAttention | MixedSpectralAttention, x: Tensor) -> Tensor:
    """The layer one sequence and one head after another."""
    if isinstance(layer, MixedSpectralAttention):
        kinds = layer.head_transforms
        scales = [layer.scales[kind][0] for kind in kinds]
    else:
        cycle = ["dct", "dst", "hadamard"] if layer.transform_type == "mixed" else [layer.transform_type]
        kinds = [cycle[i % len(cycle)] for i in range(layer.num_heads)]
        scales = list(layer.scale)
    dct_type = getattr(layer, "dct_type", 2)
    outs = []
    for sequence in x:
        heads = [p(sequence).unflatten(-1, (layer.num_heads, -1)) for p in (layer.q_proj, layer.k_proj, layer.v_proj)]
        own = [
            one_head(
                kind, dct_type, [h[:, i].detach().numpy() for h in heads], scales[i].detach().numpy(), layer.normalize
            )
            for i, kind in enumerate(kinds)
        ]
        outs.append(layer.out_proj(torch.as_tensor(np.concatenate(own, axis=-1))))
    return torch.stack(outs)


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("tokens", SIZES)
def test_equals_its_definition(make, tokens: int) -> None:
    torch.manual_seed(0)
    layer = make().double()
    with torch.no_grad():
        for scale in [layer.scale] if hasattr(layer, "scale") else layer.scales.values():
            scale.mul_(torch.rand(scale.shape) + 0.5)
    x = random(2, tokens, 12)
    torch.testing.assert_close(layer(x), by_heads(layer, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", LAYERS)
def test_mask_zeroes_the_projections(make) -> None:
    layer = make().double()
    x, mask = random(2, 7, 12), torch.tensor([[1, 1, 0, 1, 1, 0, 1], [0] * 7])
    out = layer(x, mask)
    other = layer(torch.where(mask.unsqueeze(-1) == 0, 1e6, x), mask.double())
    torch.testing.assert_close(out, other)
    torch.testing.assert_close(layer(x, torch.ones(2, 7)), layer(x))
    bias = layer.out_proj.bias
    expected = torch.zeros(7, 12, dtype=torch.float64) if bias is None else bias.detach().expand(7, 12)
    torch.testing.assert_close(out[1].detach(), expected)
    out, weights = layer(x, mask, return_attention=True)
    assert weights is None
    assert out.shape == x.shape


def test_mixed_is_homogeneous_of_degree_3_and_has_right_heads() -> None:
    layer = MixedSpectralAttention(12, 4).double()
    for projection in (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj):
        torch.nn.init.zeros_(projection.bias)
    x = random(2, 10, 12)
    torch.testing.assert_close(layer(10 * x), 1000 * layer(x))
    assert layer.enabled_transforms == ["fft", "dct", "hadamard"]
    assert layer.head_transforms == ["fft", "dct", "hadamard", "fft"]


def test_mixed_trains_copies_and_changes_dtype() -> None:
    torch.manual_seed(0)
    layer = MixedSpectralAttention(12, 6)
    x = torch.randn(2, 8, 12)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = {name: p.clone() for name, p in layer.named_parameters()}
    layer(x).square().mean().backward()
    optimizer.step()
    assert all(not torch.equal(before[name], p) for name, p in layer.named_parameters())
    twin = copy.deepcopy(layer)
    torch.testing.assert_close(twin(x), layer(x))
    torch.testing.assert_close(twin.double()(x.double()), layer(x).double(), rtol=1e-4, atol=1e-4)


def test_a_common_factor_of_the_scale_cancels() -> None:
    ours, plain = HadamardAttention(16, 4), HadamardAttention(16, 4, scale_by_sqrt=False)
    torch.testing.assert_close(ours.scale.detach(), torch.full((4, 1, 4), 0.5))
    state = {name: value for name, value in ours.state_dict().items() if name != "scale"}
    plain.load_state_dict(state, strict=False)
    x = torch.randn(2, 8, 16)
    torch.testing.assert_close(plain(x), ours(x), rtol=1e-4, atol=1e-4)
    ours.scale.data.zero_()
    ours.reset_parameters()
    assert bool((ours.scale == 0.5).all())


def test_parts() -> None:
    layer = LSTAttention(12, 4, "mixed", learnable_scale=False)
    assert [type(t).__name__ for t in layer.transforms] == ["DCT", "DST", "HadamardTransform", "DCT"]
    assert "scale" in layer.state_dict()
    assert "scale" not in dict(layer.named_parameters())
    assert set(DCTAttention(12, 3).state_dict()) == {
        "scale",
        *(f"{name}_proj.{part}" for name in ("q", "k", "v", "out") for part in ("weight", "bias")),
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTAttention(10, 3), "hidden_dim is 10; expected a multiple of num_heads = 3"),
        (lambda: LSTAttention(12, 3, "fft"), "transform_type is 'fft'; expected one of"),
        (lambda: DCTAttention(12, 3, dct_type=7), "dct_type is 7"),
        (lambda: HadamardAttention(0), "hidden_dim is 0"),
        (lambda: LSTAttention(12, 0), "num_heads is 0"),
        (lambda: MixedSpectralAttention(16), "hidden_dim is 16; expected a multiple of num_heads = 9"),
        (lambda: MixedSpectralAttention(18, 9, False, False, False), "all False"),
        (lambda: LSTAttention(12, 3, dropout=2.0), r"dropout is 2\.0"),
        (lambda: LSTAttention(12, 3)(torch.zeros(1, 4, 8)), "so 8 channels; expected .*12"),
        (
            lambda: LSTAttention(12, 3)(torch.zeros(4, 12), torch.ones(4), batch=torch.zeros(4, dtype=torch.long)),
            "both mask and batch",
        ),
    ],
)
def test_bad_input(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
