from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn import GOT


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def layer(**kwargs: object) -> GOT:
    torch.manual_seed(0)
    return GOT(6, num_prototypes=5, **kwargs).double().eval()


def test_plan_is_the_semi_relaxed_entropic_plan() -> None:
    """Unbalanced transport with a fixed node marginal and a free prototype marginal, as POT solves it."""
    got, z, pos = layer(eps=0.3), random(4, 6), random(4, 2)
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


def test_batches_equivariance_and_gradients() -> None:
    got, z, pos = layer(), random(3, 4, 6), random(4, 2)
    out, plan = got(z, pos)
    assert plan.shape == (3, 4, 5)
    torch.testing.assert_close(torch.stack([got(one, pos)[0] for one in z]), out)
    torch.testing.assert_close(got(z, pos.expand(3, 4, 2))[0], out)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(got(z[:, order], pos[order])[0], out[:, order])
    assert torch.autograd.gradcheck(got, (z[0].clone().requires_grad_(), pos.clone().requires_grad_()))
    assert got(z[:0], pos)[0].shape == (0, 4, 6)
    assert got(z[:, :1], pos[:1])[0].shape == (3, 1, 6)


def test_lower_precision_compile_and_contract() -> None:
    got, z, pos = layer(), random(3, 4, 6), random(4, 2)
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
