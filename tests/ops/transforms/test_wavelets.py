import warnings

import numpy as np
import pytest
import torch
from torch import nn

from stgraph.errors import InputError
from stgraph.nn.spectral.transforms.wavelet import DWT1D, DWT2D
from stgraph.ops.transforms.wavelets import (
    KNOWN_WAVELETS,
    dwt,
    idwt,
    max_level,
    wavedec,
    wavelet_filters,
    waverec,
)
from stgraph.ops.transforms.wavelets_2d import dwt2, idwt2, wavedec2, waverec2

MODES = ("symmetric", "periodization")
LENGTHS = (1, 2, 7, 31, 64, 65, 100, 129)
ORTHOGONAL = [name for name in KNOWN_WAVELETS if not name.startswith("bior")]


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("name", KNOWN_WAVELETS)
def test_filters_reconstruct_without_aliasing(name):
    dec_lo, dec_hi, rec_lo, rec_hi = (taps.numpy() for taps in wavelet_filters(name))
    taps = len(dec_lo)
    delay = np.zeros(2 * taps - 1)
    delay[taps - 1] = 2
    sign = (-1.0) ** np.arange(taps)
    np.testing.assert_allclose(np.convolve(dec_lo, rec_lo) + np.convolve(dec_hi, rec_hi), delay, atol=1e-9)
    np.testing.assert_allclose(np.convolve(sign * dec_lo, rec_lo) + np.convolve(sign * dec_hi, rec_hi), 0, atol=1e-9)
    assert dec_lo.sum() == pytest.approx(2**0.5, abs=1e-9)


