from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.gatv2_gru import GATv2GRU
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of
from tests.models.baselines.published import parameters_of, settings_of


@pytest.mark.parametrize(
    "options", [{"steps_per_cycle": 288}, {"in_channels": 2, "out_channels": 1}, {"num_layers": 1, "heads": 1}]
)
def test_contract(options):
    torch.manual_seed(0)
    model = GATv2GRU(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "hidden_channels": 8, **options})
    check_forecaster(model, graph_batch(channels=model.in_channels), equivariant=True)


def test_attention_layer_by_loops():
    torch.manual_seed(1)
    model = GATv2GRU(1, 12, 4, hidden_channels=6, num_layers=1, heads=2).eval()
    batch = graph_batch(nodes=4)
    scaled = model.fit(series_of(batch)).forward_scaled(batch)[0]
    layer, window = model.layers[0], 1
    x = model.with_calendar(model.scaler.transform(batch.x), batch, weekday=True)[window]
    state = model.gru(x)[0][:, -1]
    left, right = (m(model.norms[0](state)).view(4, 2, 3) for m in (layer.lin_l, layer.lin_r))
    expected = torch.zeros(4, 4)
    for i in range(4):
        sources = [(j, w) for (j, t), w in zip(batch.edge_index.T.tolist(), batch.edge_weight, strict=True) if t == i]
        sources.append((i, torch.stack([w for _, w in sources]).mean()))  # a loop with the mean weight
        messages = []
        for head in range(2):
            score = []
            for j, weight in sources:
                edge = layer.lin_edge(weight.view(1)).view(2, 3)[head]
                joined = torch.nn.functional.leaky_relu(left[j, head] + right[i, head] + edge, 0.2)
                score.append(layer.att[0, head] @ joined)
            share = torch.stack(score).softmax(0)
            messages.append(sum(a * left[j, head] for a, (j, _) in zip(share, sources, strict=True)))
        expected[i] = model.head(state[i] + (torch.cat(messages) + layer.bias).relu())
    torch.testing.assert_close(scaled[window, :, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_information_travels_along_the_edges_one_step_a_layer():
    torch.manual_seed(2)
    model = GATv2GRU(1, 12, 4, hidden_channels=8, num_layers=2).eval()
    chain = torch.tensor([[0, 1, 2], [1, 2, 3]])
    x = torch.randn(2, 4, 12, 1)
    changed = x.clone()
    changed[0, 0] += 1
    before, after = (model(Data(x=values, edge_index=chain)) for values in (x, changed))
    moved = (before != after).flatten(2).any(-1)
    assert moved.tolist() == [[True, True, True, False], [False] * 4]


def test_settings():
    assert parameters_of(GATv2GRU, "metr_la", settings_of("gatv2_gru")["default"]["arguments"]) == 31_308


def test_bad_arguments():
    with pytest.raises(InputError, match="multiple of heads = 3"):
        GATv2GRU(1, 12, 4, hidden_channels=8, heads=3)
    with pytest.raises(InputError, match="num_layers is 0"):
        GATv2GRU(1, 12, 4, num_layers=0)
    with pytest.raises(InputError, match="edge_index"):
        GATv2GRU(1, 12, 4).predict(torch.zeros(1, 3, 12, 1))
