from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.tcn import TCN
from tests.models.baselines.contract import check_forecaster, graph_batch
from tests.models.baselines.published import settings_of


@pytest.mark.parametrize(
    "options", [{}, {"in_channels": 2, "out_channels": 1}, {"hidden_channels": 1, "num_layers": 1, "kernel_size": 2}]
)
def test_contract(options):
    torch.manual_seed(0)
    model = TCN(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "hidden_channels": 8, **options})
    check_forecaster(model, graph_batch(channels=model.in_channels), equivariant=True)


def test_features_depend_on_the_receptive_field_alone():
    torch.manual_seed(1)
    model = TCN(1, 20, 4, hidden_channels=16, num_layers=2, kernel_size=3).double().eval()
    reach = 1 + 2 * 2 * (2**2 - 1)
    x = torch.randn(1, 1, 20, 1, dtype=torch.double, requires_grad=True)
    features = model.features(x)
    for step in range(20):
        (gradient,) = torch.autograd.grad(features[0, 0, step].sum(), x, retain_graph=True)
        used = gradient.flatten().nonzero().flatten()
        assert used.max() <= step
        assert used.min() >= step - reach + 1
    assert used.min() == 20 - reach
    assert used.max() == 19


def test_level_is_two_dilated_convolutions():
    torch.manual_seed(2)
    level = TCN(2, 7, 4, hidden_channels=3, num_layers=2, kernel_size=3).double().eval().levels[1]
    x = torch.randn(5, 7, 3, dtype=torch.double)

    def convolve(convolution, values):
        taps = convolution.taps
        weight = taps.weight.view(3, 3, 3).transpose(1, 2)  # outputs, inputs, taps, the oldest first
        padded = torch.nn.functional.pad(values.transpose(1, 2), (2 * 2, 0))
        return torch.conv1d(padded, weight, taps.bias, dilation=2).transpose(1, 2).relu()

    expected = (x + convolve(level.second, convolve(level.first, x))).relu()
    torch.testing.assert_close(level(x), expected)


def test_weight_normalisation():
    taps = TCN(1, 12, 4, hidden_channels=3).levels[1].first.taps
    with torch.no_grad():
        taps.parametrizations.weight.original0.fill_(2.0)
    torch.testing.assert_close(taps.weight.norm(dim=1), torch.full((3,), 2.0))


def test_parameters():
    # Sequential MNIST of the paper, where the size is printed as about 70 K.
    model = TCN(1, 784, 10, hidden_channels=25, num_layers=8, kernel_size=7)
    assert sum(p.numel() for p in model.parameters()) == 66_910
    arguments = settings_of("tcn")["default"]["arguments"]
    assert arguments["kernel_size"] == 3
    assert sum(p.numel() for p in TCN(1, 12, 12, **arguments).parameters()) == 16_300


@pytest.mark.parametrize("options", [{"hidden_channels": 0}, {"num_layers": 0}, {"kernel_size": 1}, {"dropout": 1.0}])
def test_bad_arguments(options):
    with pytest.raises(InputError, match=next(iter(options))):
        TCN(1, 12, 4, **options)
