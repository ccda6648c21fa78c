from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.nn.spectral.fno import FNOBlock, FourierNeuralOperator
from stgraph.testing import LayerCase, parametrize_with_checks

TWO = (2, 3)


@pytest.mark.parametrize("modes", [3, TWO])
def test_operator_is_convolution_and_linear_map(modes) -> None:
    layer = FourierNeuralOperator(4, modes, "tanh")
    nn.init.normal_(layer.linear.bias)
    x = torch.randn(2, 6, 5, 4) if layer.dim == 2 else torch.randn(2, 9, 4)
    first = x.movedim(-1, 1)
    expected = torch.tanh(layer.spectral_conv(first) + layer.linear(first)).movedim(1, -1)
    torch.testing.assert_close(layer(x), expected)
    for switch in ("use_spectral_conv", "use_linear"):
        part = FourierNeuralOperator(4, modes, "identity", **{switch: False})
        own = part.linear if part.spectral_conv is None else part.spectral_conv
        assert (part.linear is None) == (switch == "use_linear")
        torch.testing.assert_close(part(x), own(first).movedim(1, -1))


@pytest.mark.parametrize("modes", [3, TWO])
@pytest.mark.parametrize("norm", ["layernorm", "batchnorm", "none"])
def test_block_is_its_definition(modes, norm: str) -> None:
    torch.manual_seed(0)
    block = FNOBlock(4, modes, norm_type=norm)
    x = torch.randn(2, 6, 5, 4) if block.dim == 2 else torch.randn(2, 9, 4)

    def normalise(module: nn.Module, value: Tensor) -> Tensor:
        return module(value.movedim(-1, 1)).movedim(1, -1) if norm == "batchnorm" else module(value)

    y = x + block.fno(normalise(block.norm1, x))
    hidden = F.gelu(block.ffn[0](normalise(block.norm2, y)))
    expected = y + block.ffn[3](hidden)
    torch.testing.assert_close(block(x), expected)
    if norm == "batchnorm":
        before = block.norm1.running_mean.clone()
        block(x + 1)
        assert not torch.equal(before, block.norm1.running_mean)


def test_block_without_network() -> None:
    block = FNOBlock(4, 3, mlp_ratio=0)
    assert block.ffn is None
    assert block.norm2 is None
    x = torch.randn(2, 9, 4)
    torch.testing.assert_close(block(x), x + block.fno(block.norm1(x)))


def test_aliases_of_norms() -> None:
    assert isinstance(FNOBlock(4, norm_type="layer").norm1, nn.LayerNorm)
    assert isinstance(FNOBlock(4, norm_type="batch").norm1, nn.BatchNorm1d)
    assert isinstance(FNOBlock(4, TWO, norm_type="batch").norm1, nn.BatchNorm2d)


def test_a_mask_leaves_no_trace_of_what_it_drops() -> None:
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    x, other = torch.randn(2, 2, 9, 4)
    other[mask] = x[mask]
    for layer in (FourierNeuralOperator(4, 3), FNOBlock(4, 3)):
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        assert torch.equal(layer(x, mask), layer(other, mask.long()))
        assert layer(x, mask)[~mask].abs().max() == 0
        torch.testing.assert_close(layer(x, mask)[0], layer(x)[0])
    torch.testing.assert_close(FNOBlock(4, 3, norm_type="none", mlp_ratio=0)(x, mask).shape, x.shape)


def test_padding_reaches_the_convolution_as_zeros() -> None:
    block, x = FNOBlock(4, 3, mlp_ratio=0), torch.randn(1, 9, 4)
    nn.init.normal_(block.norm1.bias)
    mask = torch.arange(9) < 5
    expected = x + block.fno(torch.where(mask.unsqueeze(-1), block.norm1(x), 0))
    torch.testing.assert_close(block(x, mask)[:, :5], expected[:, :5])


@pytest.mark.parametrize("kind", [FourierNeuralOperator, FNOBlock])
def test_no_parameter_is_cast(kind) -> None:
    layer = kind(4, 3)
    ids = {name: id(p) for name, p in layer.named_parameters()}
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    out = layer(x)
    assert out.dtype == torch.float64
    assert all(p.dtype == torch.float32 and id(p) == ids[name] for name, p in layer.named_parameters())
    torch.testing.assert_close(layer.double()(x), out)


