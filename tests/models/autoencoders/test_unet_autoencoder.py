"""The one-dimensional U-Net: documented sizes, layouts, any length, padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders import get_autoencoder
from stgraph.models.autoencoders.unet import UNetAutoencoder


def small(**options: Any) -> UNetAutoencoder:
    return UNetAutoencoder(**{"encoder_dims": (4, 6, 8), **options}).double().eval()


def series(rows: int = 2, points: int = 24, channels: int = 2) -> Tensor:
    return torch.randn(rows, points, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def padded(x: Tensor, amount: int) -> tuple[Tensor, Tensor]:
    """Append numbers that must not matter."""
    junk = torch.full((len(x), amount, x.shape[-1]), 1e3, dtype=x.dtype)
    junk[:, ::2] = torch.nan
    padding = torch.arange(x.shape[1] + amount) >= x.shape[1]
    return torch.cat([x, junk], dim=1), padding.expand(len(x), -1)


@torch.no_grad()
def test_documented_configuration():
    with torch.device("meta"):
        model = get_autoencoder("unet")()
        assert sum(parameter.numel() for parameter in model.parameters()) == 7_566_113
        out = model(torch.zeros(3, 2, 1024))
    assert out["reconstructed"].shape == (3, 1024)
    assert out["encoded"].shape == (3, 512)
    expected = [(3, 128, 1024), (3, 256, 512), (3, 512, 256), (3, 512, 128)]
    assert [tuple(skip.shape) for skip in out["skip_connections"]] == expected


def test_channels_first_and_last_are_the_same():
    model, x = small(), series()
    expected = model(x)["reconstructed"]
    assert torch.equal(model(x.mT.contiguous())["reconstructed"], expected)
    # With two points of two channels nothing tells the axes apart.
    pair = x[:, :2]
    hook = model.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    seen: list[Tensor] = []
    model(pair)
    hook.remove()
    assert torch.equal(seen[0], pair)


@pytest.mark.parametrize("points", [1, 2, 7, 8, 13, 16])
def test_padding_does_not_matter(points):
    model, x = small(), series(2, points)
    short = model(x)
    assert short["reconstructed"].shape == (2, points)
    for amount in (1, 2, 5, 16):
        long, padding = padded(x, amount)
        out = model(long, key_padding_mask=padding)
        torch.testing.assert_close(out["reconstructed"][:, :points], short["reconstructed"])
        torch.testing.assert_close(out["encoded"], short["encoded"])
        assert not out["reconstructed"][:, points:].any()


def test_a_row_of_padding_alone_gives_zeros_and_finite_gradients():
    model, x = small(), series(3, 16)
    padding = torch.arange(16) >= torch.tensor([[16], [9], [0]])
    out = model(x.masked_fill(padding.unsqueeze(-1), torch.nan), key_padding_mask=padding)
    assert not out["reconstructed"][2].any()
    assert not out["encoded"][2].any()
    torch.testing.assert_close(out["reconstructed"][1, :9], model(x[1:2, :9])["reconstructed"][0])
    (out["reconstructed"].square().sum() + out["encoded"].square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_the_latent_vector_is_the_mean_of_the_coarsest_level():
    model, x = small(), series()
    seen: list[Tensor] = []
    model.bottleneck[-1].register_forward_hook(lambda _, inputs, output: seen.append(output))
    out = model(x)
    assert seen[0].shape == (2, 3, 8)
    torch.testing.assert_close(out["encoded"], seen[0].mean(dim=1))
    assert model.latent_mask(torch.zeros(2, 24, dtype=torch.bool), out["encoded"]) is None


def test_the_level_below_takes_the_larger_of_two_points():
    model, x = small(encoder_dims=(4,)), series(1, 5)
    seen: list[Tensor] = []
    model.bottleneck[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    skip = model(x)["skip_connections"][0][0]
    expected = torch.stack([skip[:, :2].amax(-1), skip[:, 2:4].amax(-1), skip[:, 4]])
    assert torch.equal(seen[0][0], expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("relu", nn.ReLU), ("gelu", nn.GELU), ("silu", nn.SiLU), ("tanh", nn.Tanh), ("leakyrelu", nn.LeakyReLU)],
)
def test_activations(name, kind):
    model = small(activation=name)
    # The stem, two convolutions at each of 3 + 1 + 3 levels, and the head.
    assert sum(isinstance(module, kind) for module in model.modules()) == 16
    assert model(series())["reconstructed"].isfinite().all()


def test_several_channels_times_and_new_parameters():
    model, x = small(in_channels=6, out_channels=3), series(channels=6)
    before = model(x)["reconstructed"]
    assert before.shape == (2, 24, 3)
    assert torch.equal(model(x, time=torch.rand(2, 24))["reconstructed"], before)
    model.reset_parameters()
    assert not torch.allclose(model(x)["reconstructed"], before)
    assert "encoder_dims=[4, 6, 8]" in repr(model)


def test_bfloat16_autocast_is_close_to_float32():
    torch.manual_seed(0)
    model, x = small(encoder_dims=(4,)).float(), series(2, 5).float()
    padding = torch.arange(5) >= torch.tensor([[5], [3]])
    expected = model(x, key_padding_mask=padding)["reconstructed"]
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x, key_padding_mask=padding)["reconstructed"]
    torch.testing.assert_close(out.float(), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "mish"}, "activation is 'mish'; expected one of .*leakyrelu"),
        ({"encoder_dims": ()}, "encoder_dims is"),
        ({"encoder_dims": (4, 0)}, "encoder_dims is"),
        ({"input_length": 0}, "input_length is 0"),
        ({"in_channels": 0}, "in_channels is 0"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        small(**options)


def test_unusable_inputs_are_refused():
    model, x = small(), series()
    with pytest.raises(InputError, match=r"x has shape \(2, 24, 3\); expected \(B, L, 2\) or \(B, 2, L\)"):
        model(series(channels=3))
    with pytest.raises(InputError, match=r"x has shape \(2, 0, 2\)"):
        model(x[:, :0])
    with pytest.raises(InputError, match=r"x has shape \(24, 2\)"):
        model(x[0])
    with pytest.raises(InputTypeError, match=r"x has dtype torch\.int64"):
        model(x.long())
    with pytest.raises(InputError, match=r"key_padding_mask has shape \(2, 23\); expected \(2, 24\)"):
        model(x, key_padding_mask=torch.zeros(2, 23, dtype=torch.bool))
