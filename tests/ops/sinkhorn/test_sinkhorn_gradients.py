"""Gradients of all outputs by the cost and the marginals, for every variant."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stgraph.ops.sinkhorn import ConvergenceWarning, SinkhornResult, sinkhorn

INF = math.inf
Rho = float | tuple[float, float]
RHOS: list[Rho] = [INF, (INF, 0.0), (0.0, INF), (INF, 0.3), (0.4, INF), (0.2, 0.7), (0.3, 0.0), (0.0, 0.3), (0.0, 0.0)]
SIZES = [(3, 4), (4, 3)]
WEIGHTS = ["positive", "zeros", "masks"]


class Setup:
    """A problem given by logits, so that masses stay equal whatever is changed."""

    def __init__(self, n: int, m: int, rho: Rho, weights: str = "positive", eps: float = 0.15, batch: int = 2) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = tuple(
            values.requires_grad_()
            for values in (
                torch.rand(batch, n, m, generator=generator, dtype=torch.float64),
                torch.randn(batch, n, generator=generator, dtype=torch.float64),
                torch.randn(batch, m, generator=generator, dtype=torch.float64),
            )
        )
        self.weights, self.rho, self.eps = weights, rho, eps
        self.rows, self.cols = torch.ones(n, dtype=torch.bool), torch.ones(m, dtype=torch.bool)
        if weights != "positive":
            self.rows[0], self.cols[1] = False, False

    def marginals(self, row_logits: Tensor, col_logits: Tensor) -> tuple[Tensor, Tensor]:
        a = row_logits.masked_fill(~self.rows, -INF).softmax(-1)
        b = col_logits.masked_fill(~self.cols, -INF).softmax(-1)
        return (a, b) if self.rho == INF else (1.3 * a, 0.8 * b)

    def solve(self, cost: Tensor, row_logits: Tensor, col_logits: Tensor, **settings: object) -> SinkhornResult:
        a, b = self.marginals(row_logits, col_logits)
        masks = {"row_mask": self.rows, "col_mask": self.cols} if self.weights == "masks" else {}
        settings = {"tol": 1e-13, "max_iter": 500, **settings}
        return sinkhorn(cost, a, b, eps=self.eps, rho=self.rho, **masks, **settings)

    def outputs(self, *inputs: Tensor, **settings: object) -> tuple[Tensor, ...]:
        """All that is differentiable and unique: potentials without weight have a test of their own."""
        result = self.solve(*inputs, **settings)
        f, g = result.potentials[0][:, self.rows], result.potentials[1][:, self.cols]
        potentials = (f.unsqueeze(-1) + g.unsqueeze(-2),) if self.rho == INF else (f, g)
        differentiable = [value for value in potentials if value.requires_grad]
        return result.plan, result.objective, result.transport_cost, *differentiable

    def gradients(self, seed: int = 1, **settings: object) -> tuple[Tensor, ...]:
        """Gradients of a random function of the outputs."""
        outputs = self.outputs(*self.inputs, **settings)
        generator = torch.Generator().manual_seed(seed)
        loss = sum((torch.randn(o.shape, generator=generator, dtype=o.dtype) * o).sum() for o in outputs)
        return torch.autograd.grad(loss, self.inputs)


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize(("size", "weights"), [((4, 3), "positive"), ((3, 4), "zeros"), ((4, 3), "masks")])
def test_gradcheck(size: tuple[int, int], rho: Rho, weights: str) -> None:
    setup = Setup(*size, rho, weights, batch=1)
    assert gradcheck(setup.outputs, setup.inputs, eps=1e-5, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4])
def test_gradcheck_of_the_unrolled_iterations(rho: Rho) -> None:
    setup = Setup(3, 4, rho, "zeros", batch=1)
    assert gradcheck(lambda *x: setup.outputs(*x, gradient="unrolled"), setup.inputs, eps=1e-5, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("size", SIZES)
def test_implicit_is_unrolled(size: tuple[int, int], rho: Rho, weights: str) -> None:
    setup = Setup(*size, rho, weights)
    for implicit, unrolled in zip(setup.gradients(), setup.gradients(gradient="unrolled"), strict=True):
        torch.testing.assert_close(implicit, unrolled, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weights", ["positive", "zeros"])
def test_potentials_are_differentiated_as_centred(size: tuple[int, int], weights: str) -> None:
    """The constant that balanced transport leaves free has no gradient, whatever is asked of it."""
    setup = Setup(*size, INF, weights)
    f, g = setup.solve(*setup.inputs).potentials
    f, g = f[:, setup.rows], g[:, setup.cols]
    price = torch.arange(1.0, 1 + f.shape[1], dtype=f.dtype)
    constant = (f.sum(-1, keepdim=True) - g.sum(-1, keepdim=True)) / (f.shape[1] + g.shape[1])
    raw, centred = (
        torch.autograd.grad((price * potential).sum(), setup.inputs[0], retain_graph=True)[0]
        for potential in (f, f - constant)
    )
    assert float(centred.abs().max()) < 100
    torch.testing.assert_close(raw, centred, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rho", RHOS)
def test_envelope(rho: Rho) -> None:
    setup = Setup(4, 3, rho)
    cost, *logits = setup.inputs
    a, b = (weights.detach().requires_grad_() for weights in setup.marginals(*logits))
    result = sinkhorn(cost, a, b, eps=setup.eps, rho=rho, tol=1e-13)
    by_cost, by_a, by_b = torch.autograd.grad(result.objective.sum(), (cost, a, b))
    assert torch.equal(by_cost, result.plan)
    if rho == INF:
        f, g = (potential - potential.mean(-1, keepdim=True) for potential in result.potentials)
        torch.testing.assert_close(by_a - by_a.mean(-1, keepdim=True), f, rtol=0, atol=1e-11)
        torch.testing.assert_close(by_b - by_b.mean(-1, keepdim=True), g, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rho", [(INF, 0.3), 0.4, (0.0, INF), (0.3, 0.0)])
def test_gradient_by_weights_of_any_mass(rho: Rho) -> None:
    """Where masses may differ, so may the weights one by one."""
    setup = Setup(4, 3, rho)
    cost, *logits = setup.inputs
    weights = tuple(weights.detach().requires_grad_() for weights in setup.marginals(*logits))

    def outputs(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        result = sinkhorn(cost.detach(), a, b, eps=setup.eps, rho=rho, tol=1e-13)
        return result.plan, result.objective, result.transport_cost

    assert gradcheck(outputs, weights, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4])
def test_objective_of_an_unfinished_solution_has_the_gradient_of_its_dual(rho: Rho) -> None:
    """At fixed potentials the dual's derivative by the cost is the plan: exact whatever the iterations reached."""
    setup = Setup(4, 3, rho, eps=0.01)
    with pytest.warns(ConvergenceWarning):
        result = setup.solve(*setup.inputs, max_iter=2)
    assert torch.equal(torch.autograd.grad(result.objective.sum(), setup.inputs[0])[0], result.plan)


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4])
def test_second_derivatives(rho: Rho) -> None:
    setup = Setup(2, 3, rho, batch=1)
    assert gradgradcheck(lambda *x: setup.outputs(*x)[:2], setup.inputs, eps=1e-5, atol=1e-6, rtol=1e-4)


