"""The pre-norm transformer block and its attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stgraph.errors import InputError
from stgraph.nn.log_period_encoding import LogPeriodEncoding
from stgraph.nn.spectral import sequence_layer
from stgraph.nn.transformer_block import SelfAttention, TransformerBlock
from stgraph.testing import Check, LayerCase, parametrize_with_checks

CASES = [
    LayerCase(
        name="TransformerBlock",
        make=lambda: TransformerBlock(4, heads=2),
        inputs=lambda generator: (torch.randn(2, 5, 4, generator=generator),),
        permutation_equivariant=True,
        skip={
            "check_gradgradcheck": "scaled_dot_product_attention has no second derivative on the CPU",
            "check_compile": "check_export traces the block as well, in less time",
        },
    )
]


@parametrize_with_checks(CASES)
def test_contract(case: LayerCase, check: Check) -> None:
    check(case)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


PADDING = torch.arange(7) >= torch.tensor([[7], [4], [1]])


def test_attention_is_that_of_torch(x):
    own, other = SelfAttention(8, heads=2).double(), nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        other.in_proj_weight.copy_(own.lin_in.weight)
        other.in_proj_bias.copy_(own.lin_in.bias)
        other.out_proj.load_state_dict(own.lin_out.state_dict())
    for padding in (None, PADDING):
        torch.testing.assert_close(own(x, padding), other(x, x, x, key_padding_mask=padding)[0])


def test_block_is_that_of_torch(x):
    own = TransformerBlock(8, heads=2).double()
    other = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True).double()
    with torch.no_grad():
        other.self_attn.in_proj_weight.copy_(own.mix.lin_in.weight)
        other.self_attn.in_proj_bias.copy_(own.mix.lin_in.bias)
        for mine, theirs in (
            (own.mix.lin_out, other.self_attn.out_proj),
            (own.norm1, other.norm1),
            (own.norm2, other.norm2),
            (own.feed_forward[0], other.linear1),
            (own.feed_forward[2], other.linear2),
        ):
            theirs.load_state_dict(mine.state_dict())
    torch.testing.assert_close(own(x), other(x))


def test_padding_has_no_influence(x):
    block = TransformerBlock(8, heads=2).double()
    short = block(x[1:2, :4])
    torch.testing.assert_close(block(x, PADDING)[1:2, :4], short)
    assert not torch.allclose(block(x)[1:2, :4], short)


def test_a_row_of_padding_gives_finite_numbers_and_gradients(x):
    block = TransformerBlock(8, heads=2).double()
    padding = PADDING.clone()
    padding[0] = True
    x.requires_grad_()
    out = block(x, padding)
    assert out.isfinite().all()
    out.sum().backward()
    assert x.grad.isfinite().all()
    torch.testing.assert_close(out[1], block(x, PADDING)[1])


def test_rotation_depends_on_differences_of_times(x):
    attention, encoding = SelfAttention(8, heads=2).double(), LogPeriodEncoding(4, 1.0, 20.0)
    time = torch.tensor([0.0, 0.5, 1.7, 2.0, 4.4, 5.0, 9.0], dtype=torch.float64)
    angle = 2 * torch.pi * (time.unsqueeze(-1) + torch.tensor([0.0, 3.21])[:, None, None]) / encoding.periods()
    first, shifted = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2).unsqueeze(1)
    torch.testing.assert_close(attention(x, rotation=first), attention(x, rotation=shifted))
    stretched = encoding(1.5 * time).unsqueeze(0)
    assert not torch.allclose(attention(x, rotation=first), attention(x, rotation=stretched), atol=1e-3)


def test_no_time_differences_are_no_rotation(x):
    attention = SelfAttention(8, heads=2).double()
    rotation = LogPeriodEncoding(4)(torch.full((3, 7), 5.0))
    torch.testing.assert_close(attention(x, rotation=rotation), attention(x))


def test_a_mixer_takes_the_place_of_attention(x):
    block = TransformerBlock(8, heads=2, mixer=sequence_layer("fourier", 8, 7)).double()
    assert not any(isinstance(module, SelfAttention) for module in block.modules())
    changed = torch.where(PADDING.unsqueeze(-1), 9.0, x)
    real = ~PADDING
    assert torch.equal(block(x, PADDING)[real], block(changed, PADDING)[real])


def test_dropout_acts_in_training_only(x):
    block = TransformerBlock(8, heads=2, dropout=0.5).double()
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_new_parameters_are_drawn():
    block = TransformerBlock(8, heads=2)
    before = [parameter.clone() for parameter in (block.mix.lin_in.weight, block.feed_forward[2].weight)]
    block.reset_parameters()
    after = (block.mix.lin_in.weight, block.feed_forward[2].weight)
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_divide_the_channels(heads):
    with pytest.raises(InputError, match=f"heads is {heads}; expected a divisor of the 8 channels"):
        SelfAttention(8, heads=heads)


@pytest.mark.parametrize("mixer", [None, nn.Identity()])
def test_dropout_is_a_probability(mixer):
    with pytest.raises(InputError, match=r"dropout is 1\.5"):
        TransformerBlock(8, 2, 1.5, mixer=mixer)
