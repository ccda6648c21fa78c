from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn import SFE
from stgraph.nn.sfe import real_spectrum


def loop_over_bins(layer: SFE, h: Tensor) -> Tensor:
    """The layer as its formula reads, one bin after another."""
    spectrum = torch.fft.rfft(h, dim=-2)
    features = []
    for i in range(layer.num_frequencies):
        if i >= spectrum.shape[-2]:
            features.append(h.new_zeros(*h.shape[:-2], layer.channels))
            continue
        both = torch.cat([spectrum[..., i, :].real, spectrum[..., i, :].imag], dim=-1)
        hidden = F.gelu(F.linear(both, layer.weight1[i], layer.bias1[i]))
        features.append(F.linear(hidden, layer.weight2[i], layer.bias2[i]))
    combined = layer.combine2(F.gelu(layer.combine1(torch.cat(features, dim=-1))))
    return h + layer.gain * combined.unsqueeze(-2)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 7, 12, 100])
@pytest.mark.parametrize("bins", [1, 4, 16])
def test_equals_a_loop_over_bins(steps: int, bins: int) -> None:
    layer = SFE(6, num_frequencies=bins).double()
    h = random(2, 3, steps, 6).requires_grad_()
    parameters = list(layer.parameters())
    results = []
    for function in (layer, lambda h: loop_over_bins(layer, h)):
        out = function(h)
        results.append((out, *torch.autograd.grad(out.sin().sum(), [h, *parameters])))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 65, 66])
@pytest.mark.parametrize("bins", [1, 3, 40])
def test_spectrum_equals_numpy(steps: int, bins: int) -> None:
    x = random(3, steps, 2)
    real, imaginary = real_spectrum(x, bins)
    expected = np.moveaxis(np.fft.rfft(x.numpy(), axis=1), 1, 0)[:bins]
    np.testing.assert_allclose(real.numpy(), expected.real, atol=1e-10)
    count = imaginary.shape[0]
    np.testing.assert_allclose(imaginary.numpy(), expected.imag[1 : 1 + count], atol=1e-10)
    np.testing.assert_allclose(expected.imag[1 + count :], 0, atol=1e-10)


def test_gradcheck_batch_equals_loop_and_equivariance() -> None:
    layer = SFE(3, num_frequencies=4).double()
    h = random(2, 4, 5, 3)
    assert torch.autograd.gradcheck(layer, h.clone().requires_grad_())
    out = layer(h)
    torch.testing.assert_close(torch.stack([layer(one) for one in h]), out)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(layer(h[:, order]), out[:, order])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("steps", [12, 80])
def test_lower_precision_strides_and_empty(dtype: torch.dtype, steps: int) -> None:
    torch.manual_seed(0)
    layer = SFE(8).double()
    h = random(steps, 4, 8).transpose(0, 1)
    expected = layer(h)
    out = layer.to(dtype)(h.to(dtype))
    assert out.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    assert layer(h[:0].to(dtype)).shape == (0, steps, 8)


def test_compile_and_export() -> None:
    layer = SFE(4, num_frequencies=3).double()
    h = random(2, 6, 4)
    expected = layer(h)
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(h), expected)
    torch.testing.assert_close(torch.export.export(layer, (h,)).module()(h), expected)


def test_contract() -> None:
    layer = SFE(4, num_frequencies=3, learn_gain=False)
    assert repr(layer).startswith("SFE(\n  4, num_frequencies=3")
    assert "gain" not in dict(layer.named_parameters())
    before = layer.weight1.clone()
    layer.reset_parameters()
    assert not torch.equal(before, layer.weight1)
    for arguments, message in (((0,), "channels is 0"), ((4, 0), "num_frequencies is 0")):
        with pytest.raises(InputError, match=message):
            SFE(*arguments)
    with pytest.raises(InputError, match=r"h has shape \(2, 0, 4\)"):
        layer(torch.zeros(2, 0, 4))
    with pytest.raises(InputError, match=r"expected \(\.\.\., T, 4\)"):
        layer(torch.zeros(2, 5, 3))