def block_cost(n: int, m: int, blocks: int, dtype: torch.dtype) -> Tensor:
    """Groups of rows and columns that are near each other and far from the rest."""
    near = (torch.arange(n).unsqueeze(-1) * blocks // n) == (torch.arange(m) * blocks // m)
    generator = torch.Generator().manual_seed(0)
    return (0.1 * torch.rand(n, m, generator=generator, dtype=torch.float64) + ~near).to(dtype).requires_grad_()


@pytest.mark.parametrize("eps", [0.1, 0.03, 0.01, 0.005])
def test_disconnected_plan(eps: float) -> None:
    """The system is singular in more directions than one, none of which changes the plan."""
    generator = torch.Generator().manual_seed(2)
    price = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    for blocks in (2, 3, 6):
        cost = block_cost(6, 6, blocks, torch.float64)
        gradients = []
        for gradient in ("implicit", "unrolled"):
            result = sinkhorn(cost, eps=eps, tol=1e-12, max_iter=5000, gradient=gradient)
            loss = (price * result.plan).sum() + result.transport_cost
            gradients.append(torch.autograd.grad(loss, cost)[0])
        assert bool(torch.isfinite(gradients[0]).all())
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.3, (0.0, INF)])
@pytest.mark.parametrize("eps", [1e-4, 1e-3, 1e-2, 0.1, 1.0])
def test_single_precision_is_finite(eps: float, rho: Rho) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(12, 2, generator=generator), torch.rand(20, 2, generator=generator)
    costs = (
        torch.cdist(*points),
        torch.rand(12, 20, generator=generator),
        block_cost(12, 20, 4, torch.float32).detach(),
        torch.zeros(12, 20),
        1 - torch.eye(12, 20),
    )
    weights = torch.ones(len(costs), 12)
    weights[:, 0] = 0.0
    cost, a = torch.stack(costs).requires_grad_(), (weights / weights.sum(-1, keepdim=True)).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = sinkhorn(cost, a, eps=eps, rho=rho, max_iter=200)
    price = torch.randn(result.plan.shape, generator=generator)
    loss = (price * result.plan).sum() + result.transport_cost.sum() + result.objective.sum()
    loss = loss + result.potentials[0][:, 1:].sum()
    for gradient in torch.autograd.grad(loss, (cost, a)):
        assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.3, (0.0, INF)])
