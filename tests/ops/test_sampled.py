from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.utils import softmax

from stgraph.errors import InputError
from stgraph.ops.sampled import EdgeStructure, edge_softmax, edge_structure, neighbor_sum, sampled_dot


def random_graph(num_nodes: int, num_edges: int, seed: int = 0) -> tuple[Tensor, EdgeStructure]:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, num_nodes, (2, num_edges), generator=generator)
    return edge_index, edge_structure(edge_index, num_nodes)


def random(*shape: int, grad: bool = False) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_(grad)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 3), st.integers(0, 2**16))
def test_products_equal_gathers(num_nodes: int, num_edges: int, batch: int, seed: int) -> None:
    edge_index, structure = random_graph(num_nodes, num_edges, seed)
    source, target = edge_index[:, structure.order]
    assert torch.equal(target, structure.row)
    a, b = random(batch, num_nodes, 4), random(batch, num_nodes, 4) + 1
    torch.testing.assert_close(sampled_dot(a, b, structure), (a[:, target] * b[:, source]).sum(-1))
    weight = random(batch, num_edges)
    expected = torch.zeros(batch, num_nodes, 4, dtype=torch.float64)
    expected.index_add_(1, target, weight.unsqueeze(-1) * b[:, source])
    torch.testing.assert_close(neighbor_sum(weight, b, structure), expected)
    torch.testing.assert_close(edge_softmax(weight, structure), softmax(weight, target, num_nodes=num_nodes, dim=-1))


def test_gradients() -> None:
    _, structure = random_graph(6, 15)
    a, b, weight = random(2, 6, 3, grad=True), random(2, 6, 3, grad=True), random(2, 15, grad=True)
    for function, inputs in (
        (lambda a, b: sampled_dot(a, b, structure), (a, b)),
        (lambda w, b: neighbor_sum(w, b, structure), (weight, b)),
        (lambda w: edge_softmax(w, structure), (weight,)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_constant_degree_is_noticed_and_changes_nothing() -> None:
    edge_index = torch.tensor([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]])
    structure = edge_structure(edge_index, 3)
    assert structure.degree == 2
    logits = random(4, 6)
    general = structure._replace(degree=None)
    torch.testing.assert_close(edge_softmax(logits, structure), edge_softmax(logits, general))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_and_strides(dtype: torch.dtype) -> None:
    _, structure = random_graph(6, 15)
    a = random(6, 3, 2).permute(2, 0, 1)  # not contiguous
    expected = sampled_dot(a.contiguous(), a.contiguous(), structure)
    out = sampled_dot(a.to(dtype), a.to(dtype), structure)
    assert out.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


def test_compile_and_export() -> None:
    _, structure = random_graph(6, 15)

    class Layer(torch.nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return neighbor_sum(edge_softmax(sampled_dot(a, b, structure), structure), b, structure)

    a, b = random(2, 6, 3), random(2, 6, 3)
    expected = Layer()(a, b)
    torch.testing.assert_close(torch.compile(Layer(), backend="aot_eager", fullgraph=True)(a, b), expected)
    torch.testing.assert_close(torch.export.export(Layer(), (a, b)).module()(a, b), expected)


def test_bad_edge_index() -> None:
    with pytest.raises(InputError, match=r"edge_index has shape \(3, 4\)"):
        edge_structure(torch.zeros(3, 4, dtype=torch.long), 2)
