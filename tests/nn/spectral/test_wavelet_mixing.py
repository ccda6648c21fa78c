import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stgraph.errors import InputError
from stgraph.nn.spectral.base import MixingLayer
from stgraph.nn.spectral.wavelet import WaveletMixing
from stgraph.nn.spectral.wavelet_levels import Alignment

MODES = ("pointwise", "channel", "level")
LENGTHS = (1, 2, 7, 31, 64, 100, 129)


def make(mode="pointwise", channels=5, **options):
    torch.manual_seed(0)
    layer = WaveletMixing(channels, mixing_mode=mode, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def tokens(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("mode", MODES[:2])
def test_starts_as_twice_the_input(mode, n):
    x = tokens(2, n, 3, dtype=torch.float32)
    torch.testing.assert_close(WaveletMixing(3, mixing_mode=mode)(x), 2 * x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(WaveletMixing(3, mixing_mode=mode, residual=False)(x), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_shapes(mode):
    layer = make(mode)
    for n in LENGTHS:
        x = tokens(2, n, 5, dtype=torch.float32)
        out = layer(x)
        assert out.shape == x.shape
        assert out.dtype == x.dtype
        torch.testing.assert_close(layer(x[0]), out[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer(x.expand(3, 1, 2, n, 5))[1, 0], out, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer(x.mT.contiguous().mT), out, atol=1e-5, rtol=1e-4)
    assert layer(x[:0]).shape == (0, 129, 5)


def test_channels_are_independent_when_pointwise():
    layer, x = make(), tokens(2, 40, 5, dtype=torch.float32)
    for channel in range(5):
        single = WaveletMixing(1)
        weights = {name: w[..., channel : channel + 1].clone() for name, w in layer.state_dict().items()}
        single.load_state_dict(weights)
        out = single(x[..., channel : channel + 1])
        torch.testing.assert_close(out, layer(x)[..., channel : channel + 1], atol=1e-5, rtol=1e-5)


def test_channel_mixing_is_a_product_with_the_matrix():
    layer, x = make("channel").double(), tokens(2, 70, 5)
    approximation, details = layer.dwt.decompose(x, dim=1)
    weights = layer.mixing_weights
    mixed = [detail @ weights[f"detail_{level}"][0] for level, detail in enumerate(details)]
    expected = x + layer.dwt.reconstruct((approximation @ weights["approx"][0], mixed), dim=1, output_len=70)
    torch.testing.assert_close(layer(x), expected)
    layer(x).square().sum().backward()
    off_diagonal = ~torch.eye(5, dtype=torch.bool)
    assert all(weight.grad[0][off_diagonal].abs().min() > 0 for weight in weights.values())


def test_weights_belong_to_the_level_of_their_name():
    layer, x = WaveletMixing(2, "haar", levels=11, residual=False).double(), tokens(1, 2048, 2)
    with torch.no_grad():
        for name, weight in layer.mixing_weights.items():
            weight.fill_(float(name == "detail_10"))
    _, details = layer.dwt.decompose(x, dim=1)
    only = [torch.zeros_like(detail) for detail in details[:-1]] + [details[-1]]
    expected = layer.dwt.reconstruct((torch.zeros_like(details[-1]), only), dim=1)
    torch.testing.assert_close(layer(x), expected)


def test_level_mixing_is_attention_across_levels():
    layer = make("level", channels=4, wavelet="db2", levels=2).double().eval()
    x = tokens(3, 45, 4)
    approximation, details = layer.dwt.decompose(x, dim=1)
    bands = [approximation, *details]
    longest = max(band.shape[1] for band in bands)
    index = [torch.arange(longest) * band.shape[1] // longest for band in bands]
    aligned = torch.stack([band[:, i] for band, i in zip(bands, index, strict=True)], dim=2)
    flat = aligned.flatten(0, 1)
    out = layer.level_mixer(flat, flat, flat)[0].view(aligned.shape)
    mixed = []
    for j, band in enumerate(bands):
        means = [out[:, index[j] == i, j].mean(dim=1) for i in range(band.shape[1])]
        mixed.append(torch.stack(means, dim=1))
    expected = x + layer.dwt.reconstruct((mixed[0], mixed[1:]), dim=1, output_len=45)
    torch.testing.assert_close(layer(x), expected)


def test_level_mixing_crosses_levels():
    layer, x = make("level", levels=1).double(), tokens(1, 50, 5)
    bands = layer.dwt.decompose(x, levels=1, dim=1)
    details = [detail.requires_grad_() for detail in bands[1]]
    mixed, _ = layer.mix_coefficients(bands[0], details)
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(mixed.sum(), details))


def test_alignment_averages_what_it_spread():
    alignment = Alignment([(3, 2), (7, 5), (7, 4)], torch.device("cpu"))
    x = tokens(2, 6 + 35 + 28, 3)
    assert alignment.spread(x).shape == (2, 35, 3, 3)
    torch.testing.assert_close(alignment.average(alignment.spread(x)), x)


@pytest.mark.parametrize("mode", MODES)
def test_gradients(mode):
    layer = make(mode, channels=2, levels=2).double().eval()
    for n in (5, 67):
        x = tokens(1, n, 2).requires_grad_()
        parameters = tuple(layer.parameters())

        def run(x, *values, n=n):
            names = [name for name, _ in layer.named_parameters()]
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)
        assert torch.autograd.gradgradcheck(run, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("mode", MODES)
def test_mask_and_batch(mode):
    layer, x = make(mode).double(), tokens(2, 30, 5)
    keep = torch.arange(30) < torch.tensor([[30], [19]])
    torch.testing.assert_close(layer(x, torch.ones(2, 30)), layer(x))
    changed = torch.where(keep.unsqueeze(-1), x, torch.nan)
    out = layer(changed, keep)
    torch.testing.assert_close(out, layer(x, keep.float()))
    assert not out[1, 19:].any()

    counts = [4, 17, 1, 17, 9]
    batch = torch.arange(5).repeat_interleave(torch.tensor(counts))
    nodes = tokens(3, sum(counts), 5)
    expected = torch.cat([layer(part) for part in nodes.split(counts, dim=1)], dim=1)
    torch.testing.assert_close(layer(nodes, batch=batch), expected)


@pytest.mark.parametrize("mode", MODES)
def test_dtypes(mode):
    layer, x = make(mode), tokens(2, 33, 5)
    out = layer(x)
    assert out.dtype == torch.float64
    assert all(parameter.dtype == torch.float32 for parameter in layer.parameters())
    torch.testing.assert_close(out, copy.deepcopy(layer).double()(x))
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), out, atol=0.1, rtol=0.1)
    assert copy.deepcopy(layer).bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(x.float()), layer(x).float(), atol=1e-4, rtol=1e-4)


def test_dropout():
    layer, x = WaveletMixing(4, dropout=0.5), tokens(2, 64, 4, dtype=torch.float32)
    assert isinstance(WaveletMixing(4).dropout, nn.Dropout)
    mixed = layer(x) - x
    kept = mixed.abs() > 1e-4
    assert 0.3 < kept.double().mean() < 0.7
    torch.testing.assert_close(mixed[kept], 2 * x[kept], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.eval()(x), 2 * x, atol=1e-5, rtol=1e-5)
    level = make("level", dropout=0.5)
    seen = [level._across_levels([x[..., :1].expand(2, 64, 5)] * 2)[0] for _ in range(2)]
    assert not torch.equal(*seen)


@pytest.mark.parametrize("mode", MODES)
def test_state_and_reset(mode):
    layer, x = make(mode), tokens(2, 20, 5, dtype=torch.float32)
    other = WaveletMixing(5, mixing_mode=mode)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), layer(x), atol=0, rtol=0)
    assert not any(name.startswith("dwt") for name in layer.state_dict())
    torch.manual_seed(3)
    fresh = WaveletMixing(5, mixing_mode=mode)
    torch.manual_seed(3)
    layer.reset_parameters()
    if mode != "level":
        torch.testing.assert_close(layer(x), fresh(x), atol=0, rtol=0)
    assert (layer(x) - other(x)).abs().max() > 1e-3
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = copy.deepcopy(layer.state_dict())
    layer(x).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_properties_and_config():
    layer = WaveletMixing.from_config({"hidden_dim": 6, "wavelet": "sym3", "levels": 2, "mixing_mode": "channel"})
    assert isinstance(layer, MixingLayer)
    assert layer.get_spectral_properties() == {
        "unitary": False,
        "real_output": True,
        "frequency_domain": True,
        "energy_preserving": False,
        "learnable_parameters": True,
        "multi_resolution": True,
        "levels": 2,
        "wavelet": "sym3",
        "mixing_mode": "channel",
    }
    assert "6, mixing_mode='channel', residual=True" in repr(layer)
    options = SimpleNamespace(hidden_dim=6, wavelet="haar", levels=1, mixing_mode="level", dropout=0.2)
    assert WaveletMixing.from_config(options).dropout.p == 0.2


def test_bad_input():
    with pytest.raises(InputError, match="mixing_mode is 'all'"):
        WaveletMixing(4, mixing_mode="all")
    with pytest.raises(InputError, match="hidden_dim is 0"):
        WaveletMixing(0)
    with pytest.raises(InputError, match="levels is 0"):
        WaveletMixing(4, levels=0)
    with pytest.raises(InputError, match="Unsupported wavelet"):
        WaveletMixing(4, wavelet="morlet")
    with pytest.raises(InputError, match="dropout is 2"):
        WaveletMixing(4, dropout=2.0)
    layer = WaveletMixing(4)
    with pytest.raises(InputError, match=r"3 channels.*4"):
        layer(torch.randn(2, 5, 3))
    with pytest.raises(InputError, match="at least one token"):
        layer(torch.randn(2, 0, 4))
    with pytest.raises(InputError, match="both mask and batch"):
        layer(torch.randn(5, 4), mask=torch.ones(5), batch=torch.zeros(5, dtype=torch.long))