def test_single_precision_is_near_double(rho: Rho) -> None:
    setup = Setup(6, 9, rho, eps=0.02)
    expected = setup.gradients(tol=1e-12, max_iter=20000)
    setup.inputs = tuple(values.detach().float().requires_grad_() for values in setup.inputs)
    outputs = setup.outputs(*setup.inputs, tol=1e-6, max_iter=20000)
    generator = torch.Generator().manual_seed(1)
    loss = sum((torch.randn(o.shape, generator=generator, dtype=torch.float64).float() * o).sum() for o in outputs)
    for gradient, reference in zip(torch.autograd.grad(loss, setup.inputs), expected, strict=True):
        assert gradient.dtype == torch.float32
        assert float((gradient - reference).norm() / reference.norm()) < 2e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gets_gradients_of_its_dtype(dtype: torch.dtype) -> None:
    cost = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    gradients = []
    for values in (cost.to(dtype), cost.to(dtype).float()):
        values = values.requires_grad_()
        gradients.append(torch.autograd.grad(sinkhorn(values, eps=0.1).transport_cost, values)[0])
    assert gradients[0].dtype == dtype
    torch.testing.assert_close(gradients[0].float(), gradients[1], rtol=3e-2, atol=2e-3)


def test_masked_values_get_no_gradient_and_harm_none() -> None:
    cost = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected_cost = cost[:, :3, :3].clone().requires_grad_()
    cost[:, 3:], cost[..., 3] = math.nan, INF
    cost.requires_grad_()
    a = torch.tensor([0.2, 0.3, 0.5, math.nan, 9.0], dtype=torch.float64).requires_grad_()
    expected_a = a[:3].detach().requires_grad_()
    masks = {"row_mask": torch.arange(5) < 3, "col_mask": torch.arange(4) < 3}
    for gradient in ("implicit", "unrolled"):
        result = sinkhorn(cost, a, eps=0.1, tol=1e-12, gradient=gradient, **masks)
        expected = sinkhorn(expected_cost, expected_a, eps=0.1, tol=1e-12)
        losses = [(r.plan.square().sum() + r.objective.sum() + r.transport_cost.sum()) for r in (result, expected)]
        by_cost, by_a = torch.autograd.grad(losses[0], (cost, a))
        expected_by_cost, expected_by_a = torch.autograd.grad(losses[1], (expected_cost, expected_a))
        torch.testing.assert_close(by_cost[:, :3, :3], expected_by_cost, rtol=1e-8, atol=1e-9)
        assert not bool(by_cost[:, 3:].any())
        assert not bool(by_cost[..., 3].any())
        assert not bool(by_a[3:].any())
        # Up to a constant, since the mass has to stay.
        difference = by_a[:3] - expected_by_a
        torch.testing.assert_close(difference, difference.mean().expand(3), rtol=0, atol=1e-8)


def test_broadcast_inputs_sum_their_gradients() -> None:
    setup = Setup(4, 3, INF)
    cost, *logits = setup.inputs
    a, b = (weights[0].detach() for weights in setup.marginals(*logits))
    price = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = 0
    a_all = a.clone().requires_grad_()
    both = torch.autograd.grad((sinkhorn(cost, a_all, b, eps=0.1, tol=1e-12).plan * price).sum(), a_all)[0]
    for i in range(2):
        a_one = a.clone().requires_grad_()
        plan = sinkhorn(cost[i], a_one, b, eps=0.1, tol=1e-12).plan
        total = total + torch.autograd.grad((plan * price[i]).sum(), a_one)[0]
    torch.testing.assert_close(both, total, rtol=1e-8, atol=1e-9)


