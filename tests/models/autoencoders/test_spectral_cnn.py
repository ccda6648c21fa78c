"""The convolutional autoencoder of spectra: the documented layers, any length, padding, presets, the layer contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders import SPECTRAL_CNN_PRESETS, SpectralCNNAutoencoder
from stgraph.testing import Check, LayerCase, parametrize_with_checks


def small(**options: Any) -> SpectralCNNAutoencoder:
    return SpectralCNNAutoencoder(**{"widths": (5, 4, 3), **options}).double().eval()


def spectra(rows: int = 3, points: int = 21, channels: int = 1) -> Tensor:
    return torch.rand(rows, points, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class DocumentedLayers(nn.Module):
    """The layers as the table lists them, for odd lengths, on ``[B, 1, L]``."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder1 = nn.Conv1d(1, 64, 3, 2, 1)
        self.encoder2 = nn.Conv1d(64, 32, 3, 2, 1)
        self.encoder3 = nn.Conv1d(32, 16, 3, 2, 1)
        self.decoder3 = nn.ConvTranspose1d(16, 32, 3, 2, 1, 1)
        self.decoder2 = nn.ConvTranspose1d(32, 64, 3, 2, 1, 1)
        self.decoder1 = nn.ConvTranspose1d(64, 1, 3, 2, 1, 0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.relu(self.encoder1(x))
        c = torch.relu(self.encoder2(a))
        latent = torch.relu(self.encoder3(c))
        up = torch.relu(self.decoder3(latent))
        shorter = min(up.shape[2], c.shape[2])
        up = torch.relu(self.decoder2(up[:, :, :shorter] + c[:, :, :shorter]))
        shorter = min(up.shape[2], a.shape[2])
        return torch.sigmoid(self.decoder1(up[:, :, :shorter] + a[:, :, :shorter])), latent


def test_documented_configuration():
    with torch.device("meta"):
        model = SpectralCNNAutoencoder.from_preset("documented")
        out = model(torch.zeros(2, 7781, 1))
    assert sum(parameter.numel() for parameter in model.parameters()) == 15_953
    assert out["reconstructed"].shape == (2, 7781, 1)
    assert out["encoded"].shape == (2, 973, 16)


@torch.no_grad()
@pytest.mark.parametrize("points", [1, 2, 3, 4, 5, 7, 8, 11, 16, 17, 21, 24])
def test_the_layers_are_those_of_the_table(points):
    torch.manual_seed(0)
    expected = DocumentedLayers().double()
    torch.manual_seed(0)
    model = SpectralCNNAutoencoder().double()
    pairs = list(zip(model.parameters(), expected.parameters(), strict=True))
    assert all(torch.equal(own, other) for own, other in pairs)  # the same initialisation, drawn in the same order
    x = spectra(2, points)
    odd = torch.cat([x, x.new_zeros(2, 1 - points % 2, 1)], dim=1)
    reconstructed, latent = expected(odd.mT)
    out = model(x)
    torch.testing.assert_close(out["reconstructed"], reconstructed.mT[:, :points])
    torch.testing.assert_close(out["encoded"], latent.mT)


@torch.no_grad()
def test_without_skips_and_sigmoid():
    model, x = small(skip="none", output="linear"), spectra()
    by_hand = x.mT
    for layer in model.encoder:
        by_hand = torch.relu(layer(by_hand))
    for layer, length in zip(model.decoder[:-1], (6, 11), strict=True):
        by_hand = torch.relu(layer(by_hand))[..., :length]
    torch.testing.assert_close(model(x)["reconstructed"], model.decoder[-1](by_hand).mT)


@torch.no_grad()
@pytest.mark.parametrize("points", [20, 21])
def test_the_latent_vector_is_all_that_the_decoder_sees(points):
    model, x = small(skip="none", output="linear", latent_dim=2, input_length=points), spectra(points=points)
    out = model(x)
    assert out["encoded"].shape == (3, 2)
    assert out["reconstructed"].shape == (3, points, 1)
    features = torch.cat([x, x.new_zeros(3, 1 - points % 2, 1)], dim=1).mT
    for layer in model.encoder:
        features = torch.relu(layer(features))
    torch.testing.assert_close(out["encoded"], model.to_latent(features.flatten(1)))
    model.to_latent.weight.zero_()
    blind = model(x)["reconstructed"]
    torch.testing.assert_close(blind, blind[:1].expand_as(blind))
    assert model.latent_mask(torch.zeros(3, points, dtype=torch.bool), out["encoded"]) is None


def test_presets():
    assert set(SPECTRAL_CNN_PRESETS) == {"documented", "later", "bottleneck"}
    documented, later = (SpectralCNNAutoencoder.from_preset(name) for name in ("documented", "later"))
    assert (documented.skip, documented.output) == ("add", "sigmoid")
    assert (later.skip, later.output) == ("add", "linear")
    bottleneck = SpectralCNNAutoencoder.from_preset("bottleneck", input_length=33, widths=(4,))
    assert (bottleneck.skip, bottleneck.output, bottleneck.latent_dim, bottleneck.widths) == (
        "none",
        "linear",
        16,
        (4,),
    )
    with pytest.raises(InputError, match="name is 'best'; expected one of documented, later, bottleneck"):
        SpectralCNNAutoencoder.from_preset("best")


@torch.no_grad()
@pytest.mark.parametrize("points", [1, 2, 5, 6, 7, 8, 9, 14, 16])
def test_padding_does_not_matter(points):
    model, x = small(), spectra(2, points)
    short = model(x)
    for amount in (1, 2, 3, 8):
        junk = torch.full((2, amount, 1), torch.nan, dtype=x.dtype)
        padding = (torch.arange(points + amount) >= points).expand(2, -1)
        out = model(torch.cat([x, junk], dim=1), key_padding_mask=padding)
        torch.testing.assert_close(out["reconstructed"][:, :points], short["reconstructed"])
        assert not out["reconstructed"][:, points:].any()
        padded = model.latent_mask(padding, out["encoded"])
        assert padded.shape == out["encoded"].shape[:2]
        torch.testing.assert_close(out["encoded"][~padded], short["encoded"].flatten(0, 1))
        assert not out["encoded"][padded].any()
    assert model.latent_mask(None, short["encoded"]) is None


def test_a_row_of_padding_alone_gives_zeros_and_finite_gradients():
    model, x = small(), spectra(2)
    padding = torch.tensor([[False], [True]]).expand(2, 21)
    out = model(x, key_padding_mask=padding)
    assert not out["reconstructed"][1].any()
    torch.testing.assert_close(out["reconstructed"][0], model(x[:1])["reconstructed"][0])
    out["reconstructed"].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@torch.no_grad()
def test_mask_channel_and_several_channels():
    model = small(mask_channel=True)
    assert model.in_channels == 2
    x = torch.cat([spectra(), torch.zeros(3, 21, 1, dtype=torch.float64)], dim=-1)
    hidden = x.clone()
    hidden[:, 10, 1] = 1
    change = (model(hidden)["reconstructed"] - model(x)["reconstructed"]).abs()
    assert change[:, 9:12].any()
    wide = small(in_channels=4, out_channels=2)
    assert wide(spectra(channels=4), time=torch.rand(3, 21))["reconstructed"].shape == (3, 21, 2)


@torch.no_grad()
def test_new_parameters_and_text():
    model, x = small(), spectra()
    before = model(x)["reconstructed"]
    model.reset_parameters()
    assert not torch.allclose(model(x)["reconstructed"], before)
    assert "widths=[5, 4, 3], skip='add', output='sigmoid'" in repr(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "widths is"),
        ({"widths": (4, 0)}, "widths is"),
        ({"skip": "concatenate"}, "skip is 'concatenate'; expected one of add, none"),
        ({"output": "relu"}, "output is 'relu'; expected one of sigmoid, linear"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"latent_dim": 4}, "latent_dim is 4 and input_length None"),
        ({"input_length": 0}, "input_length is 0"),
        ({"in_channels": 1, "mask_channel": True}, "in_channels is 1; expected at least 2 with mask_channel"),
        ({"out_channels": 0}, "out_channels is 0"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        small(**options)


def test_unusable_inputs_are_refused():
    model, x = small(), spectra()
    with pytest.raises(InputError, match=r"x has shape \(3, 1, 21\), .* \(B, 1, L\); expected \(B, L, 1\)"):
        model(x.mT)
    with pytest.raises(InputError, match=r"x has shape \(3, 21, 2\); expected \(B, L, 1\)"):
        model(spectra(channels=2))
    with pytest.raises(InputError, match=r"x has shape \(3, 0, 1\); expected .* at least one point"):
        model(x[:, :0])
    with pytest.raises(InputError, match=r"x has shape \(21, 1\)"):
        model(x[0])
    with pytest.raises(InputTypeError, match=r"x has dtype torch\.int64"):
        model(x.long())
    with pytest.raises(InputError, match=r"key_padding_mask has shape \(3, 20\); expected \(3, 21\)"):
        model(x, key_padding_mask=torch.zeros(3, 20, dtype=torch.bool))
    with pytest.raises(InputError, match=r"x has shape \(3, 21, 1\); expected \(B, 20, 1\), since input_length is 20"):
        small(latent_dim=2, input_length=20)(x)


FIXED_AXES = {"check_leading_axes": "takes (B, L, C) as all autoencoders do"}
CASE = LayerCase(
    name="SpectralCNN",
    make=lambda: SpectralCNNAutoencoder(widths=(4, 3)),
    inputs=lambda generator: (torch.randn(2, 9, 1, generator=generator),),
    token_axis=None,
    skip=FIXED_AXES,
)
CASES = [
    CASE,
    replace(
        CASE,
        name="SpectralCNN-bottleneck",
        make=lambda: SpectralCNNAutoencoder.from_preset("bottleneck", widths=(4, 3), latent_dim=5, input_length=8),
        inputs=lambda generator: (torch.randn(2, 8, 1, generator=generator),),
        skip=FIXED_AXES | {"check_compile": "done for the case before"},
    ),
]


@parametrize_with_checks(CASES)
def test_contract(case: LayerCase, check: Check) -> None:
    check(case)
