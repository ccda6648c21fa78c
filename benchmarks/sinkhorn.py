"""Sinkhorn against POT's solvers (and GeomLoss's, if installed), each stopped at the same marginal error.

The error is the L1 norm of what the sums of the returned plan miss, on the worse side and in the worst problem. POT's
own rule is an L2 norm, looked at every tenth or twentieth iteration, so its threshold starts at the largest value that
guarantees the error and is lowered while the plan does not keep to it. Where POT takes one problem at a time, it gets
NumPy arrays and torch tensors, and the faster counts. The gradient is that of a random linear functional of the plan by
the cost; POT's is autograd's through the iterations, one problem after another where that saves memory.

What takes 1.5 times as long as the fastest so far (of those with gradient, where it has one) is cut short there, though
not before 4 seconds, and after 40 seconds at the latest. Runs of more than 5 seconds are timed once, of more than a
second three times, and only what may be the fastest is timed again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import math
import resource
import signal
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks import measure
from stgraph.ops.sinkhorn import sinkhorn

SIZES = ((32, 207, 128), (4, 10000, 128))
MEMORY_RUNS = (("implicit", 10), ("implicit", 100), ("implicit", 1000), ("unrolled", 10), ("unrolled", 100))
OURS = "stgraph sinkhorn"
ERROR = 1e-5
EMBEDDING = 64
#: Most seconds of the first solver of a case; fewest seconds, and factor on the fastest, of the others; bytes of each.
LIMIT, SHORTEST, SLACK, MEMORY = {torch.float64: 40.0}, 4.0, 1.5, 16 * 2**30
REPEATED = 5.0  # seconds up to which a run is repeated
#: Largest difference of plans and gradients, relative to the largest entry: what an error of 1e-5 leaves open is that
#: over one minus the contraction of the iteration, which comes near 1 as eps falls.
AGREEMENT = {0.08: 1e-3, 0.02: 5e-3, 0.005: 5e-2}
#: From cost, eps and the solver's setting to the plans and the most iterations of any problem.
Solver = Callable[[Tensor, float, float], tuple[Tensor, int]]


@dataclasses.dataclass(frozen=True)
class Case:
    """A batch of problems."""

    batch: int
    nodes: int
    prototypes: int
    eps: float
    dtype: torch.dtype = torch.float64

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"{self.batch} x ({self.nodes} x {self.prototypes}), eps {self.eps}, {name}"

    def cost(self) -> Tensor:
        """GOT's cost: distance of points and 1 - cosine of embeddings, (B, n, m)."""
        generator = torch.Generator().manual_seed(0)

        def sample(draw: Callable[..., Tensor], size: int, width: int) -> Tensor:
            return draw(self.batch, size, width, generator=generator, dtype=torch.float64)

        pos, prototype_pos = (sample(torch.rand, size, 2) * 2 - 1 for size in (self.nodes, self.prototypes))
        q, p = (sample(torch.randn, size, EMBEDDING) for size in (self.nodes, self.prototypes))
        cosine = torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(p, dim=-1).mT
        return (torch.cdist(pos, prototype_pos) + 1 - cosine).to(self.dtype)

    def functional(self) -> Tensor:
        """Random weights of the plan's entries, (B, n, m)."""
        return torch.randn(self.cost().shape, generator=torch.Generator().manual_seed(1)).to(self.dtype)


@dataclasses.dataclass(frozen=True)
class Peer:
    """A solver to compare with.

    Args:
        solve: The solver.
        side: Dimension of the marginal whose L2 error it stops at, 0 if it stops at the L1 error; None if it is told
            the number of iterations instead.
        looped: Whether it solves one problem after another.
        gradient: Whether autograd gives the gradient of the plan.
    """

    solve: Solver
    side: int | None
    looped: bool = False
    gradient: bool = True

    def settings(self, cost: Tensor) -> Iterator[float]:
        """Thresholds, or numbers of iterations, from loose to strict."""
        if self.side is None:
            return (100.0 * 4**power for power in range(12))
        first = ERROR / math.sqrt(cost.shape[self.side]) if self.side else ERROR
        return (first * 0.7**power for power in range(6))


@dataclasses.dataclass
class Run:
    """How a solver did in a case; ``result`` is what it computed, the plans or their gradient."""

    setting: float = ERROR
    error: float = math.nan
    iterations: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)
    failure: str = ""
    result: Tensor | None = None

    @property
    def median(self) -> float:
        """Median of the seconds, infinite after a failure."""
        return math.inf if self.failure else statistics.median(self.seconds)


