from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Batch, Data

from stgraph.errors import InputError
from stgraph.nn.spectral import AFNOMixing


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_rows(layer: AFNOMixing, x: Tensor) -> Tensor:
    """The layer as its formula reads: one frequency after another, written into a full complex spectrum."""
    size, (tokens, channels) = layer.max_sequence_length, x.shape[-2:]
    u = F.pad(layer.norm(x), (0, 0, 0, size - tokens))
    spectrum = torch.fft.rfft2(u, norm="ortho")
    out = torch.zeros_like(spectrum)
    for i in range(layer.modes_seq):
        row = i if i < (layer.modes_seq + 1) // 2 else size - layer.modes_seq + i
        weight = torch.view_as_complex(layer.fourier_weight[i])
        z = torch.view_as_real(spectrum[..., row, : layer.modes_hidden] * weight).flatten(-2)
        z = torch.view_as_complex(layer.mlp(z).unflatten(-1, (-1, 2)).contiguous())
        out[..., row, : layer.modes_hidden] = z
    return x + torch.fft.irfft2(out, s=(size, channels), norm="ortho")[..., :tokens, :]


@pytest.mark.parametrize(("tokens", "size"), [(1, 1), (2, 2), (7, 7), (7, 12), (31, 31), (12, 12)])
@pytest.mark.parametrize("modes", [None, 1, 4])
def test_equals_its_formula(tokens: int, size: int, modes: int | None) -> None:
    layer = AFNOMixing(6, size, modes, modes).double()
    x = random(3, tokens, 6)
    torch.testing.assert_close(layer(x), by_rows(layer, x))


def test_modes_are_capped() -> None:
    layer = AFNOMixing(6, 8, modes_seq=100, modes_hidden=100)
    assert (layer.modes_seq, layer.modes_hidden) == (8, 4)
    layer = AFNOMixing(6, 8)
    assert (layer.modes_seq, layer.modes_hidden) == (4, 3)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert shapes == {
        "fourier_weight": (4, 3, 2),
        "mlp.0.weight": (12, 6),
        "mlp.0.bias": (12,),
        "mlp.3.weight": (6, 12),
        "mlp.3.bias": (6,),
        "norm.weight": (6,),
        "norm.bias": (6,),
    }


@pytest.mark.parametrize("size", [8, 9])
def test_commutes_with_reversal(size: int) -> None:
    layer = AFNOMixing(6, size, modes_seq=5).double()
    with torch.no_grad():
        layer.fourier_weight[3:] = layer.fourier_weight[1:3].flip(0)
    x = random(2, size, 6)

    def reverse(x: Tensor) -> Tensor:
        return x.flip(1).roll(1, dims=1)

    torch.testing.assert_close(layer(reverse(x)), reverse(layer(x)))


def test_branch_is_of_the_order_of_the_input() -> None:
    torch.manual_seed(0)
    layer, x = AFNOMixing(32, 64), torch.randn(4, 64, 32)
    ratio = (layer(x) - x).norm() / x.norm()
    assert 0.05 < ratio < 5
    assert layer(torch.zeros(1, 64, 32)).abs().max() < 1


def test_padding_by_mask_is_padding_by_length() -> None:
    layer = AFNOMixing(6, 12).double()
    x = random(2, 9, 6)
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    out = layer(x, mask)
    torch.testing.assert_close(out[1, :5], layer(x[1:, :5])[0])
    assert bool((out[1, 5:] == 0).all())


def test_mini_batch_of_grids_equals_each_grid() -> None:
    layer = AFNOMixing(4, 20, modes_seq=7).double()
    shapes = [(3, 4), (2, 5), (3, 4), (1, 1)]
    graphs = [Data(x=random(h * w, 4) + i, grid=(h, w)) for i, (h, w) in enumerate(shapes)]
    batch = Batch.from_data_list(graphs)
    expected = torch.cat([layer(graph.x, grid=graph) for graph in graphs])
    torch.testing.assert_close(layer(batch.x, grid=batch), expected)


