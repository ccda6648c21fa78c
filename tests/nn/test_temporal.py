from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn import SFE, TemporalEncoder, TGating


def step_by_step(encoder: TemporalEncoder, x: Tensor, x_data: Tensor, time: Tensor, node: Tensor | None) -> Tensor:
    """The layers one after another, with the features of every step."""
    common = torch.cat(
        [encoder.time_embedding(time).expand(x.shape[0], -1, -1), encoder.mean_embedding(x.mean(dim=1))], dim=-1
    )
    h = encoder.lin_in(x) + common.unsqueeze(1)
    if node is not None:
        h = h + node.unsqueeze(1)
    if encoder.sfe is not None:
        h = encoder.sfe(h)
    return encoder.tgating(h, x_data)


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
@pytest.mark.parametrize("with_sfe", [True, False])
@pytest.mark.parametrize("per_node", [True, False])
def test_equals_the_layers_in_sequence(steps: int, with_sfe: bool, per_node: bool) -> None:
    torch.manual_seed(0)
    sfe = SFE(6, num_frequencies=4) if with_sfe else None
    encoder = TemporalEncoder(2, 6, steps, [5, 24], sfe, TGating(steps, per_node=per_node)).double()
    x, x_data = torch.randn(2, 3, 4, steps, 2, dtype=torch.float64)[:, :, :, :, :].flatten(0, 1).split(3)
    time = torch.randint(0, 1000, (3, steps)).double()
    for node in (None, torch.randn(4, 6, dtype=torch.float64)):
        results = []
        for function in (encoder, lambda *a: step_by_step(encoder, *a)):
            out = function(x, x_data, time, node)
            gradients = torch.autograd.grad(out.sin().sum(), list(encoder.parameters()), allow_unused=True)
            results.append((out, *(g for g in gradients if g is not None)))
        assert len(results[0]) == len(results[1])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert encoder(x[:0], x_data[:0], time[:0]).shape == (0, 4, 6)


def test_another_layer_in_place_of_sfe() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 6)
    encoder = TemporalEncoder(2, 6, 5, [24], None, TGating(5, per_node=True), layer=layer, gain=0.7).double()
    x, x_data = torch.randn(2, 3, 4, 5, 2, dtype=torch.float64)
    time, node = torch.arange(5), torch.randn(4, 6, dtype=torch.float64)
    common = torch.cat(
        [encoder.time_embedding(time).expand(3, -1, -1), encoder.mean_embedding(x.mean(dim=1))], dim=-1
    ).unsqueeze(1)
    h = encoder.lin_in(x) + common + node.unsqueeze(1)
    expected = encoder.tgating(h + encoder.gain * layer(h), x_data)
    assert encoder.gain.item() == pytest.approx(0.7)
    torch.testing.assert_close(encoder(x, x_data, time, node), expected)
    with pytest.raises(InputError, match="both sfe and layer"):
        TemporalEncoder(2, 6, 5, [24], SFE(6), TGating(5), layer=layer)