def test_one_function_at_two_resolutions() -> None:
    """Trained on 16 points to take the derivative, the operator takes it on 64."""
    torch.manual_seed(0)

    def sample(points: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        t = torch.arange(points) / points * 2 * torch.pi
        k = torch.arange(1, 4).view(3, 1)
        a, phase = torch.randn(count, 3, 1, generator=g), 6 * torch.rand(count, 3, 1, generator=g)
        return (
            (a * (k * t + phase).sin()).sum(1, keepdim=True).mT,
            (a * k * (k * t + phase).cos()).sum(1).unsqueeze(-1),
        )

    layer = FourierNeuralOperator(1, 5, "identity")
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=60)
    x, y = sample(16, 32, seed=0)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (layer(x) - y).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    fine, derivative = sample(64, 8, seed=1)
    assert (layer(fine) - derivative).abs().max() < 1e-2


@pytest.mark.parametrize("kind", [FourierNeuralOperator, FNOBlock])
def test_nodes_of_grids(kind) -> None:
    layer = kind(4, TWO)
    images = [torch.randn(4, 5, 4), torch.randn(3, 3, 4)]
    nodes = torch.cat([image.flatten(0, 1) for image in images])
    expected = torch.cat([layer(image).flatten(0, 1) for image in images])
    torch.testing.assert_close(layer(nodes, grid=[(4, 5), (3, 3)]), expected)
    torch.testing.assert_close(layer(images[0].flatten(0, 1), grid=Data(grid=(4, 5), num_nodes=20)), expected[:20])
    with pytest.raises(InputError, match=f"no attribute grid, and {kind.__name__} needs"):
        layer(nodes, grid=Data(num_nodes=29))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FourierNeuralOperator(0), "hidden_dim is 0"),
        (lambda: FourierNeuralOperator(4, (1, 2, 3)), "expected a number, or two"),
        (lambda: FourierNeuralOperator(4, 0), "modes is 0"),
        (lambda: FourierNeuralOperator(4, activation="gelo"), "activation is 'gelo'"),
        (lambda: FourierNeuralOperator(4, use_linear=False, use_spectral_conv=False), "both off"),
        (lambda: FNOBlock(4, norm_type="group"), "norm_type is 'group'"),
        (lambda: FNOBlock(4, dropout=1.5), "dropout is 1.5"),
        (lambda: FNOBlock(4, mlp_ratio=0.1), "mlp_ratio is 0.1"),
        (lambda: FNOBlock(4)(torch.zeros(2, 9, 5)), "so 5 channels"),
        (lambda: FNOBlock(4)(torch.zeros(2, 9, 4), grid=(3, 3)), "one-dimensional; give two modes"),
        (lambda: FNOBlock(4, TWO)(torch.zeros(2, 3, 3, 4), torch.ones(2, 9)), "takes whole grids"),
        (lambda: FNOBlock(4, TWO)(torch.zeros(9, 4), batch=torch.zeros(9)), "takes whole grids"),
        (lambda: FNOBlock(4, TWO)(torch.zeros(9, 4)), r"expected \(..., H, W, 4\)"),
        (lambda: FNOBlock(4)(torch.zeros(9, 4), torch.ones(9), torch.zeros(9).long()), "both mask and batch"),
    ],
)
def test_bad_input(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def sequences(generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(2, 7, 4, generator=generator),)


def images(generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(2, 3, 5, 4, generator=generator),)


@parametrize_with_checks(
    [
        LayerCase("FNO", lambda: FourierNeuralOperator(4, 3), sequences, mask="mask", graph_batch=True, any_dtype=True),
        LayerCase("FNO2d", lambda: FourierNeuralOperator(4, TWO), images, token_axis=None, any_dtype=True),
        LayerCase("FNOBlock", lambda: FNOBlock(4, 3), sequences, mask="mask", graph_batch=True, any_dtype=True),
        LayerCase("FNOBlock2d", lambda: FNOBlock(4, TWO), images, token_axis=None, any_dtype=True),
    ]
)
def test_contract(case, check) -> None:
    check(case)
