"""How closely ``stgraph.ops.sinkhorn`` agrees with POT in float64: balanced, unbalanced and semi-relaxed transport.

Every problem is solved by ``sinkhorn`` and by POT, through ``backend="pot"`` and by its own functions; the table shows
the largest differences of the plans, of their transport costs and of the entropic objectives. POT's objective is
computed from its plan by the definition of the primal, ours comes from the dual. A second table shows how the transport
cost approaches that of ``ot.emd2``, which knows no entropy, as eps falls.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import ot
import torch

from benchmarks import measure
from benchmarks.sinkhorn import Case
from stgraph.ops.sinkhorn import SinkhornResult, sinkhorn

SIZES = ((1, 7), (30, 20), (207, 128))
EPS = (0.5, 0.08, 0.02)
FALLING = (0.32, 0.16, 0.08, 0.04, 0.02, 0.01, 0.005)
#: Penalties of the marginals of rows and columns, by the name of the problem.
PROBLEMS = {
    "balanced": (math.inf, math.inf),
    "unbalanced": (1.0, 1.0),
    "unbalanced, two penalties": (0.3, 3.0),
    "semi-relaxed": (math.inf, 0.5),
    "semi-relaxed, free columns": (math.inf, 0.0),
}
TOL, MAX_ITER = 1e-12, 100_000

#: Cost, weights of rows and weights of columns of one problem.
Problem = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def problem(nodes: int, prototypes: int) -> Problem:
    """A problem with GOT's cost and random weights of sum 1."""
    generator = torch.Generator().manual_seed(nodes)
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) + 0.1 for size in (nodes, prototypes))
    return Case(1, nodes, prototypes, 1.0).cost()[0], a / a.sum(), b / b.sum()


def solve(given: Problem, eps: float, rho: tuple[float, float], backend: str = "torch") -> SinkhornResult:
    """The public function, at a tolerance where only rounding is left."""
    return sinkhorn(*given, eps=eps, rho=rho, tol=TOL, max_iter=MAX_ITER, backend=backend, warn=False)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Generalised Kullback-Leibler divergence."""
    positive = p > 0
    return float((p[positive] * np.log(p[positive] / q[positive])).sum() - p.sum() + q.sum())


def objective(plan: np.ndarray, given: Problem, eps: float, rho: tuple[float, float]) -> float:
    """The primal at a plan; what misses an exact marginal by rounding costs nothing."""
    cost, a, b = (value.numpy() for value in given)
    value = (plan * cost).sum() + eps * divergence(plan, a[:, None] * b)
    for sums, weights, penalty in ((plan.sum(1), a, rho[0]), (plan.sum(0), b, rho[1])):
        if math.isfinite(penalty):
            value += penalty * divergence(sums, weights)
    return float(value)


def pot_plans(given: Problem, eps: float, rho: tuple[float, float]) -> Iterator[tuple[str, np.ndarray]]:
    """Plans of POT's functions that solve such a problem."""
    cost, a, b = (value.numpy() for value in given)
    settings = {"numItermax": MAX_ITER, "stopThr": TOL / 10}
    if rho == (math.inf, math.inf):
        yield "ot.sinkhorn", ot.sinkhorn(a, b, cost, eps, **settings)
        yield "ot.bregman.sinkhorn_log", ot.bregman.sinkhorn_log(a, b, cost, eps, **settings)
        found = ot.solve_batch(cost[None], eps, a=a[None], b=b[None], tol=TOL / 10, max_iter=MAX_ITER)
        yield "ot.solve_batch", found.plan[0]
    else:
        yield "ot.unbalanced.sinkhorn_unbalanced", ot.unbalanced.sinkhorn_unbalanced(a, b, cost, eps, rho, **settings)


def agreement() -> list[list[str]]:
    """The table of differences."""
    header = ["problem", "n x m", "eps", "rho", "iterations", "converged", "compared with", "plan", "cost", "objective"]
    table = [header]
    for name, rho in PROBLEMS.items():
        for size in SIZES:
            given = problem(*size)
            for eps in EPS:
                ours, pot = solve(given, eps, rho), solve(given, eps, rho, backend="pot")
                plans = [(key, plan, objective(plan, given, eps, rho)) for key, plan in pot_plans(given, eps, rho)]
                for key, plan, value in [('backend="pot"', pot.plan.numpy(), float(pot.objective)), *plans]:
                    cost = (plan * given[0].numpy()).sum()
                    apart = np.abs(plan - ours.plan.numpy()).max(), cost - ours.transport_cost, value - ours.objective
                    row = [name, "{} x {}".format(*size), f"{eps:g}", "{:g}, {:g}".format(*rho)]
                    row += [str(int(ours.iterations)), str(bool(ours.converged)), key]
                    table.append([*row, *(f"{abs(float(value)):.1e}" for value in apart)])
    return table


def limit() -> list[list[str]]:
    """The table of transport costs with falling eps; the last column should stay bounded."""
    given = problem(207, 128)
    exact = float(ot.emd2(given[1].numpy(), given[2].numpy(), given[0].numpy()))
    table = [["eps", "iterations", "converged", "transport cost", "ot.emd2", "difference", "difference / eps"]]
    for eps in FALLING:
        ours = solve(given, eps, PROBLEMS["balanced"])
        apart = float(ours.transport_cost) - exact
        row = [f"{eps:g}", str(int(ours.iterations)), str(bool(ours.converged)), f"{float(ours.transport_cost):.6f}"]
        table.append([*row, f"{exact:.6f}", f"{apart:.2e}", f"{apart / eps:.3f}"])
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=measure.RESULTS, help="folder for the text (default: %(default)s)"
    )
    args = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT's, where it does not get below its threshold: the differences tell
        table = agreement()
    largest = (max(float(row[column]) for row in table[1:]) for column in (-3, -2, -1))
    lines = [
        f"Agreement with POT {ot.__version__}, torch {torch.__version__}, float64: absolute differences",
        measure.format_table(table),
        "largest differences: plan {:.1e}, cost {:.1e}, objective {:.1e}".format(*largest),
        "Balanced transport of 207 x 128 without entropy",
        measure.format_table(limit()),
    ]
    text = "\n\n".join(lines)
    print(text)
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "pot_agreement.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
