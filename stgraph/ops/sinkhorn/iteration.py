"""The Sinkhorn iteration with over-relaxation and an honest stopping rule, whatever carries the potentials."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["NEAR", "Engine", "run", "stages"]

# Fewest iterations between two checks, each of which waits for the device; a tenth of all so far if that is more.
CHECK_EVERY = 10
# Largest difference of costs, in units of eps, at which a kernel without potentials keeps all its entries.
NEAR = 50


class Engine(Protocol):
    """What carries the potentials of a batch of problems through the iterations."""

    def exact_rows(self) -> Tensor:
        """Update the row potentials exactly and return the error ``[B]`` of the other marginal, without gradient."""

    def advance(self, steps: int, omega: Tensor) -> None:
        """Update the columns, then both sides ``steps - 1`` times, over-relaxed by ``omega`` [B, 1, 1]."""

    def keep_in_range(self, error: Tensor) -> bool:
        """Rescale if numbers have grown large; True where the rows must be updated again because some overflowed."""


def run(engine: Engine, *, tol: float, max_iter: int, relaxation: float | None, like: Tensor) -> int:
    """Iterate until the marginal error of every problem is at most ``tol``; returns the number of iterations."""
    omega = _Relaxation(like, relaxation)
    done = steps = 0
    while True:
        error = engine.exact_rows()
        if done < max_iter and engine.keep_in_range(error):
            omega.restart()
            done += 1
            continue
        # A little below, so that rounding in the sums of the final plan cannot lift the error over ``tol``.
        if done >= max_iter or bool((error <= 0.9 * tol).all()):
            return done
        omega.observe(error, steps)
        steps = min(max(CHECK_EVERY, done // 10), max_iter - done)
        engine.advance(steps, omega.value)
        done += steps


class _Relaxation:
    """Chooses the factor of successive over-relaxation from the rate at which the error falls.

    Near the solution Sinkhorn's iteration is a block Gauss-Seidel iteration, so Young's theory gives the contraction of
    the plain iteration from the rate observed under a factor, and the best factor from that contraction (Lehmann et
    al., "A note on overrelaxation in the Sinkhorn algorithm", 2022).
    """

    def __init__(self, like: Tensor, fixed: float | None) -> None:
        self.fixed = fixed is not None
        self.value = like.new_full((like.shape[0], 1, 1), 1.0 if fixed is None else fixed)
        self.limit = torch.full_like(self.value, 1.995)
        self.last: Tensor | None = None
        self.least = self.limit

    def restart(self) -> None:
        """Forget the rate."""
        self.last = None

    @torch.no_grad()
    def observe(self, error: Tensor, steps: int) -> None:
        """Take the error ``[B]`` after another ``steps`` iterations."""
        if self.fixed:
            return
        # Far from the solution of a relaxed problem the mass, and so the error, can be beyond the range of numbers.
        error = error.reshape(-1, 1, 1).nan_to_num(nan=1e9, posinf=1e9).clamp(min=1e-30)
        if self.last is not None:
            rate = (error / self.last) ** (1 / steps)
            omega = self.value
            contraction = ((rate + omega - 1).square() / (rate * omega.square())).clamp(0, 1 - 1e-6)
            best = 2 / (1 + (1 - contraction).sqrt())
            # Far from the solution too large a factor can drive away from it. Rounding makes small errors waver.
            grown = error > 3 * self.least
            self.limit = torch.where(grown, torch.minimum(self.limit, 1 + 0.7 * (omega - 1)), self.limit)
            self.least = torch.where(grown, error, torch.minimum(self.least, error))
            self.value = torch.minimum(torch.maximum(best, omega), self.limit)
        else:
            self.least = error
        self.last = error


def stages(eps: float, cost_range: float) -> list[float]:
    """Falling values of the regularisation that lead to ``eps`` in factors of 4, from ``cost_range / NEAR``."""
    steps = 0 if cost_range <= 0 else max(0, math.ceil(math.log(cost_range / (NEAR * eps), 4)))
    return [eps * 4.0**k for k in range(steps, 0, -1)]