Runs = dict[str, Run]
Lines = list[list[str]]


def pot_loop(cost: Tensor, eps: float, threshold: float, method: str, numpy: bool) -> tuple[Tensor, int]:
    """``ot.sinkhorn`` for one problem after another."""
    import ot

    n, m = cost.shape[-2:]
    # POT sets scalings to 1 / size where one exceeds tau (1e3): with 1000 rows the other side then does, for ever.
    options = {"tau": 1e7} if method == "sinkhorn_stabilized" and n >= 1e3 else {}
    options |= {"method": method, "stopThr": threshold, "numItermax": 10**9, "log": True}
    plans, iterations = [], 0
    for one in cost:
        problem = one.numpy() if numpy else one
        full = functools.partial(np.full, dtype=problem.dtype) if numpy else one.new_full
        plan, log = ot.sinkhorn(full((n,), 1 / n), full((m,), 1 / m), problem, eps, **options)
        plans.append(torch.as_tensor(plan))
        iterations = max(iterations, log["n_iter"] if "n_iter" in log else log["niter"])
    return torch.stack(plans), iterations + 1


def pot_batch(cost: Tensor, eps: float, threshold: float, method: str, grad: str = "autodiff") -> tuple[Tensor, int]:
    """``ot.solve_batch``."""
    import ot

    result = ot.solve_batch(cost, reg=eps, method=method, tol=threshold, max_iter=10**9, grad=grad)
    return result.plan, result.log["n_iter"] + 1


def geomloss_batch(cost: Tensor, eps: float, iterations: float) -> tuple[Tensor, int]:
    """``geomloss.ot.solve_batch``: lowers eps in as many steps as asked for, without a rule to stop."""
    from geomloss import ot

    a, b = (cost.new_full((len(cost), size), 1 / size) for size in cost.shape[1:])
    return ot.solve_batch(cost, a=a, b=b, reg=eps, max_iter=int(iterations)).plan, int(iterations)


def peers() -> dict[str, Peer]:
    """All solvers to compare with; POT's log-domain ones are several times slower with NumPy arrays."""
    found = {}
    for method in ("sinkhorn", "sinkhorn_stabilized", "sinkhorn_log"):
        for library in ("NumPy", "torch") if method != "sinkhorn_log" else ("torch",):
            solve = functools.partial(pot_loop, method=method, numpy=library == "NumPy")
            found[f"POT {method}, {library}"] = Peer(solve, side=-1, looped=True, gradient=library == "torch")
    for method in ("sinkhorn", "log_sinkhorn"):
        found[f"POT solve_batch, {method}"] = Peer(functools.partial(pot_batch, method=method), side=-2)
    if importlib.util.find_spec("geomloss") is not None:
        found["GeomLoss solve_batch"] = Peer(geomloss_batch, side=None, gradient=False)
    return found


def ours(cost: Tensor, eps: float, tol: float) -> tuple[Tensor, int]:
    """The solver of stgraph."""
    result = sinkhorn(cost, eps=eps, tol=tol, max_iter=100_000)
    return result.plan, int(result.iterations)


OWN = Peer(ours, side=0)


def marginal_error(plan: Tensor) -> float:
    """L1 distance of the sums from uniform, of the worse side and the worst problem."""
    plan = plan.detach().double()
    return max(float((sums - 1 / sums.shape[-1]).abs().sum(dim=-1).max()) for sums in (plan.sum(-1), plan.sum(-2)))


def gradient_step(peer: Peer, case: Case, cost: Tensor, setting: float) -> Callable[[], Tensor]:
    """Forward and backward: the gradient by the cost of the plans' inner product with random weights."""
    size, weights = 1 if peer.looped else len(cost), case.functional()

    def step() -> Tensor:
        gradients: list[Tensor] = []
        for part, weight in zip(cost.split(size), weights.split(size), strict=True):
            leaf = part.detach().requires_grad_()
            plan, _ = peer.solve(leaf, case.eps, setting)
            gradients += torch.autograd.grad((plan * weight).sum(), leaf)
        return torch.cat(gradients)

    return step


