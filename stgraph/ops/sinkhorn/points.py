"""Transport between point clouds whose costs are computed in chunks, whenever they are needed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.sinkhorn.checks import check_tensor, check_values
from stgraph.ops.sinkhorn.implicit import mass_price
from stgraph.ops.sinkhorn.log_domain import Transform
from stgraph.ops.sinkhorn.problem import Problem

__all__ = ["COSTS", "Clouds", "Solution", "Space", "balance", "measure", "objective", "prepare"]

# Entries of the cost held at once, times the dimension of the points (the gradient on a GPU takes that much): a
# processor is fastest while a chunk stays in its cache, any other device needs more work per kernel.
CPU_ENTRIES, DEVICE_ENTRIES = 2**18, 2**25


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Not by the matrix product |x|^2 + |y|^2 - 2 x y, which loses the distances of near points to cancellation.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


# The gradient of torch.cdist is 0 where points coincide, which is that of the square and a subgradient of the distance.
COSTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sqeuclidean": lambda x, y: _distances(x, y).square(),
    "euclidean": _distances,
}


class Space(NamedTuple):
    """A cost between points, and how many points of one side are compared at once with all those of the other."""

    cost: str
    chunk_size: int | None = None

    def chunks(self, x: Tensor, y: Tensor) -> Iterator[slice]:
        """Parts of the points ``x`` [B, n, D] to compare with ``y`` [B, m, D]."""
        size = self.chunk_size
        if size is None:
            entries = CPU_ENTRIES if x.device.type == "cpu" else DEVICE_ENTRIES
            size = max(1, entries // max(1, y.numel()))
        return (slice(start, min(start + size, x.shape[1])) for start in range(0, x.shape[1], size))

    def scores(self, x: Tensor, y: Tensor, potential: Tensor, eps: float) -> Tensor:
        """Exponents ``(potential_j - C_ij) / eps`` [B, n, m] for a chunk of points ``x``."""
        costs = COSTS[self.cost](x, y).to(potential.dtype)
        return torch.sub((potential / eps).unsqueeze(-2), costs, alpha=1 / eps, out=costs)

    def soft_minimum(self, x: Tensor, y: Tensor, log_weights: Tensor, eps: float) -> Transform:
        """The soft minimum over the points ``y`` with ``log_weights`` [B, m] for every point of ``x``."""

        def transform(potential: Tensor) -> Tensor:
            shifted = potential + eps * log_weights
            # Results that are kept between the chunks would leave the heap in fragments no chunk fits into.
            result = potential.new_empty(x.shape[:2])
            for part in self.chunks(x, y):
                torch.logsumexp(self.scores(x[:, part], y, shifted, eps), dim=-1, out=result[:, part])
            return result.mul_(-eps)

        return transform

    def transforms(self, x: Tensor, y: Tensor, problem: Problem) -> tuple[Transform, Transform]:
        """The soft minima over columns and over rows of the cost between ``x`` and ``y``."""
        rows = self.soft_minimum(x, y, problem.log_b, problem.eps)
        return rows, self.soft_minimum(y, x, problem.log_a, problem.eps)


@dataclasses.dataclass
class Clouds:
    """Point clouds ``x`` [B, n, D] and ``y`` [B, m, D] with weights ``a`` [B, n] and ``b`` [B, m], checked."""

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    space: Space
    batch: tuple[int, ...]
    dtype: torch.dtype

    def cost_bounds(self) -> Tensor:
        """Bounds ``[B]`` on the costs of each problem, from the boxes around its clouds."""
        x, y = self.x.detach(), self.y.detach()
        far = torch.maximum(x.amax(dim=-2) - y.amin(dim=-2), y.amax(dim=-2) - x.amin(dim=-2))
        squares = far.square().sum(dim=-1)
        return squares if self.space.cost == "sqeuclidean" else squares.sqrt()

    def problem(self, eps: float, rho_a: float, rho_b: float, tol: float) -> Problem:
        """The problem between the clouds, without gradient.

        It is in float64 where potentials of the points' own type, rounded, would miss the marginals by more than
        ``tol``: an error of a potential by ``eps`` changes the plan by a factor of e.
        """
        largest = max(self.cost_bounds().tolist(), default=0.0)
        rough = torch.finfo(self.x.dtype).eps * largest > 4 * tol * eps
        dtype = torch.float64 if rough else self.x.dtype
        return Problem.of(self.a.detach().to(dtype), self.b.detach().to(dtype), float(eps), rho_a, rho_b)


def prepare(
    x: Tensor,
    y: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    cost: str,
    chunk_size: int | None,
    rho: tuple[float, float],
) -> Clouds:
    """Check point clouds and weights and bring them to one batch dimension and one dtype."""
    if cost not in COSTS:
        raise InputError(f"cost is {cost!r}; expected one of {tuple(COSTS)}")
    if chunk_size is not None and (isinstance(chunk_size, bool) or not isinstance(chunk_size, int)):
        raise InputTypeError(f"chunk_size is of type {type(chunk_size).__name__}; expected an int or None")
    if chunk_size is not None and chunk_size < 1:
        raise InputError(f"chunk_size is {chunk_size}; expected at least 1")
    for name, points in (("x", x), ("y", y)):
        _check_points(name, points)
    if x.shape[-1] != y.shape[-1]:
        raise InputError(f"x has points of dimension {x.shape[-1]}, y of dimension {y.shape[-1]}; expected the same")
    batch = _common_batch(x, y, a, b)
    dtype = torch.promote_types(x.dtype, y.dtype)
    work = torch.promote_types(dtype, torch.float32)
    size = math.prod(batch)
    x, y = (points.to(work).expand(*batch, *points.shape[-2:]).reshape(size, *points.shape[-2:]) for points in (x, y))
    a, b = (
        (points.new_full((points.shape[1],), 1 / points.shape[1]) if weights is None else weights.to(work))
        .expand(*batch, points.shape[1])
        .reshape(size, points.shape[1])
        for points, weights in ((x, a), (y, b))
    )
    clouds = Clouds(x, y, a, b, Space(cost, chunk_size), batch, dtype)
    check_values(clouds.cost_bounds()[:, None, None], Problem.of(a.detach(), b.detach(), 1.0, *rho))
    return clouds


def _check_points(name: str, points: Tensor) -> None:
    check_tensor(name, points)
    if points.dim() < 2 or 0 in points.shape[-2:]:
        raise InputError(
            f"{name} has shape {tuple(points.shape)}; expected (..., points, dimension) with at least one of each"
        )
    if not bool(torch.isfinite(points.detach()).all()):
        raise InputError(f"{name} has NaN or infinite coordinates; expected finite numbers")


def _common_batch(x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None) -> tuple[int, ...]:
    batch = tuple(x.shape[:-2])
    for name, value, trailing in (("y", y, y.shape[-2:]), ("a", a, x.shape[-2:-1]), ("b", b, y.shape[-2:-1])):
        if value is None:
            continue
        if name != "y":
            check_tensor(name, value)
        own = value.shape[: value.dim() - len(trailing)]
        try:
            if value.shape[len(own) :] != trailing:
                raise RuntimeError
            batch = tuple(torch.broadcast_shapes(batch, own))
        except RuntimeError:
            raise InputError(
                f"{name} has shape {tuple(value.shape)}; expected {(*x.shape[:-2], *trailing)} for x of shape "
                f"{tuple(x.shape)} and y of shape {tuple(y.shape)}, or one that broadcasts to it"
            ) from None
    return batch


class Solution(NamedTuple):
    """Potentials with the sums of the rows and columns of their plan, all ``[B, n]`` or ``[B, m]``."""

    f: Tensor
    g: Tensor
    rows: Tensor
    cols: Tensor
    iterations: int

    def errors(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """The marginal errors of rows and columns."""
        return problem.marginal_error(True, self.rows, self.f), problem.marginal_error(False, self.cols, self.g)


def measure(f: Tensor, g: Tensor, transforms: tuple[Transform, Transform], problem: Problem, done: int) -> Solution:
    """The potentials together with the marginals of their plan."""
    rows, cols = transforms
    # Weights as logarithms, since the exponential of an entry without weight can overflow.
    row_sums = torch.exp(problem.log_a + (f - rows(g)) / problem.eps)
    return Solution(f, g, row_sums, torch.exp(problem.log_b + (g - cols(f)) / problem.eps), done)


def balance(solution: Solution, problem: Problem) -> Solution:
    """Potentials of exact marginals, known up to a constant, such that both sides have the same share of the dual."""
    if not problem.balanced:
        return solution
    shares = [
        (weights * potential).sum(dim=-1, keepdim=True) / weights.sum(dim=-1, keepdim=True)
        for weights, potential in ((problem.a, solution.f), (problem.b, solution.g))
    ]
    shift = (shares[1] - shares[0]) / 2
    return solution._replace(f=solution.f + shift, g=solution.g - shift)


def objective(clouds: Clouds, problem: Problem, solution: Solution) -> Tensor:
    """The entropic objective ``[B]`` with the gradient of the envelope theorem in the points and weights of clouds."""
    tensors = clouds.x, clouds.y, clouds.a, clouds.b
    value: Tensor = _Objective.apply(*tensors, problem, solution, clouds.space)  # type: ignore[no-untyped-call]
    return value


class _Objective(torch.autograd.Function):
    """Nothing of the size of the cost is kept; the backward pass computes costs and plan again, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, a: Tensor, b: Tensor, problem: Problem, solution: Solution, space: Space
    ) -> Tensor:
        f, g, rows, cols, _ = solution
        ctx.save_for_backward(x, y, a, b, f, g, rows, cols)
        ctx.settings = problem.eps, problem.rho_a, problem.rho_b
        ctx.space = space
        return problem.dual_objective(rows.sum(dim=-1), f, g)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, a, b, f, g, rows, cols = ctx.saved_tensors
        eps, rho_a, rho_b = ctx.settings
        scale = grad.unsqueeze(-1)
        with torch.autocast(x.device.type, enabled=False):
            problem = Problem.of(a.to(f.dtype), b.to(f.dtype), eps, rho_a, rho_b)
            x_grad, y_grad = _point_gradients(x, y, problem, f, g, scale, ctx.space, ctx.needs_input_grad[:2])
        a_grad = scale * mass_price(a, b, f, rows, eps, rho_a) if ctx.needs_input_grad[2] else None
        b_grad = scale * mass_price(b, a, g, cols, eps, rho_b) if ctx.needs_input_grad[3] else None
        # Autograd casts gradients to the type of what they belong to.
        return x_grad, y_grad, a_grad, b_grad, None, None, None


def _point_gradients(
    x: Tensor, y: Tensor, problem: Problem, f: Tensor, g: Tensor, scale: Tensor, space: Space, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``scale`` [B, 1] times the sum of the costs, each weighted by its entry of the plan."""
    if not any(needs):
        return None, None
    rows = f / problem.eps + problem.log_a
    cols = g + problem.eps * problem.log_b
    x_grad, y_grad = torch.zeros_like(x), torch.zeros_like(y)
    for part in space.chunks(x, y):
        some, others = x[:, part].detach().requires_grad_(needs[0]), y.detach().requires_grad_(needs[1])
        with torch.enable_grad():
            costs = COSTS[space.cost](some, others)
        plan = space.scores(some.detach(), y, cols, problem.eps).add_(rows[:, part].unsqueeze(-1)).exp_()
        inputs = [points for points, needed in zip((some, others), needs, strict=True) if needed]
        grads = list(torch.autograd.grad(costs, inputs, plan.mul_(scale.unsqueeze(-1)).to(costs.dtype)))
        if needs[1]:
            y_grad += grads.pop()
        if needs[0]:
            x_grad[:, part] = grads.pop()
    return x_grad if needs[0] else None, y_grad if needs[1] else None
