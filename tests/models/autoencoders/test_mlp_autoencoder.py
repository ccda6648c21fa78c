"""The dense autoencoder: documented sizes, layouts, the fixed length."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders import get_autoencoder
from stgraph.models.autoencoders.mlp import MLPAutoencoder


def small(**options: Any) -> MLPAutoencoder:
    sizes = {"input_length": 6, "encoder_hidden_dims": (7, 5), "latent_dim": 3}
    return MLPAutoencoder(**{**sizes, **options}).double().eval()


def series(rows: int = 4, points: int = 6, channels: int = 2) -> Tensor:
    return torch.randn(rows, points, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def widths(network: nn.Module) -> list[int]:
    return [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]


@torch.no_grad()
def test_documented_configuration():
    with torch.device("meta"):
        model = get_autoencoder("mlp")()
        sizes = [sum(p.numel() for p in part.parameters()) for part in (model, model.encoder, model.decoder)]
        assert sizes == [1_923_392, 1_223_360, 700_032]
        for x in (torch.zeros(3, 2048), torch.zeros(3, 1024, 2)):
            out = model(x)
            assert out["reconstructed"].shape == (3, 1024)
            assert out["encoded"].shape == (3, 64)


def test_values_come_before_masks():
    model, x = small(), series()
    flat = torch.cat([x[..., 0], x[..., 1]], dim=1)
    first, second = model(x), model(flat)
    assert torch.equal(first["reconstructed"], second["reconstructed"])
    assert torch.equal(first["encoded"], model.encoder(flat))


def test_the_decoder_mirrors_the_encoder_unless_told():
    assert widths(small().encoder) == [7, 5, 3]
    assert widths(small().decoder) == [5, 7, 6]
    assert widths(small(decoder_hidden_dims=[9]).decoder) == [9, 6]


def test_several_channels():
    model = small(in_channels=4, out_channels=2)
    out = model(series(channels=4))["reconstructed"]
    assert out.shape == (4, 6, 2)
    assert torch.equal(out.mT.flatten(1), model.decoder(model(series(channels=4))["encoded"]))


def test_what_stands_at_padding_does_not_matter_and_times_are_not_used():
    model, x = small(), series()
    padding = torch.arange(6) >= torch.tensor([[6], [4], [1], [0]])
    out = model(x.masked_fill(padding.unsqueeze(-1), 0))["reconstructed"]
    junk = x.masked_fill(padding.unsqueeze(-1), torch.nan)
    assert torch.equal(model(junk, time=torch.rand(4, 6), key_padding_mask=padding)["reconstructed"], out)
    flat = junk.mT.flatten(1)
    assert torch.equal(model(flat, key_padding_mask=padding)["reconstructed"], out)


def test_gradients_reach_every_parameter_and_dropout_acts():
    model, x = small(dropout=0.5).train(), series(32)
    assert not torch.equal(model(x)["reconstructed"], model(x)["reconstructed"])
    model(x)["reconstructed"].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_new_parameters():
    model, x = small(), series()
    before = model(x)["reconstructed"]
    model.reset_parameters()
    assert not torch.allclose(model(x)["reconstructed"], before)
    assert "input_length=6, latent_dim=3" in repr(model)


def test_activation_by_name():
    assert sum(isinstance(module, nn.LeakyReLU) for module in small(activation="leakyrelu").modules()) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "mish"}, "activation is 'mish'; expected one of .*leakyrelu"),
        ({"encoder_hidden_dims": ()}, "encoder_hidden_dims is"),
        ({"decoder_hidden_dims": (3, 0)}, "decoder_hidden_dims is"),
        ({"input_length": 0}, "input_length is 0"),
        ({"latent_dim": 0}, "latent_channels is 0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        small(**options)


def test_unusable_inputs_are_refused():
    model, x = small(), series()
    with pytest.raises(
        InputError, match=r"x has shape \(4, 5, 2\); expected \(B, 6, 2\) or \(B, 12\), since input_length is 6"
    ):
        model(x[:, 1:])
    with pytest.raises(InputError, match=r"x has shape \(4, 6\)"):
        model(x[..., 0])
    with pytest.raises(InputTypeError, match=r"x has dtype torch\.int64"):
        model(x.long())
    with pytest.raises(InputError, match=r"key_padding_mask has shape \(4, 5\); expected \(4, 6\)"):
        model(x, key_padding_mask=torch.zeros(4, 5, dtype=torch.bool))