def by_definition(x, taps, mode):
    n, length = len(x), len(taps)
    if mode == "symmetric":
        count, shift = (n + length - 1) // 2, 1
        place = [p % (2 * n) for p in range(-length, 2 * count + 2)]
        values = {p: x[min(q, 2 * n - 1 - q)] for p, q in zip(range(-length, 2 * count + 2), place, strict=True)}
        return np.array([sum(taps[j] * values[2 * k + shift - j] for j in range(length)) for k in range(count)])
    even = np.append(x, x[-1]) if n % 2 else x
    return np.array(
        [
            sum(taps[j] * even[(2 * k + length // 2 - j) % len(even)] for j in range(length))
            for k in range(len(even) // 2)
        ]
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["haar", "db4", "coif5", "bior2.8"])
def test_level_is_the_definition(name, mode):
    dec_lo, dec_hi, _, _ = (taps.numpy() for taps in wavelet_filters(name))
    for n in LENGTHS:
        x = double(n)
        low, high = dwt(x, name, mode=mode)
        np.testing.assert_allclose(low, by_definition(x.numpy(), dec_lo, mode), atol=1e-12)
        np.testing.assert_allclose(high, by_definition(x.numpy(), dec_hi, mode), atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_as_pywavelets(mode):
    pywt = pytest.importorskip("pywt")
    for name in KNOWN_WAVELETS:
        for n in (2, 31, 100, 129):
            x = double(2, n, 3)
            expected = pywt.dwt(x.numpy(), name, mode, axis=1)
            got = dwt(x, name, 1, mode)
            for own, other in zip(got, expected, strict=True):
                np.testing.assert_allclose(own, other, atol=1e-10)
            np.testing.assert_allclose(idwt(*got, name, 1, mode), pywt.idwt(*expected, name, mode, axis=1), atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_two_axes_as_pywavelets(mode):
    pywt = pytest.importorskip("pywt")
    for size in ((1, 5), (9, 70), (66, 31)):
        x = double(2, *size)
        ll, details = dwt2(x, "db3", mode=mode)
        expected, (horizontal, vertical, diagonal) = pywt.dwt2(x.numpy(), "db3", mode)
        for own, other in zip((ll, *details), (expected, horizontal, vertical, diagonal), strict=True):
            np.testing.assert_allclose(own, other, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", KNOWN_WAVELETS)
def test_reconstruction(name, mode):
    for n in (1, 7, 64, 129):
        x = double(2, n)
        back = waverec(wavedec(x, name, 3, mode=mode, check_levels=False), name, mode=mode, output_len=n)
        torch.testing.assert_close(back, x, atol=1e-9, rtol=0)


def test_reconstruction_in_single_precision():
    x = torch.randn(50, 256, generator=torch.Generator().manual_seed(0))
    for name in ("db1", "db4", "db8"):
        error = waverec(wavedec(x, name), name) - x
        assert error.abs().max() < 1e-6
        assert error.square().mean().sqrt() < 1.5e-7
        three = waverec(wavedec(x, name, 3), name, output_len=256) - x
        assert three.abs().max() < 1e-5


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_periodization_preserves_energy(name):
    x = double(3, 128)
    approximation, details = wavedec(x, name, 3, mode="periodization", check_levels=False)
    energy = sum(band.square().sum() for band in (approximation, *details))
    torch.testing.assert_close(energy, x.square().sum(), rtol=1e-9, atol=0)
    assert [band.shape[-1] for band in details] == [64, 32, 16]


def test_any_axis_layout_and_lead():
    x = double(3, 70, 4, 5)
    low, high = dwt(x, "db2", 1)
    for own, other in zip(dwt(x.movedim(1, -1), "db2"), (low, high), strict=True):
        torch.testing.assert_close(own, other.movedim(1, -1))
    torch.testing.assert_close(dwt(x.transpose(0, 2), "db2", -3)[0], low.transpose(0, 2))
    torch.testing.assert_close(dwt(x[0, :, 0, 0], "db2")[1], high[0, :, 0, 0])
    torch.testing.assert_close(dwt(torch.complex(x, 2 * x), "db2", 1)[0], torch.complex(low, 2 * low))
    assert dwt(x[:0], "db2", 1)[0].shape == (0, 36, 4, 5)
    assert dwt2(x[:0], "db2")[0].shape[0] == 0


@pytest.mark.parametrize("n", [9, 71])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["coif5", "bior2.2"])
def test_gradients(name, mode, n):
    x = double(1, n, 2).requires_grad_()

    def forth(x):
        return dwt(x, name, 1, mode)

    def back(low, high):
        return idwt(low, high, name, 1, mode)

    bands = tuple(band.detach().requires_grad_() for band in forth(x))
    assert torch.autograd.gradcheck(forth, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(forth, x, fast_mode=True)
    assert torch.autograd.gradcheck(back, bands, fast_mode=True)
    assert torch.autograd.gradgradcheck(back, bands, fast_mode=True)


def test_two_axes_reconstruct():
    x = double(2, 3, 13, 70)
    coefficients = wavedec2(x, "db4", 2, check_levels=False)
    assert waverec2(coefficients, "db4").shape == (2, 3, 14, 70)
    torch.testing.assert_close(waverec2(coefficients, "db4", output_size=(13, 70)), x, atol=1e-9, rtol=0)
    padded = waverec2(coefficients, "db4", output_size=(13, 72))
    torch.testing.assert_close(padded[..., :70], x, atol=1e-9, rtol=0)
    assert not padded[..., 70:].any()
    ll, details = dwt2(x, "db4", dim=(1, 3))
    back = idwt2(ll, *details, wavelet="db4", dim=(1, 3))
    torch.testing.assert_close(back[:, :3], x, atol=1e-9, rtol=0)


def test_length_of_the_result():
    x = double(65)
    coefficients = wavedec(x, "db2", 2)
    assert len(waverec(coefficients, "db2")) == 66
    padded = waverec(coefficients, "db2", output_len=70)
    torch.testing.assert_close(padded[:65], x, atol=1e-9, rtol=0)
    assert not padded[66:].any()


def test_half_precision_is_computed_in_single():
    x = torch.randn(2, 40).bfloat16()
    low, _ = dwt(x, "db4")
    torch.testing.assert_close(low, dwt(x.float(), "db4")[0].bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(dwt(x.float(), "db4")[0].bfloat16(), low)
    back = waverec(wavedec(x, "db4", 2, check_levels=False), "db4", output_len=40)
    assert back.dtype == torch.bfloat16
    torch.testing.assert_close(back.float(), x.float(), atol=0.05, rtol=0)


def test_warns_of_too_many_levels():
    assert [max_level(n, "db4") for n in (1, 6, 7, 13, 14, 256)] == [0, 0, 0, 0, 1, 5]
    assert max_level(8, "haar") == 3
    with pytest.warns(UserWarning, match="levels is 10"):
        wavedec(torch.randn(16), "db4", 10)
    with pytest.warns(UserWarning, match="levels is 3"):
        DWT2D("haar", levels=3).decompose(torch.randn(4, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(wavedec(torch.randn(16), "db4", 10, check_levels=False)[1]) == 10


def test_bad_input():
    x = torch.randn(4, 8)
    with pytest.raises(InputError, match="Unsupported wavelet"):
        dwt(x, "db99")
    with pytest.raises(InputError, match="Unsupported wavelet"):
        DWT1D("db99")
    with pytest.raises(NotImplementedError, match="mode is 'zero'"):
        DWT1D(mode="zero")
    with pytest.raises(InputError, match="dim is 2"):
        wavedec(x, dim=2)
    with pytest.raises(InputError, match="at least one point"):
        dwt(x[:, :0])
    with pytest.raises(InputError, match="levels is 0"):
        DWT1D(levels=0)
    with pytest.raises(InputError, match="detail has shape"):
        idwt(x, x[:, 1:])
    with pytest.raises(InputError, match="expected at least 4"):
        idwt(x[:, :2], x[:, :2], "db4")
    with pytest.raises(InputError, match="at most 8"):
        waverec((x, [torch.randn(4, 9)]))
    with pytest.raises(InputError, match="at most 4"):
        waverec2((x, [(torch.randn(5, 8),) * 3]))
    for dim in ((0, 0), (0, -2), (0,)):
        with pytest.raises(InputError, match="dim is"):
            dwt2(x, dim=dim)


def test_integers_are_transformed_as_numbers():
    for own, other in zip(dwt(torch.arange(8)), dwt(torch.arange(8.0)), strict=True):
        torch.testing.assert_close(own, other)


def test_modules():
    layer = DWT1D("db4", levels=2)
    assert layer.filter_length == 8
    assert not layer.is_orthogonal
    assert not layer.is_unitary
    assert layer.state_dict() == {}
    assert repr(layer) == "DWT1D('db4', levels=2, mode='symmetric')"
    x = double(3, 65)
    one = layer.decompose(x, levels=1)
    assert len(one[1]) == 1
    torch.testing.assert_close(layer.half().reconstruct(one, output_len=65), x, atol=1e-9, rtol=0)
    layer.load_state_dict({"dec_lo": torch.zeros(8)})
    torch.testing.assert_close(layer.dec_lo.double(), wavelet_filters("db4")[0], atol=1e-3, rtol=0)


class _RoundTrip(nn.Module):
    def __init__(self):
        super().__init__()
        self.dwt = DWT1D("db4", levels=2)

    def forward(self, x):
        return self.dwt.reconstruct(self.dwt.decompose(x, dim=1), dim=1, output_len=x.shape[1])


def test_compile_and_export():
    x = torch.randn(2, 200, 3, requires_grad=True)
    module = _RoundTrip()
    out = torch.compile(module, fullgraph=True, backend="aot_eager")(x)
    out.square().sum().backward()
    torch.testing.assert_close(out, x)
    torch.testing.assert_close(x.grad, 2 * x, atol=1e-4, rtol=1e-4)
    exported = torch.export.export(module, (x.detach(),)).module()
    torch.testing.assert_close(exported(x.detach()), x.detach())
