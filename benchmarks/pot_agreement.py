"""How closely ``stgraph.ops.sinkhorn`` agrees with POT in float64: balanced, unbalanced and semi-relaxed transport.

Every problem is solved by ``sinkhorn`` and by POT, through ``backend="pot"`` and by its own functions; the table shows
the largest differences of the plans, of their transport costs and of the entropic objectives. POT's objective is
computed from its plan by the definition of the primal, ours comes from the dual. A second table shows how the transport
cost approaches that of ``ot.emd2``, which knows no entropy, as eps falls.
"""

from __future__ import annotations

import argparse
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
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
#: Tolerance, most iterations, and the marginal error above which POT counts as not converged.
TOL, MAX_ITER, CONVERGED = 1e-12, 100_000, 1e-8
HEADER = ["problem", "n x m", "eps", "rho", "POT", "plan", "cost", "objective", "iterations", "converged", "POT's"]

#: Cost, weights of rows and weights of columns of one problem.
Problem = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
#: Name of the function, plan, objective and whether POT converged.
Solution = tuple[str, np.ndarray, float, bool]


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


def pot_calls(given: Problem, eps: float, rho: tuple[float, float]) -> dict[str, Callable[[], np.ndarray]]:
    """POT's functions that solve such a problem, each to its plan."""
    cost, a, b = (value.numpy() for value in given)
    settings = {"numItermax": MAX_ITER, "stopThr": TOL / 10}
    if rho != (math.inf, math.inf):
        return {"ot.unbalanced.sinkhorn_unbalanced": lambda: ot.sinkhorn_unbalanced(a, b, cost, eps, rho, **settings)}
    batch = {"a": a[None], "b": b[None], "tol": TOL / 10, "max_iter": MAX_ITER}
    return {
        "ot.sinkhorn": lambda: ot.sinkhorn(a, b, cost, eps, **settings),
        "ot.bregman.sinkhorn_log": lambda: ot.bregman.sinkhorn_log(a, b, cost, eps, **settings),
        "ot.solve_batch": lambda: ot.solve_batch(cost[None], eps, **batch).plan[0],
    }


def pot_solutions(given: Problem, eps: float, rho: tuple[float, float]) -> Iterator[Solution]:
    """What POT finds by ``backend="pot"`` and by its own functions."""
    found = solve(given, eps, rho, backend="pot")
    converged = float(torch.stack(found.marginal_errors).max()) <= CONVERGED
    yield 'backend="pot"', found.plan.numpy(), float(found.objective), converged
    for name, call in pot_calls(given, eps, rho).items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            plan = call()
        yield name, plan, objective(plan, given, eps, rho), not caught


def agreement(sizes: Sequence[tuple[int, int]] = SIZES, values: Sequence[float] = EPS) -> list[list[str]]:
    """The table of differences."""
    table = [HEADER]
    for (name, rho), size, eps in itertools.product(PROBLEMS.items(), sizes, values):
        given = problem(*size)
        ours = solve(given, eps, rho)
        for function, plan, value, converged in pot_solutions(given, eps, rho):
            cost = float((plan * given[0].numpy()).sum())
            differences = (
                float(np.abs(plan - ours.plan.numpy()).max()),
                abs(cost - float(ours.transport_cost)),
                abs(value - float(ours.objective)),
            )
            row = [name, "{} x {}".format(*size), f"{eps:g}", "{:g}, {:g}".format(*rho), function]
            row += [*(f"{difference:.1e}" for difference in differences), str(int(ours.iterations))]
            table.append([*row, *("yes" if done else "no" for done in (bool(ours.converged), converged))])
    return table


def largest(table: Sequence[Sequence[str]]) -> tuple[list[float], int]:
    """Largest differences where POT converged, and the number of rows where it did not."""
    compared = [row for row in table[1:] if row[-1] == "yes"]
    return [max(float(row[column]) for row in compared) for column in (5, 6, 7)], len(table) - 1 - len(compared)


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
    table = agreement()
    differences, failed = largest(table)
    lines = [
        f"Agreement with POT {ot.__version__}, torch {torch.__version__}, float64: absolute differences",
        measure.format_table(table),
        "largest differences: plan {:.1e}, cost {:.1e}, objective {:.1e}".format(*differences)
        + f"; left out: {failed} rows where POT did not converge",
        "Balanced transport of 207 x 128 without entropy",
        measure.format_table(limit()),
    ]
    text = "\n\n".join(lines)
    print(text)
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "pot_agreement.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
