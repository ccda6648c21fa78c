from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.nn import ResidualBlock


def test_equals_the_formula():
    block, x = ResidualBlock(4, expansion=3).double(), torch.randn(2, 5, 4, dtype=torch.float64)
    first, _, second = block.layers
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(block(x), x + hidden @ second.weight.T + second.bias)
    assert hidden.shape[-1] == 12


def test_reset_draws_anew_and_a_seed_repeats_it():
    block = ResidualBlock(4)
    before = block.layers[0].weight.clone()
    torch.manual_seed(3)
    block.reset_parameters()
    once = block.layers[0].weight.clone()
    torch.manual_seed(3)
    block.reset_parameters()
    assert torch.equal(block.layers[0].weight, once)
    assert not torch.equal(before, once)


@pytest.mark.parametrize(("channels", "expansion", "named"), [(0, 2, "channels is 0"), (4, 0, "expansion is 0")])
def test_sizes_below_one_are_refused(channels, expansion, named):
    with pytest.raises(InputError, match=named):
        ResidualBlock(channels, expansion)
