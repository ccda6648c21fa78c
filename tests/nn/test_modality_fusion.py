from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.nn.modality_fusion import CrossAttentionFusion, GatedFusion


def test_gates_follow_the_formula() -> None:
    torch.manual_seed(0)
    fusion = GatedFusion(4, 3, 2).double()
    h, e = torch.randn(5, 7, 4, dtype=torch.float64), torch.randn(5, 2, 3, dtype=torch.float64)
    weight, bias = fusion.gate_h.weight.unflatten(0, (2, 4)), fusion.gate_h.bias.unflatten(0, (2, 4))
    expected = h.clone()
    for m in range(2):
        gate = torch.sigmoid(h @ weight[m].T + bias[m] + (e[:, m] @ fusion.gate_embedding[m].weight.T).unsqueeze(1))
        expected += gate * fusion.value[m](e[:, m]).unsqueeze(1)
    torch.testing.assert_close(fusion(h, e), expected)
    torch.testing.assert_close(fusion(h[:, 2], e), expected[:, 2])


def test_attention_does_not_mind_the_order_of_tokens_and_reads_each_row_alone() -> None:
    torch.manual_seed(0)
    fusion = CrossAttentionFusion(8, 6, num_heads=2).double()
    h, tokens = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(3, 4, 6, dtype=torch.float64)
    out = fusion(h, tokens)
    torch.testing.assert_close(fusion(h, tokens.flip(1)), out)
    changed = tokens.clone()
    changed[1] += torch.randn(4, 6, dtype=torch.float64)
    difference = (fusion(h, changed) - out).abs().amax((1, 2))
    assert difference[1] > 1e-3
    torch.testing.assert_close(difference[[0, 2]], torch.zeros(2, dtype=torch.float64))


def test_reset_parameters_draws_all_weights() -> None:
    for fusion in (CrossAttentionFusion(8, 6), GatedFusion(8, 6, 2)):
        before = {name: value.clone() for name, value in fusion.named_parameters()}
        fusion.reset_parameters()
        for name, value in fusion.named_parameters():
            assert value.dim() == 1 or not torch.equal(value, before[name]), name


def test_heads_divide_the_width() -> None:
    with pytest.raises(InputError, match="num_heads is 3; expected a divisor of the width, 8"):
        CrossAttentionFusion(8, 6, num_heads=3)
