from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.conv_lstm import ConvLSTM, ConvLSTMLayer
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of, training_losses
from tests.models.baselines.published import settings_of


def grid_batch(height=2, width=3, **options):
    batch = graph_batch(nodes=height * width, **options)
    batch.grid = (height, width)
    return batch


@pytest.mark.parametrize(
    "options",
    [{}, {"in_channels": 2, "out_channels": 1, "input_kernel": 5}, {"hidden_channels": [3], "state_kernel": 1}],
)
def test_contract(options):
    torch.manual_seed(0)
    model = ConvLSTM(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "hidden_channels": (4, 3), **options})
    check_forecaster(model, grid_batch(channels=model.in_channels), equivariant=False)


def convolved(image, weight):
    """Correlation of ``[F, H, W]`` with ``[F', F, k, k]``, zeros outside, cell by cell."""
    channels, height, width = image.shape
    side = weight.shape[-1]
    reach = side // 2
    padded = torch.zeros(channels, height + 2 * reach, width + 2 * reach)
    padded[:, reach : reach + height, reach : reach + width] = image
    result = torch.zeros(weight.shape[0], height, width)
    for i in range(height):
        for j in range(width):
            result[:, i, j] = (weight * padded[:, i : i + side, j : j + side]).sum(dim=(1, 2, 3))
    return result


def test_layer_is_the_equations_of_the_paper():
    torch.manual_seed(1)
    layer = ConvLSTMLayer(2, 3, input_kernel=3, state_kernel=5)
    with torch.no_grad():
        layer.bias.normal_()
        layer.peepholes.normal_()
    x, h, c = torch.randn(1, 3, 2, 4, 3), torch.zeros(3, 4, 3), torch.zeros(3, 4, 3)
    outputs, (last_h, last_c) = layer(x)
    for t in range(3):
        gates = convolved(x[0, t], layer.from_input.weight) + convolved(h, layer.from_state.weight) + layer.bias
        enter = torch.sigmoid(gates[:3] + layer.peepholes[0] * c)
        forget = torch.sigmoid(gates[3:6] + layer.peepholes[1] * c)
        c = forget * c + enter * torch.tanh(gates[6:9])
        h = torch.sigmoid(gates[9:] + layer.peepholes[2] * c) * torch.tanh(c)
        torch.testing.assert_close(outputs[0, t], h)
    torch.testing.assert_close((last_h[0], last_c[0]), (h, c))


def test_forecaster_unfolds_the_states_of_the_encoder():
    torch.manual_seed(2)
    model = ConvLSTM(1, 3, 2, hidden_channels=(4, 3)).eval()
    batch = grid_batch(windows=2, steps=3, horizon=2)
    model.fit(series_of(batch))
    forecast, x = model.forward_scaled(batch)[0], model.scaler.transform(batch.x)
    # One step at a time through all layers, where the model goes layer by layer.
    states = [None, None]
    for t in range(3):
        value = x[:, :, t].transpose(1, 2).reshape(2, 1, 1, 2, 3)
        for k, layer in enumerate(model.encoder):
            value, states[k] = layer(value, states[k])
    states.reverse()
    for q in range(2):
        top, states[0] = model.forecaster[0](None, states[0], 1)
        bottom, states[1] = model.forecaster[1](top, states[1])
        expected = model.head(torch.cat([top, bottom], dim=2)[:, 0])
        torch.testing.assert_close(forecast[:, :, q], expected.flatten(2).transpose(1, 2))


def test_information_travels_a_cell_a_step_and_layer():
    torch.manual_seed(3)
    model = ConvLSTM(1, 2, 1, hidden_channels=(4,)).eval()
    x = torch.randn(1, 9, 2, 1)
    changed = x.clone()
    changed[0, 0, 1] += 1
    moved = [model.predict(values, grid=(1, 9)) for values in (x, changed)]
    # One cell by the input's convolution at the last step and one by the state's in the forecaster.
    assert (moved[0] != moved[1]).flatten().tolist() == [True] * 3 + [False] * 6


@pytest.mark.parametrize(
    ("hidden", "input_kernel", "state_kernel", "count"),
    [
        ([256], 5, 5, 13_524_496),
        ([128, 128], 5, 5, 10_042_896),
        ([128, 64, 64], 5, 5, 7_585_296),
        ([128, 128], 9, 1, 11_550_224),
        ([128, 64, 64], 9, 1, 8_830_480),
    ],
)
def test_parameters_are_those_of_the_paper_on_moving_digits(hidden, input_kernel, state_kernel, count):
    with torch.device("meta"):
        model = ConvLSTM(
            16, 10, 10, hidden_channels=hidden, input_kernel=input_kernel, state_kernel=state_kernel, scaler="none"
        )
    assert sum(p.numel() for p in model.parameters()) == count


def test_published_settings():
    settings = settings_of("conv_lstm")
    assert settings["default"]["arguments"] == {"hidden_channels": [64, 64], "input_kernel": 3, "state_kernel": 3}
    for dataset, setting in settings.items():
        model = ConvLSTM(2, 12, 1, **setting["arguments"])
        # 9 weights of each pair of channels for 4 gates; the first layer of the forecaster has no input.
        expected = 36 * 64 * (2 + 64 + 128 + 64 + 128) + 4 * 7 * 64 + 128 * 2 + 2
        assert sum(p.numel() for p in model.parameters()) == expected, dataset


def test_training_reduces_the_loss():
    torch.manual_seed(4)
    batch = grid_batch(windows=2, steps=4, horizon=2)
    model = ConvLSTM(1, 4, 2, hidden_channels=(8,)).fit(series_of(batch))
    losses = training_losses(model, batch, steps=40, learning_rate=0.05)
    assert losses[-1] < 0.6 * losses[0]


def test_bad_input():
    for options, message in [
        ({"hidden_channels": []}, "hidden_channels"),
        ({"hidden_channels": [4, 0]}, "hidden_channels"),
        ({"input_kernel": 0}, "input_kernel is 0"),
        ({"state_kernel": 2}, "state_kernel is 2; expected an odd number"),
    ]:
        with pytest.raises(InputError, match=message):
            ConvLSTM(1, 12, 4, **options)
    model = ConvLSTM(1, 12, 4, hidden_channels=(2,))
    with pytest.raises(InputError, match="no grid"):
        model(graph_batch())
    with pytest.raises(InputError, match="expected 6 cells"):
        model.predict(torch.zeros(1, 6, 12, 1), grid=(2, 2))
