from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from stgraph.errors import InputError
from stgraph.nn import MGAT


def geometric_graph(num_nodes: int, degree: int | None, scale: float = 1.0, dim: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_nodes)
    pos = scale * torch.rand(num_nodes, dim, dtype=torch.float64, generator=generator)
    if degree is None:
        edge_index = torch.randint(0, num_nodes, (2, 4 * num_nodes), generator=generator)
    else:
        source = torch.cdist(pos, pos).fill_diagonal_(torch.inf).topk(degree, largest=False).indices
        edge_index = torch.stack([source.flatten(), torch.arange(num_nodes).repeat_interleave(degree)])
    rel = pos[edge_index[1]] - pos[edge_index[0]]
    return edge_index, torch.cat([rel / rel.abs().amax(0).clamp(min=1e-9), rel.norm(dim=-1, keepdim=True)], dim=-1)


def layer(path: str = "auto", channels: int = 8, **kwargs: int) -> MGAT:
    torch.manual_seed(0)
    made = MGAT(channels, path=path, **kwargs).double().eval()
    with torch.no_grad():
        made.lin_gate.weight.mul_(20)  # gates that differ from node to node
    return made


def inputs(num_nodes: int, channels: int = 8, batch: tuple[int, ...] = (3,)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(*batch, num_nodes, channels, dtype=torch.float64, generator=generator)
    return x, torch.rand(*batch, num_nodes, 5, dtype=torch.float64, generator=generator).softmax(-1)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(("degree", "scale"), [(4, 1.0), (4, 6.0), (None, 3.0)])
def test_paths_are_equal(degree: int | None, scale: float, dim: int, heads: int) -> None:
    """Also where edges are longer than the radii of the scales, and where some node has no edge."""
    edge_index, edge_attr = geometric_graph(12, degree, scale, dim)
    x, plan = inputs(12)
    x.requires_grad_()
    outputs = []
    for path in ("sampled", "gather"):
        out = layer(path, pos_dim=dim, heads=heads)(x, edge_index, edge_attr, plan)
        outputs.append((out, *torch.autograd.grad(out.square().sum() + out[0].sum(), x)))
    for a, b in zip(*outputs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_is_the_formula_of_the_reference() -> None:
    """Written out edge by edge, scale by scale, for one head."""
    edge_index, edge_attr = geometric_graph(7, 3, scale=5.0)
    x, plan = inputs(7, batch=())
    mgat = layer()
    metric = mgat.metric(x, plan)
    gate = mgat.anisotropy(x, plan)[1]
    q, k, v = mgat.lin_query(x), mgat.lin_key(x), mgat.lin_value(x)
    attended = torch.zeros_like(x)
    for i in range(7):
        edges = (edge_index[1] == i).nonzero().flatten()
        logits = []
        for e in edges:
            j, rel, length = edge_index[0, e], edge_attr[e, :2], edge_attr[e, 2]
            at_scales = []
            for radius, base, slope, bonus in ((1.5, 0.25, 0.2, 0.7), (2.5, 0.35, 0.2, 0.5), (4.0, 0.55, 0.25, 0.3)):
                sigma = base + slope * length
                logit = q[i] @ k[j] / 8**0.5 - rel @ metric[i] @ rel / sigma**2 - length / 4
                logit = logit + plan[i] @ plan[j] + bonus * torch.exp(-((length / 1.5) ** 2))
                at_scales.append(logit if length <= radius else torch.tensor(-1e4, dtype=torch.float64))
            logits.append(gate[i] @ torch.stack(at_scales))
        attended[i] = torch.stack(logits).softmax(0) @ v[edge_index[0, edges]]
    expected = mgat.norm(x + mgat.lin_out(attended))
    torch.testing.assert_close(mgat(x, edge_index, edge_attr, plan), expected, rtol=1e-8, atol=1e-8)


def test_is_permutation_equivariant() -> None:
    edge_index, edge_attr = geometric_graph(12, 4)
    x, plan = inputs(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    out = layer("sampled")(x, edge_index, edge_attr, plan)
    moved = layer("sampled")(x[:, order], order.argsort()[edge_index], edge_attr, plan[:, order])
    torch.testing.assert_close(moved, out[:, order])


def test_batch_equals_loop_and_flattened_graphs() -> None:
    edge_index, edge_attr = geometric_graph(6, 2)
    x, plan = inputs(6)
    mgat = layer()
    together = mgat(x, edge_index, edge_attr, plan)
    for b in range(3):
        torch.testing.assert_close(together[b], mgat(x[b], edge_index, edge_attr, plan[b]))
    offset = torch.cat([edge_index + 6 * b for b in range(3)], dim=1)
    flat = mgat(x.flatten(0, 1), offset, edge_attr.repeat(3, 1), plan.flatten(0, 1))
    torch.testing.assert_close(flat, together.flatten(0, 1))


@pytest.mark.parametrize("path", ["sampled", "gather"])
def test_gradcheck(path: str) -> None:
    edge_index, edge_attr = geometric_graph(4, 2, scale=3.0)
    x, plan = inputs(4, batch=())
    mgat = layer(path, channels=8)
    assert torch.autograd.gradcheck(
        lambda x, plan: mgat(x, edge_index, edge_attr, plan), (x.requires_grad_(), plan.requires_grad_())
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_and_strides(dtype: torch.dtype) -> None:
    edge_index, edge_attr = geometric_graph(12, 4)
    x, plan = inputs(12)
    expected = layer("sampled")(x, edge_index, edge_attr, plan)
    strided = x.transpose(0, 1).contiguous().transpose(0, 1).to(dtype)
    out = layer("sampled").to(dtype)(strided, edge_index, edge_attr.to(dtype), plan.to(dtype))
    assert out.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 0.15
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


def test_empty_batch_no_edges_and_one_node() -> None:
    edge_index, edge_attr = geometric_graph(12, 4)
    x, plan = inputs(12)
    assert layer("sampled")(x[:0], edge_index, edge_attr, plan[:0]).shape == (0, 12, 8)
    mgat = layer()
    alone = mgat(x[:, :1], torch.empty(2, 0, dtype=torch.long), torch.empty(0, 3, dtype=torch.float64), plan[:, :1])
    torch.testing.assert_close(alone, mgat.norm(x[:, :1] + mgat.lin_out.bias))


def test_graph_is_prepared_once_and_noticed_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    edge_index, edge_attr = geometric_graph(12, 4)
    x, plan = inputs(12)
    mgat = layer("sampled")
    calls: list[int] = []
    original = MGAT.prepare
    monkeypatch.setattr(MGAT, "prepare", lambda self, *a: calls.append(1) or original(self, *a))
    first = mgat(x, edge_index, edge_attr, plan)
    mgat(x, edge_index.clone(), edge_attr, plan)
    assert len(calls) == 1
    edge_attr[:, 2] *= 2
    changed = mgat(x, edge_index, edge_attr, plan)
    assert len(calls) == 2
    assert not torch.allclose(first, changed)


def test_compile_and_export() -> None:
    edge_index, edge_attr = geometric_graph(12, 4)
    x, plan = inputs(12)
    mgat = layer("sampled")
    prepared = mgat.prepare(edge_index, edge_attr, 12)
    expected = mgat(x, prepared, plan=plan)
    compiled = torch.compile(mgat, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, prepared, plan=plan), expected)
    program = torch.export.export(layer("gather"), (x, edge_index, edge_attr, plan))
    torch.testing.assert_close(program.module()(x, edge_index, edge_attr, plan), expected)


def test_contract() -> None:
    mgat = layer()
    assert isinstance(mgat, MessagePassing)
    assert repr(mgat) == "MGAT(8, pos_dim=2, heads=1, radius=1.5)"
    before = mgat.lin_query.weight.clone()
    mgat.reset_parameters()
    assert not torch.equal(before, mgat.lin_query.weight)


def test_bad_input() -> None:
    edge_index, edge_attr = geometric_graph(12, 4)
    x, _ = inputs(12)
    with pytest.raises(InputError, match="not divisible by heads"):
        MGAT(8, heads=3)
    with pytest.raises(InputError, match="radius is 0"):
        MGAT(8, radius=0)
    with pytest.raises(InputError, match="path is 'fast'"):
        MGAT(8, path="fast")
    with pytest.raises(InputError, match="pos_dim is 0"):
        MGAT(8, pos_dim=0)
    with pytest.raises(InputError, match=r"edge_attr has shape None; expected \(48, 3\)"):
        layer()(x, edge_index)
    with pytest.raises(InputError, match=r"edge_attr has shape \(48, 2\)"):
        layer("sampled")(x, edge_index, edge_attr[:, :2])
