"""The hierarchical transformer: documented sizes, padding at every level, times, options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders import get_autoencoder
from stgraph.models.autoencoders.transformer import HierarchicalTransformer
from stgraph.nn.spectral import SEQUENCE_LAYERS


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small(**options: Any) -> HierarchicalTransformer:
    sizes: dict[str, Any] = {"encoder_dims": (8, 12, 8), "nhead": 2, "num_transformer_blocks": 1, "min_period": 0.1}
    return HierarchicalTransformer(**{**sizes, **options}).double().eval()


def series(rows: int = 2, points: int = 24, channels: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, points, channels, dtype=torch.float64, generator=generator)
    steps = torch.rand(rows, points, dtype=torch.float64, generator=generator) + 0.1
    return x, 2454833 + steps.cumsum(dim=-1)


def padded(x: Tensor, time: Tensor, amount: int) -> tuple[Tensor, Tensor, Tensor]:
    """Append numbers that must not matter."""
    junk = torch.full((len(x), amount, x.shape[-1]), 1e3, dtype=x.dtype)
    junk[:, ::2] = torch.nan
    later = time[:, -1:] + torch.arange(1.0, amount + 1)
    padding = torch.arange(x.shape[1] + amount) >= x.shape[1]
    return torch.cat([x, junk], dim=1), torch.cat([time, later], dim=1), padding.expand(len(x), -1)


def test_documented_sizes():
    with torch.device("meta"):
        model = HierarchicalTransformer()
        assert count(model) == 26_812_289
        assert count(model.encoder) == 15_992_640
        assert count(model.decoder) == 10_819_649
        assert [count(level) for level in model.encoder.levels] == [124_928, 495_616, 1_974_272, 7_092_736]
        assert count(model.encoder.bottleneck) == 6_304_768
        assert count(HierarchicalTransformer(num_transformer_blocks=1)) == 15_279_105
        assert count(HierarchicalTransformer(num_transformer_blocks=3)) == 38_345_473


@torch.no_grad()
def test_documented_configuration_with_and_without_padding():
    model = get_autoencoder("transformer")().eval()
    x, time = series(2, 100)
    x = x.float()
    short = model(x, time)
    assert short["reconstructed"].shape == (2, 100, 1)
    assert short["encoded"].shape == (2, 7, 512)
    long = model(*padded(x, time, 28))
    torch.testing.assert_close(long["reconstructed"][:, :100], short["reconstructed"], atol=1e-5, rtol=0)
    full = model(*padded(x, time, 412))
    assert full["encoded"].shape == (2, 32, 512)
    torch.testing.assert_close(full["reconstructed"][:, :100], short["reconstructed"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("encoding", ["add", "concat", "relative"])
@pytest.mark.parametrize("points", [1, 8, 13])
def test_padding_does_not_matter(points, encoding):
    model = small(encoding=encoding)
    x, time = series(2, points)
    short = model(x, time)
    assert short["reconstructed"].shape == (2, points, 1)
    latent = short["encoded"].shape[1]
    assert latent == -(-points // 8)
    for amount in (1, 5, 16):
        x_long, time_long, padding = padded(x, time, amount)
        long = model(x_long, time_long, padding)
        torch.testing.assert_close(long["reconstructed"][:, :points], short["reconstructed"])
        torch.testing.assert_close(long["encoded"][:, :latent], short["encoded"])
        assert not long["reconstructed"][:, points:].any()
        assert not long["encoded"][:, latent:].any()
        mask = model.latent_mask(padding, long["encoded"])
        assert mask.shape == long["encoded"].shape[:2]
        assert (~mask).sum(dim=1).tolist() == [latent, latent]


def test_rows_of_different_lengths_do_not_touch_each_other():
    model = small()
    x, time = series(3, 16)
    padding = torch.arange(16) >= torch.tensor([[16], [9], [0]])
    out = model(x, time, padding)
    torch.testing.assert_close(out["reconstructed"][0], model(x[:1], time[:1])["reconstructed"][0])
    torch.testing.assert_close(out["reconstructed"][1, :9], model(x[1:2, :9], time[1:2, :9])["reconstructed"][0])
    assert not out["reconstructed"][2].any()
    assert not out["encoded"][2].any()


@pytest.mark.parametrize("options", [{}, {"encoding": "concat", "learned_scale": True}, {"encoding": "relative"}])
def test_gradients_reach_every_parameter(options):
    model = small(**options).train()
    x, time = series(3, 16)
    padding = torch.arange(16) >= torch.tensor([[16], [9], [0]])
    out = model(x.masked_fill(padding.unsqueeze(-1), torch.nan), time, padding)
    out["reconstructed"].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("encoding", ["add", "concat", "relative"])
def test_a_shift_of_all_times_has_no_influence_and_their_differences_have(encoding):
    model = small(encoding=encoding)
    x, time = series()
    out = model(x, time - 2454833)["reconstructed"]
    torch.testing.assert_close(model(x, time)["reconstructed"], out, atol=1e-5, rtol=0)
    for other in (time.float(), None, 1.1 * (time - time[:, :1])):
        assert (model(x, other)["reconstructed"] - out).abs().max() > 1e-4


def test_without_times_positions_count_and_times_can_be_common():
    model = small()
    x, _ = series()
    positions = torch.arange(24, dtype=torch.float64)
    expected = model(x)["reconstructed"]
    assert torch.equal(model(x, positions)["reconstructed"], expected)
    assert torch.equal(model(x, positions.expand(2, 24))["reconstructed"], expected)
    assert torch.equal(model(x, torch.arange(24))["reconstructed"], expected)


@torch.no_grad()
def test_attention_at_every_level_sees_its_padding():
    model = small()
    seen = {}

    def record(block: nn.Module, inputs: tuple[Any, ...], name: str) -> None:
        seen[name] = (inputs[0].shape[1], inputs[1][0].tolist())

    for side in ("encoder", "decoder"):
        for index, level in enumerate(getattr(model, side).levels):
            level.blocks[0].register_forward_pre_hook(lambda b, i, name=f"{side}{index}": record(b, i, name))
    x, time = series(1, 16)
    padding = torch.arange(16).unsqueeze(0) >= 11
    model(x, time, padding)
    for depth, stride in enumerate((1, 2, 4)):
        expected = (16 // stride, padding[0, ::stride].tolist())
        assert seen[f"encoder{depth}"] == expected
        assert seen[f"decoder{2 - depth}"] == expected


@pytest.mark.parametrize("mixer", SEQUENCE_LAYERS)
def test_a_mixer_in_place_of_attention(mixer):
    model = small(input_length=16, encoder_dims=(8, 16), mixer=mixer)
    x, time = series(2, 16)
    padding = torch.arange(16) >= torch.tensor([[16], [10]])
    out = model(x, time, padding)["reconstructed"]
    assert out.isfinite().all()
    assert out.std() > 0
    assert torch.equal(model(x.masked_fill(padding.unsqueeze(-1), 9.0), time, padding)["reconstructed"], out)
    assert model(x[:, :13], time[:, :13])["reconstructed"].shape == (2, 13, 1)


def test_attention_as_mixer_does_not_see_the_amount_of_padding():
    model = small(mixer="kernel_attention")
    x, time = series(2, 13)
    long = model(*padded(x, time, 6))["reconstructed"]
    torch.testing.assert_close(long[:, :13], model(x, time)["reconstructed"])


def test_a_mixer_of_limited_length_says_so():
    model = small(input_length=16, mixer="afno")
    with pytest.raises(InputError, match=r"x has 24 points; expected at most input_length = 16.*'afno'"):
        model(*series(2, 24))


def test_several_channels_and_new_parameters():
    model = small(in_channels=6, out_channels=3)
    x, time = series(channels=6)
    before = model(x, time)["reconstructed"]
    assert before.shape == (2, 24, 3)
    model.reset_parameters()
    assert not torch.allclose(model(x, time)["reconstructed"], before)
    assert "encoder_dims=[8, 12, 8]" in repr(model)
    assert "out_channels=3" in repr(model)


def test_bfloat16_autocast_is_close_to_float32():
    torch.manual_seed(0)
    model = small().float()
    x, time = series()
    expected = model(x.float(), time)["reconstructed"]
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x.float(), time)["reconstructed"]
    torch.testing.assert_close(out.float(), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_dims": ()}, "encoder_dims is .*at least one positive width"),
        ({"encoder_dims": (6, 9)}, "encoder_dims is .*even widths"),
        ({"encoder_dims": (8, 10), "nhead": 4}, "nhead is 4; expected a divisor of every width"),
        ({"nhead": 0}, "nhead is 0; expected at least 1"),
        ({"num_transformer_blocks": 0}, "num_transformer_blocks is 0"),
        ({"input_length": 0}, "input_length is 0"),
        ({"out_channels": 0}, "out_channels is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"min_period": 0.0}, "min_period is 0.0"),
        ({"encoding": "rotary"}, "encoding is 'rotary'; expected one of .*relative"),
        ({"mixer": "fourrier"}, "mixer is 'fourrier'; expected one of .*fourier"),
        ({"encoding": "relative", "mixer": "fourier"}, "expected one of them"),
        ({"encoding": "relative", "learned_scale": True}, "expected one of them"),
        ({"encoding": "relative", "nhead": 4, "encoder_dims": (4, 8)}, "expected heads of an even width"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        small(**options)


def test_unusable_inputs_are_refused():
    model = small()
    x, time = series()
    with pytest.raises(InputError, match=r"x has shape \(2, 24, 1\); expected \(B, L, 2\)"):
        model(x[..., :1])
    with pytest.raises(InputError, match=r"x has shape \(2, 0, 2\)"):
        model(x[:, :0])
    with pytest.raises(InputTypeError, match=r"x has dtype torch\.int64"):
        model(x.long())
    with pytest.raises(InputError, match=r"time has shape \(2, 23\); expected \(2, 24\)"):
        model(x, time[:, 1:])
    with pytest.raises(InputTypeError, match=r"time has dtype torch\.bool"):
        model(x, time > 0)
    with pytest.raises(InputError, match=r"key_padding_mask has shape \(24,\)"):
        model(x, time, torch.zeros(24, dtype=torch.bool))
    with pytest.raises(InputTypeError, match=r"key_padding_mask has dtype torch\.float64"):
        model(x, time, torch.zeros(2, 24, dtype=torch.float64))
