from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from stgraph.errors import InputError
from stgraph.nn import GOT
from stgraph.nn.got import TRANSPORTS
from stgraph.ops.sinkhorn import ConvergenceWarning


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def layer(**kwargs: object) -> GOT:
    torch.manual_seed(0)
    return GOT(6, num_prototypes=5, **kwargs).double().eval()


def test_plan_is_the_semi_relaxed_entropic_plan() -> None:
    """Unbalanced transport with a fixed node marginal and a free prototype marginal, as POT solves it."""
    got, z, pos = layer(eps=0.3, transport="semi_relaxed"), random(4, 6), random(4, 2)
    plan = got(z, pos)[1]
    cost = got.cost(z, pos).detach().numpy()
    nodes = np.full(4, 0.25)
    kernel = np.exp(-cost / (0.3 + 1e-6))
    # POT's solver with an exact first marginal and no penalty on the second is one scaling of the rows.
    expected = ot.unbalanced.sinkhorn_unbalanced(
        nodes, np.ones(5), cost, reg=0.3 + 1e-6, reg_m=(np.inf, 0), reg_type="kl", c=np.ones((4, 5)), numItermax=10
    )
    np.testing.assert_allclose(plan.detach().numpy() / 4, expected, rtol=1e-8)
    np.testing.assert_allclose(plan.detach().numpy(), kernel / kernel.sum(1, keepdims=True), rtol=1e-8)
    torch.testing.assert_close(plan.sum(-1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("embedding_distance", [True, False])
def test_cost(dim: int, embedding_distance: bool) -> None:
    got, z, pos = layer(pos_dim=dim, embedding_distance=embedding_distance), random(4, 6), random(4, dim)
    expected = (pos.unsqueeze(1) - got.prototype_pos.tanh()).norm(dim=-1)
    if embedding_distance:
        q, p = got.lin_query(z), got.lin_prototype(got.prototypes)
        expected = expected + 1 - torch.cosine_similarity(q.unsqueeze(1), p, dim=-1)
    torch.testing.assert_close(got.cost(z, pos), expected)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("learn_marginal", [False, True])
def test_batches_equivariance_and_gradients(transport: str, learn_marginal: bool) -> None:
    got = layer(transport=transport, learn_marginal=learn_marginal, eps=0.3, rho=0.5, tol=1e-13)
    z, pos = random(3, 4, 6), random(4, 2)
    out, plan = got(z, pos)
    assert plan.shape == (3, 4, 5)
    torch.testing.assert_close(torch.stack([got(one, pos)[0] for one in z]), out)
    torch.testing.assert_close(got(z, pos.expand(3, 4, 2))[0], out)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(got(z[:, order], pos[order])[0], out[:, order])
    assert torch.autograd.gradcheck(got, (z[0].clone().requires_grad_(), pos.clone().requires_grad_()))
    assert got(z[:0], pos)[0].shape == (0, 4, 6)
    assert got(z[:, :1], pos[:1])[0].shape == (3, 1, 6)


def reference_plan(got: GOT, z: Tensor, pos: Tensor, nodes: np.ndarray) -> np.ndarray:
    """The plan of one graph by POT."""
    cost = got.cost(z, pos).detach().numpy()
    mass = np.full(5, 0.2) if got.marginal_logits is None else got.marginal_logits.softmax(-1).detach().numpy()
    if got.transport == "balanced":
        return ot.bregman.sinkhorn_log(nodes, mass, cost, got.eps / got.tau, numItermax=100000, stopThr=1e-13)
    return ot.unbalanced.sinkhorn_unbalanced(
        nodes, mass, cost, got.eps / got.tau, (np.inf, got.rho), reg_type="kl", numItermax=100000, stopThr=1e-13
    )


@pytest.mark.parametrize("transport", ["balanced", "relaxed"])
def test_plan_is_that_of_pot(transport: str) -> None:
    got = layer(transport=transport, learn_marginal=True, eps=0.2, tau=1.3, rho=0.4, tol=1e-12)
    assert got.marginal_logits is not None
    torch.nn.init.normal_(got.marginal_logits)
    z, pos, weight = random(7, 6), random(7, 2), random(7).square()
    for weights in (None, weight):
        nodes = (torch.ones(7, dtype=torch.float64) if weights is None else weight).numpy()
        expected = reference_plan(got, z, pos, nodes / nodes.sum()) / (nodes / nodes.sum())[:, None]
        np.testing.assert_allclose(got(z, pos, weight=weights)[1].detach().numpy(), expected, atol=1e-8)


def test_balanced_transport_uses_all_prototypes() -> None:
    """The row softmax lets the nodes share one prototype; a fixed marginal does not."""
    z, pos = random(40, 6), random(40, 2)
    used = {}
    for transport in ("balanced", "semi_relaxed", "relaxed"):
        got = layer(transport=transport, eps=0.02, rho=0.05, tol=1e-8)
        with torch.no_grad():
            got.prototype_pos[0] = 0.0
            got.prototype_pos[1:] = 3.0  # all but one are far from the nodes
        used[transport] = got.effective_prototypes(got(z, 0.1 * pos)[1]).item()
    assert used["balanced"] == pytest.approx(5, abs=1e-6)
    assert used["semi_relaxed"] < used["relaxed"] < used["balanced"]
    assert used["semi_relaxed"] < 1.5


def test_effective_prototypes() -> None:
    plan = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    expected = torch.distributions.Categorical(torch.tensor([0.5, 0.25, 0.25])).entropy().exp()
    torch.testing.assert_close(GOT.effective_prototypes(plan), expected)
    expected = torch.distributions.Categorical(torch.tensor([0.2, 0.4, 0.4])).entropy().exp()
    torch.testing.assert_close(GOT.effective_prototypes(plan, torch.tensor([1.0, 4.0])), expected)
    assert GOT.effective_prototypes(plan.expand(4, 2, 3)).shape == (4,)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_graph_of_a_mini_batch_is_a_problem_of_its_own(transport: str) -> None:
    got = layer(transport=transport, eps=0.1, tol=1e-12)
    sizes = (3, 1, 6)
    graphs = [Data(z=random(n, 6) * (i + 1), pos=random(n, 2) * (i + 1)) for i, n in enumerate(sizes)]
    weights = [random(n).square() for n in sizes]
    together = Batch.from_data_list(graphs)
    for weight in (None, torch.cat(weights)):
        out, plan = got(together.z, together.pos, together.batch, weight)
        alone = [got(g.z, g.pos, weight=None if weight is None else w) for g, w in zip(graphs, weights, strict=True)]
        torch.testing.assert_close(out, torch.cat([o for o, _ in alone]))
        torch.testing.assert_close(plan, torch.cat([p for _, p in alone]))
        stacked, _ = got(torch.stack([together.z, -together.z]), together.pos, together.batch, weight)
        torch.testing.assert_close(stacked[0], out)
    # A graph number without nodes changes nothing.
    torch.testing.assert_close(
        got(together.z, together.pos, together.batch * 2)[0], got(together.z, together.pos, together.batch)[0]
    )


def test_nodes_of_weight_zero_do_not_count() -> None:
    got, z, pos = layer(tol=1e-12), random(5, 6), random(5, 2)
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    out, plan = got(z, pos, weight=weight)
    kept = weight > 0
    torch.testing.assert_close(out[kept], got(z[kept], pos[kept], weight=weight[kept])[0])
    torch.testing.assert_close(plan.sum(-1), torch.ones(5, dtype=torch.float64))  # and yet they are transported


def test_positions_from_k_means_plus_plus() -> None:
    pos = random(30, 2).tanh()
    got = layer()
    got.init_positions(pos, seed=3)
    chosen = got.prototype_pos.detach().tanh()
    assert torch.cdist(chosen, pos).min(dim=1).values.max() < 1e-7
    assert torch.unique(chosen, dim=0).shape[0] == 5
    other = layer()
    before = other.prototype_pos.detach().clone()
    other.init_positions(pos[:2].repeat(4, 1))
    assert torch.cdist(other.prototype_pos.detach()[:2].tanh(), pos[:2]).min(dim=1).values.max() < 1e-7
    assert torch.equal(other.prototype_pos[2:], before[2:])


def test_warns_once_where_the_iteration_does_not_converge() -> None:
    got, z, pos = layer(max_iter=1, tol=1e-12, eps=0.02), random(9, 6), random(9, 2)
    with pytest.warns(ConvergenceWarning, match="raise max_iter or eps"):
        got(z, pos)
    got(z, pos)  # warnings are errors here


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_lower_precision_compile_and_contract(transport: str) -> None:
    got, z, pos = layer(transport=transport), random(3, 4, 6), random(4, 2)
    expected = got(z, pos)[0]
    torch.testing.assert_close(torch.compile(got, backend="aot_eager", fullgraph=True)(z, pos)[0], expected)
    torch.testing.assert_close(torch.export.export(got, (z, pos)).module()(z, pos)[0], expected)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.15)):
        out = got.to(dtype)(z.to(dtype), pos.to(dtype))[0]
        assert out.dtype == dtype
        torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    assert "num_prototypes=5" in repr(got)
    before = got.prototypes.clone()
    got.reset_parameters()
    assert not torch.equal(before, got.prototypes)


def test_bad_input() -> None:
    for kwargs, message in (({"eps": 0}, "eps is 0"), ({"tau": -1}, "tau is -1"), ({"num_prototypes": 0}, "is 0")):
        with pytest.raises(InputError, match=message):
            GOT(4, **kwargs)
    with pytest.raises(InputError, match=r"pos has shape \(3, 2\); expected \(\.\.\., 4, 2\)"):
        layer()(random(4, 6), random(3, 2))
    with pytest.raises(InputError, match="transport is 'exact'"):
        layer(transport="exact")
    with pytest.raises(InputError, match=r"batch has shape \(3,\); expected \(4,\)"):
        layer()(random(4, 6), random(4, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match="batch is not sorted"):
        layer()(random(4, 6), random(4, 2), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(InputError, match=r"weight has shape \(3,\); expected \(\.\.\., 4\)"):
        layer()(random(4, 6), random(4, 2), weight=random(3))
    with pytest.raises(InputError, match="negative weights"):
        layer()(random(4, 6), random(4, 2), weight=torch.tensor([2.0, -1.0, 1.0, 1.0]))
