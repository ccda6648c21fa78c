"""Whether groups of models come in the order that is expected of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stgraph.errors import InputError
from stgraph.tasks.benchmark.results import CellResult
from stgraph.tasks.benchmark.rows import Spread

__all__ = ["Order", "ordering"]


class Order(NamedTuple):
    """Two models of which the first is expected to have the smaller error; an error that is not known holds nothing."""

    better: str
    worse: str
    better_error: float | None
    worse_error: float | None
    holds: bool


def ordering(
    results: Sequence[CellResult],
    dataset: str,
    groups: Mapping[str, Sequence[str]],
    horizon: str = "12",
    *,
    protocol: str = "strict",
    metric: str = "mae",
) -> list[Order]:
    """Compare every model of a group with every model of the next group.

    Args:
        results: Results of a benchmark.
        dataset: Data set.
        groups: Models by group, from the best group to the worst.
        horizon: Horizon of the error.
        protocol: Protocol of training and scoring.
        metric: Which error; its mean over seeds is compared.

    Raises:
        InputError: If there are fewer than two groups.

    Example:
        >>> def result(model, mae):
        ...     return CellResult("week", model, 1, "strict", "done", scores={"strict": {"12": {"mae": mae}}})
        >>> results = [result("stgcn", 3.5), result("lstm", 4.0), result("historical_average", 5.0)]
        >>> groups = {"graph": ["stgcn"], "recurrent": ["lstm"], "average": ["historical_average"]}
        >>> all(order.holds for order in ordering(results, "week", groups))
        True
    """
    if len(groups) < 2:
        raise InputError(f"groups has {list(groups)}; expected at least two groups")
    cells = [cell for cell in results if (cell.dataset, cell.protocol, cell.status) == (dataset, protocol, "done")]

    def error(model: str) -> float | None:
        of_model = (cell.scores for cell in cells if cell.model == model)
        spread = Spread.of(scores.get(protocol, {}).get(horizon, {}).get(metric) for scores in of_model)
        return None if spread is None else spread.mean

    orders = []
    for upper, lower in itertools.pairwise(groups.values()):
        for better, worse in itertools.product(upper, lower):
            low, high = error(better), error(worse)
            orders.append(Order(better, worse, low, high, low is not None and high is not None and low < high))
    return orders
