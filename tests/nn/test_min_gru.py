from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.min_gru import BidirectionalRecurrence, MinGRU, MinimalRecurrence, MinLSTM, RecurrentBlock

CELLS = [MinGRU, MinLSTM]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def sequential(layer: MinimalRecurrence, x: Tensor) -> Tensor:
    state, states = None, []
    for step in x.unbind(dim=-2):
        state = layer.step(step, state)
        states.append(state)
    return torch.stack(states, dim=-2)


@pytest.mark.parametrize("cell", CELLS)
def test_parallel_equals_sequential(cell: type[MinimalRecurrence]) -> None:
    layer = cell(3, 5).double()
    x = 5 * torch.randn(2, 4, 17, 3, dtype=torch.float64)
    states = layer(x)
    assert (states > 0).all()
    torch.testing.assert_close(states, sequential(layer, x))
    torch.testing.assert_close(layer(x, reverse=True), sequential(layer, x.flip(-2)).flip(-2))


@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell: type[MinimalRecurrence]) -> None:
    layer = cell(2, 2).double()
    x = torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True)

    def parallel(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))
        return out

    assert torch.autograd.gradcheck(parallel, (x, layer.weight, layer.bias))
    gradients = [
        torch.autograd.grad(f(x).sin().sum(), (x, layer.weight)) for f in (layer, lambda x: sequential(layer, x))
    ]
    torch.testing.assert_close(*gradients)


def test_min_gru_by_hand() -> None:
    layer = MinGRU(1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0], [1.0]]))
        layer.bias.zero_()
    # Half of the state is replaced: g(2) = 2.5, then g(-1) = 1 / (1 + e).
    candidate = 1 / (1 + torch.e)
    expected = torch.tensor([[1.25], [0.625 + 0.5 * candidate]])
    torch.testing.assert_close(layer(torch.tensor([[2.0], [-1.0]])), expected)


def test_min_lstm_by_hand() -> None:
    layer = MinLSTM(1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0], [0.0], [1.0]]))
        layer.bias.copy_(torch.tensor([0.0, -torch.tensor(3.0).log(), 0.0]))
    # f = 1/2 and i = 1/4: two thirds of the state stay.
    torch.testing.assert_close(layer(torch.tensor([[1.0], [1.0]])), torch.tensor([[0.5], [0.5 * 2 / 3 + 0.5]]))


@pytest.mark.parametrize("cell", CELLS)
def test_new_layers_remember_between_2_and_128_steps(cell: type[MinimalRecurrence]) -> None:
    layer = cell(3, 8).double()
    zero = torch.zeros(3, dtype=torch.float64)
    one = torch.ones(8, dtype=torch.float64)
    kept = layer.step(zero, one) - layer.step(zero)
    torch.testing.assert_close(
        1 / (1 - kept), 2 ** torch.arange(1.0, 9).mul(6 / 7).add(1 / 7).double(), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("cell", CELLS)
def test_extreme_gates_stay_finite(cell: type[MinimalRecurrence]) -> None:
    layer = cell(1, 4)
    x = torch.tensor([[1e4], [-1e4], [0.0], [3e4]], requires_grad=True)
    states = layer(x)
    states.sum().backward()
    assert states.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_directions_and_padding() -> None:
    layer = BidirectionalRecurrence(2, 3, "lstm").double()
    x = torch.randn(2, 9, 2, dtype=torch.float64)
    states, backward = layer(x)
    changed = x.clone()
    changed[:, 4] += 1
    for index, (old, new) in enumerate(zip((states, backward), layer(changed), strict=True)):
        same = (old == new).all(dim=-1).all(dim=0)
        assert torch.equal(same, torch.arange(9) < 4 if index == 0 else torch.arange(9) > 4)
    padding = torch.zeros(2, 12, dtype=torch.bool)
    padding[:, 9:] = True
    longer = torch.cat([x, torch.randn(2, 3, 2, dtype=torch.float64)], dim=1)
    for old, new in zip((states, backward), layer(longer, padding), strict=True):
        torch.testing.assert_close(new[:, :9], old)
    assert (layer(longer, padding)[1][:, 9:] == 0).all()


def test_block_keeps_padding_out() -> None:
    block = RecurrentBlock(4).double()
    x = torch.randn(1, 8, 4, dtype=torch.float64)
    padding = torch.arange(8).unsqueeze(0) >= 5
    torch.testing.assert_close(block(x, padding)[:, :5], block(x[:, :5]))
    block.reset_parameters()
    assert not torch.allclose(block(x, padding)[:, :5], x[:, :5])


def test_bad_input() -> None:
    with pytest.raises(InputError, match="cell is 'rnn'; expected one of"):
        BidirectionalRecurrence(2, 3, "rnn")
    with pytest.raises(InputError, match="channels is 0"):
        MinGRU(2, 0)
    with pytest.raises(InputError, match="channels is 3; expected an even number"):
        RecurrentBlock(3)
    with pytest.raises(InputError, match="dropout is 1"):
        RecurrentBlock(4, dropout=1.0)
    with pytest.raises(InputError, match=r"x has shape \(5, 3\); expected 2 features"):
        MinGRU(2, 4)(torch.zeros(5, 3))
