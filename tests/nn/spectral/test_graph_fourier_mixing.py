from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.spectral import GraphFourierMixing
from stgraph.ops.graph_fourier import laplacian_modes
from stgraph.ops.stencil import grid_stencil


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def ring(nodes: int) -> Tensor:
    return torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])


def test_equals_its_formula() -> None:
    edge_index = grid_stencil(4, 5, 8)
    layer = GraphFourierMixing(3, num_modes=6).double()
    with torch.no_grad():
        layer.response.copy_(random(*layer.response.shape))
    x = random(2, 20, 3)
    values, vectors = (part.double() for part in laplacian_modes(edge_index, 20, 6))
    expected = x.clone()
    for value, vector in zip(values, vectors.T, strict=True):
        response = layer.frequency_response(value)
        expected = expected + vector.unsqueeze(-1) * response * (vector @ x).unsqueeze(-2)
    torch.testing.assert_close(layer(x, edge_index), expected, rtol=0, atol=1e-5)  # modes are kept in float32


def test_response_is_linear_between_its_values() -> None:
    layer = GraphFourierMixing(1, num_knots=3).double()
    with torch.no_grad():
        layer.response.copy_(torch.tensor([[1.0], [2.0], [4.0]]))
    frequency = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    found = layer.frequency_response(2 * frequency.square()).squeeze(-1)
    torch.testing.assert_close(found, torch.tensor([1.0, 1.5, 2.0, 3.0, 4.0], dtype=torch.float64))


def test_does_not_depend_on_the_basis_of_a_repeated_eigenvalue() -> None:
    # On a ring all eigenvalues but the first are double; the odd number of modes takes whole pairs.
    layer, x = GraphFourierMixing(2, num_modes=5).double(), random(9, 2)
    with torch.no_grad():
        layer.response.copy_(random(*layer.response.shape))
    out = layer(x, ring(9))
    for shift in (1, 4):
        torch.testing.assert_close(layer(x.roll(shift, 0), ring(9)), out.roll(shift, 0), rtol=0, atol=1e-5)


def test_all_modes_with_equal_response_double_the_input() -> None:
    layer, x = GraphFourierMixing(2, num_modes=7).double(), random(7, 2)
    torch.nn.init.ones_(layer.response)
    torch.testing.assert_close(layer(x, ring(7)), 2 * x, rtol=0, atol=1e-5)


def test_carries_over_to_other_graphs_and_keeps_the_modes_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: object) -> tuple[Tensor, Tensor]:
        calls.append(arguments[1])
        return laplacian_modes(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("stgraph.nn.spectral.graph_fourier.laplacian_modes", counted)
    layer = GraphFourierMixing(2, num_modes=8).double()
    for edge_index in (ring(6), ring(6).clone(), ring(6)):
        layer(random(6, 2), edge_index)
    assert calls == [6]
    assert layer(random(11, 2), ring(11)).shape == (11, 2)
    assert layer(random(6, 2), ring(6), edge_weight=torch.rand(6)).shape == (6, 2)
    assert calls == [6, 11, 6]


def test_a_large_graph_uses_lanczos_iterations() -> None:
    layer, x = GraphFourierMixing(2, num_modes=4).double(), random(900, 2)
    out = layer(x, grid_stencil(30, 30, 4))
    torch.testing.assert_close(layer(out, grid_stencil(30, 30, 4)).shape, out.shape)
    assert (out - x).norm() < x.norm()


def test_modes_given_compile_and_export() -> None:
    layer, x = GraphFourierMixing(3, num_modes=4).double(), random(2, 6, 3)
    expected = layer(x, ring(6))
    modes = layer.modes(ring(6), 6)
    torch.testing.assert_close(layer(x, modes=modes), expected, rtol=0, atol=0)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, modes=modes), expected)
    exported = torch.export.export(layer, (x,), {"modes": modes}).module()
    torch.testing.assert_close(exported(x, modes=modes), expected)


def test_bad_input() -> None:
    layer = GraphFourierMixing(3)
    with pytest.raises(InputError, match="edge_index and modes are both None"):
        layer(torch.zeros(4, 3))
    with pytest.raises(InputError, match=r"modes has eigenvectors \(4, 2\); expected \(4, 32\)"):
        layer(torch.zeros(4, 3), modes=(torch.zeros(1, 2), torch.zeros(4, 2)))
    with pytest.raises(InputError, match="num_modes is 0"):
        GraphFourierMixing(3, num_modes=0)
    with pytest.raises(InputError, match="num_knots is 1"):
        GraphFourierMixing(3, num_knots=1)
    with pytest.raises(InputError, match="so 2 channels"):
        layer(torch.zeros(4, 2), ring(4))