class LimitError(Exception):
    """A run that took too long or too much."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Stop what runs in here after ``seconds``, or when it asks for more than ``MEMORY`` bytes."""

    def stop(*_: object) -> None:
        raise LimitError(f"not finished in {seconds:.0f} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler, timer = signal.signal(signal.SIGALRM, stop), signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        raise LimitError(f"needs more than {MEMORY / 2**30:.0f} GiB") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def timed(run: Run, step: Callable[[], Tensor | tuple[Tensor, int]], seconds: float) -> None:
    """Run a step within limits; the run keeps its time and result, or its failure."""
    try:
        with limited(seconds), warnings.catch_warnings(), torch.enable_grad():  # GeomLoss may leave it switched off
            warnings.simplefilter("ignore")  # POT's, of kernels that vanish: the error tells
            start = time.perf_counter()
            answer = step()
            run.seconds = [time.perf_counter() - start]
    except LimitError as limit:
        run.failure = str(limit)
        return
    if isinstance(answer, tuple):
        run.result, run.iterations = answer
        run.error = marginal_error(run.result)
    else:
        run.result = answer


def allowed(runs: Iterable[Run], dtype: torch.dtype) -> float:
    """Seconds that a solver gets after those that ran."""
    fastest = min((run.median for run in runs), default=math.inf)
    return min(LIMIT[dtype], max(SHORTEST, SLACK * fastest))


def calibrate(peer: Peer, cost: Tensor, eps: float, seconds: float) -> Run:
    """Run the loosest setting that keeps to the error."""
    best, until = Run(), time.perf_counter() + seconds
    for setting in peer.settings(cost):
        run = Run(setting)
        timed(run, functools.partial(peer.solve, cost, eps, setting), max(until - time.perf_counter(), 0.01))
        if run.failure:
            best.failure = f"{best.failure} in {seconds:.0f} s" if best.seconds else run.failure
            return best
        if run.error <= ERROR:
            return run
        best, run.failure = run, "does not reach the error"
    return best


def backward(case: Case, cost: Tensor, rivals: dict[str, Peer], found: Runs) -> Runs:
    """Forward and backward of all solvers with a gradient, timed once; the fastest forward comes first."""
    runs: Runs = {}
    for name in sorted((name for name in rivals if rivals[name].gradient), key=lambda name: found[name].median):
        fastest = min((run.median for run in runs.values()), default=math.inf)
        run = dataclasses.replace(found[name], seconds=[])
        if run.failure or found[name].median > fastest:
            run.failure = f"left out: forward {run.failure or 'slower than the fastest with gradient'}"
        else:
            timed(run, gradient_step(rivals[name], case, cost, run.setting), allowed(runs.values(), case.dtype))
        runs[name] = run
    return runs


def race(own: measure.Step, steps: Mapping[str, measure.Step], runs: Runs, repeats: int) -> list[float]:
    """Time our step in turns with the alternatives that may be the fastest, whose runs keep their new seconds."""
    best = min(run.median for run in runs.values())
    near = 0.0 if best > REPEATED else best * (SLACK if best > 1 else 2 * SLACK)
    rivals = {name: steps[name] for name, run in runs.items() if run.median <= near}
    count = repeats if best < 1 else min(repeats, 3)
    seconds = measure.time_in_turns({OURS: own} | rivals, count, warmup=int(best < 1))
    for name in rivals:
        runs[name].seconds = seconds[name]
    return seconds[OURS]


def conclude(report: measure.Report, name: str, eps: float, own: Run, runs: Runs, target: float | None) -> Lines:
    """Compare with the fastest that kept to the error; returns the lines of the table of all solvers."""
    fastest = min(runs, key=lambda other: runs[other].median)
    if runs[fastest].failure:
        report.note(f"{name}: no alternative to compare with")
    elif own.failure:
        report.note(f"{name}: not compared, {OURS} {own.failure} {ERROR:g} but {own.error:.1e}")
    else:
        measure.check_equal(name, own.result, runs[fastest].result, AGREEMENT[eps])
        report.compare(name, OURS, fastest, {OURS: own.seconds, fastest: runs[fastest].seconds}, faster=target)
    lines = []
    for solver, run in {OURS: own, **runs}.items():
        run.result = None
        seconds = f"{statistics.median(run.seconds):.4g}" if run.seconds else ""
        error = "" if math.isnan(run.error) else f"{run.error:.1e}"
        lines.append([name, solver, seconds, str(len(run.seconds)), error, str(run.iterations or ""), run.failure])
    return lines


def compare(report: measure.Report, case: Case, repeats: int) -> Lines:
    """Run all solvers on a case, forward and, in float64, with gradient."""
    cost, rivals = case.cost(), peers()
    for peer in rivals.values():  # imports, thread pools
        peer.solve(cost[:1, :3, :2], 1.0, next(peer.settings(cost)))
    found: Runs = {}
    for name, peer in rivals.items():
        others = (run for other, run in found.items() if rivals[other].gradient or not peer.gradient)
        found[name] = calibrate(peer, cost, case.eps, allowed(others, case.dtype))
    steps = {name: functools.partial(rivals[name].solve, cost, case.eps, run.setting) for name, run in found.items()}
    own = calibrate(OWN, cost, case.eps, LIMIT[case.dtype])
    own.seconds = race(functools.partial(OWN.solve, cost, case.eps, own.setting), steps, found, repeats)
    exact = case.dtype == torch.float64
    if own.failure and exact:
        raise AssertionError(f"{case}: {OURS} {own.failure} {ERROR:g} but {own.error:.1e}")
    lines = conclude(report, f"{case}, forward", case.eps, own, found, 2.0 if exact else None)
    if not exact:
        return lines
    graded = backward(case, cost, rivals, found)
    steps = {name: gradient_step(rivals[name], case, cost, run.setting) for name, run in graded.items()}
    step = gradient_step(OWN, case, cost, own.setting)
    own = dataclasses.replace(own, result=step())
    own.seconds = race(step, steps, graded, repeats)
    return lines + conclude(report, f"{case}, gradient", case.eps, own, graded, 4.0)


def last_step_error(case: Case) -> float:
    """Relative error (L2) of the gradient that ``ot.solve_batch`` gives with ``grad="last_step"``."""
    cost, peer = case.cost(), Peer(functools.partial(pot_batch, method="sinkhorn", grad="last_step"), side=-2)
    exact, found = (gradient_step(one, case, cost, next(one.settings(cost)))() for one in (OWN, peer))
    return float((found - exact).norm() / exact.norm())


def memory_step(gradient: str, max_iter: int, batch: int, nodes: int, prototypes: int) -> measure.Step:
    """Exactly ``max_iter`` iterations, forward and backward."""
    case = Case(batch, nodes, prototypes, eps=0.005)
    leaf, weights = case.cost().requires_grad_(), case.functional()

    def step() -> Tensor:
        result = sinkhorn(leaf, eps=case.eps, tol=0.0, max_iter=max_iter, gradient=gradient, warn=False)
        if int(result.iterations) != max_iter:
            raise AssertionError(f"{int(result.iterations)} iterations instead of {max_iter}")
        return torch.autograd.grad((result.plan * weights).sum(), leaf)[0]

    return step


def memory(report: measure.Report, threads: int) -> None:
    """Peak memory by number of iterations."""
    sizes = {"batch": 4, "nodes": 2000, "prototypes": 128}
    table = [["gradient", "iterations", "peak MiB", "times the cost's"]]
    for gradient, iterations in MEMORY_RUNS:
        arguments = {"gradient": gradient, "max_iter": iterations} | sizes
        peak = measure.peak_memory(__file__, "memory_step", arguments, threads)
        share = peak / (8 * math.prod(sizes.values()))
        table.append([gradient, str(iterations), f"{peak / measure.MIB:.1f}", f"{share:.1f}"])
    report.note(f"peak memory forward + backward, {sizes}, float64:\n{measure.format_table(table)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases."""
    parser = measure.argument_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny case, to see that everything runs")
    args = parser.parse_args(arguments)
    report = measure.Report("sinkhorn", args.threads, args.results)
    sizes, values = (((2, 20, 8),), (0.08,)) if args.quick else (SIZES, tuple(AGREEMENT))
    cases = [Case(*size, eps, dtype) for dtype in LIMIT for size in sizes for eps in values]
    table = [["case", "solver", "seconds", "runs", "L1 error", "iterations", ""]]
    if not args.quick:
        memory(report, args.threads)
    try:
        with threadpool_limits(args.threads, user_api="blas"):
            inexact = last_step_error(cases[0])
            report.note(
                f'{cases[0]}: grad="last_step" of ot.solve_batch is left out, its gradient is {inexact:.0%} off'
            )
            for case in cases:
                table += compare(report, case, args.repeats)
    finally:  # an interrupted run keeps the cases that are done
        report.note(f"all solvers (medians; L1 error of the plan's sums):\n{measure.format_table(table)}")
        report.finish()


if __name__ == "__main__":
    main()
