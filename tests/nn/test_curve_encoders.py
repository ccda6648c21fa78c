from __future__ import annotations

import pytest
import torch
from torch import nn

from stgraph.errors import InputError
from stgraph.nn.curve_encoders import SpectralDecoder, SpectralEncoder


def test_the_light_encoder_has_the_published_layers() -> None:
    encoder = SpectralEncoder(2)
    layers = [layer for layer in encoder.layers if isinstance(layer, nn.Conv1d)]
    assert [(c.in_channels, c.out_channels, *c.kernel_size, *c.stride) for c in layers] == [
        (2, 16, 8, 4), (16, 32, 8, 4), (32, 64, 8, 4)
    ]  # fmt: skip
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in encoder.layers) == 3
    assert encoder.num_tokens == 16
    assert encoder(torch.zeros(3, 2, 1024)).shape == (3, 16, 32)


@pytest.mark.parametrize("bins", [65, 100, 128])
def test_any_number_of_bins_is_encoded_and_decoded(bins: int) -> None:
    encoder, decoder = SpectralEncoder(1, 5, bins=bins), SpectralDecoder(7, 3, bins=bins)
    assert encoder(torch.randn(1, 1, bins)).shape == (1, encoder.num_tokens, 5)
    assert encoder.num_tokens == decoder.num_tokens == 2
    assert decoder(torch.randn(2, 7)).shape == (2, 3, bins)


def test_every_bin_is_read() -> None:
    torch.manual_seed(0)
    encoder = SpectralEncoder(2, 4, bins=70, widths=(4, 6)).eval()
    x = torch.randn(1, 2, 70, requires_grad=True)
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()


def test_reset_parameters_forgets_everything() -> None:
    for network, x in (
        (SpectralEncoder(1, 4, bins=20, widths=(4,)), torch.randn(3, 1, 20)),
        (SpectralDecoder(4, 1, bins=20, widths=(4,)), torch.randn(3, 4)),
    ):
        network(x)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.reset_parameters()
        after = network.state_dict()
        constant = [name for name in after if torch.equal(before[name], after[name])]
        norms = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm1d)]
        assert set(constant) == {f"{n}.{kind}" for n in norms for kind in ("weight", "bias")}


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(InputError, match="bins is 64; expected more than 64"):
        SpectralEncoder(1, bins=64)
    with pytest.raises(InputError, match="out_channels is 0"):
        SpectralDecoder(4, 0)
    with pytest.raises(InputError, match="widths is"):
        SpectralEncoder(1, widths=())
    with pytest.raises(InputError, match=r"x has shape \(2, 2, 128\); expected \(B, 1, 128\)"):
        SpectralEncoder(1, bins=128)(torch.zeros(2, 2, 128))