def test_unrolled_gradient_with_a_small_penalty_and_zero_weights() -> None:
    cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).requires_grad_()
    a = torch.tensor([0.0, 1.0])
    gradients = []
    for gradient in ("implicit", "unrolled"):
        objective = sinkhorn(cost, a, eps=4e-4, rho=4e-3, gradient=gradient).objective
        gradients.append(torch.autograd.grad(objective, cost)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_zero_weights_get_no_gradient_either_way() -> None:
    cost = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    a = torch.tensor([0.0, 0.4, 0.6], requires_grad=True)
    for gradient in ("implicit", "unrolled"):
        objective = sinkhorn(cost, a, eps=0.1, gradient=gradient).objective
        assert float(torch.autograd.grad(objective, a)[0][0]) == 0


@pytest.mark.parametrize("gradient", ["implicit", "unrolled"])
def test_backward_under_autocast(gradient: str) -> None:
    cost = torch.rand(2, 8, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    price = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad((sinkhorn(cost, eps=0.05).plan * price).sum(), cost)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = (sinkhorn(cost, eps=0.05, gradient=gradient).plan * price).sum()
        result = torch.autograd.grad(loss, cost)[0]
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


def test_graph_may_be_used_twice() -> None:
    setup = Setup(4, 3, INF)
    loss = setup.solve(*setup.inputs).plan.square().sum()
    first = torch.autograd.grad(loss, setup.inputs, retain_graph=True)
    second = torch.autograd.grad(loss, setup.inputs)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_reports_carry_no_gradient() -> None:
    setup = Setup(4, 3, INF)
    for gradient in ("implicit", "unrolled"):
        result = setup.solve(*setup.inputs, gradient=gradient)
        assert not any(value.requires_grad for value in (*result.marginal_errors, result.iterations, result.converged))
        assert result.plan.requires_grad
    assert not setup.solve(*setup.inputs, backend="pot", tol=1e-6).plan.requires_grad


def saved_bytes(max_iter: int, gradient: str) -> tuple[int, int]:
    """Number and size of the tensors that a forward pass keeps for the backward pass."""
    kept: dict[int, int] = {}
    cost = torch.rand(2, 12, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with warnings.catch_warnings(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = sinkhorn(cost, eps=0.002, max_iter=max_iter, tol=0.0, gradient=gradient)
        loss = result.plan.sum() + result.objective.sum() + result.transport_cost.sum()
    assert int(result.iterations) == max_iter
    assert loss.requires_grad
    return len(kept), sum(kept.values())


def test_memory_is_independent_of_the_iterations() -> None:
    # The warm-up stages are the same work at any number of iterations.
    few, many = saved_bytes(10, "implicit"), saved_bytes(1000, "implicit")
    assert few == many
    assert many[1] <= 20 * 2 * 12 * 9 * 4
    assert saved_bytes(100, "unrolled")[1] > 5 * saved_bytes(10, "unrolled")[1]


def everything(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
    result = sinkhorn(cost, a.softmax(-1), b.softmax(-1), eps=0.05, rho=(INF, 0.5))
    f, g = result.potentials
    terms = (result.plan.square(), result.objective, result.transport_cost, f.square(), g)
    return torch.stack([term.sum() for term in terms]).sum()


def test_compiles_in_one_graph_for_all_sizes() -> None:
    torch.compiler.reset()
    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    for n, m in ((6, 5), (4, 7)):
        generator = torch.Generator().manual_seed(n)
        shapes = ((2, n, m), (2, n), (2, m))
        inputs = tuple(torch.rand(shape, generator=generator).requires_grad_() for shape in shapes)
        values = [function(*inputs) for function in (everything, compiled)]
        torch.testing.assert_close(values[1], values[0], rtol=1e-6, atol=1e-6)
        gradients = [torch.autograd.grad(value, inputs) for value in values]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_compiled_masks_warm_start_and_one_problem() -> None:
    torch.compiler.reset()

    def plan(cost: Tensor, mask: Tensor, f: Tensor, g: Tensor) -> Tensor:
        return sinkhorn(cost, eps=0.1, row_mask=mask, init=(f, g)).plan

    cost = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    inputs = cost, torch.arange(6) < 4, torch.zeros(6), torch.zeros(5)
    torch.testing.assert_close(torch.compile(plan, fullgraph=True, backend="aot_eager")(*inputs), plan(*inputs))


class Layer(torch.nn.Module):
    def forward(self, cost: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        result = sinkhorn(cost, eps=0.05, row_mask=mask, rho=(INF, 0.5))
        return result.plan, result.transport_cost


def test_exports() -> None:
    cost, mask = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(6) < 4
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(Layer(), (cost, mask), dynamic_shapes={"cost": {0: batch}, "mask": None}).module()
    more = torch.rand(7, 6, 5, generator=torch.Generator().manual_seed(1))
    for values in (cost, more):
        for result, expected in zip(exported(values, mask), Layer()(values, mask), strict=True):
            torch.testing.assert_close(result, expected)


def test_operator_keeps_the_rules_of_its_kind() -> None:
    """Schema, fake tensors and autograd registration, of contiguous and other layouts."""
    a, b = torch.full((2, 6), 1 / 6, requires_grad=True), torch.full((5,), 0.2).expand(2, 5)
    cost = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0)).mT.requires_grad_()
    arguments = (cost, a, b, torch.zeros(2, 6), torch.zeros(2, 5), 0.05, INF, 0.3, 1e-5, 100, None, True)
    torch.library.opcheck(torch.ops.stgraph.sinkhorn.default, arguments)
