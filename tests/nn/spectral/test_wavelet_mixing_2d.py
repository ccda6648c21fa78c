import copy
from types import SimpleNamespace

import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.nn.spectral.wavelet_2d import WaveletMixing2D

MODES = ("subband", "cross", "attention")


def make(mode="subband", channels=3, **options):
    torch.manual_seed(0)
    layer = WaveletMixing2D(channels, mixing_mode=mode, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return layer


def images(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mode", MODES)
def test_shapes(mode):
    layer = make(mode).eval()
    for size in ((1, 1), (1, 5), (7, 2), (9, 16), (70, 33)):
        x = images(2, 3, *size, dtype=torch.float32)
        out = layer(x)
        assert out.shape == x.shape
        assert out.dtype == x.dtype
        torch.testing.assert_close(layer(x[1]), out[1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer(x.expand(4, 2, 3, *size))[2], out, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer(x.mT.contiguous().mT), out, atol=1e-5, rtol=1e-4)
    assert layer(x[:0]).shape == (0, 3, 70, 33)
    assert layer.train()(x).shape == x.shape
    assert layer(x[:0]).shape == (0, 3, 70, 33)


def test_subband_convolves_each_channel_of_the_band_of_its_name():
    layer, x = make(levels=1, wavelet="db2").double().eval(), images(2, 3, 12, 9)
    ll, [(hl, lh, hh)] = layer.dwt.decompose(x)

    def convolved(module, band):
        padded = torch.nn.functional.pad(band, (1, 1, 1, 1))
        patches = padded.unfold(2, 3, 1).unfold(3, 3, 1)
        return torch.einsum("bchwij,cij->bchw", patches, module.weight[:, 0]) + module.bias[:, None, None]

    mixer = layer.detail_mixers[0]
    details = (convolved(mixer["hl"], hl), convolved(mixer["lh"], lh), convolved(mixer["hh"], hh))
    norm = layer.ll_mixer[1]
    mixed = convolved(layer.ll_mixer[0], ll) / (1 + norm.eps) ** 0.5
    mixed = (mixed * norm.weight[:, None, None] + norm.bias[:, None, None]).relu()
    expected = x + layer.dwt.reconstruct((mixed, [details]), output_size=(12, 9))
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(make(levels=1, wavelet="db2", residual=False).double().eval()(x), expected - x)


def test_channels_stay_apart_in_subbands_and_statistics_move_once():
    layer, x = make(), images(2, 3, 16, 16, dtype=torch.float32)
    changed = x.clone()
    changed[:, 0] += 1
    before, after = layer(x), layer(changed)
    torch.testing.assert_close(before[:, 1:], after[:, 1:], atol=1e-5, rtol=1e-4)
    assert layer.ll_mixer[1].num_batches_tracked == 2


def test_one_coefficient_in_training():
    layer = make(wavelet="haar", levels=1)
    x = images(1, 3, 1, 1, dtype=torch.float32)
    state = copy.deepcopy(layer.state_dict())
    torch.testing.assert_close(layer(x), copy.deepcopy(layer).eval()(x))
    assert all(torch.equal(state[name], value) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("mode", MODES[1:])
def test_tokens_are_the_bands_at_one_place(mode):
    layer, x = make(mode, wavelet="db2", levels=2).double().eval(), images(2, 3, 17, 12)
    ll, details = layer.dwt.decompose(x)
    bands = [ll, *(band for level in details for band in level)]
    height, width = (max(band.shape[axis] for band in bands) for axis in (2, 3))
    rows = [torch.arange(height) * band.shape[2] // height for band in bands]
    columns = [torch.arange(width) * band.shape[3] // width for band in bands]
    aligned = [band[:, :, r][..., c] for band, r, c in zip(bands, rows, columns, strict=True)]
    tokens = torch.stack(aligned, dim=1).permute(0, 3, 4, 1, 2).flatten(0, 2)
    out = layer.cross_mixer(tokens, tokens, tokens)[0] if mode == "cross" else layer.subband_attention(tokens)
    out = out.view(2, height, width, 7, 3)
    mixed = []
    for j, band in enumerate(bands):
        flat = torch.zeros_like(band)
        for i in range(band.shape[2]):
            for k in range(band.shape[3]):
                flat[:, :, i, k] = out[:, rows[j] == i][:, :, columns[j] == k][..., j, :].mean(dim=(1, 2))
        mixed.append(flat)
    levels = [tuple(mixed[1:4]), tuple(mixed[4:7])]
    expected = x + layer.dwt.reconstruct((mixed[0], levels), output_size=(17, 12))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("mode", MODES)
def test_nodes_of_a_grid(mode):
    layer, x = make(mode).double().eval(), images(2, 54, 3)
    expected = layer(x.mT.unflatten(-1, (6, 9))).flatten(-2).mT
    torch.testing.assert_close(layer(x, grid=(6, 9)), expected)
    torch.testing.assert_close(layer(x, grid=Data(x=x[0], grid=(6, 9))), expected)
    parts = x.split([20, 16, 18], dim=1)
    grids = [(4, 5), (2, 8), (2, 9)]
    one_by_one = torch.cat([layer(part, grid=grid) for part, grid in zip(parts, grids, strict=True)], dim=1)
    torch.testing.assert_close(layer(x, grid=grids), one_by_one)


@pytest.mark.parametrize("mode", MODES)
def test_gradients(mode):
    layer = make(mode, channels=2, wavelet="db2", levels=2).double().eval()
    x = images(1, 2, 5, 6).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    inputs = (x, *layer.parameters())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)
    assert all(g is not None and g.isfinite().all() for g in torch.autograd.grad(run(*inputs).sum(), inputs))


@pytest.mark.parametrize("mode", MODES)
def test_dtypes(mode):
    layer, x = make(mode).eval(), images(2, 3, 8, 9)
    out = layer(x)
    assert out.dtype == torch.float64
    assert all(parameter.dtype == torch.float32 for parameter in layer.parameters())
    torch.testing.assert_close(out, copy.deepcopy(layer).double()(x))
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), out, atol=0.15, rtol=0.1)
    assert copy.deepcopy(layer).bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(x.float()), layer(x).float(), atol=1e-4, rtol=1e-4)
    layer.train()(x)
    assert all(buffer.isfinite().all() for buffer in layer.buffers())


@pytest.mark.parametrize("mode", MODES)
def test_state_reset_and_dropout(mode):
    layer, x = make(mode, dropout=0.4), images(2, 3, 8, 8, dtype=torch.float32)
    other = WaveletMixing2D(3, mixing_mode=mode)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other.eval()(x), layer.eval()(x), atol=0, rtol=0)
    layer.train()
    assert (layer(x) == x).double().mean() > 0.2
    layer.reset_parameters()
    assert all(not torch.equal(own, old) for own, old in zip(layer.parameters(), other.parameters(), strict=True))
    layer(x).square().sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert all(parameter.isfinite().all() for parameter in layer.parameters())


def test_properties_and_config():
    layer = WaveletMixing2D.from_config(SimpleNamespace(channels=4, wavelet="haar", levels=1, mixing_mode="cross"))
    assert layer.get_spectral_properties()["mixing_mode"] == "cross"
    assert not layer.get_spectral_properties()["energy_preserving"]
    assert layer.get_spectral_properties()["levels"] == 1
    assert "4, mixing_mode='cross'" in repr(layer)
    assert WaveletMixing2D.from_config({"channels": 4}).levels == 2


def test_bad_input():
    with pytest.raises(InputError, match="mixing_mode is 'level'"):
        WaveletMixing2D(4, mixing_mode="level")
    with pytest.raises(InputError, match="channels is 0"):
        WaveletMixing2D(0)
    with pytest.raises(InputError, match="Unsupported wavelet"):
        WaveletMixing2D(4, wavelet="morlet")
    layer = WaveletMixing2D(4)
    for shape in ((4, 5), (2, 3, 5, 5), (5, 5, 4)):
        with pytest.raises(InputError, match="expected images"):
            layer(torch.randn(shape))
    with pytest.raises(InputError, match="at least one pixel"):
        layer(torch.randn(2, 4, 0, 5))
    with pytest.raises(TypeError, match="int64"):
        layer(torch.ones(2, 4, 5, 5, dtype=torch.long))
    with pytest.raises(InputError, match="expected 12 cells"):
        layer(torch.randn(12, 4), grid=(3, 5))
    with pytest.raises(InputError, match="no attribute grid"):
        layer(torch.randn(12, 4), grid=Data())
    with pytest.raises(InputError, match="3 channels"):
        layer(torch.randn(12, 3), grid=(3, 4))