def test_grid_commutes_with_transposing_the_plane() -> None:
    # The lowest frequencies of a square plane, taken as whole shells, do not tell rows from columns.
    layer = AFNOMixing(4, 25, modes_seq=9).double()
    with torch.no_grad():
        layer.fourier_weight.copy_(layer.fourier_weight[:1].clone())
    x = random(5, 5, 4)
    out = layer(x.flatten(0, 1), grid=(5, 5)).view(5, 5, 4)
    turned = layer(x.transpose(0, 1).flatten(0, 1), grid=(5, 5)).view(5, 5, 4)
    torch.testing.assert_close(turned, out.transpose(0, 1))


def test_soft_threshold_removes_what_is_small() -> None:
    layer = AFNOMixing(6, 8, sparsity_threshold=100.0).double()
    x = random(2, 8, 6)
    torch.testing.assert_close(layer(x), x)


def test_dense_mixing_keeps_low_positive_frequencies_only() -> None:
    layer = AFNOMixing(6, 8, modes_seq=2, modes_hidden=2, mixing="dense").double()
    x = random(3, 8, 6)
    spectrum = torch.fft.rfft2(layer(x) - x).abs()
    # Row -1 holds the mirror image of row 1 in column 0, as the output is real.
    spectrum[:, :2, :2] = 0
    spectrum[:, -1, 0] = 0
    assert spectrum.max() < 1e-9
    assert layer.mlp[0].in_features == 2 * 2 * 2


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"x has 9 tokens; expected at most max_sequence_length = 8"):
        AFNOMixing(4, 8)(torch.zeros(2, 9, 4))
    with pytest.raises(InputError, match=r"grid \(3, 3\) has 9 cells; expected at most max_sequence_length = 8"):
        AFNOMixing(4, 8)(torch.zeros(9, 4), grid=(3, 3))
    with pytest.raises(InputError, match="the graph has no attribute grid, and AFNOMixing needs"):
        AFNOMixing(4, 8)(torch.zeros(4, 4), grid=Data())
    with pytest.raises(InputError, match=r"grid is \(2, 3\); expected 4 cells"):
        AFNOMixing(4, 8)(torch.zeros(4, 4), grid=(2, 3))
    with pytest.raises(TypeError, match="grid is 'wide'"):
        AFNOMixing(4, 8)(torch.zeros(4, 4), grid="wide")
    with pytest.raises(InputError, match="expected positive sizes"):
        AFNOMixing(4, 8)(torch.zeros(4, 4), grid=(-2, -2))
    with pytest.raises(InputError, match="mixing is 'dense'; expected 'shared' for a grid"):
        AFNOMixing(4, 8, mixing="dense")(torch.zeros(4, 4), grid=(2, 2))
    with pytest.raises(InputError, match="more than one of mask, batch and grid"):
        AFNOMixing(4, 8)(torch.zeros(4, 4), torch.ones(4), grid=(2, 2))
    for arguments, message in (
        ({"modes_seq": 0}, "modes_seq is 0"),
        ({"mixing": "block"}, "mixing is 'block'"),
        ({"mlp_ratio": 0.1}, r"mlp_ratio is 0\.1"),
        ({"activation": "softmax"}, "activation is 'softmax'; expected one of"),
        ({"sparsity_threshold": -1.0}, "sparsity_threshold is -1"),
    ):
        with pytest.raises(InputError, match=message):
            AFNOMixing(4, 8, **arguments)


def test_a_grid_with_fewer_cells_than_modes() -> None:
    # A grid with fewer cells than modes uses the first weights.
    layer = AFNOMixing(4, 16, modes_seq=9).double()
    assert layer(random(4, 4), grid=(2, 2)).shape == (4, 4)
    assert F.mse_loss(layer(random(4, 4), grid=(2, 2)), random(4, 4)) > 0
